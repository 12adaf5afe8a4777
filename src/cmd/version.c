/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include <jansson.h>
#include <libdeflate.h>
#include <openssl/crypto.h>
#include <seccomp.h>
#include <sqlite3.h>
#include <zstd.h>

#include "cmd/session.h"

static const struct cb_opt options[] = { CB_OPT_END };

static int run(const struct cb_process *p CB_UNUSED, const struct cb_verb *self, int argc, char **argv,
               int *status CB_UNUSED, struct cb_error *err)
{
    int none;
    struct cb_verb_args a = { .verb = self, .dest = &none, .argc = argc, .argv = argv };
    int r = cb_verb_args(&a, err);
    cb_strvec_done(&a.operands);
    if (r < 0 || a.done)
        return r;
    printf("cbpush %s\n", PACKAGE_VERSION);
    printf("libraries: %s, %s, jansson %s, %s, zstd %s, libdeflate %s, SQLite %s, libseccomp %d.%d.%d%s\n",
           cb_http_library(), OpenSSL_version(OPENSSL_VERSION), jansson_version_str(), cb_layer_library(),
           ZSTD_versionString(), LIBDEFLATE_VERSION_STRING, sqlite3_libversion(), SCMP_VER_MAJOR, SCMP_VER_MINOR,
           SCMP_VER_MICRO,
#ifdef HAVE_ISAL
           ", ISA-L"
#else
           ""
#endif
    );
    return 0;
}

const struct cb_verb cb_verb_version = {
    .name = "version",
    .topic = CB_TOPIC_HOUSE,
    .summary = "versions of cbpush and of what it is made with",
    .operands = "",
    .options = options,
    .run = run,
};
