/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The parts of notify.h. */

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/hashmap.h"
#include "util/owner_table.h"

struct cb_notifier {
    int pair[2];        /* the child sends the listener through it */
    int listener;
    int proc;           /* /proc of our own processes */
    int root, upper;    /* of the step; borrowed */
    uint64_t root_mount;
    struct cb_owner_table *owners; /* borrowed; NULL: nobody asks */
    struct cb_hashmap *ids;        /* thread id → struct ids: what it is told */
};

/* One call; its thread waits. */
struct cb_notify_call {
    uint64_t id;
    pid_t tid;
    const uint64_t *args;
    unsigned arg;       /* of its row */
    bool narrow;        /* ids have 16 bits */
};

struct cb_notify_reply {
    int64_t value;
    int error;          /* positive */
    bool kernel;        /* the kernel does it */
};

typedef void (*cb_notify_fn)(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);

struct cb_notify_row {
    const char *name;
    cb_notify_fn fn;
    unsigned arg;
    bool narrow;        /* where the processor has 32 bits, this is the older call */
};
/* NULL: not one of ours. narrow is set for this architecture. */
const struct cb_notify_row *cb_notify_find(const struct seccomp_data *d, bool *narrow);

/* False: the thread is not in that call any more. */
bool cb_notify_valid(const struct cb_notifier *n, const struct cb_notify_call *c);
/* A number of the thread's status, in the base given. */
bool cb_notify_status(const struct cb_notifier *n, pid_t tid, const char *field, int base, uint64_t *out);
/* When it began; tid as text. */
bool cb_notify_start(const struct cb_notifier *n, const char *tid, uint64_t *out);
/* Its memory: a whole string of up to size - 1 bytes or n bytes; 0 or an errno. */
int cb_notify_read_text(pid_t tid, uint64_t at, char *buf, size_t size);
int cb_notify_read(pid_t tid, uint64_t at, void *buf, size_t n);
int cb_notify_write(pid_t tid, uint64_t at, const void *buf, size_t n);

/* notify_chown.c; arg: AT_* flags */
void cb_notify_chown(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_fchown(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_fchownat(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);

/* notify_ids.c; arg: CB_IDS_GROUP for groups, else users */
#define CB_IDS_GROUP 1u
#define CB_IDS_EFFECTIVE 2u
void cb_notify_set(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_setre(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_setres(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_setfs(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_setgroups(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_get(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_getres(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_getgroups(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_capset(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_exec(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r);
void cb_notify_ids_free(struct cb_hashmap *ids);
