/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Every number, length and depth that comes from outside is capped by one of these before it is used (rule R11). */

#define CB_MAX_MANIFEST (4u << 20)      /* manifest, index, config: bytes */
#define CB_MAX_ATTESTATION (40u << 20)  /* a statement, as BuildKit */
#define CB_MAX_TOKEN (1u << 20)         /* token reply */
#define CB_MAX_ERROR_BODY (1u << 20)    /* error reply of a registry */
#define CB_MAX_HEADERS (300u << 10)     /* of one HTTP reply */
#define CB_MAX_REDIRECTS 10
#define CB_MAX_PAGES 10000              /* of a list that goes by Link */
#define CB_MAX_LIST (16u << 20)         /* one page of it: bytes */
#define CB_MAX_PASSWD (10u << 20)       /* /etc/passwd and /etc/group of an image */
#define CB_MAX_PAX (1u << 20)           /* one PAX header block */
#define CB_MAX_TOC_BLOB (128u << 20)    /* the table of a layer, from a registry */
#define CB_MAX_JSON_DEPTH 64
#define CB_MAX_LAYERS 512
#define CB_MAX_INDEX_MANIFESTS 10000
#define CB_MAX_INDEX_DEPTH 4
#define CB_MAX_PATH 4096
#define CB_MAX_NAME 255
#define CB_MAX_TREE_DEPTH 1024          /* directories in one another in a layer */
#define CB_MAX_LAYER_ENTRIES 20000000u
#define CB_MAX_XATTRS 256               /* of one entry */
#define CB_MAX_XATTR_VALUE (64u << 10)
#define CB_MAX_SYMLINKS 40
#define CB_MAX_DOCKERFILE (1u << 20)
#define CB_MAX_DOCKERIGNORE (1u << 20)
#define CB_MAX_LINE ((64u << 10) - 1)   /* of a Dockerfile, as BuildKit */
#define CB_MAX_CONFIG_FILE (4u << 20)   /* config.json, registries.conf, hosts.toml */
#define CB_MAX_REFERENCE 512
#define CB_MAX_ZSTD_WINDOWLOG 27        /* 128 MiB */
#define CB_MAX_LOG_LINE (16u << 10)     /* longer lines of a step's output are split */
#define CB_MAX_DOWNLOAD (UINT64_C(64) << 30) /* one file by http */
#define CB_MAX_CACHE_MOUNT (UINT64_C(64) << 30) /* bytes of files in a directory that is kept in a cache */
