/* SPDX-License-Identifier: Apache-2.0 */
/* image-spec manifest.md, "Guidelines for Artifact Usage": files as an artifact that has an image as its subject. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "edit/private.h"
#include "util/alloc.h"
#include "util/path.h"

#define ANN_TITLE "org.opencontainers.image.title"
#define ANN_CREATED "org.opencontainers.image.created"
#define FILE_TYPE "application/octet-stream"

/* "FILE:TYPE" where what stands behind the last colon is a media type, and no such file exists. */
static char *split_type(const char *text, const char **type)
{
    const char *colon = strrchr(text, ':');
    struct stat st;
    *type = FILE_TYPE;
    if (!colon || !cb_mt_is_valid(colon + 1) || stat(text, &st) == 0)
        return cb_strdup(text);
    *type = colon + 1;
    return cb_strndup(text, (size_t)(colon - text));
}

int cb_edit_attach_file(json_t *layers, struct cb_edit_plan *plan, const char *text, const struct cb_cancel *cancel,
                        struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    const char *type;
    struct stat st;
    cb_autofree char *path = split_type(text, &type);
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_EUSAGE : CB_ELOCAL, errno, "open %s", path);
    if (!S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EUSAGE, "%s is no regular file", path);
    int r = cb_edit_hash_file(fd, cancel, &d.digest, &d.size, err);
    if (r < 0)
        return cb_error_wrap(err, "%s", path);
    d.media_type = cb_strdup(type);
    cb_strmap_set(&d.annotations, ANN_TITLE, cb_path_base(path));
    json_array_append_new(layers, cb_descriptor_to_json(&d));
    cb_edit_plan_file(plan, &d, CB_TAKE_FD(fd));
    return 0;
}

void cb_edit_attach_print(const struct cb_edit_attach *a, json_t *layers, struct cb_edit_plan *plan,
                          struct cb_strbuf *body, struct cb_descriptor *desc)
{
    static const char empty[] = "{}";
    struct cb_descriptor config cb_cleanup_descriptor = { 0 };
    struct cb_descriptor subject cb_cleanup_descriptor = { .media_type = cb_strdup(a->subject->media_type),
                                                           .digest = a->subject->digest, .size = a->subject->size };
    cb_autojson json_t *o = json_object();
    cb_descriptor_of(&config, CB_MT_OCI_EMPTY, empty, 2);
    cb_edit_plan_bytes(plan, &config, empty, 2);
    cb_json_put(o, "schemaVersion", json_integer(2));
    cb_json_put(o, "mediaType", cb_json_string(CB_MT_OCI_MANIFEST));
    cb_json_put(o, "artifactType", cb_json_string(a->artifact_type));
    cb_json_put(o, "config", cb_descriptor_to_json(&config));
    /* An artifact without files still has one layer, as the specification wants it. */
    if (json_array_size(layers) == 0)
        json_array_append_new(layers, cb_descriptor_to_json(&config));
    cb_json_put(o, "layers", json_incref(layers));
    cb_json_put(o, "subject", cb_descriptor_to_json(&subject));
    for (size_t i = 0; a->annotations && i < a->annotations->n; i++)
        cb_edit_annotate(o, a->annotations->v[i].key, a->annotations->v[i].value);
    if (a->created)
        cb_edit_annotate(o, ANN_CREATED, a->created);
    cb_json_print(body, o);
    cb_descriptor_of(desc, CB_MT_OCI_MANIFEST, body->buf, body->len);
}
