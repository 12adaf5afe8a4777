/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/cdi.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exec/cdi_private.h"
#include "util/alloc.h"
#include "util/strbuf.h"

static int take_file(struct cdi_devices *d, const char *dir, const char *name, size_t index, struct cb_error *err)
{
    cb_autofree char *path = cb_asprintf("%s/%s", dir, name);
    if (*name == '.')
        return 0;
    if (cb_ends_with(name, ".json"))
        return cdi_spec_read(d, path, index, err);
    if (!d->yaml && (cb_ends_with(name, ".yaml") || cb_ends_with(name, ".yml")))
        d->yaml = CB_TAKE(path);
    return 0;
}

static int take_dir(struct cdi_devices *d, const char *dir, size_t index, struct cb_error *err)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort), r = 0;
    if (n < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : cb_error_sys(err, CB_ECONF, errno, "CDI specs: %s", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = take_file(d, dir, names[i]->d_name, index, err);
        free(names[i]);
    }
    free(names);
    return r;
}

static int load(struct cdi_devices *d, const struct cb_strvec *dirs, struct cb_error *err)
{
    static const char *const usual[] = { "/etc/cdi", "/var/run/cdi" };
    bool given = dirs && dirs->n;
    size_t n = given ? dirs->n : CB_COUNTOF(usual);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = take_dir(d, given ? dirs->v[i] : usual[i], i, err);
    return r;
}

/* ---- which are meant ---- */

static int by_name(const void *a, const void *b)
{
    const struct cdi_device *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : (x->dir < y->dir) - (x->dir > y->dir);
}

/* Sorted, of each name only that of the last directory. */
static int settle(struct cdi_devices *d, struct cb_error *err)
{
    size_t n = 0;
    if (d->n)
        qsort(d->v, d->n, sizeof *d->v, by_name);
    for (size_t i = 0; i < d->n; i++) {
        struct cdi_device *last = n ? &d->v[n - 1] : NULL;
        if (!last || strcmp(last->name, d->v[i].name)) {
            if (n != i) {
                d->v[n] = d->v[i];
                d->v[i].name = NULL;
            }
            n++;
            continue;
        }
        if (last->dir == d->v[i].dir)
            return cb_error_set(err, CB_ECONF, "CDI device %s is both in %s and in %s", last->name, last->file,
                                d->v[i].file);
        free(CB_TAKE(d->v[i].name));
    }
    d->n = n;
    return 0;
}

static bool is_meant(const struct cdi_device *d, const char *name)
{
    size_t kind = strcspn(name, "=");
    if (!strchr(name, '/'))
        return d->class_name && !strcmp(d->class_name, name);
    bool same_kind = !strncmp(d->name, name, kind) && d->name[kind] == '=';
    return same_kind && (!name[kind] || !strcmp(name + kind, "=*") || !strcmp(d->name, name));
}

static bool spec_was_taken(const struct cdi_devices *d, size_t upto, const char *name, const char *file)
{
    for (size_t i = 0; i < upto; i++)
        if (d->v[i].file == file && is_meant(&d->v[i], name))
            return true;
    return false;
}

static int take_meant(const struct cdi_devices *d, const char *name, struct cb_cdi *out, struct cb_error *err)
{
    bool only_first = strchr(name, '/') && !strchr(name, '=');
    size_t found = 0;
    for (size_t i = 0; i < d->n && !(only_first && found); i++) {
        if (!is_meant(&d->v[i], name))
            continue;
        int r = cdi_edits_add(out, &d->v[i], err);
        if (r == 0 && !spec_was_taken(d, i, name, d->v[i].file))
            r = cdi_edits_add_all(out, &d->v[i], err);
        if (r < 0)
            return r;
        found++;
    }
    return found ? 0 : -CB_ENOTFOUND;
}

int cb_cdi_find(const struct cb_strvec *dirs, const char *name, struct cb_cdi *out, struct cb_error *err)
{
    struct cdi_devices d CB_CLEANUP(cdi_devices_done) = { 0 };
    int r = load(&d, dirs, err);
    if (r == 0)
        r = settle(&d, err);
    if (r == 0)
        r = take_meant(&d, name, out, err);
    if (r != -CB_ENOTFOUND)
        return r;
    if (d.yaml)
        return cb_error_set(err, CB_ECONF,
                            "CDI device %s is in no JSON spec, and %s is YAML, which cbpush does not read: write it "
                            "as JSON (nvidia-ctk cdi generate --format=json)",
                            name, d.yaml);
    return cb_error_set(err, CB_ENOTFOUND, "no CDI spec in /etc/cdi or /var/run/cdi describes the device %s", name);
}
