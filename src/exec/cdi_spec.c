/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "exec/cdi_private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

#define CLASS_ANNOTATION "org.mobyproject.buildkit.device.class"

void cdi_devices_done(struct cdi_devices *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->v[i].name);
    for (size_t i = 0; i < d->n_specs; i++) {
        json_decref(d->specs[i]);
        free(d->files[i]);
    }
    free(d->v);
    free(d->specs);
    free(d->files);
    free(d->yaml);
}

void cb_cdi_done(struct cb_cdi *c)
{
    cb_strvec_done(&c->env);
    for (size_t i = 0; i < c->n_nodes; i++) {
        free(c->nodes[i].path);
        free(c->nodes[i].host_path);
    }
    for (size_t i = 0; i < c->n_mounts; i++) {
        free(c->mounts[i].path);
        free(c->mounts[i].host_path);
    }
    free(c->nodes);
    free(c->mounts);
    *c = (struct cb_cdi){ 0 };
}

/* ---- the devices of a spec ---- */

static int take_device(struct cdi_devices *d, const struct cdi_device *like, const char *kind, const json_t *o,
                       struct cb_error *err)
{
    const json_t *annotations = NULL;
    const char *name = NULL;
    struct cdi_device x = *like;
    int r = json_is_object(o) ? cb_json_get_string(o, "name", &name, err)
                              : cb_error_set(err, CB_ECONF, "a device that is no object");
    if (r == 0 && (!name || !*name))
        r = cb_error_set(err, CB_ECONF, "a device without a name");
    if (r == 0)
        r = cb_json_get_object(o, "annotations", &annotations, err);
    if (r == 0 && annotations)
        r = cb_json_get_string(annotations, CLASS_ANNOTATION, &x.class_name, err);
    if (r == 0)
        r = cb_json_get_object(o, "containerEdits", &x.edits, err);
    if (r < 0)
        return r;
    x.name = cb_asprintf("%s=%s", kind, name);
    CB_GROW(d->v, d->n, d->cap);
    d->v[d->n++] = x;
    return 0;
}

static int take_spec(struct cdi_devices *d, const json_t *spec, struct cdi_device *like, struct cb_error *err)
{
    const json_t *list = NULL;
    const char *kind = NULL;
    int r = json_is_object(spec) ? cb_json_get_string(spec, "kind", &kind, err)
                                 : cb_error_set(err, CB_ECONF, "it is no object");
    if (r == 0 && (!kind || !strchr(kind, '/')))
        r = cb_error_set(err, CB_ECONF, "its kind is not VENDOR/CLASS");
    if (r == 0)
        r = cb_json_get_object(spec, "containerEdits", &like->all_edits, err);
    if (r == 0)
        r = cb_json_get_array(spec, "devices", &list, err);
    for (size_t i = 0; r == 0 && list && i < json_array_size(list); i++)
        r = take_device(d, like, kind, json_array_get(list, i), err);
    return r;
}

static int fail_in(const char *file, struct cb_error *err)
{
    if (err)
        err->code = CB_ECONF;
    cb_error_wrap(err, "CDI spec %s", file);
    return -CB_ECONF;
}

int cdi_spec_read(struct cdi_devices *d, const char *path, size_t dir, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    int r = cb_file_slurp(path, CB_MAX_CONFIG_FILE, &text, err);
    json_t *spec = r < 0 ? NULL : cb_json_parse(text.buf, text.len, err);
    if (!spec)
        return fail_in(path, err);
    size_t cap = d->cap_specs;
    CB_GROW(d->specs, d->n_specs, cap);
    CB_GROW(d->files, d->n_specs, d->cap_specs);
    d->specs[d->n_specs] = spec;
    d->files[d->n_specs] = cb_strdup(path);
    struct cdi_device like = { .file = d->files[d->n_specs], .dir = dir };
    d->n_specs++;
    r = take_spec(d, spec, &like, err);
    return r < 0 ? fail_in(path, err) : 0;
}

/* ---- containerEdits ---- */

static int absolute(const char *key, const char *path, struct cb_error *err)
{
    if (path && *path == '/')
        return 0;
    return cb_error_set(err, CB_ECONF, "%s \"%s\" is not an absolute path", key, path ? path : "");
}

static int get_u32(const json_t *o, const char *key, uint32_t *out, bool *there, struct cb_error *err)
{
    uint64_t v = UINT64_MAX;
    int r = cb_json_get_u64(o, key, &v, err);
    *there = r == 0 && v != UINT64_MAX;
    if (*there && v >= UINT32_MAX)
        return cb_error_set(err, CB_ECONF, "%s is too large", key);
    if (*there)
        *out = (uint32_t)v;
    return r;
}

/* type "": as the machine's node is, or a character device where the numbers are given. */
static int node_type(const char *type, struct cb_cdi_node *n, struct cb_error *err)
{
    n->block = !strcmp(type, "b");
    if (n->block || !strcmp(type, "c") || !strcmp(type, "u") || !*type)
        return 0;
    return cb_error_set(err, CB_ECONF, "device node %s: type \"%s\" is neither c nor b", n->path, type);
}

static int node_numbers(const json_t *o, struct cb_cdi_node *n, struct cb_error *err)
{
    bool major = false, minor = false;
    int r = get_u32(o, "major", &n->major_number, &major, err);
    if (r == 0)
        r = get_u32(o, "minor", &n->minor_number, &minor, err);
    if (r == 0)
        r = get_u32(o, "fileMode", &n->mode, &n->has_mode, err);
    if (r == 0)
        r = get_u32(o, "uid", &n->uid, &n->has_uid, err);
    if (r == 0)
        r = get_u32(o, "gid", &n->gid, &n->has_gid, err);
    n->numbered = major && minor && (n->major_number || n->minor_number);
    return r;
}

static int add_node(struct cb_cdi *out, const json_t *o, struct cb_error *err)
{
    const char *path = NULL, *host = NULL, *type = "";
    int r = cb_json_get_string(o, "path", &path, err);
    if (r == 0)
        r = absolute("device node", path, err);
    if (r == 0)
        r = cb_json_get_string(o, "hostPath", &host, err);
    if (r == 0 && host && *host)
        r = absolute("hostPath", host, err);
    if (r == 0)
        r = cb_json_get_string(o, "type", &type, err);
    if (r < 0)
        return r;
    CB_GROW(out->nodes, out->n_nodes, out->cap_nodes);
    struct cb_cdi_node *n = &out->nodes[out->n_nodes++];
    *n = (struct cb_cdi_node){ .path = cb_strdup(path), .host_path = cb_strdup(host && *host ? host : path) };
    r = node_type(type, n, err);
    return r < 0 ? r : node_numbers(o, n, err);
}

static int add_mount(struct cb_cdi *out, const json_t *o, struct cb_error *err)
{
    const char *host = NULL, *path = NULL, *type = "";
    int r = cb_json_get_string(o, "hostPath", &host, err);
    if (r == 0)
        r = absolute("mount of hostPath", host, err);
    if (r == 0)
        r = cb_json_get_string(o, "containerPath", &path, err);
    if (r == 0)
        r = absolute("mount on containerPath", path, err);
    if (r == 0)
        r = cb_json_get_string(o, "type", &type, err);
    if (r == 0 && *type && strcmp(type, "bind") && strcmp(type, "none"))
        r = cb_error_set(err, CB_ECONF, "mount on %s: type %s: only bind mounts are made", path, type);
    if (r < 0)
        return r;
    CB_GROW(out->mounts, out->n_mounts, out->cap_mounts);
    out->mounts[out->n_mounts++] = (struct cb_cdi_mount){ cb_strdup(host), cb_strdup(path) };
    return 0;
}

static int add_env(struct cb_cdi *out, const json_t *edits, struct cb_error *err)
{
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = cb_json_get_strvec(edits, "env", &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        const char *eq = strchr(list.v[i], '=');
        if (!eq || eq == list.v[i])
            return cb_error_set(err, CB_ECONF, "env \"%s\" is not NAME=VALUE", list.v[i]);
        cb_strvec_push(&out->env, list.v[i]);
    }
    return r;
}

static int refuse_unknown(const json_t *edits, struct cb_error *err)
{
    static const char *const known[] = { "env", "deviceNodes", "mounts" };
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)edits, key, value) {
        bool is_known = false;
        for (size_t i = 0; i < CB_COUNTOF(known); i++)
            is_known = is_known || !strcmp(key, known[i]);
        bool list = json_is_array(value) || json_is_object(value);
        bool empty = list ? !json_array_size(value) && !json_object_size(value) : json_is_null(value);
        if (is_known || empty)
            continue;
        return cb_error_set(err, CB_ECONF, "it has %s, which cbpush does not carry out: take them out of the spec%s",
                            key,
                            strcmp(key, "hooks") ? "" : " (hooks are programs that would run outside of the sandbox)");
    }
    return 0;
}

static int add_list(struct cb_cdi *out, const json_t *edits, const char *key,
                    int (*add)(struct cb_cdi *, const json_t *, struct cb_error *), struct cb_error *err)
{
    const json_t *list = NULL;
    int r = cb_json_get_array(edits, key, &list, err);
    for (size_t i = 0; r == 0 && list && i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        r = json_is_object(o) ? add(out, o, err) : cb_error_set(err, CB_ECONF, "%s: not a list of objects", key);
    }
    return r;
}

static int add_edits(struct cb_cdi *out, const json_t *edits, const char *file, struct cb_error *err)
{
    if (!edits)
        return 0;
    int r = refuse_unknown(edits, err);
    if (r == 0)
        r = add_env(out, edits, err);
    if (r == 0)
        r = add_list(out, edits, "deviceNodes", add_node, err);
    if (r == 0)
        r = add_list(out, edits, "mounts", add_mount, err);
    return r < 0 ? fail_in(file, err) : 0;
}

int cdi_edits_add(struct cb_cdi *out, const struct cdi_device *d, struct cb_error *err)
{
    return add_edits(out, d->edits, d->file, err);
}

int cdi_edits_add_all(struct cb_cdi *out, const struct cdi_device *d, struct cb_error *err)
{
    return add_edits(out, d->all_edits, d->file, err);
}
