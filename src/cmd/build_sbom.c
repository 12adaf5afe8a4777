/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_attest.h"
#include "oci/reference.h"
#include "util/alloc.h"

/* What buildx has made SBOMs with where nothing is said. */
#define USUAL "docker.io/docker/buildkit-syft-scanner:stable-1"
#define PARAM_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

struct spec {
    const char *what, *text; /* "--sbom", and what it says */
    char *shown;             /* the text, for errors */
    struct cb_strbuf generator;
    struct cb_strmap params;
    bool disabled;
};

static void spec_done(struct spec *s)
{
    free(s->shown);
    cb_strbuf_done(&s->generator);
    cb_strmap_done(&s->params);
}

static int take_generator(struct spec *s, const char *value, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (cb_reference_parse(&ref, value, err) < 0)
        return cb_error_set(err, CB_EUSAGE, "%s %s: %s", s->what, s->shown, cb_error_text(err));
    cb_strbuf_setlen(&s->generator, 0);
    cb_strbuf_adds(&s->generator, value);
    return 0;
}

static int take_field(struct spec *s, const char *key, const char *value, struct cb_error *err)
{
    if (!strcmp(key, "generator"))
        return take_generator(s, value, err);
    if (!strcmp(key, "type"))
        return 0;
    if (!strcmp(key, "disabled")) {
        s->disabled = attest_says_yes(value);
        if (s->disabled || !strcmp(value, "false") || !strcmp(value, "0"))
            return 0;
        return cb_error_set(err, CB_EUSAGE, "%s %s: disabled= is true or false", s->what, s->shown);
    }
    if (!*key || key[strspn(key, PARAM_CHARS)])
        return cb_error_set(err, CB_EUSAGE, "%s %s: \"%s\" is no name of a parameter: letters, digits and _", s->what,
                            s->shown, key);
    cb_strmap_set(&s->params, key, value);
    return 0;
}

static int take_fields(struct spec *s, struct cb_error *err)
{
    struct cb_strbuf field cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = 0;
    for (const char *p = s->text; r == 0 && *p;) {
        p = cb_csv_next(p, &field);
        if (!p)
            return cb_error_set(err, CB_EUSAGE, "%s %s: a quote does not end", s->what, s->shown);
        char *eq = strchr(field.buf, '=');
        if (!eq)
            return cb_error_set(err, CB_EUSAGE, "%s %s: write true, false, or generator=IMAGE[,PARAMETER=VALUE]",
                                s->what, s->shown);
        *eq = '\0';
        r = take_field(s, field.buf, eq + 1, err);
    }
    return r;
}

bool sbom_takes(const char *word, void *arg)
{
    (void)arg;
    return (*word && attest_says_yes(word)) || attest_says_no(word) || cb_starts_with(word, "generator=") ||
           cb_starts_with(word, "disabled=");
}

int sbom_spec_take(const char *what, const char *text, struct attest_values *v, struct cb_error *err)
{
    CB_CLEANUP(spec_done) struct spec s = { .what = what, .text = text, .generator = CB_STRBUF_INIT };
    int r = 0;
    s.shown = attest_shown(text);
    if (attest_says_no(text))
        s.disabled = true;
    else if (!attest_says_yes(text))
        r = take_fields(&s, err);
    if (r == 0 && v->sbom_said && (!s.disabled || v->generator))
        r = cb_error_set(err, CB_EUSAGE, "%s %s: an SBOM was asked about before: say it once", what, s.shown);
    if (r < 0)
        return r;
    v->sbom_said = true;
    if (s.disabled)
        return 0;
    v->generator = cb_strdup(s.generator.len ? s.generator.buf : USUAL);
    v->params = s.params;
    s.params = (struct cb_strmap){ 0 };
    return 0;
}
