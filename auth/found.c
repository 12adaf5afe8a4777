/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

#include "auth/private.h"
#include "util/alloc.h"

void auth_secret_free(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

char *auth_lower(const char *host)
{
    char *s = cb_strdup(host);
    for (char *p = s; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return s;
}

void cb_credential_done(struct cb_credential *c)
{
    auth_secret_free(c->password);
    auth_secret_free(c->identity_token);
    auth_secret_free(c->registry_token);
    free(c->username);
    free(c->source);
    free(c->key);
    *c = (struct cb_credential){ 0 };
}

bool cb_credential_is_set(const struct cb_credential *c)
{
    return (c->username && *c->username) || c->identity_token || c->registry_token;
}

void auth_credential_copy(struct cb_credential *to, const struct cb_credential *from)
{
    *to = (struct cb_credential){ .username = cb_strdup_or_null(from->username),
                                  .password = cb_strdup_or_null(from->password),
                                  .identity_token = cb_strdup_or_null(from->identity_token),
                                  .registry_token = cb_strdup_or_null(from->registry_token),
                                  .source = cb_strdup_or_null(from->source),
                                  .key = cb_strdup_or_null(from->key) };
}

void auth_found_init(struct auth_found_map *m)
{
    pthread_mutex_init(&m->mu, NULL);
    m->map = cb_hashmap_new();
}

void auth_found_done(struct auth_found_map *m)
{
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(m->map, &it, &key, &v);) {
        struct auth_found *f = v;
        cb_credential_done(&f->cred);
        cb_error_done(&f->failure);
        cb_turn_done(&f->turn);
        free(f);
    }
    cb_hashmap_free(m->map);
    pthread_mutex_destroy(&m->mu);
}

struct auth_found *auth_found_of(struct auth_found_map *m, const char *key)
{
    pthread_mutex_lock(&m->mu);
    struct auth_found *f = cb_hashmap_get(m->map, key);
    if (!f) {
        f = CB_NEW(struct auth_found);
        cb_turn_init(&f->turn);
        cb_hashmap_put(m->map, key, f);
    }
    pthread_mutex_unlock(&m->mu);
    return f;
}
