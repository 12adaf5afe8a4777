/* SPDX-License-Identifier: Apache-2.0 */
/* How a new store comes to be: what a power cut may leave of it. The calls that decide that are watched. */
#include "store_fixture.h"

#include <sys/syscall.h>
#include <unistd.h>

enum what { SYNC, NAME };
static struct event {
    enum what what;
    ino_t inode;
    char name[64];
} events[256];
static size_t n_events;

static void note(enum what what, ino_t inode, const char *name)
{
    assert_in_range(n_events, 0, sizeof events / sizeof *events - 1);
    struct event *e = &events[n_events++];
    e->what = what;
    e->inode = inode;
    snprintf(e->name, sizeof e->name, "%s", name);
}

static int synced(int fd, long call)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    note(SYNC, st.st_ino, "");
    return (int)syscall(call, fd);
}

/* These stand in for the library's. */
int fdatasync(int fd)
{
    return synced(fd, SYS_fdatasync);
}

int fsync(int fd)
{
    return synced(fd, SYS_fsync);
}

int renameat(int from, const char *old, int to, const char *new)
{
    struct stat st;
    if (fstatat(from, old, &st, AT_SYMLINK_NOFOLLOW) == 0)
        note(NAME, st.st_ino, new);
    return (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

static size_t named(const char *name)
{
    for (size_t i = 0; i < n_events; i++)
        if (events[i].what == NAME && strcmp(events[i].name, name) == 0)
            return i;
    fail_msg("%s got no name", name);
    return 0;
}

static bool synced_between(ino_t inode, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (events[i].what == SYNC && events[i].inode == inode)
            return true;
    return false;
}

static ino_t inode_of(struct fixture *f, const char *path)
{
    struct stat st;
    cb_autofree char *p = cb_asprintf("%s/%s", f->root, path);
    assert_int_equal(stat(p, &st), 0);
    return st.st_ino;
}

static int setup_watched(void **state)
{
    n_events = 0;
    return setup(state);
}

static void named_when_on_the_disk(void **state)
{
    static const char *const files[] = { "oci-layout", "index.json", "version" };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t at = named(files[i]);
        assert_true(synced_between(events[at].inode, 0, at));
        assert_true(at <= named("version"));
    }
    size_t last = named("version"), before = named("index.json");
    assert_true(synced_between(inode_of(f, "."), CB_MAX(before, named("oci-layout")), last));
    assert_true(synced_between(inode_of(f, "blobs"), 0, last));
}

/* Each may wait for the journal. Three for bytes, two for names. */
static void few_syncs(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; i < n_events; i++)
        n += events[i].what == SYNC;
    /* and one for the directory that the store is in */
    assert_in_range(n, 5, 6);
}

static void put(struct fixture *f, const char *path, const char *text)
{
    cb_autofree char *p = cb_asprintf("%s/%s", f->root, path);
    int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* A cut before the last name was on the disk, with names of images already there; and half a file of before. */
static void made_again_without_a_version(void **state)
{
    struct fixture *f = *state;
    struct cb_layer l = { 0 };
    struct cb_descriptor d = simple_image(f, "text", &l);
    struct cb_store_names names CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_set(f->s, "docker.io/library/n:1", &d, &f->err));
    cb_autofree char *version = cb_asprintf("%s/version", f->root);
    assert_int_equal(unlink(version), 0);
    put(f, "tmp/init.version", "half of something longer");
    reopen(f);
    ok(cb_store_name_list(f->s, &names, &f->err));
    assert_int_equal(names.n, 1);
    assert_int_equal(access(version, F_OK), 0);
    reopen(f);
    cb_layer_done(&l);
    cb_descriptor_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(named_when_on_the_disk, setup_watched, teardown),
        cmocka_unit_test_setup_teardown(few_syncs, setup_watched, teardown),
        cmocka_unit_test_setup_teardown(made_again_without_a_version, setup_watched, teardown),
    };
    return cmocka_run_group_tests_name("store layout", tests, NULL, NULL);
}
