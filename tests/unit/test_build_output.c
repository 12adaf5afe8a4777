/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of --output, and the files that it names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/build.h"
#include "build/internal.h"
#include "layer/codec.h"
#include "util/alloc.h"
#include "util/fd.h"

/* ---- the grammar ---- */

static void output_text(struct cb_strbuf *o, const struct cb_output *x)
{
    static const char *const types[] = { "image", "oci", "docker", "local", "tar", "none" };
    static const char *const compressions[] = { "none", "gzip", "zstd" };
    cb_strbuf_adds(o, types[x->type]);
    if (x->dest)
        cb_strbuf_addf(o, " to %s", x->dest);
    if (x->as_dir)
        cb_strbuf_adds(o, " dir");
    if (x->push)
        cb_strbuf_adds(o, " push");
    cb_strbuf_adds(o, x->by_digest ? " by-digest" : "");
    cb_strbuf_adds(o, x->canonical ? " canonical" : "");
    cb_strbuf_adds(o, x->insecure ? " insecure" : "");
    for (size_t i = 0; i < x->names.n; i++)
        cb_strbuf_addf(o, " name %s", x->names.v[i]);
    if (x->format_set)
        cb_strbuf_addf(o, " %s", compressions[x->format.compression]);
    if (x->format.chunked)
        cb_strbuf_adds(o, " chunked");
    if (x->format.level == CB_LEVEL_FAST)
        cb_strbuf_adds(o, " fast");
    else if (x->format.level != CB_LEVEL_DEFAULT)
        cb_strbuf_addf(o, " level %d", x->format.level);
    cb_strbuf_adds(o, x->force ? " all" : "");
    static const char *const levels[] = { "manifest", "index", "manifest-descriptor", "index-descriptor" };
    for (size_t i = 0; i < x->annotations.n; i++) {
        const struct cb_annotation *a = &x->annotations.v[i];
        cb_strbuf_addf(o, " %s%s%s:%s=%s", levels[a->level], a->platform.os ? " for " : "",
                       a->platform.os ? a->platform.arch : "", a->key, a->value);
    }
    if (x->docker_types)
        cb_strbuf_adds(o, " docker-types");
    if (x->attestation_prefix)
        cb_strbuf_addf(o, " prefix %s", x->attestation_prefix);
    if (x->platform_split >= 0)
        cb_strbuf_addf(o, " split %d", x->platform_split);
}

static void test_grammar(void **state)
{
    (void)state;
    static const struct { const char *spec, *expected; } cases[] = {
        { "out", "local to out" },
        { "./a/b", "local to ./a/b" },
        { "-", "tar to -" },
        { "type=local,dest=out", "local to out" },
        { "type=local,dest=out,platform-split=false", "local to out split 0" },
        { "type=tar,dest=out,platform-split=true", "tar to out split 1" },
        { "type=oci,dest=out,platform-split=true", NULL },
        { "type=tar,dest=-", "tar to -" },
        { "type=tar,dest=a.tar", "tar to a.tar" },
        { "dest=a.tar,type=oci", "oci to a.tar" },
        { "type=oci,dest=d,tar=false", "oci to d dir" },
        { "type=oci,dest=a.tar,tar=true", "oci to a.tar" },
        { "type=docker,dest=a.tar", "docker to a.tar" },
        { "type=image", "image" },
        { "type=image,push=true", "image push" },
        { "type=image,push", NULL },
        { "type=image,push=", "image push" },
        { "type=image,push=1", "image push" },
        { "type=image,push=0", "image" },
        { "type=registry", "image push" },
        { "type=registry,name=r/a:1", "image push name r/a:1" },
        { "type=image,\"name=r/a:1,r/b:2\",push=true", "image push name r/a:1 name r/b:2" },
        { "type=image,name=r/a", "image name r/a" },
        { "\"type=local\",\"dest=a,b\"\"c\"", "local to a,b\"c" },
        { "type=local,dest=a=b", "local to a=b" },
        { "type=oci,dest=o,compression=gzip", "oci to o gzip" },
        { "type=oci,dest=o,compression=zstd,compression-level=19", "oci to o zstd level 19" },
        { "type=oci,dest=o,compression=uncompressed", "oci to o none" },
        { "type=oci,dest=o,compression-level=12", "oci to o level 12" },
        { "type=image,oci-mediatypes=false", "image docker-types" },
        { "type=image,oci-mediatypes=true", "image" },
        { "type=image,rewrite-timestamp=true,force-compression=false", "image" },
        { "type=image,compression=zstd,force-compression=true", "image zstd all" },
        { "type=image,annotation.a.b=c=d", "image manifest:a.b=c=d" },
        { "type=image,annotation-index.o.x=y,annotation[linux/arm64].k=v",
          "image index:o.x=y manifest for arm64:k=v" },
        { "type=oci,annotation-manifest-descriptor[linux/amd64].a=b,\"annotation-index-descriptor.c=d,e\"",
          "oci to - manifest-descriptor for amd64:a=b index-descriptor:c=d,e" },
        { "type=registry,registry.insecure=true", "image push insecure" },
        { "type=tar,attestation-prefix=a-", "tar to - prefix a-" },
        { "type=tar", "tar to -" },
        { "type=oci", "oci to -" },
        { "type=oci,name=a", "oci to - name a" },
        { "type=docker,dest=x,name=r/a:1", "docker to x name r/a:1" },
        { "type=cacheonly", "none" },
        { "type=docker", "docker" }, /* to the engine of this machine */
        /* errors */
        { "", NULL },
        { "type=nosuch", NULL },
        { "type=", NULL },
        { "dest=x", NULL },
        { "name=x", NULL },
        { "type=docker,dest=", NULL },
        { "type=local", NULL },
        { "type=local,dest=", NULL },
        { "type=image,dest=x", NULL },
        { "type=local,dest=-", NULL },
        { "type=oci,dest=-,tar=false", NULL },
        { "type=tar,dest=x,push=true", NULL },
        { "type=tar,dest=x,name=a", NULL },
        { "type=oci,dest=x,push=true", NULL },
        { "type=oci,tar=false", NULL },
        { "type=oci,dest=", NULL },
        { "type=cacheonly,dest=x", NULL },
        { "type=image,push-by-digest=true", "image by-digest" },
        { "type=image,name-canonical=,name=a,push=true", "image push canonical name a" },
        { "type=image,push-by-digest=yes", NULL },
        { "type=oci,dest=x,push-by-digest=true", NULL },
        { "type=docker,dest=x,name-canonical=true", NULL },
        { "type=docker,dest=x,name-canonical=false", "docker to x" },
        { "type=image,push-by-digest=false,name-canonical=false", "image" },
        { "type=cacheonly,push=true", NULL },
        { "type=cacheonly,name=a", NULL },
        { "type=oci,dest=o,tar=maybe", NULL },
        { "type=image,push=yes", NULL },
        { "type=oci,dest=o,compression=estargz", "oci to o gzip chunked" },
#if defined(__x86_64__)
        { "type=oci,dest=o,compression=estargz,compression-level=fast", "oci to o gzip chunked fast" },
#endif
        { "type=oci,dest=o,compression=zstd:chunked,compression-level=9", "oci to o zstd chunked level 9" },
        { "type=oci,dest=o,compression=lz4", NULL },
        { "type=image,oci-mediatypes=false,compression=estargz", NULL },
        { "type=oci,dest=o,compression=", NULL },
        { "type=oci,dest=o,compression=gzip,compression-level=13", NULL },
        { "type=oci,dest=o,compression-level=100", NULL },
        { "type=oci,dest=o,compression=zstd,compression-level=fast", NULL },
        { "type=oci,dest=o,compression=uncompressed,compression-level=fast", NULL },
        { "type=oci,dest=o,compression=zstd,compression-level=22", "oci to o zstd level 22" },
        { "type=oci,dest=o,compression-level=fast", "oci to o fast" },
        { "type=oci,dest=o,compression-level=-1", NULL },
        { "type=oci,dest=o,compression-level=x", NULL },
        { "type=oci,dest=o,compression=zstd,compression-level=23", NULL },
        { "type=image,oci-mediatypes=false,compression=zstd", NULL },
        { "type=image,force-compression=perhaps", NULL },
        { "type=image,annotation=x", NULL },
        { "type=image,annotations.a=b", NULL },
        { "type=image,annotation.=b", NULL },
        { "type=image,annotation-layer.a=b", NULL },
        { "type=image,annotation-index[linux/amd64].a=b", NULL },
        { "type=image,annotation[linux/amd64.a=b", NULL },
        { "type=image,annotation[].a=b", NULL },
        { "type=local,dest=x,annotation.a=b", NULL },
        { "type=oci,registry.insecure=true", NULL },
        { "type=image,attestation-prefix=a", NULL },
        { "type=local,dest=x,attestation-prefix=a/b", NULL },
        { "type=image,unknown=1", NULL },
        { "type=image,tar=false", NULL },
        { "type=image,type=oci,dest=x", NULL },
        { "type=oci,dest=x,dest=y", NULL },
        { "type=image,,push=true", NULL },
        { "type=image,\"name=a", NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_output x;
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
        int r = cb_output_parse(&x, cases[i].spec, &err);
        output_text(&got, &x);
        if ((r < 0) != !cases[i].expected || (r == 0 && strcmp(got.buf, cases[i].expected)))
            fail_msg("%s: %d %s %s", cases[i].spec, r, got.buf, cb_error_text(&err));
        if (r < 0) {
            assert_int_equal(r, -CB_EUSAGE);
            assert_true(cb_starts_with(cb_error_text(&err), "--output"));
        }
        cb_output_done(&x);
        assert_int_equal(cb_output_parse(&x, cases[i].spec, NULL), r);
        cb_output_done(&x);
    }
}

/* All layers of one build are compressed in one way. */
static int compression(const char *a, const char *b, struct cb_format *f)
{
    struct cb_output v[2];
    assert_int_equal(cb_output_parse(&v[0], a, NULL), 0);
    assert_int_equal(cb_output_parse(&v[1], b, NULL), 0);
    struct cb_build_options o = { .outputs = v, .n_outputs = 2, .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT } };
    int r = cb_build_format(&o, f, NULL);
    cb_output_done(&v[0]);
    cb_output_done(&v[1]);
    return r;
}

static void test_compression(void **state)
{
    (void)state;
    struct cb_format f;
    assert_int_equal(compression("out", "type=image", &f), 0);
    assert_int_equal(f.compression, CB_COMPRESSION_GZIP);
    assert_int_equal(f.level, CB_LEVEL_DEFAULT);
    assert_int_equal(compression("out", "type=image,compression=zstd,compression-level=9", &f), 0);
    assert_int_equal(f.compression, CB_COMPRESSION_ZSTD);
    assert_int_equal(f.level, 9);
    assert_int_equal(compression("type=oci,dest=x,compression=zstd", "type=image,compression=zstd", &f), 0);
    assert_int_equal(compression("type=oci,dest=x,compression=zstd", "type=image,compression=gzip", &f),
                     -CB_EUSAGE);
    assert_int_equal(compression("type=oci,dest=x,compression-level=1", "type=image,compression-level=2", &f),
                     -CB_EUSAGE);
    assert_int_equal(compression("type=oci,dest=x,compression=zstd", "type=image,oci-mediatypes=false", &f),
                     -CB_EUSAGE);
    assert_int_equal(compression("type=oci,dest=x,compression=zstd", "type=oci,dest=y,compression-level=0", &f),
                     -CB_EUSAGE);
    assert_int_equal(compression("out", "type=oci,dest=y,compression-level=13", &f), -CB_EUSAGE);
    assert_int_equal(compression("type=oci,dest=x,compression=estargz", "type=image", &f), 0);
    assert_true(f.chunked);
    assert_int_equal(compression("type=oci,dest=x,compression=estargz", "type=image,compression=gzip", &f), -CB_EUSAGE);
    assert_int_equal(compression("out", "type=image,compression=estargz", &f), -CB_EUSAGE); /* files of its own */
    assert_int_equal(compression("out", "type=image,compression=zstd:chunked", &f), 0);
    assert_int_equal(compression("type=oci,dest=x,compression-level=fast", "type=image,compression=gzip", &f),
                     cb_codec_gzip_fast_state() == CB_ENGINE_HERE ? 0 : -CB_EUSAGE);
    assert_int_equal(f.level, CB_LEVEL_FAST);
    assert_int_equal(compression("type=oci,dest=x,compression-level=fast", "type=image,compression=zstd", &f),
                     -CB_EUSAGE);
}

/* ---- the files ---- */

static char dir[256];

static int setup(void **state CB_UNUSED)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/cbpush-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state CB_UNUSED)
{
    static const char *const names[] = { "f", "link", "pipe" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        cb_autofree char *path = cb_asprintf("%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir); /* nothing else may be left */
}

static char *in_dir(const char *name)
{
    return cb_asprintf("%s/%s", dir, name);
}

static void put(const char *path, const char *text)
{
    struct cb_out_file f;
    assert_int_equal(cb_out_file_open(&f, path, NULL), 0);
    assert_int_equal(cb_fd_write_all(f.fd, text, strlen(text), NULL), 0);
    assert_int_equal(cb_out_file_close(&f, 0, NULL), 0);
}

static void assert_content(const char *path, const char *text)
{
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(cb_file_slurp(path, 1000, &got, NULL), 0);
    assert_string_equal(got.buf, text);
}

static void test_out_file(void **state)
{
    (void)state;
    cb_autofree char *path = in_dir("f");
    struct cb_out_file f;
    struct stat st;
    put(path, "first, and long");
    assert_content(path, "first, and long");
    put(path, "second");
    assert_content(path, "second");
    /* Not there before it is whole, and as it was where writing failed. */
    assert_int_equal(cb_out_file_open(&f, path, NULL), 0);
    assert_int_equal(cb_fd_write_all(f.fd, "third", 5, NULL), 0);
    assert_content(path, "second");
    assert_int_equal(cb_out_file_close(&f, -CB_EVERIFY, NULL), -CB_EVERIFY);
    assert_content(path, "second");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_out_file_links_and_pipes(void **state)
{
    (void)state;
    cb_autofree char *path = in_dir("f");
    cb_autofree char *link = in_dir("link");
    cb_autofree char *pipe = in_dir("pipe");
    struct cb_out_file f;
    struct stat st;
    char buf[8] = "";
    /* A link stays one: what it points to is written. */
    put(path, "old and longer");
    assert_int_equal(symlink("f", link), 0);
    put(link, "new");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_content(path, "new");
    /* So do devices and pipes. */
    put("/dev/null", "x");
    assert_int_equal(lstat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(mkfifo(pipe, 0600), 0);
    cb_autoclose int in = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    put(pipe, "piped");
    assert_int_equal(read(in, buf, sizeof buf), 5);
    assert_string_equal(buf, "piped");
    assert_int_equal(cb_out_file_open(&f, dir, NULL), -CB_EUSAGE);
    assert_int_equal(cb_out_file_close(&f, -CB_EUSAGE, NULL), -CB_EUSAGE);
    assert_int_equal(cb_out_file_open(&f, "/nonexistent/x", NULL), -CB_ELOCAL);
    assert_int_equal(cb_out_file_close(&f, -CB_ELOCAL, NULL), -CB_ELOCAL);
}

static void test_standard_output(void **state)
{
    (void)state;
    cb_autofree char *path = in_dir("f");
    int saved = dup(STDOUT_FILENO);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && fd >= 0);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    put("-", "out");
    ssize_t more = write(STDOUT_FILENO, "+", 1); /* it was not closed */
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(fd);
    assert_int_equal(more, 1);
    assert_content(path, "out+");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_compression),
        cmocka_unit_test_setup_teardown(test_out_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_file_links_and_pipes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_standard_output, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
