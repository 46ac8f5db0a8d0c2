/* producer.h -- what the producer's rooms share.
 *
 * campaign.c     due campaigns begin; their audiences become rows, batch by batch
 * dispatch.c     due rows become jobs: claim, stage, queued, activate
 * steer.c        what MySQL says of campaigns and devices, Redis is told; too late or cancelled
 * rows are skipped
 *
 * Each step returns false with the error when MySQL or Redis is in the way; the cycle then rests.
 */
#ifndef PRODUCER_PRODUCER_H
#define PRODUCER_PRODUCER_H

#include "producer/dispatch_plan.h"
#include "shared/metrics.h"
#include "shared/program.h"
#include "shared/queue.h"
#include "shared/store.h"

struct settings {
    struct program_settings program;
    struct program_mysql mysql;
    int64_t dialect;
    int64_t window, poll_min, poll_max, claim_batch, expand_batch, steer_interval;
};

struct producer {
    struct settings *s;
    struct ev_loop *loop;
    struct queue *q;
    struct store *db;
    char name[QUEUE_NAME_SIZE];
    uint64_t claims; /* numbers the claim tokens */
    struct queue_fleet fleet;
    bool *prefers; /* by partition: whose devices are ours to look at first */
    int64_t sweep_ms, next_sweep, next_steer, next_beat, next_expire, next_campaign, next_full;
    struct resting { /* devices found full or empty: not looked at again before */
        uint64_t device;
        int64_t until;
    } resting[1024];
};

/* --- campaign.c: *ret_rows counts rows written
 * --------------------------------------------------------- */
MUST_USE bool campaign_tick(struct producer *p, uint64_t *ret_rows, struct err *e);

/* --- dispatch.c: *ret_jobs counts jobs activated
 * ------------------------------------------------------- */
/* Devices that told Redis that they are below half their window. */
MUST_USE bool dispatch_hungry(struct producer *p, uint64_t *ret_jobs, struct err *e);
/* All devices with due rows; those of other producers' partitions only if `all`. */
MUST_USE bool dispatch_sweep(struct producer *p, bool all, uint64_t *ret_jobs, struct err *e);

/* --- steer.c
 * ------------------------------------------------------------------------------------------- */
MUST_USE bool steer_tick(struct producer *p, struct err *e);
MUST_USE bool skip_tick(struct producer *p, uint64_t *ret_rows, struct err *e);

enum producer_metric {
    M_ROWS,
    M_JOBS,
    M_EXPIRED,
    M_CANCELLED,
    M_RETURNED,
    M_DEADLOCKS,
    M_STATEMENTS,
    M_MYSQL_UP,
    M_REDIS_UP,
    M_BACKLOG,
    M_CYCLE,
    PRODUCER_METRICS
};
extern struct metric producer_metrics[];

#endif
