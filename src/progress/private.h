/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside of src/progress: the model that events change and renderers read, both under cb_progress.lock. A renderer
 * adds what is to be shown to cb_progress.out; only the render thread writes it to the descriptor, outside of the
 * lock. */

#include <pthread.h>

#include "progress/progress.h"
#include "util/limits.h"
#include "util/strbuf.h"

#define CB_STEP_LAST_LINES 10
#define CB_PROGRESS_PENDING_MAX (1u << 20) /* who logs more than the terminal takes has to wait */

enum cb_step_state { CB_STEP_NEW, CB_STEP_RUNNING, CB_STEP_DONE, CB_STEP_CACHED, CB_STEP_ERROR, CB_STEP_CANCELED };

struct cb_step_status {
    char *id; /* sanitized */
    uint64_t current, total;
    int64_t started, ended; /* monotonic; 0: not */
    bool dirty;             /* changed since plain looked */
    bool shown;             /* plain has printed it, with: */
    uint64_t shown_current;
    int64_t shown_at;
};

struct cb_step_line {
    int64_t at; /* since the step's start */
    char *text; /* sanitized */
};

struct cb_step {
    struct cb_progress *p;
    char *name;     /* sanitized */
    unsigned index; /* from 1; 0: nothing has happened yet */
    enum cb_step_state state;
    int64_t started, ended; /* monotonic */
    int64_t wall_offset;    /* to the epoch */
    char *error;
    struct cb_step_status *statuses;
    size_t n_statuses, cap_statuses;
    struct cb_strbuf partial[2]; /* of stdout and stderr: the line that has no end yet */
    bool after_cr[2];
    struct cb_step_line last[CB_STEP_LAST_LINES]; /* a ring */
    size_t n_lines;                               /* ever */
    struct cb_strbuf pending; /* plain: lines to print */
    int64_t pending_since;    /* 0: nothing waits */
    bool introduced;          /* plain: its name was printed */
    bool end_shown;           /* plain: DONE and the like is out */
};

struct cb_progress;
struct cb_progress_renderer {
    int interval_ms; /* between draws */
    /* All under the lock; NULL: does not care. */
    void (*draw)(struct cb_progress *p, int64_t now, bool final);
    void (*step)(struct cb_step *s);                                       /* began or ended */
    void (*status)(struct cb_step *s, const struct cb_step_status *st);    /* begun, moved, ended */
    void (*chunk)(struct cb_step *s, int stream, const char *p, size_t n); /* log bytes as they came */
    void (*line)(struct cb_step *s, const struct cb_step_line *line);      /* a whole log line */
    void (*warn)(struct cb_step *s, const char *text);
    void (*note)(struct cb_progress *p, const char *text, int level); /* 1: note, 2: debug */
};
extern const struct cb_progress_renderer cb_progress_plain, cb_progress_tty, cb_progress_rawjson, cb_progress_quiet;

struct cb_progress_colors {
    char run[24], error[24], cancel[24], warning[24], faint[8], reset[8]; /* escape sequences, or "" */
};

struct cb_progress {
    pthread_mutex_t lock;
    pthread_cond_t wake, drained;
    pthread_t thread;
    bool has_thread, finished, failed, debug;
    int broken;  /* nobody reads any more: what write(2) said; or 0 */
    bool kick;   /* do not wait for the next tick */
    const struct cb_progress_renderer *r;
    int fd;
    int interval_ms;
    char *title;
    const struct cb_cancel *cancel;
    int64_t started;
    struct cb_step **steps;
    size_t n_steps, cap_steps;
    unsigned last_index;
    struct cb_strbuf out;
    size_t pending; /* bytes in out and in the steps' pending */

    struct cb_strbuf notes; /* tty: to be shown above */
    struct cb_step *current; /* plain: whose lines were printed last */
    int64_t current_since;
    bool printed_any, cut_names;

    unsigned tail_lines; /* tty */
    struct cb_progress_colors colors;
    size_t drawn_lines; /* how far up the live area begins */
    bool cursor_hidden;
    bool dirty;
};

/* Wakes the render thread before its time if much is waiting; waits while too much is. */
void cb_progress_added(struct cb_progress *p, size_t bytes);
void cb_progress_throttle(struct cb_progress *p);

int64_t cb_step_elapsed_at(const struct cb_step *s, int64_t now);
bool cb_step_is_over(const struct cb_step *s);
void cb_step_free(struct cb_step *s);
void cb_step_abandon(struct cb_step *s, int64_t now); /* under the lock: canceled, if it still runs */

/* log.c */
void cb_step_split(struct cb_step *s, int stream, const char *buf, size_t n, int64_t now);
void cb_step_flush_partial(struct cb_step *s, int64_t now);
void cb_step_add_line(struct cb_step *s, const char *text, size_t n, int64_t now); /* sanitizes */
/* Sanitized, colours left out. */
void cb_progress_add_clean(struct cb_strbuf *sb, const char *p, size_t n);
/* "0.213", "12.34", "123.4" */
void cb_progress_add_seconds(struct cb_strbuf *sb, int64_t ns);

/* term.c */
void cb_progress_colors_read(struct cb_progress_colors *c, const char *(*get)(const char *name));
/* As many bytes of it as fit into `columns`, and how many columns they take. */
size_t cb_progress_fit(const char *text, size_t columns, size_t *width);
