/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_apply.h"
#include "util/alloc.h"

struct mutate_options {
    struct cb_common common;
    struct cb_strvec platforms, labels, unset_labels, env, unset_env, ports, annotations, unset_annotations, append;
    const char *tag, *entrypoint, *cmd, *user, *workdir, *stop_signal, *set_platform;
    bool json, oci;
};
#define AT(field) offsetof(struct mutate_options, field)

static void options_done(struct mutate_options *o)
{
    struct cb_strvec *const lists[] = { &o->platforms, &o->labels,      &o->unset_labels,      &o->env,   &o->unset_env,
                                        &o->ports,     &o->annotations, &o->unset_annotations, &o->append };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    cb_common_done(&o->common);
}

/* ---- reading the options ---- */

/* A JSON array, or words with commas between them; "" clears. */
static int read_words(const char *option, const char *text, struct cb_arglist *out, struct cb_error *err)
{
    out->set = true;
    if (*text != '[') {
        for (const char *p = text; *text;) {
            size_t n = strcspn(p, ",");
            cb_strvec_take(&out->args, cb_strndup(p, n));
            if (!p[n])
                break;
            p += n + 1;
        }
        return 0;
    }
    cb_autojson json_t *holder = json_object();
    json_t *words = cb_json_parse(text, strlen(text), NULL);
    if (words)
        cb_json_put(holder, "words", words);
    if (!words || cb_json_get_strvec(holder, "words", &out->args, NULL) < 0)
        return cb_error_set(err, CB_EUSAGE, "--%s %s: write [\"WORD\",\"WORD\"], or words with commas", option, text);
    return 0;
}

static int check_pair(const char *option, const char *text, struct cb_error *err)
{
    const char *eq = strchr(text, '=');
    return eq && eq != text ? 0 : cb_error_set(err, CB_EUSAGE, "--%s %s: write KEY=VALUE", option, text);
}

static int read_pairs(const struct mutate_options *o, struct cb_edit_config *c, struct cb_error *err)
{
    for (size_t i = 0; i < o->env.n; i++) {
        int r = check_pair("env", o->env.v[i], err);
        if (r < 0)
            return r;
        cb_strvec_push(&c->env, o->env.v[i]);
    }
    for (size_t i = 0; i < o->labels.n; i++) {
        const char *text = o->labels.v[i], *eq = strchr(text, '=');
        int r = check_pair("label", text, err);
        if (r < 0)
            return r;
        cb_autofree char *key = cb_strndup(text, (size_t)(eq - text));
        cb_strmap_set(&c->labels, key, eq + 1);
    }
    cb_strvec_copy(&c->unset_env, &o->unset_env);
    cb_strvec_copy(&c->unset_labels, &o->unset_labels);
    return 0;
}

static int read_ports(const struct mutate_options *o, struct cb_edit_config *c, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->ports.n; i++) {
        cb_autofree char *list = cb_strdup(o->ports.v[i]);
        char *rest = list, *one;
        while (r == 0 && (one = strsep(&rest, ",")) != NULL)
            r = cb_edit_ports_parse(&c->add_ports, one, err);
    }
    return r;
}

/* What the config borrows. */
struct values {
    struct cb_arglist entrypoint, cmd;
    struct cb_platform platform;
};

static void values_done(struct values *v)
{
    cb_strvec_done(&v->entrypoint.args);
    cb_strvec_done(&v->cmd.args);
    cb_platform_done(&v->platform);
}

static int read_config(const struct mutate_options *o, struct values *v, struct cb_edit_config *c,
                       struct cb_error *err)
{
    int r = read_pairs(o, c, err);
    if (r == 0)
        r = read_ports(o, c, err);
    if (r == 0 && o->entrypoint)
        r = read_words("entrypoint", o->entrypoint, &v->entrypoint, err);
    if (r == 0 && o->cmd)
        r = read_words("cmd", o->cmd, &v->cmd, err);
    if (r == 0 && o->set_platform)
        r = cb_platform_parse(&v->platform, o->set_platform, err);
    c->entrypoint = o->entrypoint ? &v->entrypoint : NULL;
    c->cmd = o->cmd ? &v->cmd : NULL;
    c->platform = o->set_platform ? &v->platform : NULL;
    c->user = o->user;
    c->workdir = o->workdir;
    c->stop_signal = o->stop_signal;
    return r;
}

static bool is_nothing(const struct mutate_options *o, const struct cb_edit_apply *a)
{
    return cb_edit_config_is_empty(&a->config) && !a->annotations.n && !o->unset_annotations.n && !o->append.n &&
           !o->oci && !o->tag;
}

static int read_all(const struct mutate_options *o, struct values *v, struct cb_edit_apply *a, struct cb_error *err)
{
    int r = read_config(o, v, &a->config, err);
    for (size_t i = 0; r == 0 && i < o->annotations.n; i++)
        r = cb_edit_apply_annotation(a, o->annotations.v[i], err);
    a->unset_annotations = &o->unset_annotations;
    a->oci = o->oci;
    if (r == 0 && is_nothing(o, a))
        r = cb_error_set(err, CB_EUSAGE, "nothing is to be changed: say --label, --env, --entrypoint ... (--help)");
    return r;
}

static int mutate(const struct cb_process *p, struct mutate_options *o, const char *text, struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_apply a cb_cleanup_edit_apply = { 0 };
    struct values v CB_CLEANUP(values_done) = { 0 };
    struct cb_edit_request run = { .text = text, .tag = o->tag, .platforms = &o->platforms, .json = o->json };
    cb_autofree char *created = NULL;
    int r = read_all(o, &v, &a, err);
    if (r == 0)
        r = cb_edit_created(&created, err);
    a.created = created;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Changing", err);
    if (r == 0)
        r = cb_edit_apply_layers(&a, &e.env, &o->append, err);
    return r < 0 ? r : cb_edit_apply_run(&a, &e, &run, err);
}

static int run_mutate(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct mutate_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = mutate(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    options_done(&o);
    return r;
}

static const struct cb_opt mutate_table[] = {
    CB_OPT_EDIT_TAG(mutate_options),
    { "label", 'l', CB_OPT_LIST, AT(labels), "K=V", "set a label", NULL },
    { "unsetlabel", 0, CB_OPT_LIST, AT(unset_labels), "K", "take a label away", NULL },
    { "env", 'e', CB_OPT_LIST, AT(env), "K=V", "set a variable", NULL },
    { "unsetenv", 0, CB_OPT_LIST, AT(unset_env), "K", "take a variable away", NULL },
    { "entrypoint", 0, CB_OPT_STRING, AT(entrypoint), "WORDS",
      "[\"a\",\"b\"] or a,b; \"\" clears it; takes the command away unless --cmd is said", NULL },
    { "cmd", 0, CB_OPT_STRING, AT(cmd), "WORDS", "the same, for the command", NULL },
    { "user", 'u', CB_OPT_STRING, AT(user), "USER", "who it runs as; \"\" clears it", NULL },
    { "workdir", 'w', CB_OPT_STRING, AT(workdir), "DIR", "where it runs; \"\" clears it", NULL },
    { "stop-signal", 0, CB_OPT_STRING, AT(stop_signal), "SIGNAL", "what ends it; \"\" clears it", NULL },
    { "exposed-ports", 0, CB_OPT_LIST, AT(ports), "PORT[/PROTO],…", "ports it listens on, beside those that are there",
      NULL },
    { "set-platform", 0, CB_OPT_STRING, AT(set_platform), "OS/ARCH[/VARIANT]", "what it says that it is for", NULL },
    { "annotation", 'a', CB_OPT_LIST, AT(annotations), "[LEVEL:]K=V",
      "of manifest (default), index, manifest-descriptor; as build --annotation", NULL },
    { "unset-annotation", 0, CB_OPT_LIST, AT(unset_annotations), "K", "take an annotation away, wherever it stands",
      NULL },
    { "append", 0, CB_OPT_LIST, AT(append), "FILE", "put a layer on top, see `cbpush append --help`", NULL },
    { "oci", 0, CB_OPT_FLAG, AT(oci), NULL, "make Docker's media types OCI's", NULL },
    CB_OPT_EDIT_PLATFORMS(mutate_options),
    CB_OPT_EDIT_JSON(mutate_options),
    CB_OPT_EDIT(mutate_options),
};

#define NO_BLOBS                                                                                                     \
    "What is not touched keeps its digest, and no layer is fetched. The tag moves when everything is there; what\n"   \
    "somebody else has moved meanwhile stays. The new reference, by digest, goes to standard output. Attestations\n" \
    "of images that change are left out of the index. `created` follows SOURCE_DATE_EPOCH, else it stays."

const struct cb_verb cb_verb_mutate = {
    .name = "mutate",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "change the configuration of an image in a registry",
    .operands = "[OPTIONS] REF",
    .details = NO_BLOBS,
    .options = mutate_table,
    .run = run_mutate,
};

/* ---- annotate ---- */

static int annotate(const struct cb_process *p, struct mutate_options *o, const struct cb_strvec *operands,
                    struct cb_error *err)
{
    for (size_t i = 1; i < operands->n; i++)
        cb_strvec_push(&o->annotations, operands->v[i]);
    if (!o->annotations.n && !o->unset_annotations.n)
        return cb_error_set(err, CB_EUSAGE, "annotate: write KEY=VALUE, or --remove KEY");
    return mutate(p, o, operands->v[0], err);
}

static int run_annotate(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                        int *status CB_UNUSED, struct cb_error *err)
{
    struct mutate_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = annotate(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    options_done(&o);
    return r;
}

static const struct cb_opt annotate_table[] = {
    CB_OPT_EDIT_TAG(mutate_options),
    { "remove", 0, CB_OPT_LIST, AT(unset_annotations), "KEY", "take it away, wherever it stands", NULL },
    { "oci", 0, CB_OPT_FLAG, AT(oci), NULL, "make Docker's media types OCI's, which have annotations", NULL },
    CB_OPT_EDIT_PLATFORMS(mutate_options),
    CB_OPT_EDIT_JSON(mutate_options),
    CB_OPT_EDIT(mutate_options),
};

const struct cb_verb cb_verb_annotate = {
    .name = "annotate",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "set annotations of an image or index in a registry",
    .operands = "[OPTIONS] REF [LEVEL:]KEY=VALUE…",
    .details = "LEVEL is manifest (default: of an index each image's), index, or manifest-descriptor (the entries of\n"
               "an index), with [OS/ARCH] behind it where only one is meant, as build --annotation has it.\n" NO_BLOBS,
    .options = annotate_table,
    .run = run_annotate,
};
