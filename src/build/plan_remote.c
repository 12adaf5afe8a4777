/* SPDX-License-Identifier: Apache-2.0 */
/* ADD of URLs and repositories. Each source that is fetched is a vertex of its own, and a COPY from that; several
 * sources of one ADD are several steps, in their order. */
#include "build/plan_private.h"
#include "http/http.h"
#include "util/alloc.h"

#define UNNAMED "__unnamed__" /* a file whose URL has no name for it, as long as nobody needs the name */

void cb_remote_op_done(struct cb_remote_op *op)
{
    free(op->url);
    free(op->name);
    free(op->last_modified);
    free(op->commit);
    cb_git_ref_done(&op->git);
    *op = (struct cb_remote_op){ 0 };
}

/* ---- vertices ---- */

static bool same_git(const struct cb_git_ref *a, const struct cb_git_ref *b)
{
    return cb_streq(a->url, b->url) && cb_streq(a->ref, b->ref) && cb_streq(a->checksum, b->checksum) &&
           cb_streq(a->subdir, b->subdir) && a->keep_git_dir == b->keep_git_dir && a->submodules == b->submodules &&
           a->fetch_by_commit == b->fetch_by_commit && a->mtime_checkout == b->mtime_checkout;
}

static bool same_remote(const struct cb_remote_op *a, const struct cb_remote_op *b)
{
    bool content = (!a->pinned && !b->pinned) || cb_digest_eq(&a->content, &b->content);
    return cb_streq(a->url, b->url) && cb_streq(a->name, b->name) && a->unpack == b->unpack &&
           a->as_root == b->as_root && content && same_git(&a->git, &b->git);
}

static void fill(struct cb_vertex *v)
{
    bool http = v->kind == CB_VERTEX_HTTP;
    v->copy.add = true;
    v->copy.unpack = http && v->remote.unpack;
    v->copy.dest = cb_strdup("/");
    cb_strvec_push(&v->copy.sources, http ? "data" : ".");
    if (!http && !v->remote.git.keep_git_dir) {
        cb_strvec_push(&v->copy.exclude, ".git");
        cb_strvec_push(&v->copy.exclude, "**/.git");
    }
}

struct cb_vertex *plan_remote_vertex(struct planner *p, enum cb_vertex_kind kind, struct cb_remote_op *op,
                                     const char *name)
{
    for (size_t i = 0; i < p->plan->n; i++) {
        struct cb_vertex *have = p->plan->vertices[i];
        if (have->kind == kind && same_remote(&have->remote, op)) {
            cb_remote_op_done(op);
            return have;
        }
    }
    struct cb_vertex *v = plan_vertex(p, kind);
    v->remote = *op;
    *op = (struct cb_remote_op){ 0 };
    v->implied = true;
    v->name = cb_strdup(name);
    v->note = cb_strdup(name);
    v->step = cb_step_new(p->o->progress, name);
    fill(v);
    return v;
}

/* ---- words ---- */

bool plan_is_remote(const char *text)
{
    return cb_url_is_http(text) || cb_git_is_ref(text, false);
}

static int check_scheme(const char *text, struct cb_error *err)
{
    cb_autofree char *scheme = cb_url_scheme(text);
    if (!scheme || plan_is_remote(text))
        return 0;
    return cb_error_set(err, CB_ECONF, "ADD fetches http, https, git and ssh, but no %s", scheme);
}

static int check_flags(const struct cb_df_instruction *i, bool http, bool git, struct cb_error *err)
{
    if (i->checksum && !http && !git)
        return cb_error_set(err, CB_ECONF, "--checksum is for http(s) and git sources");
    if (i->checksum && i->words.n > 2)
        return cb_error_set(err, CB_ECONF, "--checksum is for one source: there are %zu", i->words.n - 1);
    if (i->keep_git_dir_set && !git)
        return cb_error_set(err, CB_ECONF, "--keep-git-dir is for git sources");
    if (i->unpack > 0 && git)
        return cb_error_set(err, CB_ECONF, "--unpack is not for git sources");
    return 0;
}

int plan_has_remote(struct plan_stage *st, const struct cb_df_instruction *i, bool *remote, struct cb_error *err)
{
    bool http = false, git = false;
    for (size_t k = 0; k + 1 < i->words.n; k++) {
        cb_autofree char *text = NULL;
        if (cb_df_is_heredoc_word(i, k))
            continue;
        int r = plan_expand(st, i->words.v[k], &text, err);
        if (r == 0)
            r = check_scheme(text, err);
        if (r < 0)
            return r;
        git = git || cb_git_is_ref(text, false);
        http = http || (cb_url_is_http(text) && !cb_git_is_ref(text, false));
    }
    *remote = http || git;
    return check_flags(i, http, git, err);
}

/* ---- one source ---- */

struct add {
    struct plan_stage *st;
    const struct cb_df_instruction *i;
    bool into_dir;                 /* the destination is written as a directory */
    char *checksum;                /* expanded, or NULL */
    unsigned parts;
};

/* The name is a pattern to COPY: what it has of one is quoted. */
static void quote(struct cb_strbuf *out, const char *name)
{
    for (; *name; name++) {
        if (*name == '\\')
            cb_strbuf_adds(out, "[\\\\]");
        else if (strchr("*?[", *name))
            cb_strbuf_addf(out, "[%c]", *name);
        else
            cb_strbuf_addch(out, *name);
    }
}

static int http_op(const struct add *a, const char *url, struct cb_remote_op *op, struct cb_error *err)
{
    struct cb_url parsed cb_cleanup_url = { 0 };
    if (cb_url_parse(&parsed, url, err) < 0)
        return cb_error_set(err, CB_ECONF, "%s", cb_error_text(err));
    op->url = cb_strndup(url, strcspn(url, "#"));
    op->name = cb_url_file_name(op->url);
    op->unpack = a->i->unpack > 0;
    if (!op->name && a->into_dir && !op->unpack)
        return cb_error_set(err, CB_ECONF, "the URL ends in no file name: write one as the destination");
    if (!op->name)
        op->name = cb_strdup(UNNAMED);
    if (a->checksum && cb_digest_parse(&op->content, a->checksum, err) < 0)
        return cb_error_set(err, CB_ECONF, "--checksum=%s: write sha256: and 64 hexadecimal digits", a->checksum);
    op->pinned = a->checksum != NULL;
    return 0;
}

static int git_op(const struct add *a, const char *text, struct cb_remote_op *op, struct cb_error *err)
{
    struct cb_git_ref *g = &op->git;
    int r = cb_git_ref_parse(g, text, err);
    if (r < 0)
        return r;
    if (a->i->keep_git_dir_set)
        g->keep_git_dir = a->i->keep_git_dir;
    if (!a->checksum)
        return 0;
    if (!cb_git_is_checksum(a->checksum))
        return cb_error_set(err, CB_ECONF, "--checksum=%s: of a repository it is a commit", a->checksum);
    if (g->checksum && strcmp(g->checksum, a->checksum) != 0)
        return cb_error_set(err, CB_ECONF, "two commits: %s in the URL and --checksum=%s", g->checksum, a->checksum);
    free(g->checksum);
    g->checksum = cb_strdup(a->checksum);
    return 0;
}

/* The instruction with the sources from `from` to before `to` alone, and the heredocs among them. */
static void part_new(const struct cb_df_instruction *i, size_t from, size_t to, struct cb_df_instruction *part)
{
    size_t first = 0;
    *part = *i;
    part->words = (struct cb_strvec)CB_STRVEC_INIT;
    for (size_t k = from; k < to; k++)
        cb_strvec_push(&part->words, i->words.v[k]);
    cb_strvec_push(&part->words, i->words.v[i->words.n - 1]);
    while (first < i->n_heredocs && i->heredoc_word[first] < from)
        first++;
    part->heredocs = i->n_heredocs ? i->heredocs + first : NULL;
    part->n_heredocs = 0;
    part->heredoc_word = cb_calloc(i->n_heredocs + 1, sizeof *part->heredoc_word);
    for (size_t k = first; k < i->n_heredocs && i->heredoc_word[k] < to; k++)
        part->heredoc_word[part->n_heredocs++] = i->heredoc_word[k] - from;
}

/* They all are the one numbered step of the instruction. */
static int add_part(struct add *a, size_t from, size_t to, const struct plan_copy_source *src, struct cb_error *err)
{
    struct cb_df_instruction part;
    part_new(a->i, from, to, &part);
    if (a->parts++)
        a->st->step--;
    int r = plan_copy_from(a->st, &part, src, err);
    free(part.heredoc_word);
    cb_strvec_done(&part.words);
    return r;
}

static int add_fetched(struct add *a, size_t word, const char *text, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_remote_op op = { 0 };
    bool git = cb_git_is_ref(text, false);
    int r = git ? git_op(a, text, &op, err) : http_op(a, text, &op, err);
    if (r < 0) {
        cb_remote_op_done(&op);
        return r;
    }
    if (git)
        cb_strbuf_addch(&path, '.');
    else
        quote(&path, op.name);
    cb_strbuf_add_url_redacted(&shown, text);
    struct plan_copy_source src = { .path = path.buf };
    src.from = plan_remote_vertex(a->st->p, git ? CB_VERTEX_GIT : CB_VERTEX_HTTP, &op, shown.buf);
    if (!src.from->span.first)
        src.from->span = a->i->span;
    return add_part(a, word, word + 1, &src, err);
}

static int add_all(struct add *a, struct cb_error *err)
{
    const struct cb_strvec *words = &a->i->words;
    size_t n = words->n - 1, local = 0; /* first of the sources that are not fetched and not added yet */
    int r = 0;
    for (size_t k = 0; r == 0 && k <= n; k++) {
        cb_autofree char *text = NULL;
        if (k < n && !cb_df_is_heredoc_word(a->i, k))
            r = plan_expand(a->st, words->v[k], &text, err);
        bool fetched = text && plan_is_remote(text);
        if (r < 0 || (k < n && !fetched))
            continue;
        if (local < k)
            r = add_part(a, local, k, &(struct plan_copy_source){ 0 }, err);
        local = k + 1;
        if (r == 0 && fetched)
            r = add_fetched(a, k, text, err);
    }
    return r;
}

int plan_add_remote(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct add a = { .st = st, .i = i };
    cb_autofree char *dest = NULL, *checksum = NULL;
    int r = plan_expand(st, i->words.v[i->words.n - 1], &dest, err);
    if (r == 0 && i->checksum)
        r = plan_expand(st, i->checksum, &checksum, err);
    if (r == 0 && checksum && !*checksum)
        r = cb_error_set(err, CB_ECONF, "--checksum=%s is empty", i->checksum);
    if (r < 0)
        return r;
    a.checksum = checksum;
    a.into_dir = !*dest || cb_ends_with(dest, "/") || !strcmp(dest, ".") || cb_ends_with(dest, "/.");
    if (i->words.n > 2 && !a.into_dir)
        return cb_error_set(err, CB_ECONF, "destination %s must end with '/': several files are copied", dest);
    return add_all(&a, err);
}
