/* optout.h -- what an opt-out does to what was planned before it.  Rows that are made later, and
 * claimed later, ask for it themselves (DESIGN.md, "Opting out"). */
#ifndef SHARED_OPTOUT_H
#define SHARED_OPTOUT_H

#include "shared/withdraw.h"

enum { OPTOUT_MAX = 500 };

/* Acts for these rows of opt_outs, which must be committed: what is on its way to the phone is
 * withdrawn, contacts leave their sequences, pending rows are skipped.  An opt-out of whose phone
 * nothing is on its way any more is marked as steered; others are to be acted for again, until they
 * are.  Of several who act for the same one none is in the others' way.  Adds to *ret. */
MUST_USE bool optout_apply(struct store *db, struct queue *q, const uint64_t *ids, size_t n,
                           struct withdrawn *ret, struct err *e);

#endif
