/* caps_plan.h -- how much one recipient gets, and how many recipients one account writes to: does a
 * claimed row go now, later, or not at all?  Pure. */
#ifndef PRODUCER_CAPS_PLAN_H
#define PRODUCER_CAPS_PLAN_H

#include <stddef.h>
#include <stdint.h>

enum { CAPS_DAY_MS = 86400000, CAPS_WEEK_MS = 604800000, CAPS_AGAIN_MS = 5000 };

/* A user's frequency caps, 0 for any number.  wait_ms: how long a message may wait for room, from
 * when it was made. */
struct frequency_rule {
    int64_t daily, weekly, wait_ms;
};

/* How long until a recipient has room for one more, who got messages ages_ms ago, the latest first
 * (0: on their way).  0: now. */
int64_t frequency_wait_ms(const struct frequency_rule *r, const int64_t *ages_ms, size_t n);

/* What becomes of a row that would have to wait.  expires_in_ms: 0 never; age_ms: since it was
 * made. */
enum cap_fate { CAP_GO, CAP_LATER, CAP_NEVER };
enum cap_fate frequency_fate(const struct frequency_rule *r, int64_t wait_ms, int64_t expires_in_ms,
                             int64_t age_ms);

/* An account's recipients of the last 24 hours, and when the oldest of them fall out, the first
 * first. */
struct quota {
    int64_t limit, used;
    const int64_t *left_ms;
    size_t n_left;
    int64_t deferred; /* so far: each waits for another entry */
};

/* How many of the oldest entries quota_take() may ask for when so many recipients want to go. */
int64_t quota_wants(const struct quota *q, int64_t recipients);

/* One recipient more who is not among them: 0 when there is room, which is taken; else how long
 * until there is, for this one behind those that were deferred before. */
int64_t quota_take(struct quota *q);

#endif
