/* backoff.h -- the next delay: exponential, capped, jittered.  Pure. */
#ifndef SHARED_BACKOFF_H
#define SHARED_BACKOFF_H

#include <stdint.h>

/* attempt 0, 1, 2, ...: base * 2^attempt up to cap, of which a random part between a half and the
 * whole is taken ("equal jitter": hosts do not act in step, and no delay is nearly zero).  random
 * is any 64 bits. */
int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, uint64_t random);

/* 64 random bits from the system (getrandom). */
uint64_t random_u64(void);

#endif
