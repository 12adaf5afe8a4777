/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_cache.h"

#include "util/alloc.h"
#include "util/timeutil.h"

#define AT(field) offsetof(struct cache_options, field)
const struct cb_opt cache_opts[] = {
    { "cache-from", 0, CB_OPT_LIST, AT(from), "SPEC",
      "read it: REPOSITORY, IMAGE, type=registry,ref=…, type=local,src=DIR; [,verify-key=FILE]", NULL,
      "type=registry|local,ref=,tag=,src=DIR,verify-key=FILE" },
    { "cache-to", 0, CB_OPT_LIST, AT(to), "SPEC",
      "write it: REPOSITORY, type=registry,ref=…, type=local,dest=DIR, type=inline; [,mode=max][,sign-key=FILE]"
      "[,claim=false]",
      NULL,
      "type=registry|local|inline,ref=,tag=,dest=DIR,mode=min|max,sign-key=FILE,ignore-error=true|false,"
      "claim=true|false,claim-wait=,compression=gzip|zstd|uncompressed,compression-level=" },
    { "cache-ttl", 0, CB_OPT_STRING, AT(ttl), "DURATION", "what is recorded longer ago does not count (168h)", NULL },
    { "cache-mount-from", 0, CB_OPT_LIST, AT(mount_from), "SPEC",
      "fill new cache mounts of RUN: REPOSITORY, type=registry,ref=…, type=local,src=DIR; [,verify-key=FILE]", NULL,
      "type=registry|local,ref=,src=DIR,verify-key=FILE" },
    { "cache-mount-to", 0, CB_OPT_LIST, AT(mount_to), "SPEC",
      "keep what they hold: REPOSITORY, type=registry,ref=…, type=local,dest=DIR; [,sign-key=FILE]", NULL,
      "type=registry|local,ref=,dest=DIR,sign-key=FILE,ignore-error=true|false" },
    CB_OPT_END,
};

void cache_options_done(struct cache_options *o)
{
    cb_strvec_done(&o->from);
    cb_strvec_done(&o->to);
    cb_strvec_done(&o->mount_from);
    cb_strvec_done(&o->mount_to);
}

static void specs_done(struct cb_cache_spec *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cb_cache_spec_done(&v[i]);
    free(v);
}

void cache_values_done(struct cache_values *v)
{
    specs_done(v->from, v->n_from);
    specs_done(v->to, v->n_to);
    specs_done(v->mount_from, v->n_mount_from);
    specs_done(v->mount_to, v->n_mount_to);
    *v = (struct cache_values){ 0 };
}

/* As in buildx, names of repositories may stand in one list, with commas. */
static void split(const struct cb_strvec *from, struct cb_strvec *to)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < from->n; i++) {
        const char *p = from->v[i];
        if (strchr(p, '=') || !strchr(p, ',')) {
            cb_strvec_push(to, p);
            continue;
        }
        while (p && *p) {
            p = cb_csv_next(p, &name);
            cb_strvec_push(to, name.buf);
        }
    }
}

typedef int parse_fn(struct cb_cache_spec *out, const char *text, bool to, struct cb_error *err);

struct specs {
    parse_fn *parse;
    bool to;
    struct cb_cache_spec **v;
    size_t *n;
};

static int take_specs(const struct cb_strvec *texts, const struct specs *x, struct cb_error *err)
{
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = 0;
    split(texts, &all);
    *x->v = cb_calloc(all.n + 1, sizeof **x->v);
    for (size_t i = 0; r == 0 && i < all.n; i++) {
        ++*x->n;
        r = x->parse(&(*x->v)[i], all.v[i], x->to, err);
    }
    return r;
}

/* As podman has it, 0 means --no-cache. */
static int take_ttl(const char *text, struct cb_build_options *o, struct cb_error *err)
{
    if (!text)
        return 0;
    if (!cb_duration_parse(text, &o->cache_ttl) || o->cache_ttl < 0)
        return cb_error_set(err, CB_EUSAGE, "--cache-ttl %s is no duration: 168h, 30m", text);
    o->no_cache = o->no_cache || o->cache_ttl == 0;
    return 0;
}

int cache_options_take(const struct cache_options *cli, struct cache_values *v, struct cb_build_options *o,
                       struct cb_error *err)
{
    int r = take_ttl(cli->ttl, o, err);
    if (r == 0)
        r = take_specs(&cli->from, &(struct specs){ cb_cache_spec_parse, false, &v->from, &v->n_from }, err);
    if (r == 0)
        r = take_specs(&cli->to, &(struct specs){ cb_cache_spec_parse, true, &v->to, &v->n_to }, err);
    if (r == 0)
        r = take_specs(&cli->mount_from,
                       &(struct specs){ cb_cache_mount_spec_parse, false, &v->mount_from, &v->n_mount_from }, err);
    if (r == 0)
        r = take_specs(&cli->mount_to,
                       &(struct specs){ cb_cache_mount_spec_parse, true, &v->mount_to, &v->n_mount_to }, err);
    o->cache_from = v->from;
    o->n_cache_from = v->n_from;
    o->cache_to = v->to;
    o->n_cache_to = v->n_to;
    o->mount_from = v->mount_from;
    o->n_mount_from = v->n_mount_from;
    o->mount_to = v->mount_to;
    o->n_mount_to = v->n_mount_to;
    return r;
}
