/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/remote.h"
#include "oci/json.h"
#include "util/alloc.h"

struct ping_options {
    struct cb_common common;
    bool json;
};

static int ping(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct ping_options *o = options;
    cb_autofree char *url = NULL;
    int r = cb_registry_ping(x->s.registry, x->ref.host, &url, err);
    if (r < 0)
        return r;
    if (!o->json) {
        printf("%s\n", url);
        return 0;
    }
    json_t *j = json_object();
    cb_json_put_string(j, "host", x->ref.host);
    cb_json_put_string(j, "url", url);
    cb_print_json_line(j);
    return 0;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct ping_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.kind = CB_REMOTE_HOST;
    c.run = ping;
    return cb_remote_call(p, &c, err);
}

static const struct cb_opt table[] = {
    CB_OPT_JSON(ping_options),
    CB_OPT_REMOTE(ping_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_ping = {
    .name = "ping",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "ask whether a registry is there and takes our credentials; prints its URL",
    .operands = "[OPTIONS] HOST[:PORT]",
    .options = table,
    .run = run,
};
