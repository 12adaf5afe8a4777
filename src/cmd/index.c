/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/edit_session.h"
#include "util/alloc.h"

struct index_options {
    struct cb_common common;
    struct cb_strvec platforms, annotations;
    const char *tag;
    bool json, docker;
};
#define AT(field) offsetof(struct index_options, field)

struct change {
    struct cb_edit_session *e;
    const struct cb_strvec *operands; /* "append", REF, what */
    const struct cb_platform *platforms;
    size_t n_platforms;
};

static int add_all(const struct change *c, struct cb_edit_index *x, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 2; r == 0 && i < c->operands->n; i++) {
        struct cb_edit_source s cb_cleanup_edit_source = { 0 };
        r = cb_edit_session_source(c->e, c->operands->v[i], &s, err);
        if (r == 0 && s.stored)
            r = cb_error_set(err, CB_EUSAGE, "%s: an index lists images of a registry: `cbpush push` brings it there",
                             c->operands->v[i]);
        if (r == 0)
            r = cb_edit_index_add(x, &s, err);
    }
    return r;
}

/* ---- create ---- */

static int annotate(json_t *index, const struct cb_strvec *annotations, struct cb_error *err)
{
    for (size_t i = 0; i < annotations->n; i++) {
        const char *text = annotations->v[i], *eq = strchr(text, '=');
        if (!eq || eq == text)
            return cb_error_set(err, CB_EUSAGE, "--annotation %s: write KEY=VALUE", text);
        cb_autofree char *key = cb_strndup(text, (size_t)(eq - text));
        cb_edit_annotate(index, key, eq + 1);
    }
    return 0;
}

static int push_new(struct cb_edit_index *x, const struct cb_reference *target, const struct index_options *o,
                    struct cb_progress *progress, struct cb_error *err)
{
    struct cb_edit_pushed pushed cb_cleanup_edit_pushed = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    cb_json_print(&body, x->o);
    cb_descriptor_of(&desc, o->docker ? CB_MT_DOCKER_LIST : CB_MT_OCI_INDEX, body.buf, body.len);
    cb_edit_plan_doc(x->plan, &desc, body.buf, body.len);
    int r = cb_edit_plan_push(x->plan, target, NULL, &pushed, err);
    cb_progress_finish(progress, r < 0);
    if (r == 0)
        cb_edit_session_print(&pushed, o->json);
    return r;
}

static int create(const struct change *c, const struct index_options *o, struct cb_error *err)
{
    struct cb_edit_source unused cb_cleanup_edit_source = { 0 };
    struct cb_reference target cb_cleanup_reference = { 0 };
    cb_autojson json_t *index = cb_edit_index_new(o->docker);
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&c->e->env);
    struct cb_edit_index x = { .o = index, .plan = plan, .platforms = c->platforms, .n_platforms = c->n_platforms,
                               .refuse_same = true };
    const char *text = c->operands->v[1];
    if (o->tag)
        return cb_error_set(err, CB_EUSAGE, "index create %s: REF is what it is to be called, -t is not for it", text);
    if (o->docker && o->annotations.n)
        return cb_error_set(err, CB_EUSAGE, "--docker: Docker's format has no annotations");
    int r = cb_edit_session_target(c->e, text, NULL, &unused, &target, err);
    if (r == 0 && !target.tag)
        r = cb_error_set(err, CB_EUSAGE, "%s: a digest cannot be chosen: name a tag", text);
    if (r == 0)
        r = add_all(c, &x, err);
    if (r == 0)
        r = annotate(index, &o->annotations, err);
    return r < 0 ? r : push_new(&x, &target, o, c->e->s.progress, err);
}

/* ---- append, remove ---- */

static int append_to(void *arg, json_t *index, struct cb_edit_plan *plan, struct cb_error *err)
{
    const struct change *c = arg;
    struct cb_edit_index x = { .o = index, .plan = plan, .platforms = c->platforms, .n_platforms = c->n_platforms };
    int r = add_all(c, &x, err);
    if (r == 0 && x.replaced)
        cb_progress_note(c->e->s.progress, true, "note: %zu of what was there before %s replaced", x.replaced,
                         x.replaced == 1 ? "is" : "are");
    return r;
}

static int remove_from(void *arg, json_t *index, struct cb_edit_plan *plan, struct cb_error *err)
{
    const struct change *c = arg;
    struct cb_edit_index x = { .o = index, .plan = plan };
    int r = 0;
    for (size_t i = 2; r == 0 && i < c->operands->n; i++)
        r = cb_edit_index_remove(&x, c->operands->v[i], err);
    if (r == 0 && json_array_size(json_object_get(index, "manifests")) == 0)
        r = cb_error_set(err, CB_ECONF, "%s: nothing would be left of it for anybody to pull: `cbpush delete` removes "
                         "the tag", c->operands->v[1]);
    return r;
}

static int change_index(struct change *c, const struct index_options *o,
                        int (*how)(void *arg, json_t *index, struct cb_edit_plan *plan, struct cb_error *err),
                        struct cb_error *err)
{
    struct cb_strvec none = CB_STRVEC_INIT;
    struct cb_edit_request q = { .text = c->operands->v[1], .tag = o->tag, .platforms = &none, .json = o->json };
    struct cb_edit_rewrite w = { .index = how, .only_index = true, .arg = c };
    if (o->annotations.n || o->docker)
        return cb_error_set(err, CB_EUSAGE, "--annotation and --docker are for `index create`: `cbpush annotate` sets "
                                            "annotations");
    if (how == remove_from && c->n_platforms)
        return cb_error_set(err, CB_EUSAGE, "index remove takes platforms as operands, without --platform");
    return cb_edit_session_rewrite(c->e, &q, &w, err);
}

/* ---- inspect ---- */

static void print_row(const struct cb_descriptor *d)
{
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *of = cb_strmap_get(&d->annotations, CB_ANN_REFERENCE_DIGEST);
    char digest[CB_DIGEST_TEXT_MAX];
    if (d->platform)
        cb_strbuf_add_platform(&platform, d->platform);
    printf("%-20s  %s  %llu  %s", platform.len ? platform.buf : "-", cb_digest_text(&d->digest, digest),
           (unsigned long long)d->size, d->media_type);
    if (of)
        printf("  of %.160s", of);
    else if (d->artifact_type)
        printf("  %s", d->artifact_type);
    putchar('\n');
}

static int print_index(const struct cb_edit_doc *doc, const struct index_options *o, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *j = cb_json_parse(doc->body.buf, doc->body.len, err);
    int r = j ? cb_index_parse(&idx, doc->body.buf, doc->body.len, doc->desc.media_type, err) : -CB_EVERIFY;
    if (r < 0)
        return r;
    if (o->json) {
        cb_json_print_pretty(&out, j);
        fwrite(out.buf, 1, out.len, stdout);
        return 0;
    }
    for (size_t i = 0; i < idx.n_manifests; i++)
        print_row(&idx.manifests[i]);
    return 0;
}

static int inspect(const struct change *c, const struct index_options *o, struct cb_error *err)
{
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_edit_doc top cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    const char *text = c->operands->v[1];
    if (o->tag || o->docker || o->annotations.n || c->n_platforms)
        return cb_error_set(err, CB_EUSAGE, "index inspect shows all that %s lists: it has no option but --json",
                            text);
    int r = cb_edit_session_source(c->e, text, &source, err);
    if (r == 0)
        r = cb_edit_source_top(&source, &top, err);
    if (r == 0 && !cb_mt_is_index(top.desc.media_type))
        r = cb_error_set(err, CB_EUSAGE, "%s is no index but a single image: `cbpush inspect docker://%s` shows it",
                         text, text);
    return r < 0 ? r : print_index(&top, o, err);
}

/* ---- the verb ---- */

static int dispatch(struct change *c, const struct index_options *o, struct cb_error *err)
{
    const char *word = c->operands->v[0];
    size_t n = c->operands->n;
    if (!strcmp(word, "inspect") && n == 2)
        return inspect(c, o, err);
    if (!strcmp(word, "create") && n > 2)
        return create(c, o, err);
    if (!strcmp(word, "append") && n > 2)
        return change_index(c, o, append_to, err);
    if (!strcmp(word, "remove") && n > 2)
        return change_index(c, o, remove_from, err);
    const char *hint = cb_foreign_words("index", word);
    if (hint)
        return cb_error_set(err, CB_EUSAGE, "there is no \"index %s\": %s", word, hint);
    return cb_error_set(err, CB_EUSAGE, "write index create REF IMAGE…, index append REF IMAGE…, "
                                        "index remove REF PLATFORM|DIGEST… or index inspect REF");
}

static int index_verb(const struct cb_process *p, const struct index_options *o, const struct cb_strvec *operands,
                      struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_platform *platforms = NULL;
    struct change c = { .e = &e, .operands = operands };
    int r = cb_platforms_parse(&o->platforms, &platforms, &c.n_platforms, err);
    c.platforms = platforms;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Changing", err);
    if (r == 0)
        r = dispatch(&c, o, err);
    cb_platforms_free(platforms, c.n_platforms);
    return r;
}

static int run_index(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                     int *status CB_UNUSED, struct cb_error *err)
{
    struct index_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 2, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = index_verb(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.platforms);
    cb_strvec_done(&o.annotations);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt index_table[] = {
    CB_OPT_EDIT_TAG(index_options),
    { "platform", 0, CB_OPT_LIST, AT(platforms), "OS/ARCH,…", "create, append: of what is added only these", NULL },
    { "annotation", 'a', CB_OPT_LIST, AT(annotations), "K=V", "create: of the index", NULL },
    { "docker", 0, CB_OPT_FLAG, AT(docker), NULL, "create: Docker's manifest list instead of OCI's index", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "print an object instead of the reference; inspect: the index", NULL },
    CB_OPT_EDIT(index_options),
};

const struct cb_verb cb_verb_index = {
    .name = "index",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "make and change the index of several platforms in a registry",
    .operands = "create|append|remove|inspect [OPTIONS] REF [IMAGE|PLATFORM|DIGEST]…",
    .details = "create REF IMAGE…   an index of these images; of an IMAGE that is an index, those that it lists\n"
               "append REF IMAGE…   more of them; one of a platform that is there already takes its place\n"
               "remove REF WHAT…    entries by platform or digest, with their attestations; not the last\n"
               "inspect REF         what it lists: platform, digest, size, type",
    .options = index_table,
    .run = run_index,
};
