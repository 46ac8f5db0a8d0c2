#include "producer/caps_plan.h"

/* Until fewer than cap of the ages lie within the window. */
static int64_t
window_wait_ms(int64_t cap, int64_t window_ms, const int64_t *ages_ms, size_t n)
{
    if (cap < 1 || n < (size_t)cap || ages_ms[cap - 1] >= window_ms) {
        return 0;
    }
    return window_ms - ages_ms[cap - 1];
}

int64_t
frequency_wait_ms(const struct frequency_rule *r, const int64_t *ages_ms, size_t n)
{
    int64_t day = window_wait_ms(r->daily, CAPS_DAY_MS, ages_ms, n);
    int64_t week = window_wait_ms(r->weekly, CAPS_WEEK_MS, ages_ms, n);
    return day > week ? day : week;
}

enum cap_fate
frequency_fate(const struct frequency_rule *r, int64_t wait_ms, int64_t expires_in_ms,
               int64_t age_ms)
{
    if (wait_ms <= 0) {
        return CAP_GO;
    }
    if ((expires_in_ms > 0 && wait_ms >= expires_in_ms) || age_ms + wait_ms > r->wait_ms) {
        return CAP_NEVER;
    }
    return CAP_LATER;
}

static int64_t
excess(const struct quota *q)
{
    return q->used > q->limit ? q->used - q->limit : 0; /* the limit may have been lowered */
}

int64_t
quota_wants(const struct quota *q, int64_t recipients)
{
    int64_t free = q->limit > q->used ? q->limit - q->used : 0;
    return recipients > free ? excess(q) + recipients - free : 0;
}

int64_t
quota_take(struct quota *q)
{
    if (q->used < q->limit) {
        q->used++;
        return 0;
    }
    size_t at = (size_t)(excess(q) + q->deferred++);
    int64_t left = at < q->n_left  ? q->left_ms[at]
                   : q->n_left > 0 ? q->left_ms[q->n_left - 1]
                                   : CAPS_DAY_MS;
    return left > CAPS_AGAIN_MS ? left : CAPS_AGAIN_MS;
}
