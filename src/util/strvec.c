/* SPDX-License-Identifier: Apache-2.0 */
#include "util/strvec.h"

#include <stdarg.h>

#include "util/alloc.h"

void cb_strvec_done(struct cb_strvec *sv)
{
    for (size_t i = 0; i < sv->n; i++)
        free(sv->v[i]);
    free(sv->v);
    *sv = (struct cb_strvec)CB_STRVEC_INIT;
}

void cb_strvec_wipe(struct cb_strvec *sv)
{
    for (size_t i = 0; i < sv->n; i++)
        explicit_bzero(sv->v[i], strlen(sv->v[i]));
    cb_strvec_done(sv);
}

void cb_strvec_take(struct cb_strvec *sv, char *s)
{
    /* One more than n: the NULL at the end. */
    CB_GROW(sv->v, sv->n + 1, sv->cap);
    sv->v[sv->n++] = s;
    sv->v[sv->n] = NULL;
}

void cb_strvec_push(struct cb_strvec *sv, const char *s)
{
    cb_strvec_take(sv, cb_strdup(s));
}

void cb_strvec_pushf(struct cb_strvec *sv, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cb_strvec_take(sv, cb_vasprintf(fmt, ap));
    va_end(ap);
}

void cb_strvec_copy(struct cb_strvec *dst, const struct cb_strvec *src)
{
    if (dst == src)
        return;
    cb_strvec_done(dst);
    for (size_t i = 0; i < src->n; i++)
        cb_strvec_push(dst, src->v[i]);
}

bool cb_strvec_has(const struct cb_strvec *sv, const char *s)
{
    for (size_t i = 0; i < sv->n; i++) {
        if (strcmp(sv->v[i], s) == 0)
            return true;
    }
    return false;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void cb_strvec_sort(struct cb_strvec *sv)
{
    if (sv->n > 1)
        qsort(sv->v, sv->n, sizeof *sv->v, compare_strings);
}

static char **env_find(const struct cb_strvec *env, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; i < env->n; i++) {
        if (strncmp(env->v[i], key, len) == 0 && env->v[i][len] == '=')
            return &env->v[i];
    }
    return NULL;
}

void cb_env_set(struct cb_strvec *env, const char *key, const char *value)
{
    char **old = env_find(env, key);
    char *entry = cb_asprintf("%s=%s", key, value);
    if (!old) {
        cb_strvec_take(env, entry);
        return;
    }
    free(*old);
    *old = entry;
}

void cb_env_remove(struct cb_strvec *env, const char *key)
{
    char **old = env_find(env, key);
    if (!old)
        return;
    free(*old);
    memmove(old, old + 1, (size_t)(env->v + env->n - old) * sizeof *old); /* the NULL at the end too */
    env->n--;
}

const char *cb_env_get(const struct cb_strvec *env, const char *key)
{
    char **entry = env_find(env, key);
    return entry ? *entry + strlen(key) + 1 : NULL;
}
