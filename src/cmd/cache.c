/* SPDX-License-Identifier: Apache-2.0 */
/* What a build cache has that machines share. */
#include <stdio.h>
#include <sys/stat.h>

#include "cmd/remote.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"

struct cache_cmd {
    struct cb_common common;
    bool json, dry_run;
    const char *older_than, *keep;
    uint64_t n, bytes; /* what was removed */
};
#define AT(field) offsetof(struct cache_cmd, field)

/* A directory that is there is meant, and not a repository of Docker Hub. */
static int parse_place(const char *text, struct cb_cache_spec *out, struct cb_error *err)
{
    struct stat st;
    bool dir = stat(text, &st) == 0 && S_ISDIR(st.st_mode);
    cb_autofree char *spec = dir ? cb_asprintf("type=local,\"src=%s\"", text) : cb_strdup(text);
    return cb_cache_spec_parse(out, spec, false, err);
}

static int with_place(struct cb_session *s, const struct cb_cache_spec *spec, struct cache_cmd *o,
                      int (*fn)(struct cb_cache_place *p, struct cache_cmd *o, struct cb_error *err),
                      struct cb_error *err)
{
    CB_AUTO(cb_cache_place_close) struct cb_cache_place *place = NULL;
    struct cb_cache_place_options po = { .spec = spec, .run = "", .cancel = s->process->cancel };
    int r = 0;
    po.write = spec->type == CB_CACHE_LOCAL && !o->dry_run;
    po.registry = s->registry;
    if (spec->ref.host)
        r = cb_session_name_host(s, spec->ref.host, err);
    if (r == 0)
        r = cb_cache_place_open(&po, &place, err);
    return r < 0 ? r : fn(place, o, err);
}

struct call {
    const struct cb_process *p;
    const struct cb_verb *self;
    int argc;
    char **argv;
    int (*fn)(struct cb_cache_place *p, struct cache_cmd *o, struct cb_error *err);
};

static int call(const struct call *c, struct cb_error *err)
{
    struct cache_cmd o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_cache_spec spec = { 0 };
    struct cb_verb_args a = { .verb = c->self, .dest = &o, .argc = c->argc, .argv = c->argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = parse_place(a.operands.v[0], &spec, err);
    if (r == 0 && !a.done)
        r = cb_session_network(&s, c->p, &o.common, err);
    if (r == 0 && !a.done)
        r = with_place(&s, &spec, &o, c->fn, err);
    cb_cache_spec_done(&spec);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

/* ---- ls ---- */

static const char *kind_of(const struct cb_cache_item *item)
{
    if (item->broken)
        return "broken";
    if (item->claim)
        return "claim";
    return item->run ? "run" : item->mount ? "mount" : "step";
}

static json_t *item_json(const struct cb_cache_item *item)
{
    struct cb_strbuf when cb_cleanup_strbuf = CB_STRBUF_INIT;
    json_t *o = json_object();
    cb_time_format(&when, item->created);
    cb_json_put_string(o, "name", item->name);
    cb_json_put_string(o, "kind", kind_of(item));
    cb_json_put_string(o, "created", item->broken ? NULL : when.buf);
    cb_json_put(o, "size", json_integer((json_int_t)item->size));
    if (item->note)
        cb_json_put(o, "note", cb_json_string(item->note));
    if (item->run)
        cb_json_put(o, "steps", cb_json_from_strvec(&item->keys));
    return o;
}

static void print_item(const struct cb_cache_item *item, int64_t now)
{
    struct cb_strbuf age cb_cleanup_strbuf = CB_STRBUF_INIT, note cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *size = cb_size_text(item->size);
    if (item->run)
        cb_strbuf_addf(&note, "run index of %zu steps", item->keys.n);
    else if (item->claim)
        cb_strbuf_adds(&note, item->ended ? "a claim that has ended" : "claimed by a build that runs it");
    else if (item->note)
        cb_strbuf_add_sanitized(&note, item->note, strlen(item->note), false);
    if (!item->broken)
        cb_time_format_ago(&age, item->created, now);
    printf("%-*.*s  %-16s  %-9s  %s\n", 36, item->run ? 128 : item->mount || item->claim ? 18 : 12, item->name,
           item->broken ? "broken" : age.buf, size, note.buf);
}

static int list(struct cb_cache_place *p, struct cache_cmd *o, struct cb_error *err)
{
    CB_CLEANUP(cb_cache_items_done) struct cb_cache_items items = { 0 };
    int r = cb_cache_list(p, &items, err);
    if (r < 0)
        return r;
    if (!o->json) {
        int64_t now = cb_time_now();
        printf("%-36s  %-16s  %-9s  %s\n", "KEY", "CREATED", "SIZE", "NOTE");
        for (size_t i = 0; i < items.n; i++)
            print_item(&items.v[i], now);
        return cb_stdout_check(err);
    }
    cb_autojson json_t *a = json_array();
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < items.n; i++)
        json_array_append_new(a, item_json(&items.v[i]));
    cb_json_print_pretty(&text, a);
    fputs(text.buf, stdout);
    return cb_stdout_check(err);
}

static int run_ls(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
                  struct cb_error *err)
{
    return call(&(struct call){ p, self, argc, argv, list }, err);
}

static const struct cb_opt ls_table[] = {
    CB_OPT_JSON(cache_cmd),
    CB_OPT_REMOTE(cache_cmd),
    CB_OPT_END,
};

static const struct cb_verb verb_ls = {
    .name = "cache ls",
    .summary = "list its steps, run indexes and cache mounts, the newest first",
    .operands = "[OPTIONS] REPOSITORY|DIR",
    .options = ls_table,
    .run = run_ls,
};

/* ---- prune ---- */

static void removed(void *arg, const struct cb_cache_item *item)
{
    struct cache_cmd *o = arg;
    printf("%s %s\n", o->dry_run ? "would remove" : "removed", item->name);
    o->n++;
    if (!item->run && !item->claim)
        o->bytes += item->size;
}

static int prune(struct cb_cache_place *p, struct cache_cmd *o, struct cb_error *err)
{
    struct cb_cache_prune_options po = { .dry_run = o->dry_run, .each = removed, .arg = o };
    uint64_t keep = 0;
    int64_t age = 0;
    if (!o->older_than)
        return cb_error_set(err, CB_EUSAGE, "say what may go: --older-than DURATION (720h)");
    if (!cb_duration_parse(o->older_than, &age) || age < 0)
        return cb_error_set(err, CB_EUSAGE, "--older-than %s is no duration: 720h", o->older_than);
    if (o->keep && !cb_parse_u64(o->keep, SIZE_MAX, &keep))
        return cb_error_set(err, CB_EUSAGE, "--keep %s is no number", o->keep);
    po.older_than = cb_time_now() - age;
    po.keep = (size_t)keep;
    int r = cb_cache_prune(p, &po, err);
    cb_autofree char *size = cb_size_text(o->bytes);
    fprintf(stderr, "%s %llu artifacts, whose layers have %s\n", o->dry_run ? "would remove" : "removed",
            (unsigned long long)o->n, size);
    return r;
}

static int run_prune(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                     int *status CB_UNUSED, struct cb_error *err)
{
    return call(&(struct call){ p, self, argc, argv, prune }, err);
}

static const struct cb_opt prune_table[] = {
    { "older-than", 0, CB_OPT_STRING, AT(older_than), "DURATION",
      "remove what was neither made nor used by a build since then (720h)", NULL },
    { "keep", 0, CB_OPT_STRING, AT(keep), "N", "but not the N newest steps", NULL },
    { "dry-run", 0, CB_OPT_FLAG, AT(dry_run), NULL, "only say what would be removed", NULL },
    CB_OPT_REMOTE(cache_cmd),
    CB_OPT_END,
};

static const struct cb_verb verb_prune = {
    .name = "cache prune",
    .summary = "remove what no build has used for a while",
    .operands = "[OPTIONS] REPOSITORY|DIR",
    .details = "A step was used when a run index names it: builds with --cache-to write one, and renew it once a day,\n"
               "as builds with --cache-mount-to do with cache mounts.\n"
               "A registry frees the blobs when its own garbage collection runs.",
    .options = prune_table,
    .run = run_prune,
};

static const struct cb_verb *const subs[] = { &verb_ls, &verb_prune, NULL };

const struct cb_verb cb_verb_cache = {
    .name = "cache",
    .topic = CB_TOPIC_BUILD,
    .summary = "look into a build cache that machines share, and clean it",
    .operands = "ls|prune [OPTIONS] REPOSITORY|DIR",
    .options = ls_table,
    .subs = subs,
    .run = cb_verb_run_sub,
};
