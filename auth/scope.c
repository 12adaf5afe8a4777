/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"
#include "util/alloc.h"

#define MAX_SCOPES 16

void auth_scope_list(const struct cb_scope *scopes, size_t n, struct cb_strvec *out)
{
    for (size_t i = 0; i < n; i++) {
        cb_autofree char *text = scopes[i].repo ? cb_asprintf("repository:%s:%s", scopes[i].repo, scopes[i].actions)
                                                : cb_asprintf("registry:catalog:%s", scopes[i].actions);
        if (!cb_strvec_has(out, text))
            cb_strvec_push(out, text);
    }
}

bool auth_has_action(const char *actions, const char *action, size_t n)
{
    for (const char *p = actions; *p; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");
        if (len == n && !strncmp(p, action, n))
            return true;
        p += len;
    }
    return false;
}

/* "repository:x:pull,push" covers "repository:x:push"; servers list actions in any order. */
static bool covers(const char *have, const char *want)
{
    const char *h = strrchr(have, ':'), *w = strrchr(want, ':');
    if (!h || !w)
        return !strcmp(have, want);
    if (h - have != w - want || strncmp(have, want, (size_t)(h - have)) != 0)
        return false;
    for (const char *p = w + 1; *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        if (n && !auth_has_action(h + 1, p, n))
            return false;
        p += n;
    }
    return true;
}

static bool is_covered(const struct cb_strvec *list, const char *scope)
{
    for (size_t i = 0; i < list->n; i++)
        if (covers(list->v[i], scope))
            return true;
    return false;
}

void auth_scope_add(struct cb_strvec *list, const char *text)
{
    for (const char *p = text; p && *p && list->n < MAX_SCOPES; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        cb_autofree char *one = cb_strndup(p, n);
        if (n && !is_covered(list, one))
            cb_strvec_push(list, one);
        p += n;
    }
}
