/* SPDX-License-Identifier: Apache-2.0 */
#include <strings.h>

#include "http/private.h"
#include "util/alloc.h"
#include "util/encode.h"

static bool parse_status(const char *line, size_t n, unsigned *status)
{
    const char *space = memchr(line, ' ', n);
    if (!space || n - (size_t)(space - line) < 4)
        return false;
    char digits[4] = { space[1], space[2], space[3] };
    uint64_t v = 0;
    if (!cb_parse_u64(digits, 999, &v))
        return false;
    *status = (unsigned)v;
    return true;
}

/* An old folded line goes on with the value before it. */
static void add_folded(struct cb_strvec *headers, struct cb_slice text)
{
    if (!headers->n)
        return;
    char **last = &headers->v[headers->n - 1];
    char *joined = cb_asprintf("%s %.*s", *last, (int)text.len, text.ptr);
    free(*last);
    *last = joined;
}

static void add_field(struct cb_strvec *headers, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    struct cb_slice all = cb_slice_trim((struct cb_slice){ line, n });
    if (memchr(line, '\0', n))
        return;
    if (line[0] == ' ' || line[0] == '\t') {
        add_folded(headers, all);
        return;
    }
    if (!colon)
        return;
    size_t name = (size_t)(colon - line);
    struct cb_slice value = cb_slice_trim((struct cb_slice){ colon + 1, n - name - 1 });
    cb_strvec_take(headers, cb_asprintf("%.*s: %.*s", (int)name, line, (int)value.len, value.ptr));
}

bool cb_http_header_line(struct cb_http_transfer *t, const char *line, size_t n)
{
    if (t->header_done) /* trailers: nothing that we use may stand there */
        return false;
    if (n > 5 && memcmp(line, "HTTP/", 5) == 0) {
        cb_strvec_done(&t->headers);
        t->status = 0;
        if (!parse_status(line, n, &t->status))
            t->status = 0;
        return false;
    }
    if (cb_slice_trim((struct cb_slice){ line, n }).len) {
        add_field(&t->headers, line, n);
        return false;
    }
    /* 417 is no end for an upload: libcurl asks again without Expect. */
    return t->status >= 200 && !(t->status == 417 && t->has_body);
}

const char *cb_http_headers_find(const struct cb_strvec *headers, const char *name, size_t nth)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < headers->n; i++) {
        const char *h = headers->v[i];
        if (strncasecmp(h, name, len) == 0 && h[len] == ':' && nth-- == 0)
            return h + len + 2;
    }
    return NULL;
}

uint64_t cb_http_headers_length(const struct cb_strvec *headers)
{
    uint64_t n = UINT64_MAX;
    const char *text = cb_http_headers_find(headers, "Content-Length", 0);
    if (!text || cb_http_headers_find(headers, "Transfer-Encoding", 0))
        return UINT64_MAX;
    return cb_parse_u64(text, UINT64_MAX - 1, &n) ? n : UINT64_MAX;
}
