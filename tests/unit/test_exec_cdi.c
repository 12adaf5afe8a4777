/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/cdi.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"

static char dir[] = "/tmp/cbpush-cdi-XXXXXX";
static struct cb_strvec dirs = CB_STRVEC_INIT;

static void put(const char *name, const char *text)
{
    cb_autofree char *path = cb_asprintf("%s/%s", dir, name);
    cb_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(cb_fd_write_all(fd, text, strlen(text), NULL), 0);
}

static void gone(const char *name)
{
    cb_autofree char *path = cb_asprintf("%s/%s", dir, name);
    unlink(path);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    cb_autofree char *low = cb_asprintf("%s/low", dir), *high = cb_asprintf("%s/high", dir);
    mkdir(low, 0755);
    mkdir(high, 0755);
    cb_strvec_push(&dirs, low);
    cb_strvec_push(&dirs, high);
    cb_strvec_push(&dirs, "/nonexistent");
    put("low/v.json", "{\"cdiVersion\":\"0.6.0\",\"kind\":\"v.com/gpu\",\"containerEdits\":{\"env\":[\"ALL=1\"]},"
                      "\"devices\":[{\"name\":\"b\",\"containerEdits\":{\"env\":[\"B=low\"]}},"
                      "{\"name\":\"a\",\"annotations\":{\"org.mobyproject.buildkit.device.class\":\"fast\"},"
                      "\"containerEdits\":{\"env\":[\"A=x=y\"],\"deviceNodes\":[{\"path\":\"/dev/a\","
                      "\"hostPath\":\"/dev/null\",\"type\":\"c\",\"major\":1,\"minor\":3,"
                      "\"fileMode\":432,\"uid\":0,\"gid\":44,\"permissions\":\"rw\"},"
                      "{\"path\":\"/dev/plain\"}],\"mounts\":[{\"hostPath\":\"/lib\",\"containerPath\":\"/opt/lib\","
                      "\"options\":[\"ro\"]}],\"hooks\":[]}}]}");
    put("high/w.json", "{\"kind\":\"v.com/gpu\",\"devices\":["
                       "{\"name\":\"b\",\"containerEdits\":{\"env\":[\"B=high\"]}}]}");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cb_autoclose int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cb_strvec_done(&dirs);
    return cb_fs_remove_tree(tmp, dir + strlen("/tmp/"), NULL) < 0;
}

static int find(struct cb_cdi *c, const char *name, struct cb_error *err)
{
    *c = (struct cb_cdi){ 0 };
    return cb_cdi_find(&dirs, name, c, err);
}

static void env_is(const char *name, const char *want)
{
    struct cb_cdi c cb_cleanup_cdi;
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(find(&c, name, NULL), 0);
    for (size_t i = 0; i < c.env.n; i++)
        cb_strbuf_addf(&got, "%s ", c.env.v[i]);
    assert_string_equal(got.buf, want);
}

static void edits(void **state)
{
    (void)state;
    struct cb_cdi c cb_cleanup_cdi;
    assert_int_equal(find(&c, "v.com/gpu=a", NULL), 0);
    assert_int_equal(c.n_nodes, 2);
    assert_string_equal(c.nodes[0].path, "/dev/a");
    assert_string_equal(c.nodes[0].host_path, "/dev/null");
    assert_true(c.nodes[0].numbered && c.nodes[0].major_number == 1 && c.nodes[0].minor_number == 3);
    assert_true(c.nodes[0].has_mode && c.nodes[0].mode == 0660 && c.nodes[0].has_uid && c.nodes[0].gid == 44);
    assert_string_equal(c.nodes[1].host_path, "/dev/plain");
    assert_false(c.nodes[1].numbered || c.nodes[1].has_mode || c.nodes[1].has_uid);
    assert_int_equal(c.n_mounts, 1);
    assert_string_equal(c.mounts[0].path, "/opt/lib");
}

static void names(void **state)
{
    (void)state;
    struct cb_cdi c cb_cleanup_cdi;
    env_is("v.com/gpu=a", "A=x=y ALL=1 ");
    env_is("v.com/gpu=b", "B=high ");
    env_is("v.com/gpu", "A=x=y ALL=1 ");
    env_is("v.com/gpu=*", "A=x=y ALL=1 B=high ");
    env_is("fast", "A=x=y ALL=1 ");
    static const char *const none[] = { "v.com/gpu=c", "v.com/gp", "v.com/gpu=", "gpu=a", "slow", "v.com/gpu=a*" };
    for (size_t i = 0; i < CB_COUNTOF(none); i++) {
        assert_int_equal(find(&c, none[i], NULL), -CB_ENOTFOUND);
        cb_cdi_done(&c);
    }
}

/* What cbpush would not do as the spec says it: the whole spec's edits count too. */
static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"hooks\":[{\"hookName\":\"createRuntime\",\"path\":\"/bin/true\"}]}",
        "{\"additionalGids\":[5]}", "{\"intelRdt\":{\"closID\":\"x\"}}", "{\"env\":[\"novalue\"]}",
        "{\"env\":[\"=x\"]}", "{\"env\":\"A=1\"}", "{\"deviceNodes\":[{\"path\":\"dev/x\"}]}", "{\"deviceNodes\":[{}]}",
        "{\"deviceNodes\":[{\"path\":\"/dev/x\",\"type\":\"p\"}]}",
        "{\"deviceNodes\":[{\"path\":\"/dev/x\",\"major\":-1}]}",
        "{\"mounts\":[{\"hostPath\":\"/x\",\"containerPath\":\"y\"}]}", "{\"mounts\":[{\"containerPath\":\"/y\"}]}",
        "{\"mounts\":[{\"hostPath\":\"/x\",\"containerPath\":\"/y\",\"type\":\"tmpfs\"}]}", "{\"mounts\":[1]}",
    };
    for (size_t i = 0; i < 2 * CB_COUNTOF(bad); i++) {
        struct cb_cdi c cb_cleanup_cdi;
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        cb_autofree char *own = cb_asprintf(
            "{\"kind\":\"x.com/y\",\"devices\":[{\"name\":\"d\",\"containerEdits\":%s}]}", bad[i / 2]);
        cb_autofree char *all = cb_asprintf(
            "{\"kind\":\"x.com/y\",\"containerEdits\":%s,\"devices\":[{\"name\":\"d\"}]}", bad[i / 2]);
        put("low/bad.json", i % 2 ? all : own);
        assert_int_equal(find(&c, "x.com/y=d", &err), -CB_ECONF);
        if (!strstr(cb_error_text(&err), "low/bad.json"))
            fail_msg("%s: %s", bad[i / 2], cb_error_text(&err));
        cb_cdi_done(&c);
        env_is("v.com/gpu=b", "B=high "); /* another device is none of its business */
    }
    gone("low/bad.json");
}

static void files(void **state)
{
    (void)state;
    static const char *const broken[] = { "", "{", "[]", "{\"kind\":\"nokind\"}", "{\"kind\":\"a/b\",\"devices\":{}}",
                                          "{\"kind\":\"a/b\",\"devices\":[{}]}", "{\"kind\":\"a/b\",\"devices\":[7]}",
                                          "{\"kind\":\"v.com/gpu\",\"devices\":[{\"name\":\"a\"}]}" /* twice */ };
    struct cb_cdi c cb_cleanup_cdi;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    for (size_t i = 0; i < CB_COUNTOF(broken); i++) {
        put("low/broken.json", broken[i]);
        assert_int_equal(find(&c, "v.com/gpu=a", &err), -CB_ECONF);
        assert_non_null(strstr(cb_error_text(&err), "broken.json"));
        cb_cdi_done(&c);
    }
    gone("low/broken.json");
    put("low/.hidden.json", "{");
    put("low/readme.txt", "{");
    put("high/n.yaml", "kind: n.com/x\n");
    env_is("v.com/gpu=b", "B=high ");
    assert_int_equal(find(&c, "n.com/x=1", &err), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&err), "n.yaml"));
    gone("high/n.yaml");
    assert_int_equal(find(&c, "n.com/x=1", &err), -CB_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits), cmocka_unit_test(names), cmocka_unit_test(refused), cmocka_unit_test(files),
    };
    return cmocka_run_group_tests_name("exec cdi", tests, set_up, tear_down);
}
