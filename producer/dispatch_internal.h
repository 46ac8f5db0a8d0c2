/* dispatch_internal.h -- one pass of dispatch: which devices, which rows, which jobs.  Not for
 * others.
 *
 * dispatch.c        devices and their room; the pass
 * dispatch_claim.c  due rows -> rows of ours, in one transaction
 * dispatch_jobs.c   rows -> jobs with their payloads
 * dispatch_push.c   stage, queued, activate */
#ifndef PRODUCER_DISPATCH_INTERNAL_H
#define PRODUCER_DISPATCH_INTERNAL_H

#include "producer/producer.h"

struct target {
    uint64_t device;
    int64_t room;
    struct device_pace pace;
    char *sender, *sender_ref;
    size_t claimed;
};

/* What the rows of one claim have in common, from campaigns. */
struct template
{
    uint64_t campaign;
    char *content;
    int64_t gap_min, gap_max, batch_size, batch_pause;
};

struct pass {
    struct producer *p;
    struct target *targets;
    size_t n_targets; /* that have room */
    size_t n_fed;     /* all whose feeder lease was asked for: those with room come first */
    struct template *templates;
    size_t n_templates, cap_templates;
    struct queue_push *items;
    struct buf *payloads;
    size_t n_items;
    char token[64];
    bool skip_locked;
    struct sql ids; /* "1,2,3" of the claim in hand */
    uint64_t jobs;
};

/* Claims up to each target's room of due rows under x->token, and puts their ids into x->ids.
 * paused: " AND (..)", which keeps rows of stopped campaigns out, or "".  *ret_rows counts them. */
MUST_USE bool claim_rows(struct pass *x, struct target *targets, size_t n, const char *paused,
                         uint64_t *ret_rows, struct err *e);
/* Appends the clause for claim_rows(). */
MUST_USE bool claim_read_paused(struct producer *p, struct buf *ret, struct err *e);

/* Fills x->items from the rows that x->token holds; jobs_done() empties them. */
MUST_USE bool jobs_read(struct pass *x, struct err *e);
void jobs_done(struct pass *x);
void templates_done(struct pass *x);
struct target *find_target(const struct pass *x, uint64_t device);

/* Stages x->items, calls the staged ones queued, activates those that are; gives the others back.
 */
MUST_USE bool push_jobs(struct pass *x, struct err *e);

/* The device is not looked at again for ms. */
void dispatch_rest(struct producer *p, uint64_t device, int64_t ms);

/* For qsort and bsearch over row ids. */
int by_row_id(const void *a, const void *b);

#endif
