/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <ctype.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/path.h"

#define BIT(t) (1u << CB_DF_MOUNT_##t)

static const char *const type_names[] = { "bind", "cache", "tmpfs", "secret", "ssh", NULL };
static const char *const sharing_names[] = { "shared", "private", "locked", NULL };
static const char *const relabel_names[] = { "shared", "private", NULL };

enum key {
    KEY_TYPE, KEY_ID, KEY_TARGET, KEY_SOURCE, KEY_FROM, KEY_ENV, KEY_SHARING, KEY_MODE, KEY_UID, KEY_GID, KEY_SIZE,
    KEY_RO, KEY_RW, KEY_REQUIRED, KEY_RELABEL, N_KEYS,
};

/* First the spelling that messages use. */
static const struct spelling {
    const char *name;
    enum key key;
} spellings[] = {
    { "type", KEY_TYPE }, { "id", KEY_ID }, { "target", KEY_TARGET }, { "source", KEY_SOURCE }, { "from", KEY_FROM },
    { "env", KEY_ENV }, { "sharing", KEY_SHARING }, { "mode", KEY_MODE }, { "uid", KEY_UID }, { "gid", KEY_GID },
    { "size", KEY_SIZE }, { "readonly", KEY_RO }, { "readwrite", KEY_RW }, { "required", KEY_REQUIRED },
    { "relabel", KEY_RELABEL },
    { "dst", KEY_TARGET }, { "destination", KEY_TARGET }, { "src", KEY_SOURCE }, { "ro", KEY_RO }, { "rw", KEY_RW },
    { "z", KEY_RELABEL },
};

/* Which types take a key, and the field of the values that are kept as text. */
static const struct rule {
    unsigned types;
    size_t field;
    bool text;
} rules[N_KEYS] = {
    [KEY_TYPE] = { ~0u, 0, false },
    [KEY_ID] = { BIT(CACHE) | BIT(SECRET) | BIT(SSH), offsetof(struct cb_df_mount, id), true },
    [KEY_TARGET] = { ~0u, offsetof(struct cb_df_mount, target), true },
    [KEY_SOURCE] = { BIT(BIND) | BIT(CACHE) | BIT(SECRET), offsetof(struct cb_df_mount, source), true },
    [KEY_FROM] = { BIT(BIND) | BIT(CACHE), offsetof(struct cb_df_mount, from), true },
    [KEY_ENV] = { BIT(SECRET), offsetof(struct cb_df_mount, env), true },
    [KEY_SHARING] = { BIT(CACHE), offsetof(struct cb_df_mount, sharing), true },
    [KEY_MODE] = { BIT(CACHE) | BIT(SECRET) | BIT(SSH), offsetof(struct cb_df_mount, mode), true },
    [KEY_UID] = { BIT(CACHE) | BIT(SECRET) | BIT(SSH), offsetof(struct cb_df_mount, uid), true },
    [KEY_GID] = { BIT(CACHE) | BIT(SECRET) | BIT(SSH), offsetof(struct cb_df_mount, gid), true },
    [KEY_SIZE] = { BIT(TMPFS), offsetof(struct cb_df_mount, size), true },
    [KEY_RO] = { ~0u, 0, false },
    [KEY_RW] = { BIT(BIND) | BIT(CACHE) | BIT(TMPFS), 0, false },
    [KEY_REQUIRED] = { BIT(SECRET) | BIT(SSH), 0, false },
    [KEY_RELABEL] = { BIT(BIND) | BIT(CACHE), 0, false },
};

struct state {
    struct cb_df_mount *m;
    const struct cb_df_scope *scope; /* NULL: variables stay, and what holds one is not checked */
    unsigned seen;     /* keys */
    bool ro, rw;       /* their values */
    bool any_type;     /* the type holds a variable */
    bool env_is_id;    /* `env=` */
};

void cb_df_mount_done(struct cb_df_mount *m)
{
    for (int k = 0; k < N_KEYS; k++) {
        if (rules[k].text)
            free(*(char **)((char *)m + rules[k].field));
    }
    free(m->text);
    *m = (struct cb_df_mount){ 0 };
}

int cb_df_from_check(const char *value, struct cb_error *err)
{
    const char *dollar = strchr(value, '$');
    if (!dollar || !dollar[1])
        return 0;
    return cb_df_fail(err, "from=%s: variables are not expanded here; give the image a stage name (FROM … AS name) and "
                      "write from=name", CB_DF_SHOW(value));
}

static int find_key(const char *name, enum key *key, struct cb_error *err)
{
    const char *names[CB_COUNTOF(spellings) + 1] = { NULL };
    for (size_t i = 0; i < CB_COUNTOF(spellings); i++) {
        if (strcasecmp(spellings[i].name, name) == 0) {
            *key = spellings[i].key;
            return 0;
        }
        names[i] = spellings[i].name;
    }
    return cb_df_fail_suggest(err, cb_asprintf("unknown key %s", CB_DF_SHOW(name)), name, names);
}

/* A choice that is written in lower case from here on. */
static int choice(const char *key, const char *value, const char *const *names, size_t *index, struct cb_error *err)
{
    for (size_t i = 0; names[i]; i++) {
        if (strcasecmp(names[i], value) == 0) {
            *index = i;
            return 0;
        }
    }
    return cb_df_fail_suggest(err, cb_asprintf("%s=%s is not known", key, CB_DF_SHOW(value)), value, names);
}

/* It will be checked when it is expanded. */
static bool is_open(const struct state *s, const char *value)
{
    return !s->scope && strchr(value, '$');
}

static int set_type(struct state *s, const char *value, struct cb_error *err)
{
    size_t i;
    s->any_type = is_open(s, value);
    if (s->any_type)
        return 0;
    int r = choice("type", value, type_names, &i, err);
    if (r == 0)
        s->m->type = (enum cb_df_mount_type)i;
    return r;
}

static int set_switch(struct state *s, enum key key, const char *value, struct cb_error *err)
{
    bool on = true;
    if (value && is_open(s, value))
        return 0;
    if (value && !cb_df_parse_bool(value, &on))
        return cb_df_fail(err, "%s=%s: true or false", spellings[key].name, CB_DF_SHOW(value));
    if (key == KEY_RO)
        s->ro = on;
    else if (key == KEY_RW)
        s->rw = on;
    else
        s->m->required = on;
    return 0;
}

/* Buildah's z, Z and relabel=shared|private: what is mounted gets a label of SELinux that the step's process may read.
 * Ours has no label of its own, and may. */
static int check_relabel(const struct state *s, const char *name, const char *value, struct cb_error *err)
{
    size_t i;
    if (strcasecmp(name, "z") == 0)
        return value ? cb_df_fail(err, "%s takes no value", name) : 0;
    if (!value)
        return cb_df_fail(err, "relabel needs a value: relabel=shared");
    return is_open(s, value) ? 0 : choice("relabel", value, relabel_names, &i, err);
}

static int check_number(enum key key, const char *value, struct cb_error *err)
{
    uint32_t u;
    uint64_t bytes;
    if (key == KEY_MODE && !cb_parse_octal(value, 07777, &u))
        return cb_df_fail(err, "mode=%s: octal digits up to 7777", CB_DF_SHOW(value));
    if ((key == KEY_UID || key == KEY_GID) && !cb_parse_u32(value, &u))
        return cb_df_fail(err, "%s=%s: a number up to 4294967295; names are not looked up", spellings[key].name,
                          CB_DF_SHOW(value));
    if (key == KEY_SIZE && !cb_parse_bytes(value, &bytes))
        return cb_df_fail(err, "size=%s: a number of bytes, or one with k, m or g", CB_DF_SHOW(value));
    return 0;
}

static int set_text(struct state *s, enum key key, const char *value, struct cb_error *err)
{
    char **field = (char **)((char *)s->m + rules[key].field);
    if (key != KEY_FROM && is_open(s, value))
        return cb_df_set_string(field, value);
    int r = key == KEY_FROM ? cb_df_from_check(value, err) : check_number(key, value, err);
    if (r < 0)
        return r;
    s->env_is_id = s->env_is_id || (key == KEY_ENV && !*value);
    if (key == KEY_SHARING) {
        size_t i;
        if ((r = choice("sharing", value, sharing_names, &i, err)) < 0)
            return r;
        value = sharing_names[i];
    }
    return cb_df_set_string(field, value);
}

static int set_field(struct state *s, const char *field, struct cb_error *err)
{
    struct cb_strbuf expanded cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = strcspn(field, "=");
    cb_autofree char *name = cb_strndup(field, n);
    const char *value = field[n] ? field + n + 1 : NULL;
    enum key key = KEY_FROM;
    int r = find_key(name, &key, err);
    if (r < 0)
        return r;
    if (s->seen & (1u << key))
        return cb_df_fail(err, "%s is given twice: keep one", spellings[key].name);
    s->seen |= 1u << key;
    if (s->scope && value && key != KEY_FROM) {
        if ((r = cb_df_expand(&expanded, value, s->scope, err)) < 0)
            return r;
        value = expanded.buf;
    }
    if (key == KEY_RO || key == KEY_RW || key == KEY_REQUIRED)
        return set_switch(s, key, value, err);
    if (key == KEY_RELABEL)
        return check_relabel(s, name, value, err);
    if (!value)
        return cb_df_fail(err, "%s needs a value: %s=…", spellings[key].name, spellings[key].name);
    return key == KEY_TYPE ? set_type(s, value, err) : set_text(s, key, value, err);
}

static int check_keys(const struct state *s, struct cb_error *err)
{
    const char *type = type_names[s->m->type];
    for (int k = 0; k < N_KEYS; k++) {
        if ((s->seen & (1u << k)) && !(rules[k].types & (1u << s->m->type)))
            return cb_df_fail(err, "%s is not for %s mounts: remove it", spellings[k].name, type);
    }
    if ((s->seen & (1u << KEY_RO)) && (s->seen & (1u << KEY_RW)) && s->ro == s->rw)
        return cb_df_fail(err, "readonly and readwrite contradict one another: keep one");
    return 0;
}

/* "/", "//.", "/../": nothing but the root. */
static bool is_root(const char *path)
{
    return path[0] == '/' && path[strspn(path, "/.")] == '\0' && !strstr(path, "...");
}

static int check_places(struct cb_df_mount *m, struct cb_error *err)
{
    bool file = m->type == CB_DF_MOUNT_SECRET || m->type == CB_DF_MOUNT_SSH;
    if (!m->target && !file)
        m->target = cb_strdup("");
    if (m->target && is_root(m->target))
        return cb_df_fail(err, "target=%s: a mount cannot cover the root directory", CB_DF_SHOW(m->target));
    if (m->type != CB_DF_MOUNT_SECRET)
        return 0;
    if (m->source && m->id)
        return cb_df_fail(err, "source is another word for the id of a secret: keep one of them");
    if (!m->source && !m->id && !m->target)
        return cb_df_fail(err, "a secret mount needs a name: add id=…");
    return 0;
}

static int check_all(struct state *s, struct cb_error *err)
{
    struct cb_df_mount *m = s->m;
    int r = s->any_type ? 0 : check_keys(s, err);
    if (r == 0 && !s->any_type)
        r = check_places(m, err);
    if (r < 0)
        return r;
    /* Where the type is not known yet there may be no name either; it is read again when it is. */
    if (s->env_is_id && (m->id || m->source || m->target))
        m->env = cb_strdup(m->id ? m->id : m->source ? m->source : cb_path_base(m->target));
    if (s->seen & (1u << KEY_RO))
        m->readonly = s->ro;
    else if (s->seen & (1u << KEY_RW))
        m->readonly = !s->rw;
    else
        m->readonly = m->type != CB_DF_MOUNT_CACHE && m->type != CB_DF_MOUNT_TMPFS;
    return 0;
}

static int parse(struct cb_df_mount *m, const char *value, const struct cb_df_scope *scope, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec fields = CB_STRVEC_INIT;
    struct state s = { .m = m, .scope = scope };
    m->text = cb_strdup(value);
    int r = cb_df_csv(&fields, value, err);
    for (size_t i = 0; r == 0 && i < fields.n; i++) {
        r = fields.v[i][0] ? set_field(&s, fields.v[i], err)
            : cb_df_fail(err, "empty field: remove the surplus comma");
    }
    return r < 0 ? r : check_all(&s, err);
}

int cb_df_mount_parse(struct cb_df_mount *m, const char *value, struct cb_error *err)
{
    return parse(m, value, NULL, err);
}

int cb_df_mount_expand(struct cb_df_mount *out, const struct cb_df_mount *m, const struct cb_df_scope *scope,
                       struct cb_error *err)
{
    *out = (struct cb_df_mount){ 0 };
    int r = parse(out, m->text, scope, err);
    if (r < 0) {
        cb_error_wrap(err, "--mount=%s", CB_DF_SHOW(m->text));
        cb_df_mount_done(out);
    }
    return r;
}

int cb_df_device_check(const char *value, struct cb_error *err)
{
    static const char *const keys[] = { "name", "required", NULL };
    cb_cleanup_strvec struct cb_strvec fields = CB_STRVEC_INIT;
    bool named = false, on;
    int r = cb_df_csv(&fields, value, err);
    for (size_t i = 0; r == 0 && i < fields.n; i++) {
        const char *f = fields.v[i];
        size_t n = strcspn(f, "=");
        cb_autofree char *key = cb_strndup(f, n);
        bool is_name = strcasecmp(key, "name") == 0;
        if (strcasecmp(key, "required") == 0) {
            if (f[n] && !cb_df_parse_bool(f + n + 1, &on))
                r = cb_df_fail(err, "required=%s: true or false", CB_DF_SHOW(f + n + 1));
        } else if (named) {
            r = is_name ? cb_df_fail(err, "the device is named twice: use one --device for each")
                : cb_df_fail_suggest(err, cb_asprintf("unknown key %s", CB_DF_SHOW(key)), key, keys);
        } else {
            named = is_name ? f[n] && f[n + 1] : *f != '\0';
        }
    }
    return r < 0 || named ? r : cb_df_fail(err, "the name of the device is missing: --device=vendor.com/class=name");
}

void cb_df_device_split(const char *value, char **name, bool *required)
{
    cb_cleanup_strvec struct cb_strvec fields = CB_STRVEC_INIT;
    *name = NULL;
    *required = false;
    if (cb_df_csv(&fields, value, NULL) < 0)
        return;
    for (size_t i = 0; i < fields.n; i++) {
        const char *f = fields.v[i];
        if (strncasecmp(f, "required", 8) == 0 && (!f[8] || f[8] == '=')) {
            *required = true;
            if (f[8])
                (void)!cb_df_parse_bool(f + 9, required);
        } else if (!*name) {
            *name = cb_strdup(strncasecmp(f, "name=", 5) == 0 ? f + 5 : f);
        }
    }
}
