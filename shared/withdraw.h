/* withdraw.h -- rows that are on their way to a recipient, and must not go out any more, are taken
 * back: their jobs out of Redis, and those that Redis does not hold yet out of the hands of the
 * producer that has claimed them.  Opt-outs, contacts that leave and cancelled sources use it. */
#ifndef SHARED_WITHDRAW_H
#define SHARED_WITHDRAW_H

#include "shared/queue.h"
#include "shared/store.h"

/* What a row becomes that will not be sent: nobody knows of one with an open attempt whether it
 * arrived. */
#define SKIPPED_SQL "IF(unknowns > 0, 'unknown', 'skipped')"

/* The columns that withdraw_rows() reads, of broadcast_messages aliased m; a sixth is the code. */
#define WITHDRAW_COLUMNS "m.id, m.job_id, m.device_id, m.gen, m.status"

struct withdrawn {
    uint64_t rows;    /* looked at */
    uint64_t taken;   /* out of Redis; a reaper makes their rows skipped */
    uint64_t skipped; /* rows ended here: their jobs were not in any stream yet */
    uint64_t gone;    /* permitted: they may have left, and are left alone */
    uint64_t left;    /* not decided: Redis did not answer, or something is under way with them */
};

/* select gives rows in processing or queued (WITHDRAW_COLUMNS, code).  A row counts as decided when
 * it ended here, or its result is on its way.  Those that are left are to be looked at again.  Adds
 * to *ret.  False only when MySQL fails; what was done in Redis then is found again: results are on
 * their way, and what was staged is put back by reconcile. */
MUST_USE bool withdraw_rows(struct store *db, struct queue *q, const struct sql *select,
                            struct withdrawn *ret, struct err *e);

#endif
