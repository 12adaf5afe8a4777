/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Owned vectors of strings (v is NULL-terminated once anything was added, so it serves as argv), and an ordered map
 * from string to string for labels and annotations. */

#include <stdbool.h>
#include <stddef.h>

#include "util/macros.h"

struct cb_strvec {
    char **v;
    size_t n;
    size_t cap;
};
#define CB_STRVEC_INIT { 0 }
void cb_strvec_done(struct cb_strvec *sv);
void cb_strvec_wipe(struct cb_strvec *sv); /* the same, and the memory of the strings is zeroed: they hold secrets */
#define cb_cleanup_strvec CB_CLEANUP(cb_strvec_done)
void cb_strvec_push(struct cb_strvec *sv, const char *s);
void cb_strvec_pushf(struct cb_strvec *sv, const char *fmt, ...) CB_PRINTF(2, 3);
void cb_strvec_take(struct cb_strvec *sv, char *s); /* takes ownership of s */
void cb_strvec_copy(struct cb_strvec *dst, const struct cb_strvec *src); /* dst is emptied first */
bool cb_strvec_has(const struct cb_strvec *sv, const char *s);
void cb_strvec_sort(struct cb_strvec *sv); /* bytewise */

/* Environment form: entries "K=V". Replaces an entry of that key in place, else appends. */
void cb_env_set(struct cb_strvec *env, const char *key, const char *value);
void cb_env_remove(struct cb_strvec *env, const char *key);
const char *cb_env_get(const struct cb_strvec *env, const char *key); /* NULL where unset */

struct cb_strmap_entry {
    char *key;
    char *value;
};
/* Kept sorted by key, bytewise; a key stands once. */
struct cb_strmap {
    struct cb_strmap_entry *v;
    size_t n;
    size_t cap;
};
void cb_strmap_done(struct cb_strmap *m);
#define cb_cleanup_strmap CB_CLEANUP(cb_strmap_done)
void cb_strmap_set(struct cb_strmap *m, const char *key, const char *value);
const char *cb_strmap_get(const struct cb_strmap *m, const char *key);
bool cb_strmap_remove(struct cb_strmap *m, const char *key);
void cb_strmap_copy(struct cb_strmap *dst, const struct cb_strmap *src);
