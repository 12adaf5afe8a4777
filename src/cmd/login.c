/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/session.h"
#include "util/alloc.h"
#include "util/input.h"

struct login_options {
    struct cb_common common;
    const char *username, *password;
    bool password_stdin;
};
#define AT(field) offsetof(struct login_options, field)
static const struct cb_opt login_table[] = {
    { "username", 'u', CB_OPT_STRING, AT(username), "USER", "user name", NULL },
    { "password", 'p', CB_OPT_STRING, AT(password), "PASS", "password: others can see it; prefer --password-stdin",
      NULL },
    { "password-stdin", 0, CB_OPT_FLAG, AT(password_stdin), NULL, "read the password from standard input", NULL },
    CB_OPT_COMMON_REGISTRY(login_options),
    CB_OPT_COMMON_RETRY(login_options),
    CB_OPT_COMMON_NO_STORE(login_options),
    CB_OPT_END,
};

static void trim_newline(struct cb_strbuf *sb)
{
    while (sb->len && (sb->buf[sb->len - 1] == '\n' || sb->buf[sb->len - 1] == '\r'))
        cb_strbuf_setlen(sb, sb->len - 1);
}

/* One line from the terminal; a secret is not echoed. */
static int ask(const struct cb_input *in, const char *prompt, bool secret, struct cb_strbuf *out,
               struct cb_error *err)
{
    struct termios old, quiet;
    size_t got;
    int r;
    char c;
    if (!isatty(STDIN_FILENO))
        return cb_error_set(err, CB_EUSAGE, "standard input is no terminal: use -u USER --password-stdin");
    if (tcgetattr(STDIN_FILENO, &old) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "terminal");
    quiet = old;
    if (secret)
        quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* drops what was typed before: so the question comes after it */
    fprintf(stderr, "%s: ", prompt);
    while ((r = cb_input_read(in, &c, 1, &got, err)) == 0 && got && c != '\n')
        cb_strbuf_addch(out, c);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    if (secret || r < 0)
        fputc('\n', stderr);
    return r < 0 || out->len ? r : cb_error_set(err, CB_EUSAGE, "nothing was entered");
}

static int credentials(const struct login_options *o, const struct cb_input *in, struct cb_strbuf *user,
                       struct cb_strbuf *pass, struct cb_error *err)
{
    int r = 0;
    if (o->username)
        cb_strbuf_adds(user, o->username);
    else
        r = o->password_stdin ? cb_error_set(err, CB_EUSAGE, "--password-stdin needs -u USER")
                              : ask(in, "Username", false, user, err);
    if (r == 0 && o->password_stdin && o->password)
        r = cb_error_set(err, CB_EUSAGE, "--password and --password-stdin contradict each other");
    if (r < 0)
        return r;
    if (o->password) {
        cb_strbuf_adds(pass, o->password);
        return 0;
    }
    if (!o->password_stdin)
        return ask(in, "Password", true, pass, err);
    r = cb_input_slurp(in, 1u << 20, pass, err);
    trim_newline(pass);
    if (r == 0 && pass->len == 0)
        r = cb_error_set(err, CB_EUSAGE, "standard input has no password: is what was written there set?");
    return r;
}

/* Docker takes the URL of a registry for its host, too; so is Docker Hub called in its config.json. How it is spoken to
 * is not said by that. */
static char *host_of(const struct cb_strvec *operands)
{
    const char *text = operands->n ? operands->v[0] : "docker.io";
    size_t scheme = cb_starts_with(text, "https://") ? 8 : cb_starts_with(text, "http://") ? 7 : 0;
    cb_autofree char *host = cb_strndup(text + scheme, scheme ? strcspn(text + scheme, "/") : strlen(text));
    return cb_strdup(cb_reference_known_host(host));
}

/* Where else the password went, and may go from now on. */
static void tell_realm(const char *host, const char *realm)
{
    struct cb_url u cb_cleanup_url = { 0 };
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT, origin cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!realm || cb_url_parse(&u, realm, NULL) < 0)
        return;
    cb_strbuf_adds(&origin, u.host);
    if (u.port != cb_url_default_port(u.scheme))
        cb_strbuf_addf(&origin, ":%u", u.port);
    cb_strbuf_add_url_redacted(&shown, realm);
    if (strcasecmp(origin.buf, host) != 0)
        fprintf(stderr, "The token server of %s, which gets the password too: %.500s\n", host, shown.buf);
}

static int check_host(const char *host, const char *operand, struct cb_error *err)
{
    if (cb_reference_valid_host(host))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "%s %s: write HOST[:PORT]",
                        *operand ? operand : "\"\"", *host ? "is no registry host" : "names no registry host");
}

static int login(struct cb_session *s, const struct login_options *o, const char *host, const char *operand,
                 struct cb_error *err)
{
    struct cb_strbuf user cb_cleanup_strbuf = CB_STRBUF_INIT, pass cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *realm = NULL;
    cb_autofree char *where = NULL;
    if (o->common.push_authfile || o->common.pull_authfile)
        return cb_error_set(err, CB_EUSAGE, "login keeps what is good for both: --authfile FILE says where");
    int r = check_host(host, operand, err);
    if (r < 0)
        return r;
    struct cb_input in = { STDIN_FILENO, s->process->cancel };
    r = credentials(o, &in, &user, &pass, err);
    if (r == 0)
        r = cb_registry_check_login(s->registry, host, user.buf, pass.buf, &realm, err);
    struct cb_login l = {
        .host = host, .authfile = o->common.authfile, .username = user.buf, .password = pass.buf, .realm = realm
    };
    if (r == 0)
        r = cb_auth_store_login(&l, &where, err);
    explicit_bzero(pass.buf, pass.len);
    if (r == 0)
        tell_realm(host, realm);
    if (r == 0)
        fprintf(stderr, "Login Succeeded: kept in %s\n", where);
    return r;
}

static int run_login(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                     int *status CB_UNUSED, struct cb_error *err)
{
    struct login_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = 1 };
    int r = cb_verb_args(&a, err);
    o.common.makes_authfile = true;
    if (r == 0 && !a.done)
        r = cb_session_network(&s, p, &o.common, err);
    cb_autofree char *host = host_of(&a.operands);
    if (r == 0 && !a.done)
        r = login(&s, &o, host, a.operands.n ? a.operands.v[0] : host, err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_login = {
    .name = "login",
    .topic = CB_TOPIC_HOUSE,
    .summary = "keep credentials for a registry",
    .operands = "[OPTIONS] [HOST[:PORT]]",
    .options = login_table,
    .run = run_login,
};

/* ---- logout ---- */

struct logout_options {
    const char *authfile;
};
static const struct cb_opt logout_table[] = {
    { "authfile", 0, CB_OPT_STRING, offsetof(struct logout_options, authfile), "FILE",
      "credentials (config.json or auth.json)", NULL },
    CB_OPT_END,
};

static int run_logout(const struct cb_process *p CB_UNUSED, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct logout_options o = { 0 };
    cb_autofree char *where = NULL;
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = 1 };
    int r = cb_verb_args(&a, err);
    cb_autofree char *host = host_of(&a.operands);
    if (r == 0 && !a.done && !*host) /* what some other tool put there may be odd */
        r = check_host(host, a.operands.n ? a.operands.v[0] : host, err);
    if (r == 0 && !a.done)
        r = cb_auth_remove_login(host, o.authfile, &where, err);
    if (r == 0 && !a.done)
        fprintf(stderr, "Removed login credentials from %s\n", where);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_logout = {
    .name = "logout",
    .topic = CB_TOPIC_HOUSE,
    .summary = "forget credentials for a registry",
    .operands = "[OPTIONS] [HOST[:PORT]]",
    .options = logout_table,
    .run = run_logout,
};
