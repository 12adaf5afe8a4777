/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind COPY and behind RUN: words, delimiters and bodies of heredocs. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

static void check_heredocs(const struct cb_df_instruction *i)
{
    for (size_t k = 0; k < i->n_heredocs; k++) {
        const char *name = i->heredocs[k].name;
        /* It becomes a file's name. */
        if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || !i->heredocs[k].body)
            abort();
        if (i->heredoc_word && i->heredoc_word[k] + 1 >= i->words.n)
            abort(); /* the destination is never one */
    }
}

static void fuzz_behind(const char *keyword, const char *text)
{
    cb_cleanup_strbuf struct cb_strbuf file = CB_STRBUF_INIT, out = CB_STRBUF_INIT;
    cb_strbuf_addf(&file, "FROM scratch\n%s %s", keyword, text);
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", file.buf, file.len, NULL);
    for (size_t s = 0; d && s < d->n_stages; s++)
        for (size_t k = 0; k < d->stages[s].n; k++) {
            const struct cb_df_instruction *i = &d->stages[s].instructions[k];
            check_heredocs(i);
            if (i->kind == CB_DF_RUN && !i->command.exec_form)
                cb_df_run_text(&out, i);
        }
}

FUZZ_TARGET(heredoc)
{
    (void)len;
    fuzz_behind("COPY", text);
    fuzz_behind("RUN", text);
    fuzz_behind("ONBUILD ADD", text);
}
