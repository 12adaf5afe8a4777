/* SPDX-License-Identifier: Apache-2.0 */
#include "build/isolator.h"

#include <pthread.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/strbuf.h"
#include "util/trace.h"

struct cb_isolator {
    struct cb_isolation_wish wish;
    pthread_mutex_t mu;
    bool chosen, told;
    int code; /* of choosing; err goes with it */
    struct cb_error err;
    struct cb_isolation isolation;
};

/* What counts where no option says it; NULL: nothing does. *text is its value then. */
static const char *usual(const char **text)
{
    static const char *const names[] = { "CBPUSH_ISOLATION", "BUILDAH_ISOLATION" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        const char *v = getenv(names[i]);
        if (v && *v) {
            *text = v;
            return names[i];
        }
    }
    return NULL;
}

static int take_kind(const char *text, const char *variable, enum cb_isolation_kind *kind, struct cb_error *err)
{
    bool buildah = variable && cb_starts_with(variable, "BUILDAH_");
    if (!text)
        return 0;
    int r = cb_isolation_parse(text, kind, variable ? NULL : err);
    if (r < 0 && variable)
        return cb_error_set(err, CB_EUSAGE, "%s=%.64s: %s", variable, text,
                            buildah ? "oci, rootless or chroot" : "auto, native, oci or chroot");
    /* It is set where containers allow no more. Buildah's has /proc and mounts, ours is the last resort of auto. */
    if (buildah && *kind == CB_ISOLATION_CHROOT)
        *kind = CB_ISOLATION_AUTO;
    return r;
}

struct cb_isolator *cb_isolator_new(const char *text, const char *runtime, int work_dir_fd, enum cb_id_mode mode,
                                    struct cb_error *err)
{
    const char *variable = text ? NULL : usual(&text);
    struct cb_isolation_wish w = { .kind = CB_ISOLATION_AUTO, .runtime = runtime, .work_dir_fd = work_dir_fd,
                                   .id_mode = mode };
    if (take_kind(text, variable, &w.kind, err) < 0)
        return NULL;
    if (runtime && w.kind != CB_ISOLATION_AUTO && w.kind != CB_ISOLATION_OCI) {
        cb_error_set(err, CB_EUSAGE, "--runtime %s: isolation %s%s%s%s has no runtime, only oci has", runtime, text,
                     variable ? " (" : "", variable ? variable : "", variable ? ")" : "");
        return NULL;
    }
    struct cb_isolator *i = CB_NEW(struct cb_isolator);
    i->wish = w;
    pthread_mutex_init(&i->mu, NULL);
    return i;
}

void cb_isolator_refuse(struct cb_isolator *i, const struct cb_error *why)
{
    i->chosen = true;
    i->code = cb_error_copy(&i->err, why);
}

void cb_isolator_free(struct cb_isolator *i)
{
    if (!i)
        return;
    cb_isolation_done(&i->isolation);
    cb_error_done(&i->err);
    pthread_mutex_destroy(&i->mu);
    free(i);
}

static void tell(const struct cb_isolation *x, struct cb_progress *p, struct cb_step *step)
{
    const char *gap = x->refused ? "; " : "", *refused = x->refused ? x->refused : "";
    cb_progress_debug(p, "isolation: %s%s%s", x->text, gap, refused);
    if (x->kind != CB_ISOLATION_NATIVE && step)
        cb_step_logf(step, "isolation: %s%s%s", x->text, gap, refused);
}

/* Under the lock, which others wait for meanwhile. */
static void choose(struct cb_isolator *i)
{
    if (i->chosen)
        return;
    struct cb_span span cb_cleanup_span = cb_span_begin("isolation", "choose the isolation");
    i->code = cb_isolation_choose(&i->wish, &i->isolation, &i->err);
    i->chosen = true;
}

void cb_isolator_decide(struct cb_isolator *i)
{
    if (!i)
        return;
    pthread_mutex_lock(&i->mu);
    choose(i);
    pthread_mutex_unlock(&i->mu);
}

int cb_isolator_get(struct cb_isolator *i, struct cb_progress *p, struct cb_step *step,
                    const struct cb_isolation **out, struct cb_error *err)
{
    *out = NULL;
    if (!i)
        return 0;
    pthread_mutex_lock(&i->mu);
    choose(i);
    int r = i->code < 0 ? cb_error_copy(err, &i->err) : 0;
    if (r == 0 && !i->told)
        tell(&i->isolation, p, step);
    i->told = true;
    pthread_mutex_unlock(&i->mu);
    if (r == 0)
        *out = i->isolation.kind == CB_ISOLATION_NATIVE ? NULL : &i->isolation;
    return r;
}
