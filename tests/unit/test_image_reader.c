/* SPDX-License-Identifier: Apache-2.0 */
/* Readers whose work is done in a process that is shut in (rule R3): they give what reading here gives, and what has
 * taken such a process over can do nothing but lie, which is not believed. The hooks are what it would run. */
#include "store_fixture.h"
#include "layer_support.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "image/helper.h"
#include "util/confine.h"

static int start(void **state, const char *(*hook)(int root))
{
    if (setup(state) < 0)
        return -1;
    cb_helpers_start(&(struct cb_helper_options){ .hook = hook });
    return cb_helper_is_there() && cb_layer_elsewhere() ? 0 : -1;
}

static int with_none(void **state)
{
    return start(state, NULL);
}

static int stop(void **state)
{
    cb_helpers_stop();
    return cb_layer_elsewhere() ? -1 : teardown(state);
}

/* Every kind of entry, files of all sizes that meet the ends of records and of the memory. */
static void fill(struct cb_strbuf *t)
{
    static const size_t sizes[] = { 0, 1, 511, 512, 65535, 65536, 65537, 131072, 1048575, 1048576, 3000001 };
    struct cb_strbuf data cb_cleanup_strbuf = CB_STRBUF_INIT;
    uint64_t seed = 1;
    sup_head(t, &(struct sup_header){ .name = "d", .type = '5', .mode = 0750, .uid = 7, .gid = 8, .mtime = 99 });
    for (size_t i = 0; i < CB_COUNTOF(sizes); i++) {
        cb_autofree char *name = cb_asprintf("d/f%zu", i);
        while (data.len < sizes[i]) {
            uint64_t v = sup_random(&seed);
            cb_strbuf_add(&data, &v, sizeof v);
        }
        sup_head(t, &(struct sup_header){ .name = name, .type = '0', .size = sizes[i] });
        sup_body(t, data.buf, sizes[i]);
    }
    sup_pax(t, "SCHILY.xattr.user.note", "of a file");
    sup_file(t, "d/noted", "text");
    sup_add(t, '1', "d/hard", "d/noted");
    sup_add(t, '2', "d/soft", "../../anywhere");
    sup_add(t, '6', "d/pipe", "");
    sup_head(t, &(struct sup_header){ .name = "d/null", .type = '3', .major = 1, .minor = 3 });
    sup_file(t, "etc/passwd", "root:x:0:0::/:/bin/sh\n");
    sup_file(t, "d/.wh.gone", "");
    sup_file(t, "d/.wh..wh..opq", "");
    for (int i = 0; i < 5000; i++) {
        cb_autofree char *name = cb_asprintf("many/%d", i);
        sup_file(t, name, name);
    }
    sup_end(t);
}

/* All that a reader says, as text; every: how many files are read, the others passed over. */
static void tell(struct fixture *f, const struct cb_strbuf *t, unsigned every, struct cb_strbuf *out)
{
    struct cb_layer_read_options o = { .source = sup_source(t->buf, t->len, 70001) };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(&o, &f->err);
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    cb_autofree char *buf = cb_malloc(100000);
    const struct cb_entry *e;
    struct cb_digest d;
    uint64_t size;
    unsigned n = 0;
    assert_non_null(r);
    for (;;) {
        ok(cb_layer_reader_next(r, &e, &f->err));
        if (!e)
            break;
        cb_entry_print(out, e);
        for (size_t got = n++ % every == 0; got;) {
            ok(cb_layer_reader_read(r, buf, 1 + n % 100000, &got, &f->err));
            cb_strbuf_add(out, buf, got);
        }
    }
    ok(cb_layer_reader_finish(r, NULL, &d, &size, &toc, &f->err));
    cb_toc_print(out, toc);
    cb_strbuf_addf(out, " %llu ", (unsigned long long)size);
    cb_strbuf_add(out, d.raw, 32);
}

static void the_same_comes_of_it(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_layer_elsewhere *elsewhere = cb_layer_elsewhere();
    fill(&t);
    for (unsigned every = 1; every < 4; every++) {
        struct cb_strbuf here cb_cleanup_strbuf = CB_STRBUF_INIT, apart cb_cleanup_strbuf = CB_STRBUF_INIT;
        tell(f, &t, every, &apart);
        cb_layer_read_elsewhere(NULL);
        tell(f, &t, every, &here);
        cb_layer_read_elsewhere(elsewhere);
        assert_int_equal(apart.len, here.len);
        assert_memory_equal(apart.buf, here.buf, here.len);
    }
}

/* Entries that nobody takes do not stop it, and one that is dropped in the middle is gone. */
static void the_table_alone_and_half_a_layer(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest want, d, other = { .alg = CB_DIGEST_SHA256 };
    const struct cb_entry *e;
    fill(&t);
    cb_digest_of(&want, t.buf, t.len);
    for (int begun = 0; begun < 2; begun++) {
        struct cb_layer_read_options o = { .source = sup_source(t.buf, t.len, 4096) };
        CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(&o, &f->err);
        CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
        if (begun)
            ok(cb_layer_reader_next(r, &e, &f->err));
        ok(cb_layer_reader_finish(r, &want, &d, NULL, &toc, &f->err));
        assert_true(cb_digest_eq(&d, &want));
        assert_non_null(cb_toc_find(toc, "etc/passwd")->inline_data);
    }
    struct cb_layer_read_options o = { .source = sup_source(t.buf, t.len, 4096) };
    struct cb_layer_reader *r = cb_layer_reader_new(&o, &f->err);
    ok(cb_layer_reader_next(r, &e, &f->err));
    cb_layer_reader_free(r);
    o.source = sup_source(t.buf, t.len, 4096);
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *wrong = cb_layer_reader_new(&o, &f->err);
    fails(cb_layer_reader_finish(wrong, &other, NULL, NULL, NULL, &f->err), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), "as promised"));
}

static int read_all(struct fixture *f, struct cb_layer_read_options *o, size_t *entries)
{
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_entry *e = NULL;
    int k;
    *entries = 0;
    sup_file(&t, "first", "hello");
    sup_file(&t, "second", "hello");
    sup_head(&t, &(struct sup_header){ .name = "third", .type = '0', .bad_sum = 1 });
    sup_end(&t);
    o->source = sup_source(t.buf, t.len, 700);
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(o, &f->err);
    while ((k = cb_layer_reader_next(r, &e, &f->err)) == 0 && e)
        ++*entries;
    return k < 0 ? k : cb_layer_reader_finish(r, NULL, NULL, NULL, NULL, &f->err);
}

/* Where the damage is, and not before; and it is told as reading here tells it. */
static void damage_is_told_where_it_is(void **state)
{
    struct fixture *f = *state;
    const struct cb_layer_elsewhere *elsewhere = cb_layer_elsewhere();
    struct cb_layer_read_options o = { 0 };
    size_t apart, here;
    fails(read_all(f, &o, &apart), CB_EVERIFY);
    cb_autofree char *text = cb_strdup(cb_error_text(&f->err));
    cb_layer_read_elsewhere(NULL);
    fails(read_all(f, &o, &here), CB_EVERIFY);
    cb_layer_read_elsewhere(elsewhere);
    assert_string_equal(text, cb_error_text(&f->err));
    assert_int_equal(apart, here);
}

/* ---- what it can do ---- */

static const char *tries(CB_UNUSED int root)
{
    char *argv[] = { (char *)(uintptr_t)"true", NULL };
    int writable = 0, n = 0;
    if (open("/etc/passwd", O_RDONLY) >= 0 || open("/dev/null", O_RDWR) >= 0 || open(".", O_PATH) >= 0)
        return "a file was opened";
    if (open("escaped", O_WRONLY | O_CREAT, 0600) >= 0 || mkdir("escaped", 0700) == 0)
        return "a file was made";
    execve("/bin/true", argv, environ);
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0 || kill(getppid(), 0) == 0)
        return "there is more than it needs";
    for (int fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        n++;
        writable += mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
    }
    /* Standard ones, the socket, two memories, four eventfds. */
    if (writable != 1 || n > 10)
        return "there are descriptors that it was not given";
    for (char **e = environ; *e; e++)
        if (**e)
            return "the environment is there";
    return "all was refused";
}

static int with_tries(void **state)
{
    return start(state, tries);
}

static void it_can_do_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct cb_layer_read_options o = { 0 };
    size_t entries;
    unsigned held = 0;
    cb_autoclose int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok(cb_helpers_try(dir, &held, &f->err));
    if (!(held & CB_CONFINE_CALLS))
        skip();
    fails(read_all(f, &o, &entries), CB_EVERIFY);
    assert_string_equal(cb_error_text(&f->err), "all was refused");
}

/* ---- its end ---- */

static const char *crashes(CB_UNUSED int root)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return NULL;
}

static int with_crash(void **state)
{
    return start(state, crashes);
}

static void make_file(const char *path, const char *command)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void a_crash_is_told(void **state)
{
    struct fixture *f = *state;
    struct cb_layer_read_options o = { 0 };
    size_t entries;
    fails(read_all(f, &o, &entries), CB_EVERIFY);
    assert_int_equal(cb_error_exit_code(&f->err), 7);
    assert_non_null(strstr(cb_error_text(&f->err), "crashed (Segmentation fault)"));
    o.source = sup_source("", 0, 1);
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(&o, &f->err);
    fails(cb_layer_reader_finish(r, NULL, NULL, NULL, NULL, &f->err), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), "crashed"));

    /* Nor is what it crashed of no archive. */
    cb_autofree char *path = cb_asprintf("%s/case", f->dir);
    make_file(path, "tar -cf - -C /etc passwd | gzip >\"$1\"");
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    fails(cb_layer_is_archive(fd, &f->err), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), "crashed"));
}

static const char *sleeps(CB_UNUSED int root)
{
    for (int i = 0; i < 3600; i++)
        nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    return "nobody has killed it";
}

static int with_sleep(void **state)
{
    return start(state, sleeps);
}

static void *cancel_soon(void *arg)
{
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    cb_cancel_trigger(arg, 0);
    return NULL;
}

static void what_hangs_is_killed(void **state)
{
    struct fixture *f = *state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    struct cb_layer_read_options o = { .cancel = c };
    size_t entries;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, cancel_soon, c), 0);
    fails(read_all(f, &o, &entries), CB_ECANCELED);
    pthread_join(t, NULL);
}

/* ---- lies ---- */

static struct {
    struct cb_strbuf bytes;      /* into the memory */
    uint64_t told;               /* so many are said to be there */
    struct cb_helper_head head;  /* and then this is said, where it has a type */
} lie;

/* It knows no numbers: the memory can be mapped, sockets are known by their errors, and the eventfds are in order. */
static const char *lies(CB_UNUSED int root)
{
    int events = 0, event = -1, sock = -1;
    for (int fd = STDERR_FILENO + 1; fd < 64; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        char *p = mmap(NULL, CB_HELPER_RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED && lie.bytes.len == 0)
            continue;
        if (p != MAP_FAILED)
            memcpy(p, lie.bytes.buf, lie.bytes.len);
        else if (recv(fd, NULL, 0, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != ENOTSOCK)
            sock = fd;
        else if (mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && ++events == 3)
            event = fd;
    }
    if (event < 0 || sock < 0)
        return "it cannot lie";
    (void)!write(event, &lie.told, sizeof lie.told);
    if (lie.head.type)
        (void)!cb_helper_send(sock, &lie.head, NULL, -1);
    return "it was believed";
}

static void record(uint32_t type, size_t n)
{
    struct cb_helper_record r = { type, (uint32_t)n };
    cb_strbuf_add(&lie.bytes, &r, sizeof r);
}

static void entry(const struct cb_entry *e)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_entry_print(&text, e);
    record(CB_HELPER_ENTRY, text.len);
    cb_strbuf_add(&lie.bytes, text.buf, text.len);
}

/* said: bytes more than there are. */
static void check_lie(uint64_t said, uint32_t message, const char *what)
{
    void *state = NULL;
    struct cb_layer_read_options o = { .max_size = 1000 };
    size_t entries;
    lie.told = lie.bytes.len + said;
    lie.head = (struct cb_helper_head){ .type = message };
    assert_int_equal(start(&state, lies), 0);
    struct fixture *f = state;
    fails(read_all(f, &o, &entries), CB_EVERIFY);
    if (!strstr(cb_error_text(&f->err), "answers nonsense"))
        fail_msg("%s: %s", what, cb_error_text(&f->err));
    assert_int_equal(stop(&state), 0);
    cb_strbuf_reset(&lie.bytes);
}

static void check_entry(const struct cb_entry *e, const char *what)
{
    entry(e);
    check_lie(0, 0, what);
}

static void lies_are_not_believed(CB_UNUSED void **state)
{
    const struct cb_entry file = { .path = "f", .type = CB_ENTRY_FILE, .size = 10 };
    check_lie(UINT64_MAX - 1, 0, "more bytes than there is memory");
    check_lie(CB_HELPER_RING + 1, 0, "a byte more than there is memory");
    record(3, 8);
    check_lie(0, 0, "a record of no type");
    record(CB_HELPER_ENTRY, 0);
    check_lie(0, 0, "an empty record");
    record(CB_HELPER_ENTRY, CB_MAX_ENTRY_TEXT + 1);
    check_lie(0, 0, "an entry that is too long");
    record(CB_HELPER_ENTRY, 20);
    cb_strbuf_adds(&lie.bytes, "what is no entry at ");
    check_lie(0, 0, "no entry");
    record(CB_HELPER_DATA, 8);
    check_lie(8, 0, "data of no file");
    check_entry(&(struct cb_entry){ .path = "../f", .type = CB_ENTRY_DIR }, "a path that leads out");
    check_entry(&(struct cb_entry){ .path = "/f", .type = CB_ENTRY_DIR }, "an absolute path");
    check_entry(&(struct cb_entry){ .path = "", .type = CB_ENTRY_DIR }, "no path");
    check_entry(&(struct cb_entry){ .path = "f", .type = CB_ENTRY_DIR, .mode = S_IFDIR | 0755 }, "a mode with type");
    check_entry(&(struct cb_entry){ .path = "f", .type = CB_ENTRY_HARDLINK, .link = "../f" }, "a link that leads out");
    check_entry(&(struct cb_entry){ .path = "f", .type = CB_ENTRY_FILE, .size = 1001 }, "more than the budget");
    entry(&file);
    record(CB_HELPER_DATA, 11);
    check_lie(11, 0, "more bytes than the file has");
    entry(&file);
    entry(&file);
    check_lie(0, 0, "no bytes where a file has some");
    entry(&file);
    record(CB_HELPER_DATA, 5);
    check_lie(5, CB_HELPER_ENDED, "an end within a file");
    record(CB_HELPER_ENTRY, 100);
    check_lie(0, CB_HELPER_ENDED, "an end within an entry");
    check_lie(0, CB_HELPER_DONE, "a result that nobody has asked for");
    check_lie(0, CB_HELPER_VERDICT, "an answer to another question");
    check_lie(0, CB_HELPER_LOWER_FILE, "a question about what is below");
    check_lie(0, 4711, "a message of no type");
    cb_strbuf_done(&lie.bytes);
}

/* ---- what is an archive ---- */

static void archives_are_told_from_files(void **state)
{
    struct fixture *f = *state;
    static const struct { const char *command; bool is_one; } cases[] = {
        { "tar -cf \"$1\" -C /etc passwd", true },
        { "tar -cf - -C /etc passwd | gzip >\"$1\"", true },
        { "tar -cf - -C /etc passwd | bzip2 >\"$1\"", true },
        { "tar -cf - -C /etc passwd | xz >\"$1\"", true },
        { "tar -cf - -C /etc passwd | zstd -q >\"$1\"", true },
        { "echo text >\"$1\"", false },
        { "head -c 1000 /dev/zero | gzip >\"$1\"", false },
        { "printf '\\037\\213damaged' >\"$1\"", false },
        { ": >\"$1\"", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_autofree char *path = cb_asprintf("%s/case", f->dir);
        make_file(path, cases[i].command);
        cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        if (cb_layer_is_archive(fd, &f->err) != cases[i].is_one)
            fail_msg("%s", cases[i].command);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_comes_of_it, with_none, stop),
        cmocka_unit_test_setup_teardown(the_table_alone_and_half_a_layer, with_none, stop),
        cmocka_unit_test_setup_teardown(damage_is_told_where_it_is, with_none, stop),
        cmocka_unit_test_setup_teardown(it_can_do_nothing_else, with_tries, stop),
        cmocka_unit_test_setup_teardown(a_crash_is_told, with_crash, stop),
        cmocka_unit_test_setup_teardown(what_hangs_is_killed, with_sleep, stop),
        cmocka_unit_test(lies_are_not_believed),
        cmocka_unit_test_setup_teardown(archives_are_told_from_files, with_none, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
