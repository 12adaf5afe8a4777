/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/platform.h"
#include "util/alloc.h"
#include "util/limits.h"

void cb_platforms_free(struct cb_platform *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cb_platform_done(&v[i]);
    free(v);
}

struct list {
    struct cb_platform *v;
    size_t n, cap;
};

static bool has(const struct list *l, const struct cb_platform *p)
{
    for (size_t i = 0; i < l->n; i++)
        if (cb_platform_eq(&l->v[i], p))
            return true;
    return false;
}

static int add(struct list *l, const char *text, struct cb_error *err)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    int r = 0;
    if (!strcmp(text, "local"))
        cb_platform_host(&p);
    else
        r = cb_platform_parse(&p, text, err);
    if (r < 0 || has(l, &p))
        return r;
    if (l->n == CB_MAX_INDEX_MANIFESTS)
        return cb_error_set(err, CB_EUSAGE, "more than %d platforms", CB_MAX_INDEX_MANIFESTS);
    CB_GROW(l->v, l->n, l->cap);
    l->v[l->n++] = p;
    p = (struct cb_platform){ 0 };
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int add_list(struct list *l, const char *text, struct cb_error *err)
{
    int r = 0;
    for (const char *p = text; r == 0; p++) {
        size_t len = strcspn(p, ",");
        const char *end = p + len, *start = p;
        while (start < end && is_blank(*start))
            start++;
        while (end > start && is_blank(end[-1]))
            end--;
        cb_autofree char *one = cb_strndup(start, (size_t)(end - start));
        r = add(l, one, err);
        p += len;
        if (!*p)
            break;
    }
    return r;
}

int cb_platforms_parse(const struct cb_strvec *lists, struct cb_platform **out, size_t *n, struct cb_error *err)
{
    struct list l = { 0 };
    int r = 0;
    for (size_t i = 0; r == 0 && i < lists->n; i++)
        r = add_list(&l, lists->v[i], err);
    if (r < 0) {
        cb_platforms_free(l.v, l.n);
        return cb_error_wrap(err, "--platform");
    }
    *out = l.v;
    *n = l.n;
    return 0;
}
