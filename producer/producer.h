/* producer.h -- what the producer's rooms share.
 *
 * campaign.c     due campaigns begin; their audiences become rows, batch by batch
 * recurring.c    due occurrences are claimed; their audiences become rows, batch by batch
 * sequence.c     leads are enrolled: all messages of all steps become rows
 * leave.c        contacts leave their sequences; who has opted out gets nothing more
 * sources.c      what these have in common
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
#include "shared/source.h"
#include "shared/store.h"
#include "shared/withdraw.h"

struct settings {
    struct program_settings program;
    struct program_mysql mysql;
    int64_t dialect;
    int64_t window, poll_min, poll_max, claim_batch, expand_batch, steer_interval;
    int64_t enrol_interval, enrol_batch, enrol_rate, dispatch_lag, media_keep;
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
    int64_t next_recurring, next_refresh, next_enrol, next_leave, next_opt_out, next_warning,
        next_media;
    uint64_t turn_campaign, turn_run, turn_leave; /* behind which the next look begins */
    uint64_t turn_opt_out;                        /* below which it begins */
    struct enrol_pace {
        double rate, credit; /* rows a second; rows that may be written now */
        int64_t at_us;       /* when credit was counted */
        int64_t lag_ms;      /* the latest measured lateness of dispatch, or -1 */
        uint64_t turn[2]; /* the sequence behind which the next look begins: triggers, requests */
    } enrol;
    struct resting { /* devices found full or empty: not looked at again before */
        uint64_t device;
        int64_t until;
    } resting[1024];
};

/* --- sources.c
 * ----------------------------------------------------------------------------------------- */
enum { SOURCES_A_TICK = 64 };
struct source_ids {
    uint64_t id[SOURCES_A_TICK], owner[SOURCES_A_TICK];
    size_t n;
};
/* The two columns of a SELECT's first rows. */
MUST_USE bool source_read_ids(struct store *db, const char *statement, struct source_ids *ret,
                              struct err *e);

/* Only courtesy: two producers at one source would wait for each other's row lock.  source_unlock
 * gives back what was locked, and the work's own result and error: ok, e. */
MUST_USE bool source_try_lock(struct producer *p, enum source_kind kind, uint64_t id,
                              bool *ret_mine, struct err *e);
MUST_USE bool source_unlock(struct producer *p, enum source_kind kind, uint64_t id, bool ok,
                            struct err *e);

/* True, and e is clear again, when the database refuses what belongs to one source: it is logged,
 * and does not stand in the way of others. */
bool source_refused(enum source_kind kind, uint64_t id, struct err *e);

/* Appends a SELECT of (kind, id) of the sources whose rows must not be claimed: cancelled ones,
 * also those that ended lately, whose rows late evidence may have brought back; and paused ones. */
void sources_stopped(struct sql *q, bool paused);

/* --- campaign.c, recurring.c, sequence.c: *ret_rows counts rows written
 * -------------------------------- */
MUST_USE bool campaign_tick(struct producer *p, uint64_t *ret_rows, struct err *e);
MUST_USE bool recurring_tick(struct producer *p, uint64_t *ret_rows, struct err *e);
/* Enrols as much as its rate allows now. */
MUST_USE bool sequence_tick(struct producer *p, uint64_t *ret_rows, struct err *e);
/* --- leave.c
 * ------------------------------------------------------------------------------------------- */
MUST_USE bool leave_tick(struct producer *p, struct err *e);
/* Opt-outs that are new, when it is time to look for them: between two passes of anything long,
 * so that nobody is written to a second after having said stop. */
MUST_USE bool opt_out_tick(struct producer *p, struct err *e);

/* --- dispatch.c: *ret_jobs counts jobs activated and rows refused
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
    M_ENROLLED,
    M_RUNS,
    M_MISSED,
    M_ENROL_RATE,
    M_LAG,
    M_JOBS,
    M_EXPIRED,
    M_CANCELLED,
    M_WITHDRAWN,
    M_RETURNED,
    M_REFUSED,
    M_CAPPED,
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
