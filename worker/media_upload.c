#include "worker/media_upload.h"

#include "shared/clock.h"
#include "shared/log.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* LOOK_MS: how long an id is believed without a look into Redis, where another worker may have
 * dropped it.  NEW_MS: an id that is younger is not what the provider refuses. */
enum { BUCKETS = 1024, BUCKET_MAX = 16, LOOK_MS = 60000, NEW_MS = 600000 };

struct waiter {
    struct waiter *next;
    upload_done *done;
    void *arg;
};

struct upload {
    struct uploads *all;
    struct upload *next;
    char *key; /* sender, device, hash, NUL-separated */
    size_t key_len;
    bool busy;
    char id[QUEUE_MEDIA_ID_SIZE];
    int64_t believed_until, uploaded_at; /* monotonic; uploaded_at 0: by somebody else */
    /* while it is busy */
    const struct sender *type;
    void *self;
    uint64_t user;
    struct media_ref ref;
    struct queue_upload asked;
    struct content *content;
    struct media media;
    struct waiter *waiters, **last_waiter;
};

struct uploads {
    struct queue *q;
    struct media_cache *cache;
    bool closed; /* senders are about to be */
    struct upload *buckets[BUCKETS];
};

static struct buf
key_of(const char *sender, const char *device_ref, const char *sha256)
{
    struct buf key = {0};
    buf_add(&key, sender, strlen(sender) + 1);
    buf_add(&key, device_ref, strlen(device_ref) + 1);
    buf_add(&key, sha256, strlen(sha256) + 1);
    return key;
}

static struct upload **
bucket(struct uploads *u, const struct buf *key)
{
    return &u->buckets[XXH64(key->data, key->len, 0) % BUCKETS];
}

static struct upload *
find(struct uploads *u, const struct buf *key)
{
    struct upload *x = *bucket(u, key);
    while (x && (x->key_len != key->len || memcmp(x->key, key->data, key->len) != 0)) {
        x = x->next;
    }
    return x;
}

static void
free_upload(struct upload *x)
{
    free(x->key);
    free(x);
}

/* The newest come first; those far behind are forgotten, and found in Redis when they are needed.
 */
static void
trim(struct upload *x)
{
    for (size_t n = 1; x && x->next; n++) {
        struct upload *behind = x->next;
        if (n >= BUCKET_MAX && !behind->busy) {
            x->next = behind->next;
            free_upload(behind);
        } else {
            x = behind;
        }
    }
}

/* Takes the key. */
static struct upload *
add(struct uploads *u, struct buf *key)
{
    struct upload **head = bucket(u, key), *x = xcalloc(1, sizeof *x);
    x->all = u;
    x->key = key->data;
    x->key_len = key->len;
    *key = (struct buf){0};
    x->next = *head;
    *head = x;
    trim(x);
    return x;
}

/* --- one upload ----------------------------------------------------------------------- */

static void
answer(struct upload *x, const struct upload_answer *a)
{
    struct waiter *w = x->waiters;
    char id[QUEUE_MEDIA_ID_SIZE];
    struct upload_answer copy = *a;
    memcpy(id, x->id, sizeof id);
    copy.id = id;
    x->waiters = NULL;
    x->busy = false; /* may be trimmed from here on */
    for (struct waiter *next; w; w = next) {
        next = w->next;
        w->done(w->arg, &copy);
        free(w);
    }
}

static void
ready(struct upload *x)
{
    x->believed_until = clock_mono_ms() + LOOK_MS;
    answer(x, &(struct upload_answer){.fate = UPLOAD_READY});
}

static void
on_uploaded(void *arg, const struct outcome *o, int64_t keep_ms)
{
    struct upload *x = arg;
    content_release(x->content);
    x->content = NULL;
    if (o->class != OUTCOME_SENT || strlen(o->provider_id) >= sizeof x->id) {
        log_info("not_uploaded", "sha256", LOG_S(x->ref.sha256), "code", LOG_S(o->code), "text",
                 LOG_S(o->text));
        answer(x, &(struct upload_answer){.fate = UPLOAD_REFUSED, .outcome = o});
        return;
    }
    memcpy(x->id, o->provider_id, strlen(o->provider_id) + 1);
    x->uploaded_at = clock_mono_ms();
    if (keep_ms > 0) {
        memcpy(x->asked.id, x->id, sizeof x->asked.id);
        queue_upload_put(x->all->q, &x->asked, keep_ms, NULL, NULL);
    }
    log_info("uploaded", "sha256", LOG_S(x->ref.sha256), "id", LOG_S(x->id), "ms",
             LOG_I(o->send_ms));
    ready(x);
}

static void
on_content(void *arg, enum content_fate fate, struct content *c)
{
    struct upload *x = arg;
    if (fate == CONTENT_READY && x->all->closed) {
        content_release(c);
        fate = CONTENT_DOWN;
    }
    if (fate != CONTENT_READY) {
        answer(x, &(struct upload_answer){.fate = UPLOAD_CONTENT, .content = fate});
        return;
    }
    x->content = c;
    x->media = (struct media){.kind = x->ref.kind,
                              .mime = x->ref.mime,
                              .filename = *x->ref.filename ? x->ref.filename : NULL};
    x->media.bytes = content_bytes(c, &x->media.len);
    x->type->upload(x->self, x->asked.device_ref, &x->media, on_uploaded, x);
}

static void
on_asked(void *arg, const struct err *e)
{
    struct upload *x = arg;
    if (!e && *x->asked.id) {
        memcpy(x->id, x->asked.id, sizeof x->id);
        x->uploaded_at = 0;
        ready(x);
        return;
    }
    content_get(x->all->cache, x->user, x->ref.sha256, x->ref.size, on_content, x);
}

static void
begin(struct upload *x, const struct upload_wish *wish)
{
    x->busy = true;
    x->type = wish->type;
    x->self = wish->self;
    x->user = wish->user;
    x->ref = *wish->ref;
    x->asked = (struct queue_upload){
        .sender = x->key, .device_ref = x->key + strlen(x->key) + 1, .sha256 = x->ref.sha256};
    queue_upload_get(x->all->q, &x->asked, on_asked, x);
}

/* --- public --------------------------------------------------------------------------- */

struct uploads *
uploads_new(struct queue *q, struct media_cache *cache)
{
    struct uploads *u = xcalloc(1, sizeof *u);
    u->q = q;
    u->cache = cache;
    return u;
}

void
uploads_close(struct uploads *u)
{
    u->closed = true;
}

void
uploads_free(struct uploads *u)
{
    for (size_t i = 0; u && i < BUCKETS; i++) {
        while (u->buckets[i]) {
            struct upload *x = u->buckets[i];
            u->buckets[i] = x->next;
            free_upload(x);
        }
    }
    free(u);
}

void
upload_get(struct uploads *u, const struct upload_wish *wish, upload_done *done, void *arg)
{
    struct buf key = key_of(wish->sender_name, wish->device_ref, wish->ref->sha256);
    struct upload *x = find(u, &key);
    if (x && !x->busy && *x->id && clock_mono_ms() < x->believed_until) {
        buf_done(&key);
        done(arg, &(struct upload_answer){.fate = UPLOAD_READY, .id = x->id});
        return;
    }
    x = x ? x : add(u, &key);
    buf_done(&key);
    struct waiter *w = xcalloc(1, sizeof *w);
    *w = (struct waiter){NULL, done, arg};
    if (!x->busy) {
        x->last_waiter = &x->waiters;
        begin(x, wish);
    }
    *x->last_waiter = w;
    x->last_waiter = &w->next;
}

bool
upload_refused(struct uploads *u, const char *sender_name, const char *device_ref,
               const char *sha256, const char *id)
{
    struct buf key = key_of(sender_name, device_ref, sha256);
    struct upload *x = find(u, &key);
    buf_done(&key);
    if (!x || strcmp(x->id, id) != 0) {
        return true; /* somebody was quicker: the next one has another id */
    }
    if (x->uploaded_at && clock_mono_ms() - x->uploaded_at < NEW_MS) {
        return false;
    }
    struct queue_upload drop = {.sender = sender_name, .device_ref = device_ref, .sha256 = sha256};
    x->id[0] = '\0';
    x->believed_until = 0;
    queue_upload_drop(u->q, &drop, NULL, NULL);
    log_info("upload_dropped", "sha256", LOG_S(sha256), "id", LOG_S(id));
    return true;
}
