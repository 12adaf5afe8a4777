/* SPDX-License-Identifier: Apache-2.0 */
/*   cbpush-inputs 1
 *   goal <hex, or ->
 *   step <kind> <position> <platform> <stage>   ("-": none)
 *   key <hex>
 *   text <text>
 *   in <label>\t<value>                         (each)
 *   on <label>\t<key as hex>                    (each)
 *   files <number> <sum as hex>
 *   file <what>\t<path>                         (each), or
 *   hashes <CB_FILE_HASH digits each>
 *   sum <hex> */
#include "build/inputs.h"
#include "util/alloc.h"
#include "util/encode.h"

#define HEAD "cbpush-inputs 1\n"
#define SUM_TAIL (4 + 64 + 1)
#define STEPS_MAX 20000
#define FILES_MAX UINT32_MAX

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

static void add_file(struct cb_strbuf *out, const char *what, const char *path)
{
    cb_strbuf_adds(out, "file ");
    cb_strbuf_adds(out, what);
    cb_strbuf_addch(out, '\t');
    cb_strbuf_adds(out, path);
    cb_strbuf_addch(out, '\n');
}

static void print_files(struct cb_strbuf *out, const struct cb_step_inputs *s)
{
    size_t most = s->n_files * CB_FILE_HASH + out->len;
    cb_strbuf_addf(out, "files %zu %llx\n", s->n_files, (unsigned long long)s->files_sum);
    if (s->paths.n && s->n_files <= CB_INPUTS_NAMED && out->len < CB_INPUTS_MAX / 2) {
        for (size_t i = 0; i < s->paths.n; i++)
            add_file(out, s->whats.v[i], s->paths.v[i]);
        return;
    }
    if (most > CB_INPUTS_HASHES || (!s->paths.n && !s->hashes.len))
        return;
    cb_strbuf_adds(out, "hashes ");
    cb_strbuf_add(out, s->hashes.buf, s->hashes.len);
    for (size_t i = 0; i < s->paths.n; i++) {
        char hash[CB_FILE_HASH + 1];
        cb_file_hash(hash, s->paths.v[i], s->whats.v[i]);
        cb_strbuf_adds(out, hash);
    }
    cb_strbuf_addch(out, '\n');
}

static void print_step(struct cb_strbuf *out, const struct cb_step_inputs *s)
{
    char hex[CB_DIGEST_TEXT_MAX];
    cb_strbuf_addf(out, "step %d %u %s %s\nkey %s\ntext %s\n", (int)s->kind, s->position, or_dash(s->platform),
                   or_dash(s->stage), cb_digest_hex(&s->key, hex), s->text);
    for (size_t i = 0; i < s->labels.n; i++)
        cb_strbuf_addf(out, "in %s\t%s\n", s->labels.v[i], s->values.v[i]);
    for (size_t i = 0; i < s->causes.n; i++)
        cb_strbuf_addf(out, "on %s\t%s\n", s->causes.v[i], s->cause_keys.v[i]);
    if (s->n_files)
        print_files(out, s);
}

static void add_goal(struct cb_strbuf *out, const struct cb_digest *goal)
{
    char hex[CB_DIGEST_TEXT_MAX] = "-";
    if (cb_digest_is_set(goal))
        cb_digest_hex(goal, hex);
    cb_strbuf_addf(out, HEAD "goal %s\n", hex);
}

void cb_inputs_print(struct cb_strbuf *out, const struct cb_inputs *in)
{
    struct cb_digest sum;
    char hex[CB_DIGEST_TEXT_MAX];
    size_t begin = out->len;
    add_goal(out, &in->goal);
    for (size_t i = 0; i < in->n && i < STEPS_MAX; i++) {
        size_t before = out->len;
        print_step(out, &in->v[i]);
        if (out->len - begin <= CB_INPUTS_MAX - SUM_TAIL)
            continue;
        cb_strbuf_setlen(out, before);
        break;
    }
    cb_digest_of(&sum, out->buf + begin, out->len - begin);
    cb_strbuf_addf(out, "sum %s\n", cb_digest_hex(&sum, hex));
}

bool cb_inputs_text_is_of(const char *text, size_t len, const struct cb_digest *goal)
{
    struct cb_strbuf head cb_cleanup_strbuf = CB_STRBUF_INIT;
    add_goal(&head, goal);
    return len >= head.len && memcmp(text, head.buf, head.len) == 0;
}

/* ---- reading ---- */

static bool take_key(struct cb_digest *out, const char *hex)
{
    char text[CB_DIGEST_TEXT_MAX];
    if (strlen(hex) != 64)
        return false;
    snprintf(text, sizeof text, "sha256:%s", hex);
    return cb_digest_parse(out, text, NULL) == 0;
}

static bool take_pair(char *text, struct cb_strvec *left, struct cb_strvec *right)
{
    char *tab = strchr(text, '\t');
    if (!tab)
        return false;
    *tab = '\0';
    cb_strvec_push(left, text);
    cb_strvec_push(right, tab + 1);
    return true;
}

static char *next_word(char **p)
{
    char *word = *p;
    size_t n = strcspn(word, " ");
    *p = word + n + (word[n] == ' ');
    word[n] = '\0';
    return word;
}

static bool begin_step(struct cb_inputs *in, char *text)
{
    uint64_t kind, position;
    const char *k = next_word(&text), *n = next_word(&text), *platform = next_word(&text);
    if (in->n >= STEPS_MAX || !cb_parse_u64(k, CB_VERTEX_GIT, &kind) || !cb_parse_u64(n, UINT32_MAX, &position))
        return false;
    CB_GROW(in->v, in->n, in->cap);
    in->v[in->n++] = (struct cb_step_inputs){ .kind = (enum cb_vertex_kind)kind, .position = (unsigned)position,
                                              .platform = cb_strdup(strcmp(platform, "-") ? platform : ""),
                                              .stage = cb_strdup(strcmp(text, "-") ? text : ""),
                                              .text = cb_strdup(""), .hashes = CB_STRBUF_INIT };
    return true;
}

static bool take_files(struct cb_step_inputs *s, char *text)
{
    uint64_t n;
    char *end;
    if (!cb_parse_u64(next_word(&text), FILES_MAX, &n))
        return false;
    s->n_files = (size_t)n;
    s->files_sum = strtoull(text, &end, 16);
    return *text && !*end;
}

static bool take_text(struct cb_step_inputs *s, const char *text)
{
    free(s->text);
    s->text = cb_strdup(text);
    return true;
}

static bool take_hashes(struct cb_step_inputs *s, const char *text)
{
    cb_strbuf_adds(&s->hashes, text);
    return s->hashes.len == s->n_files * CB_FILE_HASH;
}

static bool take_line(struct cb_inputs *in, char *line)
{
    char *rest = line;
    const char *word = next_word(&rest);
    if (!strcmp(word, "step"))
        return begin_step(in, rest);
    if (!strcmp(word, "goal"))
        return !strcmp(rest, "-") || take_key(&in->goal, rest);
    if (in->n == 0)
        return false;
    struct cb_step_inputs *s = &in->v[in->n - 1];
    if (!strcmp(word, "key"))
        return take_key(&s->key, rest);
    if (!strcmp(word, "text"))
        return take_text(s, rest);
    if (!strcmp(word, "in"))
        return take_pair(rest, &s->labels, &s->values);
    if (!strcmp(word, "on"))
        return take_pair(rest, &s->causes, &s->cause_keys);
    if (!strcmp(word, "files"))
        return take_files(s, rest);
    if (!strcmp(word, "file"))
        return s->paths.n < s->n_files && take_pair(rest, &s->whats, &s->paths);
    return !strcmp(word, "hashes") && take_hashes(s, rest);
}

static bool sum_holds(const char *text, size_t len)
{
    struct cb_digest sum;
    char hex[CB_DIGEST_TEXT_MAX], tail[SUM_TAIL + 1];
    if (len <= SUM_TAIL + strlen(HEAD) || memchr(text, '\0', len) || memcmp(text, HEAD, strlen(HEAD)) != 0)
        return false;
    cb_digest_of(&sum, text, len - SUM_TAIL);
    snprintf(tail, sizeof tail, "sum %s\n", cb_digest_hex(&sum, hex));
    return memcmp(text + len - SUM_TAIL, tail, SUM_TAIL) == 0;
}

bool cb_inputs_parse(struct cb_inputs *out, const char *text, size_t len)
{
    *out = (struct cb_inputs){ 0 };
    if (!sum_holds(text, len))
        return false;
    cb_autofree char *copy = cb_strndup(text + strlen(HEAD), len - strlen(HEAD) - SUM_TAIL);
    bool good = true;
    for (char *line = copy, *end; good && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        good = take_line(out, line);
    }
    if (!good)
        cb_inputs_done(out);
    return good;
}
