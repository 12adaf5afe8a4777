/* SPDX-License-Identifier: Apache-2.0 */
/* Names of users and groups, looked up in the image's own files and not through the host's name service (A12, R23). */
#include "layer/stack.h"

#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

#define MAX_GROUPS 65536 /* the kernel's NGROUPS_MAX */

struct passwd_line {
    struct cb_slice name, home;
    uint32_t uid, gid;
};
struct group_line {
    struct cb_slice name, members;
    uint32_t gid;
};

void cb_user_done(struct cb_user *u)
{
    free(u->groups);
    free(u->home);
    free(u->name);
    *u = (struct cb_user){ 0 };
}

/* (uid_t)-1 means "leave it" to chown(2) and setresuid(2), so it is no id. */
static bool parse_id(const char *s, uint32_t *out)
{
    uint32_t v;
    if (!cb_parse_u32(s, &v) || v == UINT32_MAX)
        return false;
    *out = v;
    return true;
}

static bool slice_id(struct cb_slice s, uint32_t *out)
{
    char text[16];
    if (s.len >= sizeof text)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return parse_id(text, out);
}

/* Cuts up to n fields at ':' off line; returns how many there are. */
static size_t split(struct cb_slice line, struct cb_slice *field, size_t n)
{
    size_t k = 0;
    while (k < n) {
        const char *colon = k + 1 < n ? memchr(line.ptr, ':', line.len) : NULL;
        size_t len = colon ? (size_t)(colon - line.ptr) : line.len;
        field[k++] = (struct cb_slice){ line.ptr, len };
        if (!colon)
            break;
        line = (struct cb_slice){ colon + 1, line.len - len - 1 };
    }
    return k;
}

static bool next_line(struct cb_slice *text, struct cb_slice *line)
{
    if (!text->len)
        return false;
    const char *nl = memchr(text->ptr, '\n', text->len);
    size_t len = nl ? (size_t)(nl - text->ptr) : text->len;
    *line = (struct cb_slice){ text->ptr, len };
    size_t used = len + (nl != NULL);
    *text = (struct cb_slice){ text->ptr + used, text->len - used };
    return true;
}

/* name:password:uid:gid:comment:home:shell; lines that are something else are passed over, as login programs do. */
static bool parse_passwd(struct cb_slice line, struct passwd_line *out)
{
    struct cb_slice f[7] = { { 0 } };
    if (split(line, f, 7) < 4 || !f[0].len)
        return false;
    out->name = f[0];
    out->home = f[5];
    return slice_id(f[2], &out->uid) && slice_id(f[3], &out->gid);
}

/* name:password:gid:member,member */
static bool parse_group(struct cb_slice line, struct group_line *out)
{
    struct cb_slice f[4] = { { 0 } };
    if (split(line, f, 4) < 3 || !f[0].len)
        return false;
    out->name = f[0];
    out->members = f[3];
    return slice_id(f[2], &out->gid);
}

/* The text of a database; *there is false, and the text empty, where the image has no such file. */
static int load(const struct cb_finder *f, const char *path, struct cb_slice *text, bool *there, struct cb_error *err)
{
    const struct cb_stack_entry *hit = NULL;
    cb_cleanup_strbuf struct cb_strbuf where = CB_STRBUF_INIT;
    *text = (struct cb_slice){ "", 0 };
    *there = false;
    int r = cb_finder_resolve(f, path, CB_FOLLOW_ALL, &where, &hit, err);
    if (r < 0 || !hit)
        return r;
    if (!hit->data)
        return cb_error_set(err, CB_ECONF, "/%s is not a regular file", where.buf);
    if (!hit->data->inline_data)
        return cb_error_set(err, CB_ECONF, "/%s cannot be used as %s: it is too large or at an odd place", where.buf,
                            path);
    *text = (struct cb_slice){ hit->data->inline_data, hit->data->size };
    *there = true;
    return 0;
}

static bool find_user(struct cb_slice text, const char *name, const uint32_t *uid, struct passwd_line *out)
{
    struct cb_slice line;
    while (next_line(&text, &line))
        if (parse_passwd(line, out) && (uid ? out->uid == *uid : cb_slice_eq(out->name, name)))
            return true;
    return false;
}

static bool find_group(struct cb_slice text, const char *name, uint32_t *gid)
{
    struct cb_slice line;
    struct group_line g;
    while (next_line(&text, &line))
        if (parse_group(line, &g) && cb_slice_eq(g.name, name)) {
            *gid = g.gid;
            return true;
        }
    return false;
}

static bool is_member(struct cb_slice members, const char *name)
{
    while (members.len) {
        const char *comma = memchr(members.ptr, ',', members.len);
        size_t len = comma ? (size_t)(comma - members.ptr) : members.len;
        if (cb_slice_eq(cb_slice_trim((struct cb_slice){ members.ptr, len }), name))
            return true;
        size_t used = len + (comma != NULL);
        members = (struct cb_slice){ members.ptr + used, members.len - used };
    }
    return false;
}

static void add_group(struct cb_user *u, uint32_t gid)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return;
    u->groups = cb_reallocarray(u->groups, u->n_groups + 1, sizeof *u->groups);
    u->groups[u->n_groups++] = gid;
}

static int collect_groups(const struct cb_finder *f, struct cb_user *u, struct cb_error *err)
{
    struct cb_slice text, line;
    struct group_line g;
    bool there;
    int r = load(f, "/etc/group", &text, &there, err);
    if (r < 0)
        return r;
    while (u->n_groups < MAX_GROUPS - 1 && next_line(&text, &line))
        if (parse_group(line, &g) && is_member(g.members, u->name))
            add_group(u, g.gid);
    return 0;
}

/* number_gid_is_uid: a number stands for itself twice, whatever the image says of it. */
static int resolve_user(const struct cb_finder *f, const char *name, bool number_gid_is_uid, struct cb_user *u,
                        struct cb_error *err)
{
    struct cb_slice text;
    struct passwd_line p;
    bool there, number = parse_id(name, &u->uid) || (number_gid_is_uid && (!*name || cb_streq(name, "root")));
    if (number && number_gid_is_uid) {
        u->gid = u->uid;
        return 0;
    }
    if (!number && name[strspn(name, "0123456789")] == '\0')
        return cb_error_set(err, CB_ECONF, "user id %s is out of range", name);
    int r = load(f, "/etc/passwd", &text, &there, err);
    if (r < 0)
        return r;
    if (find_user(text, name, number ? &u->uid : NULL, &p)) {
        u->uid = p.uid;
        u->gid = p.gid;
        u->name = cb_strndup(p.name.ptr, p.name.len);
        u->home = p.home.len && *p.home.ptr == '/' ? cb_strndup(p.home.ptr, p.home.len) : NULL;
        return 0;
    }
    if (number || (!there && cb_streq(name, "root")))
        return 0; /* 0 for root, and gid 0, are what the structure holds already */
    return cb_error_set(err, CB_ECONF, "no user \"%s\" in the image's /etc/passwd", name);
}

static int resolve_group(const struct cb_finder *f, const char *name, uint32_t *gid, struct cb_error *err)
{
    struct cb_slice text;
    bool there;
    if (parse_id(name, gid))
        return 0;
    if (name[strspn(name, "0123456789")] == '\0')
        return cb_error_set(err, CB_ECONF, "group id %s is out of range", name);
    int r = load(f, "/etc/group", &text, &there, err);
    if (r < 0)
        return r;
    if (find_group(text, name, gid))
        return 0;
    if (there || !cb_streq(name, "root"))
        return cb_error_set(err, CB_ECONF, "no group \"%s\" in the image's /etc/group", name);
    *gid = 0;
    return 0;
}

static int resolve_both(const struct cb_finder *f, const char *text, bool number_gid_is_uid, struct cb_user *u,
                        struct cb_error *err)
{
    const char *colon = strchr(text, ':');
    cb_autofree char *user = colon ? cb_strndup(text, (size_t)(colon - text)) : cb_strdup(text);
    bool half = colon && (!*user || !colon[1]);
    if (!*text || (half && !number_gid_is_uid) || (colon && strchr(colon + 1, ':')))
        return cb_error_set(err, CB_ECONF, "want USER or USER:GROUP");
    int r = resolve_user(f, user, number_gid_is_uid, u, err);
    if (r == 0 && colon && colon[1])
        r = resolve_group(f, colon + 1, &u->gid, err);
    else if (r == 0 && u->name)
        r = collect_groups(f, u, err);
    /* Or a program could give up the group, and get at what is forbidden to that. */
    if (r == 0 && !number_gid_is_uid)
        add_group(u, u->gid);
    if (r == 0 && !u->home)
        u->home = cb_strdup("/");
    return r;
}

int cb_finder_user(const struct cb_finder *f, const char *text, bool number_gid_is_uid, struct cb_user *out,
                   struct cb_error *err)
{
    struct cb_user u = { 0 };
    int r = resolve_both(f, text, number_gid_is_uid, &u, err);
    if (r < 0) {
        cb_user_done(&u);
        cb_error_wrap(err, "user \"%s\"", text);
        return r;
    }
    *out = u;
    return 0;
}

int cb_stack_user(const struct cb_stack *s, const char *text, bool number_gid_is_uid, struct cb_user *out,
                  struct cb_error *err)
{
    struct cb_finder f = cb_stack_finder(s);
    return cb_finder_user(&f, text, number_gid_is_uid, out, err);
}
