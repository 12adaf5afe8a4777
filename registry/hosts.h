/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* containerd's hosts.toml: for one registry host, where its repositories are pulled from and pushed to, in order.
 *
 *     server = "https://registry.example"        # default: the host itself
 *     [host."https://mirror.example/path"]       # "/v2" is added unless override_path
 *       capabilities = ["pull", "resolve"]       # "push"; without "resolve" it serves by digest only
 *       ca = "ca.crt"                            # relative to the file
 *       client = [["client.cert", "client.key"]] # or one file with both
 *       skip_verify = false
 *       override_path = false
 *       dial_timeout = "5s"
 *       [host."https://mirror.example/path".header]
 *         x-key = "secret"
 *
 * server and host may be "http://…", and "unix:///path/of.sock" for a registry that listens there. Looked for in the
 * certs.d directories (certs.c) and /etc/containerd/certs.d as HOST_PORT_, HOST:PORT, and _default in the end. It wins
 * for its host over registries.conf; `blocked` there holds all the same. */

#include <stdbool.h>
#include <stddef.h>

#include "http/http.h"
#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

enum { REG_CAN_PULL = 1, REG_CAN_RESOLVE = 2, REG_CAN_PUSH = 4 };

struct reg_hosts_entry {
    char *url;       /* as written */
    char *authority; /* "mirror.example:5000"; of a socket: "" */
    char *api;       /* "/v2", "/path/v2" */
    bool plain;      /* http */
    bool implied;    /* the server, which the file does not name */
    unsigned can;
    bool can_said;          /* and not by default */
    struct cb_http_tls tls; /* with the socket and the time-out */
    struct cb_strvec headers;
    bool has_authorization; /* among them */
};
struct reg_hosts {
    char *file;
    struct reg_hosts_entry *v; /* mirrors in order, then the server */
    size_t n, cap;
};
/* file: for messages and relative names. -CB_ECONF: "FILE: line N: …". */
int reg_hosts_parse(struct reg_hosts *h, const char *file, const char *host, struct cb_slice text,
                    struct cb_error *err) CB_WUR;
void reg_hosts_done(struct reg_hosts *h);
/* The file for a host, or NULL where there is none. Owned. */
char *reg_hosts_file(const char *host);
