/* outcome.h -- outcomes that are known at once and reported on a later turn of the loop.
 *
 * The promise of sender.h, never to report before `send` has returned, holds for a sender that puts
 * what it knows here. */
#ifndef WORKER_OUTCOME_H
#define WORKER_OUTCOME_H

#include "worker/sender.h"

struct ev_loop;
struct outcome_queue;

/* Called once before each batch is reported; what it returns, unless NULL, replaces every outcome
 * of the batch. */
typedef const struct outcome *outcome_before(void *arg);

/* Outcomes are reported in order, delay_ms after they were added but always on a later turn of the
 * loop, as many at once as are due.  before may be NULL. */
struct outcome_queue *outcome_queue_new(struct ev_loop *loop, int64_t delay_ms,
                                        outcome_before *before, void *arg);

/* Copies o. */
void outcome_queue_add(struct outcome_queue *q, const struct outcome *o, sender_done *done,
                       void *arg);

/* Reports what is left, as *instead unless that is NULL, and frees.  Not from within a report. */
void outcome_queue_free(struct outcome_queue *q, const struct outcome *instead);

#endif
