/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Image references as github.com/distribution/reference reads them: [host[:port]/]path[:tag][@digest]. The first
 * component is a host if it has '.' or ':' or is "localhost" (or has an upper-case letter). Normalised: `busybox`
 * is docker.io/library/busybox; index.docker.io is docker.io. Refused beyond that: ports outside 1–65535, IPv6
 * hosts that are no addresses, unregistered digest algorithms, more than CB_MAX_REFERENCE bytes. A bare name of 64
 * hexadecimal digits is refused too: elsewhere that is an image id. The host keeps its case. */

#include <stdbool.h>

#include "oci/digest.h"

struct cb_reference {
    char *host;              /* "docker.io", "localhost:5000", "[::1]:5000" */
    char *repo;              /* "library/busybox" */
    char *tag;               /* NULL where none was given */
    struct cb_digest digest; /* NONE where none was given */
};

void cb_reference_done(struct cb_reference *r);
#define cb_cleanup_reference CB_CLEANUP(cb_reference_done)
void cb_reference_copy(struct cb_reference *dst, const struct cb_reference *src);
/* -CB_ECONF with the text and what is wrong with it. */
int cb_reference_parse(struct cb_reference *out, const char *text, struct cb_error *err) CB_WUR;
/* The same of a word of the command line: -CB_EUSAGE. */
int cb_reference_parse_word(struct cb_reference *out, const char *word, struct cb_error *err) CB_WUR;
/* Adds tag "latest" where there is neither tag nor digest. */
void cb_reference_default_tag(struct cb_reference *r);
/* Canonical: docker.io/library/busybox:1.36@sha256:… */
void cb_strbuf_add_reference(struct cb_strbuf *sb, const struct cb_reference *r);
/* As people write it: busybox:1.36; always reads back as the same reference. */
void cb_strbuf_add_familiar(struct cb_strbuf *sb, const struct cb_reference *r);
char *cb_reference_text(const struct cb_reference *r); /* canonical, owned by the caller */
/* Of the same host and repository; the same tag, or none. */
bool cb_reference_same_tag(const struct cb_reference *a, const struct cb_reference *b);
bool cb_reference_valid_tag(const char *tag);
bool cb_reference_valid_repo(const char *repo);
bool cb_reference_valid_host(const char *host);
const char *cb_reference_known_host(const char *host); /* docker.io for the other name that it has, else host itself */
