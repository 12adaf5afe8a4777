/* SPDX-License-Identifier: Apache-2.0 */
/* The library only says which number a name has: what it makes of so many rules are the same decisions (a test compares
 * them), but the time that takes is longer than all else that a step costs. */
#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "exec/seccomp_bpf.h"
#include "exec/seccomp_lib.h"
#include "exec/seccomp_names.h"
#include "util/alloc.h"
#include "util/strbuf.h"

#define NAMESPACE_FLAGS 0x7e020000u /* CLONE_NEW* */

/* ---- instructions ---- */

void cb_bpf_add(struct cb_bpf *b, struct sock_filter f)
{
    CB_GROW(b->v, b->n, b->cap);
    b->v[b->n++] = f;
}

void cb_bpf_load(struct cb_bpf *b, size_t offset)
{
    cb_bpf_add(b, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

void cb_bpf_return(struct cb_bpf *b, uint32_t action)
{
    cb_bpf_add(b, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOW 0
#else
#define LOW 4
#endif

size_t cb_bpf_arg_low(unsigned arg)
{
    return offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t) + LOW;
}

size_t cb_bpf_arg_high(unsigned arg)
{
    return offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t) + (4 - LOW);
}

/* Far jumps, as the others reach 255 instructions: goes on behind it where the accumulator is `how` k, else there. */
static size_t begin_if(struct cb_bpf *b, uint16_t how, uint32_t k)
{
    cb_bpf_add(b, (struct sock_filter)BPF_JUMP(BPF_JMP | how | BPF_K, k, 1, 0));
    cb_bpf_add(b, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
    return b->n - 1;
}

static void end_if(struct cb_bpf *b, size_t jump)
{
    b->v[jump].k = (uint32_t)(b->n - jump - 1);
}

/* ---- what depends on arguments ---- */

/* (argument & mask) == value; of whole values of 64 bits the upper half must be zero. */
struct condition {
    unsigned arg;
    uint32_t mask, value; /* mask 0: none */
};

/* Allowed where all conditions of one of its rows hold. */
static const struct row {
    const char *name;
    struct condition c[2];
} rows[] = {
    { "clone", { { 0, NAMESPACE_FLAGS, 0 } } },
    { "personality", { { 0, ~0u, 0 } } },
    { "personality", { { 0, ~0u, 0x0008 } } },
    { "personality", { { 0, ~0u, 0x20000 } } },
    { "personality", { { 0, ~0u, 0x20008 } } },
    { "personality", { { 0, ~0u, 0xffffffff } } },
    { "mknod", { { 1, S_IFMT, 0 } } },
    { "mknod", { { 1, S_IFMT, S_IFREG } } },
    { "mknod", { { 1, S_IFMT, S_IFIFO } } },
    { "mknod", { { 1, S_IFMT, S_IFSOCK } } },
    { "mknod", { { 1, S_IFMT, S_IFCHR }, { 2, ~0u, 0 } } },
    { "mknodat", { { 2, S_IFMT, 0 } } },
    { "mknodat", { { 2, S_IFMT, S_IFREG } } },
    { "mknodat", { { 2, S_IFMT, S_IFIFO } } },
    { "mknodat", { { 2, S_IFMT, S_IFSOCK } } },
    { "mknodat", { { 2, S_IFMT, S_IFCHR }, { 3, ~0u, 0 } } },
};

static const char *const missing[] = { "clone3", "process_vm_readv", "process_vm_writev" };

/* Whether accumulator & mask is value: else it goes to what end_if says. */
static size_t begin_if_masked(struct cb_bpf *b, size_t offset, uint32_t mask, uint32_t value)
{
    cb_bpf_load(b, offset);
    if (mask != ~0u)
        cb_bpf_add(b, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
    return begin_if(b, BPF_JEQ, value);
}

static void emit_row(struct cb_bpf *b, const struct row *row, bool wide)
{
    size_t jumps[2 * CB_COUNTOF(row->c)], n = 0;
    for (size_t i = 0; i < CB_COUNTOF(row->c) && row->c[i].mask; i++) {
        const struct condition *c = &row->c[i];
        if (wide && c->mask == ~0u)
            jumps[n++] = begin_if_masked(b, cb_bpf_arg_high(c->arg), ~0u, 0);
        jumps[n++] = begin_if_masked(b, cb_bpf_arg_low(c->arg), c->mask, c->value);
    }
    cb_bpf_return(b, SECCOMP_RET_ALLOW);
    while (n)
        end_if(b, jumps[--n]);
}

/* ---- the numbers of an architecture ---- */

enum verdict { DENY, ALLOW, ABSENT, DEPENDS };

struct piece {
    uint32_t from; /* up to the next one */
    enum verdict verdict;
    const char *name; /* DEPENDS */
};

struct table {
    uint32_t token; /* the library's */
    bool wide;      /* arguments have 64 bits */
    struct piece *v;
    size_t n, cap;
};

/* The library knows these only as parts of socketcall and ipc, which stand for themselves. */
static const struct direct {
    const char *name;
    int call;
} direct_i386[] = {
    { "recvmmsg", 337 },    { "sendmmsg", 345 },   { "socket", 359 },     { "socketpair", 360 },  { "bind", 361 },
    { "connect", 362 },     { "listen", 363 },     { "accept4", 364 },    { "getsockopt", 365 },  { "setsockopt", 366 },
    { "getsockname", 367 }, { "getpeername", 368 }, { "sendto", 369 },    { "sendmsg", 370 },     { "recvfrom", 371 },
    { "recvmsg", 372 },     { "shutdown", 373 },   { "semget", 393 },     { "semctl", 394 },      { "shmget", 395 },
    { "shmctl", 396 },      { "shmat", 397 },      { "shmdt", 398 },      { "msgget", 399 },      { "msgsnd", 400 },
    { "msgrcv", 401 },      { "msgctl", 402 },
};

static int number_of(uint32_t token, const char *name)
{
    int call = seccomp_syscall_resolve_name_arch(token, name);
    for (size_t i = 0; call < 0 && token == SCMP_ARCH_X86 && i < CB_COUNTOF(direct_i386); i++)
        if (cb_streq(direct_i386[i].name, name))
            call = direct_i386[i].call;
    return call;
}

static void add(struct table *t, const char *name, enum verdict verdict)
{
    int call = number_of(t->token, name);
    if (call < 0)
        return;
    CB_GROW(t->v, t->n, t->cap);
    t->v[t->n++] = (struct piece){ (uint32_t)call, verdict, name };
}

static int by_number(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static void list_calls(struct table *t)
{
    for (size_t i = 0; i < CB_COUNTOF(allowed_names); i++)
        add(t, allowed_names[i], ALLOW);
    for (size_t i = 0; i < CB_COUNTOF(missing); i++)
        add(t, missing[i], ABSENT);
    for (size_t i = 0; i < CB_COUNTOF(rows); i++)
        if (i == 0 || !cb_streq(rows[i].name, rows[i - 1].name))
            add(t, rows[i].name, DEPENDS);
    if (t->n)
        qsort(t->v, t->n, sizeof *t->v, by_number);
}

static void push(struct table *t, struct piece p)
{
    const struct piece *last = t->n ? &t->v[t->n - 1] : NULL;
    if (last && last->verdict == p.verdict && p.verdict != DEPENDS)
        return;
    CB_GROW(t->v, t->n, t->cap);
    t->v[t->n++] = p;
}

/* Every number lies in a piece: what is between calls is refused. */
static void make_pieces(const struct table *calls, struct table *out)
{
    uint32_t next = 0;
    push(out, (struct piece){ .from = 0, .verdict = DENY });
    for (size_t i = 0; i < calls->n; i++) {
        struct piece p = calls->v[i];
        if (i && p.from == calls->v[i - 1].from)
            continue; /* two names of one call */
        if (p.from > next)
            push(out, (struct piece){ .from = next, .verdict = DENY });
        if (p.from == 0)
            out->n = 0;
        push(out, p);
        next = p.from + 1;
    }
    push(out, (struct piece){ .from = next, .verdict = DENY });
}

static void emit_piece(struct cb_bpf *b, const struct table *t, const struct piece *p)
{
    for (size_t i = 0; p->verdict == DEPENDS && i < CB_COUNTOF(rows); i++)
        if (cb_streq(rows[i].name, p->name))
            emit_row(b, &rows[i], t->wide);
    cb_bpf_return(b, p->verdict == ALLOW    ? SECCOMP_RET_ALLOW
                     : p->verdict == ABSENT ? SECCOMP_RET_ERRNO | ENOSYS
                                            : SECCOMP_RET_ERRNO | EPERM);
}

/* The accumulator is the number, and lies in one of pieces [low, high). */
static void emit_search(struct cb_bpf *b, const struct table *t, size_t low, size_t high)
{
    if (high - low == 1) {
        emit_piece(b, t, &t->v[low]);
        return;
    }
    size_t middle = low + (high - low) / 2;
    size_t jump = begin_if(b, BPF_JGE, t->v[middle].from);
    emit_search(b, t, middle, high);
    end_if(b, jump);
    emit_search(b, t, low, middle);
}

static void emit_table(struct cb_bpf *b, uint32_t token, bool wide)
{
    struct table calls = { .token = token }, t = { .token = token, .wide = wide };
    list_calls(&calls);
    make_pieces(&calls, &t);
    cb_bpf_load(b, offsetof(struct seccomp_data, nr));
    emit_search(b, &t, 0, t.n);
    free(calls.v);
    free(t.v);
}

void cb_seccomp_body(struct cb_bpf *b)
{
    size_t jump;
    cb_bpf_load(b, offsetof(struct seccomp_data, arch));
#if defined(__x86_64__)
    jump = begin_if(b, BPF_JEQ, AUDIT_ARCH_X86_64);
    cb_bpf_load(b, offsetof(struct seccomp_data, nr));
    size_t x32 = begin_if(b, BPF_JGE, CB_SECCOMP_X32);
    emit_table(b, SCMP_ARCH_X32, false);
    end_if(b, x32);
    emit_table(b, SCMP_ARCH_X86_64, true);
    end_if(b, jump);
    jump = begin_if(b, BPF_JEQ, AUDIT_ARCH_I386);
    emit_table(b, SCMP_ARCH_X86, false);
#elif defined(__aarch64__)
    jump = begin_if(b, BPF_JEQ, AUDIT_ARCH_AARCH64);
    emit_table(b, SCMP_ARCH_AARCH64, true);
    end_if(b, jump);
    jump = begin_if(b, BPF_JEQ, AUDIT_ARCH_ARM);
    emit_table(b, SCMP_ARCH_ARM, false);
#else
#error "the seccomp profile does not know this architecture yet"
#endif
    end_if(b, jump);
    cb_bpf_return(b, SECCOMP_RET_KILL_THREAD);
}
