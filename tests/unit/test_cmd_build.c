/* SPDX-License-Identifier: Apache-2.0 */
/* What the option tables of `build` mean: limits, image, arguments, what other builders have. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/build_input.h"
#include "util/alloc.h"

#define WORDS_MAX 64

/* The words of a line as the command line of build; what was taken, or the error's text. */
static int take(struct build_input *in, const char *line, struct cb_error *err)
{
    static char words[4096];
    char *argv[WORDS_MAX] = { 0 };
    int argc = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *w = words; w && *w;) {
        char *space = strchr(w, ' ');
        if (space)
            *space = '\0';
        argv[argc++] = w;
        w = space ? space + 1 : NULL;
    }
    *in = (struct build_input){ .cli = BUILD_OPTIONS_INIT };
    struct cb_opt_parse p = { .table = build_opts, .groups = build_groups, .dest = &in->cli, .argc = argc, .argv = argv,
                              .operands = &in->operands };
    int r = cb_opt_parse(&p, err);
    return r < 0 ? r : build_input_take(in, err);
}

static void refuse_at(const char *line, const char *part, int at)
{
    struct build_input in;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    int r = take(&in, line, &err);
    if (r != -CB_EUSAGE || !strstr(cb_error_text(&err), part))
        fail_msg("line %d, \"%s\": %d, \"%s\"", at, line, r, cb_error_text(&err));
    build_input_done(&in);
}
#define refuse(line, part) refuse_at(line, part, __LINE__)

static void accept(struct build_input *in, const char *line)
{
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    if (take(in, line, &err) < 0)
        fail_msg("\"%s\": %s", line, cb_error_text(&err));
}

static void test_ulimit(void **state)
{
    (void)state;
    struct cb_ulimit u;
    static const struct { const char *text; uint64_t soft, hard; } good[] = {
        { "nofile=5", 5, 5 },           { "nofile=5:6", 5, 6 },           { "core=0", 0, 0 },
        { "stack=-1", UINT64_MAX, UINT64_MAX }, { "nproc=7:unlimited", 7, UINT64_MAX }, { "cpu=0:-1", 0, UINT64_MAX },
    };
    static const char *const bad[] = { "", "nofile", "nofile=", "nofile=x", "nofile=5:", "nofile=6:5", "=5", "files=5",
                                       "nofile=-2", "nofile=1:2:3", "nofile=-1:5", "NOFILE=1", "nofile= 1" };
    for (size_t i = 0; i < CB_COUNTOF(good); i++) {
        assert_int_equal(cb_ulimit_parse(&u, good[i].text, NULL), 0);
        assert_true(u.soft == good[i].soft && u.hard == good[i].hard);
        assert_int_equal(strncmp(cb_ulimit_name(u.resource), good[i].text, strcspn(good[i].text, "=")), 0);
    }
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_int_equal(cb_ulimit_parse(&u, bad[i], NULL), -CB_EUSAGE);
}

static void test_limits(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "-m 512m --memory-swap 1g --cpus 1.5 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 --shm-size 2g "
                "--cgroup-parent /x --ulimit nofile=1 --ulimit core=0:1");
    const struct cb_limits *l = in.o.limits;
    assert_true(l->memory == UINT64_C(512) << 20 && l->memory_swap == INT64_C(1) << 30);
    assert_true(l->cpu_period == 100000 && l->cpu_quota == 150000 && l->cpu_shares == 512);
    assert_true(l->shm_size == UINT64_C(2) << 30 && l->n_ulimits == 2 && l->ulimits[1].hard == 1);
    assert_string_equal(l->cpuset_cpus, "0-1");
    assert_string_equal(l->cgroup_parent, "/x");
    assert_true(cb_limits_need_cgroup(l));
    build_input_done(&in);
    accept(&in, "--memory 1g --memory-swap -1 --cpu-quota 5000 --cpu-period 10000");
    assert_true(in.o.limits->memory_swap == -1 && in.o.limits->cpu_quota == 5000 && in.o.limits->cpu_period == 10000);
    build_input_done(&in);
    accept(&in, "--shm-size 1m --ulimit core=0 --cpu-quota -1");
    assert_false(cb_limits_need_cgroup(in.o.limits));
    build_input_done(&in);
    static const struct { const char *cpus; uint64_t quota; } cpus[] = {
        { "1", 100000 }, { ".5", 50000 }, { "0.01", 1000 }, { "2.", 200000 }, { "1.2345", 123400 },
    };
    for (size_t i = 0; i < CB_COUNTOF(cpus); i++) {
        cb_autofree char *line = cb_asprintf("--cpus %s", cpus[i].cpus);
        accept(&in, line);
        assert_int_equal(in.o.limits->cpu_quota, cpus[i].quota);
        build_input_done(&in);
    }
    refuse("--cpus 0", "at least");
    refuse("--cpus 0.001", "at least");
    refuse("--cpus .", "--cpus");
    refuse("--cpus 1,5", "--cpus");
    refuse("--cpus 1 --cpu-period 1000", "--cpus");
    refuse("--memory-swap 1g", "--memory");
    refuse("--memory 1g --memory-swap 1m", "less than");
    refuse("--memory big", "--memory");
    refuse("--shm-size -1", "--shm-size");
    refuse("--cpu-shares 9999999", "--cpu-shares");
}

static void test_rights(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "");
    assert_false(in.o.allow.host_network || in.o.allow.insecure || in.o.allow.any_device);
    build_input_done(&in);
    accept(&in, "--allow network.host --allow security.insecure --allow device=v.com/c=d");
    assert_true(in.o.allow.host_network && in.o.allow.insecure && !in.o.allow.any_device);
    assert_true(cb_strvec_has(in.o.allow.devices, "v.com/c=d"));
    build_input_done(&in);
    accept(&in, "--network host --allow device");
    assert_true(in.o.allow.host_network && in.o.allow.any_device && !in.o.allow.insecure);
    build_input_done(&in);
    accept(&in, "--network none");
    assert_false(in.o.allow.host_network);
    build_input_done(&in);
    refuse("--allow all", "--allow all");
    refuse("--allow device=", "--allow");
    refuse("--dns example.com", "--dns");
    refuse("--dns-option a;b", "--dns-option");
}

static void test_image(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "--no-cache-filter a,b --no-cache-filter c --env X=1 --unsetenv Y --squash --timestamp 5 "
                "--format docker --compression-level 9 --jobs 0 --os linux --arch arm --variant v6");
    assert_int_equal(in.o.no_cache_filter->n, 3);
    assert_true(in.o.squash && in.o.exact_times && in.o.docker_types && in.o.jobs == 64);
    assert_string_equal(in.o.epoch, "5");
    assert_int_equal(in.o.format.level, 9);
    assert_string_equal(in.platforms[0].variant, "v6");
    build_input_done(&in);
    accept(&in, "--layers=false");
    assert_true(in.o.squash && in.o.no_cache);
    build_input_done(&in);
    accept(&in, "--layers --load");
    assert_true(!in.o.squash && in.o.n_outputs == 1);
    assert_true(in.o.outputs[0].type == CB_OUTPUT_DOCKER && !in.o.outputs[0].dest);
    assert_int_equal(in.o.format.level, CB_LEVEL_DEFAULT);
    build_input_done(&in);
    refuse("--timestamp 1 --source-date-epoch 2", "contradict");
    refuse("--timestamp context", "--timestamp");
    refuse("--platform linux/arm64 --arch arm64", "--platform");
    refuse("--jobs many", "--jobs");
    refuse("--compression-format lz4", "gzip, estargz, zstd, zstd:chunked, uncompressed");
    refuse("--compression-level best", "0 to 12 or fast");
}

static void test_other_builders(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "--rm --force-rm=false --builder x --provenance=false --sbom none --attest type=sbom,disabled=true");
    assert_int_equal(in.cli.compat.ignored.n, 2);
    assert_string_equal(in.cli.compat.ignored.v[1], "builder=x");
    build_input_done(&in);
}

static void test_attestations(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "--no-cache");
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_OFF);
    build_input_done(&in);
    accept(&in, "--provenance ctx");
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_MIN);
    assert_string_equal(in.o.context, "ctx");
    build_input_done(&in);
    accept(&in, "--provenance mode=max,version=v0.2,builder-id=https://ci/run?x=1,reproducible=true ctx");
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_MAX);
    assert_true(in.o.provenance.v02 && in.o.provenance.reproducible);
    assert_string_equal(in.o.provenance.builder_id, "https://ci/run?x=1");
    build_input_done(&in);
    accept(&in, "--attest mode=max,type=provenance --sbom=disabled=true");
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_MAX);
    build_input_done(&in);
    accept(&in, "--provenance=mode=max,disabled=true");
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_OFF);
    build_input_done(&in);
    accept(&in, "--attest type=provenance,mode=min,inline-only=true,version=v1");
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_MIN);
    assert_false(in.o.provenance.files);
    build_input_done(&in);
    accept(&in, "--provenance=inline-only=false");
    assert_true(in.o.provenance.mode == CB_PROVENANCE_MIN && in.o.provenance.files);
    build_input_done(&in);
    refuse("--provenance=mode=med", "min or max");
    refuse("--provenance=mode=max,colour=red", "mode, version, builder-id");
    refuse("--provenance=mode=max,filename=x", "filename");
    refuse("--provenance=maximal", "mode, version");
    refuse("--provenance=version=v2", "v0.2");
    refuse("--provenance=builder-id=https://u:p@ci/", "password");
    refuse("--provenance=builder-id=me", "URI");
    refuse("--provenance=reproducible=maybe", "true or false");
    refuse("--provenance=inline-only=perhaps", "inline-only");
    refuse("--provenance=mode=max --attest type=provenance", "once");
    refuse("--provenance=false --attest type=provenance", "once");
    refuse("--attest type=vex", "provenance");
    refuse("--attest mode=max", "type=");
    refuse("--provenance=builder-id=https://h/?t=x,mode=med", "h/?t=xxxxx");
}

static void test_sbom(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "--sbom=false");
    assert_null(in.o.sbom.generator);
    build_input_done(&in);
    accept(&in, "--sbom ctx");
    assert_string_equal(in.o.sbom.generator, "docker.io/docker/buildkit-syft-scanner:stable-1");
    assert_string_equal(in.o.context, "ctx");
    build_input_done(&in);
    accept(&in, "--sbom generator=h:1/scan/er,mode=fast,A_1=x=y ctx");
    assert_string_equal(in.o.sbom.generator, "h:1/scan/er");
    assert_string_equal(cb_strmap_get(in.o.sbom.params, "mode"), "fast");
    assert_string_equal(cb_strmap_get(in.o.sbom.params, "A_1"), "x=y");
    assert_int_equal(in.o.sbom.params->n, 2);
    build_input_done(&in);
    accept(&in, "--attest type=sbom,generator=h/x --attest type=provenance");
    assert_string_equal(in.o.sbom.generator, "h/x");
    assert_int_equal(in.o.sbom.params->n, 0);
    assert_int_equal(in.o.provenance.mode, CB_PROVENANCE_MIN);
    build_input_done(&in);
    accept(&in, "--attest type=sbom,generator=h/x,disabled=true --sbom=disabled=true");
    assert_null(in.o.sbom.generator);
    build_input_done(&in);
    refuse("--sbom=foo", "write true, false, or generator=IMAGE");
    refuse("--sbom=generator=UP", "must be lower case");
    refuse("--sbom=disabled=maybe", "disabled= is true or false");
    refuse("--sbom=a-b=c", "no name of a parameter");
    refuse("--sbom=from=https://h/?t=canary,a-b=c", "h/?t=xxxxx");
    refuse("--sbom=\"generator=x", "a quote does not end");
    refuse("--attest type=sbom --sbom", "say it once");
    refuse("--attest type=sbom,disabled=true --sbom", "say it once");
    refuse("--attest type=sbom --attest type=sbom,generator=x", "say it once");
}

static void test_caches(void **state)
{
    (void)state;
    struct build_input in;
    accept(&in, "--cache-from h:1/a,h:1/b:main --cache-from type=local,src=d --cache-to type=inline --cache-ttl 2h");
    assert_int_equal(in.o.n_cache_from, 3);
    assert_string_equal(in.o.cache_from[1].ref.repo, "b");
    assert_string_equal(in.o.cache_from[1].ref.tag, "main");
    assert_int_equal(in.o.cache_to[0].type, CB_CACHE_INLINE);
    assert_true(in.o.cache_ttl == INT64_C(7200) * 1000000000 && !in.o.no_cache);
    build_input_done(&in);
    accept(&in, "--cache-ttl 0");
    assert_true(in.o.no_cache);
    build_input_done(&in);
    refuse("--cache-from type=gha", "type=gha");
    refuse("--cache-to type=s3,bucket=b", "type=s3");
    refuse("--cache-to type=registry,ref=h:1/a,mode=all", "mode=all");
    refuse("--cache-ttl soon", "soon");
    refuse("--cache-ttl -1s", "-1s");
}

static void expect_args(const struct cb_strvec *args, const char *key, const char *value)
{
    const char *got = cb_env_get(args, key);
    if (!cb_streq(got, value))
        fail_msg("%s: expected %s, got %s", key, value ? value : "nothing", got ? got : "nothing");
}

static void test_arg_file(void **state)
{
    (void)state;
    struct cb_strvec args cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    char path[] = "/tmp/cbpush-args-XXXXXX";
    static const char text[] = "# comment\n\nA=1\r\nB=x=y\nFROM_ENV\nNOT_SET_ANYWHERE\n=nothing\nA=2\nLAST=end";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1));
    close(fd);
    setenv("FROM_ENV", "env", 1);
    unsetenv("NOT_SET_ANYWHERE");
    assert_int_equal(build_args_file(path, NULL, &args, &err), 0);
    expect_args(&args, "A", "2");
    expect_args(&args, "B", "x=y");
    expect_args(&args, "FROM_ENV", "env");
    expect_args(&args, "LAST", "end");
    expect_args(&args, "NOT_SET_ANYWHERE", NULL);
    assert_int_equal(args.n, 4);
    unlink(path);
    assert_int_equal(build_args_file(path, NULL, &args, &err), -CB_EUSAGE);
}

static int proxies(struct cb_strvec *args, const char *text, const char *engine)
{
    return build_args_proxies(text, strlen(text), engine, args, NULL);
}

static void test_proxies(void **state)
{
    (void)state;
    struct cb_strvec args cb_cleanup_strvec = CB_STRVEC_INIT;
    static const char text[] = "{\"auths\": {}, \"proxies\": {\"default\": {\"httpProxy\": \"d\", \"noProxy\": \"n\"},"
                               "\"tcp://e:1\": {\"httpProxy\": \"e\"}}}";
    cb_strvec_push(&args, "no_proxy=given");
    assert_int_equal(proxies(&args, text, NULL), 0);
    expect_args(&args, "HTTP_PROXY", "d");
    expect_args(&args, "http_proxy", "d");
    expect_args(&args, "no_proxy", "given");
    expect_args(&args, "NO_PROXY", NULL);
    cb_strvec_done(&args);
    assert_int_equal(proxies(&args, text, "tcp://e:1"), 0);
    expect_args(&args, "http_proxy", "e");
    expect_args(&args, "no_proxy", NULL);
    cb_strvec_done(&args);
    assert_int_equal(proxies(&args, "{}", NULL), 0);
    assert_int_equal(proxies(&args, "", NULL), 0);
    assert_int_equal(proxies(&args, " \r\n", NULL), 0);
    assert_int_equal(args.n, 0);
    assert_int_equal(proxies(&args, "{\"proxies\": []}", NULL), -CB_ECONF);
    assert_int_equal(proxies(&args, "{\"proxies\": {\"default\": {\"httpProxy\": 1}}}", NULL), -CB_ECONF);
    assert_int_equal(proxies(&args, "not json", NULL), -CB_ECONF);
}

static int switches(struct cb_build_options *o, struct cb_strvec *cache_to, const char *arg)
{
    struct cb_strvec args cb_cleanup_strvec = CB_STRVEC_INIT;
    build_args_add(arg, &args);
    cb_strvec_done(cache_to);
    int r = build_args_switches(&args, o, cache_to, NULL);
    if (o->run_hostname)
        assert_string_equal(o->run_hostname, "host.name");
    o->run_hostname = o->run_hostname ? "" : NULL;
    return r;
}

static void test_switches(void **state)
{
    (void)state;
    struct cb_strvec cache_to cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_build_options o = { .n_platforms = 1 };
    assert_int_equal(switches(&o, &cache_to, "A=1"), 0);
    assert_true(!o.run_hostname && !o.keep_git_dir && cache_to.n == 0);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_SANDBOX_HOSTNAME=host.name"), 0);
    assert_non_null(o.run_hostname);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_SANDBOX_HOSTNAME="), 0);
    assert_null(o.run_hostname);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"), 0);
    assert_true(o.keep_git_dir);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_CONTEXT_KEEP_GIT_DIR=false"), 0);
    assert_false(o.keep_git_dir);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_INLINE_CACHE=true"), 0);
    assert_string_equal(cache_to.n == 1 ? cache_to.v[0] : "", "type=inline");
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_INLINE_CACHE=0"), 0);
    assert_int_equal(cache_to.n, 0);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_INLINE_CACHE=yes"), -CB_EUSAGE);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_MULTI_PLATFORM=0"), 0);
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_MULTI_PLATFORM=1"), -CB_EUSAGE);
    o.n_platforms = 2;
    assert_int_equal(switches(&o, &cache_to, "BUILDKIT_MULTI_PLATFORM=1"), 0);
}

int main(void)
{
    setenv("DOCKER_CONFIG", "/nonexistent", 1);
    unsetenv("DOCKER_DEFAULT_PLATFORM");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ulimit), cmocka_unit_test(test_limits),         cmocka_unit_test(test_rights),
        cmocka_unit_test(test_image),  cmocka_unit_test(test_other_builders),
        cmocka_unit_test(test_attestations),
        cmocka_unit_test(test_sbom),
        cmocka_unit_test(test_caches), cmocka_unit_test(test_arg_file),
        cmocka_unit_test(test_proxies), cmocka_unit_test(test_switches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
