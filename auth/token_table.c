/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"
#include "oci/digest.h"
#include "util/alloc.h"

/* Whose token it is: two hosts share one only where the same secret would get it. As a digest: keys are not wiped. */
static void add_account(struct cb_strbuf *key, const struct cb_credential *c)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    if (!c || !cb_credential_is_set(c)) {
        cb_strbuf_adds(key, "anonymous");
        return;
    }
    cb_strbuf_addf(&text, "%s\n%s\n%s", c->username ? c->username : "", c->password ? c->password : "",
                   c->identity_token ? c->identity_token : "");
    cb_digest_of(&d, text.buf, text.len);
    cb_strbuf_adds(key, cb_digest_text(&d, hex));
    explicit_bzero(text.buf, text.len);
}

static char *make_key(const struct auth_token_request *q)
{
    struct cb_strbuf key cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strvec sorted cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_strvec_copy(&sorted, q->scopes);
    cb_strvec_sort(&sorted);
    cb_strbuf_addf(&key, "%s\n%s\n", q->realm, q->service ? q->service : "");
    add_account(&key, q->cred);
    for (size_t i = 0; i < sorted.n; i++)
        cb_strbuf_addf(&key, "\n%s", sorted.v[i]);
    return cb_strbuf_detach(&key, NULL);
}

struct auth_kept_token *auth_token_kept(struct cb_auth *a, const struct auth_token_request *q)
{
    cb_autofree char *key = make_key(q);
    pthread_mutex_lock(&a->mu);
    struct auth_kept_token *k = cb_hashmap_get(a->tokens, key);
    if (!k) {
        k = CB_NEW(struct auth_kept_token);
        cb_turn_init(&k->turn);
        cb_hashmap_put(a->tokens, key, k);
    }
    pthread_mutex_unlock(&a->mu);
    return k;
}

void auth_token_table_done(struct cb_hashmap *tokens)
{
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(tokens, &it, &key, &v);) {
        struct auth_kept_token *k = v;
        auth_secret_free(k->token.value);
        cb_turn_done(&k->turn);
        free(k);
    }
    cb_hashmap_free(tokens);
}
