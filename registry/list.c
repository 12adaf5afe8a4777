/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"
#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

#define DEFAULT_PAGE 1000 /* ECR's most */

/* A list of names: of the tags of a repository, or of the repositories of a registry. */
struct listing {
    struct cb_registry *r;
    const struct cb_list_options *o;
    const char *path, *key; /* "x/y/tags/list", "tags" */
    const char *what;       /* of one name, for people */
    bool (*valid)(const char *name);
    struct cb_scope scope;
    struct cb_strvec *out;
    uint64_t n;
    bool whole;   /* it has what was to be left out, too */
    bool no_page; /* the registry has its own mind about n= */
};

static size_t page_size(const struct listing *l)
{
    size_t page = l->o->page ? l->o->page : DEFAULT_PAGE;
    return l->o->max && l->o->max < page ? (size_t)l->o->max : page;
}

static char *first_path(const struct listing *l)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    char mark = '?';
    cb_strbuf_adds(&sb, l->path);
    if (!l->no_page) {
        cb_strbuf_addf(&sb, "%cn=%zu", mark, page_size(l));
        mark = '&';
    }
    if (l->o->last && *l->o->last) {
        cb_strbuf_addf(&sb, "%clast=", mark);
        cb_percent_encode(&sb, l->o->last, strlen(l->o->last));
    }
    return cb_strbuf_detach(&sb, NULL);
}

/* 1: enough. */
static int add(struct listing *l, const json_t *item, struct cb_error *err)
{
    const char *name = json_string_value(item);
    if (!name || !l->valid(name))
        return cb_error_set(err, CB_EVERIFY, "there is something in it that is no %s", l->what);
    if (l->out)
        cb_strvec_push(l->out, name);
    int s = l->o->each ? l->o->each(l->o->arg, name, err) : 0;
    return s == 0 && ++l->n == l->o->max ? 1 : s;
}

/* A registry that takes no notice of last= has it in its list, too (Distribution 2, of tags), in whatever order. */
static bool is_unasked(const struct listing *l, const json_t *names)
{
    for (size_t i = 0; l->o->last && i < json_array_size(names); i++)
        if (cb_streq(json_string_value(json_array_get(names, i)), l->o->last))
            return true;
    return false;
}

static int read_page(struct listing *l, const struct cb_strbuf *body, struct cb_error *err)
{
    const json_t *names = NULL;
    cb_autojson json_t *o = cb_json_parse(body->buf, body->len, err);
    if (!o)
        return -CB_EVERIFY;
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "it is not a JSON object");
    int s = cb_json_get_array(o, l->key, &names, err);
    l->whole = l->whole || (s == 0 && is_unasked(l, names));
    for (size_t i = 0; s == 0 && i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!l->whole || !name || strcmp(name, l->o->last) > 0)
            s = add(l, json_array_get(names, i), err);
    }
    return s;
}

static int ask(struct listing *l, const struct reg_endpoint *e, const char *url, struct reg_answer *out,
               struct cb_error *err)
{
    cb_autofree char *path = url ? NULL : first_path(l);
    struct reg_request q = {
        .method = "GET", .path = path, .url = url, .scopes = &l->scope, .n_scopes = 1, .max_body = CB_MAX_LIST
    };
    int s = reg_get(l->r, e, &q, out, err);
    if (s == 0 && cb_http_status(out->reply) == 400 && !url && !l->no_page && !l->o->page) {
        l->no_page = true; /* PAGINATION_NUMBER_INVALID: it gives fewer at once */
        return ask(l, e, NULL, out, err);
    }
    return s < 0 || cb_http_status(out->reply) == 200
               ? s
               : reg_reply_error(out->reply, err, "%s/%s", e->host, l->path);
}

static int walk(struct listing *l, const struct reg_endpoint *e, struct cb_error *err)
{
    CB_CLEANUP(reg_pages_done) struct reg_pages pages = { 0 };
    do {
        CB_CLEANUP(reg_answer_done) struct reg_answer page = { .body = CB_STRBUF_INIT };
        int s = ask(l, e, pages.url, &page, err);
        if (s < 0)
            return s;
        s = read_page(l, &page.body, err);
        if (s == 0)
            s = reg_pages_next(&pages, page.reply, err);
        if (s < 0)
            cb_error_wrap(err, "list %s/%s", e->host, l->path);
        if (s != 0)
            return s < 0 ? s : 0;
    } while (pages.url);
    return 0;
}

/* A mirror may lack what is asked for, so a list is the location's own. */
static int run(struct listing *l, const char *host, const char *repo, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    int s = reg_endpoint_location(l->r, host, repo, &e, err);
    if (s < 0)
        return s;
    cb_autofree char *path = l->scope.repo ? cb_asprintf("%s/%s", e.repo, l->path) : NULL;
    if (path) {
        l->path = path;
        l->scope.repo = e.repo;
    }
    return walk(l, &e, err);
}

int cb_registry_tags(struct cb_registry *r, const char *host, const char *repo, const struct cb_list_options *o,
                     struct cb_strvec *out, struct cb_error *err)
{
    struct listing l = { .r = r, .o = o, .path = "tags/list", .key = "tags", .what = "tag" };
    l.valid = cb_reference_valid_tag;
    l.scope = (struct cb_scope){ repo, "pull" };
    l.out = out;
    return run(&l, host, repo, err);
}

int cb_registry_catalog(struct cb_registry *r, const char *host, const struct cb_list_options *o,
                        struct cb_strvec *out, struct cb_error *err)
{
    struct listing l = { .r = r, .o = o, .path = "_catalog", .key = "repositories", .what = "repository" };
    l.valid = cb_reference_valid_repo;
    l.scope = (struct cb_scope){ NULL, "*" };
    l.out = out;
    return run(&l, host, "catalog", err);
}
