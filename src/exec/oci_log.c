/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "exec/oci.h"
#include "util/alloc.h"

/* One JSON object a line: {"level":"error","msg":"…","time":"…"}. */
static char *error_of(const char *line, size_t n)
{
    cb_autojson json_t *o = cb_json_parse(line, n, NULL);
    const char *level = o ? json_string_value(json_object_get(o, "level")) : NULL;
    const char *msg = o ? json_string_value(json_object_get(o, "msg")) : NULL;
    bool bad = cb_streq(level, "error") || cb_streq(level, "fatal");
    return bad && msg ? cb_strdup(msg) : NULL;
}

char *cb_oci_log_error(const char *text, size_t n)
{
    char *last = NULL;
    while (n) {
        const char *end = memchr(text, '\n', n);
        size_t len = end ? (size_t)(end - text) : n;
        char *found = error_of(text, len);
        if (found) {
            free(last);
            last = found;
        }
        len += end != NULL;
        text += len;
        n -= len;
    }
    return last;
}

static bool says(const char *text, const char *what)
{
    return strcasestr(text, what) != NULL;
}

int cb_oci_program_error(const char *error, const char *program)
{
    bool about = program[0] == '\0' || strstr(error, program);
    if (!about || !(says(error, "exec") || says(error, "stat ") || says(error, "open ")))
        return 0;
    if (says(error, "not found") || says(error, "no such file"))
        return ENOENT;
    return says(error, "permission denied") || says(error, "is a directory") ? EACCES : 0;
}
