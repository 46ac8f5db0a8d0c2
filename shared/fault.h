/* fault.h -- named points at which a test build dies, stops, errs or waits: the gaps of DESIGN.md's
 * crash table.  Nothing is compiled in without PACELINE_FAULTS (make FAULTS=1).
 *
 * PACELINE_FAULT=point:N:action  at the Nth passage of the point (N = 1 is the first):
 *     kill        SIGKILL to itself
 *     stop        SIGSTOP to itself (the test continues it)
 *     error       the step reports a failure (FAULT_ERROR is true)
 *     delay[=MS]  blocks for MS (default 1000)
 *     lost-reply  the step is done, its reply is thrown away (FAULT_LOST is true)
 * Several, separated by commas.  With N = "N+" the action repeats at every passage from the Nth on.
 */
#ifndef SHARED_FAULT_H
#define SHARED_FAULT_H

#include <stdbool.h>

#ifdef PACELINE_FAULTS
enum fault_action { FAULT_NOTHING, FAULT_DO_ERROR, FAULT_DO_LOST };
enum fault_action fault_hit(const char *point);
#define FAULT(point)       ((void)fault_hit(point))
#define FAULT_ERROR(point) (fault_hit(point) == FAULT_DO_ERROR)
#define FAULT_LOST(point)  (fault_hit(point) == FAULT_DO_LOST)
#else
#define FAULT(point)       ((void)0)
#define FAULT_ERROR(point) false
#define FAULT_LOST(point)  false
#endif

#endif
