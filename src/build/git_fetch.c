/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/fetch.h"
#include "http/http.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/path.h"
#include "util/proc.h"

#define TIMEOUT_MS (20u * 60 * 1000)
#define GIT_TOKEN "GIT_AUTH_TOKEN."
#define MAX_OUTPUT ((size_t)32 << 20)

/* One run of git needs: a directory of ours, which is its HOME too (no .netrc, no .gitconfig), and an environment made
 * from nothing. What is configured stands there as well: submodule's children inherit it. */
struct git {
    const struct cb_build_env *env;
    const struct cb_git_ref *g;
    struct cb_git_auth auth;
    char *dir;                     /* absolute */
    char *git_dir, *work_tree;     /* "--git-dir=…", "--work-tree=…" */
    struct cb_strvec vars;
};

static void git_done(struct git *t)
{
    free(t->dir);
    free(t->git_dir);
    free(t->work_tree);
    cb_strvec_wipe(&t->vars);
    cb_git_auth_done(&t->auth);
}

static void set(struct git *t, size_t *n, const char *key, const char *value)
{
    cb_strvec_pushf(&t->vars, "GIT_CONFIG_KEY_%zu=%s", *n, key);
    cb_strvec_pushf(&t->vars, "GIT_CONFIG_VALUE_%zu=%s", *n, value);
    (*n)++;
}

/* git sends such a header to whatever a redirect leads to, so that server's are not followed. No proxy is to see one
 * that is not encrypted. */
static void set_auth(struct git *t, size_t *n, const struct cb_remote_auth *a)
{
    cb_autofree char *header = cb_asprintf("http.%s/.extraHeader", a->origin);
    cb_autofree char *redirects = cb_asprintf("http.%s/.followRedirects", a->origin);
    cb_autofree char *proxy = cb_asprintf("http.%s/.proxy", a->origin);
    cb_autofree char *value = cb_asprintf("Authorization: %s", a->value);
    set(t, n, header, value);
    set(t, n, redirects, "false");
    if (a->plain)
        set(t, n, proxy, "");
    explicit_bzero(value, strlen(value));
}

static void configure(struct git *t)
{
    cb_autofree char *scheme = cb_asprintf("protocol.%s.allow", t->g->scheme);
    const struct { const char *key, *value; } v[] = {
        { "protocol.allow", "never" }, { "protocol.https.allow", "always" }, { scheme, "always" },
        { "core.hooksPath", "/dev/null" }, { "core.attributesFile", "/dev/null" },
        { "core.excludesFile", "/dev/null" }, { "core.fsmonitor", "false" }, { "core.symlinks", "true" },
        { "core.autocrlf", "false" }, { "core.protectHFS", "true" }, { "core.protectNTFS", "true" },
        { "credential.helper", "" }, { "fetch.recurseSubmodules", "false" }, { "submodule.recurse", "false" },
        { "gc.auto", "0" }, { "maintenance.auto", "false" }, { "advice.detachedHead", "false" },
        { "init.defaultBranch", "master" }, { "http.lowSpeedLimit", "1024" }, { "http.lowSpeedTime", "30" },
    };
    size_t n = 0;
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        set(t, &n, v[i].key, v[i].value);
    for (size_t i = 0; i < t->auth.n; i++)
        if (t->auth.v[i].value)
            set_auth(t, &n, &t->auth.v[i]);
    cb_strvec_pushf(&t->vars, "GIT_CONFIG_COUNT=%zu", n);
}

static void inherit(struct git *t)
{
    static const char *const names[] = { "PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                         "no_proxy", "NO_PROXY", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            cb_strvec_pushf(&t->vars, "%s=%s", names[i], v);
    }
    const char *ca = getenv("SSL_CERT_FILE"), *home = getenv("HOME");
    if (ca && *ca && !cb_env_get(&t->vars, "GIT_SSL_CAINFO"))
        cb_strvec_pushf(&t->vars, "GIT_SSL_CAINFO=%s", ca);
    /* git hands this to a shell: it is constant, and ssh itself expands the variable. In our user namespace ssh would
     * look into root's home otherwise. */
    cb_strvec_pushf(&t->vars, "CBPUSH_SSH_HOME=%s", home && *home ? home : "/nonexistent");
    cb_strvec_push(&t->vars, "GIT_SSH_COMMAND=ssh -F /dev/null -oBatchMode=yes "
                             "-o'UserKnownHostsFile=${CBPUSH_SSH_HOME}/.ssh/known_hosts' "
                             "-o'IdentityFile=${CBPUSH_SSH_HOME}/.ssh/id_ed25519' "
                             "-o'IdentityFile=${CBPUSH_SSH_HOME}/.ssh/id_ecdsa' "
                             "-o'IdentityFile=${CBPUSH_SSH_HOME}/.ssh/id_rsa'");
}

static int git_open(struct git *t, int dirfd, struct cb_error *err)
{
    static const char *const fixed[] = {
        "LANG=C", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_LFS_SKIP_SMUDGE=1",
    };
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0 || path[0] != '/')
        return cb_error_sys(err, CB_ELOCAL, n < 0 ? errno : ENOENT, "find the directory for git");
    path[n] = '\0';
    t->dir = cb_strdup(path);
    for (size_t i = 0; i < CB_COUNTOF(fixed); i++)
        cb_strvec_push(&t->vars, fixed[i]);
    cb_strvec_pushf(&t->vars, "HOME=%s", t->dir);
    cb_strvec_pushf(&t->vars, "TMPDIR=%s", t->dir);
    cb_strvec_pushf(&t->vars, "GIT_CEILING_DIRECTORIES=%s", t->dir);
    cb_strvec_pushf(&t->vars, "GIT_ALLOW_PROTOCOL=https:%s", t->g->scheme);
    inherit(t);
    configure(t);
    return 0;
}

/* ---- running ---- */

/* What git says of a connection that another program could not make; why stands before it. */
#define NOT_READ "fatal: Could not read from remote repository."

static struct cb_slice last_line(const char *text, const char *end)
{
    struct cb_slice s = cb_slice_trim((struct cb_slice){ text, (size_t)(end - text) });
    for (size_t i = s.len; i-- > 0;)
        if (s.ptr[i] == '\n')
            return cb_slice_trim((struct cb_slice){ s.ptr + i, s.len - i });
    return s;
}

/* What it said last, which is what went wrong. A server may have repeated what it was sent. */
static void add_complaint(const struct git *t, const struct cb_proc_result *res, struct cb_strbuf *out)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add(&text, res->err.buf, res->err.len);
    for (size_t i = 0; i < t->auth.n; i++)
        if (t->auth.v[i].value)
            cb_http_hide_authorization(&text, t->auth.v[i].value);
    const char *fatal = strstr(text.buf, "fatal: ");
    struct cb_slice s = CB_SLICE(fatal ? fatal + 7 : text.buf);
    if (fatal && cb_starts_with(fatal, NOT_READ)) {
        struct cb_slice why = last_line(text.buf, fatal);
        s = why.len ? why : CB_SLICE(NOT_READ);
    }
    s = cb_slice_trim(s);
    s.len = CB_MIN(s.len, (size_t)1000);
    if (s.len)
        cb_strbuf_addf(out, "%.*s", (int)s.len, s.ptr);
    else
        cb_strbuf_addf(out, "exit status %d", res->status);
}

static bool says(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strstr(text, *words))
            return true;
    return false;
}

/* It never asks anybody: there is no terminal for it, and no helper. */
static int refused(const struct git *t, const char *command, const char *said, struct cb_error *err)
{
    const struct cb_remote_auth *own = t->auth.v;
    struct cb_strbuf advice cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!strcmp(command, "submodule"))
        cb_strbuf_adds(&advice, "a submodule wants credentials: give those of its host by "
                                "--secret id=GIT_AUTH_TOKEN.HOST,env=VARIABLE");
    else
        cb_remote_auth_advise(own, GIT_TOKEN, &advice);
    return cb_error_set(err, CB_EAUTH, "git %s: %.*s: %s", command, (int)strcspn(said, "\n"), said, advice.buf);
}

static int failed(const struct git *t, const char *command, const char *said, struct cb_error *err)
{
    static const char *const auth[] = { "could not read Username", "could not read Password", "Authentication failed",
                                        "returned error: 401", "returned error: 403", NULL };
    static const char *const moved[] = { "returned error: 301", "returned error: 302", "returned error: 303",
                                         "returned error: 307", "returned error: 308", NULL };
    static const char *const hidden[] = { "not found", "returned error: 404", NULL };
    const struct cb_remote_auth *own = t->auth.v;
    struct cb_strbuf advice cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool module = !strcmp(command, "submodule");
    if ((own->host || module) && says(said, auth))
        return refused(t, command, said, err);
    if ((own->value || (module && t->auth.n > 1)) && says(said, moved))
        return cb_error_set(err, CB_EVERIFY, "git %s: %.*s: the server redirects, and a secret (%s) is not taken "
                            "along: write the URL that it leads to", command, (int)strcspn(said, "\n"), said,
                            module ? "GIT_AUTH_…" : own->id);
    if (own->host && !module && says(said, hidden)) {
        cb_remote_auth_advise(own, GIT_TOKEN, &advice);
        return cb_error_set(err, CB_ENET, "git %s: %s (some servers say so of a private one: %s)", command, said,
                            advice.buf);
    }
    if (strstr(said, "Host key verification failed"))
        return cb_error_set(err, CB_EAUTH, "git %s: %s ~/.ssh/known_hosts has to have the host's key (ssh-keyscan "
                            "prints it)", command, said);
    if (strstr(said, "Permission denied ("))
        return cb_error_set(err, CB_EAUTH, "git %s: %s ssh offers keys of the agent at SSH_AUTH_SOCK, and those in "
                            "~/.ssh", command, said);
    return cb_error_set(err, CB_ENET, "git %s: %s", command, said);
}

/* words: behind the options that every run has; the first is the command. */
static int run_git(const struct git *t, const char *const *words, struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_strvec argv cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_proc_result res cb_cleanup_proc_result = { 0 };
    struct cb_strbuf said cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strvec_push(&argv, "git");
    cb_strvec_push(&argv, "-C");
    cb_strvec_push(&argv, t->dir);
    if (t->git_dir) {
        cb_strvec_push(&argv, t->git_dir);
        cb_strvec_push(&argv, t->work_tree);
    }
    for (size_t i = 0; words[i]; i++)
        cb_strvec_push(&argv, words[i]);
    struct cb_proc_spec spec = { .argv = (const char *const *)argv.v, .env = (const char *const *)t->vars.v,
                                 .max_output = MAX_OUTPUT, .timeout_ms = TIMEOUT_MS, .cancel = t->env->cancel };
    int r = cb_proc_run(&spec, &res, err);
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_ELOCAL, "the program git is needed for this: install it (package git)");
    if (r < 0)
        return r;
    if (res.status != 0) {
        add_complaint(t, &res, &said);
        return failed(t, words[0], said.buf, err);
    }
    if (out)
        cb_strbuf_add(out, res.out.buf, res.out.len);
    return 0;
}

static int wrap(const struct cb_git_ref *g, int r, struct cb_error *err)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (r < 0) {
        cb_strbuf_add_url_redacted(&shown, g->url);
        cb_error_wrap(err, "git repository %s", shown.buf);
    }
    return r;
}

/* ---- which commit ---- */

/* The commit of a name in what ls-remote printed, lines of "<commit>\t<name>". */
static char *listed(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        if (!tab || (size_t)(end - tab) - 1 != n || strncmp(tab + 1, name, n) != 0)
            continue;
        cb_autofree char *commit = cb_strndup(line, (size_t)(tab - line));
        return cb_git_is_commit(commit) ? CB_TAKE(commit) : NULL;
    }
    return NULL;
}

/* A full name, else a branch before a tag, as checkout takes them; of a tag the commit, not the tag object. */
static char *choose(const char *text, const char *ref)
{
    static const char *const forms[] = { "%s^{}", "%s", "refs/%s^{}", "refs/%s", "refs/heads/%s", "refs/tags/%s^{}",
                                         "refs/tags/%s" };
    bool full = cb_starts_with(ref, "refs/") || !strcmp(ref, "HEAD");
    for (size_t i = full ? 0 : 2; i < (full ? 2 : CB_COUNTOF(forms)); i++) {
        const char *mark = strchr(forms[i], '%');
        cb_autofree char *name = cb_asprintf("%.*s%s%s", (int)(mark - forms[i]), forms[i], ref, mark + 2);
        char *commit = listed(text, name);
        if (commit)
            return commit;
    }
    return NULL;
}

/* Whether the credentials hold for it: what is in the cache asks nobody. */
static int ask_access(const struct git *t, struct cb_error *err)
{
    const char *const words[] = { "ls-remote", "-q", "--", t->g->url, "HEAD", NULL };
    return run_git(t, words, NULL, err);
}

static int ask_remote(const struct git *t, char **commit, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *ref = t->g->ref ? t->g->ref : "HEAD";
    cb_autofree char *peeled = cb_asprintf("%s^{}", ref);
    const char *const words[] = { "ls-remote", "-q", "--", t->g->url, ref, peeled, NULL };
    int r = run_git(t, words, &text, err);
    if (r < 0)
        return r;
    *commit = choose(text.buf, ref);
    return *commit ? 0 : cb_error_set(err, CB_ECONF, "it has no branch or tag \"%s\"", ref);
}

static int check_commit(const struct cb_git_ref *g, const char *commit, struct cb_error *err)
{
    if (!g->checksum || cb_starts_with(commit, g->checksum))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "%s is commit %s, and not %s as was asked for", g->ref ? g->ref : "HEAD",
                        commit, g->checksum);
}

/* Needs a directory of the store only where somebody is asked. */
static int find_commit(struct git *t, struct cb_store_tmp *tmp, char **commit, struct cb_error *err)
{
    const struct cb_git_ref *g = t->g;
    const char *known = g->fetch_by_commit ? g->checksum : g->ref && cb_git_is_commit(g->ref) ? g->ref : NULL;
    int r = 0;
    *commit = cb_strdup_or_null(known);
    if (known && !t->auth.v->value)
        return 0;
    r = cb_store_tmp_new(t->env->store, "git", tmp, err);
    if (r == 0)
        r = git_open(t, tmp->fd, err);
    if (r < 0)
        return r;
    return known ? ask_access(t, err) : ask_remote(t, commit, err);
}

char *cb_git_resolve(const struct cb_fetcher *f, const struct cb_git_ref *g, struct cb_step *step, bool *authorized,
                     struct cb_error *err)
{
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    CB_CLEANUP(git_done) struct git t = { .env = f->env, .g = g };
    cb_autofree char *commit = NULL;
    int r = cb_git_auth(f, g->url, g->submodules, &t.auth, err);
    if (r == 0 && authorized)
        *authorized = t.auth.v->value || t.auth.n > 1;
    if (r == 0)
        r = find_commit(&t, &tmp, &commit, err);
    if (r == 0)
        r = check_commit(g, commit, err);
    if (wrap(g, r, err) < 0)
        return NULL;
    cb_step_logf(step, "%s is commit %s", g->ref ? g->ref : "HEAD", commit);
    return CB_TAKE(commit);
}

/* ---- its files ---- */

static bool has_commit(const struct git *t, const char *commit)
{
    cb_autofree char *what = cb_asprintf("%s^{commit}", commit);
    const char *const words[] = { "cat-file", "-e", what, NULL };
    return run_git(t, words, NULL, NULL) == 0;
}

/* By its id, which most servers give; else by its name; else everything, which servers without a program of their own
 * need. */
static int fetch(const struct git *t, const char *commit, struct cb_error *err)
{
    const char *url = t->g->url, *ref = t->g->ref ? t->g->ref : "HEAD";
    const char *const by_id[] = { "fetch", "-q", "--depth=1", "--no-tags", "--", url, commit, NULL };
    const char *const by_name[] = { "fetch", "-q", "--depth=1", "--no-tags", "--", url, ref, NULL };
    const char *const all[] = { "fetch", "-q", "--no-tags", "--", url, "+refs/heads/*:refs/remotes/origin/*",
                                "+refs/tags/*:refs/tags/*", NULL };
    const char *const *const ways[] = { by_id, by_name, all };
    int r = -CB_ENET;
    for (size_t i = 0; i < CB_COUNTOF(ways); i++) {
        r = run_git(t, ways[i], NULL, err);
        if (r < 0 && r != -CB_ENET)
            return r;
        if (r == 0 && has_commit(t, commit))
            return 0;
    }
    return r < 0 ? r : cb_error_set(err, CB_ECONF, "it has no commit %s", commit);
}

static int check_out(const struct git *t, const char *commit, struct cb_error *err)
{
    const char *const words[] = { "checkout", "-q", "-f", "--detach", commit, "--", NULL };
    const char *const modules[] = { "submodule", "update", "-q", "--init", "--recursive", "--depth=1", NULL };
    int r = run_git(t, words, NULL, err);
    return r == 0 && t->g->submodules ? run_git(t, modules, NULL, err) : r;
}

static int commit_time(const struct git *t, const char *commit, int64_t *out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *const words[] = { "log", "-1", "--format=%ct", commit, "--", NULL };
    int r = run_git(t, words, &text, err);
    if (r < 0)
        return r;
    text.buf[strcspn(text.buf, "\n")] = '\0';
    uint64_t sec = 0;
    *out = cb_parse_u64(text.buf, INT32_MAX * UINT64_C(4), &sec) ? (int64_t)sec : 0;
    return 0;
}

static int set_up(struct git *t, struct cb_error *err)
{
    bool keep = t->g->keep_git_dir && !t->g->subdir;
    cb_autofree char *fs = cb_asprintf("%s/fs", t->dir);
    t->git_dir = cb_asprintf("--git-dir=%s/%s", t->dir, keep ? "fs/.git" : "git");
    t->work_tree = cb_asprintf("--work-tree=%s", fs);
    const char *const init[] = { "init", "-q", "--template=", NULL };
    const char *const origin[] = { "remote", "add", "--", "origin", t->g->url, NULL };
    int r = run_git(t, init, NULL, err);
    /* From here on it runs where the files are: submodule wants that. */
    free(t->dir);
    t->dir = CB_TAKE(fs);
    return r == 0 && (keep || t->g->submodules) ? run_git(t, origin, NULL, err) : r;
}

static int open_root(const struct git *t, int tmpfd, struct cb_git_tree *out, struct cb_error *err)
{
    cb_autoclose int fs = cb_path_openat(tmpfd, "fs", O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    struct stat st;
    if (fs < 0)
        return cb_error_sys(err, CB_ELOCAL, -fs, "open what git checked out");
    out->left_out = !t->g->submodules_said && cb_path_lstat(fs, ".gitmodules", &st, CB_RESOLVE_NOFOLLOW) == 0;
    const char *subdir = t->g->subdir ? t->g->subdir : "";
    out->fd = cb_path_openat(fs, subdir, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_BENEATH);
    if (out->fd >= 0)
        return 0;
    int e = -out->fd;
    out->fd = -1;
    if (e == EXDEV || e == ELOOP)
        return cb_error_set(err, CB_EVERIFY, "its subdirectory %s is a link that leads out of it", subdir);
    return cb_error_sys(err, CB_ECONF, e, "its subdirectory %s", subdir);
}

int cb_git_checkout(const struct cb_fetcher *f, const struct cb_git_ref *g, const char *commit,
                    struct cb_store_tmp *tmp, struct cb_git_tree *out, struct cb_error *err)
{
    CB_CLEANUP(git_done) struct git t = { .env = f->env, .g = g };
    *out = (struct cb_git_tree){ .fd = -1, .mtime = INT64_MAX };
    int r = cb_git_auth(f, g->url, g->submodules, &t.auth, err);
    if (r == 0)
        r = git_open(&t, tmp->fd, err);
    if (r == 0)
        r = set_up(&t, err);
    if (r == 0)
        r = fetch(&t, commit, err);
    if (r == 0)
        r = check_out(&t, commit, err);
    if (r == 0 && !g->mtime_checkout)
        r = commit_time(&t, commit, &out->mtime, err);
    if (r == 0)
        r = open_root(&t, tmp->fd, out, err);
    return wrap(g, r, err);
}
