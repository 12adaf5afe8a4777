/* SPDX-License-Identifier: Apache-2.0 */
/* What sources name in a build context: a directory of files is made, and looked at. */
#include "build_trees.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "build/select.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/thread.h"

struct fixture {
    char dir[256], ctx[300];
    int fd;                        /* of ctx */
    struct cb_pool *cpu;
    struct cb_build_env env;
    struct cb_error err;
};

static int setup(void **state)
{
    struct fixture *f = CB_NEW(struct fixture);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/cbpush-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->ctx, sizeof f->ctx, "%s/ctx", f->dir);
    if (mkdir(f->ctx, 0755) < 0)
        return -1;
    f->fd = open(f->ctx, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->cpu = cb_pool_new("cpu", 2);
    f->env.cpu = f->cpu;
    *state = f;
    return f->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char *base = strrchr(f->dir, '/');
    *base++ = '\0';
    cb_autoclose int up = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = cb_fs_remove_tree(up, base, NULL);
    close(f->fd);
    cb_pool_free(f->cpu);
    cb_error_done(&f->err);
    free(f);
    return r;
}

static void make_dir(struct fixture *f, const char *path, unsigned mode)
{
    assert_int_equal(mkdirat(f->fd, path, 0755), 0);
    assert_int_equal(fchmodat(f->fd, path, mode, 0), 0);
}

static void write_at(int dirfd, const char *path, const char *text, unsigned mode)
{
    cb_autoclose int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
}

static void make_file(struct fixture *f, const char *path, const char *text)
{
    write_at(f->fd, path, text, 0644);
}

static void make_link(struct fixture *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, f->fd, path), 0);
}

/* The tree that most tests look at. */
static void make_usual(struct fixture *f)
{
    make_file(f, "a.txt", "aaa");
    make_file(f, "b.md", "b");
    make_dir(f, "src", 0750);
    make_file(f, "src/main.c", "int main;");
    make_file(f, "src/main.o", "o");
    make_dir(f, "src/deep", 0755);
    make_file(f, "src/deep/x.c", "x");
    make_file(f, "src/deep/x.o", "y");
    make_dir(f, "docs", 0755);
    make_file(f, "docs/README.md", "r");
    make_file(f, "docs/other.md", "o");
    make_dir(f, "empty", 0755);
}

#define L(...) (const char *const[]) { __VA_ARGS__, NULL }

struct query {
    const char *const *sources, *const *exclude, *const *below;
    const char *ignore;            /* .dockerignore, or NULL */
};

static void fill(struct cb_strvec *to, const char *const *from)
{
    for (size_t i = 0; from && from[i]; i++)
        cb_strvec_push(to, from[i]);
}

/* Each match as "= NAME", "= NAME/" (directory) or "= NAME *" (by a wildcard), then what is in it. */
static void selection_text(struct cb_strbuf *o, const struct cb_selection *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct cb_match *m = &s->v[i];
        cb_strbuf_addf(o, "= %s%s%s\n", m->name, m->is_dir ? "/" : "", m->wildcard ? " *" : "");
        for (size_t k = 0; k < m->n; k++) {
            struct cb_entry e;
            cb_item_entry(m->items[k], &e);
            tree_line(o, &e, e.path);
        }
    }
}

static int select_in(struct fixture *f, const struct query *q, struct cb_selection *sel)
{
    struct cb_copy_op op = { .unpack = -1 };
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ignore = NULL;
    if (q->ignore) {
        ignore = cb_df_ignore_parse(".dockerignore", q->ignore, strlen(q->ignore), &f->err);
        assert_non_null(ignore);
    }
    CB_AUTO(cb_context_free) struct cb_context *c = cb_context_open(f->ctx, ignore, &f->err);
    assert_non_null(c);
    fill(&op.sources, q->sources);
    fill(&op.exclude, q->exclude);
    fill(&op.below, q->below);
    int r = cb_context_select(c, &op, &f->env, sel, &f->err);
    cb_strvec_done(&op.sources);
    cb_strvec_done(&op.exclude);
    cb_strvec_done(&op.below);
    return r;
}

static void check_at(struct fixture *f, const struct query *q, const char *expected, int line)
{
    struct cb_selection sel = { 0 };
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = select_in(f, q, &sel);
    if (r < 0)
        cb_strbuf_addf(&got, "error %d: %s", r, cb_error_text(&f->err));
    else
        selection_text(&got, &sel);
    cb_selection_done(&sel);
    bool same = r < 0 ? cb_starts_with(got.buf, expected) : !strcmp(got.buf, expected);
    if (!same)
        fail_msg("line %d\n--- expected\n%s--- got\n%s", line, expected, got.buf);
}
#define check(expected, ...) check_at(f, &(struct query){ __VA_ARGS__ }, expected, __LINE__)

/* ---- names ---- */

static void test_plain(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    check("= a.txt\nf . 644 0:0 3\n", .sources = L("a.txt"));
    check("= src/\nd . 750 0:0\nd deep 755 0:0\nf deep/x.c 644 0:0 1\nf deep/x.o 644 0:0 1\nf main.c 644 0:0 9\n"
          "f main.o 644 0:0 1\n", .sources = L("src"));
    check("= main.c\nf . 644 0:0 9\n= b.md\nf . 644 0:0 1\n", .sources = L("src/main.c", "b.md"));
    check("= empty/\nd . 755 0:0\n", .sources = L("empty"));
    check("error -5: \"/none\": not found in the build context", .sources = L("none"));
    check("error -5: \"/a.txt/x\": not found in the build context", .sources = L("a.txt/x"));
}

static void test_whole_context(void **state)
{
    struct fixture *f = *state;
    make_file(f, "x", "1");
    make_dir(f, "d", 0700);
    check("= /\nd . 755 0:0\nd d 700 0:0\nf x 644 0:0 1\n", .sources = L("."));
}

static void test_owner_and_time(void **state)
{
    struct fixture *f = *state;
    struct cb_selection sel = { 0 };
    struct timespec t[2] = { { 1, 5 }, { 1234567, 987654321 } };
    write_at(f->fd, "suid", "x", 04751);
    if (geteuid() == 0)
        assert_int_equal(fchownat(f->fd, "suid", 77, 88, 0), 0);
    assert_int_equal(fchmodat(f->fd, "suid", 04751, 0), 0);
    assert_int_equal(utimensat(f->fd, "suid", t, 0), 0);
    assert_int_equal(select_in(f, &(struct query){ .sources = L("suid") }, &sel), 0);
    const struct cb_item *it = sel.v[0].items[0];
    struct cb_entry e;
    struct cb_sum d;
    cb_item_entry(it, &e);
    cb_sum_of(&d, "x", 1);
    assert_int_equal(e.mode, 04751);
    assert_int_equal(e.uid | e.gid, 0);
    assert_int_equal(e.mtime, 1234567);
    assert_true(cb_sum_eq(&e.digest, &d));
    assert_string_equal(cb_item_path(it), "suid");
    cb_selection_done(&sel);
}

static void test_odd_names(void **state)
{
    struct fixture *f = *state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    make_dir(f, "odd", 0755);
    make_file(f, "odd/new\nline", "1");
    make_file(f, "odd/sp ace", "1");
    make_file(f, "odd/\xff\xfe", "1");
    make_file(f, "odd/ünï", "1");
    make_file(f, "odd/back\\slash", "1");
    check("= odd/\nd . 755 0:0\nf back\\slash 644 0:0 1\nf new\nline 644 0:0 1\nf sp ace 644 0:0 1\n"
          "f ünï 644 0:0 1\nf \xff\xfe 644 0:0 1\n", .sources = L("odd"));
    check("= sp ace\nf . 644 0:0 1\n", .sources = L("odd/sp ace"));
    check("= new\nline *\nf . 644 0:0 1\n", .sources = L("odd/new*"));
    make_file(f, name, "long");
    struct cb_strbuf want cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&want, "= %s\nf . 644 0:0 4\n", name);
    check(want.buf, .sources = L(name));
}

/* ---- wildcards ---- */

static void test_wildcards(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    make_file(f, "arr[0].txt", "z");
    make_file(f, ".hidden.txt", "h");
    check("= .hidden.txt *\nf . 644 0:0 1\n= a.txt *\nf . 644 0:0 3\n= arr[0].txt *\nf . 644 0:0 1\n",
          .sources = L("*.txt"));
    check("= arr[0].txt *\nf . 644 0:0 1\n", .sources = L("arr[[]0].txt"));
    check("= main.c *\nf . 644 0:0 9\n= main.o *\nf . 644 0:0 1\n", .sources = L("s?c/main.[a-z]"));
    check("= x.c *\nf . 644 0:0 1\n", .sources = L("*/*/*.c"));
    check("= deep/ *\nd . 755 0:0\nf x.c 644 0:0 1\nf x.o 644 0:0 1\n", .sources = L("src/d*"));
    check("= x.c *\nf . 644 0:0 1\n", .sources = L("*/deep/x.c"));
    check("", .sources = L("*.none"));
    check("", .sources = L("none/*"));
    check("", .sources = L("a.txt/*"));
    check("error -5: ", .sources = L("[a"));
    check("= b.md\nf . 644 0:0 1\n", .sources = L("*.none", "b.md"));
}

/* ---- .dockerignore and --exclude ---- */

static void test_ignore(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    check("= src/\nd . 750 0:0\nd deep 755 0:0\nf deep/x.c 644 0:0 1\nf main.c 644 0:0 9\n", .sources = L("src"),
          .ignore = "**/*.o\n");
    check("error -5: \"/a.txt\": not found: left out of the build context by .dockerignore:1 (\"*.txt\")",
          .sources = L("a.txt"), .ignore = "*.txt\n");
    check("error -5: \"/src/main.c\": not found: left out", .sources = L("src/main.c"), .ignore = "src\n");
    check("= /\nd . 755 0:0\nf a.txt 644 0:0 3\nf b.md 644 0:0 1\nd empty 755 0:0\n", .sources = L("."),
          .ignore = "src\ndocs/\n");
    check("= b.md *\nf . 644 0:0 1\n", .sources = L("?.*"), .ignore = "*.txt\n");
    check("= /\nd . 755 0:0\n", .sources = L("."), .ignore = "*\n");
    check("", .sources = L("*"), .ignore = "*\n");
}

static void test_reinclude(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    static const char only_readme[] = "*\n!docs/README.md\n";
    check("= /\nd . 755 0:0\nd docs 755 0:0\nf docs/README.md 644 0:0 1\n", .sources = L("."), .ignore = only_readme);
    check("= docs/\nd . 755 0:0\nf README.md 644 0:0 1\n", .sources = L("docs"), .ignore = only_readme);
    check("= docs/ *\nd . 755 0:0\nf README.md 644 0:0 1\n", .sources = L("*"), .ignore = only_readme);
    check("= README.md *\nf . 644 0:0 1\n", .sources = L("*/*.md"), .ignore = only_readme);
    check("error -5: \"/docs/other.md\": not found: left out", .sources = L("docs/other.md"), .ignore = only_readme);
    /* A directory that nothing comes back of is not there. */
    check("error -5: \"/docs\": not found: left out", .sources = L("docs"), .ignore = "*\n!docs/none\n");
    check("", .sources = L("d*"), .ignore = "*\n!docs/none\n");
    check("= src/\nd . 750 0:0\nd deep 755 0:0\nf deep/x.c 644 0:0 1\n", .sources = L("src"),
          .ignore = "src\n!src/deep/*.c\n");
}

static void test_exclude(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    check("= src/\nd . 750 0:0\nf main.c 644 0:0 9\n", .sources = L("src"), .exclude = L("*.o", "deep"));
    check("= src/\nd . 750 0:0\nd deep 755 0:0\nf deep/x.c 644 0:0 1\n", .sources = L("src"),
          .exclude = L("**", "!deep/x.c"));
    /* Not the match itself, wildcard or not. */
    check("= a.txt *\nf . 644 0:0 3\n= b.md *\nf . 644 0:0 1\n", .sources = L("?.*"), .exclude = L("*.txt"));
    check("= a.txt\nf . 644 0:0 3\n", .sources = L("a.txt"), .exclude = L("*.txt"));
    check("= src/\nd . 750 0:0\nf main.c 644 0:0 9\n", .sources = L("src"), .exclude = L("deep"), .ignore = "**/*.o\n");
    check("error -5: ", .sources = L("src"), .exclude = L("[a"));
}

static void test_parents(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    make_link(f, "src", "to-src");
    check("= /\nd . 755 0:0\nd src 750 0:0\nd src/deep 755 0:0\nf src/deep/x.c 644 0:0 1\n", .sources = L("."),
          .below = L("src/deep/x.c"));
    check("= src/\nd . 750 0:0\nd deep 755 0:0\nf deep/x.c 644 0:0 1\n", .sources = L("src"), .below = L("*/x.c"));
    check("= /\nd . 755 0:0\nd src 750 0:0\nd src/deep 755 0:0\nf src/deep/x.c 644 0:0 1\nf src/main.c 644 0:0 9\n",
          .sources = L("."), .below = L("**/*.c"));
    check("= to-src/\nd . 750 0:0\nf main.c 644 0:0 9\n", .sources = L("to-src"), .below = L("main.?"),
          .exclude = L("*.o"));
    check("= docs/ *\nd . 755 0:0\nf other.md 644 0:0 1\n= src/ *\nd . 750 0:0\n", .sources = L("[ds][or]*c*"),
          .below = L("other.md"));
    check("= /\nd . 755 0:0\n", .sources = L("."), .below = L("none*"));
    check("error -5: \"/src/none\": not found", .sources = L("src"), .below = L("none"));
    check("error -5: \"/none\": not found", .sources = L("none"), .below = L("*"));
    check("error -5: \"/src/main.c\": not found: left out of the build context by .dockerignore:2 (\"src/*.c\")",
          .sources = L("src"), .below = L("main.c"), .ignore = "# C\nsrc/*.c\n");
    check("error -5: \"/to-src/main.c\": not found: --exclude leaves it out, or it is behind a symbolic link",
          .sources = L("."), .below = L("to-src/main.c"));
}

/* Of a directory that only stands on the way, and of one that is meant. */
static void test_parents_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct cb_selection sel = { 0 };
    make_usual(f);
    assert_int_equal(select_in(f, &(struct query){ .sources = L("."), .below = L("src/deep") }, &sel), 0);
    assert_int_equal(sel.v[0].n, 5);
    assert_true(sel.v[0].items[1]->on_the_way);
    assert_false(sel.v[0].items[2]->on_the_way);
    assert_string_equal(sel.v[0].items[2]->rel, "src/deep");
    cb_selection_done(&sel);
}

static void test_closed_directories_do_not_matter(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "closed", 0);
    make_dir(f, "open", 0755);
    make_file(f, "open/x", "1");
    check("= /\nd . 755 0:0\nd open 755 0:0\nf open/x 644 0:0 1\n", .sources = L("."), .ignore = "closed\n");
    check("= x *\nf . 644 0:0 1\n", .sources = L("*/x"), .ignore = "closed\n");
    if (geteuid() != 0)
        check("error -6: open directory closed", .sources = L("."));
}

/* ---- links ---- */

static void test_links(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    make_link(f, "src", "to-src");
    make_link(f, "/src/deep", "rooted");
    make_link(f, "../../../../a.txt", "climbs");
    make_link(f, "none", "dangling");
    make_link(f, "loop", "loop");
    make_link(f, "to-src/main.c", "twice");
    /* A source is followed, inside the context, and keeps its name; links in a directory stay what they are. */
    check("= to-src/\nd . 750 0:0\nd deep 755 0:0\nf deep/x.c 644 0:0 1\nf deep/x.o 644 0:0 1\nf main.c 644 0:0 9\n"
          "f main.o 644 0:0 1\n", .sources = L("to-src"));
    check("= rooted/\nd . 755 0:0\nf x.c 644 0:0 1\nf x.o 644 0:0 1\n", .sources = L("rooted"));
    check("= climbs\nf . 644 0:0 3\n", .sources = L("climbs"));
    check("= twice\nf . 644 0:0 9\n", .sources = L("twice"));
    check("= main.c\nf . 644 0:0 9\n", .sources = L("to-src/main.c"));
    check("error -5: \"/dangling\": not found", .sources = L("dangling"));
    check("error -5: \"/loop\": ", .sources = L("loop"));
    check("= /\nd . 755 0:0\nl climbs ../../../../a.txt\nl dangling none\nl loop loop\nl rooted /src/deep\n"
          "l to-src src\nl twice to-src/main.c\n", .sources = L("."), .ignore = "src\ndocs\nempty\n?.*\n");
}

static void test_links_and_wildcards(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    make_link(f, "src", "to-src");
    make_link(f, "../a.txt", "docs/link");
    check("= link *\nf . 644 0:0 3\n", .sources = L("docs/l*"));
    /* In front of a wildcard links are followed, behind it they are no directories. */
    check("= main.c *\nf . 644 0:0 9\n", .sources = L("to-src/*.c"));
    check("= main.c *\nf . 644 0:0 9\n", .sources = L("*src/main.c"));
    check("= to-src/ *\nd . 750 0:0\nf main.c 644 0:0 9\n", .sources = L("to-*"), .exclude = L("deep", "*.o"));
}

/* What is left out cannot be had by another way. */
static void test_links_and_ignore(void **state)
{
    struct fixture *f = *state;
    make_usual(f);
    make_file(f, "src/secret", "s");
    make_link(f, "src/secret", "link");
    make_link(f, "src", "to-src");
    check("error -5: \"/link\": not found: left out", .sources = L("link"), .ignore = "**/secret\n");
    check("= to-src/\nd . 750 0:0\nf main.c 644 0:0 9\n", .sources = L("to-src"),
          .ignore = "src/secret\nsrc/deep\n**/*.o\n");
    check("error -5: \"/to-src/secret\": not found: left out", .sources = L("to-src/secret"), .ignore = "**/secret\n");
    check("error -5: \"/to-src\": not found: left out", .sources = L("to-src"), .ignore = "to-src\n");
    check("error -5: \"/to-src\": not found: left out", .sources = L("to-src/*.c"), .ignore = "to-src\n");
    check("= main.c *\nf . 644 0:0 9\n", .sources = L("to-src/main.*"), .ignore = "**/*.o\n");
}

static void test_outside(void **state)
{
    struct fixture *f = *state;
    cb_autoclose int up = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    write_at(up, "outside", "secret", 0644);
    make_link(f, "../outside", "link");
    make_link(f, "..", "up");
    make_file(f, "inside", "1");
    check("error -5: \"/link\": not found", .sources = L("link"));
    check("error -5: \"/up/outside\": not found", .sources = L("up/outside"));
    check("error -5: \"/../outside\": not found", .sources = L("../outside"));
    check("= inside\nf . 644 0:0 1\n", .sources = L("up/inside"));
    check("", .sources = L("up/out*"));
    check("error -5: \"/gone\": not found", .sources = L("gone/out*"));
}

/* ---- kinds of file ---- */

static void test_hard_links(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d", 0755);
    make_file(f, "d/a", "data");
    make_file(f, "z", "z");
    assert_int_equal(linkat(f->fd, "d/a", f->fd, "d/b", 0), 0);
    assert_int_equal(linkat(f->fd, "d/a", f->fd, "c", 0), 0);
    assert_int_equal(linkat(f->fd, "z", f->fd, "d/z", 0), 0);
    check("= d/\nd . 755 0:0\nf a 644 0:0 4\nh b a\nf z 644 0:0 1\n", .sources = L("d"));
    check("= /\nd . 755 0:0\nf c 644 0:0 4\nd d 755 0:0\nh d/a c\nh d/b c\nf d/z 644 0:0 1\nh z d/z\n",
          .sources = L("."));
    check("= d/\nd . 755 0:0\nf b 644 0:0 4\nf z 644 0:0 1\n", .sources = L("d"), .exclude = L("a"));
    struct cb_selection sel = { 0 };
    assert_int_equal(select_in(f, &(struct query){ .sources = L("d") }, &sel), 0);
    assert_true(cb_sum_eq(&cb_item_found(sel.v[0].items[1])->digest, &cb_item_found(sel.v[0].items[2])->digest));
    assert_int_equal(cb_item_found(sel.v[0].items[2])->more->target, 1);
    cb_selection_done(&sel);
}

static void test_special_files(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    cb_autoclose int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/sock", f->fd);
    assert_int_equal(bind(s, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(mkfifoat(f->fd, "pipe", 0622), 0);
    assert_int_equal(fchmodat(f->fd, "pipe", 0622, 0), 0);
    assert_int_equal(fchmodat(f->fd, "sock", 0700, 0), 0);
    /* A pipe is not opened; a socket becomes an empty file. */
    check("= /\nd . 755 0:0\np pipe 622 0:0\nf sock 700 0:0 0\n", .sources = L("."));
    check("= sock\nf . 700 0:0 0\n", .sources = L("sock"));
    check("", .sources = L("*"), .ignore = "sock\npipe\n");
}

static void test_xattrs(void **state)
{
    struct fixture *f = *state;
    struct cb_selection sel = { 0 };
    make_dir(f, "d", 0755);
    make_file(f, "d/a", "data");
    assert_int_equal(linkat(f->fd, "d/a", f->fd, "d/b", 0), 0);
    cb_autoclose int a = openat(f->fd, "d/a", O_RDONLY | O_CLOEXEC), d = openat(f->fd, "d", O_RDONLY | O_CLOEXEC);
    if (fsetxattr(a, "user.note", "x", 1, 0) < 0)
        skip();
    assert_int_equal(fsetxattr(a, "user.overlay.opaque", "y", 1, 0), 0);
    assert_int_equal(fsetxattr(a, "user.xdg.origin.url", "https://h/?token", 16, 0), 0);
    assert_int_equal(fsetxattr(d, "user.dir", "yes", 3, 0), 0);
    assert_int_equal(select_in(f, &(struct query){ .sources = L("d") }, &sel), 0);
    for (int i = 0; i < 3; i++) {
        struct cb_entry e;
        cb_item_entry(sel.v[0].items[i], &e);
        assert_int_equal(e.n_xattrs, 1);
        assert_string_equal(e.xattrs[0].name, i ? "user.note" : "user.dir");
        assert_memory_equal(e.xattrs[0].value, i ? "x" : "y", 1);
    }
    cb_selection_done(&sel);
}

static void test_deep(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autoclose int fd = dup(f->fd);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(mkdirat(fd, "d", 0755), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = next;
        cb_strbuf_addf(&path, "%sd", i ? "/" : "");
    }
    write_at(fd, "x", "deep", 0644);
    cb_strbuf_adds(&path, "/x");
    check("= x\nf . 644 0:0 4\n", .sources = L(path.buf));
    struct cb_selection sel = { 0 };
    assert_int_equal(select_in(f, &(struct query){ .sources = L("d") }, &sel), 0);
    assert_int_equal(sel.v[0].n, 201);
    cb_selection_done(&sel);
}

/* What several threads read comes out as one alone reads it: in order, the first name of a file first. */
static void many_directories(struct fixture *f)
{
    for (int d = 0; d < 60; d++) {
        char dir[32], path[64], other[64];
        snprintf(dir, sizeof dir, "d%02d", d);
        make_dir(f, dir, 0755);
        for (const char *const *sub = L("in", "skip", "z"); *sub; sub++) {
            snprintf(path, sizeof path, "%s/%s", dir, *sub);
            make_dir(f, path, 0755);
            snprintf(path, sizeof path, "%s/%s/keep", dir, *sub);
            make_file(f, path, dir);
        }
        snprintf(path, sizeof path, "d%02d/z/keep", d);
        snprintf(other, sizeof other, "d%02d/linked", 59 - d);
        if (d >= 30)
            assert_int_equal(linkat(f->fd, path, f->fd, other, 0), 0);
    }
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf first cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct query q = { .sources = L("."), .ignore = "**/skip\n!d07/skip/keep\n!d08/skip/none\n" };
    many_directories(f);
    for (unsigned threads = 1; threads <= 16; threads++) {
        struct cb_selection sel = { 0 };
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_pool_free(f->cpu);
        f->env.cpu = f->cpu = cb_pool_new("cpu", threads);
        assert_int_equal(select_in(f, &q, &sel), 0);
        selection_text(&text, &sel);
        cb_selection_done(&sel);
        if (threads == 1)
            cb_strbuf_adds(&first, text.buf);
        else
            assert_string_equal(text.buf, first.buf);
    }
    assert_non_null(strstr(first.buf, "\nd d07/skip 755 0:0\nf d07/skip/keep 644 0:0 3\nd d07/z "));
    assert_null(strstr(first.buf, "d08/skip"));
    assert_non_null(strstr(first.buf, "\nf d00/linked 644 0:0 3\n")); /* of d59 */
    assert_non_null(strstr(first.buf, "\nh d59/z/keep d00/linked\n"));
}

/* ---- bytes ---- */

static void test_changed_files(void **state)
{
    struct fixture *f = *state;
    struct cb_selection sel = { 0 };
    make_file(f, "x", "12345");
    CB_AUTO(cb_context_free) struct cb_context *c = cb_context_open(f->ctx, NULL, &f->err);
    struct cb_copy_op op = { .unpack = -1 };
    cb_strvec_push(&op.sources, "x");
    assert_int_equal(cb_context_select(c, &op, &f->env, &sel, &f->err), 0);
    const struct cb_item *it = sel.v[0].items[0];
    struct cb_blob_source *src;
    char buf[16];
    size_t got;
    assert_int_equal(cb_context_source(c, it, &src, &f->err), 0);
    assert_int_equal(cb_blob_read(src, buf, sizeof buf, &got, &f->err), 0);
    assert_int_equal(got, 5);
    src->ops->close(src);
    make_file(f, "x", "123456");
    assert_int_equal(cb_context_source(c, it, &src, &f->err), -CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&f->err), "changed while it was being read"));
    make_file(f, "other", "12345");
    assert_int_equal(unlinkat(f->fd, "x", 0), 0);
    assert_int_equal(cb_context_source(c, it, &src, &f->err), -CB_ELOCAL);
    make_link(f, "other", "x");
    assert_int_equal(cb_context_source(c, it, &src, &f->err), -CB_ELOCAL);
    assert_int_equal(unlinkat(f->fd, "x", 0), 0);
    assert_int_equal(mkdirat(f->fd, "x", 0755), 0);
    assert_int_equal(cb_context_source(c, it, &src, &f->err), -CB_ELOCAL);
    cb_selection_done(&sel);
    cb_strvec_done(&op.sources);
}

static void test_stats_and_many_files(void **state)
{
    struct fixture *f = *state;
    struct cb_selection sel = { 0 };
    struct cb_context_work work;
    make_dir(f, "many", 0755);
    cb_autoclose int fd = openat(f->fd, "many", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%04d", i);
        write_at(fd, name, name, 0644);
    }
    CB_AUTO(cb_context_free) struct cb_context *c = cb_context_open(f->ctx, NULL, &f->err);
    struct cb_copy_op op = { .unpack = -1 };
    cb_strvec_push(&op.sources, ".");
    assert_int_equal(cb_context_select(c, &op, &f->env, &sel, &f->err), 0);
    cb_context_stats(c, &work);
    assert_int_equal(work.files, 3000);
    assert_int_equal(work.bytes, 12000);
    assert_int_equal(work.known, 0);
    assert_int_equal(sel.v[0].n, 3002);
    for (size_t i = 2; i < sel.v[0].n; i++) {
        struct cb_sum d;
        cb_sum_of(&d, sel.v[0].items[i]->rel + 5, 4);
        assert_true(cb_sum_eq(&d, &cb_item_found(sel.v[0].items[i])->digest));
    }
    cb_selection_done(&sel);
    cb_strvec_done(&op.sources);
}

static void test_cancelled(void **state)
{
    struct fixture *f = *state;
    struct cb_selection sel = { 0 };
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    make_usual(f);
    cb_cancel_trigger(c, 0);
    f->env.cancel = c;
    assert_int_equal(select_in(f, &(struct query){ .sources = L(".") }, &sel), -CB_ECANCELED);
    cb_selection_done(&sel);
    f->env.cancel = NULL;
}

static void test_no_context(void **state)
{
    struct fixture *f = *state;
    assert_null(cb_context_open("/nonexistent/context", NULL, &f->err));
    assert_int_equal(f->err.code, CB_EUSAGE);
    assert_null(cb_context_open("/nonexistent/context", NULL, NULL));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_plain), T(test_whole_context), T(test_owner_and_time), T(test_odd_names), T(test_wildcards),
        T(test_ignore), T(test_reinclude), T(test_exclude), T(test_parents), T(test_parents_on_the_way),
        T(test_closed_directories_do_not_matter), T(test_links),
        T(test_links_and_wildcards), T(test_links_and_ignore), T(test_outside), T(test_hard_links),
        T(test_special_files), T(test_xattrs), T(test_deep), T(test_threads), T(test_changed_files),
        T(test_stats_and_many_files), T(test_cancelled),
        T(test_no_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
