/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --chmod of COPY and ADD: octal (0 to 07777), or symbolic as chmod(1) writes it: [ugoa]*([-+=]([rwxXst]*|[ugo]))+ and
 * so on, separated by commas. What is left open there is as in the library that BuildKit uses (BSD's setmode with a
 * umask of 0):
 *  - without a class all three are meant, and no umask is applied;
 *  - X looks at what the file had before the whole text, or at its being a directory; after '-' it is x;
 *  - t counts for all classes but that of others alone, and what follows it in the same list only where a class stands
 *    in front ("+tr" is "+t");
 *  - a class as permission copies its bits as they are by then. */

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct cb_chmod {
    const char *text;      /* borrowed; symbolic, or NULL */
    bool set;
    uint32_t mode;         /* octal */
};
/* text NULL or "": nothing is changed. -CB_ECONF says what can be written. */
int cb_chmod_parse(struct cb_chmod *out, const char *text, struct cb_error *err) CB_WUR;
/* The mode (07777 at most) of what had this one. */
uint32_t cb_chmod_apply(const struct cb_chmod *c, uint32_t mode, bool is_dir);
/* Of a directory that had to be made on the way: an octal mode is its too, but for setuid, setgid and sticky. */
uint32_t cb_chmod_made(const struct cb_chmod *c);
