/* receipt_plan.h -- a receipt and the row that it is about -> what the row becomes.  Pure. */
#ifndef REAPER_RECEIPT_PLAN_H
#define REAPER_RECEIPT_PLAN_H

#include "reaper/settle_plan.h"
#include "shared/receipt.h"

#include <stdbool.h>
#include <stdint.h>

/* A result of the same attempt is on its way to the row: so long a receipt waits for it. */
enum { RECEIPT_RESULT_MS = 5000 };

struct receipt {
    enum receipt_kind kind; /* SENT to READ */
    uint32_t attempt;       /* of which it is, 0 = it does not say */
    int64_t age_ms;         /* since it came */
    bool other_id;          /* the row has an id of the provider's, and this receipt another */
};

struct receipt_row {
    enum row_status status;
    uint32_t attempt, unknowns;
    enum receipt_kind receipt; /* the highest so far */
    bool assumed;              /* sent, as its policy assumed: nobody knows */
};

struct receipt_action {
    bool wait;      /* nothing yet: it is looked at again */
    bool raise;     /* the row's receipt becomes this one */
    bool evidence;  /* status, attempt or unknowns change, by what is known now */
    bool take_back; /* the job may wait in Redis to go out again, and must not */
    enum row_status status;
    uint32_t attempt, unknowns;
};

/* Rules: a receipt only rises.  "sent", "delivered" and "read" prove that the message went out,
 * whatever its row says: it is sent.  "failed" resolves an attempt whose outcome is open: the row
 * has failed unless another attempt is open; a row that is sent stays so, with the failure as its
 * receipt, unless that is another attempt's.  One that was only assumed to be sent is as open as an
 * unknown one.  While a result is on its way to a row that waits for
 * it, a receipt of that attempt waits too. */
struct receipt_action receipt_plan(const struct receipt_row *row, const struct receipt *r);

#endif
