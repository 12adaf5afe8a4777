/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a step sees of the network: /etc/hosts, /etc/resolv.conf, and pasta. */

#include <sys/types.h>

#include "exec/exec.h"
#include "util/strbuf.h"

/* Docker's /etc/hosts with the step's own name and the extra "name ip" entries. -CB_ECONF for one that is malformed. */
int cb_network_hosts(const char *hostname, const struct cb_strvec *extra, struct cb_strbuf *out,
                     struct cb_error *err) CB_WUR;
/* resolv.conf for the step. host: the host's text; upstream: the text of systemd-resolved's own file, or NULL. HOST:
 * as it is. PRIVATE: name servers of the host's loopback cannot be reached, and are left out; where no other is left,
 * upstream's are taken, else CB_NETWORK_FORWARDED stands for them. NONE: none. */
void cb_network_resolv(enum cb_network mode, const char *host, const char *upstream, struct cb_strbuf *out);

/* pasta passes queries to that address on to the host's first name server. */
#define CB_NETWORK_FORWARDED "169.254.1.1"
/* Whether the step's resolv.conf names it. */
bool cb_network_forwards(const struct cb_exec_spec *spec);

/* What --dns, --dns-search and --dns-option say instead of it. dns NULL: nothing. */
void cb_network_dns(const struct cb_dns *dns, struct cb_strbuf *text);
const char *cb_network_hostname(const struct cb_exec_spec *spec);
/* Both files of a step, from this machine's. */
int cb_network_texts(const struct cb_exec_spec *spec, struct cb_strbuf *hosts, struct cb_strbuf *resolv,
                     struct cb_error *err) CB_WUR;

/* pasta, serving one network namespace until it is stopped. */
struct cb_pasta {
    pid_t pid;   /* 0: none */
    int status;  /* of the one that ended by itself, as wait has it */
    int errors;  /* a memory file with its standard error */
};
#define CB_PASTA_INIT { .errors = -1 }
/* Into the network namespace of that thread of ours; returns when its interface is there. -CB_ELOCAL with what pasta
 * said or what is missing, -CB_ELOCAL as well when it takes longer than some seconds. */
int cb_pasta_start(struct cb_pasta *p, pid_t tid, const struct cb_exec_spec *spec, struct cb_error *err) CB_WUR;
void cb_pasta_stop(struct cb_pasta *p);
/* The argument of pasta's -t for a port. */
void cb_pasta_port(const struct cb_port *port, struct cb_strbuf *out);
