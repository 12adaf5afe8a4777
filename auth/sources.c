/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/strbuf.h"

/* Owns name. */
static void add(struct auth_sources *s, enum auth_source_kind kind, char *name, const char *text)
{
    struct auth_found_map *helped = CB_NEW(struct auth_found_map);
    auth_found_init(helped);
    CB_GROW(s->v, s->n, s->cap);
    struct auth_source *src = &s->v[s->n++];
    *src = (struct auth_source){ .kind = kind, .name = name, .text = cb_strdup_or_null(text), .helped = helped,
                                 .cancel = s->cancel };
    pthread_mutex_init(&src->mu, NULL);
}

static const char *home(void)
{
    const char *h = getenv("HOME");
    return h && *h ? h : "/root";
}

static char *runtime_path(void)
{
    const char *x = getenv("XDG_RUNTIME_DIR");
    return x && *x ? cb_asprintf("%s/containers/auth.json", x)
                   : cb_asprintf("/run/containers/%u/auth.json", getuid());
}

static char *config_path(void)
{
    const char *x = getenv("XDG_CONFIG_HOME");
    return x && *x ? cb_asprintf("%s/containers/auth.json", x)
                   : cb_asprintf("%s/.config/containers/auth.json", home());
}

static const char *set_or_null(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

/* BuildKit's per-repository files belong to docker's. */
static void add_docker(struct auth_sources *s, const char *dir)
{
    const char *buildx = set_or_null("BUILDX_CONFIG");
    add(s, AUTH_BUILDX, buildx ? cb_asprintf("%s/config", buildx) : cb_asprintf("%s/buildx/config", dir), NULL);
    add(s, AUTH_FILE, cb_asprintf("%s/config.json", dir), NULL);
}

static void add_podman(struct auth_sources *s)
{
    add(s, AUTH_FILE, runtime_path(), NULL);
    add(s, AUTH_FILE, config_path(), NULL);
}

/* A variable replaces the files of its own family: who uses docker and podman has logged in with either. */
void auth_sources_find(struct auth_sources *s, const char *authfile)
{
    const char *in_place = set_or_null(AUTH_IN_PLACE), *podman = set_or_null("REGISTRY_AUTH_FILE"),
               *docker = set_or_null("DOCKER_CONFIG");
    if (authfile) {
        add(s, AUTH_FILE, cb_strdup(authfile), NULL);
        s->v[0].must = s->v[0].named = true;
        return;
    }
    if (in_place)
        add(s, AUTH_FILE, cb_strdup(AUTH_IN_PLACE), in_place);
    if (podman) {
        add(s, AUTH_FILE, cb_strdup(podman), NULL);
        s->v[s->n - 1].named = true;
    }
    if (docker)
        add_docker(s, docker);
    if (!podman)
        add_podman(s);
    if (docker)
        return;
    cb_autofree char *dir = cb_asprintf("%s/.docker", home());
    add_docker(s, dir);
    add(s, AUTH_OLD, cb_asprintf("%s/.dockercfg", home()), NULL);
}

static bool is_there(const char *dir, const char *name)
{
    cb_autofree char *path = cb_asprintf("%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

/* Kubernetes names the key of such a secret .dockerconfigjson, and mounts it as a file of that name. */
void auth_sources_missing(struct cb_strbuf *out)
{
    const char *podman = set_or_null("REGISTRY_AUTH_FILE"), *docker = set_or_null("DOCKER_CONFIG");
    struct stat st;
    if (podman && stat(podman, &st) < 0)
        cb_strbuf_addf(out, " (REGISTRY_AUTH_FILE names %s: %s)", podman, strerrordesc_np(errno));
    if (!docker || is_there(docker, "config.json"))
        return;
    if (stat(docker, &st) == 0 && !S_ISDIR(st.st_mode))
        cb_strbuf_addf(out, " (DOCKER_CONFIG names the directory of config.json, but %s is a file)", docker);
    else if (is_there(docker, ".dockerconfigjson"))
        cb_strbuf_addf(out, " (%s, which DOCKER_CONFIG names, has .dockerconfigjson: mount it as config.json)", docker);
    else
        cb_strbuf_addf(out, " (%s, which DOCKER_CONFIG names, has no config.json)", docker);
}

static void source_done(struct auth_source *src)
{
    free(src->name);
    auth_secret_free(src->text);
    auth_found_done(src->helped);
    free(src->helped);
    json_decref(src->root);
    cb_error_done(&src->failed);
    pthread_mutex_destroy(&src->mu);
}

void auth_sources_done(struct auth_sources *s)
{
    for (size_t i = 0; i < s->n; i++)
        source_done(&s->v[i]);
    free(s->v);
    *s = (struct auth_sources){ 0 };
}

/* Moves what is there from *i on while `in_place` holds. */
static void move_sources(struct auth_sources *from, size_t *i, bool in_place, struct auth_sources *to)
{
    for (; *i < from->n && (!in_place || from->v[*i].text); (*i)++) {
        CB_GROW(to->v, to->n, to->cap);
        to->v[to->n++] = from->v[*i];
    }
}

void auth_sources_set_helpers(struct auth_sources *s, const struct cb_strvec *helpers)
{
    struct auth_sources all = { 0 };
    size_t moved = 0;
    if (!helpers->n || (s->n && s->v[0].must))
        return;
    move_sources(s, &moved, true, &all); /* what was said for this call goes before what the machine is set up for */
    for (size_t i = 0; i < helpers->n; i++) {
        if (cb_streq(helpers->v[i], "containers-auth.json"))
            move_sources(s, &moved, false, &all);
        else
            add(&all, AUTH_HELPER, cb_strdup(helpers->v[i]), NULL);
    }
    for (; moved < s->n; moved++)
        source_done(&s->v[moved]);
    free(s->v);
    *s = all;
}

/* As docker does, unless podman's variable or an option names another file. */
char *auth_login_path(const char *authfile)
{
    const char *registry_file = getenv("REGISTRY_AUTH_FILE"), *docker = getenv("DOCKER_CONFIG");
    if (authfile)
        return cb_strdup(authfile);
    if (registry_file && *registry_file)
        return cb_strdup(registry_file);
    if (docker && *docker)
        return cb_asprintf("%s/config.json", docker);
    return cb_asprintf("%s/.docker/config.json", home());
}
