/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/erofs.h"

#include <endian.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/erofs_priv.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

#define BLOCK_BITS 9
#define BLOCK ((uint64_t)1 << BLOCK_BITS)
#define SLOT ((uint64_t)32) /* inodes are told by which of these they begin in */
#define OPAQUE "trusted.overlay.opaque"

/* ---- what is on the disk; all numbers are little-endian ---- */

#define MAGIC 0xe0f5e1e2u
#define SUPER_AT 1024
struct super {
    uint32_t magic, checksum, compat;
    uint8_t block_bits, ext_slots;
    uint16_t root;
    uint64_t inodes, time;
    uint32_t time_ns, blocks, meta_block, xattr_block;
    uint8_t uuid[16], volume[16];
    uint32_t incompat;
    uint16_t algorithms, devices, device_slot;
    uint8_t dir_block_bits, prefixes;
    uint32_t prefix_start;
    uint64_t packed;
    uint8_t reserved[24];
} __attribute__((packed));
_Static_assert(sizeof(struct super) == 128, "the superblock");

enum { FLAT_PLAIN = 0, FLAT_INLINE = 2 };
struct inode {
    uint16_t format; /* bit 0: of this form; from bit 1 on: where the data are */
    uint16_t xattr_units, mode, reserved;
    uint64_t size;
    uint32_t where; /* block, or device number */
    uint32_t number, uid, gid;
    uint64_t mtime;
    uint32_t mtime_ns, links;
    uint8_t reserved2[16];
} __attribute__((packed));
_Static_assert(sizeof(struct inode) == 64, "an inode");

struct dirent {
    uint64_t inode;
    uint16_t name_at;
    uint8_t type, reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct dirent) == 12, "an entry of a directory");

struct xattr_head {
    uint32_t filter;
    uint8_t shared, reserved[7];
} __attribute__((packed));
struct xattr_entry {
    uint8_t name_len, prefix;
    uint16_t value_len;
} __attribute__((packed));

static const struct {
    const char *text;
    uint8_t number;
} prefixes[] = { { "user.", 1 }, { "trusted.", 4 }, { "security.", 6 } };

/* ---- places ---- */

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* -1: not to be shown. */
static int find_prefix(const struct cb_xattr *x)
{
    for (size_t i = 0; i < CB_COUNTOF(prefixes); i++)
        if (cb_starts_with(x->name, prefixes[i].text))
            return x->len <= UINT16_MAX && strlen(x->name) <= CB_MAX_NAME ? (int)i : -1;
    return -1;
}

static uint64_t xattr_room(const struct cb_xattr *x)
{
    size_t name = strlen(x->name) - strlen(prefixes[find_prefix(x)].text);
    return round_up(sizeof(struct xattr_entry) + name + x->len, 4);
}

static const struct cb_xattr opaque = { OPAQUE, "y", 1 };

/* The entry's own, and the mark. */
static size_t count_xattrs(const struct cb_erofs_node *n)
{
    return (n->e ? n->e->n_xattrs : 0) + n->opaque;
}

static const struct cb_xattr *xattr_at(const struct cb_erofs_node *n, size_t i)
{
    return n->e && i < n->e->n_xattrs ? &n->e->xattrs[i] : &opaque;
}

/* Bytes behind the inode; UINT64_MAX: more than fit. */
static uint64_t xattrs_room(const struct cb_erofs_node *n)
{
    size_t count = count_xattrs(n);
    uint64_t room = count ? sizeof(struct xattr_head) : 0;
    for (size_t i = 0; i < count; i++) {
        if (find_prefix(xattr_at(n, i)) < 0)
            return UINT64_MAX;
        room += xattr_room(xattr_at(n, i));
    }
    return room <= sizeof(struct xattr_head) + 4 * (uint64_t)(UINT16_MAX - 1) ? room : UINT64_MAX;
}

struct name {
    struct cb_slice text;
    uint32_t node;
};
struct writer {
    const struct cb_erofs_options *o;
    struct cb_erofs_tree t;
    uint64_t meta;      /* where the metadata begin in the file */
    uint64_t len;       /* of the inodes */
    uint64_t inodes;
    struct cb_strbuf out; /* the metadata: room for the inodes, then directories and long links */
    struct name *names; /* of one directory */
    size_t names_cap;
};

static bool is_link(const struct cb_erofs_node *n)
{
    return n->e && n->e->type == CB_ENTRY_SYMLINK;
}

/* No inode lies across blocks, unless its attributes do; no link text ever. */
static int place_inode(struct writer *w, struct cb_erofs_node *n)
{
    uint64_t xattrs = xattrs_room(n), room = sizeof(struct inode);
    if (xattrs == UINT64_MAX)
        return 1;
    if (is_link(n)) {
        n->size = strlen(n->e->link);
        n->in_inode = xattrs == 0 && room + n->size <= BLOCK;
        room += n->in_inode ? n->size : 0;
    }
    w->len = round_up(w->len, SLOT);
    if (w->len % BLOCK + room > BLOCK)
        w->len = round_up(w->len, BLOCK);
    n->at = w->len;
    w->len += room + xattrs;
    w->inodes++;
    return 0;
}

static int place_inodes(struct writer *w)
{
    w->len = 2 * SLOT; /* an inode number of 0 is none */
    for (size_t i = 0; i < w->t.n; i++)
        if (w->t.v[i].same == CB_EROFS_NONE && place_inode(w, &w->t.v[i]))
            return 1;
    for (size_t i = 0; i < w->t.n; i++)
        if (w->t.v[i].same != CB_EROFS_NONE)
            w->t.v[i].at = w->t.v[w->t.v[i].same].at;
    w->len = round_up(w->len, BLOCK);
    return 0;
}

/* ---- directories ---- */

static void add_zeros(struct cb_strbuf *out, uint64_t n)
{
    cb_strbuf_reserve(out, (size_t)n);
    memset(out->buf + out->len, 0, (size_t)n);
    cb_strbuf_setlen(out, out->len + (size_t)n);
}

static int cmp_names(const void *pa, const void *pb)
{
    const struct name *a = pa, *b = pb;
    int c = memcmp(a->text.ptr, b->text.ptr, CB_MIN(a->text.len, b->text.len));
    return c ? c : a->text.len < b->text.len ? -1 : a->text.len > b->text.len;
}

/* Sorted by bytes, with the directory itself and its parent among them. */
static size_t list_names(struct writer *w, uint32_t dir)
{
    const struct cb_erofs_node *d = &w->t.v[dir];
    size_t want = (size_t)d->n_children + 2, n = 0;
    if (want > w->names_cap) {
        w->names = cb_reallocarray(w->names, want, sizeof *w->names);
        w->names_cap = want;
    }
    w->names[n++] = (struct name){ { ".", 1 }, dir };
    w->names[n++] = (struct name){ { "..", 2 }, d->parent };
    for (uint32_t i = d->first; i != CB_EROFS_NONE; i = w->t.v[i].next)
        w->names[n++] = (struct name){ w->t.v[i].name, i };
    qsort(w->names, n, sizeof *w->names, cmp_names);
    return n;
}

static mode_t type_of(const struct cb_erofs_node *n)
{
    if (n->dir)
        return S_IFDIR;
    switch (n->e->type) {
    case CB_ENTRY_SYMLINK:
        return S_IFLNK;
    case CB_ENTRY_WHITEOUT:
    case CB_ENTRY_CHAR:
        return S_IFCHR;
    case CB_ENTRY_BLOCK:
        return S_IFBLK;
    case CB_ENTRY_FIFO:
        return S_IFIFO;
    default:
        return S_IFREG;
    }
}

static uint8_t dirent_type(mode_t type)
{
    static const struct {
        mode_t type;
        uint8_t number;
    } numbers[] = { { S_IFREG, 1 }, { S_IFDIR, 2 }, { S_IFCHR, 3 }, { S_IFBLK, 4 }, { S_IFIFO, 5 }, { S_IFLNK, 7 } };
    for (size_t i = 0; i < CB_COUNTOF(numbers); i++)
        if (numbers[i].type == type)
            return numbers[i].number;
    return 0;
}

/* One block of a directory: as many of the names as fit. */
static size_t pack_block(struct writer *w, const struct name *v, size_t n)
{
    size_t count = 0, used = 0;
    while (count < n && used + sizeof(struct dirent) + v[count].text.len <= BLOCK)
        used += sizeof(struct dirent) + v[count++].text.len;
    size_t at = count * sizeof(struct dirent);
    for (size_t i = 0; i < count; i++) {
        const struct cb_erofs_node *to = &w->t.v[v[i].node];
        struct dirent d = { .inode = htole64(to->at / SLOT), .name_at = htole16((uint16_t)at),
                            .type = dirent_type(type_of(to)) };
        cb_strbuf_add(&w->out, &d, sizeof d);
        at += v[i].text.len;
    }
    for (size_t i = 0; i < count; i++)
        cb_strbuf_add(&w->out, v[i].text.ptr, v[i].text.len);
    return count;
}

static void end_block(struct cb_strbuf *out)
{
    add_zeros(out, round_up(out->len, BLOCK) - out->len);
}

static void pack_dir(struct writer *w, uint32_t dir)
{
    size_t n = list_names(w, dir), from = w->out.len;
    for (size_t done = 0; done < n;) {
        end_block(&w->out);
        done += pack_block(w, w->names + done, n - done);
    }
    w->t.v[dir].data = from;
    w->t.v[dir].size = w->out.len - from;
    end_block(&w->out);
}

/* Behind the inodes: all that is not in one. */
static void pack_data(struct writer *w)
{
    add_zeros(&w->out, w->len);
    for (size_t i = 0; i < w->t.n; i++) {
        struct cb_erofs_node *n = &w->t.v[i];
        if (n->dir) {
            pack_dir(w, (uint32_t)i);
        } else if (is_link(n) && !n->in_inode) {
            n->data = w->out.len;
            cb_strbuf_add(&w->out, n->e->link, (size_t)n->size);
            end_block(&w->out);
        }
    }
}

/* ---- inodes ---- */

static uint32_t device(uint32_t major, uint32_t minor)
{
    return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static uint32_t where(const struct writer *w, const struct cb_erofs_node *n, mode_t type)
{
    if (S_ISCHR(type) || S_ISBLK(type))
        return n->e->type == CB_ENTRY_WHITEOUT ? 0 : device(n->e->dev_major, n->e->dev_minor);
    if (S_ISREG(type))
        return n->size ? (uint32_t)((CB_EROFS_TAR + n->data) / BLOCK) : 0;
    return S_ISDIR(type) || (S_ISLNK(type) && !n->in_inode) ? (uint32_t)((w->meta + n->data) / BLOCK) : 0;
}

static mode_t mode_of(const struct cb_erofs_node *n, mode_t type)
{
    if (!n->e)
        return type | 0755;
    return type | (n->e->type == CB_ENTRY_WHITEOUT ? 0600 : S_ISLNK(type) ? 0777 : n->e->mode & 07777);
}

static void put_xattrs(uint8_t *to, const struct cb_erofs_node *n)
{
    to += sizeof(struct xattr_head);
    for (size_t i = 0; i < count_xattrs(n); i++) {
        const struct cb_xattr *x = xattr_at(n, i);
        int prefix = find_prefix(x);
        const char *name = x->name + strlen(prefixes[prefix].text);
        struct xattr_entry e = { (uint8_t)strlen(name), prefixes[prefix].number, htole16((uint16_t)x->len) };
        memcpy(to, &e, sizeof e);
        memcpy(to + sizeof e, name, e.name_len);
        if (x->len)
            memcpy(to + sizeof e + e.name_len, x->value, x->len);
        to += xattr_room(x);
    }
}

static void put_inode(struct writer *w, const struct cb_erofs_node *n)
{
    static const struct cb_entry nobody = { 0 };
    const struct cb_entry *e = n->e && n->e->type != CB_ENTRY_WHITEOUT ? n->e : &nobody;
    mode_t type = type_of(n);
    uint64_t xattrs = xattrs_room(n);
    uint8_t *to = (uint8_t *)w->out.buf + n->at;
    struct inode i = {
        .format = htole16((uint16_t)(1 | (n->in_inode ? FLAT_INLINE : FLAT_PLAIN) << 1)),
        .xattr_units = htole16(xattrs ? (uint16_t)(1 + (xattrs - sizeof(struct xattr_head)) / 4) : 0),
        .mode = htole16((uint16_t)mode_of(n, type)),
        .size = htole64(n->size),
        .where = htole32(where(w, n, type)),
        .number = htole32((uint32_t)(n->at / SLOT)),
        .uid = htole32(e->uid),
        .gid = htole32(e->gid),
        .mtime = htole64((uint64_t)e->mtime),
        .links = htole32(n->links),
    };
    memcpy(to, &i, sizeof i);
    if (xattrs)
        put_xattrs(to + sizeof i, n);
    else if (n->in_inode)
        memcpy(to + sizeof i, n->e->link, (size_t)n->size);
}

/* ---- the file ---- */

static int write_at(int fd, const void *buf, size_t n, uint64_t at, struct cb_error *err)
{
    if (lseek(fd, (off_t)at, SEEK_SET) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "seek in an image");
    return cb_fd_write_all(fd, buf, n, err);
}

static int write_super(int fd, const struct writer *w, struct cb_error *err)
{
    struct super s = {
        .magic = htole32(MAGIC),
        .block_bits = BLOCK_BITS,
        .root = htole16((uint16_t)(w->t.v[0].at / SLOT)),
        .inodes = htole64(w->inodes),
        .blocks = htole32((uint32_t)((w->meta + w->out.len) / BLOCK)),
        .meta_block = htole32((uint32_t)(w->meta / BLOCK)),
    };
    return write_at(fd, &s, sizeof s, SUPER_AT, err);
}

static int make(struct writer *w)
{
    int r = cb_erofs_tree_make(&w->t, w->o);
    if (r || (r = place_inodes(w)))
        return r;
    pack_data(w);
    w->meta = CB_EROFS_TAR + round_up(w->o->tar_size, BLOCK);
    if ((w->meta + w->out.len) / BLOCK > UINT32_MAX)
        return 1;
    for (size_t i = 0; i < w->t.n; i++)
        if (w->t.v[i].same == CB_EROFS_NONE)
            put_inode(w, &w->t.v[i]);
    return 0;
}

int cb_erofs_write(int fd, const struct cb_erofs_options *o, struct cb_error *err)
{
    struct writer w = { .o = o, .out = CB_STRBUF_INIT };
    int r = o->tar_size > (uint64_t)1 << 40 || make(&w);
    if (r == 0)
        r = write_at(fd, w.out.buf, w.out.len, w.meta, err);
    if (r == 0 && ftruncate(fd, (off_t)(w.meta + w.out.len)) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "end an image");
    if (r == 0)
        r = write_super(fd, &w, err);
    cb_erofs_tree_done(&w.t);
    cb_strbuf_done(&w.out);
    free(w.names);
    return r;
}
