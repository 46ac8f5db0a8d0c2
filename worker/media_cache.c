#include "worker/media_cache.h"

#include "shared/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum state { PARKED, LOADING, READY };

struct waiter {
    struct waiter *next;
    uint64_t user;
    content_done *done;
    void *arg;
};

/* In the list the one used last comes first. */
struct content {
    struct media_cache *cache;
    struct content *prev, *next;
    enum state state;
    uint64_t user;
    char sha256[QUEUE_SHA_SIZE];
    int64_t size;
    struct queue_content got;
    bool gone;
    size_t pins;
    struct waiter *waiters, **last_waiter;
};

struct media_cache {
    struct queue *q;
    int64_t memory, bytes; /* bytes: of what is READY or LOADING */
    size_t n_busy;         /* LOADING, or READY and pinned */
    size_t n_parked;
    struct content *first, *last;
};

static void
unlink_content(struct content *c)
{
    struct media_cache *m = c->cache;
    *(c->prev ? &c->prev->next : &m->first) = c->next;
    *(c->next ? &c->next->prev : &m->last) = c->prev;
}

static void
link_first(struct content *c)
{
    struct media_cache *m = c->cache;
    c->prev = NULL;
    c->next = m->first;
    *(m->first ? &m->first->prev : &m->last) = c;
    m->first = c;
}

static void
free_content(struct content *c)
{
    unlink_content(c);
    buf_done(&c->got.bytes);
    free(c);
}

/* Evicts what nobody has in hand, the longest unused first, until there is room for more bytes. */
static bool
make_room(struct media_cache *m, int64_t more)
{
    for (struct content *c = m->last, *prev; c && m->bytes + more > m->memory; c = prev) {
        prev = c->prev;
        if (c->state == READY && !c->pins) {
            m->bytes -= c->size;
            free_content(c);
        }
    }
    return m->bytes + more <= m->memory;
}

static void load(struct content *c);

/* The longest parked first: others may not pass a large one for ever. */
static void
unpark(struct media_cache *m)
{
    while (m->n_parked) {
        struct content *c = m->last;
        while (c->state != PARKED) {
            c = c->prev;
        }
        if (!make_room(m, c->size) && m->n_busy) {
            return;
        }
        m->n_parked--;
        load(c);
    }
}

/* Tells those who wait and, unless it is ready, forgets the content.  That its user has it no more
 * says nothing of others': they ask for themselves. */
static void
settle(struct content *c, enum content_fate fate)
{
    struct media_cache *m = c->cache;
    struct waiter *w = c->waiters;
    uint64_t user = c->user;
    c->waiters = NULL;
    m->n_busy--;
    if (fate == CONTENT_READY) {
        c->state = READY;
        c->pins = 1; /* ours, while it is handed out */
        m->n_busy++;
    } else {
        m->bytes -= c->size;
        free_content(c);
        c = NULL;
    }
    for (struct waiter *next; w; w = next) {
        next = w->next;
        if (c) {
            c->pins++;
        }
        bool anothers = fate == CONTENT_GONE && w->user != user;
        w->done(w->arg, anothers ? CONTENT_MISSING : fate, c);
        free(w);
    }
    if (c) {
        content_release(c);
    } else {
        unpark(m);
    }
}

static void
on_missing(void *arg, const struct err *e)
{
    struct content *c = arg;
    log_warn(c->gone ? "media_gone" : "media_missing", "sha256", LOG_S(c->sha256));
    settle(c, e ? CONTENT_DOWN : c->gone ? CONTENT_GONE : CONTENT_MISSING);
}

static void
on_content(void *arg, const struct err *e)
{
    struct content *c = arg;
    if (e) {
        settle(c, CONTENT_DOWN);
    } else if (!c->got.there) {
        queue_media_missing(c->cache->q, c->user, c->sha256, &c->gone, on_missing, c);
    } else if ((int64_t)c->got.bytes.len != c->size) {
        log_error("media_broken", "sha256", LOG_S(c->sha256), "bytes", LOG_I(c->got.bytes.len),
                  "wanted", LOG_I(c->size));
        settle(c, CONTENT_GONE);
    } else {
        settle(c, CONTENT_READY);
    }
}

static void
load(struct content *c)
{
    struct media_cache *m = c->cache;
    c->state = LOADING;
    m->bytes += c->size;
    m->n_busy++;
    queue_media_get(m->q, c->sha256, &c->got, on_content, c);
}

/* --- public --------------------------------------------------------------------------- */

struct media_cache *
media_cache_new(struct queue *q, int64_t memory)
{
    struct media_cache *m = xcalloc(1, sizeof *m);
    m->q = q;
    m->memory = memory;
    return m;
}

void
media_cache_free(struct media_cache *m)
{
    while (m && m->first) {
        free_content(m->first);
    }
    free(m);
}

static struct content *
find(struct media_cache *m, const char *sha256)
{
    struct content *c = m->first;
    while (c && strcmp(c->sha256, sha256) != 0) {
        c = c->next;
    }
    return c;
}

static struct content *
add(struct media_cache *m, uint64_t user, const char *sha256, int64_t size)
{
    struct content *c = xcalloc(1, sizeof *c);
    c->cache = m;
    c->user = user;
    c->size = size;
    memcpy(c->sha256, sha256, strnlen(sha256, QUEUE_SHA_SIZE - 1));
    c->last_waiter = &c->waiters;
    link_first(c);
    return c;
}

static void
wait_for(struct content *c, uint64_t user, content_done *done, void *arg)
{
    struct waiter *w = xcalloc(1, sizeof *w);
    *w = (struct waiter){NULL, user, done, arg};
    *c->last_waiter = w;
    c->last_waiter = &w->next;
}

void
content_get(struct media_cache *m, uint64_t user, const char *sha256, int64_t size,
            content_done *done, void *arg)
{
    struct content *c = find(m, sha256);
    if (c && c->state == READY) {
        unlink_content(c);
        link_first(c);
        m->n_busy += c->pins++ == 0;
        done(arg, CONTENT_READY, c);
        return;
    }
    if (c) {
        wait_for(c, user, done, arg);
        return;
    }
    bool room = !m->n_parked && (make_room(m, size) || !m->n_busy);
    c = add(m, user, sha256, size);
    wait_for(c, user, done, arg);
    if (room) {
        load(c);
    } else {
        c->state = PARKED;
        m->n_parked++;
    }
}

void
content_release(struct content *c)
{
    struct media_cache *m = c->cache;
    assert(c->pins > 0);
    if (--c->pins == 0) {
        m->n_busy--;
        unpark(m);
    }
}

const void *
content_bytes(const struct content *c, size_t *ret_len)
{
    *ret_len = c->got.bytes.len;
    return c->got.bytes.data;
}

int64_t
media_cache_bytes(const struct media_cache *m)
{
    return m->bytes;
}
