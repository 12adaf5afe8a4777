/* SPDX-License-Identifier: Apache-2.0 */
/* The value of RUN --mount, and flags behind it. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

static void check_mount(const struct cb_df_mount *m)
{
    if (m->type > CB_DF_MOUNT_SSH)
        abort();
    if ((m->type == CB_DF_MOUNT_SECRET || m->type == CB_DF_MOUNT_SSH) && m->from)
        abort();
    if (m->from && strchr(m->from, '$') && m->from[strlen(m->from) - 1] != '$')
        abort(); /* it is taken literally, so a variable is refused */
}

FUZZ_TARGET(mount)
{
    cb_cleanup_strbuf struct cb_strbuf file = CB_STRBUF_INIT;
    (void)len;
    text[strcspn(text, "\n")] = '\0';
    cb_strbuf_addf(&file, "FROM scratch\nRUN --mount=%s x\n", text);
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", file.buf, file.len, NULL);
    const struct cb_df_instruction *run = d && d->stages[0].n ? &d->stages[0].instructions[0] : NULL;
    for (size_t k = 0; run && k < run->n_mounts; k++)
        check_mount(&run->mounts[k]);
}
