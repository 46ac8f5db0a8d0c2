#include "shared/backoff.h"

#include <sys/random.h>

int64_t
backoff_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, uint64_t random)
{
    int64_t whole = base_ms;
    for (unsigned i = 0; i < attempt && whole < cap_ms; i++) {
        whole *= 2;
    }
    if (whole > cap_ms) {
        whole = cap_ms;
    }
    int64_t half = whole / 2;
    return half + (int64_t)(random % (uint64_t)(whole - half + 1));
}

uint64_t
random_u64(void)
{
    uint64_t v = 0;
    while (getrandom(&v, sizeof v, 0) != sizeof v) {
    }
    return v;
}
