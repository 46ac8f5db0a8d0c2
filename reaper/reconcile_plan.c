#include "reaper/reconcile_plan.h"

enum repair
reconcile_plan(enum row_status status, char state, bool doubt)
{
    if (status != ROW_PROCESSING && status != ROW_QUEUED) {
        return REPAIR_NOTHING;
    }
    switch (state) {
    case 0:
        /* A processing row was never activated: nobody can have sent it. */
        return doubt && status == ROW_QUEUED ? REPAIR_UNKNOWN : REPAIR_PENDING;
    case 'W':
    case 'L':
    case 'P':
        return status == ROW_PROCESSING ? REPAIR_QUEUED : REPAIR_NOTHING;
    default:
        return REPAIR_NOTHING; /* S of a newer claim; D, R, U: the result is on its way */
    }
}

bool
reconcile_keeps(bool present, enum row_status status, uint32_t row_gen, char state, uint32_t gen)
{
    if (state == 'D' || state == 'R' || state == 'U') {
        return true; /* its result decides */
    }
    return present && row_gen == gen && (status == ROW_QUEUED || status == ROW_PROCESSING);
}
