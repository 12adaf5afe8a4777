/* SPDX-License-Identifier: Apache-2.0 */
#include "build/inputs.h"
#include "util/alloc.h"
#include "util/encode.h"

#define WHAT_MAX 64

/* FNV-1a. These hashes tell people what has changed, and decide nothing. */
static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *c = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * UINT64_C(0x100000001b3);
    return h;
}
#define MIX_BEGIN UINT64_C(0xcbf29ce484222325)

static uint64_t mix_text(uint64_t h, const char *text)
{
    return mix(h, text, strlen(text) + 1);
}

/* 12 digits of it. */
static void add_hash(char out[static 13], uint64_t h)
{
    uint8_t raw[6];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(h >> (56 - 8 * i));
    cb_hex_encode(out, raw, sizeof raw);
}

/* Owners, devices, extended attributes: what hardly ever changes. */
static unsigned rest_of(const struct cb_entry *e)
{
    const uint32_t numbers[] = { e->uid, e->gid, e->dev_major, e->dev_minor };
    uint64_t h = MIX_BEGIN;
    if (!e->uid && !e->gid && !e->n_xattrs && !e->dev_major && !e->dev_minor)
        return 0;
    h = mix(h, numbers, sizeof numbers);
    for (size_t i = 0; i < e->n_xattrs; i++) {
        h = mix_text(h, e->xattrs[i].name);
        h = mix(h, e->xattrs[i].value, e->xattrs[i].len);
    }
    return (unsigned)h;
}

/* "f644 0123456789ab 0": type and mode, the digest of the data or a hash of where a link leads, the rest. */
static void what_of(char out[static WHAT_MAX], const struct cb_entry *e)
{
    static const char types[] = "?wodfslcbp";
    char hex[13] = "-";
    if (e->digest.known)
        cb_hex_encode(hex, e->digest.raw, 6);
    else if (e->link)
        add_hash(hex, mix_text(MIX_BEGIN, e->link));
    snprintf(out, WHAT_MAX, "%c%o %s %x", types[(size_t)e->type < sizeof types - 1 ? e->type : 0], e->mode, hex,
             rest_of(e));
}

void cb_file_hash(char out[static CB_FILE_HASH + 1], const char *path, const char *what)
{
    add_hash(out, mix_text(MIX_BEGIN, path));
    add_hash(out + CB_FILE_HASH / 2, mix_text(MIX_BEGIN, what));
}

/* What nearly every path is. */
static bool is_plain(const char *text)
{
    while (*text >= ' ' && *text < 0x7f)
        text++;
    return !*text;
}

struct described {
    struct cb_strbuf path;
    char what[WHAT_MAX];
};

static void describe_file(struct described *d, const struct cb_item *it)
{
    const char *name = !it->se && *cb_item_path(it) ? cb_item_path(it) : ".";
    struct cb_entry e;
    cb_item_entry(it, &e);
    what_of(d->what, &e);
    cb_strbuf_reset(&d->path);
    if (is_plain(name))
        cb_strbuf_adds(&d->path, name);
    else
        cb_strbuf_add_sanitized(&d->path, name, strlen(name), false);
}

static uint64_t add_to_sum(uint64_t sum, const struct described *d)
{
    return mix_text(mix_text(sum ? sum : MIX_BEGIN, d->path.buf), d->what);
}

typedef void each_file(void *arg, const struct described *d);

static void go_through(const struct cb_selection *sel, each_file *each, void *arg)
{
    struct described d = { .path = CB_STRBUF_INIT };
    for (size_t i = 0; i < sel->n; i++)
        for (size_t k = 0; k < sel->v[i].n; k++)
            if (!sel->v[i].items[k]->on_the_way) {
                describe_file(&d, sel->v[i].items[k]);
                each(arg, &d);
            }
    cb_strbuf_done(&d.path);
}

static void add_file(void *arg, const struct described *d)
{
    struct cb_step_inputs *to = arg;
    to->files_sum = add_to_sum(to->files_sum, d);
    cb_strvec_push(&to->paths, d->path.buf);
    cb_strvec_push(&to->whats, d->what);
    to->n_files++;
}

void cb_inputs_add_files(struct cb_step_inputs *to, const struct cb_selection *sel)
{
    go_through(sel, add_file, to);
}

static void note_file(void *arg, const struct described *d)
{
    struct cb_noted_files *to = arg;
    char hash[CB_FILE_HASH + 1];
    to->sum = add_to_sum(to->sum, d);
    cb_file_hash(hash, d->path.buf, d->what);
    if (to->hashes.len <= CB_INPUTS_HASHES)
        cb_strbuf_adds(&to->hashes, hash);
    to->n++;
}

static size_t count(const struct cb_selection *sel)
{
    size_t n = 0;
    for (size_t i = 0; i < sel->n; i++)
        for (size_t k = 0; k < sel->v[i].n; k++)
            n += !sel->v[i].items[k]->on_the_way;
    return n;
}

void cb_inputs_note(struct cb_noted_files *out, struct cb_selection *sel)
{
    if (count(sel) <= CB_INPUTS_NAMED)
        return;
    *out = (struct cb_noted_files){ .hashes = CB_STRBUF_INIT };
    go_through(sel, note_file, out);
    cb_selection_done(sel);
    if (out->hashes.len > CB_INPUTS_HASHES)
        cb_strbuf_done(&out->hashes);
}

void cb_inputs_add_noted(struct cb_step_inputs *to, const struct cb_noted_files *noted)
{
    to->n_files = noted->n;
    to->files_sum = noted->sum;
    cb_strbuf_add(&to->hashes, noted->hashes.buf, noted->hashes.len);
}

/* ---- what differs ---- */

void cb_files_change_done(struct cb_files_change *c)
{
    struct cb_strbuf *const all[] = { &c->text, &c->path, &c->was, &c->is };
    for (size_t i = 0; i < CB_COUNTOF(all); i++)
        cb_strbuf_done(all[i]);
}

static void hash_at(const struct cb_step_inputs *s, size_t i, char out[static CB_FILE_HASH + 1])
{
    if (s->hashes.len)
        snprintf(out, CB_FILE_HASH + 1, "%.24s", s->hashes.buf + i * CB_FILE_HASH);
    else
        cb_file_hash(out, s->paths.v[i], s->whats.v[i]);
}

static bool has_table(const struct cb_step_inputs *s)
{
    return s->n_files == 0 || s->paths.n == s->n_files || s->hashes.len == s->n_files * CB_FILE_HASH;
}

/* Path hash → a pointer into s's numbers. */
struct table {
    struct cb_hashmap *map;
    size_t *numbers;
};

static void table_done(struct table *t)
{
    cb_hashmap_free(t->map);
    free(t->numbers);
}

static void table_make(struct table *t, const struct cb_step_inputs *s)
{
    t->map = cb_hashmap_new();
    t->numbers = cb_calloc(s->n_files + 1, sizeof *t->numbers);
    for (size_t i = 0; i < s->n_files; i++) {
        char hash[CB_FILE_HASH + 1];
        hash_at(s, i, hash);
        hash[CB_FILE_HASH / 2] = '\0';
        t->numbers[i] = i;
        cb_hashmap_put(t->map, hash, &t->numbers[i]);
    }
}

/* The number of the same path in t's side, or SIZE_MAX; *same: it is as it was. */
static size_t find(const struct table *t, const struct cb_step_inputs *side, const struct cb_step_inputs *s, size_t i,
                   bool *same)
{
    char a[CB_FILE_HASH + 1], b[CB_FILE_HASH + 1];
    hash_at(s, i, a);
    const size_t *at = cb_hashmap_getn(t->map, a, CB_FILE_HASH / 2);
    *same = false;
    if (!at)
        return SIZE_MAX;
    hash_at(side, *at, b);
    *same = !strcmp(a, b);
    return *at;
}

struct what {
    char type;
    unsigned mode, rest;
    char hex[16];
};

static struct what parse_what(const char *text)
{
    struct what w = { 0 };
    if (sscanf(text, "%c%o %15s %x", &w.type, &w.mode, w.hex, &w.rest) != 4)
        w.type = '?';
    return w;
}

/* old NULL: all that is known is that it is another. */
static void describe(struct cb_files_change *out, const char *old, const char *now)
{
    struct what a = parse_what(old ? old : ""), b = parse_what(now);
    if (!old) {
        cb_strbuf_adds(&out->text, " changed");
    } else if (a.type != b.type) {
        cb_strbuf_adds(&out->text, " is of another type");
    } else if (strcmp(a.hex, b.hex) && b.type == 's') {
        cb_strbuf_adds(&out->text, " leads elsewhere");
    } else if (strcmp(a.hex, b.hex)) {
        cb_strbuf_addf(&out->was, "sha256:%s…", a.hex);
        cb_strbuf_addf(&out->is, "sha256:%s…", b.hex);
        cb_strbuf_addf(&out->text, " changed (%s → %s)", out->was.buf, out->is.buf);
    } else if (a.mode != b.mode) {
        cb_strbuf_addf(&out->was, "%o", a.mode);
        cb_strbuf_addf(&out->is, "%o", b.mode);
        cb_strbuf_addf(&out->text, " has mode %s, and had %s", out->is.buf, out->was.buf);
    } else {
        cb_strbuf_adds(&out->text, " has another owner or other attributes");
    }
}

static void tell(struct cb_files_change *out, const char *path)
{
    cb_strbuf_adds(&out->path, path);
    cb_strbuf_adds(&out->text, path);
}

static size_t tell_changed(const struct table *t, const struct cb_step_inputs *old, const struct cb_step_inputs *now,
                           struct cb_files_change *out)
{
    size_t n = 0;
    for (size_t i = 0; i < now->n_files; i++) {
        bool same;
        size_t was = find(t, old, now, i, &same);
        if (same || n++)
            continue;
        tell(out, now->paths.v[i]);
        if (was == SIZE_MAX)
            cb_strbuf_adds(&out->text, " is new");
        else
            describe(out, old->whats.n ? old->whats.v[was] : NULL, now->whats.v[i]);
    }
    return n;
}

/* told: something that changed was named already. */
static size_t tell_removed(const struct cb_step_inputs *old, const struct cb_step_inputs *now, bool told,
                           struct cb_files_change *out)
{
    struct table t CB_CLEANUP(table_done) = { 0 };
    size_t n = 0;
    table_make(&t, now);
    for (size_t i = 0; i < old->n_files; i++) {
        bool same;
        if (find(&t, now, old, i, &same) != SIZE_MAX || n++ || told)
            continue;
        if (old->paths.n)
            tell(out, old->paths.v[i]);
        else
            cb_strbuf_adds(&out->text, "a file");
        cb_strbuf_adds(&out->text, " was removed");
    }
    return n;
}

bool cb_files_differ(const struct cb_step_inputs *old, const struct cb_step_inputs *now, struct cb_files_change *out)
{
    if (old->n_files == now->n_files && old->files_sum == now->files_sum)
        return false;
    if (!has_table(old) || !has_table(now)) {
        cb_strbuf_addf(&out->text, "something among its files changed: there were %zu, too many to keep a list of them",
                       old->n_files);
        return true;
    }
    struct table t CB_CLEANUP(table_done) = { 0 };
    table_make(&t, old);
    size_t n = tell_changed(&t, old, now, out);
    n += tell_removed(old, now, n > 0, out);
    if (n == 0)
        cb_strbuf_adds(&out->text, "its files are taken in another order");
    else if (n > 1)
        cb_strbuf_addf(&out->text, ", and %zu more file%s differ%s", n - 1, n > 2 ? "s" : "", n > 2 ? "" : "s");
    return true;
}
