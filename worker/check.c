/* check.c -- providers are asked how devices are: when the ledger wants to know, and at once when a
 * refusal was about the device. */
#include "shared/clock.h"
#include "shared/log.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

enum { CHECKS_MAX = 32, AGAIN_MS = 5000 };

struct check {
    struct worker *w;
    uint64_t device;
    char ref[800]; /* borrowed by the sender until it has reported */
};

struct taking {
    struct part *part;
    struct queue_checks checks;
};

static void
on_checked(void *arg, enum device_state state, const char *text)
{
    struct check *c = arg;
    struct worker *w = c->w;
    w->n_checks--;
    metric_add(&worker_metrics[state == DEVICE_ONLINE    ? M_CHECKED_ONLINE
                               : state == DEVICE_OFFLINE ? M_CHECKED_OFFLINE
                                                         : M_CHECKED_UNKNOWN],
               1);
    if (state == DEVICE_UNKNOWN) {
        log_debug("device_unknown", "device", LOG_I(c->device), "text", LOG_S(text));
    } else {
        queue_checked(w->q, c->device, state == DEVICE_ONLINE, text, w->name, NULL, NULL);
    }
    free(c);
}

static void
ask(struct worker *w, const struct sender_instance *s, uint64_t device, const char *ref)
{
    if (!s || !s->type->check || w->draining) {
        return;
    }
    struct check *c = xcalloc(1, sizeof *c);
    c->w = w;
    c->device = device;
    (void)snprintf(c->ref, sizeof c->ref, "%s", ref);
    w->n_checks++;
    s->type->check(s->self, c->ref, on_checked, c);
}

static void
on_taken(void *arg, const struct err *e)
{
    struct taking *t = arg;
    struct worker *w = t->part->w;
    t->part->taking = false;
    for (size_t i = 0; !e && i < t->checks.n; i++) {
        const struct queue_check *c = &t->checks.items[i];
        ask(w, worker_sender(w, c->sender, strlen(c->sender)), c->device, c->ref);
    }
    t->part->ask = !e && t->checks.n == QUEUE_CHECKS_MAX; /* there may be more */
    free(t);
}

void
check_take(struct part *part)
{
    struct worker *w = part->w;
    part->ask = true;
    if (part->taking || w->draining || w->n_checks >= CHECKS_MAX || !queue_up(w->q) ||
        queue_state(w->q, part->p) != PARTITION_OPEN) {
        return;
    }
    struct taking *t = xcalloc(1, sizeof *t);
    t->part = part;
    part->taking = true;
    queue_take(w->q, part->p, QUEUE_CHECKS_MAX, &t->checks, on_taken, t);
}

void
check_beat(struct worker *w)
{
    for (unsigned p = 0; p < w->n_parts; p++) {
        if (w->parts[p].ask && w->parts[p].preferred) {
            check_take(&w->parts[p]);
        }
    }
}

/* The device rests behind a refusal, so this comes rarely; in flight together they are one. */
void
check_refused(struct delivery *d)
{
    struct worker *w = d->part->w;
    int64_t now = clock_mono_ms();
    if (d->lease.device == w->checked_device && now - w->checked_ms < AGAIN_MS) {
        return;
    }
    w->checked_device = d->lease.device;
    w->checked_ms = now;
    ask(w, d->sender, d->lease.device, d->message.device_ref);
}
