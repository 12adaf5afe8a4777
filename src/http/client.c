/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that owns curl_multi. Others hand it commands; it hands back bytes and results through the transfers. */
#include "http/private.h"
#include "util/alloc.h"
#include "util/thread.h"
#include "util/timeutil.h"

#define KEPT_CONNECTIONS 64L
#define TICK_MS 1000
#define MIN_RATE 1024 /* bytes a second */
#define PATIENCE 10   /* times stall_ns: a registry that puts a big blob in its place says nothing meanwhile */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void cb_http_command(struct cb_http *h, struct cb_http_transfer *t, unsigned command)
{
    pthread_mutex_lock(&h->lock);
    t->commands |= command;
    if (!t->queued) {
        t->queued = true;
        cb_http_transfer_ref(t);
        CB_GROW(h->commands, h->n_commands, h->cap_commands);
        h->commands[h->n_commands++] = t;
    }
    pthread_mutex_unlock(&h->lock);
    curl_multi_wakeup(h->multi);
}

static void unlink_running(struct cb_http *h, struct cb_http_transfer *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        h->running = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = t->next = NULL;
}

/* t may be gone afterwards. */
static void finish(struct cb_http *h, struct cb_http_transfer *t, CURLcode result)
{
    bool was_running = t->in_multi;
    long connect_code = 0, os_errno = 0;
    if (was_running) {
        curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &connect_code);
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
        curl_multi_remove_handle(h->multi, t->easy);
        unlink_running(h, t);
        t->in_multi = false;
    }
    if (t->has_place)
        cb_http_gate_leave(h, t->origin);
    t->has_place = false;
    pthread_mutex_lock(&t->lock);
    if (!t->finished) {
        t->finished = true;
        t->ended_at = cb_time_monotonic();
        t->result = result;
        t->connect_code = connect_code;
        t->os_errno = os_errno;
        pthread_cond_broadcast(&t->changed);
    }
    pthread_mutex_unlock(&t->lock);
    if (was_running)
        cb_http_transfer_unref(t);
}

static void finish_canceled(struct cb_http *h, struct cb_http_transfer *t)
{
    pthread_mutex_lock(&t->lock);
    t->canceled = true;
    pthread_mutex_unlock(&t->lock);
    /* Without this, curl waits for a name server that does not answer. */
    curl_easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L);
    finish(h, t, CURLE_ABORTED_BY_CALLBACK);
}

static void add(struct cb_http *h, struct cb_http_transfer *t)
{
    pthread_mutex_lock(&h->lock);
    bool canceled = cb_http_is_canceled(h, t);
    pthread_mutex_unlock(&h->lock);
    if (canceled) {
        finish_canceled(h, t);
        return;
    }
    if (curl_multi_add_handle(h->multi, t->easy) != CURLM_OK) {
        finish(h, t, CURLE_FAILED_INIT);
        return;
    }
    cb_http_transfer_ref(t);
    t->in_multi = true;
    t->next = h->running;
    if (t->next)
        t->next->prev = t;
    h->running = t;
}

static void resume(struct cb_http *h, struct cb_http_transfer *t)
{
    pthread_mutex_lock(&t->lock);
    bool paused = t->read_paused || t->write_paused;
    t->read_paused = t->write_paused = false;
    pthread_mutex_unlock(&t->lock);
    if (!paused)
        return;
    if (!t->has_place)
        cb_http_gate_retake(h, t->origin);
    t->has_place = true;
    t->watch = (struct cb_http_watch){ .since = cb_time_monotonic(), .bytes = UINT64_MAX };
    curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

/* 0, or in how many ms to look again. */
static int64_t resume_throttled(struct cb_http *h)
{
    bool wait = false;
    for (struct cb_http_transfer *t = h->running, *next; t; t = next) {
        next = t->next;
        if (t->throttled && cb_http_rate_allows(h, t->throttled_up ? &h->up : &h->down)) {
            t->throttled = false;
            resume(h, t);
        }
        wait = wait || t->throttled;
    }
    return wait ? cb_http_rate_wait_ms(h) : 0;
}

static void obey(struct cb_http *h, struct cb_http_transfer *t, unsigned commands)
{
    if (commands & CB_HTTP_REMOVE) {
        finish(h, t, CURLE_ABORTED_BY_CALLBACK);
        return;
    }
    if (commands & CB_HTTP_ADD)
        add(h, t);
    if ((commands & CB_HTTP_RESUME) && t->in_multi)
        resume(h, t);
}

/* False when the client is to end. */
static bool run_commands(struct cb_http *h)
{
    for (;;) {
        pthread_mutex_lock(&h->lock);
        size_t n = h->n_commands;
        struct cb_http_transfer **list = h->commands;
        bool stop = h->stop;
        h->commands = NULL;
        h->n_commands = h->cap_commands = 0;
        pthread_mutex_unlock(&h->lock);
        for (size_t i = 0; i < n; i++) {
            pthread_mutex_lock(&h->lock);
            unsigned commands = list[i]->commands;
            list[i]->commands = 0;
            list[i]->queued = false;
            pthread_mutex_unlock(&h->lock);
            obey(h, list[i], commands);
            cb_http_transfer_unref(list[i]);
        }
        free(list);
        if (!n)
            return !stop;
    }
}

static void collect_finished(struct cb_http *h)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(h->multi, &left))) {
        struct cb_http_transfer *t = NULL;
        CURLcode result = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        finish(h, t, result);
    }
}

static uint64_t bytes_moved(const struct cb_http_transfer *t)
{
    curl_off_t up = 0, down = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    return (uint64_t)up + (uint64_t)down + t->header_bytes;
}

/* libcurl's own low-speed limit counts the time in which an upload waits for us. */
static bool is_stalled(struct cb_http *h, struct cb_http_transfer *t, int64_t now)
{
    pthread_mutex_lock(&t->lock);
    bool ours = !t->connected || t->read_paused || t->write_paused;
    bool sent_all = t->body_ended && !t->out.len;
    bool waiting = sent_all && !t->header_done;
    pthread_mutex_unlock(&t->lock);
    uint64_t moved = bytes_moved(t);
    uint64_t enough = (uint64_t)(h->o.stall_ns / (CB_SEC_NS / MIN_RATE));
    struct cb_http_watch *w = &t->watch;
    if (ours || w->bytes > moved || sent_all != w->sent_all || moved - w->bytes >= enough) {
        *w = (struct cb_http_watch){ .since = now, .bytes = moved, .sent_all = sent_all };
        return false;
    }
    return now - w->since >= h->o.stall_ns * (waiting && t->patient ? PATIENCE : 1);
}

static void finish_stalled(struct cb_http *h)
{
    int64_t now = cb_time_monotonic();
    for (struct cb_http_transfer *t = h->running, *next; t; t = next) {
        next = t->next;
        if (!is_stalled(h, t, now))
            continue;
        pthread_mutex_lock(&t->lock);
        t->stalled = true;
        pthread_mutex_unlock(&t->lock);
        finish(h, t, CURLE_OPERATION_TIMEDOUT);
    }
}

static void cancel_all(struct cb_http *h)
{
    pthread_mutex_lock(&h->lock);
    h->canceled = true;
    pthread_cond_broadcast(&h->gate);
    pthread_mutex_unlock(&h->lock);
    /* Everybody is told first: taking a handle out of curl can take a moment. */
    for (struct cb_http_transfer *t = h->running; t; t = t->next) {
        pthread_mutex_lock(&t->lock);
        t->canceled = t->finished = true;
        t->result = CURLE_ABORTED_BY_CALLBACK;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
    }
    while (h->running)
        finish_canceled(h, h->running);
}

static struct cb_http_transfer *next_canceled(struct cb_http *h)
{
    pthread_mutex_lock(&h->lock);
    struct cb_http_transfer *t = h->running;
    while (t && !cb_canceled_below(t->cancel, h->o.cancel))
        t = t->next;
    pthread_mutex_unlock(&h->lock);
    return t;
}

/* Of one token or several. What is not yet running is looked at when it is added. */
static void cancel_some(struct cb_http *h)
{
    struct cb_http_transfer *t;
    while (cb_http_tokens_triggered(h))
        while ((t = next_canceled(h)))
            finish_canceled(h, t);
}

/* Ends what is under way when it is canceled, and again when the time of grace is over. */
static void follow_cancel(struct cb_http *h)
{
    if (!h->cancel_seen && cb_canceled(h->o.cancel)) {
        cancel_all(h);
        pthread_mutex_lock(&h->lock);
        h->cancel_seen = true;
        pthread_cond_broadcast(&h->gate);
        pthread_mutex_unlock(&h->lock);
    }
    pthread_mutex_lock(&h->lock);
    bool over = h->grace_until && !h->canceled && cb_time_monotonic() >= h->grace_until;
    pthread_mutex_unlock(&h->lock);
    if (over)
        cancel_all(h);
}

void cb_http_grace(struct cb_http *h, int64_t ns)
{
    if (!cb_canceled(h->o.cancel))
        return;
    pthread_mutex_lock(&h->start_lock);
    bool started = h->started;
    pthread_mutex_unlock(&h->start_lock);
    pthread_mutex_lock(&h->lock);
    while (started && !h->cancel_seen)
        pthread_cond_wait(&h->gate, &h->lock);
    h->cancel_seen = true;
    h->canceled = false;
    h->grace_until = cb_time_monotonic() + ns;
    pthread_mutex_unlock(&h->lock);
}

static void *client_main(void *arg)
{
    struct cb_http *h = arg;
    int64_t tick = CB_MAX(CB_MIN(h->o.stall_ns / 4 / 1000000, (int64_t)TICK_MS), (int64_t)5);
    int64_t looked = cb_time_monotonic();
    while (run_commands(h)) {
        int running = 0;
        curl_multi_perform(h->multi, &running);
        collect_finished(h);
        follow_cancel(h);
        cancel_some(h);
        int64_t now = cb_time_monotonic();
        if (now - looked >= tick * 1000000) {
            looked = now;
            finish_stalled(h);
            cb_http_ahead_close(h, false);
        }
        unsigned n_fds = cb_http_token_fds(h);
        int64_t wait = h->o.rate ? resume_throttled(h) : 0;
        curl_multi_poll(h->multi, h->fds, n_fds, (int)(wait ? CB_MIN(wait, tick) : tick), NULL);
    }
    cancel_all(h);
    cb_http_ahead_close(h, true);
    return NULL;
}

static void lock_share(CURL *easy, curl_lock_data data, curl_lock_access access, void *arg)
{
    (void)easy;
    (void)data;
    (void)access;
    pthread_mutex_lock(&((struct cb_http *)arg)->share_lock);
}

static void unlock_share(CURL *easy, curl_lock_data data, void *arg)
{
    (void)easy;
    (void)data;
    pthread_mutex_unlock(&((struct cb_http *)arg)->share_lock);
}

/* Each try is an easy handle of its own, which would start every TLS connection from nothing. */
static void open_share(struct cb_http *h)
{
    h->share = curl_share_init();
    if (!h->share)
        return;
    curl_share_setopt(h->share, CURLSHOPT_USERDATA, h);
    curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, lock_share);
    curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, unlock_share);
    curl_share_setopt(h->share, CURLSHOPT_SHARE, (int)CURL_LOCK_DATA_SSL_SESSION);
}

static void set_options(struct cb_http *h, const struct cb_http_options *o)
{
    h->o = *o;
    h->o.max_host_connections = o->max_host_connections ? o->max_host_connections : 16;
    h->o.retries = o->retries == UINT_MAX ? 5 : o->retries;
    h->o.max_wait_ns = o->max_wait_ns ? o->max_wait_ns : 300 * CB_SEC_NS;
    h->o.backoff_ns = o->backoff_ns ? o->backoff_ns : CB_SEC_NS;
    h->o.stall_ns = o->stall_ns ? o->stall_ns : 30 * CB_SEC_NS;
    h->o.connect_ns = o->connect_ns ? o->connect_ns : 30 * CB_SEC_NS;
    h->user_agent = cb_strdup(o->user_agent ? o->user_agent : "cbpush/" PACKAGE_VERSION);
    h->o.user_agent = h->user_agent;
}

static void init_sync(struct cb_http *h)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->gate, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->share_lock, NULL);
    pthread_mutex_init(&h->start_lock, NULL);
}

static void free_origins(struct cb_http *h)
{
    size_t it = 0;
    const char *key;
    void *origin;
    while (cb_hashmap_next(h->origins, &it, &key, &origin))
        free(origin);
    cb_hashmap_free(h->origins);
}

static void close_curl(struct cb_http *h)
{
    if (h->multi)
        curl_multi_cleanup(h->multi);
    if (h->share)
        curl_share_cleanup(h->share);
    h->multi = NULL;
    h->share = NULL;
}

static void free_parts(struct cb_http *h)
{
    close_curl(h);
    free_origins(h);
    cb_http_ca_done(h);
    cb_http_env_done(&h->env);
    free(h->user_agent);
    free(h->commands);
    free(h->tokens);
    free(h->fds);
    pthread_cond_destroy(&h->gate);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->share_lock);
    pthread_mutex_destroy(&h->start_lock);
    free(h);
}

static const char *environment(const char *name)
{
    return getenv(name);
}

struct cb_http *cb_http_new(const struct cb_http_options *o)
{
    struct cb_http *h = CB_NEW(struct cb_http);
    init_sync(h);
    set_options(h, o);
    cb_http_env_read(&h->env, environment);
    h->origins = cb_hashmap_new();
    h->ca_cache = cb_hashmap_new();
    for (size_t i = 0; i < CB_COUNTOF(h->ahead); i++)
        h->ahead[i].fd = -1;
    return h;
}

static int start(struct cb_http *h, struct cb_error *err)
{
    int r = cb_curl_load(err);
    if (r < 0)
        return r;
    pthread_once(&curl_once, init_curl);
    open_share(h);
    h->multi = curl_multi_init();
    if (!h->multi)
        return cb_error_set(err, CB_ELOCAL, "libcurl: no memory or descriptors");
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
    return cb_thread_start(&h->thread, "http", client_main, h, err);
}

int cb_http_start(struct cb_http *h, struct cb_error *err)
{
    int r = 0;
    pthread_mutex_lock(&h->start_lock);
    if (!h->started && (r = start(h, err)) < 0)
        close_curl(h);
    h->started = r == 0;
    pthread_mutex_unlock(&h->start_lock);
    return r;
}

const char *cb_http_library(void)
{
    return cb_curl_load(NULL) < 0 ? "libcurl (cannot be loaded)" : curl_version();
}

int64_t cb_http_backoff_base(const struct cb_http *h)
{
    return h->o.backoff_ns;
}

int64_t cb_http_max_wait(const struct cb_http *h)
{
    return h->o.max_wait_ns;
}

unsigned cb_http_retries(const struct cb_http *h)
{
    return h->o.retries;
}

void cb_http_free(struct cb_http *h)
{
    if (!h)
        return;
    if (h->started) {
        pthread_mutex_lock(&h->lock);
        h->stop = true;
        pthread_mutex_unlock(&h->lock);
        curl_multi_wakeup(h->multi);
        pthread_join(h->thread, NULL);
    }
    free_parts(h);
}
