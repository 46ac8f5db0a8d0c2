/* media.c -- a delivery waits, claimed, until its medium is at hand: its content from Redis, or the
 * id under which the provider has it. */
#include "worker/worker.h"

#include <stdio.h>

/* A producer looks every half second for what is missing. */
enum { MISSING_MS = 2000 };

static void
not_at_hand(struct delivery *d, enum content_fate fate)
{
    if (fate == CONTENT_GONE) {
        prepare_cannot_send(d, "media-gone",
                            "the content of the medium is not stored any more; add it again and "
                            "make the message anew");
    } else {
        metric_add(&worker_metrics[M_MEDIA_MISSING], fate == CONTENT_MISSING);
        prepare_give_back(d, MISSING_MS, "media-missing");
    }
}

static void
on_content(void *arg, enum content_fate fate, struct content *c)
{
    struct delivery *d = arg;
    struct parts *p = d->parts;
    if (fate != CONTENT_READY) {
        not_at_hand(d, fate);
        return;
    }
    p->content = c;
    p->media.bytes = content_bytes(c, &p->media.len);
    prepare_ready(d);
}

static void
on_upload(void *arg, const struct upload_answer *a)
{
    struct delivery *d = arg;
    struct parts *p = d->parts;
    switch (a->fate) {
    case UPLOAD_READY:
        (void)snprintf(p->id, sizeof p->id, "%s", a->id);
        p->media.id = p->id;
        prepare_ready(d);
        break;
    case UPLOAD_CONTENT:
        not_at_hand(d, a->content);
        break;
    case UPLOAD_REFUSED: {
        struct outcome o = *a->outcome;
        media_plan_upload_failed(&o);
        deliver_unsent(d, &o);
        break;
    }
    }
}

void
media_begin(struct delivery *d)
{
    struct worker *w = d->part->w;
    struct parts *p = d->parts;
    if (!p || !p->has_media || p->way == WAY_URL) {
        prepare_ready(d);
    } else if (p->way == WAY_BYTES) {
        content_get(w->contents, d->job.user, p->ref.sha256, p->ref.size, on_content, d);
    } else {
        struct upload_wish wish = {.sender_name = d->sender->name,
                                   .type = d->sender->type,
                                   .self = d->sender->self,
                                   .device_ref = d->message.device_ref,
                                   .user = d->job.user,
                                   .ref = &p->ref};
        upload_get(w->uploads, &wish, on_upload, d);
    }
    metric_set(&worker_metrics[M_MEDIA_BYTES], media_cache_bytes(w->contents));
}

void
media_amend(const struct delivery *d, struct outcome *o)
{
    const struct parts *p = d->parts;
    if (p && p->has_media && p->way == WAY_UPLOAD && media_plan_id_refused(o) &&
        upload_refused(d->part->w->uploads, d->sender->name, d->message.device_ref, p->ref.sha256,
                       p->id)) {
        media_plan_retry(o);
    }
}
