/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Strict JSON (rule R12): duplicate keys, trailing data, NULs, wrong types and depth over CB_MAX_JSON_DEPTH are
 * refused, and so is a key that differs only in case from a known one. Output is compact and keeps insertion order. */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

static inline CB_UNUSED void cb_json_decref_p(json_t **j)
{
    json_decref(*j);
}
#define cb_autojson __attribute__((cleanup(cb_json_decref_p)))

json_t *cb_json_parse(const char *text, size_t len, struct cb_error *err); /* NULL and -CB_EVERIFY in err */
/* Refuses a case variant of one of the NULL-terminated known keys. */
int cb_json_check_keys(const json_t *o, const char *const known[], struct cb_error *err) CB_WUR;
/* Typed getters: absent (or JSON null) leaves *out untouched and is no error; a wrong type is -CB_EVERIFY naming
 * the key. */
int cb_json_get_string(const json_t *o, const char *key, const char **out, struct cb_error *err) CB_WUR;
int cb_json_get_u64(const json_t *o, const char *key, uint64_t *out, struct cb_error *err) CB_WUR;
int cb_json_get_i64(const json_t *o, const char *key, int64_t *out, struct cb_error *err) CB_WUR;
int cb_json_get_bool(const json_t *o, const char *key, bool *out, struct cb_error *err) CB_WUR;
int cb_json_get_object(const json_t *o, const char *key, const json_t **out, struct cb_error *err) CB_WUR;
int cb_json_get_array(const json_t *o, const char *key, const json_t **out, struct cb_error *err) CB_WUR;
int cb_json_get_strvec(const json_t *o, const char *key, struct cb_strvec *out, struct cb_error *err) CB_WUR;
int cb_json_get_strmap(const json_t *o, const char *key, struct cb_strmap *out, struct cb_error *err) CB_WUR;
json_t *cb_json_from_strvec(const struct cb_strvec *sv); /* new reference */
json_t *cb_json_from_strmap(const struct cb_strmap *m);
/* A string that JSON can hold: bytes that are no UTF-8 become U+FFFD, one each, as Go's encoder does. New reference. */
json_t *cb_json_string(const char *s);
/* Sets a member; the key and the reference (never NULL) as above. */
void cb_json_put(json_t *o, const char *key, json_t *value /* taken */);
/* Adds only what is there. */
void cb_json_put_string(json_t *o, const char *key, const char *value_or_null);
/* Compact; the same bytes for the same value on every machine. */
void cb_json_print(struct cb_strbuf *out, const json_t *j);
void cb_json_print_pretty(struct cb_strbuf *out, const json_t *j); /* two spaces, ends with '\n' */
