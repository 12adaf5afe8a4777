/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of other architectures: those that are tried, and the table of interpreters. */
#include "exec_fixture.h"

#include <elf.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "exec/binfmt.h"
#include "exec/foreign.h"
#include "oci/platform.h"

/* Each program is an ELF file of its machine that loads whole, with its entry right behind the headers. */
static void programs_are_of_their_machine(void **state)
{
    (void)state;
    static const struct { const char *arch; unsigned machine; bool wide, big; } t[] = {
        { "amd64", EM_X86_64, true, false },   { "386", EM_386, false, false },   { "arm64", EM_AARCH64, true, false },
        { "arm", EM_ARM, false, false },       { "s390x", EM_S390, true, true },  { "ppc64le", EM_PPC64, true, false },
        { "riscv64", EM_RISCV, true, false },  { "loong64", 258, true, false },   { "mips64le", EM_MIPS, true, false },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT;
        assert_true(cb_foreign_program(t[i].arch, &p));
        const unsigned char *b = (const unsigned char *)p.buf;
        assert_memory_equal(b, ELFMAG, SELFMAG);
        assert_int_equal(b[EI_CLASS], t[i].wide ? ELFCLASS64 : ELFCLASS32);
        assert_int_equal(t[i].big ? b[18] << 8 | b[19] : b[19] << 8 | b[18], t[i].machine);
        assert_int_equal(p.len, t[i].wide ? sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 16
                                          : sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr) + 16);
    }
    struct cb_strbuf none cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_false(cb_foreign_program("nosuch", &none));
    assert_int_equal(none.len, 0);
}

/* That of this machine ends with status 0 when it is really run. */
static void our_own_program_runs(void **state)
{
    (void)state;
    struct utsname u;
    struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(uname(&u), 0);
    const char *arch = strcmp(u.machine, "x86_64") ? strcmp(u.machine, "aarch64") ? u.machine : "arm64" : "amd64";
    if (!cb_foreign_program(arch, &p))
        skip();
    char name[] = "/tmp/cbpush-program-XXXXXX";
    int fd = mkstemp(name), status = 1;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p.buf, p.len), p.len);
    assert_int_equal(fchmod(fd, 0755), 0);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) {
        execl(name, name, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    unlink(name);
}

static void probes_platforms(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_foreign f = { 0 };
    cb_platform_host(&host);
    assert_int_equal(cb_exec_probe_foreign(fx.base, host.arch, &f, NULL), 0);
    assert_int_equal(f.state, CB_FOREIGN_RUNS);
    assert_null(f.detail);
    cb_foreign_done(&f);
    assert_int_equal(cb_exec_probe_foreign(fx.base, "nosuch", &f, NULL), 0);
    assert_int_equal(f.state, CB_FOREIGN_NOT);
    assert_non_null(f.detail);
    cb_foreign_done(&f);
}

/* ---- the table of binfmt_misc ---- */

static void table_entry(int dirfd, const char *name, const char *text)
{
    assert_int_equal(cb_fs_write_file(dirfd, name, text, strlen(text), 0644, NULL), 0);
}

static void finds_interpreters(void **state)
{
    (void)state;
    char dir[] = "/tmp/cbpush-binfmt-XXXXXX";
    struct cb_strbuf arm64 cb_cleanup_strbuf = CB_STRBUF_INIT, s390x cb_cleanup_strbuf = CB_STRBUF_INIT,
                     riscv cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_binfmt b = { 0 };
    assert_non_null(mkdtemp(dir));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cb_foreign_program("arm64", &arm64);
    cb_foreign_program("s390x", &s390x);
    cb_foreign_program("riscv64", &riscv);
    assert_false(cb_binfmt_find(fd, arm64.buf, arm64.len, &b));
    table_entry(fd, "status", "enabled\n");
    table_entry(fd, "python3.11", "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n");
    table_entry(fd, "ext", "enabled\ninterpreter /x\nflags: \nextension .x\n");
    table_entry(fd, "far", "enabled\ninterpreter /x\nflags: \noffset 4000\nmagic 00\n");
    table_entry(fd, "odd", "enabled\ninterpreter /x\nflags: \noffset 0\nmagic 7fzz\n");
    table_entry(fd, "short-mask", "enabled\ninterpreter /x\nflags: \noffset 0\nmagic 7f45\nmask ff\n");
    table_entry(fd, "relative", "enabled\ninterpreter x\nflags: \noffset 0\nmagic 7f45\n");
    assert_false(cb_binfmt_find(fd, arm64.buf, arm64.len, &b));
    table_entry(fd, "qemu-aarch64", "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n"
                                    "magic 7f454c460201010000000000000000000200b700\n"
                                    "mask ffffffffffffff00fffffffffffffffffeffffff\n");
    table_entry(fd, "qemu-s390x", "enabled\ninterpreter /usr/bin/qemu-s390x\nflags: \noffset 0\n"
                                  "magic 7f454c4602020100000000000000000000020016\n"
                                  "mask ffffffffffffff00fffffffffffffffffffeffff\n");
    table_entry(fd, "qemu-riscv64", "disabled\ninterpreter /r\nflags: F\noffset 0\n"
                                    "magic 7f454c460201010000000000000000000200f300\n");
    assert_true(cb_binfmt_find(fd, arm64.buf, arm64.len, &b));
    assert_string_equal(b.name, "qemu-aarch64");
    assert_string_equal(b.interpreter, "/usr/bin/qemu-aarch64-static");
    assert_true(b.fixed);
    cb_binfmt_done(&b);
    assert_true(cb_binfmt_find(fd, s390x.buf, s390x.len, &b));
    assert_string_equal(b.interpreter, "/usr/bin/qemu-s390x");
    assert_false(b.fixed);
    cb_binfmt_done(&b);
    assert_false(cb_binfmt_find(fd, riscv.buf, riscv.len, &b));
    close(fd);
    cb_autoclose int parent = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(cb_fs_remove_tree(parent, dir + strlen("/tmp/"), NULL), 0);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_are_of_their_machine),
        cmocka_unit_test(our_own_program_runs),
        cmocka_unit_test(probes_platforms),
        cmocka_unit_test(finds_interpreters),
    };
    return cmocka_run_group_tests_name("exec foreign", tests, NULL, NULL);
}

int main(void)
{
    return run_groups(group);
}
