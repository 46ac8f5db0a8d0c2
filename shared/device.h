/* device.h -- a row of `devices` -> what Redis has to know of the device. */
#ifndef SHARED_DEVICE_H
#define SHARED_DEVICE_H

#include "shared/queue.h"
#include "shared/store.h"

/* What device_pace_read() reads, in its order; the table is to be aliased d. */
#define DEVICE_PACE_COLUMNS                                                                        \
    "d.config_version, d.max_in_flight, d.min_gap_ms, d.max_gap_ms, d.batch_size, "                \
    "d.batch_pause_ms, d.hourly_cap, d.daily_cap, d.quiet_from, d.quiet_to, d.time_zone, "         \
    "d.status, d.status_reason, d.sender, d.user_id, d.account, d.sender_ref"
enum { DEVICE_PACE_N = 17 };

/* Reads the columns of the current row from first_column on.  A device that is not active is
 * paused, for its status_reason or else its status as a word; a pause that does not fit is cut
 * between characters. */
void device_pace_read(const struct rows *r, unsigned first_column, struct device_pace *ret);

#endif
