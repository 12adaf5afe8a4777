/* SPDX-License-Identifier: Apache-2.0 */
/* The corpora of what comes from registries, token servers, helpers and their files: nothing may crash, leak, hang. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define CB_FUZZ_REPLAY 1
#include "tests/fuzz/fuzz_authfile.c"
#include "tests/fuzz/fuzz_challenge.c"
#include "tests/fuzz/fuzz_config.c"
#include "tests/fuzz/fuzz_helper.c"
#include "tests/fuzz/fuzz_hosts.c"
#include "tests/fuzz/fuzz_index.c"
#include "tests/fuzz/fuzz_jwt.c"
#include "tests/fuzz/fuzz_link.c"
#include "tests/fuzz/fuzz_location.c"
#include "tests/fuzz/fuzz_manifest.c"
#include "tests/fuzz/fuzz_range.c"
#include "tests/fuzz/fuzz_registries.c"
#include "tests/fuzz/fuzz_template.c"
#include "tests/fuzz/fuzz_foreign_toc.c"
#include "fuzz_replay.h"

static const struct fuzz_target targets[] = {
    { "authfile", fuzz_authfile },
    { "challenge", fuzz_challenge },
    { "config", fuzz_config },
    { "helper", fuzz_helper },
    { "hosts", fuzz_hosts },
    { "index", fuzz_index },
    { "jwt", fuzz_jwt },
    { "link", fuzz_link },
    { "location", fuzz_location },
    { "manifest", fuzz_manifest },
    { "range", fuzz_range },
    { "registries", fuzz_registries },
    { "template", fuzz_template },
    { "foreign_toc", fuzz_foreign_toc },
};

static void every_input_that_was_kept_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(targets); i++)
        assert_true(fuzz_replay(&targets[i]) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_input_that_was_kept_is_survived) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
