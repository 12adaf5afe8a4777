/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `images` says of one name of the store. */

#include <jansson.h>

#include "image/image.h"
#include "util/strvec.h"

struct image_row {
    char *name, *repo, *tag;      /* as people write them; "<none>" */
    char *canonical;              /* host, repository and tag; or NULL */
    struct cb_digest digest, config;
    int64_t created;              /* ns; 0: not told */
    uint64_t bytes;
    struct cb_strvec platforms;   /* of an index */
    struct cb_strmap labels;
};
#define IMAGE_ROW_INIT { .platforms = CB_STRVEC_INIT }
void image_row_make(struct image_row *row, const struct cb_store_name *n, const struct cb_image_tree *t);
void image_row_done(struct image_row *row);

/* --json: members of our own. New reference. */
json_t *image_row_json(const struct image_row *row);
/* For --format: those of `docker images`. whole: IDs in full. New reference. */
json_t *image_row_docker(const struct image_row *row, bool whole);
/* CreatedAt and CreatedSince of it, 0: not told. */
void image_row_put_times(json_t *o, int64_t created);
/* docker's pattern of names, with or without a tag. */
bool image_row_is(const struct image_row *row, const char *pattern);
