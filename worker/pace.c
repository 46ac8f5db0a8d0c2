#include "worker/pace.h"

#include "shared/tz.h"

#include <string.h>

#include <xxhash.h>

enum {
    HOLD_DEVICE_MS = 30000,
    HOLD_REFUSED_MS = 300000,
    HOLD_ENDPOINT_MS = 5000,
    HOLD_MAX_MS = 86400000
};

int64_t
pace_gap_ms(const char *job_id, int64_t min_ms, int64_t max_ms)
{
    if (max_ms < min_ms) {
        max_ms = min_ms;
    }
    uint64_t hash =
        XXH64(job_id, strlen(job_id), 1); /* seed 1: other draws from the same id use other seeds */
    return min_ms + (int64_t)(hash % (uint64_t)(max_ms - min_ms + 1));
}

static bool
read_minute(const char **text, int *ret)
{
    const char *p = *text;
    *ret = 0;
    while (*p >= '0' && *p <= '9' && *ret < 1440) {
        *ret = 10 * *ret + (*p++ - '0');
    }
    bool ok = p != *text && *ret < 1440;
    *text = p;
    return ok;
}

bool
pace_quiet_parse(const char *text, struct quiet *ret)
{
    struct quiet q = {0};
    if (!read_minute(&text, &q.from_min) || *text++ != ' ' || !read_minute(&text, &q.to_min) ||
        (*text && *text++ != ' ')) {
        return false;
    }
    size_t n = strlen(text);
    if (q.from_min == q.to_min || n >= sizeof q.zone || strchr(text, ' ')) {
        return false;
    }
    memcpy(q.zone, text, n);
    *ret = q;
    return true;
}

static int64_t
offset_ms(const struct tz *tz, int64_t now_ms)
{
    return tz ? (int64_t)tz_offset_at(tz, now_ms / 1000) * 1000 : 0;
}

/* As if nobody changed the clocks. */
static int64_t
left_by_the_clock(const struct quiet *q, const struct tz *tz, int64_t now_ms)
{
    const int64_t day = 86400000;
    int64_t local = ((now_ms + offset_ms(tz, now_ms)) % day + day) % day;
    int64_t from = (int64_t)q->from_min * 60000, to = (int64_t)q->to_min * 60000;
    bool within = from < to ? local >= from && local < to : local >= from || local < to;
    return within ? ((to - local) % day + day) % day : 0;
}

int64_t
pace_quiet_left_ms(const struct quiet *q, const struct tz *tz, int64_t now_ms)
{
    int64_t left = left_by_the_clock(q, tz, now_ms), offset = offset_ms(tz, now_ms);
    if (!left || offset_ms(tz, now_ms + left) == offset) {
        return left;
    }
    /* The clocks are changed on the way: quiet until then, and for as long as they say behind it.
     */
    int64_t before_s = now_ms / 1000, after_s = (now_ms + left) / 1000;
    while (after_s - before_s > 1) {
        int64_t middle_s = before_s + (after_s - before_s) / 2;
        if (offset_ms(tz, middle_s * 1000) == offset) {
            before_s = middle_s;
        } else {
            after_s = middle_s;
        }
    }
    return after_s * 1000 - now_ms + left_by_the_clock(q, tz, after_s * 1000);
}

static int64_t
hold(const struct outcome *o, int64_t otherwise_ms)
{
    int64_t ms = o->retry_after_ms > 0 ? o->retry_after_ms : otherwise_ms;
    return ms > HOLD_MAX_MS ? HOLD_MAX_MS : ms;
}

static bool
concerns_device(enum outcome_scope s)
{
    return s == SCOPE_DEVICE || s == SCOPE_ACCOUNT || s == SCOPE_ENDPOINT;
}

struct verdict
pace_verdict(const struct outcome *o)
{
    switch (o->class) {
    case OUTCOME_SENT:
        return (struct verdict){"sent", 0};
    case OUTCOME_UNKNOWN:
        return (struct verdict){"unknown", 0};
    case OUTCOME_NOT_SENT:
        return (struct verdict){"deferred", hold(o, HOLD_ENDPOINT_MS)};
    case OUTCOME_REJECTED:
        /* The account is refused, not the message: it waits until the device works again. */
        if (concerns_device(o->scope)) {
            return (struct verdict){"deferred", hold(o, HOLD_REFUSED_MS)};
        }
        return (struct verdict){"failed", 0};
    case OUTCOME_RETRY:
        /* Throttling is a deferral, never a failed attempt. */
        if (concerns_device(o->scope)) {
            return (struct verdict){"deferred", hold(o, HOLD_DEVICE_MS)};
        }
        return (struct verdict){o->scope == SCOPE_PAIR ? "deferred" : "retry", 0};
    }
    return (struct verdict){"unknown", 0};
}
