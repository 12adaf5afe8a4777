/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer.h"
#include "layer/tar.h"
#include "util/limits.h"
#include "util/path.h"

/* POSIX.1-1988 ustar. */
struct ustar {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char chksum[8];
    char typeflag;
    char linkname[100];
    char magic[6];
    char version[2];
    char uname[32];
    char gname[32];
    char devmajor[8];
    char devminor[8];
    char prefix[155];
    char pad[12];
};
_Static_assert(sizeof(struct ustar) == CB_TAR_BLOCK, "a tar header is one block");

#define MAX_OCTAL7 07777777u
#define MAX_OCTAL11 077777777777u

/* digits octal digits and a NUL. */
static void put_octal(char *field, unsigned digits, uint64_t v)
{
    for (unsigned i = digits; i > 0; i--, v >>= 3)
        field[i - 1] = (char)('0' + (v & 7));
    field[digits] = '\0';
}

static void seal(struct ustar *h)
{
    unsigned sum = 0;
    memset(h->chksum, ' ', sizeof h->chksum);
    for (size_t i = 0; i < sizeof *h; i++)
        sum += ((const unsigned char *)h)[i];
    put_octal(h->chksum, 6, sum);
    h->chksum[7] = ' ';
}

static char typeflag_of(enum cb_entry_type t)
{
    switch (t) {
    case CB_ENTRY_HARDLINK:
        return '1';
    case CB_ENTRY_SYMLINK:
        return '2';
    case CB_ENTRY_CHAR:
        return '3';
    case CB_ENTRY_BLOCK:
        return '4';
    case CB_ENTRY_DIR:
        return '5';
    case CB_ENTRY_FIFO:
        return '6';
    default:
        return '0';
    }
}

/* The whole name, or cut at a '/' into prefix and name; false where ustar has no room for it. */
static bool fit_name(struct ustar *h, const char *name, size_t len)
{
    if (len <= sizeof h->name) {
        memcpy(h->name, name, len);
        return true;
    }
    for (size_t cut = CB_MIN(len - 2, sizeof h->prefix); cut > 0 && len - cut - 1 <= sizeof h->name; cut--)
        if (name[cut] == '/') {
            memcpy(h->prefix, name, cut);
            memcpy(h->name, name + cut + 1, len - cut - 1);
            return true;
        }
    memcpy(h->name, name, sizeof h->name);
    return false;
}

static bool is_utf8(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    while (*p) {
        unsigned more = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : *p >= 0xe0 && *p < 0xf0 ? 2 :
                        *p >= 0xf0 && *p < 0xf5 ? 3 : 4;
        if (more == 4 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
            (*p == 0xf4 && p[1] > 0x8f))
            return false;
        for (p++; more; more--, p++)
            if ((*p & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* "LEN KEY=VALUE\n", where LEN counts its own digits. */
static void pax_record(struct cb_strbuf *pax, const char *key, const void *value, size_t len)
{
    size_t rest = strlen(key) + len + 3, total = rest + 1;
    while (total != rest + (size_t)snprintf(NULL, 0, "%zu", total))
        total = rest + (size_t)snprintf(NULL, 0, "%zu", total);
    cb_strbuf_addf(pax, "%zu %s=", total, key);
    cb_strbuf_add(pax, value, len);
    cb_strbuf_addch(pax, '\n');
}

static void pax_number(struct cb_strbuf *pax, const char *key, int64_t v)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)v);
    pax_record(pax, key, text, (size_t)n);
}

static int pax_xattrs(struct cb_strbuf *pax, const struct cb_entry *e, struct cb_error *err)
{
    if (e->type == CB_ENTRY_HARDLINK)
        return 0;
    for (size_t i = 0; i < e->n_xattrs; i++) {
        const struct cb_xattr *x = &e->xattrs[i];
        if (!cb_xattr_allowed(x->name))
            continue;
        if (strchr(x->name, '='))
            return cb_error_set(err, CB_ELOCAL, "extended attribute %s cannot be stored: it has a '='", x->name);
        if (x->len > CB_MAX_XATTR_VALUE)
            return cb_error_set(err, CB_ELOCAL, "extended attribute %s is too large", x->name);
        cb_cleanup_strbuf struct cb_strbuf key = CB_STRBUF_INIT;
        cb_strbuf_addf(&key, "SCHILY.xattr.%s", x->name);
        pax_record(pax, key.buf, x->value, x->len);
    }
    return 0;
}

/* Fills the header; what it has no room for goes to pax, sorted by key (the attributes come first: capital letters). */
static void fill(struct ustar *h, struct cb_strbuf *pax, const struct cb_entry *e, const char *name)
{
    size_t link_len = e->link ? strlen(e->link) : 0;
    bool long_link = link_len > sizeof h->linkname, long_name = !fit_name(h, name, strlen(name));
    if (e->gid > MAX_OCTAL7)
        pax_number(pax, "gid", e->gid);
    if ((long_link && !is_utf8(e->link)) || (long_name && !is_utf8(name)))
        pax_record(pax, "hdrcharset", "BINARY", 6);
    if (long_link)
        pax_record(pax, "linkpath", e->link, link_len);
    if (e->mtime < 0 || (uint64_t)e->mtime > MAX_OCTAL11)
        pax_number(pax, "mtime", e->mtime);
    if (long_name)
        pax_record(pax, "path", name, strlen(name));
    if (e->type == CB_ENTRY_FILE && e->size > MAX_OCTAL11)
        pax_number(pax, "size", (int64_t)e->size);
    if (e->uid > MAX_OCTAL7)
        pax_number(pax, "uid", e->uid);
    if (link_len)
        memcpy(h->linkname, e->link, CB_MIN(link_len, sizeof h->linkname));
}

static void fill_numbers(struct ustar *h, const struct cb_entry *e)
{
    uint64_t size = e->type == CB_ENTRY_FILE ? e->size : 0;
    bool is_device = e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK;
    put_octal(h->mode, 7, e->mode & 07777);
    put_octal(h->uid, 7, e->uid > MAX_OCTAL7 ? 0 : e->uid);
    put_octal(h->gid, 7, e->gid > MAX_OCTAL7 ? 0 : e->gid);
    put_octal(h->size, 11, size > MAX_OCTAL11 ? 0 : size);
    put_octal(h->mtime, 11, e->mtime < 0 || (uint64_t)e->mtime > MAX_OCTAL11 ? 0 : (uint64_t)e->mtime);
    put_octal(h->devmajor, 7, is_device ? e->dev_major : 0);
    put_octal(h->devminor, 7, is_device ? e->dev_minor : 0);
    h->typeflag = typeflag_of(e->type);
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
}

static void add_pax_header(struct cb_strbuf *out, const struct cb_strbuf *pax)
{
    struct ustar h = { 0 };
    struct cb_entry e = { .type = CB_ENTRY_FILE, .mode = 0644, .size = pax->len };
    static const char zeros[CB_TAR_BLOCK];
    fill_numbers(&h, &e);
    memcpy(h.name, "PaxHeaders/entry", 16);
    h.typeflag = 'x';
    seal(&h);
    cb_strbuf_add(out, &h, sizeof h);
    cb_strbuf_add(out, pax->buf, pax->len);
    cb_strbuf_add(out, zeros, cb_tar_padding(pax->len));
}

static int check_name(const char *path, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf normal = CB_STRBUF_INIT;
    if (!cb_path_normalize(&normal, path, strlen(path)) || !cb_streq(normal.buf, path) || !*path)
        return cb_error_set(err, CB_EINTERNAL, "not a name for a layer: \"%s\"", path);
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (cb_starts_with(p, CB_WHITEOUT_PREFIX))
            return cb_error_set(err, CB_ECONF,
                                "%s cannot be stored in a layer: names that begin with " CB_WHITEOUT_PREFIX
                                " mark deletions", path);
    }
    return 0;
}

static int check_entry(const struct cb_entry *e, struct cb_error *err)
{
    bool is_link = e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK;
    bool is_device = e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK;
    if (is_link && (!e->link || !*e->link || strlen(e->link) > CB_MAX_PATH))
        return cb_error_set(err, CB_EINTERNAL, "%s: link without a target", e->path);
    if (is_device && (e->dev_major > CB_MAX_DEV_MAJOR || e->dev_minor > CB_MAX_DEV_MINOR))
        return cb_error_set(err, CB_ELOCAL, "%s: device number %u:%u is out of range", e->path, e->dev_major,
                            e->dev_minor);
    if (e->type == CB_ENTRY_CHAR && !e->dev_major && !e->dev_minor)
        return cb_error_set(err, CB_ELOCAL, "%s: device 0:0 cannot be stored in a layer", e->path);
    if (e->uid == UINT32_MAX || e->gid == UINT32_MAX || e->size > INT64_MAX)
        return cb_error_set(err, CB_EINTERNAL, "%s: owner or size is out of range", e->path);
    return check_name(e->path, err);
}

void cb_tar_name(struct cb_strbuf *name, const struct cb_entry *e)
{
    if (e->type == CB_ENTRY_WHITEOUT) {
        const char *slash = strrchr(e->path, '/');
        size_t dir = slash ? (size_t)(slash + 1 - e->path) : 0;
        cb_strbuf_add(name, e->path, dir);
        cb_strbuf_adds(name, CB_WHITEOUT_PREFIX);
        cb_strbuf_adds(name, e->path + dir);
        return;
    }
    cb_strbuf_adds(name, e->path);
    if (e->type == CB_ENTRY_DIR)
        cb_strbuf_addch(name, '/');
    else if (e->type == CB_ENTRY_OPAQUE)
        cb_strbuf_adds(name, "/" CB_WHITEOUT_OPAQUE);
}

int cb_tar_header(struct cb_strbuf *out, const struct cb_entry *e, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf pax = CB_STRBUF_INIT, name = CB_STRBUF_INIT;
    struct ustar h = { 0 };
    int r = check_entry(e, err);
    if (r == 0)
        r = pax_xattrs(&pax, e, err);
    if (r < 0)
        return r;
    cb_tar_name(&name, e);
    fill(&h, &pax, e, name.buf);
    fill_numbers(&h, e);
    seal(&h);
    if (pax.len > CB_MAX_PAX)
        return cb_error_set(err, CB_ELOCAL, "%s: extended attributes of more than %u bytes", e->path, CB_MAX_PAX);
    if (pax.len)
        add_pax_header(out, &pax);
    cb_strbuf_add(out, &h, sizeof h);
    return 0;
}
