#include "ctl/adopt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- old ids -> new ones ---------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
    const struct adopt_mapped *x = a, *y = b;
    return strcasecmp(x->old, y->old);
}

const struct adopt_mapped *
adopt_map_find(struct adopt_map *m, const char *old)
{
    struct adopt_mapped key;
    if (m->sorted != m->n) {
        qsort(m->items, m->n, sizeof *m->items, compare);
        m->sorted = m->n;
    }
    (void)snprintf(key.old, sizeof key.old, "%s", old);
    return m->n ? bsearch(&key, m->items, m->n, sizeof key, compare) : NULL;
}

void
adopt_map_put(struct adopt_map *m, const struct adopt_line *line)
{
    VEC_GROW(m->items, m->n, m->cap);
    struct adopt_mapped *x = &m->items[m->n++];
    *x = (struct adopt_mapped){.id = line->new_id, .user = line->user, .parent = line->parent};
    (void)snprintf(x->old, sizeof x->old, "%s", line->old_id);
    (void)snprintf(x->status, sizeof x->status, "%s", line->new_status);
}

/* user and parent of what was adopted by an earlier run, by its new id n.id. */
static const char *const owners[ADOPT_TABLES] = {
    [ADOPT_USERS] = "n.id, 0 FROM adoptions a JOIN users n",
    [ADOPT_DEVICES] = "n.user_id, 0 FROM adoptions a JOIN devices n",
    [ADOPT_CAMPAIGNS] = "n.user_id, 0 FROM adoptions a JOIN campaigns n",
    [ADOPT_SEQUENCES] = "n.user_id, 0 FROM adoptions a JOIN sequences n",
    [ADOPT_STEPS] = "(SELECT s.user_id FROM sequences s WHERE s.id = n.sequence_id), n.sequence_id "
                    "FROM adoptions a JOIN sequence_steps n",
};

bool
adopt_map_load(struct adopt *ad, enum adopt_table t, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    struct adopt_line line = {0};
    char status[16];
    if (!owners[t]) {
        return true;
    }
    sql_text(&q, "SELECT a.old_id, a.new_id, a.new_status, ");
    sql_text(&q, owners[t]);
    sql_addf(&q, " ON n.id = a.new_id WHERE a.source = %s AND a.table_name = %s", ad->flags->from,
             adopt_shapes[t].name);
    bool ok = store_query(ad->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        (void)snprintf(line.old_id, sizeof line.old_id, "%s", rows_str(&r, 0));
        (void)snprintf(status, sizeof status, "%s", rows_str(&r, 2));
        line.new_status = status;
        line.new_id = rows_uint(&r, 1);
        line.user = rows_uint(&r, 3);
        line.parent = rows_uint(&r, 4);
        adopt_map_put(&ad->maps[t], &line);
    }
    rows_done(&r);
    return ok;
}

void
adopt_map_done(struct adopt_map *m)
{
    free(m->items);
    *m = (struct adopt_map){0};
}

/* --- counts ------------------------------------------------------------------------------ */

static void
add_example(struct adopt_flow *f, const char *old_id)
{
    enum { SHOWN = 5 };
    if (f->shown < SHOWN) {
        buf_addf(&f->examples, "%s%s", f->shown ? ", " : "", old_id);
    } else if (f->shown == SHOWN) {
        buf_adds(&f->examples, " ..");
    }
    f->shown += f->shown <= SHOWN;
}

size_t
adopt_count(struct adopt *ad, enum adopt_table t, const struct adopt_line *line, int64_t n)
{
    size_t i = 0;
    while (i < ad->n_flows &&
           !(ad->flows[i].table == t && strcmp(ad->flows[i].old_status, line->old_status) == 0 &&
             strcmp(ad->flows[i].new_status, line->new_status) == 0 &&
             strcmp(ad->flows[i].reason, line->reason) == 0)) {
        i++;
    }
    if (i == ad->n_flows) {
        VEC_GROW(ad->flows, ad->n_flows, ad->flows_cap);
        struct adopt_flow *f = &ad->flows[ad->n_flows++];
        *f = (struct adopt_flow){.table = t};
        (void)snprintf(f->old_status, sizeof f->old_status, "%s", line->old_status);
        (void)snprintf(f->new_status, sizeof f->new_status, "%s", line->new_status);
        (void)snprintf(f->reason, sizeof f->reason, "%s", line->reason);
    }
    ad->flows[i].n += n;
    if (*line->old_id && *line->reason) {
        add_example(&ad->flows[i], line->old_id);
    }
    return i;
}

/* --- job ids of a dry run: 56 bits of a hash, and the number of a flow -------------------- */

enum { FLOW_BITS = 8, FIRST_CAP = 4096 };

static uint64_t *
probe(uint64_t *slots, size_t cap, uint64_t hash)
{
    size_t i = (size_t)(hash >> FLOW_BITS) & (cap - 1);
    while (slots[i] && slots[i] >> FLOW_BITS != hash >> FLOW_BITS) {
        i = (i + 1) & (cap - 1);
    }
    return &slots[i];
}

uint64_t *
adopt_slot(struct adopt *ad, uint64_t hash)
{
    hash |= (uint64_t)1 << FLOW_BITS; /* 0 is an empty slot */
    if (2 * ad->n_slots >= ad->slots_cap) {
        size_t cap = ad->slots_cap ? 2 * ad->slots_cap : FIRST_CAP;
        uint64_t *slots = xcalloc(cap, sizeof *slots);
        for (size_t i = 0; i < ad->slots_cap; i++) {
            if (ad->slots[i]) {
                *probe(slots, cap, ad->slots[i]) = ad->slots[i];
            }
        }
        free(ad->slots);
        ad->slots = slots;
        ad->slots_cap = cap;
    }
    uint64_t *slot = probe(ad->slots, ad->slots_cap, hash);
    if (*slot) {
        return slot;
    }
    ad->n_slots++;
    *slot = hash & ~(uint64_t)0xff;
    return NULL;
}
