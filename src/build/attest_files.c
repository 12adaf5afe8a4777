/* SPDX-License-Identifier: Apache-2.0 */
/* Attestations as files, beside those of the image, where files are what a build gives (type=local, tar). They are
 * about each of these files, as BuildKit has it. */
#include "build/attest_files.h"

#include "build/provenance.h"
#include "build/sbom.h"
#include "util/alloc.h"

bool cb_attests_files(const struct cb_build_options *o)
{
    return o->sbom.generator || (o->provenance.mode && o->provenance.files);
}

void cb_documents_free(struct cb_export_document *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(v[i].name);
        free(v[i].text);
    }
    free(v);
}

/* Of a table that all bytes were compared with: it is told after the layers were brought. */
static json_t *subjects_of(struct cb_build *b, size_t index)
{
    const struct cb_solved *m = &b->solver.images[index];
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = cb_slots_stack(b->slots, m->layers, m->n);
    json_t *list = json_array();
    for (size_t i = 0; i < cb_stack_count(stack); i++) {
        const struct cb_stack_entry *se = cb_stack_at(stack, i);
        struct cb_digest d = se->data ? cb_sum_digest(&se->data->digest) : (struct cb_digest){ 0 };
        if (!cb_digest_is_set(&d))
            continue;
        json_t *o = json_object();
        cb_json_put(o, "name", cb_json_string(se->e->path));
        json_object_set_new(o, "digest", cb_provenance_digest(&d));
        json_array_append_new(list, o);
    }
    return list;
}

static int by_name(const void *a, const void *b)
{
    const struct cb_export_document *x = a, *y = b;
    return cb_entry_path_cmp(x->name, y->name);
}

static struct cb_export_document *make(const json_t *statements, const struct cb_strvec *names, const char *prefix)
{
    struct cb_export_document *v = cb_calloc(names->n + 1, sizeof *v);
    for (size_t i = 0; i < names->n; i++) {
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_json_print_pretty(&text, json_array_get(statements, i));
        v[i].name = cb_asprintf("%s%s", prefix ? prefix : "", names->v[i]);
        v[i].text = cb_strbuf_detach(&text, &v[i].len);
    }
    qsort(v, names->n, sizeof *v, by_name);
    return v;
}

int cb_attest_documents(struct cb_build *b, size_t index, const char *prefix, struct cb_export_document **out,
                        size_t *n, struct cb_error *err)
{
    const struct cb_provenance p = { b, index, b->o->provenance.mode };
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autojson json_t *statements = json_array(), *subjects = subjects_of(b, index);
    int r = cb_sbom_statements(b, index, subjects, statements, &names, err);
    if (r < 0)
        return cb_error_wrap(err, "attest the files");
    if (p.mode && b->o->provenance.files) {
        json_array_append_new(statements, cb_provenance_statement(&p, subjects));
        cb_strvec_push(&names, "provenance.json");
    }
    *n = names.n;
    *out = make(statements, &names, prefix);
    return 0;
}
