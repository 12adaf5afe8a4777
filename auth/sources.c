/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"

static void add(struct auth_sources *s, char *name, const char *text)
{
    struct auth_found_map *helped = CB_NEW(struct auth_found_map);
    auth_found_init(helped);
    CB_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = (struct auth_source){ .name = name, .text = cb_strdup_or_null(text), .helped = helped };
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

void auth_sources_find(struct auth_sources *s, const char *authfile)
{
    const char *inline_json = getenv("DOCKER_AUTH_CONFIG"), *registry_file = getenv("REGISTRY_AUTH_FILE"),
               *docker = getenv("DOCKER_CONFIG");
    if (authfile) {
        add(s, cb_strdup(authfile), NULL);
        s->v[0].must = true;
        return;
    }
    if (inline_json && *inline_json)
        add(s, cb_strdup("DOCKER_AUTH_CONFIG"), inline_json);
    if (registry_file && *registry_file) {
        add(s, cb_strdup(registry_file), NULL);
        return;
    }
    if (docker && *docker) {
        add(s, cb_asprintf("%s/config.json", docker), NULL);
        return;
    }
    add(s, runtime_path(), NULL);
    add(s, config_path(), NULL);
    add(s, cb_asprintf("%s/.docker/config.json", home()), NULL);
}

void auth_sources_done(struct auth_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].name);
        auth_secret_free(s->v[i].text);
        auth_found_done(s->v[i].helped);
        free(s->v[i].helped);
    }
    free(s->v);
    *s = (struct auth_sources){ 0 };
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
