/* reclaim_plan.h -- which expired leases are ended.  Pure.
 *
 * A lease is ended only after it was seen expired, with the same end, for `confirm` on the caller's
 * monotonic clock.  A forward step of Redis' clock, or an outage in which nobody could renew, so
 * costs a renewal, not an unknown outcome. */
#ifndef REAPER_RECLAIM_PLAN_H
#define REAPER_RECLAIM_PLAN_H

#include "shared/queue.h"

#include <stddef.h>
#include <stdint.h>

struct reclaim_watch; /* the leases of one partition that were seen expired */

/* found are the expired leases as just read; those to end are copied to end (room for n).  Returns
 * how many. *watch starts as NULL and keeps what must be seen again; leases that are not found any
 * more are dropped. */
size_t reclaim_plan(struct reclaim_watch **watch, const struct queue_expired *found, size_t n,
                    int64_t now_ms, int64_t confirm_ms, struct queue_expired *end);
void reclaim_watch_free(struct reclaim_watch *w);

#endif
