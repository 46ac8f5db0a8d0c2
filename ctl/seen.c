#include "ctl/seen.h"

#include "shared/mem.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { FIRST_CAP = 4096 };

/* False when it is there already. */
static bool
put(struct seen *s, uint64_t hash)
{
    size_t i = (size_t)hash & (s->cap - 1);
    while (s->slots[i] && s->slots[i] != hash) {
        i = (i + 1) & (s->cap - 1);
    }
    bool fresh = !s->slots[i];
    s->slots[i] = hash;
    s->n += fresh;
    return fresh;
}

bool
seen_add(struct seen *s, uint64_t device, const char *phone)
{
    if (2 * s->n >= s->cap) {
        struct seen old = *s;
        *s = (struct seen){.cap = old.cap ? 2 * old.cap : FIRST_CAP};
        s->slots = xcalloc(s->cap, sizeof *s->slots);
        for (size_t i = 0; i < old.cap; i++) {
            if (old.slots[i]) {
                (void)put(s, old.slots[i]);
            }
        }
        free(old.slots);
    }
    return put(s, XXH3_64bits_withSeed(phone, strlen(phone), device) | 1); /* 0 is an empty slot */
}

void
seen_done(struct seen *s)
{
    free(s->slots);
    *s = (struct seen){0};
}
