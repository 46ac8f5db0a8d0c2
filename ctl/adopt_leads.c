#include "ctl/adopt.h"
#include "shared/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { NAME = 190, WORD = 64, BYTES = 4 * NAME };

bool
adopt_recipient(struct adopt *ad, const struct rows *r, unsigned user, unsigned device,
                unsigned phone, struct adopt_line *line, struct adopt_key *ret)
{
    const struct adopt_mapped *d = adopt_map_find(&ad->maps[ADOPT_DEVICES], rows_str(r, device));
    const struct adopt_mapped *u = adopt_map_find(&ad->maps[ADOPT_USERS], rows_str(r, user));
    const char *digits = rows_str(r, phone);
    *ret = (struct adopt_key){0};
    if (!d) {
        return !adopt_leave_out(line, "no_device");
    }
    if (*rows_str(r, user) && *ad->found[ADOPT_USERS].name && (!u || u->id != d->user)) {
        return !adopt_leave_out(line, "other_user");
    }
    if (!phone_normalise(digits, strlen(digits), ad->flags->country, ret->phone, NULL)) {
        return !adopt_leave_out(line, "bad_phone");
    }
    ret->device = d->id;
    line->user = d->user;
    return true;
}

/* --- which leads there are --------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
    const struct adopt_key *x = a, *y = b;
    return x->device != y->device ? (x->device < y->device ? -1 : 1) : strcmp(x->phone, y->phone);
}

bool
adopt_find_leads(struct adopt *ad, struct adopt_key *const *keys, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    size_t found = 0;
    sql_text(&q, "SELECT id, device_id, phone FROM leads WHERE (device_id, phone) IN (");
    for (size_t i = 0; i < n; i++) {
        sql_addf(&q, i ? ", (%" PRIu64 ", %s)" : "(%" PRIu64 ", %s)", keys[i]->device,
                 keys[i]->phone);
    }
    sql_text(&q, ")");
    bool ok = !n || store_query(ad->store, &q, &r, e);
    sql_done(&q);
    struct adopt_key *there = xcalloc(r.count + 1, sizeof *there);
    while (ok && n && rows_next(&r)) {
        struct adopt_key *k = &there[found++];
        k->lead = rows_uint(&r, 0);
        k->device = rows_uint(&r, 1);
        (void)snprintf(k->phone, sizeof k->phone, "%s", rows_str(&r, 2));
    }
    rows_done(&r);
    qsort(there, found, sizeof *there, compare);
    for (size_t i = 0; i < n; i++) {
        const struct adopt_key *k = bsearch(keys[i], there, found, sizeof *there, compare);
        keys[i]->lead = k ? k->lead : 0;
    }
    free(there);
    return ok;
}

/* --- leads ------------------------------------------------------------------------------- */

struct leads {
    struct adopt_key *keys;
    struct adopt_key **all; /* for adopt_find_leads */
    size_t *line;           /* of each key */
    size_t n;
    struct sql insert;
};

/* trigger_seen: an adoption by itself enrols nobody. */
static void
add_lead(struct adopt *ad, const struct rows *r, const struct adopt_line *line, struct leads *l)
{
    struct adopt_text name = adopt_text_of(ad, r, LEAD_NAME, NAME, BYTES);
    struct adopt_text niche = adopt_text_of(ad, r, LEAD_NICHE, WORD, BYTES);
    struct adopt_text status = adopt_text_of(ad, r, LEAD_STATUS, WORD, BYTES);
    struct adopt_text trigger = adopt_text_of(ad, r, LEAD_TRIGGER, WORD, BYTES);
    const struct adopt_key *k = &l->keys[l->n];
    sql_addf(&l->insert,
             l->n ? ", (%" PRIu64 ", %" PRIu64
                    ", %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))"
                  : "(%" PRIu64 ", %" PRIu64
                    ", %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
             line->user, k->device, k->phone, name.s, niche.s, status.s, trigger.s, trigger.s);
    free(name.s);
    free(niche.s);
    free(status.s);
    free(trigger.s);
    l->all[l->n] = &l->keys[l->n];
    l->line[l->n++] = ad->n_lines - 1;
}

static void
note(struct adopt_line *line, uint64_t id, bool fresh)
{
    line->new_id = id;
    line->new_status = "adopted";
    line->reason = fresh ? "" : "duplicate";
}

static void
foresee(struct adopt *ad, struct leads *l)
{
    for (size_t i = 0; i < l->n; i++) {
        uint64_t hash =
            XXH3_64bits_withSeed(l->keys[i].phone, strlen(l->keys[i].phone), l->keys[i].device);
        note(&ad->lines[l->line[i]], ++ad->made_up, !adopt_slot(ad, hash));
    }
}

/* Of several rows for one recipient of a device the first is kept; the others lead to it. */
static bool
write_leads(struct adopt *ad, struct leads *l, struct err *e)
{
    if (!l->n) {
        return true;
    }
    bool ok = adopt_find_leads(ad, l->all, l->n, e);
    for (size_t i = 0; ok && i < l->n; i++) {
        ad->lines[l->line[i]].parent = l->keys[i].lead; /* there before */
    }
    sql_text(&l->insert, " ON DUPLICATE KEY UPDATE id = id");
    ok = ok && store_exec(ad->store, &l->insert, NULL, NULL, e) &&
         adopt_find_leads(ad, l->all, l->n, e);
    for (size_t i = 0; ok && i < l->n; i++) {
        bool fresh = !ad->lines[l->line[i]].parent;
        for (size_t k = 0; fresh && k < i; k++) {
            fresh = l->keys[k].lead != l->keys[i].lead;
        }
        note(&ad->lines[l->line[i]], l->keys[i].lead, fresh);
    }
    return ok;
}

bool
adopt_leads(struct adopt *ad, struct rows *r, struct err *e)
{
    struct leads l = {.keys = xcalloc(r->count, sizeof *l.keys),
                      .all = xcalloc(r->count, sizeof(struct adopt_key *)),
                      .line = xcalloc(r->count, sizeof *l.line)};
    sql_text(&l.insert, "INSERT INTO leads (user_id, device_id, phone, name, niche, target_status, "
                        "`trigger`, trigger_seen, created_at, updated_at) VALUES ");
    while (rows_next(r)) {
        struct adopt_line *line = adopt_line_add(ad, r);
        if (adopt_recipient(ad, r, LEAD_USER, LEAD_DEVICE, LEAD_PHONE, line, &l.keys[l.n])) {
            add_lead(ad, r, line, &l);
        }
    }
    bool ok = true;
    if (ad->flags->dry_run) {
        foresee(ad, &l);
    } else {
        ok = write_leads(ad, &l, e);
    }
    sql_done(&l.insert);
    free(l.keys);
    free(l.all);
    free(l.line);
    return ok;
}
