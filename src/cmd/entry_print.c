/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/entry_print.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"

static const struct {
    char letter;
    const char *name;
} types[] = {
    [CB_ENTRY_WHITEOUT] = { 'w', "whiteout" },  [CB_ENTRY_OPAQUE] = { 'o', "opaque" },
    [CB_ENTRY_DIR] = { 'd', "directory" },      [CB_ENTRY_FILE] = { '-', "file" },
    [CB_ENTRY_SYMLINK] = { 'l', "symlink" },    [CB_ENTRY_HARDLINK] = { 'h', "hardlink" },
    [CB_ENTRY_CHAR] = { 'c', "char" },          [CB_ENTRY_BLOCK] = { 'b', "block" },
    [CB_ENTRY_FIFO] = { 'p', "fifo" },
};

const char *cb_entry_type_name(enum cb_entry_type t)
{
    return types[t].name;
}

static char special(uint32_t mode, uint32_t bit, uint32_t x, char set)
{
    if (mode & bit)
        return mode & x ? set : (char)(set - 'a' + 'A');
    return mode & x ? 'x' : '-';
}

static void add_mode(struct cb_strbuf *out, const struct cb_entry *e)
{
    uint32_t m = e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE ? 0 : e->mode;
    cb_strbuf_addf(out, "%c%c%c%c%c%c%c%c%c%c", types[e->type].letter, m & S_IRUSR ? 'r' : '-',
                   m & S_IWUSR ? 'w' : '-', special(m, S_ISUID, S_IXUSR, 's'), m & S_IRGRP ? 'r' : '-',
                   m & S_IWGRP ? 'w' : '-', special(m, S_ISGID, S_IXGRP, 's'), m & S_IROTH ? 'r' : '-',
                   m & S_IWOTH ? 'w' : '-', special(m, S_ISVTX, S_IXOTH, 't'));
}

static void add_time(struct cb_strbuf *out, int64_t mtime)
{
    char buf[32] = "";
    struct tm tm;
    time_t t = (time_t)mtime;
    if (gmtime_r(&t, &tm))
        strftime(buf, sizeof buf, "%Y-%m-%d %H:%M", &tm);
    cb_strbuf_adds(out, buf);
}

void cb_strbuf_add_entry(struct cb_strbuf *out, const struct cb_entry *e, const struct cb_entry *data)
{
    cb_autofree char *owner = cb_asprintf("%u/%u", e->uid, e->gid);
    add_mode(out, e);
    if (e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK)
        cb_strbuf_addf(out, " %-11s %5u,%6u ", owner, e->dev_major, e->dev_minor);
    else
        cb_strbuf_addf(out, " %-11s %12llu ", owner, (unsigned long long)(data ? data->size : 0));
    add_time(out, e->mtime);
    cb_strbuf_addch(out, ' ');
    cb_strbuf_add_sanitized(out, e->path, strlen(e->path), false);
    if (e->type == CB_ENTRY_DIR)
        cb_strbuf_addch(out, '/');
    if (!e->link)
        return;
    cb_strbuf_adds(out, e->type == CB_ENTRY_HARDLINK ? " link to " : " -> ");
    cb_strbuf_add_sanitized(out, e->link, strlen(e->link), false);
}

static void put_xattrs(json_t *o, const struct cb_entry *e)
{
    json_t *x = e->n_xattrs ? json_object() : NULL;
    for (size_t i = 0; i < e->n_xattrs; i++) {
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_base64_encode(&text, e->xattrs[i].value, e->xattrs[i].len);
        cb_json_put_string(x, e->xattrs[i].name, text.buf);
    }
    if (x)
        cb_json_put(o, "xattrs", x);
}

json_t *cb_entry_to_json(const struct cb_entry *e, const struct cb_entry *data)
{
    json_t *o = json_object();
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX], mode[16];
    cb_json_put_string(o, "path", e->path);
    cb_json_put_string(o, "type", types[e->type].name);
    if (e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE)
        return o;
    snprintf(mode, sizeof mode, "%04o", e->mode);
    cb_json_put_string(o, "mode", mode);
    cb_json_put(o, "uid", json_integer(e->uid));
    cb_json_put(o, "gid", json_integer(e->gid));
    if (e->mtime > -INT64_C(9000000000) && e->mtime < INT64_C(9000000000)) {
        cb_time_format(&text, e->mtime * INT64_C(1000000000));
        cb_json_put_string(o, "mtime", text.buf);
    }
    if (data)
        cb_json_put(o, "size", json_integer((json_int_t)data->size));
    if (data && data->digest.known) {
        const struct cb_digest d = cb_sum_digest(&data->digest);
        cb_json_put_string(o, "digest", cb_digest_text(&d, digest));
    }
    cb_json_put_string(o, "link", e->link);
    if (e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK)
        cb_json_put(o, "device", json_pack("[I,I]", (json_int_t)e->dev_major, (json_int_t)e->dev_minor));
    put_xattrs(o, e);
    return o;
}
