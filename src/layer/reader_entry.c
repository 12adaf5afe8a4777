/* SPDX-License-Identifier: Apache-2.0 */
/* One header of a foreign tar to one checked entry: rules A1, A3, A5, A6, A7, A9, R4. */
#include "layer/reader_priv.h"
#include "layer/toc_priv.h"
#include "util/path.h"

#define MAX_ID (UINT32_MAX - 1)
#define MAX_TIME ((int64_t)1 << 37) /* some 4000 years, both ways */

/* ---- names ---- */

static size_t depth(const char *path)
{
    size_t n = 1;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static int normalize(struct cb_strbuf *out, const char *name, size_t len, struct cb_error *err)
{
    cb_strbuf_reset(out);
    if (!cb_path_normalize(out, name, len))
        return cb_error_set(err, CB_EVERIFY, "name leaves the root, is too long or has a NUL");
    if (depth(out->buf) > CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "name is more than %d directories deep", CB_MAX_TREE_DEPTH);
    return 0;
}

static void go_up(struct cb_strbuf *at)
{
    const char *slash = memrchr(at->buf, '/', at->len);
    cb_strbuf_setlen(at, slash ? (size_t)(slash - at->buf) : 0);
}

static int enter_parent(const struct cb_entry_maker *m, struct cb_strbuf *at, const char **link, struct cb_error *err)
{
    const struct cb_entry *e = cb_toc_builder_find(m->seen, at->buf);
    *link = NULL;
    if (!e || e->type == CB_ENTRY_DIR)
        return 0;
    if (e->type != CB_ENTRY_SYMLINK)
        return cb_error_set(err, CB_EVERIFY, "lies in %s, which is no directory", at->buf);
    *link = e->link;
    return 0;
}

struct walk {
    const struct cb_entry_maker *m;
    struct cb_strbuf *at;    /* where we are */
    struct cb_strbuf todo;   /* what is left from pos on */
    size_t pos;
    unsigned links;
};

static int follow_link(struct walk *w, const char *link, struct cb_error *err)
{
    if (++w->links > CB_MAX_SYMLINKS)
        return cb_error_set(err, CB_EVERIFY, "too many symbolic links at %s", w->at->buf);
    cb_cleanup_strbuf struct cb_strbuf rest = CB_STRBUF_INIT;
    cb_strbuf_adds(&rest, link);
    cb_strbuf_adds(&rest, w->todo.buf + w->pos);
    go_up(w->at);
    if (*link == '/')
        cb_strbuf_reset(w->at);
    cb_strbuf_reset(&w->todo);
    cb_strbuf_add(&w->todo, rest.buf, rest.len);
    w->pos = 0;
    return 0;
}

/* One component; *last tells that it was the name itself, which is not followed. */
static int step(struct walk *w, bool *last, struct cb_error *err)
{
    w->pos += strspn(w->todo.buf + w->pos, "/");
    struct cb_slice name = { w->todo.buf + w->pos, strcspn(w->todo.buf + w->pos, "/") };
    w->pos += name.len;
    *last = !w->todo.buf[w->pos];
    if (cb_slice_eq(name, "..")) {
        go_up(w->at);
        return 0;
    }
    if (!name.len || cb_slice_eq(name, "."))
        return 0;
    if (w->at->len)
        cb_strbuf_addch(w->at, '/');
    cb_strbuf_add(w->at, name.ptr, name.len);
    const char *link = NULL;
    int r = *last ? 0 : enter_parent(w->m, w->at, &link, err);
    return r == 0 && link ? follow_link(w, link, err) : r;
}

/* Where a name really lands: parents that are symbolic links of this very layer are followed inside its root (A2), so
 * that tree and table agree with what unpacking does. name is in normal form, so what is left never ends in "..". */
static int resolve_parents(const struct cb_entry_maker *m, const char *name, struct cb_strbuf *out,
                           struct cb_error *err)
{
    struct walk w = { .m = m, .at = out, .todo = CB_STRBUF_INIT };
    bool last = false;
    int r = 0;
    cb_strbuf_adds(&w.todo, name);
    cb_strbuf_reset(out);
    while (r == 0 && !last)
        r = step(&w, &last, err);
    cb_strbuf_done(&w.todo);
    return r;
}

/* Of an untrusted name to its place. */
static int place(struct cb_entry_maker *m, const char *name, size_t len, struct cb_strbuf *out, struct cb_error *err)
{
    int r = normalize(&m->scratch, name, len, err);
    cb_strbuf_reset(out);
    if (r < 0 || !m->scratch.len)
        return r;
    if ((r = resolve_parents(m, m->scratch.buf, out, err)) < 0)
        return r;
    if (out->len > CB_MAX_PATH || depth(out->buf) > CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "name is too long behind its symbolic links");
    return 0;
}

/* ---- whiteouts ---- */

static bool has_prefix(const char *p, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(p, prefix, n) == 0;
}

/* What the parents say: aufs keeps its own files in .wh..wh. directories; a deletion has nothing in it. */
static int check_parents(const char *name, size_t len, bool *aufs, struct cb_error *err)
{
    *aufs = false;
    for (size_t i = 0, n; i < len; i += n + 1) {
        const char *slash = memchr(name + i, '/', len - i);
        n = slash ? (size_t)(slash - name) - i : len - i;
        if (has_prefix(name + i, n, CB_WHITEOUT_META))
            *aufs = true;
        else if (has_prefix(name + i, n, CB_WHITEOUT_PREFIX))
            return cb_error_set(err, CB_EVERIFY, "lies in a whiteout");
    }
    return 0;
}

/* The directory part is resolved with a stand-in behind it, which is cut off again. */
static int place_opaque(struct cb_entry_maker *m, const char *name, size_t dir, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_strbuf_add(&text, name, dir);
    cb_strbuf_addch(&text, '-');
    int r = place(m, text.buf, text.len, &m->path, err);
    if (r < 0)
        return r;
    go_up(&m->path);
    if (!m->path.len)
        return cb_error_set(err, CB_EVERIFY, "hides the root directory itself");
    return 0;
}

static int place_whiteout(struct cb_entry_maker *m, const char *name, size_t dir, struct cb_slice target,
                          struct cb_error *err)
{
    if (!target.len || cb_slice_eq(target, ".") || cb_slice_eq(target, ".."))
        return cb_error_set(err, CB_EVERIFY, "whiteout of no name");
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_strbuf_add(&text, name, dir);
    cb_strbuf_add(&text, target.ptr, target.len);
    return place(m, text.buf, text.len, &m->path, err);
}

/* Sets type (0 where the name says nothing) and path. */
static int read_name(struct cb_entry_maker *m, const char *name, int *mark, bool *skip, struct cb_error *err)
{
    size_t len = strlen(name);
    *mark = 0;
    if (len > 2 * CB_MAX_PATH)
        return cb_error_set(err, CB_EVERIFY, "name is too long");
    while (len && name[len - 1] == '/')
        len--;
    if (m->raw)
        return place(m, name, len, &m->path, err);
    const char *slash = memrchr(name, '/', len);
    size_t dir = slash ? (size_t)(slash + 1 - name) : 0;
    struct cb_slice base = { name + dir, len - dir };
    int r = check_parents(name, dir, skip, err);
    if (r < 0 || *skip)
        return r;
    if (cb_slice_eq(base, CB_WHITEOUT_OPAQUE)) {
        *mark = CB_ENTRY_OPAQUE;
        return place_opaque(m, name, dir, err);
    }
    if (has_prefix(base.ptr, base.len, CB_WHITEOUT_META)) {
        *skip = true;
        return 0;
    }
    if (!has_prefix(base.ptr, base.len, CB_WHITEOUT_PREFIX))
        return place(m, name, len, &m->path, err);
    *mark = CB_ENTRY_WHITEOUT;
    return place_whiteout(m, name, dir, (struct cb_slice){ base.ptr + 4, base.len - 4 }, err);
}

/* ---- what it is ---- */

static int read_numbers(struct cb_entry *e, struct archive_entry *ae, const struct cb_tar_member *member,
                        struct cb_error *err)
{
    int64_t uid = archive_entry_uid(ae), gid = archive_entry_gid(ae);
    int64_t t = member->has_mtime ? member->mtime : archive_entry_mtime(ae);
    if (uid < 0 || uid > MAX_ID || gid < 0 || gid > MAX_ID)
        return cb_error_set(err, CB_EVERIFY, "owner %lld:%lld is out of range", (long long)uid, (long long)gid);
    if (t < -MAX_TIME || t > MAX_TIME)
        return cb_error_set(err, CB_EVERIFY, "modification time %lld is out of range", (long long)t);
    e->mode = (uint32_t)archive_entry_perm(ae) & 07777;
    e->uid = (uint32_t)uid;
    e->gid = (uint32_t)gid;
    e->mtime = t;
    return 0;
}

static int read_device(struct cb_entry *e, struct archive_entry *ae, struct cb_error *err)
{
    uint64_t major = archive_entry_rdevmajor(ae), minor = archive_entry_rdevminor(ae);
    if (major > CB_MAX_DEV_MAJOR || minor > CB_MAX_DEV_MINOR)
        return cb_error_set(err, CB_EVERIFY, "device number is out of range");
    if (e->type == CB_ENTRY_CHAR && !major && !minor)
        return cb_error_set(err, CB_EVERIFY, "device 0:0, which would be a whiteout to the overlay file system");
    e->dev_major = (uint32_t)major;
    e->dev_minor = (uint32_t)minor;
    return 0;
}

static int read_symlink(struct cb_entry_maker *m, struct archive_entry *ae, struct cb_error *err)
{
    const char *text = archive_entry_symlink(ae);
    if (!text || !*text || strlen(text) > CB_MAX_PATH)
        return cb_error_set(err, CB_EVERIFY, "symbolic link with an empty or too long target");
    m->e.link = text;
    return 0;
}

/* Others remove what is at the path first, and then do not find the target either. */
static int check_target(const struct cb_entry_maker *m, const struct cb_entry *to, struct cb_error *err)
{
    const char *link = m->link.buf, *path = m->e.path;
    if (!m->link.len || cb_streq(link, path))
        return cb_error_set(err, CB_EVERIFY, "hard link to itself or to the root");
    if (cb_path_is_below(link, path, strlen(path)))
        return cb_error_set(err, CB_EVERIFY, "hard link to %s, which it replaces", link);
    if (!to && cb_toc_builder_hides(m->seen, link, false))
        return cb_error_set(err, CB_EVERIFY, "hard link to %s, which this layer has removed before", link);
    if (to ? to->type == CB_ENTRY_DIR : cb_toc_builder_implies(m->seen, link))
        return cb_error_set(err, CB_EVERIFY, "hard link to the directory %s", link);
    return 0;
}

/* The name of a link's file that stays: the first one, while that is still this file. What is in a lower layer always
 * has its name there. */
static const char *name_of_file(const struct cb_entry_maker *m, const struct cb_entry *to)
{
    if (to->type == CB_ENTRY_FILE)
        return m->link.buf;
    const struct cb_entry *first = to->digest.known ? cb_toc_builder_find(m->seen, to->link) : NULL;
    return !to->digest.known || (first && cb_entry_same_file(first, to)) ? to->link : m->link.buf;
}

/* A link to a file shows the inode's attributes; to a link, device or pipe it is another one of those. A target that
 * this layer has not had is in a lower one: its attributes are what the header says. */
static int read_hardlink(struct cb_entry_maker *m, struct archive_entry *ae, bool *skip, struct cb_error *err)
{
    const char *text = archive_entry_hardlink(ae), *path = m->e.path;
    int r = place(m, text, strlen(text), &m->link, err);
    if (r < 0)
        return cb_error_wrap(err, "target %s", text), r;
    m->e.link = m->link.buf;
    const struct cb_entry *to = cb_toc_builder_find(m->seen, m->link.buf);
    if ((r = check_target(m, to, err)) < 0 || !to)
        return r;
    bool file = to->type == CB_ENTRY_FILE || to->type == CB_ENTRY_HARDLINK;
    const char *link = file ? name_of_file(m, to) : to->link;
    enum cb_entry_type type = file ? CB_ENTRY_HARDLINK : to->type;
    *skip = file && to->digest.known && cb_streq(link, path); /* it is this file already */
    m->e = *to;
    m->e.path = path;
    m->e.type = type;
    m->e.link = link;
    m->e.inline_data = NULL;
    return 0;
}

static int cmp_xattrs(const void *a, const void *b)
{
    return strcmp(((const struct cb_xattr *)a)->name, ((const struct cb_xattr *)b)->name);
}

static bool add_xattr(struct cb_entry_maker *m, const struct cb_xattr *x)
{
    for (size_t i = 0; i < m->e.n_xattrs; i++)
        if (cb_streq(m->xattrs[i].name, x->name)) { /* bsdtar writes each in two encodings */
            m->xattrs[i] = *x;
            return true;
        }
    if (m->e.n_xattrs == CB_MAX_XATTRS)
        return false;
    m->xattrs[m->e.n_xattrs++] = *x;
    return true;
}

static int read_xattrs(struct cb_entry_maker *m, struct archive_entry *ae, struct cb_error *err)
{
    struct cb_xattr x;
    archive_entry_xattr_reset(ae);
    while (archive_entry_xattr_next(ae, &x.name, &x.value, &x.len) == ARCHIVE_OK) {
        if (!x.name || !cb_xattr_allowed(x.name))
            continue;
        if (strlen(x.name) > CB_MAX_NAME || x.len > CB_MAX_XATTR_VALUE || !add_xattr(m, &x))
            return cb_error_set(err, CB_EVERIFY, "extended attributes are too many or too large");
    }
    qsort(m->xattrs, m->e.n_xattrs, sizeof *m->xattrs, cmp_xattrs);
    m->e.xattrs = m->e.n_xattrs ? m->xattrs : NULL;
    return 0;
}

static int read_file(struct cb_entry_maker *m, struct archive_entry *ae, const struct cb_tar_member *member,
                     struct cb_error *err)
{
    int64_t size = archive_entry_size(ae);
    if (!archive_entry_size_is_set(ae) || size < 0 || (!member->sparse && (uint64_t)size != member->size))
        return cb_error_set(err, CB_EVERIFY, "size is not clear");
    m->e.size = (uint64_t)size;
    m->e.offset = member->sparse ? UINT64_MAX : member->offset;
    return read_xattrs(m, ae, err);
}

static int read_by_type(struct cb_entry_maker *m, struct archive_entry *ae, const struct cb_tar_member *member,
                        bool *skip, struct cb_error *err)
{
    if (archive_entry_hardlink(ae)) {
        m->e.type = CB_ENTRY_HARDLINK;
        return read_hardlink(m, ae, skip, err);
    }
    switch (archive_entry_filetype(ae)) {
    case AE_IFREG:
        m->e.type = CB_ENTRY_FILE;
        return read_file(m, ae, member, err);
    case AE_IFDIR:
        m->e.type = CB_ENTRY_DIR;
        return member->size ? cb_error_set(err, CB_EVERIFY, "directory with a body") : read_xattrs(m, ae, err);
    case AE_IFLNK:
        m->e.type = CB_ENTRY_SYMLINK;
        return read_symlink(m, ae, err);
    case AE_IFCHR:
        m->e.type = CB_ENTRY_CHAR;
        return read_device(&m->e, ae, err);
    case AE_IFBLK:
        m->e.type = CB_ENTRY_BLOCK;
        return read_device(&m->e, ae, err);
    case AE_IFIFO:
        m->e.type = CB_ENTRY_FIFO;
        return 0;
    default:
        return cb_error_set(err, CB_EVERIFY, "entry of an unknown type");
    }
}

/* The name and type that libarchive found, against those of the guard. */
static bool agrees(const char *name, struct archive_entry *ae, const struct cb_tar_member *member)
{
    size_t len = strlen(name);
    while (len && name[len - 1] == '/')
        len--;
    bool link = archive_entry_hardlink(ae) != NULL;
    return strlen(member->name) == len && memcmp(member->name, name, len) == 0 && link == (member->type == '1');
}

static int make(struct cb_entry_maker *m, struct archive_entry *ae, const struct cb_tar_member *member, bool *skip,
                struct cb_error *err)
{
    int mark;
    const char *name = archive_entry_pathname(ae);
    if (!name || !agrees(name, ae, member))
        return cb_error_set(err, CB_EVERIFY, "tar header can be read in two ways");
    int r = read_name(m, name, &mark, skip, err);
    if (r < 0 || *skip)
        return r;
    m->e.path = m->path.buf;
    if (!m->path.len) {
        *skip = true;
        return archive_entry_filetype(ae) == AE_IFDIR && !archive_entry_hardlink(ae)
                   ? 0 : cb_error_set(err, CB_EVERIFY, "the root is no directory");
    }
    if ((r = read_numbers(&m->e, ae, member, err)) < 0)
        return r;
    if (!mark)
        return read_by_type(m, ae, member, skip, err);
    m->e.type = (enum cb_entry_type)mark;
    return 0;
}

int cb_entry_make(struct cb_entry_maker *m, struct archive_entry *ae, const struct cb_tar_member *member, bool *skip,
                  struct cb_error *err)
{
    m->e = (struct cb_entry){ 0 };
    *skip = false;
    int r = make(m, ae, member, skip, err);
    if (r < 0)
        cb_error_wrap(err, "%s", member->name);
    return r;
}
