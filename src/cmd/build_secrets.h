/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --secret and --ssh of `build`. Values are read once, into memory that is kept from disks, dumps and children. */

#include "build/build.h"

struct build_ssh_entry {
    struct cb_strvec keys;         /* files; empty: socket is the user's */
    struct cb_store_tmp dir;
    struct cb_ssh_agent *agent;    /* that holds them */
};
struct build_secrets {
    struct cb_build_secret *v;     /* all of them owned, whatever their types say */
    size_t n, cap;
    struct cb_build_ssh *ssh;
    struct build_ssh_entry *entries; /* parallel to ssh */
    size_t n_ssh;
};
/* Each a word of the command line: id=ID[,src=FILE|,env=VAR][,type=file|env]. Without src and env it is the environment
 * variable of that name, else the file of that name. -CB_EUSAGE. */
int build_secrets_take(struct build_secrets *s, const struct cb_strvec *words, struct cb_error *err) CB_WUR;
/* default|ID[=SOCKET|KEY[,KEY…]]; nothing behind the id: $SSH_AUTH_SOCK. -CB_EUSAGE. */
int build_ssh_take(struct build_secrets *s, const struct cb_strvec *words, struct cb_error *err) CB_WUR;
/* Starts agents for key files; they end with close, before the store is closed, or with the calling thread. */
int build_ssh_open(struct build_secrets *s, struct cb_store *store, struct cb_error *err) CB_WUR;
void build_ssh_close(struct build_secrets *s);
void build_secrets_done(struct build_secrets *s);
