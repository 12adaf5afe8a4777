/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A home of its own for each test: files, helper programs, and none of the environment that auth reads. */

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"

struct home {
    char dir[64];
    char *path; /* PATH as it was */
};

static int remove_one(const char *path, const struct stat *st CB_UNUSED, int flag CB_UNUSED, struct FTW *f CB_UNUSED)
{
    return remove(path);
}

static CB_UNUSED int home_setup(void **state)
{
    static const char *const unset[] = { "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG",
                                         "XDG_RUNTIME_DIR",    "XDG_CONFIG_HOME",    "CONTAINERS_REGISTRIES_CONF",
                                         "https_proxy",        "http_proxy" };
    struct home *h = CB_NEW(struct home);
    snprintf(h->dir, sizeof h->dir, "/tmp/cbpush-auth-XXXXXX");
    if (!mkdtemp(h->dir))
        return -1;
    h->path = cb_strdup_or_null(getenv("PATH"));
    for (size_t i = 0; i < CB_COUNTOF(unset); i++)
        unsetenv(unset[i]);
    cb_autofree char *run = cb_asprintf("%s/run", h->dir);
    setenv("HOME", h->dir, 1);
    setenv("XDG_RUNTIME_DIR", run, 1);
    *state = h;
    return 0;
}

static CB_UNUSED int home_teardown(void **state)
{
    struct home *h = *state;
    nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (h->path)
        setenv("PATH", h->path, 1);
    free(h->path);
    free(h);
    return 0;
}

/* Writes a file below the home, making its directories. Returns its path; owned. */
static CB_UNUSED char *home_write(const struct home *h, const char *name, const char *text, mode_t mode)
{
    char *path = cb_asprintf("%s/%s", h->dir, name);
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || cb_fd_write_all(fd, text, strlen(text), NULL) < 0 || fchmod(fd, mode) < 0)
        abort();
    close(fd);
    return path;
}

static CB_UNUSED void home_put(const struct home *h, const char *name, const char *text)
{
    free(home_write(h, name, text, 0600));
}

static CB_UNUSED char *home_read(const struct home *h, const char *name)
{
    struct cb_strbuf text = CB_STRBUF_INIT;
    cb_autofree char *path = cb_asprintf("%s/%s", h->dir, name);
    if (cb_file_slurp(path, 1u << 20, &text, NULL) < 0) {
        cb_strbuf_done(&text);
        return NULL;
    }
    return cb_strbuf_detach(&text, NULL);
}

/* A shell script docker-credential-NAME, first in PATH. */
static CB_UNUSED void home_helper(const struct home *h, const char *name, const char *body)
{
    cb_autofree char *file = cb_asprintf("bin/docker-credential-%s", name);
    cb_autofree char *text = cb_asprintf("#!/bin/sh\n%s\n", body);
    free(home_write(h, file, text, 0755));
    cb_autofree char *dirs = cb_asprintf("%s/bin:%s", h->dir, h->path ? h->path : "/bin:/usr/bin");
    setenv("PATH", dirs, 1);
}

/* {"auths": {KEY: {"auth": base64(USER:PASS)}}}; owned. */
static CB_UNUSED char *auth_json(const char *key, const char *pair)
{
    struct cb_strbuf b64 = CB_STRBUF_INIT;
    cb_base64_encode(&b64, pair, strlen(pair));
    char *text = cb_asprintf("{\"auths\": {\"%s\": {\"auth\": \"%s\"}}}", key, b64.buf);
    cb_strbuf_done(&b64);
    return text;
}
