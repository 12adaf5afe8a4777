/* SPDX-License-Identifier: Apache-2.0 */
#include "util/arena.h"

#include <string.h>

#include "util/alloc.h"

#define FIRST_CHUNK ((size_t)4 << 10)
#define LARGEST_CHUNK ((size_t)1 << 20)

struct cb_arena_chunk {
    struct cb_arena_chunk *next;
    size_t used, cap;
    _Alignas(max_align_t) unsigned char data[];
};

static struct cb_arena_chunk *add_chunk(struct cb_arena *a, size_t need)
{
    size_t cap = a->head ? CB_MIN(a->head->cap * 2, LARGEST_CHUNK) : FIRST_CHUNK;
    cap = CB_MAX(cap, need);
    struct cb_arena_chunk *c = cb_malloc(sizeof *c + cap);
    c->used = 0;
    c->cap = cap;
    c->next = a->head;
    a->head = c;
    return c;
}

static void *take(struct cb_arena *a, size_t n, size_t align)
{
    struct cb_arena_chunk *c = a->head;
    size_t at = c ? (c->used + align - 1) & ~(align - 1) : 0;
    if (!c || at > c->cap || c->cap - at < n) {
        c = add_chunk(a, n);
        at = 0;
    }
    c->used = at + n;
    a->total += n;
    return c->data + at;
}

void *cb_arena_alloc(struct cb_arena *a, size_t n)
{
    return take(a, n, sizeof(void *));
}

char *cb_arena_chars(struct cb_arena *a, size_t n)
{
    char *s = take(a, n + 1, 1);
    s[n] = '\0';
    return s;
}

char *cb_arena_strndup(struct cb_arena *a, const void *p, size_t n)
{
    char *s = cb_arena_chars(a, n);
    if (n)
        memcpy(s, p, n);
    return s;
}

static void drop_chunks(struct cb_arena_chunk *c)
{
    struct cb_arena_chunk *next;
    for (; c; c = next) {
        next = c->next;
        free(c);
    }
}

void cb_arena_done(struct cb_arena *a)
{
    drop_chunks(a->head);
    *a = (struct cb_arena){ 0 };
}

void cb_arena_reset(struct cb_arena *a)
{
    a->total = 0;
    if (!a->head)
        return;
    drop_chunks(CB_TAKE(a->head->next));
    a->head->used = 0;
}
