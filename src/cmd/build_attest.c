/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_attest.h"

#include <stdlib.h>

#include "util/alloc.h"

#define KEYS "mode, version, builder-id, reproducible, inline-only, disabled"

bool attest_says_no(const char *value)
{
    static const char *const no[] = { "false", "0", "none", "disabled", "disabled=true" };
    for (size_t i = 0; i < CB_COUNTOF(no); i++)
        if (!strcmp(value, no[i]))
            return true;
    return false;
}

bool attest_says_yes(const char *value)
{
    return !*value || !strcmp(value, "true") || !strcmp(value, "1");
}

/* The word behind --provenance is a value where it can be one: a context is named so by nobody. */
static bool provenance_takes(const char *word, void *arg)
{
    static const char *const keys[] = { "mode=", "version=", "builder-id=", "reproducible=", "inline-only=",
                                        "disabled=" };
    (void)arg;
    bool takes = (*word && attest_says_yes(word)) || attest_says_no(word);
    takes = takes || !strcmp(word, "min") || !strcmp(word, "max");
    for (size_t i = 0; i < CB_COUNTOF(keys); i++)
        takes = takes || cb_starts_with(word, keys[i]);
    return takes;
}

#define AT(field) offsetof(struct attest_options, field)
const struct cb_opt attest_opts[] = {
    { "provenance", 0, CB_OPT_MAYBE, AT(provenance), "SPEC",
      "attest how the image was made: true or mode=min|max[,version=v1|v0.2][,builder-id=URI], or false (default)",
      provenance_takes, "true,false,mode=min|max,version=v1|v0.2,builder-id=,reproducible=true|false" },
    { "sbom", 0, CB_OPT_MAYBE, AT(sbom), "SPEC",
      "have an SBOM made: true or generator=IMAGE[,PARAMETER=VALUE…], or false (default)", sbom_takes,
      "true,false,generator=" },
    { "attest", 0, CB_OPT_LIST, AT(attest), "SPEC", "type=provenance[,…] or type=sbom[,…]: the same", NULL,
      "type=provenance|sbom,mode=min|max,generator=" },
    CB_OPT_END,
};

void attest_options_done(struct attest_options *o)
{
    cb_strvec_done(&o->attest);
}

void attest_values_done(struct attest_values *v)
{
    free(v->builder_id);
    free(v->generator);
    cb_strmap_done(&v->params);
    *v = (struct attest_values){ 0 };
}

/* ---- the fields ---- */

struct spec {
    const char *what;  /* for errors: "--provenance", "CBPUSH_PROVENANCE" */
    const char *text;
    char *shown;       /* the text, for errors */
    struct cb_provenance_options o;
    struct attest_values *v;
    char *type;        /* of --attest */
    bool disabled;
};

char *attest_shown(const char *text)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_text_redacted(&sb, text);
    return cb_strbuf_detach(&sb, NULL);
}

static int take_bool(const struct spec *s, const char *key, const char *value, bool *out, struct cb_error *err)
{
    if (!*value || (!attest_says_yes(value) && strcmp(value, "false") && strcmp(value, "0")))
        return cb_error_set(err, CB_EUSAGE, "%s %s: %s= is true or false", s->what, s->shown, key);
    *out = attest_says_yes(value);
    return 0;
}

static int take_mode(struct spec *s, const char *value, struct cb_error *err)
{
    if (!strcmp(value, "max"))
        s->o.mode = CB_PROVENANCE_MAX;
    else if (attest_says_no(value))
        s->disabled = true;
    else if (strcmp(value, "min"))
        return cb_error_set(err, CB_EUSAGE, "%s %s: mode= is min or max", s->what, s->shown);
    return 0;
}

static int take_version(struct spec *s, const char *value, struct cb_error *err)
{
    s->o.v02 = !strcmp(value, "v0.2");
    if (s->o.v02 || !strcmp(value, "v1"))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "%s %s: version= is v1 or v0.2", s->what, s->shown);
}

/* Everybody reads it. */
static int take_builder(struct spec *s, const char *value, struct cb_error *err)
{
    const char *authority = strstr(value, "://");
    bool user = authority && memchr(authority + 3, '@', strcspn(authority + 3, "/?#"));
    size_t scheme = strcspn(value, ":");
    if (!scheme || !value[scheme] || strpbrk(value, " \t\r\n"))
        return cb_error_set(err, CB_EUSAGE, "%s: builder-id= is a URI, such as that of a pipeline's run", s->what);
    if (user)
        return cb_error_set(err, CB_EUSAGE, "%s: builder-id= must not hold a user or a password: everybody who has "
                                            "the image reads it", s->what);
    free(s->v->builder_id);
    s->v->builder_id = cb_strdup(value);
    s->o.builder_id = s->v->builder_id;
    return 0;
}

static int take_inline(struct spec *s, const char *value, struct cb_error *err)
{
    bool only = true;
    int r = take_bool(s, "inline-only", value, &only, err);
    s->o.files = !only;
    return r;
}

static int take_field(struct spec *s, const char *key, const char *value, struct cb_error *err)
{
    if (!strcmp(key, "mode"))
        return take_mode(s, value, err);
    if (!strcmp(key, "version"))
        return take_version(s, value, err);
    if (!strcmp(key, "builder-id"))
        return take_builder(s, value, err);
    if (!strcmp(key, "reproducible"))
        return take_bool(s, key, value, &s->o.reproducible, err);
    if (!strcmp(key, "disabled"))
        return take_bool(s, key, value, &s->disabled, err);
    if (!strcmp(key, "inline-only"))
        return take_inline(s, value, err);
    return cb_error_set(err, CB_EUSAGE, "%s %s: \"%s\" is not known: there are " KEYS, s->what, s->shown, key);
}

/* type= of --attest was read before. */
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
            return cb_error_set(err, CB_EUSAGE, "%s %s: \"%s\" is not KEY=VALUE: there are " KEYS, s->what, s->shown,
                                field.buf);
        *eq = '\0';
        if (!s->type || strcmp(field.buf, "type"))
            r = take_field(s, field.buf, eq + 1, err);
    }
    return r;
}

static int take_spec(struct spec *s, struct cb_error *err)
{
    int r = 0;
    free(s->shown);
    s->shown = attest_shown(s->text);
    s->o.mode = CB_PROVENANCE_MIN;
    if (attest_says_no(s->text))
        s->disabled = true;
    else if (!strcmp(s->text, "min") || !strcmp(s->text, "max"))
        r = take_mode(s, s->text, err);
    else if (!attest_says_yes(s->text))
        r = take_fields(s, err);
    if (s->disabled)
        s->o.mode = CB_PROVENANCE_OFF;
    return r;
}

/* ---- where it is said ---- */

/* The value of type=, "" where there is none. Owned. */
static char *type_of(const char *text)
{
    struct cb_strbuf field cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (const char *p = text; p && *p;) {
        p = cb_csv_next(p, &field);
        if (p && cb_starts_with(field.buf, "type="))
            return cb_strdup(field.buf + strlen("type="));
    }
    return cb_strdup("");
}

static int take_attest(const char *text, struct spec *s, struct cb_error *err)
{
    cb_autofree char *type = type_of(text);
    if (!strcmp(type, "sbom"))
        return sbom_spec_take("--attest", text, s->v, err);
    if (strcmp(type, "provenance"))
        return cb_error_set(err, CB_EUSAGE, "--attest: type=%s is not known: there are provenance and sbom", type);
    bool again = s->what != NULL, on = s->o.mode != CB_PROVENANCE_OFF;
    s->what = "--attest";
    s->text = text;
    s->type = type;
    s->disabled = false;
    int r = take_spec(s, err);
    s->type = NULL;
    if (r == 0 && again && (on || s->o.mode))
        return cb_error_set(err, CB_EUSAGE, "--attest %s: provenance was asked about before: say it once", s->shown);
    return r;
}

static int take_tell(struct cb_build_options *o, struct cb_error *err)
{
    const char *v = getenv("BUILDX_METADATA_PROVENANCE");
    if (!v || !*v || attest_says_no(v))
        return 0;
    if (strcmp(v, "min") && strcmp(v, "max"))
        return cb_error_set(err, CB_EUSAGE, "BUILDX_METADATA_PROVENANCE=%s: min, max or disabled", v);
    o->provenance.tell = !strcmp(v, "max") ? CB_PROVENANCE_MAX : CB_PROVENANCE_MIN;
    return 0;
}

int attest_options_take(const struct attest_options *cli, bool told, struct attest_values *v,
                        struct cb_build_options *o, struct cb_error *err)
{
    struct spec s = { .v = v };
    const char *usual = getenv("CBPUSH_PROVENANCE");
    int r = cli->sbom ? sbom_spec_take("--sbom", cli->sbom, v, err) : 0;
    if (r == 0 && cli->provenance) {
        s.what = "--provenance";
        s.text = cli->provenance;
        r = take_spec(&s, err);
    }
    for (size_t i = 0; r == 0 && i < cli->attest.n; i++)
        r = take_attest(cli->attest.v[i], &s, err);
    if (r == 0 && !s.what && usual && *usual) {
        s.what = "CBPUSH_PROVENANCE";
        s.text = usual;
        r = take_spec(&s, err);
    }
    free(s.shown);
    o->provenance = s.o;
    o->sbom = (struct cb_sbom_options){ v->generator, &v->params };
    return r < 0 || !told ? r : take_tell(o, err);
}
