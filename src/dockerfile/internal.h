/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of this folder share; nobody else includes it.
 *
 * Failing functions set CB_ECONF without a place; the outermost one puts "NAME:LINE" in front. Texts from the file
 * appear in messages only through cb_df_show. */

#include "dockerfile/dockerfile.h"

#define CB_DF_MAX_INSTRUCTIONS 10000
#define CB_DF_MAX_WARNINGS 500
#define CB_DF_MAX_EXPANDED (8u << 20)
#define CB_DF_MAX_NESTING 64
#define CB_DF_MAX_SHELL_PATTERN 1024 /* ${v#pattern}: matching costs value × pattern at worst */

/* --- report.c --- */
struct cb_df_shown {
    char text[136];
};
/* s in quotes, safe for a terminal, shortened. CB_DF_SHOW lives until the end of the enclosing block. */
const char *cb_df_show(struct cb_df_shown *to, const char *s, size_t n);
#define CB_DF_SHOW(s) cb_df_show(&(struct cb_df_shown){ { 0 } }, (s), strlen(s))
#define CB_DF_SHOWN(s, n) cb_df_show(&(struct cb_df_shown){ { 0 } }, (s), (n))
int cb_df_fail(struct cb_error *err, const char *fmt, ...) CB_PRINTF(2, 3); /* -CB_ECONF */
/* -CB_ECONF: "what (did you mean X?)" or "what: use a, b or c". what is taken and freed. */
int cb_df_fail_suggest(struct cb_error *err, char *what, const char *word, const char *const *candidates);

struct cb_df_warnings {
    struct cb_df_warning *v;
    size_t n, cap;
};
void cb_df_warn(struct cb_df_warnings *w, struct cb_df_span span, const char *rule, const char *fmt, ...)
    CB_PRINTF(4, 5);

/* --- lexer.c --- */
struct cb_df_lexer {
    const char *text;
    size_t len, pos;
    unsigned line;       /* of the line that was read last, 1-based */
    unsigned directives; /* so many lines at the top are parser directives */
    char escape;
};
/* An instruction's line, continuations joined, blanks trimmed at both ends. */
struct cb_df_line {
    struct cb_strbuf text;
    struct cb_df_span span;
    bool empty_inside;   /* a blank line stood inside of the continuation */
    struct cb_strvec comments; /* as in cb_df_instruction */
};
#define CB_DF_LINE_INIT { .text = CB_STRBUF_INIT }
void cb_df_line_done(struct cb_df_line *l);
static inline bool cb_df_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r' || c == '\n';
}
/* Bytes of the white space at s: Unicode's, for that is what BuildKit trims lines by, and parts words by where they may
 * be quoted. 0: something else. A NUL ends the look; n is a bound for text without. */
size_t cb_df_space_len(const char *s, size_t n);
#define CB_DF_SPACE_MAX 3
struct cb_slice cb_df_trim_left(struct cb_slice s);
struct cb_slice cb_df_trim(struct cb_slice s);
/* NUL bytes, UTF-16, size. *line: where. */
int cb_df_text_check(const char *text, size_t len, size_t max, unsigned *line, struct cb_error *err) CB_WUR;
bool cb_df_utf8_valid(const char *s, size_t n, size_t *bad);
/* 1: a line; 0: the end; negative: failed, place in lx->line. raw: one line of the file without its '\n'. */
int cb_df_lexer_raw(struct cb_df_lexer *lx, struct cb_slice *line, struct cb_error *err) CB_WUR;
int cb_df_lexer_next(struct cb_df_lexer *lx, struct cb_df_line *line, struct cb_error *err) CB_WUR;

/* --- directive.c --- */
struct cb_df_directives {
    char *syntax, *check; /* owned by the caller */
    char escape;
    unsigned lines;       /* how many; on failure the line of the bad one */
    unsigned syntax_line;
};
/* A comment's text behind '#', "key=value" form: key (at most keysz-1 bytes, lower case) and value. */
bool cb_df_directive_split(struct cb_slice comment, char *key, size_t keysz, struct cb_slice *value);
/* The value of the first "check=…" among comments, up to a blank; NULL: there is none. */
char *cb_df_check_comment(const struct cb_strvec *comments);
int cb_df_directives_read(struct cb_df_directives *out, const char *text, size_t len, struct cb_error *err) CB_WUR;

/* --- name_char.c --- */
/* Bytes of the character at s (NUL-terminated) if it may stand in a variable's name, else 0. */
size_t cb_df_name_char_len(const char *s);

/* --- words.c --- */
void cb_df_split_blank(struct cb_strvec *out, const char *s);
/* Quotes and escapes protect blanks and stay in the words. False: a quote is not closed. */
bool cb_df_split_quoted(struct cb_strvec *out, const char *s, char escape);
/* Fields of one CSV record (RFC 4180). */
int cb_df_csv(struct cb_strvec *out, const char *s, struct cb_error *err) CB_WUR;
bool cb_df_parse_bool(const char *s, bool *out); /* 1 t true 0 f false in Go's spellings */
/* Go's duration: "1h30m", "500ms"; false: malformed, negative or out of range. */
bool cb_df_parse_duration(const char *s, int64_t *ns);

/* --- heredoc.c --- */
struct cb_df_heredoc_word {
    size_t start, end; /* in the scanned text */
};
struct cb_df_heredocs {
    struct cb_df_heredoc *v; /* bodies NULL until read */
    struct cb_df_heredoc_word *at;
    size_t n, cap;
};
#define CB_DF_HEREDOCS_INIT { 0 }
void cb_df_heredocs_done(struct cb_df_heredocs *h);
int cb_df_heredocs_scan(struct cb_df_heredocs *h, const char *text, struct cb_error *err) CB_WUR;
int cb_df_heredocs_read(struct cb_df_heredocs *h, struct cb_df_lexer *lx, struct cb_error *err) CB_WUR;

/* --- command.c --- */
/* 1: rest is a JSON array of strings, appended to out; 0: it is not JSON; negative: JSON of other things. */
int cb_df_json_strings(const char *rest, struct cb_strvec *out, struct cb_error *err) CB_WUR;
/* rest to c: exec form if it is JSON, else shell form. */
int cb_df_command_parse(struct cb_df_command *c, const char *rest, struct cb_error *err) CB_WUR;

/* --- flags.c --- */
enum cb_df_flag_type { CB_DF_FLAG_STRING, CB_DF_FLAG_LIST, CB_DF_FLAG_BOOL };
struct cb_df_flag {
    const char *name;
    enum cb_df_flag_type type;
    int (*set)(struct cb_df_instruction *i, const char *value, struct cb_error *err); /* BOOL: "true" or "false" */
};
/* The flags in front of *rest, quotes removed; *rest moves behind them. */
int cb_df_flags_extract(const char **rest, char escape, struct cb_strvec *flags, struct cb_error *err) CB_WUR;
/* table ends with a NULL name; NULL: the instruction takes none. */
int cb_df_flags_apply(struct cb_df_instruction *i, const struct cb_df_flag *table, const struct cb_strvec *flags,
                      struct cb_error *err) CB_WUR;

/* --- mount_opt.c --- */
int cb_df_mount_parse(struct cb_df_mount *m, const char *value, struct cb_error *err) CB_WUR;
int cb_df_device_check(const char *value, struct cb_error *err) CB_WUR;
/* `from` values are taken literally: a variable in one is an error. */
int cb_df_from_check(const char *value, struct cb_error *err) CB_WUR;

/* --- instruction.c and instr_*.c --- */
struct cb_df_request {
    struct cb_df_lexer *lexer;       /* heredoc bodies are read from it */
    struct cb_df_span span;
    bool trigger;                    /* it is wrapped in ONBUILD: some kinds are refused */
    const char *rest;                /* arguments behind the flags */
    struct cb_df_heredocs heredocs;
};
/* One logical line to *out (zeroed by the caller; the caller frees it also on failure). */
int cb_df_instruction_read(struct cb_df_instruction *out, struct cb_df_request *rq, const char *line,
                           struct cb_error *err) CB_WUR;
typedef int cb_df_parse_fn(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err);
cb_df_parse_fn cb_df_parse_from, cb_df_parse_arg, cb_df_parse_pairs, cb_df_parse_single, cb_df_parse_copy,
    cb_df_parse_run, cb_df_parse_expose, cb_df_parse_volume, cb_df_parse_cmd, cb_df_parse_shell,
    cb_df_parse_healthcheck, cb_df_parse_onbuild;
extern const struct cb_df_flag cb_df_flags_from[], cb_df_flags_copy[], cb_df_flags_add[], cb_df_flags_run[],
    cb_df_flags_healthcheck[];
/* Setters that several tables use. "" counts as absent, as in BuildKit. */
int cb_df_set_string(char **field, const char *value);

/* --- shell_pattern.c --- */
struct cb_df_shell_pattern;
/* NULL: malformed. Only `*`, `?` and escapes of them. */
struct cb_df_shell_pattern *cb_df_shell_pattern_new(const char *text, char escape, struct cb_error *err);
void cb_df_shell_pattern_free(struct cb_df_shell_pattern *p);
CB_DEFINE_CLEANUP(struct cb_df_shell_pattern *, cb_df_shell_pattern_free)
#define CB_DF_NO_MATCH SIZE_MAX
/* Where the shortest (longest) matching prefix ends, or the suffix begins. */
size_t cb_df_shell_prefix(const struct cb_df_shell_pattern *p, struct cb_slice v, bool longest);
size_t cb_df_shell_suffix(const struct cb_df_shell_pattern *p, struct cb_slice v, bool longest);
/* The leftmost match at or behind from, as long as possible. False: none. */
bool cb_df_shell_find(const struct cb_df_shell_pattern *p, struct cb_slice v, size_t from, struct cb_slice *match);
size_t cb_df_char_len(const char *p, size_t n); /* of the character at p; 1 where it is no UTF-8 */

/* --- ignore.c --- */
bool cb_df_ignore_simple(const struct cb_df_ignore *i); /* there is no `!` in it; false for NULL */
bool cb_df_ignore_all(const struct cb_df_ignore *i);    /* a rule leaves out everything at the root */

/* --- glob.c --- */
/* A wildcard pattern as a list of tokens, run as a nondeterministic automaton. */
struct cb_df_glob {
    uint32_t *tokens;
    size_t n;
    struct cb_df_class *classes;
    size_t n_classes, cap_classes;
    bool literal;  /* no wildcard at all */
    char *prefix;  /* what every match begins with */
    size_t prefix_len;
};
enum cb_df_glob_mode {
    CB_DF_GLOB_WHOLE,  /* the path matches */
    CB_DF_GLOB_PARENT, /* the path or a directory above it matches */
    CB_DF_GLOB_ALIVE,  /* something that begins with these bytes could match */
};
/* deep: `**` crosses directories. */
int cb_df_glob_compile(struct cb_df_glob *g, const char *pattern, bool deep, struct cb_error *err) CB_WUR;
bool cb_df_glob_run(const struct cb_df_glob *g, const char *path, size_t n, enum cb_df_glob_mode mode);
void cb_df_glob_done(struct cb_df_glob *g);
