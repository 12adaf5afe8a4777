/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reading what a person or another program writes: a terminal, a pipe. While nothing comes, cancel (or NULL) ends it
 * with -CB_ECANCELED; read(2) alone would go on waiting, since signals only trigger the token. */

#include <stdint.h>

#include "util/cancel.h"
#include "util/strbuf.h"

struct cb_input {
    int fd;
    const struct cb_cancel *cancel;
};
/* What is there, up to n bytes; *got = 0 at the end. */
int cb_input_read(const struct cb_input *in, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
/* All of it appended to out; -CB_EVERIFY past max bytes. */
int cb_input_slurp(const struct cb_input *in, size_t max, struct cb_strbuf *out, struct cb_error *err) CB_WUR;
/* The same of a file that a person names, which may be a pipe (`<(…)`) or a device: as cb_file_slurp otherwise. */
int cb_input_slurp_path(const char *path, const struct cb_cancel *cancel, size_t max, struct cb_strbuf *out,
                        struct cb_error *err) CB_WUR;
/* Up to n bytes (UINT64_MAX: to the end) to the file `to`. */
int cb_input_copy(const struct cb_input *in, int to, uint64_t n, uint64_t *copied, struct cb_error *err) CB_WUR;
