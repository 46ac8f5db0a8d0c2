/* media_upload.h -- ids of media that were uploaded: once for a sender, a device and a content,
 * kept in Redis for the whole fleet as long as the provider keeps them, and looked up there once a
 * minute. */
#ifndef WORKER_MEDIA_UPLOAD_H
#define WORKER_MEDIA_UPLOAD_H

#include "worker/media_cache.h"
#include "worker/sender.h"

struct uploads;

/* What is to be uploaded; borrowed for the call. */
struct upload_wish {
    const char *sender_name;
    const struct sender *type;
    void *self;
    const char *device_ref;
    uint64_t user;
    const struct media_ref *ref;
};

enum upload_fate {
    UPLOAD_READY,
    UPLOAD_CONTENT, /* the content is not to be had: see content_fate */
    UPLOAD_REFUSED, /* the provider's outcome says why */
};
struct upload_answer {
    enum upload_fate fate;
    const char *id; /* borrowed */
    enum content_fate content;
    const struct outcome *outcome; /* borrowed */
};
typedef void upload_done(void *arg, const struct upload_answer *a);

struct uploads *uploads_new(struct queue *q, struct media_cache *cache);
/* No sender is asked any more. */
void uploads_close(struct uploads *u);
void uploads_free(struct uploads *u);

/* done comes at once, or later; those who wish the same at once share one upload. */
void upload_get(struct uploads *u, const struct upload_wish *wish, upload_done *done, void *arg);

/* The provider refused this id.  True: it is forgotten, here and in Redis, and the message can be
 * tried again with a new one.  False: it is a new one; what is wrong is something else. */
bool upload_refused(struct uploads *u, const char *sender_name, const char *device_ref,
                    const char *sha256, const char *id);

#endif
