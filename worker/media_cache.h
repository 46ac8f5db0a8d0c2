/* media_cache.h -- contents of media in this worker's memory: asked of Redis once for all that need
 * one, kept while there is room, never evicted while somebody has it in hand. */
#ifndef WORKER_MEDIA_CACHE_H
#define WORKER_MEDIA_CACHE_H

#include "shared/queue.h"

struct media_cache;
struct content;

enum content_fate {
    CONTENT_READY,
    CONTENT_MISSING, /* Redis has lost it: a producer has been told, and puts it back */
    CONTENT_GONE,    /* the user has no such content any more, or it is not what it should be */
    CONTENT_DOWN,    /* Redis does not answer */
};
/* READY: *c stays in memory until content_release(c). */
typedef void content_done(void *arg, enum content_fate fate, struct content *c);

/* memory: bytes that contents may take; one that is larger has the cache to itself, and others wait
 * until it is released. */
struct media_cache *media_cache_new(struct queue *q, int64_t memory);
/* After the queue has been closed: nobody may wait any more. */
void media_cache_free(struct media_cache *m);

/* size: as it should be, in bytes.  done comes at once, or later. */
void content_get(struct media_cache *m, uint64_t user, const char *sha256, int64_t size,
                 content_done *done, void *arg);
void content_release(struct content *c);
const void *content_bytes(const struct content *c, size_t *ret_len);

/* Bytes in memory, those that are on their way among them. */
int64_t media_cache_bytes(const struct media_cache *m);

#endif
