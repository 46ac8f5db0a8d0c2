/* seen.h -- which (device, phone) pairs have come before, for a dry run: a set of their hashes. */
#ifndef CTL_SEEN_H
#define CTL_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise. */
struct seen {
    uint64_t *slots;
    size_t n, cap;
};

/* True when the pair is new. */
bool seen_add(struct seen *s, uint64_t device, const char *phone);
void seen_done(struct seen *s);

#endif
