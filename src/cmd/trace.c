/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/trace.h"

#include "build/build.h"
#include "util/alloc.h"
#include "util/trace.h"

struct cb_trace_file {
    struct cb_out_file out;
    char *path; /* NULL: nothing is recorded */
};

struct cb_trace_file *cb_trace_file_new(void)
{
    return CB_NEW(struct cb_trace_file);
}

void cb_trace_file_free(struct cb_trace_file *t)
{
    free(t);
}

int cb_trace_file_begin(const struct cb_process *p, const char *path, bool stdout_is_free, struct cb_error *err)
{
    struct cb_trace_file *t = p->trace;
    if (!path || t->path)
        return 0;
    if (!strcmp(path, "-") && !stdout_is_free)
        return cb_error_set(err, CB_EUSAGE, "--trace -: something else is written to standard output; name a file");
    int r = cb_out_file_open(&t->out, path, err);
    if (r < 0) {
        (void)!cb_out_file_close(&t->out, r, NULL);
        return cb_error_wrap(err, "--trace");
    }
    t->path = cb_strdup(path);
    cb_trace_begin(t->out.fd, p->started);
    struct cb_span start = cb_span_begin("cbpush", "start");
    start.begin = p->started;
    cb_span_end(&start);
    return 0;
}

int cb_trace_file_end(struct cb_trace_file *t, struct cb_error *err)
{
    if (!t || !t->path)
        return 0;
    int r = cb_out_file_close(&t->out, cb_trace_end(err), err);
    if (r < 0)
        cb_error_wrap(err, "--trace %s", t->path);
    free(CB_TAKE(t->path));
    return r;
}
