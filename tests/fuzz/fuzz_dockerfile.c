/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target for src/dockerfile. The first byte chooses: a Dockerfile; ignore rules, then \x01 and a path; a text
 * to expand; a wildcard pattern, then \x01 and a name. By hand:
 *   clang -fsanitize=fuzzer,address,undefined … tests/fuzz/fuzz_dockerfile.c src/dockerfile/x.c src/util/x.c
 * tests/unit/test_dockerfile_mutate replays tests/fuzz/corpus/dockerfile. */
#include "dockerfile/dockerfile.h"
#include "util/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *fuzz_lookup(void *arg, const char *name)
{
    (void)arg;
    static const char *const values[] = { NULL, "", "a b", "1.2.3", "*?\\[", "/usr/\xc3\xa9/x*" };
    return values[(unsigned char)name[0] % CB_COUNTOF(values)];
}

static void fuzz_expand(const char *text, char escape)
{
    struct cb_df_scope scope = { .lookup = fuzz_lookup, .escape = escape };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_cleanup_strvec struct cb_strvec words = CB_STRVEC_INIT;
    (void)!cb_df_expand(&out, text, &scope, NULL);
    (void)!cb_df_expand_raw(&out, text, &scope, NULL);
    (void)!cb_df_expand_words(&words, text, &scope, NULL);
}

static void fuzz_instruction(const struct cb_dockerfile *d, const struct cb_df_instruction *i)
{
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_df_excerpt(&out, d, i->span);
    fuzz_expand(i->original, d->escape);
    for (size_t k = 0; k < i->n_heredocs; k++)
        fuzz_expand(i->heredocs[k].body, d->escape);
    if (i->kind == CB_DF_RUN && !i->command.exec_form) {
        (void)cb_df_run_is_script(i);
        cb_df_run_text(&out, i);
    }
    if (i->kind == CB_DF_ONBUILD) {
        struct cb_df_instruction again;
        cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
        cb_df_onbuild_text(&text, i);
        if (cb_df_instruction_parse(&again, text.buf, "trigger", NULL) == 0)
            cb_df_instruction_done(&again);
        else if (d->escape == '\\')
            abort(); /* what we write we must be able to read */
    }
}

static void fuzz_file(const char *text, size_t n)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("Dockerfile", text, n, &err);
    if (!d && (err.code != CB_ECONF || strncmp(cb_error_text(&err), "Dockerfile:", 11) != 0))
        abort();
    for (size_t s = 0; d && s < d->n_stages; s++) {
        for (size_t k = 0; k < d->stages[s].n; k++)
            fuzz_instruction(d, &d->stages[s].instructions[k]);
    }
}

static void fuzz_ignore(const char *text, size_t n, const char *path)
{
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *i = cb_df_ignore_parse("i", text, n, NULL);
    if (!i)
        return;
    (void)cb_df_ignored(i, path);
    cb_autofree char *below = cb_asprintf("%s/x", path);
    /* A path that comes back below an ignored directory must have been announced. */
    if (path[0] && path[0] != '/' && strlen(path) < 4000 && cb_df_ignored(i, path) && !cb_df_ignored(i, below) &&
        !cb_df_ignore_may_reinclude(i, path))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    cb_autofree char *text = cb_malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    char *sep = memchr(text, 1, size - 1);
    bool matched;
    switch (data[0] % 4) {
    case 0:
        fuzz_file(text, size - 1);
        break;
    case 1:
        if (sep)
            *sep = '\0';
        fuzz_ignore(text, sep ? (size_t)(sep - text) : size - 1, sep ? sep + 1 : "a/b.c");
        break;
    case 2:
        fuzz_expand(text, data[0] & 4 ? '`' : '\\');
        break;
    default:
        if (sep)
            *sep = '\0';
        (void)!cb_df_match(text, sep ? sep + 1 : "a/b.c", &matched, NULL);
        break;
    }
    return 0;
}
