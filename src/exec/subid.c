/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/subid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define MAX_SUBID_FILE (4u << 20)
#define MAX_RANGES 300 /* the kernel takes 340 lines */

void cb_id_ranges_done(struct cb_id_ranges *r)
{
    free(r->v);
    *r = (struct cb_id_ranges){ 0 };
}

/* One field up to ':' or the end of the line; false where there is none left. */
static bool next_field(const char **p, const char *end, struct cb_slice *field)
{
    if (*p > end)
        return false;
    const char *colon = memchr(*p, ':', (size_t)(end - *p));
    const char *stop = colon ? colon : end;
    *field = cb_slice_trim((struct cb_slice){ *p, (size_t)(stop - *p) });
    *p = stop + 1;
    return true;
}

static bool parse_id(struct cb_slice s, uint32_t *out)
{
    char digits[16];
    if (s.len == 0 || s.len >= sizeof digits)
        return false;
    memcpy(digits, s.ptr, s.len);
    digits[s.len] = '\0';
    return cb_parse_u32(digits, out);
}

static bool owner_matches(struct cb_slice owner, const char *name, uint32_t own)
{
    uint32_t id = 0;
    if (name && cb_slice_eq(owner, name))
        return true;
    return parse_id(owner, &id) && id == own;
}

static bool range_is_usable(const struct cb_id_range *r, uint32_t own)
{
    uint32_t last = 0;
    if (r->start == 0 || r->count == 0 || cb_add_overflow(r->start, r->count - 1, &last) || last == UINT32_MAX)
        return false;
    return own < r->start || own > last;
}

static void parse_line(const char *line, const char *end, const char *name, uint32_t own, struct cb_id_ranges *out)
{
    struct cb_slice owner = { 0 }, start = { 0 }, count = { 0 };
    struct cb_id_range r = { 0 };
    bool fields = next_field(&line, end, &owner) && next_field(&line, end, &start) && next_field(&line, end, &count);
    if (!fields || !owner_matches(owner, name, own) || out->n >= MAX_RANGES)
        return;
    if (!parse_id(start, &r.start) || !parse_id(count, &r.count) || !range_is_usable(&r, own))
        return;
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = r;
}

void cb_subid_parse(const char *text, const char *name, uint32_t own, struct cb_id_ranges *out)
{
    while (*text) {
        const char *end = strchrnul(text, '\n');
        parse_line(text, end, name, own, out);
        text = *end ? end + 1 : end;
    }
}

int cb_subid_read(const char *path, const char *name, uint32_t own, struct cb_id_ranges *out, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    int r = cb_file_slurp(path, MAX_SUBID_FILE, &text, err);
    if (r < 0)
        return r;
    cb_subid_parse(text.buf, name, own, out);
    return 0;
}

uint64_t cb_id_ranges_total(const struct cb_id_ranges *r)
{
    uint64_t total = 0;
    for (size_t i = 0; i < r->n; i++)
        total += r->v[i].count;
    return total;
}

void cb_subid_map_args(struct cb_strvec *argv, const char *program, int pid, uint32_t own, const struct cb_id_ranges *r)
{
    uint64_t inside = 1;
    cb_strvec_push(argv, program);
    cb_strvec_pushf(argv, "%d", pid);
    cb_strvec_push(argv, "0");
    cb_strvec_pushf(argv, "%u", own);
    cb_strvec_push(argv, "1");
    for (size_t i = 0; i < r->n; i++) {
        uint64_t room = (uint64_t)UINT32_MAX - 1 - inside;
        uint64_t count = CB_MIN(room, r->v[i].count);
        if (count == 0)
            return;
        cb_strvec_pushf(argv, "%llu", (unsigned long long)inside);
        cb_strvec_pushf(argv, "%u", r->v[i].start);
        cb_strvec_pushf(argv, "%llu", (unsigned long long)count);
        inside += count;
    }
}

uint32_t cb_id_map_size(const char *map_text)
{
    uint64_t total = 0;
    unsigned long long inside, outside, count;
    int used = 0;
    /* The kernel wrote it: three numbers a line. */
    while (sscanf(map_text, "%llu %llu %llu%n", &inside, &outside, &count, &used) == 3) {
        total += count;
        map_text += used;
    }
    return total > UINT32_MAX ? UINT32_MAX : (uint32_t)total;
}
