/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A registry in this process, a store, and an image in the one that is not in the other. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "edit/edit.h"
#include "fake_registry.h"

struct rig {
    struct client *c;
    struct cb_store *store;
    struct cb_edit_env env;
    struct cb_strbuf notes;
    struct cb_error err;
    const char *label; /* that the edit sets */
    /* what put_app has put */
    char *layer, *config, *manifest; /* digests */
};

static CB_UNUSED int rig_setup(void **state)
{
    struct rig *g = CB_NEW(struct rig);
    void *client = NULL;
    if (client_setup(&client) != 0)
        return -1;
    g->c = client;
    g->notes = (struct cb_strbuf)CB_STRBUF_INIT;
    g->label = "new";
    client_open(g->c, NULL, NULL);
    cb_autofree char *root = cb_asprintf("%s/store", g->c->home->dir);
    struct cb_store_options so = { .root = root };
    if (cb_store_open(&so, &g->store, &g->err) < 0)
        return -1;
    g->env = (struct cb_edit_env){ .registry = g->c->r, .store = g->store };
    *state = g;
    return 0;
}

static CB_UNUSED int rig_teardown(void **state)
{
    struct rig *g = *state;
    void *client = g->c;
    cb_store_close(g->store);
    cb_strbuf_done(&g->notes);
    cb_error_done(&g->err);
    free(g->layer);
    free(g->config);
    free(g->manifest);
    free(g);
    return client_teardown(&client);
}

/* ---- an image of a registry ---- */

static CB_UNUSED char *text_of(const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_strdup(cb_digest_text(d, text));
}

static CB_UNUSED char *put_blob(struct fake *f, const char *repo, const char *body)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    fake_put_blob(f, repo, body, strlen(body), &d);
    return text_of(&d.digest);
}

/* With members that nobody knows, and blanks that nobody would write. The layer is no layer: nobody is to look. */
static CB_UNUSED char *put_image(struct rig *g, const char *repo, const char *tag, const char *arch)
{
    static const char layer[] = "never read";
    struct fake *f = &g->c->one;
    struct cb_digest d;
    free(g->layer);
    free(g->config);
    g->layer = put_blob(f, repo, layer);
    cb_autofree char *config = cb_asprintf(
        "{ \"odd\": [1, {}], \"architecture\": \"%s\", \"os\": \"linux\", \"config\": {\"Labels\": {\"old\": \"1\"}},"
        " \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"%s\"]} }", arch, g->layer);
    g->config = put_blob(f, repo, config);
    cb_autofree char *manifest = cb_asprintf(
        "{ \"schemaVersion\": 2, \"mediaType\": \"" CB_MT_OCI_MANIFEST "\", \"odd\": {\"deep\": [true]},"
        " \"config\": {\"mediaType\": \"" CB_MT_OCI_CONFIG "\", \"digest\": \"%s\", \"size\": %zu, \"odd\": 1},"
        " \"layers\": [{\"mediaType\": \"" CB_MT_OCI_LAYER "\", \"size\": %zu, \"digest\": \"%s\", \"odd\": 2}] }",
        g->config, strlen(config), sizeof layer - 1, g->layer);
    fake_put_manifest(f, repo, tag, CB_MT_OCI_MANIFEST, manifest, &d);
    free(g->manifest);
    return g->manifest = text_of(&d);
}
