/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the verbs share that ask one registry: options, the reference on the command line, the session. */

#include "cmd/session.h"

/* Options of all of them; part of each verb's options struct, which has a `common`. */
#define CB_OPT_REMOTE(type)                                                                                          \
    CB_OPT_COMMON_REGISTRY(type), CB_OPT_COMMON_RETRY(type),                                                         \
    {                                                                                                                \
        "debug", 'D', CB_OPT_FLAG, offsetof(struct type, common.debug), NULL, "say more about what is done", NULL    \
    }
#define CB_OPT_PLATFORM(type)                                                                                        \
    {                                                                                                                \
        "platform", 0, CB_OPT_STRING, offsetof(struct type, platform), "OS/ARCH", "of an index, this image of it",   \
            NULL                                                                                                     \
    }
#define CB_OPT_JSON(type)                                                                                            \
    {                                                                                                                \
        "json", 0, CB_OPT_FLAG, offsetof(struct type, json), NULL, "as JSON", NULL                                   \
    }

struct cb_remote {
    struct cb_session s;
    struct cb_reference ref;      /* of the first operand; where that is a host: only host is set */
    const struct cb_strvec *more; /* all operands */
};

enum cb_remote_kind {
    CB_REMOTE_IMAGE, /* without tag and digest: latest */
    CB_REMOTE_EXACT, /* tag or digest must stand there */
    CB_REMOTE_DIGEST,
    CB_REMOTE_REPO, /* neither must */
    CB_REMOTE_BLOB, /* perhaps a digest, never a tag */
    CB_REMOTE_HOST,
};

/* One call of a verb: its options are read, the session is opened, run does the work. */
struct cb_remote_call {
    const struct cb_verb *verb;
    int argc;
    char **argv;
    void *options;            /* what the verb's table fills */
    struct cb_common *common; /* in it */
    enum cb_remote_kind kind; /* of the first operand */
    size_t more;              /* operands beyond the first that may be there */
    int (*run)(struct cb_remote *x, void *options, struct cb_error *err);
};
int cb_remote_call(const struct cb_process *p, const struct cb_remote_call *c, struct cb_error *err) CB_WUR;

/* The same for a verb that does more than that: the session for one image. Initialise with zeroes. */
int cb_remote_open(struct cb_remote *x, const struct cb_process *p, const struct cb_common *c, const char *text,
                   struct cb_error *err) CB_WUR;
void cb_remote_done(struct cb_remote *x);

/* Begins as places of skopeo do that are no registry: oci:, docker-archive: … */
bool cb_names_other_place(const char *text);
/* -CB_EUSAGE for such a one, and for a URL; instead: what the verb takes, as "write NAME". */
int cb_check_no_place(const char *text, const char *instead, struct cb_error *err) CB_WUR;
/* A reference as the user writes it, with or without skopeo's docker:// in front. -CB_EUSAGE. */
int cb_remote_parse(struct cb_reference *out, const char *text, enum cb_remote_kind kind, struct cb_error *err) CB_WUR;
/* The manifest of x->ref; where platform is not NULL, of an index the one for it ("local": for this
 * machine). */
int cb_remote_manifest(struct cb_remote *x, const char *platform, struct cb_fetched *out, struct cb_error *err) CB_WUR;
/* Puts in the place of an index in *f the manifest that it names for the platform. */
int cb_remote_select(struct cb_remote *x, const char *platform, struct cb_fetched *f, struct cb_error *err) CB_WUR;
/* The configuration of an image manifest, as it is. */
int cb_remote_config(struct cb_remote *x, const struct cb_manifest *m, struct cb_strbuf *out,
                     struct cb_error *err) CB_WUR;
/* Bytes to a file (whole or not at all) or, where path is NULL or "-", to standard output. */
int cb_remote_write(const char *path, const void *buf, size_t n, struct cb_error *err) CB_WUR;
/* After each piece that goes to standard output, so that a closed pipe ends the work. */
int cb_stdout_check(struct cb_error *err) CB_WUR;
/* Takes the reference; prints a JSON value on a line of its own. */
void cb_print_json_line(json_t *j);
/* What --json prints of a deletion. */
void cb_print_deleted(const struct cb_reference *ref);
/* "sha256:…" on a line of its own. */
void cb_print_digest(const struct cb_digest *d);
