/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "exec/exec.h"
#include "exec/oci.h"
#include "exec/trial.h"
#include "util/alloc.h"

int cb_isolation_parse(const char *text, enum cb_isolation_kind *out, struct cb_error *err)
{
    static const struct {
        const char *name;
        enum cb_isolation_kind value;
    } names[] = {
        { "auto", CB_ISOLATION_AUTO }, { "native", CB_ISOLATION_NATIVE }, { "rootless", CB_ISOLATION_NATIVE },
        { "oci", CB_ISOLATION_OCI },   { "chroot", CB_ISOLATION_CHROOT },
    };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        if (cb_streq(text, names[i].name)) {
            *out = names[i].value;
            return 0;
        }
    }
    return cb_error_set(err, CB_EUSAGE, "isolation %.64s: must be auto, native, oci or chroot", text ? text : "");
}

void cb_isolation_done(struct cb_isolation *i)
{
    free(i->text);
    free(i->refused);
    free(i->runtime);
    *i = (struct cb_isolation){ 0 };
}

static int take(enum cb_isolation_kind kind, const char *runtime, struct cb_isolation *out, struct cb_error *err)
{
    if (kind == CB_ISOLATION_OCI)
        return cb_oci_find(runtime, out, err);
    out->kind = kind;
    out->text = cb_strdup(kind == CB_ISOLATION_NATIVE ? "native" : "chroot");
    return 0;
}

static int try_one(const struct cb_isolation_wish *w, enum cb_isolation_kind kind, struct cb_isolation *out,
                   struct cb_error *err)
{
    int r = take(kind, NULL, out, err);
    if (r == 0)
        r = cb_trial_run(out, w->work_dir_fd, w->id_mode, err);
    if (r < 0)
        cb_isolation_done(out);
    return r;
}

/* It does not say that this one does not work here: a lesser one is not taken for it. */
static bool is_shortage(const struct cb_error *e)
{
    return e->sys_errno == EMFILE || e->sys_errno == ENFILE || e->sys_errno == ENOMEM || e->sys_errno == EAGAIN;
}

/* The first that works; why the others do not is told where it matters: to who asks, and when none does. */
static int choose(const struct cb_isolation_wish *w, struct cb_isolation *out, struct cb_error *err)
{
    static const struct {
        enum cb_isolation_kind kind;
        const char *name;
    } order[] = { { CB_ISOLATION_NATIVE, "native" }, { CB_ISOLATION_OCI, "oci" }, { CB_ISOLATION_CHROOT, "chroot" } };
    cb_cleanup_strbuf struct cb_strbuf reasons = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(order); i++) {
        cb_cleanup_error struct cb_error e = CB_ERROR_INIT;
        if (try_one(w, order[i].kind, out, &e) == 0) {
            out->refused = reasons.len ? cb_strdup(reasons.buf) : NULL;
            return 0;
        }
        if (is_shortage(&e)) {
            cb_error_wrap(&e, "isolation %s", order[i].name);
            return cb_error_move(err, &e);
        }
        cb_strbuf_addf(&reasons, "%s%s: %s", reasons.len ? "; " : "", order[i].name, cb_error_text(&e));
    }
    return cb_error_set(err, CB_ELOCAL, "no isolation works here (`cbpush doctor` tells more): %s", reasons.buf);
}

int cb_isolation_choose(const struct cb_isolation_wish *w, struct cb_isolation *out, struct cb_error *err)
{
    enum cb_isolation_kind kind = w->kind;
    *out = (struct cb_isolation){ 0 };
    if (w->runtime && kind == CB_ISOLATION_AUTO)
        kind = CB_ISOLATION_OCI;
    if (w->runtime && kind != CB_ISOLATION_OCI)
        return cb_error_set(err, CB_EUSAGE, "--runtime %s: only isolation oci has a runtime", w->runtime);
    return kind == CB_ISOLATION_AUTO ? choose(w, out, err) : take(kind, w->runtime, out, err);
}

int cb_isolation_only_native(const struct cb_exec_spec *spec, const char *name, struct cb_error *err)
{
    const struct cb_cdi *cdi = spec->cdi;
    if (spec->insecure)
        return cb_error_set(err, CB_ELOCAL, "isolation %s has no --security=insecure: use native", name);
    if (cdi && (cdi->n_nodes || cdi->n_mounts))
        return cb_error_set(err, CB_ELOCAL, "isolation %s gives no devices: use native", name);
    return 0;
}
