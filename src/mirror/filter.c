/* SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>

#include "mirror/private.h"
#include "util/alloc.h"

#define MAX_PATTERN 1000

static void patterns_done(struct mirror_patterns *p)
{
    cb_strvec_done(&p->exact);
    cb_strvec_done(&p->globs);
    for (size_t i = 0; i < p->n_regex; i++)
        regfree(&p->regex[i]);
    free(p->regex);
}

void mirror_filter_done(struct mirror_filter *f)
{
    patterns_done(&f->in);
    patterns_done(&f->out);
    mirror_range_free(f->semver);
    *f = (struct mirror_filter){ 0 };
}

int mirror_patterns_add_regex(struct mirror_patterns *p, const char *text, struct cb_error *err)
{
    cb_autofree char *whole = cb_asprintf("^(%s)$", text);
    char why[200];
    if (strlen(text) > MAX_PATTERN)
        return cb_error_set(err, CB_ECONF, "a regular expression of more than %d bytes", MAX_PATTERN);
    p->regex = cb_reallocarray(p->regex, p->n_regex + 1, sizeof *p->regex);
    int r = regcomp(&p->regex[p->n_regex], whole, REG_EXTENDED | REG_NOSUB);
    if (r) {
        regerror(r, &p->regex[p->n_regex], why, sizeof why);
        return cb_error_set(err, CB_ECONF, "\"%.200s\": %s", text, why);
    }
    p->n_regex++;
    return 0;
}

/* ---- one tag ---- */

bool mirror_is_digest_tag(const char *tag)
{
    cb_autofree char *copy = cb_strdup(tag);
    char *dot = strchr(copy, '.');
    if (dot)
        *dot = '\0';
    return cb_copy_is_fallback_tag(copy) || (cb_starts_with(copy, "sha512-") && strlen(copy) > 100);
}

static bool by_pattern(const struct mirror_patterns *p, const char *tag)
{
    for (size_t i = 0; i < p->globs.n; i++)
        if (!fnmatch(p->globs.v[i], tag, 0))
            return true;
    for (size_t i = 0; i < p->n_regex; i++)
        if (!regexec(&p->regex[i], tag, 0, NULL, 0))
            return true;
    return false;
}

static bool any_pattern(const struct mirror_filter *f)
{
    return f->in.globs.n || f->in.n_regex || f->semver;
}

bool mirror_filter_is_exact(const struct mirror_filter *f)
{
    return f->in.exact.n && !any_pattern(f);
}

/* Chosen otherwise than by its exact name. */
static bool by_rule(const struct mirror_filter *f, const char *tag)
{
    struct mirror_version v;
    if (mirror_is_digest_tag(tag) || mirror_filter_is_exact(f))
        return false;
    if (!any_pattern(f) || by_pattern(&f->in, tag))
        return true;
    return f->semver && mirror_version_parse(&v, tag) && mirror_range_has(f->semver, &v, f->prerelease);
}

bool mirror_filter_takes(const struct mirror_filter *f, const char *tag)
{
    if (cb_strvec_has(&f->out.exact, tag) || by_pattern(&f->out, tag))
        return false;
    return cb_strvec_has(&f->in.exact, tag) || by_rule(f, tag);
}

/* ---- the newest ---- */

struct ranked {
    const char *tag;
    struct mirror_version version;
    int64_t created;
};

static int by_version(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c = mirror_version_cmp(&y->version, &x->version);
    return c ? c : strcmp(x->tag, y->tag);
}

static int by_time(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->created != y->created ? (x->created < y->created) - (x->created > y->created) : strcmp(x->tag, y->tag);
}

/* What is no version has no place among versions. */
static int rank(const struct mirror_filter *f, const char *tag, const struct mirror_chooser *c, struct ranked *out,
                bool *ranked, struct cb_error *err)
{
    *out = (struct ranked){ .tag = tag };
    *ranked = true;
    if (f->by == MIRROR_BY_CREATED)
        return c->created(c->arg, tag, &out->created, err);
    *ranked = mirror_version_parse(&out->version, tag);
    return 0;
}

static int keep_newest(const struct mirror_filter *f, const struct cb_strvec *found, const struct mirror_chooser *c,
                       struct cb_strvec *out, struct cb_error *err)
{
    struct ranked *v = cb_calloc(found->n + 1, sizeof *v);
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < found->n; i++) {
        bool ranked = false;
        r = rank(f, found->v[i], c, &v[n], &ranked, err);
        n += ranked;
    }
    if (r == 0) {
        qsort(v, n, sizeof *v, f->by == MIRROR_BY_CREATED ? by_time : by_version);
        for (size_t i = 0; i < n && i < f->newest; i++)
            cb_strvec_push(out, v[i].tag);
    }
    free(v);
    return r;
}

static void sort_once(struct cb_strvec *sv)
{
    size_t kept = 0;
    cb_strvec_sort(sv);
    for (size_t i = 0; i < sv->n; i++)
        if (kept == 0 || strcmp(sv->v[kept - 1], sv->v[i]) != 0)
            sv->v[kept++] = sv->v[i];
        else
            free(sv->v[i]);
    sv->n = kept;
    if (sv->v)
        sv->v[kept] = NULL;
}

int mirror_filter_choose(const struct mirror_filter *f, const struct cb_strvec *all, const struct mirror_chooser *c,
                         struct cb_strvec *out, struct cb_error *err)
{
    struct cb_strvec found cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = 0;
    for (size_t i = 0; i < all->n; i++)
        if (by_rule(f, all->v[i]) && mirror_filter_takes(f, all->v[i]))
            cb_strvec_push(&found, all->v[i]);
    if (f->newest)
        r = keep_newest(f, &found, c, out, err);
    else
        cb_strvec_copy(out, &found);
    for (size_t i = 0; i < f->in.exact.n; i++)
        if (mirror_filter_takes(f, f->in.exact.v[i]))
            cb_strvec_push(out, f->in.exact.v[i]);
    sort_once(out);
    return r;
}
