/* SPDX-License-Identifier: Apache-2.0 */
/* config.json, and which of its keys serves "host/repo" (behind a \\x01). No helper is run. */
#include "auth/private.h"
#include "tests/fuzz/fuzz.h"

static void check_found(int r, const struct cb_credential *c)
{
    if ((r > 0) != cb_credential_is_set(c))
        abort();
    if (r > 0 && (!c->source || !c->key))
        abort();
}

FUZZ_TARGET(authfile)
{
    struct cb_strbuf file cb_cleanup_strbuf = CB_STRBUF_INIT;
    char *name = (char *)(uintptr_t)fuzz_second(text, &len, NULL), *slash = name ? strchr(name, '/') : NULL;
    struct auth_query q = { .host = name ? name : "r.example", .repo = slash ? slash + 1 : "team/app" };
    if (slash)
        *slash = '\0';
    cb_strbuf_add(&file, text, len);
    cb_autojson json_t *root = auth_file_parse("f", &file, NULL);
    if (!root)
        return;
    for (int reach = AUTH_OF_PATH; reach <= AUTH_OF_HOST; reach++) {
        struct auth_source src = { .name = (char *)"f" };
        struct cb_credential c cb_cleanup_credential = { 0 };
        if (reach == AUTH_OF_HOST && auth_file_helper(root, q.host))
            continue;
        check_found(auth_root_lookup(root, &src, &q, (enum auth_reach)reach, &c, NULL), &c);
    }
    if (auth_root_path_rank(root, &q) && !json_object_get(root, "auths"))
        abort();
}
