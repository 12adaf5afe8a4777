/* SPDX-License-Identifier: Apache-2.0 */
/* RUN and HEALTHCHECK. */
#include "dockerfile/internal.h"

#include <strings.h>

#include "util/alloc.h"
#include "util/encode.h"

static int set_mount(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    i->mounts = cb_reallocarray(i->mounts, i->n_mounts + 1, sizeof *i->mounts);
    struct cb_df_mount *m = &i->mounts[i->n_mounts++];
    *m = (struct cb_df_mount){ 0 };
    int r = cb_df_mount_parse(m, value, err);
    if (r < 0)
        (void)cb_error_wrap(err, "--mount=%s", CB_DF_SHOW(value));
    return r;
}

static int set_device(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    int r = cb_df_device_check(value, err);
    if (r < 0)
        (void)cb_error_wrap(err, "--device=%s", CB_DF_SHOW(value));
    else
        cb_strvec_push(&i->devices, value);
    return r;
}

static int set_choice(char **field, const char *flag, const char *value, const char *const *names,
                      struct cb_error *err)
{
    for (size_t k = 0; names[k]; k++) {
        if (strcasecmp(names[k], value) == 0)
            return cb_df_set_string(field, names[k]);
    }
    return cb_df_fail_suggest(err, cb_asprintf("--%s=%s is not known", flag, CB_DF_SHOW(value)), value, names);
}

static int set_network(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    static const char *const names[] = { "default", "none", "host", NULL };
    return set_choice(&i->network, "network", value, names, err);
}

static int set_security(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    static const char *const names[] = { "sandbox", "insecure", NULL };
    return set_choice(&i->security, "security", value, names, err);
}

const struct cb_df_flag cb_df_flags_run[] = {
    { "mount", CB_DF_FLAG_LIST, set_mount },
    { "network", CB_DF_FLAG_STRING, set_network },
    { "security", CB_DF_FLAG_STRING, set_security },
    { "device", CB_DF_FLAG_LIST, set_device },
    { NULL, CB_DF_FLAG_STRING, NULL },
};

int cb_df_parse_run(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    int r = cb_df_command_parse(&i->command, rq->rest, err);
    if (r == 0 && i->command.args.n == 0)
        return cb_df_fail(err, "RUN []: a command is missing");
    return r;
}

bool cb_df_run_is_script(const struct cb_df_instruction *run)
{
    if (run->n_heredocs != 1 || run->command.exec_form)
        return false;
    struct cb_df_heredocs h = CB_DF_HEREDOCS_INIT;
    struct cb_error err = CB_ERROR_INIT;
    const char *text = run->command.args.v[0];
    bool all = cb_df_heredocs_scan(&h, text, &err) == 0 && h.n == 1 && h.at[0].start == 0 && !text[h.at[0].end];
    cb_df_heredocs_done(&h);
    cb_error_done(&err);
    return all;
}

void cb_df_run_text(struct cb_strbuf *out, const struct cb_df_instruction *run)
{
    cb_strbuf_adds(out, run->command.args.v[0]);
    for (size_t k = 0; k < run->n_heredocs; k++)
        cb_strbuf_addf(out, "\n%s%s", run->heredocs[k].body, run->heredocs[k].name);
}

static int set_time(int64_t *field, const char *flag, const char *value, struct cb_error *err)
{
    if (!cb_df_parse_duration(value, field))
        return cb_df_fail(err, "--%s=%s is no duration: write 30s, 500ms or 1m30s", flag, CB_DF_SHOW(value));
    if (*field > 0 && *field < 1000000)
        return cb_df_fail(err, "--%s=%s is too short: at least 1ms", flag, CB_DF_SHOW(value));
    return 0;
}

#define TIME_SETTER(field, flag)                                                                                       \
    static int set_##field(struct cb_df_instruction *i, const char *value, struct cb_error *err)                       \
    {                                                                                                                  \
        return set_time(&i->hc_##field, flag, value, err);                                                             \
    }
TIME_SETTER(interval, "interval")
TIME_SETTER(timeout, "timeout")
TIME_SETTER(start_period, "start-period")
TIME_SETTER(start_interval, "start-interval")

static int set_retries(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    if (!cb_parse_u64(value, INT32_MAX, &i->hc_retries))
        return cb_df_fail(err, "--retries=%s: a number from 0 to 2147483647", CB_DF_SHOW(value));
    i->hc_retries_set = true;
    return 0;
}

const struct cb_df_flag cb_df_flags_healthcheck[] = {
    { "interval", CB_DF_FLAG_STRING, set_interval },
    { "timeout", CB_DF_FLAG_STRING, set_timeout },
    { "start-period", CB_DF_FLAG_STRING, set_start_period },
    { "start-interval", CB_DF_FLAG_STRING, set_start_interval },
    { "retries", CB_DF_FLAG_STRING, set_retries },
    { NULL, CB_DF_FLAG_STRING, NULL },
};

static bool any_option(const struct cb_df_instruction *i)
{
    return i->hc_interval || i->hc_timeout || i->hc_start_period || i->hc_start_interval || i->hc_retries_set;
}

int cb_df_parse_healthcheck(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    const char *s = rq->rest;
    size_t n = 0;
    while (s[n] && !cb_df_is_blank(s[n]))
        n++;
    const char *args = s + n;
    while (cb_df_is_blank(*args))
        args++;
    if (n == 4 && strncasecmp(s, "NONE", n) == 0) {
        i->healthcheck_none = true;
        if (*args || any_option(i))
            return cb_df_fail(err, "HEALTHCHECK NONE takes neither flags nor arguments");
        return 0;
    }
    if (n != 3 || strncasecmp(s, "CMD", n) != 0)
        return cb_df_fail(err, "HEALTHCHECK %s: write HEALTHCHECK CMD command or HEALTHCHECK NONE", CB_DF_SHOWN(s, n));
    int r = *args ? cb_df_command_parse(&i->command, args, err) : 0;
    if (r == 0 && i->command.args.n == 0)
        return cb_df_fail(err, "HEALTHCHECK CMD: a command is missing");
    return r;
}
