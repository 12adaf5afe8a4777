/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>

#include "cmd/session.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/confine.h"

struct doctor_options {
    struct cb_common common;
    bool json;
};
static const struct cb_opt options[] = {
    { "json", 0, CB_OPT_FLAG, offsetof(struct doctor_options, json), NULL, "as JSON", NULL },
    CB_OPT_COMMON_STORE(doctor_options),
    CB_OPT_END,
};

static const char *const states[] = { "ok", "missing", "broken" };

static void print_text(const struct cb_probes *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct cb_probe *x = &p->v[i];
        printf("%-8s %-26s %s\n", states[x->state], x->name, x->detail ? x->detail : "");
        if (x->remedy && x->state != CB_PROBE_OK)
            printf("%-8s %-26s → %s\n", "", "", x->remedy);
    }
}

static void print_json(const struct cb_probes *p)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *a = json_array();
    for (size_t i = 0; i < p->n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(p->v[i].name));
        json_object_set_new(o, "state", json_string(states[p->v[i].state]));
        json_object_set_new(o, "required", json_boolean(p->v[i].required));
        cb_json_put_string(o, "detail", p->v[i].detail);
        cb_json_put_string(o, "remedy", p->v[i].remedy);
        json_array_append_new(a, o);
    }
    cb_json_print_pretty(&sb, a);
    fputs(sb.buf, stdout);
}

/* ---- the processes that layers are read in ---- */

static const struct {
    enum cb_confine wall;
    const char *there, *missing, *remedy;
} walls[] = {
    { CB_CONFINE_CALLS, "filtered system calls", "no filter of system calls",
      "use a kernel with CONFIG_SECCOMP_FILTER" },
    { CB_CONFINE_ROOT, "a root of their own", "no root of their own", "give the container CAP_SYS_CHROOT" },
    { CB_CONFINE_LANDLOCK, "Landlock", "no Landlock",
      "use Linux 5.19 or newer with landlock in its list of security modules (lsm=)" },
};

static struct cb_probe layers_probe(unsigned held, int r, const struct cb_error *err)
{
    struct cb_probe p = { .name = cb_strdup("layers"), .state = r < 0 ? CB_PROBE_BROKEN : CB_PROBE_OK };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&text, r < 0 ? "not read in processes of their own: " : "read in processes of their own:");
    if (r < 0)
        cb_strbuf_adds(&text, cb_error_text(err));
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(walls); i++) {
        bool there = held & walls[i].wall;
        cb_strbuf_addf(&text, "%s %s", i ? "," : "", there ? walls[i].there : walls[i].missing);
        if (there)
            continue;
        if (!p.remedy)
            p.remedy = cb_strdup(walls[i].remedy);
        p.state = CB_PROBE_MISSING;
    }
    p.detail = cb_strdup(text.buf);
    return p;
}

static int probe_layers(struct cb_store *s, struct cb_probes *out, struct cb_error *err)
{
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    unsigned held = 0;
    int r = cb_store_tmp_new(s, "doctor", &tmp, err);
    if (r < 0)
        return r;
    r = cb_helpers_try(tmp.fd, &held, &e);
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = layers_probe(held, r, &e);
    return 0;
}

static void probe_images(struct cb_store *s, struct cb_probes *out)
{
    const char *why = cb_store_images_refused(s);
    struct cb_probe p = { .name = cb_strdup("layers as images"), .state = why ? CB_PROBE_MISSING : CB_PROBE_OK };
    p.detail = why ? cb_asprintf("layers are unpacked to directories: %s", why)
                   : cb_strdup("EROFS: no file of a layer has to be made");
    p.remedy = why ? cb_strdup("root, Linux 6.15 or newer with CONFIG_EROFS_FS_BACKED_BY_FILE") : NULL;
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = p;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status,
               struct cb_error *err)
{
    struct doctor_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_probes probes = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv };
    int r = cb_verb_args(&a, err);
    cb_strvec_done(&a.operands);
    if (r < 0 || a.done)
        return r;
    r = cb_session_store(&s, p, &o.common, err);
    if (r == 0)
        r = cb_exec_probe(cb_store_root_fd(s.store), (enum cb_id_mode)p->id_mode, &probes, err);
    if (r == 0)
        r = probe_layers(s.store, &probes, err);
    if (r == 0)
        probe_images(s.store, &probes);
    if (r == 0 && o.json)
        print_json(&probes);
    else if (r == 0)
        print_text(&probes);
    for (size_t i = 0; i < probes.n; i++)
        if (probes.v[i].required && probes.v[i].state != CB_PROBE_OK)
            *status = CB_ELOCAL;
    cb_probes_done(&probes);
    return r;
}

const struct cb_verb cb_verb_doctor = {
    .name = "doctor",
    .topic = CB_TOPIC_HOUSE,
    .summary = "tell what works on this machine, and what would help",
    .operands = "[OPTIONS]",
    .options = options,
    .userns = true,
    .run = run,
};
