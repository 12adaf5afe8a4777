/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/mediatype.h"

#include "util/strbuf.h"

static const struct layer_type {
    const char *name;
    enum cb_compression compression;
    bool docker;
    bool foreign;
} layer_types[] = {
    { CB_MT_OCI_LAYER, CB_COMPRESSION_NONE, false, false },
    { CB_MT_OCI_LAYER_GZIP, CB_COMPRESSION_GZIP, false, false },
    { CB_MT_OCI_LAYER_ZSTD, CB_COMPRESSION_ZSTD, false, false },
    { CB_MT_DOCKER_LAYER, CB_COMPRESSION_NONE, true, false },
    { CB_MT_DOCKER_LAYER_GZIP, CB_COMPRESSION_GZIP, true, false },
    { CB_MT_DOCKER_LAYER_ZSTD, CB_COMPRESSION_ZSTD, true, false },
    { CB_MT_DOCKER_FOREIGN_GZIP, CB_COMPRESSION_GZIP, true, true },
    { "application/vnd.docker.image.rootfs.foreign.diff.tar", CB_COMPRESSION_NONE, true, true },
    { "application/vnd.oci.image.layer.nondistributable.v1.tar", CB_COMPRESSION_NONE, false, true },
    { "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", CB_COMPRESSION_GZIP, false, true },
    { "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", CB_COMPRESSION_ZSTD, false, true },
};

static const struct layer_type *find_layer(const char *mt)
{
    for (size_t i = 0; mt && i < CB_COUNTOF(layer_types); i++)
        if (strcmp(layer_types[i].name, mt) == 0)
            return &layer_types[i];
    return NULL;
}

bool cb_mt_is_index(const char *mt)
{
    return cb_streq(mt, CB_MT_OCI_INDEX) || cb_streq(mt, CB_MT_DOCKER_LIST);
}

bool cb_mt_is_manifest(const char *mt)
{
    return cb_streq(mt, CB_MT_OCI_MANIFEST) || cb_streq(mt, CB_MT_DOCKER_MANIFEST);
}

bool cb_mt_is_layer(const char *mt)
{
    return find_layer(mt) != NULL;
}

bool cb_mt_is_foreign_layer(const char *mt)
{
    const struct layer_type *t = find_layer(mt);
    return t && t->foreign;
}

bool cb_mt_is_docker(const char *mt)
{
    return mt && cb_starts_with(mt, "application/vnd.docker.");
}

int cb_mt_layer_compression(const char *mt)
{
    const struct layer_type *t = find_layer(mt);
    return t ? (int)t->compression : -1;
}

const char *cb_mt_layer(enum cb_compression c, bool docker)
{
    switch (c) {
    case CB_COMPRESSION_GZIP:
        return docker ? CB_MT_DOCKER_LAYER_GZIP : CB_MT_OCI_LAYER_GZIP;
    case CB_COMPRESSION_ZSTD:
        return docker ? CB_MT_DOCKER_LAYER_ZSTD : CB_MT_OCI_LAYER_ZSTD;
    case CB_COMPRESSION_NONE:
        break;
    }
    return docker ? CB_MT_DOCKER_LAYER : CB_MT_OCI_LAYER;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$&-^_.+", c));
}

/* One name of RFC 6838, 4.2; returns its length. */
static size_t name_length(const char *s)
{
    size_t n = 0;
    while (is_name_char(s[n]))
        n++;
    return n;
}

bool cb_mt_is_valid(const char *mt)
{
    if (!mt || strlen(mt) > 255)
        return false;
    size_t type = name_length(mt);
    if (!type || mt[type] != '/')
        return false;
    size_t subtype = name_length(mt + type + 1);
    return subtype && !mt[type + 1 + subtype];
}
