/* row_plan.h -- a recipient of a source -> one row of the ledger.  Pure: writes SQL text, runs
 * none.
 *
 * Whatever makes messages writes them with this one statement, so that the keys that refuse a
 * second row for the same message hold for all of them. */
#ifndef PRODUCER_ROW_PLAN_H
#define PRODUCER_ROW_PLAN_H

#include "shared/source.h"
#include "shared/store.h"

#include <stdint.h>

struct message_row {
    enum source_kind kind;
    uint64_t source; /* campaign, sequence or rule */
    uint64_t step;   /* sequences only */
    unsigned rotation;
    int64_t occurrence_s; /* recurring messages only: nominal instant, seconds of UTC */
    uint64_t user, device;
    uint64_t lead; /* 0: none */
    const char *phone, *name;
    const char *from;       /* "2026-11-26 10:00:00.000" in UTC, or NULL: now */
    int64_t after_s;        /* due so long after it */
    int64_t max_lateness_s; /* 0: none is too late */
};

/* Starts the INSERT IGNORE of a batch, adds one row, in that order. */
void row_plan_begin(struct sql *q);
void row_plan_add(struct sql *q, const struct message_row *m, bool first);

/* Appends an instant in seconds of UTC as a DATETIME, whatever the session's zone. */
void sql_epoch(struct sql *q, int64_t utc_s);
/* The reverse, around a DATETIME column. */
#define EPOCH_OF(column) "TIMESTAMPDIFF(SECOND, '1970-01-01', " column ")"

#endif
