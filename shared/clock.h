/* clock.h -- the host's clocks.  Used for timers, durations and log lines; never for a decision
 * about when a message is due or a lease has ended: those are taken on Redis TIME and on the
 * database's clock. */
#ifndef SHARED_CLOCK_H
#define SHARED_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC; meaningful only as a difference. */
int64_t clock_mono_ms(void);
/* Microseconds of the same clock, for measuring. */
int64_t clock_mono_us(void);
/* Milliseconds since 1970, UTC: for logs and names only. */
int64_t clock_wall_ms(void);

#endif
