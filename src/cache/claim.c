/* SPDX-License-Identifier: Apache-2.0 */
/* Registries cannot compare and swap: the last writer of a tag wins. So who wants the claim looks, and where it is free
 * writes its own, waits twice as long as that took, and looks again: whoever is in the tag then has it. One that looked
 * before that and writes after it is caught as well: the winner writes its claim again when it is twice as old, and
 * again, and the late one (whose look and write lie as far apart as the claim was old, at most) waits longer than that.
 * Nobody's clock is compared with another's. */
#include "cache/private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/random.h"
#include "util/timeutil.h"

#define MS INT64_C(1000000)
#define SETTLE_MIN (20 * MS)
#define POLL_MIN (50 * MS)
#define POLL_MAX (2000 * MS)
#define BODIES 8 /* a claim that is renewed is one of these in turn: so few are to be removed in the end */
#define FAULTS 3 /* polls that fail one after the other */
#define PREFIX "claim-"
#define CREATED "org.opencontainers.image.created"
#define OWNER "org.cbpush.claim.owner"
#define TURN "org.cbpush.claim.turn"
#define BEAT "org.cbpush.claim.beat"

/* What stands in a claim. */
struct told {
    struct cb_digest digest;
    char owner[33]; /* "": it has ended */
    uint64_t turn;
    int64_t created;
};

enum phase { LOOK, PUT, CHECK, CONFIRM, RENEW, POLL, DONE };

struct cb_cache_claim {
    struct cb_cache_claim_options o;
    char *name;
    char id[33];
    struct cb_strbuf created;
    enum cb_cache_claim_state state;
    enum phase phase;
    int64_t looked, put, settled; /* when the tag was looked at last, when ours stood in it, when it can be believed */
    uint64_t turn;
    unsigned beat;
    struct cb_digest own[BODIES]; /* what we have put; NONE: not yet, or removed */
    struct told seen;             /* who is waited for */
    int64_t since, changed, gap;  /* when waiting began, when seen was another, until the next look */
    struct cb_digest dead;
    unsigned faults;
};

/* ---- manifests ---- */

char *cb_cache_claim_name(const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    return cb_asprintf(PREFIX "%s", cb_digest_hex(key, hex));
}

bool cb_cache_claim_is_name(const char *name)
{
    cb_autofree char *text = cb_asprintf("sha256:%s", cb_starts_with(name, PREFIX) ? name + strlen(PREFIX) : "");
    struct cb_digest d;
    return cb_digest_parse(&d, text, NULL) == 0;
}

/* An index of nothing, which image-spec allows (image-index.md, "manifests"): no blob has to be there first. owner
 * NULL: that of one which has ended. */
static void print(struct cb_strbuf *out, const struct cb_cache_claim *c, const char *owner)
{
    cb_autojson json_t *o = json_object();
    json_t *annotations = json_object();
    struct cb_strbuf n cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_put(o, "schemaVersion", json_integer(2));
    cb_json_put_string(o, "mediaType", CB_MT_OCI_INDEX);
    cb_json_put_string(o, "artifactType", CB_MT_CACHE_CLAIM);
    cb_json_put(o, "manifests", json_array());
    cb_json_put_string(annotations, CREATED, owner ? c->created.buf : NULL);
    cb_json_put_string(annotations, OWNER, owner ? owner : "");
    if (owner) {
        cb_strbuf_addf(&n, "%llu", (unsigned long long)c->turn);
        cb_json_put_string(annotations, TURN, n.buf);
        cb_strbuf_reset(&n);
        cb_strbuf_addf(&n, "%u", c->beat);
        cb_json_put_string(annotations, BEAT, n.buf);
    }
    cb_json_put(o, "annotations", annotations);
    cb_json_print(out, o);
}

static bool read_told(struct told *t, const char *body, size_t len)
{
    const char *type = NULL, *owner = NULL, *turn = NULL, *created = NULL;
    cb_autojson json_t *o = cb_json_parse(body, len, NULL);
    const json_t *a = o ? json_object_get(o, "annotations") : NULL;
    *t = (struct told){ 0 };
    if (!json_is_object(a) || cb_json_get_string(o, "artifactType", &type, NULL) < 0 ||
        !cb_streq(type, CB_MT_CACHE_CLAIM) || cb_json_get_string(a, OWNER, &owner, NULL) < 0 || !owner ||
        cb_json_get_string(a, TURN, &turn, NULL) < 0 || cb_json_get_string(a, CREATED, &created, NULL) < 0)
        return false;
    if (strlen(owner) >= sizeof t->owner || (*owner && !(turn && cb_parse_u64(turn, UINT32_MAX, &t->turn))))
        return false;
    if (created && !cb_time_parse(created, &t->created))
        return false;
    memcpy(t->owner, owner, strlen(owner) + 1);
    cb_digest_of(&t->digest, body, len);
    return true;
}

bool cb_cache_claim_read(const char *body, size_t len, int64_t *created, bool *live)
{
    struct told t;
    bool is = read_told(&t, body, len);
    *created = t.created;
    *live = is && *t.owner;
    return is;
}

/* ---- the place ---- */

static bool is_free(const struct cb_cache_claim *c, const struct told *t)
{
    return !*t->owner || (cb_digest_is_set(&c->dead) && cb_digest_eq(&t->digest, &c->dead));
}

static bool is_ours(const struct cb_cache_claim *c, const struct told *t)
{
    return !strcmp(t->owner, c->id);
}

/* What is no claim is nothing that we could wait for, nor write over. */
static int look(struct cb_cache_claim *c, struct told *t)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    *t = (struct told){ 0 };
    int64_t now = c->o.now(c->o.arg);
    int r = c->o.place->ops->peek(c->o.place, c->name, &body, NULL);
    c->looked = now;
    if (r == -CB_ENOTFOUND)
        return 0;
    return r < 0 ? r : read_told(t, body.buf, body.len) ? 0 : -CB_EVERIFY;
}

static int write_it(struct cb_cache_claim *c, const char *owner)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    print(&body, c, owner);
    cb_descriptor_of(&d, CB_MT_OCI_INDEX, body.buf, body.len);
    if (owner)
        c->own[c->beat] = d.digest;
    return c->o.place->ops->mark(c->o.place, c->name, &d, (struct cb_slice){ body.buf, body.len }, NULL);
}

static int write_next(struct cb_cache_claim *c)
{
    c->beat = (c->beat + 1) % BODIES;
    return write_it(c, c->id);
}

/* Whether the registry deletes at all. */
static bool remove_own(struct cb_cache_claim *c)
{
    bool can = true;
    for (size_t i = 0; can && i < BODIES; i++) {
        if (!cb_digest_is_set(&c->own[i]))
            continue;
        int r = c->o.place->ops->unmark(c->o.place, &c->own[i], NULL);
        can = r == 0 || r == -CB_ENOTFOUND;
        c->own[i] = (struct cb_digest){ 0 };
    }
    return can;
}

/* ---- what is due ---- */

static int64_t finish(struct cb_cache_claim *c, enum cb_cache_claim_state state)
{
    c->state = state;
    c->phase = DONE;
    return INT64_MAX;
}

static int64_t jitter(int64_t n)
{
    unsigned char b;
    cb_random_bytes(&b, 1);
    return n - n / 4 + n / 2 * b / 255;
}

static int64_t next_poll(struct cb_cache_claim *c, int64_t now)
{
    c->gap = CB_MIN(c->gap + c->gap / 2, POLL_MAX);
    return now + jitter(c->gap);
}

static int64_t wait_for(struct cb_cache_claim *c, const struct told *t)
{
    int64_t now = c->o.now(c->o.arg);
    if (c->state != CB_CLAIM_OTHERS && !c->since)
        c->since = now;
    c->state = CB_CLAIM_OTHERS;
    c->phase = POLL;
    c->seen = *t;
    c->changed = now;
    c->gap = POLL_MIN;
    c->faults = 0;
    if (!remove_own(c)) /* what was written over */
        memset(c->own, 0, sizeof c->own);
    return next_poll(c, now);
}

static int64_t try_for_it(struct cb_cache_claim *c, uint64_t turn)
{
    c->turn = turn;
    c->phase = PUT;
    return c->looked;
}

static int64_t do_look(struct cb_cache_claim *c)
{
    struct told t;
    if (look(c, &t) < 0)
        return finish(c, CB_CLAIM_NONE);
    return is_free(c, &t) ? try_for_it(c, 1) : wait_for(c, &t);
}

static int64_t do_put(struct cb_cache_claim *c)
{
    if (write_next(c) < 0)
        return finish(c, CB_CLAIM_NONE);
    c->put = c->o.now(c->o.arg);
    c->settled = c->put + CB_MAX(2 * (c->put - c->looked), SETTLE_MIN);
    c->phase = CHECK;
    return c->put;
}

/* Who had the claim before has written the record before it left. */
static int64_t do_check(struct cb_cache_claim *c)
{
    if (c->o.recorded(c->o.arg))
        return finish(c, CB_CLAIM_RECORDED);
    c->phase = CONFIRM;
    return c->settled;
}

static int64_t renew_after(const struct cb_cache_claim *c, int64_t now)
{
    return now + CB_MIN(CB_MAX(now - c->put, SETTLE_MIN), CB_CACHE_CLAIM_BEAT);
}

static int64_t do_confirm(struct cb_cache_claim *c)
{
    struct told t;
    if (look(c, &t) < 0)
        return finish(c, CB_CLAIM_NONE);
    if (is_free(c, &t))
        return try_for_it(c, c->turn);
    if (!is_ours(c, &t))
        return wait_for(c, &t);
    c->state = CB_CLAIM_OURS;
    c->phase = RENEW;
    return c->put + CB_MAX(2 * (c->looked - c->put), SETTLE_MIN);
}

/* One that fails is made up for by the next. */
static int64_t do_renew(struct cb_cache_claim *c)
{
    int64_t begun = c->o.now(c->o.arg);
    if (write_next(c) < 0)
        return begun + CB_CACHE_CLAIM_BEAT / 2;
    return renew_after(c, begun);
}

/* It is gone, or dead. */
static int64_t left(struct cb_cache_claim *c)
{
    if (c->o.recorded(c->o.arg))
        return finish(c, CB_CLAIM_RECORDED);
    if (c->seen.turn >= CB_CACHE_CLAIM_TURNS)
        return finish(c, CB_CLAIM_NONE);
    return try_for_it(c, c->seen.turn + 1);
}

static int64_t do_poll(struct cb_cache_claim *c)
{
    struct told t;
    int64_t now = c->o.now(c->o.arg);
    if (now - c->since > c->o.max_wait)
        return finish(c, CB_CLAIM_NONE);
    int r = look(c, &t);
    if (r < 0)
        return r == -CB_EVERIFY || ++c->faults >= FAULTS ? finish(c, CB_CLAIM_NONE) : next_poll(c, now);
    c->faults = 0;
    if (is_free(c, &t))
        return left(c);
    if (!cb_digest_eq(&t.digest, &c->seen.digest)) {
        c->seen = t;
        c->changed = now;
    } else if (now - c->changed > CB_CACHE_CLAIM_DEAD) {
        c->dead = t.digest;
        return left(c);
    }
    return next_poll(c, now);
}

int64_t cb_cache_claim_go(struct cb_cache_claim *c, enum cb_cache_claim_state *state)
{
    static int64_t (*const act[])(struct cb_cache_claim *) = {
        [LOOK] = do_look, [PUT] = do_put, [CHECK] = do_check, [CONFIRM] = do_confirm, [RENEW] = do_renew,
        [POLL] = do_poll,
    };
    int64_t next = c->phase == DONE ? INT64_MAX : act[c->phase](c);
    *state = c->state;
    return next;
}

/* ---- the whole ---- */

struct cb_cache_claim *cb_cache_claim_new(const struct cb_cache_claim_options *o)
{
    struct cb_cache_claim *c = CB_NEW(struct cb_cache_claim);
    unsigned char id[16];
    c->o = *o;
    c->name = cb_cache_claim_name(&o->key);
    cb_random_bytes(id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++)
        snprintf(c->id + 2 * i, 3, "%02x", id[i]);
    c->created = (struct cb_strbuf)CB_STRBUF_INIT;
    cb_time_format(&c->created, cb_time_now() / 1000000000 * 1000000000);
    return c;
}

/* A registry that does not delete gets one that says that it has ended, where ours stood. */
void cb_cache_claim_free(struct cb_cache_claim *c)
{
    struct told t;
    if (!c)
        return;
    if (!remove_own(c) && look(c, &t) == 0 && is_ours(c, &t) && write_it(c, NULL) < 0)
        c->faults++;
    free(c->name);
    cb_strbuf_done(&c->created);
    free(c);
}
