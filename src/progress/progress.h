/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Typed events of long work, and the renderers of them. Every other module only emits; this one prints (to standard
 * error). Shapes follow BuildKit's progressui: see reference/ecosystem-and-speed.md A3.
 *
 * A `cb_step` is one numbered line of work ("[builder 2/4] RUN make"); a status is a sub-line of it ("sha256:ab…
 * 3.15MB / 29.78MB"). All functions are thread-safe and accept NULL (nothing is shown then). Text from outside is
 * sanitized here (R18). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cancel.h"
#include "util/error.h"
#include "util/macros.h"

enum cb_progress_mode {
    CB_PROGRESS_AUTO,
    CB_PROGRESS_TTY,
    CB_PROGRESS_PLAIN,
    CB_PROGRESS_QUIET,
    CB_PROGRESS_RAWJSON
};

struct cb_progress;
struct cb_step;

struct cb_progress_options {
    enum cb_progress_mode mode; /* AUTO: BUILDKIT_PROGRESS, else tty if fd is a terminal, else plain */
    int fd;                     /* usually 2, borrowed */
    const char *title;          /* "Building", "Pushing": the tty header's word */
    const struct cb_cancel *cancel; /* that ends the work: the header tells of it; or NULL. Outlives this */
};
/* The word that counts: text, or what BUILDKIT_PROGRESS says where that is NULL or "auto", and it is a mode. */
const char *cb_progress_wish(const char *text);
/* The same as a mode; a BUILDKIT_PROGRESS that would count and is none is an error, as with buildx. -CB_EUSAGE. */
int cb_progress_mode_take(const char *text, enum cb_progress_mode *out, struct cb_error *err) CB_WUR;
int cb_progress_mode_parse(const char *text, enum cb_progress_mode *out, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
struct cb_progress *cb_progress_new(const struct cb_progress_options *o);
/* Draws the last state, restores the terminal (cursor), joins the renderer, frees everything incl. steps. */
void cb_progress_free(struct cb_progress *p);
CB_DEFINE_CLEANUP(struct cb_progress *, cb_progress_free)
/* Called before something else writes to the terminal: finishes the live area. `failed` colours the header,
 * and what still runs is canceled. Idempotent; later events are dropped. */
void cb_progress_finish(struct cb_progress *p, bool failed);
/* After cb_progress_finish: the errno of why fd did not take all that was written, or 0. */
int cb_progress_write_error(const struct cb_progress *p);

/* A step that is known but not begun has no number yet (numbers are given by the first event, in order). The handle
 * is owned by p and lives until cb_progress_free. Several steps may share a name. */
struct cb_step *cb_step_new(struct cb_progress *p, const char *name);
void cb_step_begin(struct cb_step *s);
void cb_step_done(struct cb_step *s);
void cb_step_cached(struct cb_step *s);
void cb_step_error(struct cb_step *s, const char *message);
void cb_step_end(struct cb_step *s, int r, const struct cb_error *err); /* done, canceled or failed: r says which */
void cb_step_canceled(struct cb_step *s);
/* Raw bytes of a process's stdout (1) or stderr (2): split into lines at '\n' and '\r' inside; colours are left out;
 * lines longer than CB_MAX_LOG_LINE are cut into several. The last 10 lines are kept for cb_step_last_lines. Waits
 * while the display is far behind. */
void cb_step_log(struct cb_step *s, int stream, const char *buf, size_t n);
bool cb_progress_tells_streams(const struct cb_progress *p); /* who reads it is told which of them a log is of */
void cb_step_logf(struct cb_step *s, const char *fmt, ...) CB_PRINTF(2, 3); /* one line of our own */
void cb_step_warn(struct cb_step *s, const char *fmt, ...) CB_PRINTF(2, 3);
/* Creates or updates the status `id` of a step. total 0: unknown. */
void cb_step_status(struct cb_step *s, const char *id, uint64_t current, uint64_t total);
void cb_step_status_done(struct cb_step *s, const char *id);
/* Up to 10 last log lines, sanitized, "N.NNN text" as in plain output; owned by the caller, "" if none. */
char *cb_step_last_lines(struct cb_step *s);
int64_t cb_step_elapsed_ns(const struct cb_step *s);
const char *cb_step_name(const struct cb_step *s);

/* A line that belongs to no step ("warning: …"); shown above the live area, dropped in quiet mode unless
 * `important`. */
void cb_progress_note(struct cb_progress *p, bool important, const char *fmt, ...) CB_PRINTF(3, 4);
/* Debug lines (-D): dropped unless enabled. */
/* Columns that the sanitized UTF-8 text takes; tabs count as one. */
size_t cb_progress_width(const char *text, size_t n);
void cb_progress_set_debug(struct cb_progress *p, bool on);
void cb_progress_debug(struct cb_progress *p, const char *fmt, ...) CB_PRINTF(2, 3);
