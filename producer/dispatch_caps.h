/* dispatch_caps.h -- claimed rows that would be too much now, for their recipient or for their
 * device's account, are put off, or end.  The last look before the queue, behind dispatch_refuse.
 */
#ifndef PRODUCER_DISPATCH_CAPS_H
#define PRODUCER_DISPATCH_CAPS_H

#include "producer/caps_plan.h"
#include "producer/dispatch_internal.h"

enum cap_why { CAP_FREQUENCY, CAP_ACCOUNT, CAP_REST };

/* One for each of x->items, in their order. */
struct cap {
    enum cap_fate fate;
    enum cap_why why;
    int64_t wait_ms;
};

/* Takes those that do not go out of x->items; their rows are pending again, for when there is room,
 * or skipped.  What goes is reserved with its account. */
MUST_USE bool caps_apply(struct pass *x, struct err *e);

/* --- dispatch_frequency.c: how much one recipient gets --------------------------------------- */
MUST_USE bool caps_frequency(struct pass *x, struct cap *caps, struct err *e);

/* --- dispatch_rest.c: whom the provider wants left alone ------------------------------------- */
MUST_USE bool caps_rests(struct pass *x, struct cap *caps, struct err *e);

/* --- dispatch_quota.c: how many recipients an account writes to ------------------------------ */
MUST_USE bool caps_quota(struct pass *x, struct cap *caps, struct err *e);

/* The index of the item of this row, or SIZE_MAX; items_by_row() makes the order for it. */
struct item_row {
    uint64_t row;
    size_t at;
};
struct item_row *items_by_row(const struct pass *x);
size_t item_of_row(const struct pass *x, const struct item_row *order, uint64_t row);

#endif
