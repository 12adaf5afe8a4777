/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/session.h"
#include "util/alloc.h"

struct auth_options {
    struct cb_common common;
    bool push, json;
    const char *mount_from;
};
#define AT(field) offsetof(struct auth_options, field)
static const struct cb_opt auth_table[] = {
    { "push", 0, CB_OPT_FLAG, AT(push), NULL, "of a push; otherwise of a pull", NULL },
    { "mount-from", 0, CB_OPT_STRING, AT(mount_from), "REPO",
      "with --push: whether blobs of REPO, at the same host, may be mounted", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "JSON on standard output", NULL },
    CB_OPT_COMMON_REGISTRY(auth_options),
    CB_OPT_COMMON_RETRY(auth_options),
    CB_OPT_COMMON_NO_STORE(auth_options),
    CB_OPT_END,
};

/* ---- for people ---- */

/* A line of the table: nothing for what is not there. Much of it was said by others. */
static void line(const char *name, const char *text)
{
    struct cb_strbuf safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!text)
        return;
    cb_strbuf_add_sanitized(&safe, text, strlen(text), false);
    printf("  %-12s %s\n", name, safe.buf);
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* Owned; NULL where the list is none. */
static char *joined(const json_t *list, const char *none)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!json_is_array(list))
        return NULL;
    for (size_t i = 0; i < json_array_size(list); i++)
        cb_strbuf_addf(&sb, "%s%s", i ? " " : "", json_string_value(json_array_get(list, i)));
    return sb.len ? cb_strbuf_detach(&sb, NULL) : cb_strdup_or_null(none);
}

static void print_list(const char *name, const json_t *list, const char *none)
{
    cb_autofree char *text = joined(list, none);
    line(name, text);
}

static void print_tls(const json_t *tls)
{
    const char *cert = text_of(tls, "client_certificate");
    if (!tls)
        return;
    if (cb_streq(text_of(tls, "scheme"), "http")) {
        line("tls", "none: plain HTTP");
        return;
    }
    line("tls", json_is_true(json_object_get(tls, "verified")) ? "verified" : "NOT verified");
    print_list("ca", json_object_get(tls, "ca"), NULL);
    line("client cert", cert);
}

static void print_credentials(const json_t *p)
{
    const json_t *c = json_object_get(p, "credentials");
    const char *user = text_of(c, "user");
    if (json_is_null(c))
        line("credentials", "none: anonymous");
    if (!json_is_object(c))
        return;
    cb_autofree char *text = cb_asprintf("%s of %s, key \"%s\"%s%s", text_of(c, "kind"), text_of(c, "source"),
                                         text_of(c, "key"), user ? ", user " : "", user ? user : "");
    line("credentials", text);
}

static void print_challenge(const json_t *p)
{
    const json_t *c = json_object_get(p, "challenge"), *realm = json_object_get(p, "realm");
    const char *url = text_of(c, "realm"), *service = text_of(c, "service");
    if (!c)
        return;
    cb_autofree char *text = cb_asprintf("%s%s%s%s%s", text_of(c, "scheme"), url ? ", token server " : "",
                                         url ? url : "", service ? ", service " : "", service ? service : "");
    line("challenge", text);
    if (!realm)
        return;
    cb_autofree char *may = cb_asprintf(
        "%s: %s",
        json_is_true(json_object_get(realm, "may_have_credentials")) ? "may have them" : "gets NO credentials",
        text_of(realm, "why"));
    line("realm", may);
}

static void print_token(const json_t *p)
{
    const json_t *expires = json_object_get(p, "expires_in");
    if (json_object_get(p, "challenge"))
        print_list("asked", json_object_get(p, "asked"), NULL);
    cb_autofree char *granted = joined(json_object_get(p, "granted"), "nothing");
    if (granted) {
        cb_autofree char *text =
            cb_asprintf("%s (says the token, not verified; %lld s)", granted, (long long)json_integer_value(expires));
        line("granted", text);
    } else if (expires) {
        cb_autofree char *text =
            cb_asprintf("the token does not say (%lld s)", (long long)json_integer_value(expires));
        line("granted", text);
    }
    line("NO TOKEN", text_of(p, "token_error"));
}

static void print_request(const json_t *p)
{
    const json_t *status = json_object_get(p, "status"), *mount = json_object_get(p, "mount");
    if (mount) {
        cb_autofree char *text =
            cb_asprintf("from %s: %s: %s", text_of(mount, "from"), text_of(mount, "chance"), text_of(mount, "why"));
        line("mount", text);
    }
    if (status) {
        cb_autofree char *text =
            cb_asprintf("%s: %lld", text_of(p, "request"), (long long)json_integer_value(status));
        line("request", text);
    }
    line("ERROR", text_of(p, "error"));
}

/* Unless the request has failed by it, and says so below. */
static void print_credentials_error(const json_t *p)
{
    const char *text = text_of(p, "credentials_error"), *error = text_of(p, "error");
    if (text && !(error && strstr(error, text)))
        line("ERROR", text);
}

static void print_place(const json_t *p)
{
    const json_t *proxy = json_object_get(p, "proxy");
    printf("%s/%s (%s)\n", text_of(p, "host"), text_of(p, "repository"), text_of(p, "role"));
    line("url", text_of(p, "url"));
    line("socket", text_of(p, "socket"));
    print_tls(json_object_get(p, "tls"));
    line("proxy", json_is_null(proxy) ? "none" : json_string_value(proxy));
    print_list("headers", json_object_get(p, "headers"), NULL);
    line("ns", text_of(p, "ns"));
    print_credentials(p);
    print_credentials_error(p);
    print_challenge(p);
    print_token(p);
    print_request(p);
}

static void print_text(const json_t *x)
{
    const json_t *c = json_object_get(x, "configuration"), *list = json_object_get(x, "endpoints");
    const char *rule = text_of(c, "rule"), *toml = text_of(c, "hosts_toml");
    printf("%s of %s\n", text_of(x, "action"), text_of(x, "reference"));
    print_list("registries", json_object_get(c, "registries_conf"), "no registries.conf");
    line("rule", rule ? rule : "none");
    line("hosts.toml", toml ? toml : "none");
    for (size_t i = 0; i < json_array_size(list); i++)
        print_place(json_array_get(list, i));
}

static void print_json(const json_t *x)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_print_pretty(&sb, x);
    fputs(sb.buf, stdout);
}

/* ---- the verb ---- */

static int explain(struct cb_session *s, const struct auth_options *o, const char *name, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_explain_options eo = { .ref = &ref, .push = o->push, .mount_from = o->mount_from };
    cb_autojson json_t *out = NULL;
    if (o->mount_from && !o->push)
        return cb_error_set(err, CB_EUSAGE, "--mount-from is about a push: add --push");
    if (o->mount_from && !cb_reference_valid_repo(o->mount_from))
        return cb_error_set(err, CB_EUSAGE,
                            "--mount-from %s: write a repository of the same registry, without its host",
                            o->mount_from);
    int r = cb_reference_parse_word(&ref, name, err);
    if (r == 0)
        r = cb_session_name_host(s, ref.host, err);
    if (r < 0)
        return r;
    cb_reference_default_tag(&ref);
    r = cb_registry_explain(s->registry, &eo, &out, err);
    if (out && o->json)
        print_json(out);
    else if (out)
        print_text(out);
    return r;
}

static int run_auth(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct auth_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 2, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done && strcmp(a.operands.v[0], "explain") != 0)
        r = cb_error_set(err, CB_EUSAGE, "auth %s: there is only `cbpush auth explain REF`", a.operands.v[0]);
    if (r == 0 && !a.done)
        r = cb_session_network(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = explain(&s, &o, a.operands.v[1], err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_auth = {
    .name = "auth",
    .topic = CB_TOPIC_HOUSE,
    .summary = "say which credentials, mirrors and certificates a reference is reached with",
    .operands = "explain [OPTIONS] REF",
    .details =
        "Asks the registry as a pull or push would, and changes nothing there. Prints which file and key the\n"
        "credentials come from, who may be told them, and what they are good for; never a secret. Ends as the\n"
        "pull or push would: 0, or 3 where it is not allowed.",
    .options = auth_table,
    .run = run_auth,
};
