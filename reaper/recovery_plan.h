/* recovery_plan.h -- may a closed partition be opened?  Pure. */
#ifndef REAPER_RECOVERY_PLAN_H
#define REAPER_RECOVERY_PLAN_H

#include "shared/queue.h"

#include <stddef.h>
#include <stdint.h>

enum recovery { RECOVERY_WAIT, RECOVERY_OPEN, RECOVERY_OPEN_IN_DOUBT };

/* expected: names of the workers that were alive when the data was lost; told: those that have
 * reported to this incarnation.  waited_ms counts from when the closed partition was first seen. */
enum recovery recovery_plan(const char (*expected)[QUEUE_NAME_SIZE], size_t n_expected,
                            const char (*told)[QUEUE_NAME_SIZE], size_t n_told, int64_t waited_ms,
                            int64_t grace_ms);

#endif
