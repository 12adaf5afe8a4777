/* SPDX-License-Identifier: Apache-2.0 */
/* Parses files with cbpush's parser. usage: parse_dockerfiles FILE…   a line each: "STAGES INSTRUCTIONS FILE" (an ARG
 * before the first FROM and a FROM are instructions), or "error FILE: why". Status 1 if there was an error. */
#include <stdio.h>

#include "dockerfile/dockerfile.h"

static bool slurp(const char *path, struct cb_strbuf *out)
{
    char buf[4096];
    size_t n;
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    while ((n = fread(buf, 1, sizeof buf, f)) > 0)
        cb_strbuf_add(out, buf, n);
    bool ok = !ferror(f);
    fclose(f);
    return ok;
}

static bool parse(const char *path)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error err = { 0 };
    if (!slurp(path, &text)) {
        printf("error %s: cannot be read\n", path);
        return false;
    }
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("Dockerfile", text.buf, text.len, &err);
    if (!d) {
        printf("error %s: %s\n", path, cb_error_text(&err));
        cb_error_done(&err);
        return false;
    }
    size_t n = d->n_global_args;
    for (size_t i = 0; i < d->n_stages; i++)
        n += 1 + d->stages[i].n;
    printf("%zu %zu %s\n", d->n_stages, n, path);
    return true;
}

int main(int argc, char **argv)
{
    bool ok = true;
    for (int i = 1; i < argc; i++)
        ok = parse(argv[i]) && ok;
    return ok ? 0 : 1;
}
