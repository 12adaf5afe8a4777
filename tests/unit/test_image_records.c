/* SPDX-License-Identifier: Apache-2.0 */
/* What a helper that was taken over may say while it reads: the corpus of its fuzz target, in a program of its own,
 * which plays the server's part. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define CB_FUZZ_REPLAY
#include "tests/fuzz/fuzz_records.c"
#include "fuzz_replay.h"

static void corpus(void **state)
{
    (void)state;
    assert_true(fuzz_replay(&(struct fuzz_target){ "records", fuzz_records }) >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(corpus) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
