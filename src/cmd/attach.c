/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_session.h"
#include "util/alloc.h"

struct attach_options {
    struct cb_common common;
    struct cb_strvec annotations;
    const char *artifact_type, *platform;
    bool json;
};
#define AT(field) offsetof(struct attach_options, field)

static int read_annotations(const struct cb_strvec *list, struct cb_strmap *out, struct cb_error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *text = list->v[i], *eq = strchr(text, '=');
        if (!eq || eq == text)
            return cb_error_set(err, CB_EUSAGE, "--annotation %s: write KEY=VALUE", text);
        cb_autofree char *key = cb_strndup(text, (size_t)(eq - text));
        cb_strmap_set(out, key, eq + 1);
    }
    return 0;
}

static int check_type(const struct attach_options *o, struct cb_error *err)
{
    if (!o->artifact_type)
        return cb_error_set(err, CB_EUSAGE, "attach: --artifact-type says what it is, as application/spdx+json");
    return cb_mt_is_valid(o->artifact_type)
               ? 0
               : cb_error_set(err, CB_EUSAGE, "--artifact-type %s: that is no media type (type/subtype)",
                              o->artifact_type);
}

/* What it is attached to: what REF names, or of an index one image. */
static int find_subject(const struct cb_edit_source *s, const struct attach_options *o, struct cb_descriptor *out,
                        struct cb_error *err)
{
    struct cb_edit_doc top cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    struct cb_edit_image image cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    struct cb_platform platform cb_cleanup_platform = { 0 };
    int r;
    if (!o->platform) {
        r = cb_edit_source_top(s, &top, err);
        if (r == 0)
            cb_descriptor_copy(out, &top.desc);
        return r;
    }
    r = cb_platform_parse(&platform, o->platform, err);
    if (r == 0)
        r = cb_edit_image_open(s, &platform, &image, err);
    if (r == 0)
        cb_descriptor_copy(out, &image.doc.desc);
    return r;
}

static int push_artifact(struct cb_edit_session *e, const struct cb_edit_source *s, const struct cb_edit_attach *a,
                         const struct cb_strvec *operands, bool json, struct cb_error *err)
{
    struct cb_edit_pushed pushed cb_cleanup_edit_pushed = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_reference target cb_cleanup_reference = { .host = cb_strdup(s->ref.host),
                                                        .repo = cb_strdup(s->ref.repo) };
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&e->env);
    cb_autojson json_t *layers = json_array();
    int r = 0;
    for (size_t i = 1; r == 0 && i < operands->n; i++)
        r = cb_edit_attach_file(layers, plan, operands->v[i], e->env.cancel, err);
    if (r < 0)
        return r;
    cb_edit_attach_print(a, layers, plan, &body, &desc);
    cb_edit_plan_doc(plan, &desc, body.buf, body.len);
    r = cb_edit_plan_push(plan, &target, NULL, &pushed, err);
    cb_progress_finish(e->s.progress, r < 0);
    if (r == 0)
        cb_edit_session_print(&pushed, json);
    return r;
}

static int attach(const struct cb_process *p, const struct attach_options *o, const struct cb_strvec *operands,
                  struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_reference unused cb_cleanup_reference = { 0 };
    struct cb_descriptor subject cb_cleanup_descriptor = { 0 };
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    cb_autofree char *created = NULL;
    struct cb_edit_attach a = { .subject = &subject, .artifact_type = o->artifact_type, .annotations = &annotations };
    int r = check_type(o, err);
    if (r == 0)
        r = read_annotations(&o->annotations, &annotations, err);
    if (r == 0)
        r = cb_edit_created(&created, err);
    a.created = created;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Attaching", err);
    if (r == 0)
        r = cb_edit_session_target(&e, operands->v[0], NULL, &source, &unused, err);
    if (r == 0)
        r = find_subject(&source, o, &subject, err);
    return r < 0 ? r : push_artifact(&e, &source, &a, operands, o->json, err);
}

static int run_attach(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct attach_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = attach(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.annotations);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt attach_table[] = {
    { "artifact-type", 0, CB_OPT_STRING, AT(artifact_type), "TYPE", "what it is: a media type", NULL },
    { "annotation", 'a', CB_OPT_LIST, AT(annotations), "K=V", "of the artifact", NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "attach it to this image of an index, not to the index",
      NULL },
    CB_OPT_EDIT_JSON(attach_options),
    CB_OPT_EDIT(attach_options),
};

const struct cb_verb cb_verb_attach = {
    .name = "attach",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "attach files to an image in a registry, as an artifact that refers to it",
    .operands = "[OPTIONS] REF [FILE[:TYPE]]…",
    .details = "The artifact is found by `cbpush referrers REF`, also where the registry keeps no list of them. TYPE\n"
               "is the media type of a file, else application/octet-stream. The image itself stays as it is.",
    .options = attach_table,
    .run = run_attach,
};
