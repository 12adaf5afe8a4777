/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Media types of image-spec 1.1 and of Docker's manifest schema 2. */

#include <stdbool.h>

#define CB_MT_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define CB_MT_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define CB_MT_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define CB_MT_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define CB_MT_OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define CB_MT_OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define CB_MT_OCI_EMPTY "application/vnd.oci.empty.v1+json"
#define CB_MT_IN_TOTO "application/vnd.in-toto+json"
#define CB_MT_TOC "application/vnd.cbpush.toc.v1" /* a layer's table, and the artifact that keeps them: doc/toc.md */
#define CB_MT_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define CB_MT_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define CB_MT_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define CB_MT_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define CB_MT_DOCKER_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define CB_MT_DOCKER_LAYER_ZSTD "application/vnd.docker.image.rootfs.diff.tar.zstd"
#define CB_MT_DOCKER_FOREIGN_GZIP "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

/* The Accept header of a manifest GET: index, manifest, list, schema 2. */
#define CB_MT_ACCEPT_MANIFESTS CB_MT_OCI_INDEX ", " CB_MT_OCI_MANIFEST ", " CB_MT_DOCKER_LIST ", " CB_MT_DOCKER_MANIFEST

enum cb_compression { CB_COMPRESSION_NONE, CB_COMPRESSION_GZIP, CB_COMPRESSION_ZSTD };

bool cb_mt_is_index(const char *mt);
bool cb_mt_is_manifest(const char *mt);
bool cb_mt_is_layer(const char *mt);      /* of both families, foreign ones included */
bool cb_mt_is_foreign_layer(const char *mt);
bool cb_mt_is_docker(const char *mt);     /* of the Docker family */
/* What a layer media type says of its compression; -1 where it is no layer type. */
int cb_mt_layer_compression(const char *mt);
const char *cb_mt_layer(enum cb_compression c, bool docker);
/* Whether it has the form type/subtype of RFC 6838, at most 255 characters, without parameters: such a one may stand in
 * an HTTP header. */
bool cb_mt_is_valid(const char *mt);
