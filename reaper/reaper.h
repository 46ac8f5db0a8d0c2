/* reaper.h -- what the reaper's rooms share.
 *
 * settle.c     results from Redis become rows, in batches; then Redis forgets them
 * hold.c       what results say of sources, devices and recipients: stops and rests
 * reclaim.c    leases of dead workers end
 * reconcile.c  rows and Redis are compared both ways and repaired; devices' keys are checked
 * check.c      which devices' providers are to be asked how they are
 * strays.c     jobs in Redis that have no business there
 * recovery.c   a partition that lost data is opened again when that is safe
 * receipts.c   what providers tell of sent messages (receipt_find.c, receipt_write.c); opt_out.c
 * archive.c    final messages move to the archive when their retention is over
 * policy.c     unknown outcomes whose source has a policy; the list of workers
 * progress.c   what has come of campaigns, runs and contacts; their end
 *
 * Each step returns false with the error when MySQL is in the way; what Redis refuses is tried
 * again at the next turn.  Any number of reapers may run: every step is idempotent, named locks
 * only save work. */
#ifndef REAPER_REAPER_H
#define REAPER_REAPER_H

#include "reaper/reclaim_plan.h"
#include "reaper/reconcile_plan.h"
#include "reaper/recovery_plan.h"
#include "reaper/settle_plan.h"
#include "shared/archive.h"
#include "shared/metrics.h"
#include "shared/program.h"
#include "shared/queue.h"
#include "shared/store.h"

struct settings {
    struct program_settings program;
    struct program_mysql mysql;
    int64_t lease, confirm, sweep, settle_batch, claim_lease, fresh_age, audit_interval;
    int64_t retry_base, retry_cap, resend_after, recovery_grace, progress_interval, check_interval;
    int64_t retention[ARCHIVE_STATUSES], retention_direct, archive_interval;
    int64_t orphan_after, receipts_retention;
};

struct part {
    struct reclaim_watch *watch;
    int64_t closed_since; /* monotonic; 0 = not closed */
    char closed_as[80];   /* the incarnation that is waited for */
    char seen[80];        /* the incarnation whose open meta (and doubt) was read */
    char swept[80];       /* the incarnation known to be swept */
    bool doubt;
    bool unlooked;     /* some of its rows could not be compared in this sweep */
    uint64_t *devices; /* to be checked, read once a round */
    size_t n_devices, at_device;
};

struct reaper {
    struct settings *s;
    struct ev_loop *loop;
    struct queue *q;
    struct store *db;
    char name[QUEUE_NAME_SIZE];
    struct part *parts;
    unsigned n_parts;
    struct queue_fleet fleet;
    struct settle_rules rules;
    bool leads; /* holds the named lock of the steps that one reaper does for all */
    int64_t next_beat, next_sweep, next_stuck, next_reconcile, next_withdraw, next_progress,
        next_recovery, next_audit;
    int64_t progress_ms;
    struct archive *archive; /* the pass under way */
    int64_t next_archive, next_receipts, next_clean, next_accounts, next_rests;
    uint64_t turn_account; /* behind which the next look begins */
    char fresh_at[32];     /* queued_at of the last row looked at */
    uint64_t fresh_id;
    unsigned device_part; /* whose devices are checked next */
};

/* *ret_n counts results settled. */
MUST_USE bool settle_pass(struct reaper *r, bool stuck, size_t *ret_n, struct err *e);
void reclaim_pass(struct reaper *r);
MUST_USE bool reconcile_pass(struct reaper *r, struct err *e);
MUST_USE bool recovery_pass(struct reaper *r, struct err *e);
MUST_USE bool policy_pass(struct reaper *r, struct err *e);
MUST_USE bool progress_pass(struct reaper *r, struct err *e);
/* Keeps the ledgers of accounts: entries move on to what was sent later, old ones go. */
MUST_USE bool accounts_pass(struct reaper *r, struct err *e);
MUST_USE bool contacts_pass(struct reaper *r, struct err *e);
/* Deletes rests of recipients that are over. */
MUST_USE bool rests_pass(struct reaper *r, struct err *e);
MUST_USE bool check_pass(struct reaper *r, struct err *e);
/* The workers that live are written down by every reaper at every beat, before it opens anything:
 * who is on no list when Redis loses its own is not waited for. */
MUST_USE bool members_alive(struct reaper *r, struct err *e);
MUST_USE bool members_gone(struct reaper *r, struct err *e);
MUST_USE bool receipts_pass(struct reaper *r, struct err *e);
/* Does a slice of the work, if one is due. */
MUST_USE bool archive_pass(struct reaper *r, struct err *e);

/* Jobs of a device whose row is final, gone or of another generation leave Redis.  In a recovery
 * leased and permitted ones too, and, where its partition is in doubt, every job that a silent
 * worker may have sent: those become unknown. */
MUST_USE bool drop_strays(struct reaper *r, uint64_t device, const struct queue_ids *ids,
                          bool recovery, struct err *e);

/* --- statements that several rooms write
 * --------------------------------------------------------------- */
/* "1,2,3" */
void sql_ids(struct sql *q, const uint64_t *ids, size_t n);

enum reaper_metric {
    M_SETTLED_SENT,
    M_SETTLED_FAILED,
    M_SETTLED_PENDING,
    M_SETTLED_SKIPPED,
    M_SETTLED_UNKNOWN,
    M_UNCHANGED,
    M_RECLAIM_AGAIN,
    M_RECLAIM_UNKNOWN,
    M_REPAIR_PENDING,
    M_REPAIR_QUEUED,
    M_REPAIR_UNKNOWN,
    M_REPAIR_KEYS,
    M_DROPPED,
    M_RECOVERIES,
    M_DOUBTS,
    M_RESENT,
    M_ASSUMED,
    M_UNKNOWN_OPEN,
    M_ARCHIVED_SENT, /* in the order of enum archive_status */
    M_ARCHIVED_FAILED,
    M_ARCHIVED_SKIPPED,
    M_ARCHIVED_UNKNOWN,
    M_RECEIPTS_APPLIED,
    M_RECEIPTS_ORPHANED,
    M_RECEIPTS_RESOLVED,
    M_OPTED_OUT,
    M_OPTED_IN,
    M_DEADLOCKS,
    M_STATEMENTS,
    M_MYSQL_UP,
    M_REDIS_UP,
    M_SETTLE,
    REAPER_METRICS
};
extern struct metric reaper_metrics[];

#endif
