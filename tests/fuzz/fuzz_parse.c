/* SPDX-License-Identifier: Apache-2.0 */
/* A Dockerfile. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_trigger(const struct cb_dockerfile *d, const struct cb_df_instruction *i)
{
    struct cb_df_instruction again;
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_df_onbuild_text(&text, i);
    if (cb_df_instruction_parse(&again, text.buf, "trigger", NULL) == 0)
        cb_df_instruction_done(&again);
    else if (d->escape == '\\')
        abort(); /* what we write we must be able to read */
}

static void fuzz_parsed(const struct cb_dockerfile *d, const struct cb_df_instruction *i)
{
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_df_excerpt(&out, d, i->span, NULL);
    if (i->span.first == 0 || i->span.last < i->span.first)
        abort();
    if (i->kind == CB_DF_RUN && !i->command.exec_form) {
        (void)cb_df_run_is_script(i);
        cb_df_run_text(&out, i);
    }
    if (i->kind == CB_DF_ONBUILD)
        fuzz_trigger(d, i);
}

FUZZ_TARGET(parse)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("Dockerfile", text, len, &err);
    if (!d && (err.code != CB_ECONF || strncmp(cb_error_text(&err), "Dockerfile:", 11) != 0))
        abort();
    for (size_t s = 0; d && s < d->n_stages; s++)
        for (size_t k = 0; k < d->stages[s].n; k++)
            fuzz_parsed(d, &d->stages[s].instructions[k]);
}
