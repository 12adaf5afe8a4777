/* SPDX-License-Identifier: Apache-2.0 */
/* Where COPY puts what: a table of bases, sources and destinations. Sources come from another result, so that its
 * selection is tried too. */
#include "build_trees.h"

#include "build/place.h"

#define L(...) (const char *const[]) { __VA_ARGS__, NULL }
#define NOW 5

struct copy_case {
    const char *title;
    const char *const *base;        /* what is below the destination; NULL: nothing */
    const char *const *from;        /* what is copied from */
    const char *const *from_upper;  /* a layer on top of that, or NULL */
    const char *const *sources;
    const char *dest;
    const char *const *exclude;
    const char *const *inline_files; /* name, body, name, body … */
    const char *const *below;       /* --parents: of each source */
    const char *chmod;
    struct cb_placer_options o;
    const char *expected;           /* "error: …" */
};

static const char *const usual_base[] = { "d bin", "d etc 750 3:4", "f etc/passwd 644 0:0 root", "l lib usr/lib",
                                          "d tmp 1777", "d usr", "d usr/lib", "l up ../../etc", "l loop loop",
                                          "l file etc/passwd", "l nowhere gone/x", "d data 700 9:9",
                                          "d data/sub 711 9:9", "f data/f 600 9:9 old", "d data/full",
                                          "f data/full/x 644 0:0 x", NULL };
static const char *const usual_from[] = { "f a 640 1:2 aa", "f b 644 0:0 b", "d dir 705 7:7", "f dir/x 600 7:7 xxx",
                                          "d dir/sub 701 7:8", "f dir/sub/y 644 7:7 y", "l dir/l x", "d empty 700",
                                          "d wild", "f wild/1.c 644 0:0 1", "f wild/2.c 644 0:0 22", "d wild/d.c",
                                          "f wild/d.c/in 644 0:0 in", "f wild/3.h 644 0:0 333", "l to-a a",
                                          "l to-dir dir", "l dangling none", NULL };

#define U .base = usual_base, .from = usual_from

static const struct copy_case cases[] = {
    /* one file */
    { "file to a directory that is there", U, .sources = L("a"), .dest = "/tmp", .expected =
      "d tmp 1777 0:0\nf tmp/a 640 1:2 2\n" },
    { "file to a directory by its slash", U, .sources = L("a"), .dest = "/new/", .expected =
      "d new 755 0:0\nf new/a 640 1:2 2\n" },
    { "file to a name", U, .sources = L("a"), .dest = "/new", .expected = "f new 640 1:2 2\n" },
    { "file to a name in directories that are not there", U, .sources = L("a"), .dest = "/x/y/z", .expected =
      "d x 755 0:0\nd x/y 755 0:0\nf x/y/z 640 1:2 2\n" },
    { "file to the root", U, .sources = L("a"), .dest = "/", .expected = "f a 640 1:2 2\n" },
    { "file onto a file", U, .sources = L("a"), .dest = "/etc/passwd", .expected =
      "d etc 750 3:4\nf etc/passwd 640 1:2 2\n" },
    { "file onto a file by a slash", U, .sources = L("a"), .dest = "/etc/passwd/", .expected =
      "error: destination /etc/passwd/ is not a directory" },
    { "file below a file", U, .sources = L("a"), .dest = "/etc/passwd/x", .expected =
      "error: /etc/passwd is not a directory" },
    { "file through a link to a directory", U, .sources = L("a"), .dest = "/lib/", .expected =
      "d usr 755 0:0\nd usr/lib 755 0:0\nf usr/lib/a 640 1:2 2\n" },
    { "file through a link that climbs stays in the root", U, .sources = L("a"), .dest = "/up/x", .expected =
      "d etc 750 3:4\nf etc/x 640 1:2 2\n" },
    { "file onto a link to a file: the file is replaced", U, .sources = L("a"), .dest = "/file", .expected =
      "d etc 750 3:4\nf etc/passwd 640 1:2 2\n" },
    { "file onto a link to nothing: made where it points", U, .sources = L("a"), .dest = "/nowhere", .expected =
      "d gone 755 0:0\nf gone/x 640 1:2 2\n" },
    { "file through a link that goes in circles", U, .sources = L("a"), .dest = "/loop/x", .expected =
      "error: /loop/x: too many symbolic links" },
    { "file above the root", U, .sources = L("a"), .dest = "/../../x", .expected = "f x 640 1:2 2\n" },
    { "file onto nothing at all", .from = usual_from, .sources = L("a"), .dest = "/x/y", .expected =
      "d x 755 0:0\nf x/y 640 1:2 2\n" },
    { "file onto a full directory by name", U, .sources = L("a"), .dest = "/data/full", .expected =
      "d data 700 9:9\nd data/full 755 0:0\nf data/full/a 640 1:2 2\n" },
    { "file that is not there", U, .sources = L("zz"), .dest = "/x", .expected =
      "error: \"/zz\": not found in what it is copied from" },
    /* links as sources */
    { "link to a file is followed, its name kept", U, .sources = L("to-a"), .dest = "/n/", .expected =
      "d n 755 0:0\nf n/to-a 640 1:2 2\n" },
    { "link to a directory is followed", U, .sources = L("to-dir"), .dest = "/n", .expected =
      "d n 755 0:0\nl n/l x\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\nf n/x 600 7:7 3\n" },
    { "link to nothing", U, .sources = L("dangling"), .dest = "/n", .expected =
      "error: \"/dangling\": not found in what it is copied from" },
    /* directories */
    { "directory to a new name: its contents; made like any directory", U, .sources = L("dir"), .dest = "/n",
      .expected = "d n 755 0:0\nl n/l x\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\nf n/x 600 7:7 3\n" },
    { "directory to a new name by a slash", U, .sources = L("dir"), .dest = "/n/", .expected =
      "d n 755 0:0\nl n/l x\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\nf n/x 600 7:7 3\n" },
    { "directory onto one: merged; it keeps its attributes, those below take the source's", U, .sources = L("dir"),
      .dest = "/data", .expected =
      "d data 700 9:9\nl data/l x\nd data/sub 701 7:8\nf data/sub/y 644 7:7 1\nf data/x 600 7:7 3\n" },
    { "directory onto the root", U, .sources = L("dir"), .dest = "/", .expected =
      "l l x\nd sub 701 7:8\nf sub/y 644 7:7 1\nf x 600 7:7 3\n" },
    { "empty directory", U, .sources = L("empty"), .dest = "/n/m", .expected = "d n 755 0:0\nd n/m 755 0:0\n" },
    { "empty directory onto one that is there: nothing", U, .sources = L("empty"), .dest = "/data", .expected = "" },
    { "directory onto a file", U, .sources = L("dir"), .dest = "/etc/passwd", .expected =
      "error: /etc/passwd is not a directory" },
    { "directory in it onto a file", .base = L("d n", "f n/sub"), .from = usual_from, .sources = L("dir"),
      .dest = "/n", .expected = "error: cannot copy a directory onto /n/sub, which is not a directory" },
    { "directory in it onto a link", .base = L("d n", "l n/sub /x", "d x"), .from = usual_from, .sources = L("dir"),
      .dest = "/n", .expected = "error: cannot copy a directory onto /n/sub, which is not a directory" },
    { "file in it onto a directory", .base = L("d n", "d n/x"), .from = usual_from, .sources = L("dir"),
      .dest = "/n", .expected = "error: cannot copy a file onto /n/x, which is a directory" },
    { "file in it onto a link: the link goes", .base = L("d n", "l n/x /etc/shadow"), .from = usual_from,
      .sources = L("dir"), .dest = "/n", .expected =
      "d n 755 0:0\nl n/l x\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\nf n/x 600 7:7 3\n" },
    { "directory that looks the same below is not named", .base = L("d n", "d n/sub 701 7:8"), .from = L("d d",
      "d d/sub 701 7:8"), .sources = L("d"), .dest = "/n", .expected = "" },
    { "the root of a result", .from = L("d a", "f a/x 644 0:0 x", "f y 600 1:1 y"), .sources = L("."), .dest = "/n/",
      .expected = "d n 755 0:0\nd n/a 755 0:0\nf n/a/x 644 0:0 1\nf n/y 600 1:1 1\n" },
    /* several */
    { "several to a directory", U, .sources = L("a", "b", "dir"), .dest = "/n/", .expected =
      "d n 755 0:0\nf n/a 640 1:2 2\nf n/b 644 0:0 1\nl n/l x\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\n"
      "f n/x 600 7:7 3\n" },
    { "several to a file", U, .sources = L("a", "b"), .dest = "/etc/passwd/", .expected =
      "error: destination /etc/passwd/ is not a directory" },
    { "the later source wins", .from = L("d 1", "f 1/x 644 0:0 one", "d 2", "f 2/x 600 0:0 second"),
      .sources = L("1/x", "2/x"), .dest = "/n/", .expected = "d n 755 0:0\nf n/x 600 0:0 6\n" },
    { "several directories to a name: merged", .from = L("d 1", "f 1/x", "d 2", "f 2/y"), .sources = L("1", "2"),
      .dest = "/n", .expected = "d n 755 0:0\nf n/x 644 0:0 0\nf n/y 644 0:0 0\n" },
    { "a directory and a file to a name", .from = L("d 1", "f 1/x", "f y"), .sources = L("1", "y"), .dest = "/n",
      .expected = "d n 755 0:0\nf n/x 644 0:0 0\nf n/y 644 0:0 0\n" },
    { "a file and a directory to a name", .from = L("d 1", "f 1/x", "f y"), .sources = L("y", "1"), .dest = "/n",
      .expected = "error: /n is not a directory" },
    { "several files to a name", U, .sources = L("a", "b"), .dest = "/n", .expected =
      "error: destination /n must end with '/': several files are copied" },
    { "several files to a name that is a directory", U, .sources = L("a", "b"), .dest = "/tmp", .expected =
      "d tmp 1777 0:0\nf tmp/a 640 1:2 2\nf tmp/b 644 0:0 1\n" },
    { "two sources that clash", .from = L("d 1", "f 1/x 644 0:0 one", "d 2", "d 2/x"), .sources = L("1", "2"),
      .dest = "/n/", .expected = "error: cannot copy a directory onto /n/x, which is not a directory" },
    /* wildcards */
    { "wildcard: one match to a name", U, .sources = L("?.[a-z]*", "[a]"), .dest = "/n/", .expected =
      "d n 755 0:0\nf n/a 640 1:2 2\n" },
    { "wildcard: files and the contents of a directory", U, .sources = L("wild/*.c"), .dest = "/n/", .expected =
      "d n 755 0:0\nf n/1.c 644 0:0 1\nf n/2.c 644 0:0 2\nf n/in 644 0:0 2\n" },
    { "wildcard: several matches to a directory that is there", U, .sources = L("wild/[12].c"), .dest = "/tmp",
      .expected = "d tmp 1777 0:0\nf tmp/1.c 644 0:0 1\nf tmp/2.c 644 0:0 2\n" },
    { "wildcard: several matches to a name", U, .sources = L("wild/[12].c"), .dest = "/n", .expected =
      "error: destination /n must end with '/': several files are copied" },
    { "wildcard: one match is a file's new name", U, .sources = L("wild/1*"), .dest = "/n", .expected =
      "f n 644 0:0 1\n" },
    { "wildcard: below a link; a link that matches is followed", U, .sources = L("to-dir/?"), .dest = "/n/",
      .expected = "d n 755 0:0\nf n/l 600 7:7 3\nf n/x 600 7:7 3\n" },
    { "wildcard: below what is not there", U, .sources = L("gone/*"), .dest = "/n/", .expected =
      "error: \"/gone\": not found in what it is copied from" },
    { "wildcard: below a file", U, .sources = L("a/*"), .dest = "/n/", .expected = "" },
    { "wildcard: none", U, .sources = L("wild/*.zip"), .dest = "/n/", .expected = "" },
    { "wildcard: not across directories", U, .sources = L("*/y"), .dest = "/n/", .expected = "" },
    { "wildcard: malformed", U, .sources = L("wild/[a"), .dest = "/n/", .expected =
      "error: bad pattern \"[a\"" },
    /* --exclude */
    { "exclude: below the source", U, .sources = L("dir"), .dest = "/n/", .exclude = L("sub/y", "l"), .expected =
      "d n 755 0:0\nd n/sub 701 7:8\nf n/x 600 7:7 3\n" },
    { "exclude: a directory with all in it", U, .sources = L("dir"), .dest = "/n/", .exclude = L("sub"), .expected =
      "d n 755 0:0\nl n/l x\nf n/x 600 7:7 3\n" },
    { "exclude: not what a wildcard matched itself", U, .sources = L("wild/*"), .dest = "/n/",
      .exclude = L("*.h", "i*"), .expected = "d n 755 0:0\nf n/1.c 644 0:0 1\nf n/2.c 644 0:0 2\nf n/3.h 644 0:0 3\n" },
    { "exclude: directories on the way to an exception are the source's", U, .sources = L("dir"), .dest = "/n/",
      .exclude = L("*", "!sub/y"), .expected = "d n 755 0:0\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\n" },
    { "exclude: of those that are there only the mode is the source's", U, .sources = L("dir"), .dest = "/data",
      .exclude = L("*", "!sub/y"), .expected = "d data 700 9:9\nd data/sub 701 9:9\nf data/sub/y 644 7:7 1\n" },
    { "exclude: an exception that nothing comes of", U, .sources = L("dir"), .dest = "/n/", .exclude = L("*", "!sub/z"),
      .expected = "d n 755 0:0\n" },
    { "exclude: with an exception", U, .sources = L("dir"), .dest = "/n/", .exclude = L("*", "!x"), .expected =
      "d n 755 0:0\nf n/x 600 7:7 3\n" },
    /* --chown, --chmod */
    { "chown: what is copied and what is made", U, .sources = L("a"), .dest = "/tmp/p/q", .o = { .chown = true,
      .uid = 11, .gid = 12 }, .expected = "d tmp 1777 0:0\nd tmp/p 755 11:12\nf tmp/p/q 640 11:12 2\n" },
    { "chmod: what is copied, and what is made", U, .sources = L("dir"), .dest = "/p/q", .chmod = "604", .expected =
      "d p 604 0:0\nd p/q 604 0:0\nl p/q/l x\nd p/q/sub 604 7:8\nf p/q/sub/y 604 7:7 1\nf p/q/x 604 7:7 3\n" },
    { "chmod: setuid, setgid and sticky are not for what is made", U, .sources = L("a"), .dest = "/p/q",
      .chmod = "7751", .expected = "d p 751 0:0\nf p/q 7751 1:2 2\n" },
    { "chmod: a symbolic one is for what is copied only", U, .sources = L("dir"), .dest = "/p", .chmod = "g=u,o+X",
      .expected = "d p 755 0:0\nl p/l x\nd p/sub 771 7:8\nf p/sub/y 664 7:7 1\nf p/x 660 7:7 3\n" },
    { "chmod: not onto a directory that is there", U, .sources = L("dir"), .dest = "/tmp", .chmod = "700", .exclude =
      L("sub", "l"), .expected = "d tmp 1777 0:0\nf tmp/x 700 7:7 3\n" },
    { "chown: directories that are there keep theirs", U, .sources = L("empty"), .dest = "/data", .o = { .chown = true,
      .uid = 1 }, .expected = "" },
    /* --parents */
    { "parents: a file", U, .sources = L("."), .below = L("dir/sub/y"), .dest = "/n", .expected =
      "d n 755 0:0\nd n/dir 705 7:7\nd n/dir/sub 701 7:8\nf n/dir/sub/y 644 7:7 1\n" },
    { "parents: a directory with all in it", U, .sources = L("."), .below = L("dir"), .dest = "/n/", .expected =
      "d n 755 0:0\nd n/dir 705 7:7\nl n/dir/l x\nd n/dir/sub 701 7:8\nf n/dir/sub/y 644 7:7 1\n"
      "f n/dir/x 600 7:7 3\n" },
    { "parents: from a pivot on", U, .sources = L("dir"), .below = L("sub/y"), .dest = "/n/", .expected =
      "d n 755 0:0\nd n/sub 701 7:8\nf n/sub/y 644 7:7 1\n" },
    { "parents: into directories that are there", U, .sources = L("dir"), .below = L("sub/y"), .dest = "/data",
      .expected = "d data 700 9:9\nd data/sub 701 9:9\nf data/sub/y 644 7:7 1\n" },
    { "parents: patterns", U, .sources = L("."), .below = L("**/*.c"), .dest = "/n/", .expected =
      "d n 755 0:0\nd n/wild 755 0:0\nf n/wild/1.c 644 0:0 1\nf n/wild/2.c 644 0:0 2\nd n/wild/d.c 755 0:0\n"
      "f n/wild/d.c/in 644 0:0 2\n" },
    { "parents: a pattern that nothing matches", U, .sources = L("dir"), .below = L("**/none"), .dest = "/n",
      .expected = "d n 755 0:0\n" },
    { "parents: a wildcard in front of the pivot", U, .sources = L("wil*"), .below = L("[12].c"), .dest = "/n",
      .expected = "d n 755 0:0\nf n/1.c 644 0:0 1\nf n/2.c 644 0:0 2\n" },
    { "parents: several", U, .sources = L(".", "dir"), .below = L("a", "x"), .dest = "/n", .expected =
      "d n 755 0:0\nf n/a 640 1:2 2\nf n/x 600 7:7 3\n" },
    { "parents: with --exclude", U, .sources = L("."), .below = L("wild"), .exclude = L("**/*.c", "!**/2.c"),
      .dest = "/n", .expected =
      "d n 755 0:0\nd n/wild 755 0:0\nf n/wild/2.c 644 0:0 2\nf n/wild/3.h 644 0:0 3\n" },
    { "parents: owner and mode are for what is on the way too", U, .sources = L("."), .below = L("dir/x"),
      .dest = "/n", .o = { .chown = true, .uid = 3, .gid = 4 }, .chmod = "750", .expected =
      "d n 750 3:4\nd n/dir 750 3:4\nf n/dir/x 750 3:4 3\n" },
    { "parents: what is not there", U, .sources = L("dir"), .below = L("gone"), .dest = "/n", .expected =
      "error: \"/dir/gone\": not found in what it is copied from" },
    { "parents: a pivot that is not there", U, .sources = L("gone"), .below = L("*"), .dest = "/n", .expected =
      "error: \"/gone\": not found in what it is copied from" },
    { "parents: what --exclude takes away is not there", U, .sources = L("dir"), .below = L("x"), .exclude = L("x"),
      .dest = "/n", .expected = "error: \"/dir/x\": not found" },
    { "parents: not through a link", U, .sources = L("."), .below = L("to-dir/x"), .dest = "/n", .expected =
      "error: \"/to-dir/x\": not found" },
    { "parents: a link is copied as it is", U, .sources = L("."), .below = L("to-dir"), .dest = "/n", .expected =
      "d n 755 0:0\nl n/to-dir dir\n" },
    { "parents: a pivot may be a link", U, .sources = L("to-dir"), .below = L("x"), .dest = "/n", .expected =
      "d n 755 0:0\nf n/x 600 7:7 3\n" },
    /* hard links */
    { "hard link to what is copied too", .from = L("d d", "f d/a 644 0:0 data", "h d/b d/a"), .sources = L("d"),
      .dest = "/n", .expected = "d n 755 0:0\nf n/a 644 0:0 4\nh n/b n/a\n" },
    { "hard link to what is not copied", .from = L("f a 644 0:0 data", "d d", "h d/b a"), .sources = L("d"),
      .dest = "/n", .expected = "d n 755 0:0\nf n/b 644 0:0 4\n" },
    { "hard link by itself", .from = L("f a 600 0:0 data", "h b a"), .sources = L("b"), .dest = "/n", .expected =
      "f n 600 0:0 4\n" },
    { "hard link to what is excluded", .from = L("d d", "f d/a 644 0:0 data", "h d/b d/a"), .sources = L("d"),
      .dest = "/n", .exclude = L("a"), .expected = "d n 755 0:0\nf n/b 644 0:0 4\n" },
    { "hard link whose first name is another file by now", .from = L("d d", "f d/a 644 0:0 data", "h d/b d/a"),
      .from_upper = L("f d/a 644 0:0 replaced"), .sources = L("d"), .dest = "/n", .expected =
      "d n 755 0:0\nf n/a 644 0:0 8\nf n/b 644 0:0 4\n" },
    { "hard link whose first name is gone by now", .from = L("d d", "f d/a 644 0:0 data", "h d/b d/a"),
      .from_upper = L("w d/a"), .sources = L("d"), .dest = "/n", .expected = "d n 755 0:0\nf n/b 644 0:0 4\n" },
    { "hard link whose file a later source replaces", .from = L("d d", "f d/a 644 0:0 data", "h d/b d/a", "d e",
      "f e/a 644 0:0 other"), .sources = L("d", "e"), .dest = "/n/", .expected =
      "d n 755 0:0\nf n/a 644 0:0 5\nf n/b 644 0:0 4\n" },
    /* inline files */
    { "inline: to a name", U, .inline_files = L("A", "text\n"), .dest = "/n/x", .expected =
      "d n 755 0:0\nf n/x 644 0:0 5\n" },
    { "inline: below a directory by its delimiter", U, .inline_files = L("A", "text\n", "B", ""), .dest = "/tmp/",
      .expected = "d tmp 1777 0:0\nf tmp/A 644 0:0 5\nf tmp/B 644 0:0 0\n" },
    { "inline: with files, owner and mode", U, .sources = L("a"), .inline_files = L("A", "1"), .dest = "/n/",
      .o = { .chown = true, .uid = 5, .gid = 6 }, .chmod = "0700", .expected =
      "d n 700 5:6\nf n/A 700 5:6 1\nf n/a 700 5:6 2\n" },
    { "inline: onto a directory", U, .inline_files = L("A", "1"), .dest = "/data", .expected =
      "d data 700 9:9\nf data/A 644 0:0 1\n" },
    /* names */
    { "odd names", .from = L("d dir", "f dir/ünï", "f dir/-rf", "f dir/\\", "f dir/*"), .sources = L("dir"),
      .dest = "/weird;name", .expected =
      "d weird;name 755 0:0\nf weird;name/* 644 0:0 0\nf weird;name/-rf 644 0:0 0\nf weird;name/\\ 644 0:0 0\n"
      "f weird;name/ünï 644 0:0 0\n" },
};

static void fill(struct cb_strvec *to, const char *const *from)
{
    for (size_t i = 0; from && from[i]; i++)
        cb_strvec_push(to, from[i]);
}

static void make_op(const struct copy_case *c, struct cb_copy_op *op)
{
    *op = (struct cb_copy_op){ .unpack = -1, .dest = cb_strdup(c->dest) };
    fill(&op->sources, c->sources);
    fill(&op->exclude, c->exclude);
    fill(&op->below, c->below);
    for (size_t i = 0; c->inline_files && c->inline_files[i]; i += 2) {
        cb_strvec_push(&op->file_names, c->inline_files[i]);
        cb_strvec_push(&op->file_bodies, c->inline_files[i + 1]);
    }
}

static void op_done(struct cb_copy_op *op)
{
    free(op->dest);
    cb_strvec_done(&op->sources);
    cb_strvec_done(&op->exclude);
    cb_strvec_done(&op->below);
    cb_strvec_done(&op->file_names);
    cb_strvec_done(&op->file_bodies);
}

static void check_data(const struct cb_placed *x)
{
    if (x->e.type != CB_ENTRY_FILE)
        return;
    if (x->kind == CB_DATA_MEM)
        assert_int_equal(strlen(x->mem), x->e.size);
    else
        assert_int_equal(x->kind, CB_DATA_ITEM);
    if (x->kind == CB_DATA_ITEM) {
        assert_non_null(x->item->se->data);
        assert_true(cb_sum_eq(&x->item->se->data->digest, &x->e.digest));
    }
    assert_null(x->e.link);
}

static void check_order(struct cb_placer *p, size_t i)
{
    struct cb_placed a, b;
    cb_placer_at(p, i - 1, &a);
    cb_placer_at(p, i, &b);
    assert_true(cb_entry_path_cmp(a.e.path, b.e.path) < 0);
}

static struct cb_entry placed_at(const struct cb_placer *p, const char *path)
{
    struct cb_placed x;
    assert_true(cb_placer_find(p, path, &x));
    return x.e;
}

static int place(const struct copy_case *c, struct cb_placer *p, const struct cb_copy_op *op, struct cb_selection *sel,
                 struct cb_error *err)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *from =
        c->from_upper ? tree_stack2(c->from, c->from_upper) : tree_stack(c->from);
    int r = cb_stage_select(from, op, sel, err);
    if (r == 0)
        r = cb_placer_selection(p, sel, op->dest, err);
    if (r == 0)
        r = cb_placer_inline(p, op, err);
    cb_placer_settle(p);
    return r;
}

static void describe(struct cb_strbuf *out, struct cb_placer *p)
{
    for (size_t i = 0; i < cb_placer_count(p); i++) {
        struct cb_placed x;
        cb_placer_at(p, i, &x);
        tree_line(out, &x.e, x.e.path);
        check_data(&x);
        if (i)
            check_order(p, i);
    }
}

static int place_case(const struct copy_case *c, const struct cb_finder *below, struct cb_strbuf *got)
{
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    struct cb_placer_options o = c->o;
    struct cb_selection sel = { 0 }; /* the placer borrows it */
    struct cb_copy_op op;
    o.base = below;
    o.now = NOW;
    assert_int_equal(cb_chmod_parse(&o.chmod, c->chmod, NULL), 0);
    CB_AUTO(cb_placer_free) struct cb_placer *p = cb_placer_new(&o);
    make_op(c, &op);
    int r = place(c, p, &op, &sel, &err);
    if (r < 0)
        cb_strbuf_addf(got, "error: %s", cb_error_text(&err));
    else if ((r = cb_placer_check(p, &err)) == 0)
        describe(got, p);
    op_done(&op);
    cb_selection_done(&sel);
    return r;
}

static void check_case(const struct copy_case *c, const struct cb_finder *below)
{
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = place_case(c, below, &got);
    if (r < 0)
        assert_int_equal(r, -CB_ECONF);
    bool same = r < 0 ? cb_starts_with(got.buf, c->expected) : !strcmp(got.buf, c->expected);
    if (!same)
        fail_msg("%s\n--- expected\n%s\n--- got\n%s", c->title, c->expected, got.buf);
}

/* Fails at the question number `at`. */
struct failing {
    struct cb_finder below;
    size_t asked, at;
};

static int fail_there(void *arg, const char *path, const struct cb_stack_entry **hit, struct cb_error *err)
{
    struct failing *f = arg;
    if (++f->asked >= f->at)
        return cb_error_set(err, CB_EVERIFY, "the table is damaged");
    return f->below.find(f->below.arg, path, hit, err);
}

/* Wherever a table turns out to be damaged that is the error, and no other that comes of it. */
static void check_failures(const struct copy_case *c, const struct cb_finder *below)
{
    for (size_t at = 1;; at++) {
        struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct failing f = { *below, 0, at };
        struct cb_finder failing = { fail_there, &f };
        int r = place_case(c, &failing, &got);
        if (f.asked < at)
            return;
        if (r != -CB_EVERIFY)
            fail_msg("%s, question %zu: %d %s", c->title, at, r, got.buf);
    }
}

static void run_case(const struct copy_case *c)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *base = c->base ? tree_stack(c->base) : cb_stack_new(NULL, 0);
    struct cb_lookup_layer layer = { .toc = cb_stack_toc(base, 0) };
    CB_AUTO(cb_lookup_free) struct cb_lookup *lookup = cb_lookup_new(&layer, c->base ? 1 : 0);
    struct cb_finder by_stack = cb_stack_finder(base), by_lookup = cb_lookup_finder(lookup);
    check_case(c, c->base ? &by_stack : NULL);
    check_case(c, &by_lookup);
    check_failures(c, &by_lookup);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++)
        run_case(&cases[i]);
}

/* Times: of the file, of what is below, and of now for what is made. */
static void test_times(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *base = tree_stack(usual_base);
    struct cb_finder below = cb_stack_finder(base);
    struct cb_placer_options o = { .base = &below, .now = NOW };
    CB_AUTO(cb_placer_free) struct cb_placer *p = cb_placer_new(&o);
    struct cb_entry e = { .type = CB_ENTRY_FILE, .mode = 0644, .mtime = 77 };
    struct cb_placed *x;
    assert_int_equal(cb_placer_put(p, "data/new/f", &e, &x, NULL), 0);
    assert_int_equal(cb_placer_count(p), 3);
    assert_int_equal(placed_at(p, "data").mtime, TREE_TIME);
    assert_int_equal(placed_at(p, "data").mode, 0700);
    assert_int_equal(placed_at(p, "data/new").mtime, NOW);
    assert_int_equal(placed_at(p, "data/new/f").mtime, 77);
    assert_string_equal(x->e.path, "data/new/f");
    assert_false(cb_placer_find(p, "etc", NULL));
}

/* ---- archives ---- */

static void put(struct cb_placer *p, const char *path, enum cb_entry_type type)
{
    struct cb_entry e = { .type = type, .mode = 0640, .link = type == CB_ENTRY_SYMLINK ? "/x" : NULL };
    struct cb_placed *x;
    assert_int_equal(cb_placer_put(p, path, &e, &x, NULL), 0);
}

static void check_placed(struct cb_placer *p, const char *expected)
{
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = cb_placer_count(p);
    for (size_t i = 0; i < n; i++) {
        struct cb_placed x;
        cb_placer_at(p, i, &x);
        tree_line(&got, &x.e, x.e.path);
    }
    assert_int_equal(cb_placer_count(p), n);
    assert_string_equal(got.buf, expected);
}

static void test_archive_replaces(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *base = tree_stack(usual_base);
    struct cb_finder below = cb_stack_finder(base);
    struct cb_placer_options o = { .base = &below, .now = NOW, .chown = true, .uid = 1, .gid = 2 };
    assert_int_equal(cb_chmod_parse(&o.chmod, "700", NULL), 0);
    CB_AUTO(cb_placer_free) struct cb_placer *p = cb_placer_new(&o);
    cb_placer_set(p, CB_PLACE_ARCHIVE_DEST);
    assert_int_equal(cb_placer_mkdirs(p, "new", NULL), 0);
    cb_placer_set(p, CB_PLACE_ARCHIVE);
    put(p, "new/implied/f", CB_ENTRY_FILE);
    put(p, "lib", CB_ENTRY_DIR);          /* a link becomes a directory */
    put(p, "data/full/more", CB_ENTRY_FILE);
    put(p, "data/full", CB_ENTRY_FILE);   /* a directory becomes a file, with all that was in it */
    put(p, "new/d/e/f", CB_ENTRY_FILE);
    put(p, "new/d/g", CB_ENTRY_FILE);
    put(p, "new/d", CB_ENTRY_SYMLINK);
    put(p, "new/d", CB_ENTRY_DIR);
    put(p, "new/d/h", CB_ENTRY_FILE);
    check_placed(p, "d data 700 9:9\nf data/full 640 1:2 0\nd lib 640 1:2\nd new 755 1:2\nd new/d 640 1:2\n"
                    "f new/d/h 640 1:2 0\nd new/implied 755 0:0\nf new/implied/f 640 1:2 0\n");
    struct cb_entry dir = { .type = CB_ENTRY_DIR }, file = { .type = CB_ENTRY_FILE };
    struct cb_placed *x;
    assert_int_equal(cb_placer_put(p, "data/full", &dir, &x, NULL), -CB_ECONF); /* what was in it would be back */
    assert_int_equal(cb_placer_put(p, "", &file, &x, NULL), -CB_ECONF);
    cb_placer_set(p, CB_PLACE_COPY);
    assert_int_equal(cb_placer_put(p, "lib", &file, &x, NULL), -CB_ECONF);
}

static void test_mkdirs_makes_only_what_is_missing(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *base = tree_stack(usual_base);
    struct cb_finder below = cb_stack_finder(base);
    struct cb_placer_options o = { .base = &below, .chown = true, .uid = 3, .gid = 4, .now = NOW };
    CB_AUTO(cb_placer_free) struct cb_placer *p = cb_placer_new(&o);
    assert_int_equal(cb_placer_mkdirs(p, "data/full", NULL), 0);
    assert_int_equal(cb_placer_mkdirs(p, "", NULL), 0);
    assert_int_equal(cb_placer_count(p), 0);
    assert_int_equal(cb_placer_mkdirs(p, "data/full/new", NULL), 0);
    assert_int_equal(cb_placer_count(p), 3);
    assert_int_equal(placed_at(p, "data/full/new").uid, 3);
    assert_int_equal(placed_at(p, "data/full").uid, 0);
    assert_int_equal(cb_placer_mkdirs(p, "etc/passwd/x", NULL), -CB_ECONF);
}

/* What was placed before is what later paths are resolved on. */
static void test_placed_links_are_followed(void **state)
{
    (void)state;
    struct cb_placer_options o = { .now = NOW };
    CB_AUTO(cb_placer_free) struct cb_placer *p = cb_placer_new(&o);
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_entry link = { .type = CB_ENTRY_SYMLINK, .link = "../../../deep/er" };
    struct cb_placed *x;
    bool exists, dir;
    assert_int_equal(cb_placer_put(p, "a/l", &link, &x, NULL), 0);
    assert_int_equal(cb_placer_resolve(p, "/a/l/x", &real, &exists, &dir, NULL), 0);
    assert_string_equal(real.buf, "deep/er/x");
    assert_false(exists);
    assert_int_equal(cb_placer_mkdirs(p, real.buf, NULL), 0);
    assert_int_equal(cb_placer_resolve(p, "/a/l", &real, &exists, &dir, NULL), 0);
    assert_true(exists && dir);
    link.link = "/a/self";
    assert_int_equal(cb_placer_put(p, "a/self", &link, &x, NULL), 0);
    assert_int_equal(cb_placer_resolve(p, "/a/self/y", &real, &exists, &dir, NULL), -CB_ECONF);
}

/* Not quadratic: each put asks a table. */
static void test_many(void **state)
{
    (void)state;
    struct cb_placer_options o = { .now = NOW };
    CB_AUTO(cb_placer_free) struct cb_placer *p = cb_placer_new(&o);
    struct cb_entry e = { .type = CB_ENTRY_FILE, .mode = 0644 };
    for (int i = 0; i < 100000; i++) {
        struct cb_placed *x;
        char path[64];
        snprintf(path, sizeof path, "d%d/f%d", (i * 7919) % 100, i);
        assert_int_equal(cb_placer_put(p, path, &e, &x, NULL), 0);
    }
    cb_placer_settle(p);
    assert_int_equal(cb_placer_count(p), 100100);
    for (size_t i = 1; i < cb_placer_count(p); i++)
        check_order(p, i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_archive_replaces),
        cmocka_unit_test(test_mkdirs_makes_only_what_is_missing),
        cmocka_unit_test(test_placed_links_are_followed),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
