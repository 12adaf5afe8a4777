/* SPDX-License-Identifier: Apache-2.0 */
/* What the words of `imagetools create` ask for. */
#include "cmd/imagetools.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

void imagetools_wanted_done(struct imagetools_wanted *w)
{
    for (size_t i = 0; i < w->n_tags; i++)
        cb_reference_done(&w->tags[i]);
    for (size_t i = 0; i < w->n; i++) {
        cb_reference_done(&w->v[i].ref);
        json_decref(w->v[i].as);
    }
    free(w->tags);
    free(w->v);
    cb_annotations_done(&w->annotations);
    cb_platforms_free(w->platforms, w->n_platforms);
    *w = (struct imagetools_wanted){ 0 };
}

static int read_tags(struct imagetools_wanted *w, const struct imagetools_words *words, struct cb_error *err)
{
    int r = 0;
    w->tags = cb_calloc(words->tags->n + 1, sizeof *w->tags);
    for (size_t i = 0; r == 0 && i < words->tags->n; i++) {
        struct cb_reference *ref = &w->tags[w->n_tags++];
        r = cb_reference_parse_word(ref, words->tags->v[i], err);
        if (r == 0 && cb_digest_is_set(&ref->digest))
            r = cb_error_set(err, CB_EUSAGE, "-t %s: a digest cannot be chosen: name a tag", words->tags->v[i]);
        cb_reference_default_tag(ref);
    }
    return r;
}

/* Manifests keep their bytes, and nothing lists the index. */
static int read_annotations(struct imagetools_wanted *w, const struct imagetools_words *words, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < words->annotations->n; i++)
        r = cb_annotation_parse(&w->annotations, words->annotations->v[i], err);
    for (size_t i = 0; r == 0 && i < w->annotations.n; i++) {
        const struct cb_annotation *a = &w->annotations.v[i];
        if (a->level == CB_ANNOTATE_MANIFEST)
            r = cb_error_set(err, CB_EUSAGE, "--annotation %s: manifests stay as they are: write index:%s=… or "
                                             "manifest-descriptor:%s=…", a->key, a->key, a->key);
        else if (a->level == CB_ANNOTATE_INDEX_DESCRIPTOR)
            r = cb_error_set(err, CB_EUSAGE, "--annotation index-descriptor:%s: nothing lists the index: write "
                                             "index:%s=…", a->key, a->key);
    }
    return r;
}

static int read_descriptor(struct imagetools_source *s, const char *text, struct cb_error *err)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    s->as = cb_json_parse(text, strlen(text), err);
    if (!s->as)
        return -CB_EVERIFY;
    const json_t *digest = json_object_get(s->as, "digest"), *platform = json_object_get(s->as, "platform");
    if (!json_is_string(digest))
        return cb_error_set(err, CB_ECONF, "it has no \"digest\": a descriptor is wanted, as it stands in "
                                           "\"containerimage.descriptor\" of --metadata-file");
    int r = cb_digest_parse(&s->ref.digest, json_string_value(digest), err);
    return r < 0 || !platform ? r : cb_platform_from_json(&p, platform, err);
}

/* A descriptor, a digest or a reference. */
static int read_source(struct imagetools_source *s, const char *text, struct cb_error *err)
{
    if (*text == '{')
        return read_descriptor(s, text, err);
    if (cb_starts_with(text, "store:"))
        return cb_error_set(err, CB_EUSAGE, "images of a registry are wanted: `cbpush push` brings it there");
    if (cb_digest_parse(&s->ref.digest, text, NULL) == 0)
        return 0;
    if (cb_starts_with(text, "sha256:"))
        return cb_digest_parse(&s->ref.digest, text, err);
    const char *name = cb_starts_with(text, "docker://") ? text + strlen("docker://") : text;
    int r = cb_reference_parse_word(&s->ref, name, err);
    cb_reference_default_tag(&s->ref);
    return r;
}

static int add_source(struct imagetools_wanted *w, const char *text, size_t len, struct cb_error *err)
{
    struct cb_slice trimmed = cb_slice_trim((struct cb_slice){ text, len });
    cb_autofree char *word = cb_strndup(trimmed.ptr, trimmed.len);
    int r = read_source(&w->v[w->n++], word, err);
    return r < 0 ? cb_error_set(err, CB_EUSAGE, "source %.100s: %s", word, cb_error_text(err)) : 0;
}

static int read_sources(struct imagetools_wanted *w, const struct imagetools_words *words, struct cb_error *err)
{
    int r = 0;
    w->v = cb_calloc(1 + words->files->n + words->sources->n, sizeof *w->v);
    if (words->append)
        cb_reference_copy(&w->v[w->n++].ref, &w->tags[0]);
    for (size_t i = 0; r == 0 && i < words->files->n; i++) {
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        r = cb_file_slurp(words->files->v[i], CB_MAX_MANIFEST, &text, err);
        if (r == 0 && (r = add_source(w, text.buf, text.len, err)) < 0)
            cb_error_wrap(err, "-f %s", words->files->v[i]);
    }
    for (size_t i = 0; r == 0 && i < words->sources->n; i++)
        r = add_source(w, words->sources->v[i], strlen(words->sources->v[i]), err);
    return r;
}

bool imagetools_same_repository(const struct cb_reference *a, const struct cb_reference *b)
{
    return !strcmp(a->host, b->host) && !strcmp(a->repo, b->repo);
}

/* Digests alone are of the one repository that is named otherwise. */
static int place_sources(struct imagetools_wanted *w, struct cb_error *err)
{
    const struct cb_reference *only = NULL;
    bool several = false;
    for (size_t i = 0; i < w->n_tags + w->n; i++) {
        const struct cb_reference *ref = i < w->n_tags ? &w->tags[i] : &w->v[i - w->n_tags].ref;
        if (!ref->host)
            continue;
        several = several || (only && !imagetools_same_repository(only, ref));
        only = ref;
    }
    for (size_t i = 0; i < w->n; i++) {
        struct cb_reference *ref = &w->v[i].ref;
        char digest[CB_DIGEST_TEXT_MAX];
        if (ref->host)
            continue;
        cb_digest_text(&ref->digest, digest);
        if (!only || several)
            return cb_error_set(err, CB_EUSAGE, "source %s: %s names a repository: write REPOSITORY@%s", digest,
                                only ? "more than one word" : "nothing", digest);
        ref->host = cb_strdup(only->host);
        ref->repo = cb_strdup(only->repo);
    }
    return 0;
}

int imagetools_read(struct imagetools_wanted *w, const struct imagetools_words *words, struct cb_error *err)
{
    if (!words->sources->n && !words->files->n)
        return cb_error_set(err, CB_EUSAGE, "name what it is to be made of: imagetools create -t NAME:TAG SOURCE…");
    if (!words->tags->n && (!words->dry_run || words->append))
        return cb_error_set(err, CB_EUSAGE, "-t is missing: what is it to be called?%s",
                            words->append ? "" : " (--dry-run only shows it)");
    int r = read_tags(w, words, err);
    if (r == 0)
        r = read_annotations(w, words, err);
    if (r == 0)
        r = cb_platforms_parse(words->platforms, &w->platforms, &w->n_platforms, err);
    if (r == 0)
        r = read_sources(w, words, err);
    return r < 0 ? r : place_sources(w, err);
}
