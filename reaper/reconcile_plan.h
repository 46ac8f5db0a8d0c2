/* reconcile_plan.h -- a row that has stood still and what Redis knows of its job -> the repair.
 * Pure. */
#ifndef REAPER_RECONCILE_PLAN_H
#define REAPER_RECONCILE_PLAN_H

#include "reaper/settle_plan.h"

enum repair { REPAIR_NOTHING, REPAIR_PENDING, REPAIR_QUEUED, REPAIR_UNKNOWN };

/* state: the job's letter as probe answered after unstaging, 0 = Redis does not know it.  doubt:
 * the partition was opened without the report of a worker that may have sent it. */
enum repair reconcile_plan(enum row_status status, char state, bool doubt);

/* A job in Redis and its row (present = false: there is none): may the job stay?  state is its
 * letter. */
bool reconcile_keeps(bool present, enum row_status status, uint32_t row_gen, char state,
                     uint32_t gen);

#endif
