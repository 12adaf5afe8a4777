/* SPDX-License-Identifier: Apache-2.0 */
/* `docker buildx imagetools create`: one image of what other references name. */
#include "cmd/imagetools.h"

#include <stdio.h>

#include "cmd/build_compat.h"
#include "cmd/build_result.h"
#include "cmd/edit_session.h"
#include "util/alloc.h"

struct create_options {
    struct cb_common common;
    struct cb_strvec tags, files, annotations, platforms, ignored;
    const char *metadata_file;
    bool append, dry_run;
    int prefer_index;
};
#define AT(field) offsetof(struct create_options, field)

struct creation {
    const struct create_options *o;
    struct cb_edit_session e;
    struct imagetools_wanted w;
    struct cb_descriptor was; /* what --append adds to */
    struct cb_edit_plan *plan;
    struct cb_descriptor top;
    struct cb_strbuf body;
};

static void creation_done(struct creation *c)
{
    imagetools_wanted_done(&c->w);
    cb_descriptor_done(&c->was);
    cb_descriptor_done(&c->top);
    cb_strbuf_done(&c->body);
    cb_edit_plan_free(c->plan);
    cb_edit_session_done(&c->e);
}

/* ---- what comes of it ---- */

static int open_source(struct creation *c, size_t i, struct cb_edit_source *out, struct cb_error *err)
{
    cb_autofree char *text = cb_reference_text(&c->w.v[i].ref);
    return cb_edit_session_source(&c->e, text, out, err);
}

static int check_size(const struct imagetools_source *s, const struct cb_edit_doc *doc, struct cb_error *err)
{
    const json_t *size = json_object_get(s->as, "size");
    if (!size || json_integer_value(size) == (json_int_t)doc->desc.size)
        return 0;
    cb_autofree char *name = cb_reference_text(&s->ref);
    return cb_error_set(err, CB_EVERIFY, "%s has %llu bytes, its descriptor says otherwise", name,
                        (unsigned long long)doc->desc.size);
}

/* What was read is what is meant from now on, whoever moves the tag. */
static int read_top(struct creation *c, size_t i, struct cb_edit_source *s, struct cb_edit_doc *doc,
                    struct cb_error *err)
{
    int r = open_source(c, i, s, err);
    if (r == 0)
        r = cb_edit_source_top(s, doc, err);
    if (r == 0)
        r = check_size(&c->w.v[i], doc, err);
    if (r < 0)
        return r;
    s->ref.digest = doc->desc.digest;
    if (c->o->append && i == 0)
        cb_descriptor_copy(&c->was, &doc->desc);
    return 0;
}

static int add_all(struct creation *c, struct cb_edit_index *x, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->w.n; i++) {
        struct cb_edit_source s cb_cleanup_edit_source = { 0 };
        struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
        bool kept = c->o->append && i == 0;
        x->as = c->w.v[i].as;
        x->platforms = kept ? NULL : c->w.platforms;
        x->n_platforms = kept ? 0 : c->w.n_platforms;
        r = read_top(c, i, &s, &doc, err);
        if (r == 0)
            r = cb_edit_index_add(x, &s, err);
    }
    if (r == 0 && x->replaced)
        cb_progress_note(c->e.s.progress, true, "note: %zu of what was there before %s replaced", x->replaced,
                         x->replaced == 1 ? "is" : "are");
    return r;
}

static int check_platforms(const struct creation *c, const struct cb_edit_index *x, struct cb_error *err)
{
    for (size_t i = 0; i < c->w.n_platforms; i++) {
        struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (cb_edit_index_has(x, &c->w.platforms[i]))
            continue;
        cb_strbuf_add_platform(&name, &c->w.platforms[i]);
        return cb_error_set(err, CB_ECONF, "--platform %s: no source has an image for it", name.buf);
    }
    return 0;
}

static bool is_for(const struct cb_annotation *a, const json_t *entry)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    const json_t *platform = json_object_get(entry, "platform");
    if (!a->platform.os)
        return true;
    if (!platform || cb_platform_from_json(&p, platform, NULL) < 0)
        return false;
    cb_platform_normalize(&p);
    return cb_platform_means(&a->platform, &p);
}

static int annotate(const struct creation *c, json_t *index, struct cb_error *err)
{
    for (size_t i = 0; i < c->w.annotations.n; i++) {
        const struct cb_annotation *a = &c->w.annotations.v[i];
        bool used = a->level == CB_ANNOTATE_INDEX;
        size_t k;
        json_t *entry;
        if (used)
            cb_edit_annotate(index, a->key, a->value);
        json_array_foreach(json_object_get(index, "manifests"), k, entry)
            if (a->level == CB_ANNOTATE_MANIFEST_DESCRIPTOR && is_for(a, entry)) {
                cb_edit_annotate(entry, a->key, a->value);
                used = true;
            }
        if (!used)
            return cb_error_set(err, CB_EUSAGE, "--annotation %s: there is no image for its platform", a->key);
    }
    return 0;
}

/* Docker's list where everything in it is Docker's, as buildx has it; but it has no annotations. */
static bool is_docker(const struct creation *c, const json_t *index)
{
    bool docker = c->w.annotations.n == 0;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(index, "manifests"), i, entry) {
        const char *type = json_string_value(json_object_get(entry, "mediaType"));
        docker = docker && type && cb_starts_with(type, "application/vnd.docker.");
    }
    return docker;
}

static int combine(struct creation *c, struct cb_error *err)
{
    cb_autojson json_t *index = cb_edit_index_new(false);
    struct cb_edit_index x = { .o = index, .plan = c->plan, .refuse_same = !c->o->append,
                               .pass_over = true };
    int r = add_all(c, &x, err);
    if (r == 0)
        r = check_platforms(c, &x, err);
    if (r == 0)
        r = annotate(c, index, err);
    if (r < 0)
        return r;
    const char *type = is_docker(c, index) ? CB_MT_DOCKER_LIST : CB_MT_OCI_INDEX;
    cb_json_put(index, "mediaType", cb_json_string(type));
    cb_json_print(&c->body, index);
    cb_descriptor_of(&c->top, type, c->body.buf, c->body.len);
    cb_edit_plan_doc(c->plan, &c->top, c->body.buf, c->body.len);
    return 0;
}

/* A single source that nothing is said about stays what it is: an index in any case. */
static int make(struct creation *c, struct cb_error *err)
{
    struct cb_edit_source s cb_cleanup_edit_source = { 0 };
    struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    c->plan = cb_edit_plan_new(&c->e.env);
    if (c->w.n > 1 || c->w.annotations.n || c->w.n_platforms)
        return combine(c, err);
    int r = read_top(c, 0, &s, &doc, err);
    if (r < 0)
        return r;
    if (!cb_mt_is_index(doc.desc.media_type) && c->o->prefer_index)
        return combine(c, err);
    cb_descriptor_copy(&c->top, &doc.desc);
    cb_strbuf_add(&c->body, doc.body.buf, doc.body.len);
    return cb_edit_plan_tree(c->plan, &s, &doc, err);
}

/* ---- where it goes ---- */

static int push_to(struct creation *c, struct cb_edit_plan *plan, const struct cb_reference *target, bool print,
                   struct cb_error *err)
{
    struct cb_edit_pushed pushed cb_cleanup_edit_pushed = { 0 };
    bool appended = c->o->append && target == &c->w.tags[0];
    int r = cb_edit_plan_push(plan, target, appended ? &c->was : NULL, &pushed, err);
    if (r == 0 && print)
        cb_edit_session_print(&pushed, false);
    return r;
}

static bool is_first_of_repository(const struct creation *c, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (imagetools_same_repository(&c->w.tags[k], &c->w.tags[i]))
            return false;
    return true;
}

/* Several tags: everything is everywhere before the first of them moves. */
static int push_all(struct creation *c, struct cb_error *err)
{
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *name = cb_edit_plan_new(&c->e.env);
    int r = 0;
    if (c->w.n_tags == 1)
        return push_to(c, c->plan, &c->w.tags[0], true, err);
    cb_edit_plan_doc(name, &c->top, c->body.buf, c->body.len);
    for (size_t i = 0; r == 0 && i < c->w.n_tags; i++) {
        const struct cb_reference bare = { .host = c->w.tags[i].host, .repo = c->w.tags[i].repo };
        if (is_first_of_repository(c, i))
            r = push_to(c, c->plan, &bare, false, err);
    }
    for (size_t i = 0; r == 0 && i < c->w.n_tags; i++)
        r = push_to(c, name, &c->w.tags[i], is_first_of_repository(c, i), err);
    return r;
}

/* The keys of buildx. */
static int write_metadata(const struct creation *c, struct cb_error *err)
{
    struct cb_strbuf names cb_cleanup_strbuf = CB_STRBUF_INIT, text cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autojson json_t *o = json_object();
    for (size_t i = 0; i < c->w.n_tags; i++) {
        cb_strbuf_adds(&names, i ? "," : "");
        cb_strbuf_add_reference(&names, &c->w.tags[i]);
    }
    cb_json_put(o, "containerimage.descriptor", cb_descriptor_to_json(&c->top));
    cb_json_put_string(o, "containerimage.digest", cb_digest_text(&c->top.digest, digest));
    cb_json_put_string(o, "image.name", names.buf);
    cb_json_print_pretty(&text, o);
    return cb_report_write_n(c->o->metadata_file, text.buf, text.len, err);
}

static int finish(struct creation *c, struct cb_error *err)
{
    int r = 0;
    if (!c->o->dry_run)
        r = push_all(c, err);
    cb_progress_finish(c->e.s.progress, r < 0);
    if (r == 0 && c->o->dry_run) {
        fwrite(c->body.buf, 1, c->body.len, stdout);
        putchar('\n');
    }
    return r == 0 && c->o->metadata_file && !c->o->dry_run ? write_metadata(c, err) : r;
}

/* ---- the verb ---- */

static int create(const struct cb_process *p, const struct create_options *o, const struct cb_strvec *operands,
                  struct cb_error *err)
{
    CB_CLEANUP(creation_done) struct creation c = { .o = o, .body = CB_STRBUF_INIT };
    const struct imagetools_words words = { .tags = &o->tags, .files = &o->files, .annotations = &o->annotations,
                                            .platforms = &o->platforms, .sources = operands, .append = o->append,
                                            .dry_run = o->dry_run };
    int r = imagetools_read(&c.w, &words, err);
    if (r == 0)
        r = cb_edit_session_open(&c.e, p, &o->common, "Changing", err);
    for (size_t i = 0; r == 0 && i < c.w.n_tags; i++)
        r = cb_session_name_host(&c.e.s, c.w.tags[i].host, err);
    if (r < 0)
        return r;
    compat_warn(&o->ignored);
    r = make(&c, err);
    return r < 0 ? r : finish(&c, err);
}

static int run_create(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct create_options o = { .common = CB_COMMON_INIT, .prefer_index = 1 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = create(p, &o, &a.operands, err);
    struct cb_strvec *const lists[] = { &a.operands, &o.tags, &o.files, &o.annotations, &o.platforms, &o.ignored };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt create_table[] = {
    { "tag", 't', CB_OPT_LIST, AT(tags), "NAME[:TAG]", "what it is to be called (several)", NULL },
    { "append", 0, CB_OPT_FLAG, AT(append), NULL, "add to what the first -t stands for", NULL },
    { "annotation", 0, CB_OPT_LIST, AT(annotations), "TYPE:K=V", "of index or manifest-descriptor[[OS/ARCH]]", NULL },
    { "dry-run", 0, CB_OPT_FLAG, AT(dry_run), NULL, "print it, push nothing", NULL },
    { "file", 'f', CB_OPT_LIST, AT(files), "FILE", "a source that stands in a file", NULL },
    { "platform", 'p', CB_OPT_LIST, AT(platforms), "OS/ARCH,…", "of the sources only these", NULL },
    { "prefer-index", 0, CB_OPT_TRISTATE, AT(prefer_index), NULL,
      "=false: a single source that is no index is copied as it is", NULL },
    { "metadata-file", 0, CB_OPT_STRING, AT(metadata_file), "FILE", "write the result there as JSON", NULL },
    { "builder", 0, CB_OPT_NOTED, AT(ignored), "NAME", NULL, NULL },
    CB_OPT_EDIT(create_options),
};

static const struct cb_verb verb_create = {
    .name = "imagetools create",
    .summary = "make one image of several in registries, and tag it",
    .operands = "[OPTIONS] -t NAME[:TAG] SOURCE…",
    .details = "A SOURCE is NAME[:TAG][@DIGEST]; a DIGEST of the repository that is named otherwise; or the JSON of a\n"
               "descriptor, whose annotations and platform then count. What an index lists is taken one by one. A\n"
               "single index stays as it is. What the repository of -t lacks is mounted or copied.",
    .options = create_table,
    .run = run_create,
};

static const struct cb_verb *const subs[] = { &cb_verb_imagetools_inspect, &verb_create, NULL };

const struct cb_verb cb_verb_imagetools = {
    .name = "imagetools",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "create and inspect, as docker buildx has them",
    .operands = "create|inspect [OPTIONS] …",
    .details = "`cbpush index` changes what an index lists; `cbpush inspect docker://NAME` shows an image.",
    .options = create_table,
    .subs = subs,
    .run = cb_verb_run_sub,
};
