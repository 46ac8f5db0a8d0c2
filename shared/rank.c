#include "shared/rank.h"

#include <string.h>

#include <xxhash.h>

enum { MEMBERS_MAX = 1024 };

size_t
rank_best(const char *const *names, size_t n, unsigned p)
{
    size_t best = 0;
    uint64_t best_hash = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t h = XXH64(names[i], strlen(names[i]), p);
        if (i == 0 || h > best_hash) {
            best = i;
            best_hash = h;
        }
    }
    return best;
}

size_t
rank_partitions(const struct queue_fleet *fleet, const char *self, int64_t silent_ms,
                unsigned n_partitions, bool *prefers)
{
    const char *names[MEMBERS_MAX];
    size_t n = 0, role = (size_t)(strchr(self, '/') - self) + 1;
    for (size_t i = 0; i < fleet->n && n < MEMBERS_MAX - 1; i++) {
        const struct queue_member *m = &fleet->members[i];
        if (strncmp(m->name, self, role) == 0 && m->silent_ms < silent_ms &&
            strcmp(m->name, self) != 0) {
            names[n++] = m->name;
        }
    }
    names[n++] = self;
    for (unsigned p = 0; p < n_partitions; p++) {
        prefers[p] = rank_best(names, n, p) == n - 1;
    }
    return n;
}
