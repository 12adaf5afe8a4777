/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"

#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"
#define EMPTY_INDEX "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[]}"

/* What may stand in a directory that becomes, or is just becoming, a store. */
static const char *const own_names[] = { "oci-layout",
                                         "index.json",
                                         "version",
                                         "blobs",
                                         "toc",
                                         "trees",
                                         "cache",
                                         "mounts",
                                         "stats",
                                         "leases",
                                         "tmp",
                                         "trash",
                                         "lock",
                                         "index.lock",
                                         "index.sqlite",
                                         "index.sqlite-wal",
                                         "index.sqlite-shm",
                                         "index.sqlite.bak",
                                         "lost+found",
                                         NULL };
static const char *const own_dirs[] = { "blobs", "blobs/sha256", "toc", "toc/sha256", "trees",
                                        "cache", "leases",       "tmp", "trash",      NULL };

static char *default_root(bool as_root, struct cb_error *err)
{
    const char *env = getenv("CBPUSH_ROOT");
    if (env && *env)
        return cb_strdup(env);
    if (as_root)
        return cb_strdup("/var/lib/cbpush");
    env = getenv("XDG_DATA_HOME");
    if (env && *env == '/')
        return cb_asprintf("%s/cbpush", env);
    env = getenv("HOME");
    if (env && *env == '/')
        return cb_asprintf("%s/.local/share/cbpush", env[1] ? env : "");
    cb_error_set(err, CB_EUSAGE, "no place for the store: neither XDG_DATA_HOME nor HOME is an absolute path "
                                 "(--root DIR or CBPUSH_ROOT names one)");
    cb_error_note_errno(err, ENOENT);
    return NULL;
}

static char *absolute(char *path /* taken */, struct cb_error *err)
{
    cb_autofree char *p = path;
    if (*p == '/')
        return CB_TAKE(p);
    cb_autofree char *cwd = getcwd(NULL, 0);
    if (!cwd) {
        cb_error_sys(err, CB_ELOCAL, errno, "current directory");
        return NULL;
    }
    return cb_asprintf("%s/%s", cwd, p);
}

static int check_name(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    const struct cb_store *s = arg;
    for (size_t i = 0; own_names[i]; i++)
        if (strcmp(own_names[i], name) == 0)
            return 0;
    return cb_error_set(err, CB_EUSAGE, "%s is no store of cbpush and not empty (it has \"%s\")", s->root, name);
}

/* The directory of a volume (Kubernetes' emptyDir, or one with fsGroup) belongs to root and is open to others, who
 * could put something else in the place of what is in it. */
static int not_ours(const struct cb_store *s, struct cb_error *err)
{
    int e = errno;
    (void)cb_error_sys(err, CB_ELOCAL, e, "%s is open to others and cannot be closed", s->root);
    if (e == EPERM && err)
        cb_error_append(err, ", for it belongs to another user: name a directory below it, %s/cbpush", s->root);
    return -CB_ELOCAL;
}

/* 1: there, *version read; 0: no such file. */
static int read_version(struct cb_store *s, uint64_t *version, struct cb_error *err)
{
    cb_autoclose int fd = openat(s->root_fd, "version", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/version", s->root);
    char buf[32];
    size_t n = 0;
    int r = cb_fd_read_full(fd, buf, sizeof buf - 1, &n, err);
    if (r < 0)
        return r;
    buf[n] = '\0';
    if (n > 0 && buf[n - 1] == '\n')
        buf[n - 1] = '\0';
    if (!cb_parse_u64(buf, UINT32_MAX, version))
        return cb_error_set(err, CB_EVERIFY, "%s/version is damaged", s->root);
    return 1;
}

/* ---- a new one. Each sync may cost a commit of the journal, and a cold build waits for them: so all bytes are on
 * their way before the first of them is waited for, and who has no version is not there yet ---- */

struct layout_file {
    const char *name, *text;
    int fd; /* -1: it is there */
};

static void tmp_name(const struct layout_file *f, char name[static 64])
{
    snprintf(name, 64, "tmp/init.%s", f->name);
}

/* By way of tmp/, so that a kill leaves nothing in the root. Only called with the lock held. */
static int write_file(struct cb_store *s, struct layout_file *f, struct cb_error *err)
{
    char tmp[64];
    struct stat st;
    if (fstatat(s->root_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    tmp_name(f, tmp);
    f->fd = openat(s->root_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/%s", s->root, tmp);
    int r = cb_fd_write_all(f->fd, f->text, strlen(f->text), err);
    /* Only begun: whether it arrives cb_fd_sync says. */
    (void)!sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return r;
}

static int sync_file(const struct layout_file *f, struct cb_error *err)
{
    return f->fd < 0 ? 0 : cb_fd_sync(f->fd, err);
}

static int name_file(struct cb_store *s, const struct layout_file *f, struct cb_error *err)
{
    char tmp[64];
    tmp_name(f, tmp);
    if (f->fd >= 0 && renameat(s->root_fd, tmp, s->root_fd, f->name) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "rename %s/%s", s->root, tmp);
    return 0;
}

/* The last one is what makes it a store: whoever does not see it after a power cut does all this again. */
static int put_files(struct cb_store *s, struct layout_file *v, size_t n, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = write_file(s, &v[i], err);
    for (size_t i = 0; i < n && r == 0; i++)
        r = sync_file(&v[i], err);
    for (size_t i = 0; i + 1 < n && r == 0; i++)
        r = name_file(s, &v[i], err);
    if (r == 0)
        r = cb_store_sync_parent(s, "blobs/sha256", err);
    if (r == 0)
        r = cb_fs_sync_dir(s->root_fd, err);
    return r < 0 ? r : name_file(s, &v[n - 1], err);
}

static int make_layout(struct cb_store *s, struct cb_error *err)
{
    char version[16];
    struct layout_file files[] = { { "oci-layout", LAYOUT_FILE, -1 }, { "index.json", EMPTY_INDEX, -1 },
                                   { "version", version, -1 } };
    if (fchmod(s->root_fd, 0700) < 0)
        return not_ours(s, err);
    for (size_t i = 0; own_dirs[i]; i++)
        if (mkdirat(s->root_fd, own_dirs[i], 0700) < 0 && errno != EEXIST)
            return cb_error_sys(err, CB_ELOCAL, errno, "create %s/%s", s->root, own_dirs[i]);
    snprintf(version, sizeof version, "%d\n", CB_STORE_VERSION);
    int r = put_files(s, files, CB_COUNTOF(files), err);
    for (size_t i = 0; i < CB_COUNTOF(files); i++)
        cb_close_p(&files[i].fd);
    return r;
}

static int create_layout(struct cb_store *s, struct cb_error *err)
{
    /* Nothing, not even a lock file, is put into a directory that is somebody else's. */
    int r = cb_store_each(s, ".", check_name, s, err);
    if (r < 0)
        return r;
    cb_autoclose int lock = -1;
    if ((r = cb_store_lock(s, true, &lock, err)) < 0)
        return r;
    return make_layout(s, err);
}

static int check_layout(struct cb_store *s, struct cb_error *err)
{
    uint64_t version = 0;
    int r = read_version(s, &version, err);
    if (r == 0 && (r = create_layout(s, err)) == 0)
        r = read_version(s, &version, err);
    if (r < 0)
        return r;
    if (version != CB_STORE_VERSION)
        return cb_error_set(err, CB_ELOCAL, "the store %s has format %llu, this cbpush knows format %d", s->root,
                            (unsigned long long)version, CB_STORE_VERSION);
    return 0;
}

static int open_root(struct cb_store *s, struct cb_error *err)
{
    s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root_fd < 0 && errno == ENOENT) {
        int r = cb_fs_mkdirs(s->root, 0700, err);
        if (r < 0)
            return r;
        s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (s->root_fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", s->root);
    cb_error_watch_room(s->root_fd);
    struct stat st;
    if (fstat(s->root_fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat %s", s->root);
    /* A8: set-user-id programs of images lie below. */
    if ((st.st_mode & 077) != 0 && fstatat(s->root_fd, "version", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        fchmod(s->root_fd, 0700) < 0)
        return not_ours(s, err);
    return 0;
}

static void read_boot_id(struct cb_store *s)
{
    cb_autoclose int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    if (fd < 0 || cb_fd_read_full(fd, s->boot, sizeof s->boot - 1, &n, NULL) < 0)
        n = 0;
    s->boot[n] = '\0';
    s->boot[strcspn(s->boot, "\n")] = '\0';
}

static int check_tree_form(struct cb_store *s, const char *form, struct cb_error *err)
{
    if (!form)
        return 0;
    size_t n = strlen(form);
    if (n >= sizeof s->tree_form || strspn(form, "abcdefghijklmnopqrstuvwxyz0123456789") != n)
        return cb_error_set(err, CB_EINTERNAL, "bad tree form \"%s\"", form);
    memcpy(s->tree_form, form, n + 1);
    return 0;
}

static struct cb_store *store_new(char *root)
{
    struct cb_store *s = CB_NEW(struct cb_store);
    s->root = root;
    s->root_fd = s->lease_fd = s->tmp_fd = s->trash_fd = -1;
    s->passing = (struct cb_passing)CB_PASSING_INIT;
    s->held = cb_hashmap_new();
    pthread_mutex_init(&s->dir_mutex, NULL);
    pthread_mutex_init(&s->hold_mutex, NULL);
    pthread_mutex_init(&s->images_mutex, NULL);
    pthread_mutex_init(&s->db.mutex, NULL);
    cb_publishing_init(&s->publishing);
    return s;
}

static void add_remedy(struct cb_error *err)
{
    int e = err->sys_errno;
    bool no_locks = e == ENOLCK || e == EOPNOTSUPP; /* NFS without its lock daemon, some of FUSE */
    if (no_locks || e == EACCES || e == EROFS)
        cb_error_append(err, " (%s--root DIR or CBPUSH_ROOT names another place for it)",
                        no_locks ? "the file system has no flock(2): " : "");
}

static int check_trees(struct cb_error *err)
{
    const char *wish = getenv("CBPUSH_TREES");
    if (!wish || !*wish || !strcmp(wish, "directories") || !strcmp(wish, "images"))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "CBPUSH_TREES=%s: directories or images", wish);
}

int cb_store_open(const struct cb_store_options *o, struct cb_store **out, struct cb_error *err)
{
    int r = check_trees(err);
    if (r < 0)
        return r;
    char *root = o->root ? cb_strdup(o->root) : default_root(o->as_root, err);
    if (root)
        root = absolute(root, err);
    if (!root)
        return o->root ? -CB_ELOCAL : -CB_EUSAGE;
    CB_AUTO(cb_store_close) struct cb_store *s = store_new(root);
    read_boot_id(s);
    s->cancel = o->cancel;
    s->busy = o->busy;
    s->busy_arg = o->busy_arg;
    s->images_of_all = o->images == CB_STORE_IMAGES_ALL;
    if (!o->images || o->tree_form) {
        s->images = CB_IMAGES_NO;
        s->images_why = cb_strdup("they need root of this machine");
    }
    if ((r = check_tree_form(s, o->tree_form, err)) < 0 || (r = open_root(s, err)) < 0 ||
        (r = check_layout(s, err)) < 0 || (r = cb_lease_take(s, err)) < 0 || (r = cb_lease_clean(s, err)) < 0) {
        cb_error_wrap(err, "open the store");
        if (err)
            add_remedy(err);
        return r;
    }
    *out = CB_TAKE(s);
    return 0;
}

int cb_store_peek(const struct cb_store_options *o, struct cb_store_names *out, struct cb_error *err)
{
    cb_autofree char *root = o->root ? cb_strdup(o->root) : default_root(o->as_root, err);
    if (!root)
        return -CB_EUSAGE;
    cb_autoclose int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", root);
    struct cb_store s = { .root = root, .root_fd = fd };
    return cb_store_name_list(&s, out, err);
}

void cb_store_close(struct cb_store *s)
{
    if (!s)
        return;
    cb_publishing_done(&s->publishing);
    cb_db_close(s);
    cb_lease_drop(s);
    cb_error_forget_room(s->root_fd);
    cb_close_p(&s->root_fd);
    cb_hashmap_free(s->held);
    pthread_mutex_destroy(&s->dir_mutex);
    pthread_mutex_destroy(&s->hold_mutex);
    cb_store_drop_mounts(s);
    pthread_mutex_destroy(&s->images_mutex);
    free(s->images_why);
    pthread_mutex_destroy(&s->db.mutex);
    cb_passing_done(&s->passing);
    free(s->root);
    free(s);
}

const char *cb_store_root(const struct cb_store *s)
{
    return s->root;
}

int cb_store_root_fd(const struct cb_store *s)
{
    return s->root_fd;
}
