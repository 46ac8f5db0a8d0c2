#include "producer/dispatch_plan.h"

int64_t
plan_room(int64_t window, int64_t known, bool paused, bool open)
{
    return paused || !open || known >= window ? 0 : window - known;
}

enum row_fate
plan_fate(char stage_answer)
{
    switch (stage_answer) {
    case 'S':
        return FATE_QUEUE;
    case 'F':
    case 0: /* no answer, or Redis takes nothing more in */
        return FATE_RETURN;
    default:
        return FATE_LATER;
    }
}

int64_t
plan_interval(bool found, int64_t last_ms, int64_t min_ms, int64_t max_ms)
{
    int64_t next = found ? min_ms : 2 * last_ms;
    return next < min_ms ? min_ms : next > max_ms ? max_ms : next;
}

size_t
plan_claim(int64_t *rooms, size_t n, size_t at, int64_t batch)
{
    size_t taken = 0;
    int64_t sum = 0;
    while (at + taken < n) {
        int64_t *room = &rooms[at + taken];
        if (*room > batch) {
            *room = batch;
        }
        if (taken && sum + *room > batch) {
            break;
        }
        sum += *room;
        taken++;
    }
    return taken;
}

static bool
contains(const uint64_t *list, size_t n, uint64_t id)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (list[mid] < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < n && list[lo] == id;
}

size_t
plan_in_order(struct plan_row *rows, size_t n, const uint64_t *locked, size_t n_locked)
{
    size_t kept = 0;
    uint64_t blocked = 0; /* the device that has met a row it could not lock */
    for (size_t i = 0; i < n; i++) {
        if (rows[i].device == blocked) {
            continue;
        }
        if (contains(locked, n_locked, rows[i].id)) {
            rows[kept++] = rows[i];
        } else {
            blocked = rows[i].device;
        }
    }
    return kept;
}
