/* steer.h -- after a row was changed: tells Redis, and notes in the row that it was told.  When
 * Redis is away nothing is lost: producers look for rows of which Redis has not been told, and tell
 * it within seconds. */
#ifndef CTL_STEER_H
#define CTL_STEER_H

#include "shared/source.h"

#include <stdint.h>

struct ctl;

/* Each returns "told" or "later"; for "later" the reason has gone to stderr. */
const char *steer_device(struct ctl *c, uint64_t device);
const char *steer_source(struct ctl *c, enum source_kind kind, uint64_t id);

/* What Redis has to know of a source with this status: "paused", "cancelled" or "none". */
const char *steer_word(const char *status);

#endif
