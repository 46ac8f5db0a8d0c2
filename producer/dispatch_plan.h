/* dispatch_plan.h -- the decisions of dispatch: how much room, what an answer means, when to look
 * again.  Pure. */
#ifndef PRODUCER_DISPATCH_PLAN_H
#define PRODUCER_DISPATCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many jobs a device can take: its window less what Redis knows of it; none while it is paused
 * or its partition is closed. */
int64_t plan_room(int64_t window, int64_t known, bool paused, bool open);

/* What becomes of a claimed row, by the answer of stage. */
enum row_fate {
    FATE_QUEUE,  /* staged: call it queued, then activate */
    FATE_RETURN, /* no room any more, or no answer (0): pending again, in its place */
    FATE_LATER,  /* Redis still holds an earlier life of this job: pending again, in a moment */
};
enum row_fate plan_fate(char stage_answer);

/* The next wait between two sweeps: the shortest after a sweep that found work, then doubling. */
int64_t plan_interval(bool found, int64_t last_ms, int64_t min_ms, int64_t max_ms);

/* Takes devices off the list from at on until their rooms add up to batch; returns how many.  At
 * least one device is taken while there is any, and its room is cut to batch. */
size_t plan_claim(int64_t *rooms, size_t n, size_t at, int64_t batch);

/* Candidates of a claim, device by device and in order within a device; locked are the ids that
 * could be locked, in ascending order.  Keeps, of each device, the candidates before the first that
 * could not; moves them to the front and returns how many. */
struct plan_row {
    uint64_t device, id;
};
size_t plan_in_order(struct plan_row *rows, size_t n, const uint64_t *locked, size_t n_locked);

#endif
