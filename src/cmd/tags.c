/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of a registry. A name is printed when its page is there, so memory does not grow with the list. */
#include <stdio.h>

#include "cmd/remote.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"

struct list_options {
    struct cb_common common;
    bool json, full_ref, omit_digest_tags;
    const char *last, *limit, *page;
    char *head;   /* of the JSON, until it is printed */
    char *before; /* of each name: the host and the repository, where they were asked for */
    uint64_t printed;
};
#define AT(field) offsetof(struct list_options, field)
#define PAGING                                                                                                       \
    { "limit", 'n', CB_OPT_STRING, AT(limit), "N", "no more than that many", NULL },                                 \
        { "last", 0, CB_OPT_STRING, AT(last), "NAME", "only what comes after it", NULL },                            \
    {                                                                                                                \
        "page", 0, CB_OPT_STRING, AT(page), "N", "ask for that many at once (1000)", NULL                            \
    }

/* Not before something is known: who only gets an error gets no half of an object. */
static void print_head(struct list_options *o)
{
    if (o->head)
        fputs(o->head, stdout);
    free(CB_TAKE(o->head));
}

/* Names of tags and repositories need no quoting, in JSON or on a terminal: the registry client checks them. */
static int print_name(void *arg, const char *name, struct cb_error *err)
{
    struct list_options *o = arg;
    if (o->omit_digest_tags && cb_starts_with(name, "sha256-"))
        return 0;
    print_head(o);
    if (o->json)
        printf("%s\n\"%s\"", o->printed++ ? "," : "", name);
    else
        printf("%s%s\n", o->before ? o->before : "", name);
    return cb_stdout_check(err);
}

static int print_end(struct list_options *o, int r)
{
    if (r == 0)
        print_head(o);
    if (r == 0 && o->json)
        printf("\n]}\n");
    free(CB_TAKE(o->head));
    free(CB_TAKE(o->before));
    return r;
}

static int parse_options(struct list_options *o, struct cb_list_options *out, struct cb_error *err)
{
    uint64_t page = 0;
    *out = (struct cb_list_options){ .last = o->last, .each = print_name, .arg = o };
    if (o->limit && (!cb_parse_u64(o->limit, UINT64_MAX, &out->max) || !out->max))
        return cb_error_set(err, CB_EUSAGE, "--limit %s: write a number above 0", o->limit);
    if (o->page && (!cb_parse_u64(o->page, 1000000, &page) || !page))
        return cb_error_set(err, CB_EUSAGE, "--page %s: write a number from 1 to 1000000", o->page);
    if (o->json && o->full_ref)
        return cb_error_set(err, CB_EUSAGE, "--full-ref does not go with --json");
    if (o->limit && o->omit_digest_tags)
        return cb_error_set(err, CB_EUSAGE, "--limit does not go with --omit-digest-tags: it counts all tags");
    out->page = (size_t)page;
    return 0;
}

static int tags(struct cb_remote *x, void *options, struct cb_error *err)
{
    struct list_options *o = options;
    struct cb_list_options lo;
    int r = parse_options(o, &lo, err);
    if (o->json)
        o->head = cb_asprintf("{\"Repository\":\"%s/%s\",\"Tags\":[", x->ref.host, x->ref.repo);
    if (o->full_ref)
        o->before = cb_asprintf("%s/%s:", x->ref.host, x->ref.repo);
    if (r == 0)
        r = cb_registry_tags(x->s.registry, x->ref.host, x->ref.repo, &lo, NULL, err);
    return print_end(o, r);
}

static int catalog(struct cb_remote *x, void *options, struct cb_error *err)
{
    struct list_options *o = options;
    struct cb_list_options lo;
    int r = parse_options(o, &lo, err);
    if (o->json)
        o->head = cb_strdup("{\"repositories\":[");
    if (o->full_ref)
        o->before = cb_asprintf("%s/", x->ref.host);
    if (r == 0)
        r = cb_registry_catalog(x->s.registry, x->ref.host, &lo, NULL, err);
    return print_end(o, r);
}

static int run_tags(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct list_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.kind = CB_REMOTE_REPO;
    c.run = tags;
    return cb_remote_call(p, &c, err);
}

static int run_catalog(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                       int *status CB_UNUSED, struct cb_error *err)
{
    struct list_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.kind = CB_REMOTE_HOST;
    c.run = catalog;
    return cb_remote_call(p, &c, err);
}

static const struct cb_opt tags_table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "as JSON, with the members of `skopeo list-tags`", NULL },
    { "full-ref", 0, CB_OPT_FLAG, AT(full_ref), NULL, "with host and repository", NULL },
    { "omit-digest-tags", 'O', CB_OPT_FLAG, AT(omit_digest_tags), NULL,
      "without tags that stand for digests (sha256-…: lists of referrers, cosign's)", NULL },
    PAGING,
    CB_OPT_REMOTE(list_options),
    CB_OPT_END,
};

static const struct cb_opt catalog_table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "as JSON, as the registry has it", NULL },
    { "full-ref", 0, CB_OPT_FLAG, AT(full_ref), NULL, "with the host", NULL },
    PAGING,
    CB_OPT_REMOTE(list_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_tags = {
    .name = "tags",
    .alias = "list-tags",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "list the tags of a repository, one a line",
    .operands = "[OPTIONS] HOST/REPOSITORY",
    .options = tags_table,
    .run = run_tags,
};

const struct cb_verb cb_verb_catalog = {
    .name = "catalog",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "list the repositories of a registry, one a line",
    .operands = "[OPTIONS] HOST[:PORT]",
    .options = catalog_table,
    .run = run_catalog,
};
