/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the processes of child.h have in common, whichever isolation they are made for. */

#include "exec/child.h"

/* The address sanitizer takes a lock before each call that does not return. A thread that held it is not here any
 * more. */
#define CB_AFTER_CLONE __attribute__((no_sanitize("address")))

int cb_child_control(int option, unsigned long a, unsigned long b); /* prctl */
CB_NORETURN void cb_child_die(const struct cb_child *c, enum cb_stage stage, int sys_errno, const char *what);

/* In this order, in the first process: */
void cb_child_take_signals(void);        /* all of them are blocked, none is handled */
void cb_child_wait(struct cb_child *c);  /* until the parent lets us go; we do not outlive it */
/* A cgroup namespace; our own cgroup as the root of its tree, read-only. Where that cannot be had (cgroup v1, no
 * permission), nothing at all is seen there. */
void cb_child_cgroup(const struct cb_child *c);
void cb_child_stdio(struct cb_child *c); /* descriptors 0 to 2, the report, those to keep, and nothing else */
void cb_child_limits(void);
/* Nothing of the program that we were is to be had from inside: not its memory, environment or arguments. Before
 * anything of the step runs, so all that the step is started with are copies. */
void cb_child_forget(struct cb_child *c);

/* child_program.c: 0, or ELOOP where the program, or the interpreter that a script names, is behind a link of /proc
 * like /proc/self/exe: until it runs that is a file of the machine, ours. With the rights of the builder. */
int cb_child_program_check(const char *path);
/* child_start.c: an anonymous file, sealed, that holds starter.c, or -1 and errno. Before a filter or a limit can be in
 * the way. */
int cb_child_starter(void);
/* Becomes that program, and by it the step's. */
CB_NORETURN void cb_child_start(const struct cb_child *c, int fd);
/* Becomes the step's own process: its directory, user, capabilities, and its program. */
CB_NORETURN void cb_child_step(const struct cb_child *c);
/* Permitted and effective become mask; inheritable always empty (G8). */
int cb_child_capabilities(uint64_t mask);
