/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_image.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/encode.h"

#define AT(field) offsetof(struct image_options, field)
const struct cb_opt image_opts[] = {
    { "build-arg-file", 0, CB_OPT_LIST, AT(arg_files), "FILE", "build arguments, one K=V a line; --build-arg wins",
      NULL },
    { "http-proxy", 0, CB_OPT_FLAG, AT(http_proxy), NULL, "RUNs get the proxy variables of our environment", NULL },
    { "ignorefile", 0, CB_OPT_STRING, AT(ignorefile), "FILE", "instead of .dockerignore", NULL },
    { "no-cache-filter", 0, CB_OPT_LIST, AT(no_cache_filter), "STAGE[,…]", "run every step of these stages", NULL },
    { "jobs", 0, CB_OPT_STRING, AT(jobs), "N", "steps that run at a time; 0: as many as there are", NULL },
    { "squash", 0, CB_OPT_FLAG, AT(squash), NULL, "one layer on top of the parent's", NULL },
    { "squash-all", 0, CB_OPT_FLAG, AT(squash_all), NULL, "one layer, the parent's merged into it", NULL },
    { "layers", 0, CB_OPT_TRISTATE, AT(layers), NULL, "=false: as --squash --no-cache (BUILDAH_LAYERS)", NULL },
    { "toc", 0, CB_OPT_TRISTATE, AT(toc), NULL, "=false: the manifest names no tables of its layers", NULL },
    { "timestamp", 0, CB_OPT_STRING, AT(timestamp), "SECONDS", "every time in the image is this one", NULL },
    { "source-date-epoch", 0, CB_OPT_STRING, AT(epoch), "SECONDS", "as SOURCE_DATE_EPOCH; or: context", NULL },
    { "rewrite-timestamp", 0, CB_OPT_FLAG, AT(rewrite), NULL, "newer times become SOURCE_DATE_EPOCH: always the case",
      NULL },
    { "env", 0, CB_OPT_LIST, AT(env), "K[=V]", "variable of the image; K alone: from the environment", NULL },
    { "unsetenv", 0, CB_OPT_LIST, AT(unsetenv), "K", "take a variable out of the image", NULL },
    { "unsetlabel", 0, CB_OPT_LIST, AT(unsetlabel), "K", "do not inherit a label", NULL },
    { "os", 0, CB_OPT_STRING, AT(os), "OS", "part of --platform", NULL },
    { "arch", 0, CB_OPT_STRING, AT(arch), "ARCH", "part of --platform", NULL },
    { "variant", 0, CB_OPT_STRING, AT(variant), "VARIANT", "part of --platform", NULL },
    { "format", 0, CB_OPT_STRING, AT(format), "FORMAT", "media types: oci (default) or docker (BUILDAH_FORMAT)", NULL,
      "oci|docker" },
    { "compression-format", 0, CB_OPT_STRING, AT(compression), "FORMAT",
      "of new layers: gzip (default), estargz, zstd, zstd:chunked, none", NULL, CB_FORMAT_VALUES },
    { "compression-level", 0, CB_OPT_STRING, AT(level), "N", CB_FORMAT_LEVELS, NULL },
    { "compression", 0, CB_OPT_STRING, AT(compression), "FORMAT", NULL, NULL, CB_FORMAT_VALUES },
    { "force-compression", 0, CB_OPT_FLAG, AT(force_compression), NULL,
      "compress layers of parents again where they are not of that format, too", NULL },
    CB_OPT_END,
};

void image_options_done(struct image_options *o)
{
    struct cb_strvec *const lists[] = { &o->no_cache_filter, &o->arg_files, &o->env, &o->unsetenv, &o->unsetlabel };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
}

void image_values_done(struct image_values *v)
{
    cb_strvec_done(&v->filter);
    cb_strvec_done(&v->env);
}

char *image_options_platform(const struct image_options *cli)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    if (!cli->os && !cli->arch && !cli->variant)
        return NULL;
    cb_platform_host(&host);
    const char *variant = cli->variant ? cli->variant : "";
    return cb_asprintf("%s/%s%s%s", cli->os ? cli->os : host.os, cli->arch ? cli->arch : host.arch, *variant ? "/" : "",
                       variant);
}

static void split_commas(const struct cb_strvec *from, struct cb_strvec *to)
{
    for (size_t i = 0; i < from->n; i++)
        for (const char *p = from->v[i]; *p;) {
            size_t n = strcspn(p, ",");
            cb_autofree char *word = cb_strndup(p, n);
            if (n)
                cb_strvec_push(to, word);
            p += n + (p[n] == ',');
        }
}

static int take_times(const struct image_options *cli, struct cb_build_options *o, struct cb_error *err)
{
    uint64_t v;
    if (cli->timestamp && cli->epoch)
        return cb_error_set(err, CB_EUSAGE, "--timestamp and --source-date-epoch contradict each other: the one gives "
                                            "every file this time, the other only those that are newer");
    if (cli->timestamp && !cb_parse_u64(cli->timestamp, INT64_MAX / 1000000000, &v))
        return cb_error_set(err, CB_EUSAGE, "--timestamp %s: write seconds since 1970", cli->timestamp);
    o->epoch = cli->timestamp ? cli->timestamp : cli->epoch;
    o->exact_times = cli->timestamp != NULL;
    return 0;
}

static int take_format(const struct image_options *cli, struct cb_build_options *o, struct cb_error *err)
{
    const char *text = cli->format ? cli->format : getenv("BUILDAH_FORMAT");
    if (!text || (!cli->format && !*text))
        return 0;
    o->docker_types = !strcmp(text, "docker");
    if (o->docker_types || !strcmp(text, "oci"))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "%s%s: oci or docker", cli->format ? "--format " : "BUILDAH_FORMAT=", text);
}

/* Buildah takes any other word for no; here a slip of the pen does not cost the cache. */
static int take_layers(const struct image_options *cli, struct cb_build_options *o, struct cb_error *err)
{
    const char *text = getenv("BUILDAH_LAYERS");
    bool one = cli->layers == 0;
    if (cli->layers < 0 && text && *text) {
        one = !strcmp(text, "0") || !strcasecmp(text, "false");
        if (!one && strcmp(text, "1") && strcasecmp(text, "true"))
            return cb_error_set(err, CB_EUSAGE, "BUILDAH_LAYERS=%s: true or false", text);
    }
    o->squash = cli->squash || one;
    o->no_cache = o->no_cache || one;
    return 0;
}

static int take_compression(const struct image_options *cli, struct cb_build_options *o, struct cb_error *err)
{
    if (cli->compression && cb_format_parse(&o->format, cli->compression, err) < 0)
        return cb_error_wrap(err, "--compression-format");
    o->force_compression = cli->force_compression;
    if (cli->level && cb_format_parse_level(&o->format, cli->level, err) < 0)
        return cb_error_wrap(err, "--compression-level");
    return 0;
}

/* podman's 0 means as many as there are. */
static int take_jobs(const struct image_options *cli, struct cb_build_options *o, struct cb_error *err)
{
    uint64_t n = 0;
    if (!cli->jobs)
        return 0;
    if (!cb_parse_u64(cli->jobs, 1024, &n))
        return cb_error_set(err, CB_EUSAGE, "--jobs %s: write a number up to 1024", cli->jobs);
    o->jobs = n ? (unsigned)n : 64;
    return 0;
}

static void take_env(const struct image_options *cli, struct image_values *v, struct cb_build_options *o)
{
    for (size_t i = 0; i < cli->env.n; i++) {
        const char *word = cli->env.v[i], *value = strchr(word, '=') ? NULL : getenv(word);
        if (strchr(word, '='))
            cb_strvec_push(&v->env, word);
        else if (value)
            cb_strvec_pushf(&v->env, "%s=%s", word, value);
    }
    o->env = &v->env;
    o->unset_env = &cli->unsetenv;
    o->unset_labels = &cli->unsetlabel;
}

int image_options_take(const struct image_options *cli, struct image_values *v, struct cb_build_options *o,
                       struct cb_error *err)
{
    split_commas(&cli->no_cache_filter, &v->filter);
    o->no_cache_filter = &v->filter;
    o->ignorefile = cli->ignorefile;
    o->squash_all = cli->squash_all;
    o->no_tables = cli->toc == 0;
    take_env(cli, v, o);
    int r = take_times(cli, o, err);
    if (r == 0)
        r = take_layers(cli, o, err);
    if (r == 0)
        r = take_format(cli, o, err);
    if (r == 0)
        r = take_compression(cli, o, err);
    return r < 0 ? r : take_jobs(cli, o, err);
}
