#include "reaper/reclaim_plan.h"

#include "shared/mem.h"

#include <stdlib.h>
#include <string.h>

struct reclaim_watch {
    size_t n;
    struct seen {
        struct queue_expired lease;
        int64_t since_ms;
    } seen[];
};

static const struct seen *
find(const struct reclaim_watch *w, const struct queue_expired *x)
{
    for (size_t i = 0; w && i < w->n; i++) {
        const struct queue_expired *l = &w->seen[i].lease;
        if (l->device == x->device && strcmp(l->id, x->id) == 0 && strcmp(l->ends, x->ends) == 0) {
            return &w->seen[i];
        }
    }
    return NULL;
}

size_t
reclaim_plan(struct reclaim_watch **watch, const struct queue_expired *found, size_t n,
             int64_t now_ms, int64_t confirm_ms, struct queue_expired *end)
{
    struct reclaim_watch *next = n ? xcalloc(1, sizeof *next + n * sizeof *next->seen) : NULL;
    size_t n_end = 0;
    for (size_t i = 0; i < n; i++) {
        const struct seen *s = find(*watch, &found[i]);
        int64_t since = s ? s->since_ms : now_ms;
        if (now_ms - since >= confirm_ms) {
            end[n_end++] = found[i];
        }
        next->seen[next->n++] = (struct seen){found[i], since};
    }
    free(*watch);
    *watch = next;
    return n_end;
}

void
reclaim_watch_free(struct reclaim_watch *w)
{
    free(w);
}
