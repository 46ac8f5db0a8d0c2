#include "worker/pace.h"

#include "shared/tz.h"

#include <string.h>

#include <xxhash.h>

enum { HOLD_MAX_MS = 86400000 };

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

/* How long each scope waits when the provider names no time, and how far that may grow. */
static const struct {
    enum hold_act act;
    int64_t retry_ms, refused_ms; /* refused for now, refused for good */
    int64_t wide_cap_ms;          /* > 0: all devices of the account or the endpoint wait, too */
} scopes[] = {
    [SCOPE_MESSAGE] = {HOLD_NOTHING, 0, 0, 0},
    [SCOPE_RECIPIENT] = {HOLD_RECIPIENT, 0, 0, 0},
    [SCOPE_PAIR] = {HOLD_PAIR, 1000, 1000, 0},
    [SCOPE_DEVICE] = {HOLD_DEVICE, PACE_DEVICE_REST_MS, 10 * PACE_DEVICE_REST_MS, 0},
    [SCOPE_NEW_CONTACTS] = {HOLD_NEW_CONTACTS, 1800000, 1800000, 0},
    [SCOPE_TEMPLATE] = {HOLD_NOTHING, 60000, 60000, 0},
    [SCOPE_ACCOUNT] = {HOLD_DEVICE, 60000, 300000, 3600000},
    [SCOPE_ENDPOINT] = {HOLD_DEVICE, 5000, 30000, 300000},
};

static struct verdict
held(const struct outcome *o, bool refused)
{
    int64_t ms = refused ? scopes[o->scope].refused_ms : scopes[o->scope].retry_ms;
    struct verdict v = {.kind = "deferred", .act = scopes[o->scope].act};
    v.told = o->retry_after_ms > 0;
    v.hold_ms = v.told ? o->retry_after_ms : ms;
    v.hold_ms = v.hold_ms > HOLD_MAX_MS ? HOLD_MAX_MS : v.hold_ms;
    if (scopes[o->scope].wide_cap_ms) {
        v.wide_ms = v.hold_ms;
        v.wide_cap_ms = scopes[o->scope].wide_cap_ms;
    }
    if (o->stop && (o->scope == SCOPE_DEVICE || o->scope == SCOPE_ACCOUNT)) {
        v.stop = o->scope == SCOPE_DEVICE ? STOP_DEVICE : STOP_ACCOUNT;
    }
    return v;
}

/* All of the source would be refused: this message waits with the others until a person has mended
 * it.  A direct message has nobody who could resume it. */
static struct verdict
of_template(const struct outcome *o, bool has_source, bool refused)
{
    if (refused && !has_source) {
        return (struct verdict){.kind = "failed"};
    }
    if (!o->stop || !has_source) {
        return held(o, refused);
    }
    return (struct verdict){.kind = "returned", .stop = STOP_SOURCE};
}

static bool
is_about_message(enum outcome_scope s)
{
    return s == SCOPE_MESSAGE || s == SCOPE_RECIPIENT;
}

struct verdict
pace_verdict(const struct outcome *o, bool has_source)
{
    bool refused = o->class == OUTCOME_REJECTED;
    switch (o->class) {
    case OUTCOME_SENT:
        return (struct verdict){.kind = "sent"};
    case OUTCOME_UNKNOWN: {
        /* Held from the third on: whoever answers nothing may be sending, or not. */
        struct verdict v = held(o, false);
        return is_about_message(o->scope)
                   ? (struct verdict){.kind = "unknown"}
                   : (struct verdict){.kind = "unknown", .act = HOLD_DEVICE, .hold_ms = v.hold_ms};
    }
    case OUTCOME_NOT_SENT: {
        /* That one host cannot reach it says nothing of the fleet's way there. */
        struct verdict v = held(o, false);
        v.wide_ms = v.wide_cap_ms = 0;
        if (o->scope != SCOPE_MESSAGE && v.act != HOLD_PAIR) {
            v.act = HOLD_DEVICE;
        }
        return v;
    }
    case OUTCOME_REJECTED:
    case OUTCOME_RETRY:
        if (o->scope == SCOPE_TEMPLATE) {
            return of_template(o, has_source, refused);
        }
        if (is_about_message(o->scope)) {
            struct verdict v = held(o, refused);
            v.kind = refused ? "failed" : "retry";
            v.act = v.hold_ms ? v.act : HOLD_NOTHING;
            return v;
        }
        /* Throttling is a deferral, never a failed attempt. */
        struct verdict v = held(o, refused);
        if (o->scope == SCOPE_DEVICE && !refused) {
            v.act = HOLD_THROTTLE;
        }
        return v;
    }
    return (struct verdict){.kind = "unknown"};
}
