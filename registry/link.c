/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 8288: the Link header. */
#include <strings.h>

#include "registry/private.h"
#include "util/alloc.h"

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* The end of a quoted string that begins at p; its text is added to out. */
static const char *quoted(const char *p, struct cb_strbuf *out)
{
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        cb_strbuf_addch(out, *p);
    }
    return *p ? p + 1 : p;
}

/* One `; name=value` from behind the ';'. */
static const char *parameter(const char *p, struct cb_slice *name, struct cb_strbuf *value)
{
    p = skip_blanks(p);
    *name = (struct cb_slice){ p, strcspn(p, "=;, \t") };
    p = skip_blanks(p + name->len);
    if (*p != '=')
        return p;
    p = skip_blanks(p + 1);
    if (*p == '"')
        return skip_blanks(quoted(p, value));
    size_t n = strcspn(p, ";, \t");
    cb_strbuf_add(value, p, n);
    return skip_blanks(p + n);
}

static bool has_word(const char *list, const char *word)
{
    size_t want = strlen(word);
    for (const char *p = list + strspn(list, " "); *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == want && !strncasecmp(p, word, n))
            return true;
        p += n;
    }
    return false;
}

/* The parameters of one link; of several "rel" the first counts. */
static const char *parameters(const char *p, bool *next)
{
    bool seen = false;
    for (p = skip_blanks(p); *p == ';';) {
        struct cb_strbuf value cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_slice name;
        p = parameter(p + 1, &name, &value);
        if (name.len != 3 || strncasecmp(name.ptr, "rel", 3) != 0 || seen)
            continue;
        seen = true;
        *next = has_word(value.buf, "next");
    }
    return p;
}

char *reg_link_next(const char *value)
{
    for (const char *p = skip_blanks(value); *p == '<'; p = skip_blanks(p)) {
        const char *end = strchr(p, '>');
        bool next = false;
        if (!end)
            return NULL;
        const char *rest = parameters(end + 1, &next);
        if (next)
            return cb_strndup(p + 1, (size_t)(end - p - 1));
        rest += strcspn(rest, ",");
        p = *rest ? rest + 1 : rest;
    }
    return NULL;
}
