/* rank.h -- who prefers which partition: rendezvous hashing over the live members of a role. Advice
 * only: a wrong view costs a wasted call, correctness comes from tokens and leases. */
#ifndef SHARED_RANK_H
#define SHARED_RANK_H

#include "shared/queue.h"

#include <stdbool.h>
#include <stddef.h>

/* Pure: the index into names (n > 0) of the one that prefers partition p.  When a name goes, only
 * its partitions move. */
size_t rank_best(const char *const *names, size_t n, unsigned p);

/* For each of n_partitions: does `self` prefer it among the members of its role ("worker/...") that
 * have been silent for less than silent_ms?  Returns how many members there are, self included. */
size_t rank_partitions(const struct queue_fleet *fleet, const char *self, int64_t silent_ms,
                       unsigned n_partitions, bool *prefers);

#endif
