/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "exec/oci.h"
#include "util/alloc.h"

static char *error_of(const json_t *o)
{
    const char *level = json_string_value(json_object_get(o, "level"));
    const char *msg = json_string_value(json_object_get(o, "msg"));
    bool bad = cb_streq(level, "error") || cb_streq(level, "fatal");
    return bad && msg ? cb_strdup(msg) : NULL;
}

/* Objects {"level":"error","msg":"…","time":"…"} one behind the other; runc has one a line, crun several lines each. */
char *cb_oci_log_error(const char *text, size_t n)
{
    char *last = NULL;
    for (;;) {
        json_error_t at;
        cb_autojson json_t *o = json_loadb(text, n, JSON_DISABLE_EOF_CHECK, &at);
        if (!o || at.position <= 0 || (size_t)at.position > n)
            return last;
        char *found = error_of(o);
        if (found) {
            free(last);
            last = found;
        }
        text += at.position;
        n -= (size_t)at.position;
    }
}

static bool says(const char *text, const char *what)
{
    return strcasestr(text, what) != NULL;
}

int cb_oci_program_error(const char *error, const char *program)
{
    bool about = program[0] == '\0' || strstr(error, program);
    if (!about || !says(error, "exec"))
        return 0;
    if (says(error, "not found") || says(error, "no such file"))
        return ENOENT;
    return says(error, "permission denied") || says(error, "not executable") || says(error, "is a directory") ? EACCES
                                                                                                             : 0;
}
