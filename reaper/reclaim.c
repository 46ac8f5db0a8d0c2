#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <stdlib.h>
#include <string.h>

struct call {
    struct queue_reclaim r;
    struct queue_expired end[QUEUE_BATCH_MAX];
    bool failed;
};

static void
on_reclaim(void *arg, const struct err *e)
{
    struct call *c = arg;
    c->failed = e != NULL;
}

static void
count(const struct call *c, unsigned p)
{
    for (size_t i = 0; !c->failed && i < c->r.n; i++) {
        const struct queue_expired *x = &c->r.items[i];
        if (x->answer == 'a' || x->answer == 'u') {
            metric_add(&reaper_metrics[x->answer == 'a' ? M_RECLAIM_AGAIN : M_RECLAIM_UNKNOWN], 1);
            log_info("reclaimed", "partition", LOG_I(p), "job", LOG_S(x->id), "as",
                     LOG_S(x->answer == 'a' ? "waiting" : "unknown"));
        }
    }
}

/* First every partition names its expired leases, then those that were watched long enough are
 * ended. */
void
reclaim_pass(struct reaper *r)
{
    struct call *calls = xcalloc(r->n_parts, sizeof *calls);
    for (unsigned p = 0; p < r->n_parts; p++) {
        if (queue_state(r->q, p) == PARTITION_OPEN) {
            queue_reclaim(r->q, p, &calls[p].r, on_reclaim, &calls[p]);
        } else {
            queue_refresh(r->q, p);
            calls[p].failed = true;
        }
    }
    queue_wait(r->q);
    bool any = false;
    int64_t now = clock_mono_ms();
    for (unsigned p = 0; p < r->n_parts; p++) {
        struct call *c = &calls[p];
        if (c->failed) {
            continue;
        }
        c->r.n =
            reclaim_plan(&r->parts[p].watch, c->r.found, c->r.n_found, now, r->s->confirm, c->end);
        c->r.items = c->end;
        if (c->r.n) {
            queue_reclaim(r->q, p, &c->r, on_reclaim, c);
            any = true;
        }
    }
    if (any) {
        queue_wait(r->q);
        FAULT("reclaim.ended");
    }
    for (unsigned p = 0; p < r->n_parts; p++) {
        count(&calls[p], p);
    }
    free(calls);
}
