/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_explain.h"

#include <stdio.h>

#include "oci/json.h"
#include "util/alloc.h"

#define STEP_SHOWN 60 /* bytes */

/* The first line of an instruction, cut between characters. */
static void add_step(struct cb_strbuf *sb, const char *step)
{
    size_t n = strcspn(step, "\n"), all = n;
    if (n > STEP_SHOWN)
        for (n = STEP_SHOWN; n && ((unsigned char)step[n] & 0xc0) == 0x80; n--)
            continue;
    cb_strbuf_add_sanitized(sb, step, n, false);
    if (n < all || step[all])
        cb_strbuf_adds(sb, "…");
}

void build_explain_print(const struct cb_build_result *res)
{
    if (!res->n_why)
        fprintf(stderr, "why     no step was run\n");
    for (size_t i = 0; i < res->n_why; i++) {
        const struct cb_build_why *w = &res->why[i];
        struct cb_strbuf step cb_cleanup_strbuf = CB_STRBUF_INIT, reason cb_cleanup_strbuf = CB_STRBUF_INIT;
        add_step(&step, w->step);
        cb_strbuf_add_sanitized(&reason, w->reason, strlen(w->reason), false);
        fprintf(stderr, "why     %s %s: %s\n", w->place, step.buf, reason.buf);
    }
}

json_t *build_explain_json(const struct cb_build_result *res)
{
    json_t *a = json_array();
    for (size_t i = 0; i < res->n_why; i++) {
        const struct cb_build_why *w = &res->why[i];
        json_t *o = json_object();
        cb_json_put_string(o, "place", w->place);
        cb_json_put_string(o, "name", w->name);
        cb_json_put_string(o, "step", w->step);
        cb_json_put_string(o, "reason", w->reason);
        cb_json_put_string(o, "input", w->input);
        cb_json_put_string(o, "old", w->was);
        cb_json_put_string(o, "new", w->is);
        json_array_append_new(a, o);
    }
    return a;
}
