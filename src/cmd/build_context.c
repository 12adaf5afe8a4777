/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_input.h"

#include <sys/stat.h>

#include "oci/reference.h"
#include "util/alloc.h"

static int take_one(struct build_input *in, const char *word, struct cb_error *err)
{
    const char *eq = strchr(word, '=');
    if (!eq || eq == word || !eq[1])
        return cb_error_set(err, CB_EUSAGE, "--build-context %s: write NAME=VALUE", word);
    cb_autofree char *key = cb_strndup(word, (size_t)(eq - word)), *name = cb_context_name(key);
    if (!strcmp(name, "scratch") || !strcmp(name, "context"))
        return cb_error_set(err, CB_EUSAGE, "--build-context %s: the name %s is reserved", word, name);
    cb_autofree char *what = cb_asprintf("--build-context %s", key);
    int r = cb_context_check(what, eq + 1, true, err);
    if (r == 0)
        cb_strmap_set(&in->contexts, name, eq + 1);
    return r;
}

int build_take_contexts(struct build_input *in, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->cli.contexts.n; i++)
        r = take_one(in, in->cli.contexts.v[i], err);
    return r;
}

/* `-t NAME --push NAME`: the second is where the context stands. */
static int check_is_no_name(const struct cb_build_options *o, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct stat st;
    bool name = strchr(o->context, ':') && cb_reference_parse(&ref, o->context, NULL) == 0;
    if (!o->push || !name || stat(o->context, &st) == 0)
        return 0;
    return cb_error_set(err, CB_EUSAGE, "context %s: no such directory; " BUILD_PUSH_BESIDE_TAG, o->context);
}

int build_check_context(const struct cb_build_options *o, struct cb_error *err)
{
    bool in_stdin = !strcmp(o->context, "-"), df_stdin = cb_streq(o->dockerfile, "-");
    if (in_stdin && df_stdin)
        return cb_error_set(err, CB_EUSAGE, "-f - and the context - cannot both be standard input");
    int r = cb_context_check("context", o->context, false, err);
    return r < 0 ? r : check_is_no_name(o, err);
}
