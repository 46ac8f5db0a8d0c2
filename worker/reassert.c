/* reassert.c -- before this worker claims in a new incarnation, it tells it what it permitted and
 * sent. */
#include "shared/log.h"
#include "worker/worker.h"

#include <string.h>

enum { TELL_BATCH = 50 };

static void tell(struct part *part);

static void
on_told(void *arg, const struct err *e)
{
    struct part *part = arg;
    part->telling = false;
    if (e) {
        part->told = false;
        return; /* the queue looks the partition up again; on_partition or the beat starts over */
    }
    struct worker *w = part->w;
    if (part->tell_at < journal_size(w->journal) || part->tell_name < journal_names(w->journal)) {
        tell(part);
        return;
    }
    part->told = true;
    claim_kick(part);
}

static void
tell(struct part *part)
{
    struct worker *w = part->w;
    struct queue_reassert items[TELL_BATCH];
    const char *incarnation = queue_incarnation(w->q, part->p);
    size_t n = 0;
    for (; part->tell_at < journal_size(w->journal) && n < TELL_BATCH; part->tell_at++) {
        enum reassert_state state;
        const struct journal_record *r =
            journal_report(w->journal, part->tell_at, incarnation, &state);
        if (!r || queue_partition(w->q, r->device) != part->p) {
            continue;
        }
        struct queue_reassert *item = &items[n++];
        *item = (struct queue_reassert){
            .lease = {.device = r->device, .gen = r->gen, .token = r->token},
            .row = r->row,
            .state = state};
        memcpy(item->lease.id, r->id, JOB_ID_SIZE - 1);
    }
    metric_add(&worker_metrics[M_REASSERTED], (int64_t)n);
    /* When all records are told, each name of the journal is reported, one a call. */
    const char *name = NULL;
    if (part->tell_at >= journal_size(w->journal)) {
        name = journal_name(w->journal, part->tell_name++);
    }
    part->telling = true;
    queue_reassert(w->q, part->p, w->s->lease, name, w->name, items, n, on_told, part);
}

void
reassert_start(struct part *part)
{
    if (part->telling || !queue_incarnation(part->w->q, part->p)[0]) {
        return;
    }
    part->told = false;
    part->tell_at = 0;
    part->tell_name = 0;
    tell(part);
}
