/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options and operands: closed lists, KEY=VALUE,… of them, places, images of the store. */
#include <string.h>
#include <unistd.h>

#include "cmd/complete.h"
#include "copy/copy.h"
#include "store/store.h"
#include "util/alloc.h"
#include "util/strbuf.h"

/* What a value is called, and what it may be: as in struct cb_opt. */
static const struct { const char *arg, *values; } known[] = {
    { "FILE", "FILE" },
    { "DIR", "DIR" },
    { "LAYER", "FILE" },
    { "BOOL", "true|false" },
    { "HOST=FILE", "*=FILE" },
    { "OS/ARCH", "linux/amd64|linux/arm64|linux/arm/v7|linux/386|linux/ppc64le|linux/riscv64|linux/s390x" },
};

static const char *values_of(const struct cb_opt *o)
{
    if (o->values)
        return o->values;
    if (o->kind == CB_OPT_FLAG || o->kind == CB_OPT_TRISTATE)
        return "true|false";
    for (size_t i = 0; o->arg && i < CB_COUNTOF(known); i++)
        if (!strcmp(o->arg, known[i].arg) || (i + 1 == CB_COUNTOF(known) && cb_starts_with(o->arg, known[i].arg)))
            return known[i].values;
    return NULL;
}

/* One of "a|b|FILE", n bytes at v. */
static void add_value(struct completion *c, const char *prefix, const char *v, size_t n)
{
    cb_autofree char *word = cb_strndup(v, n);
    if (!strcmp(word, "FILE") || !strcmp(word, "DIR"))
        complete_paths(c, *word == 'F' ? COMPLETE_FILES : COMPLETE_DIRS, prefix);
    else if (n)
        complete_add(c, prefix, word, NULL);
}

static void add_values(struct completion *c, const char *prefix, const char *list, size_t n)
{
    for (const char *p = list, *end = list + n; p <= end;) {
        const char *bar = memchr(p, '|', (size_t)(end - p));
        size_t len = (size_t)((bar ? bar : end) - p);
        add_value(c, prefix, p, len);
        p += len + 1;
    }
}

/* Whether key= stands in one of the fields of done, which ends with a comma or is empty. */
static bool is_said(const char *done, const char *key, size_t n)
{
    for (const char *p = done; *p; p += strcspn(p, ",") + 1)
        if (!strncmp(p, key, n) && p[n] == '=')
            return true;
    return false;
}

/* values: "DIR,type=a|b,dest=FILE,name=": keys and what they may be. An item without = may stand for the whole.
 * done: the fields before; field: the one to complete. */
static void add_field(struct completion *c, const char *values, const char *prefix, const char *done,
                      const char *field)
{
    const char *eq = strchr(field, '=');
    size_t len;
    for (const char *p = values; *p; p += len + (p[len] == ',')) {
        len = strcspn(p, ",");
        const char *is = memchr(p, '=', len);
        size_t n = is ? (size_t)(is - p) : len;
        cb_autofree char *key = cb_strndup(p, n + 1);
        if (!is && !*done && !eq)
            add_value(c, prefix, p, len);
        else if (is && !eq && *key != '*' && !is_said(done, p, n))
            complete_add(c, prefix, key, NULL);
        else if (is && eq && (*key == '*' || ((size_t)(eq - field) == n && !strncmp(field, p, n)))) {
            cb_autofree char *before = cb_asprintf("%s%.*s", prefix, (int)(eq + 1 - field), field);
            add_values(c, before, is + 1, len - n - 1);
        }
    }
    if (c->answer.n)
        c->kind = COMPLETE_OPEN;
}

void complete_value(struct completion *c, const struct cb_opt *o, const char *prefix)
{
    const char *values = values_of(o), *typed = c->word + strlen(prefix);
    if (!values)
        return;
    bool keyed = strchr(values, '='), several = keyed || (o->arg && strstr(o->arg, ",…"));
    const char *comma = several ? strrchr(typed, ',') : NULL;
    cb_autofree char *done = cb_strndup(typed, comma ? (size_t)(comma + 1 - typed) : 0);
    cb_autofree char *before = cb_asprintf("%s%s", prefix, done);
    if (keyed)
        add_field(c, values, before, done, c->word + strlen(before));
    else
        add_values(c, before, values, strlen(values));
}

void complete_images(struct completion *c, const char *root, const char *prefix)
{
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    struct cb_store_names names = { 0 };
    /* No store, or one that cannot be read: no names. A TAB is no place to say so. */
    int r = cb_store_peek(&(struct cb_store_options){ .root = root, .as_root = geteuid() == 0 }, &names, &err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        struct cb_strbuf familiar cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (!names.v[i].name || cb_reference_parse(&ref, names.v[i].name, &err) < 0)
            continue;
        cb_strbuf_add_familiar(&familiar, &ref);
        complete_add(c, prefix, familiar.buf, NULL);
        /* docker.io/library/… where it is written so. */
        if (c->word[strlen(prefix)] && !cb_starts_with(familiar.buf, c->word + strlen(prefix)))
            complete_add(c, prefix, names.v[i].name, NULL);
    }
    cb_strvec_sort(&c->answer);
    cb_store_names_done(&names);
}

void complete_place(struct completion *c, const char *root)
{
    enum cb_transport t;
    const char *prefix;
    c->kind = COMPLETE_OPEN;
    for (size_t i = 0; (prefix = cb_place_prefix(i, &t)); i++)
        if (!cb_starts_with(c->word, prefix)) {
            complete_add(c, "", prefix, t == CB_AT_STORE ? "an image of the store" : NULL);
        } else if (t == CB_AT_STORE) {
            c->kind = COMPLETE_WORDS;
            complete_images(c, root, prefix);
        } else if (t != CB_AT_REGISTRY) {
            complete_paths(c, t == CB_AT_OCI_DIR || t == CB_AT_DIR ? COMPLETE_DIRS : COMPLETE_FILES, prefix);
        }
}
