/* check.c -- providers are to be asked how devices are: whose turn it is, MySQL knows; who asks is
 * a worker, through Redis.  What comes of it arrives with the results (hold.c).
 *
 * A device is marked as asked first: whoever dies in between has left it out for one interval. */
#include "reaper/reaper.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKS_A_PASS = 100 };

/* So many a second, the longest unasked first: that spreads them over time. */
static bool
read_due(struct reaper *r, struct rows *ret, struct err *e)
{
    static const char *const statuses[] = {"active", "offline"};
    struct sql q = {0};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        sql_text(&q, i ? " UNION ALL (" : "(");
        sql_addf(&q,
                 "SELECT d.id, d.sender, d.sender_ref FROM devices d WHERE d.status = %s AND "
                 "(d.checked_at IS NULL OR d.checked_at < UTC_TIMESTAMP(3) - INTERVAL %" PRId64
                 " MICROSECOND) ORDER BY d.checked_at LIMIT %d)",
                 statuses[i], r->s->check_interval * 1000, CHECKS_A_PASS / 2);
    }
    bool ok = store_query(r->db, &q, ret, e);
    sql_done(&q);
    return ok;
}

static bool
mark_asked(struct reaper *r, const uint64_t *ids, size_t n, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "UPDATE devices SET checked_at = UTC_TIMESTAMP(3) WHERE id IN (");
    sql_ids(&q, ids, n);
    sql_text(&q, ")");
    bool ok = n == 0 || store_exec(r->db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
can_be_asked(const char *sender)
{
    return strcmp(sender, "log") != 0 && strcmp(sender, "null") != 0;
}

static void
ask(struct reaper *r, const struct queue_check *items, size_t n)
{
    for (unsigned p = 0; n && p < r->n_parts; p++) {
        struct queue_check mine[CHECKS_A_PASS];
        size_t k = 0;
        for (size_t i = 0; i < n; i++) {
            if (queue_partition(r->q, items[i].device) == p) {
                mine[k++] = items[i];
            }
        }
        if (k) {
            queue_ask(r->q, p, mine, k, r->s->check_interval, NULL, NULL);
        }
    }
    queue_wait(r->q);
}

bool
check_pass(struct reaper *r, struct err *e)
{
    struct rows rows;
    struct queue_check *items = xcalloc(CHECKS_A_PASS, sizeof *items);
    uint64_t ids[CHECKS_A_PASS];
    size_t n = 0, n_ids = 0;
    bool ok = r->s->check_interval == 0 || read_due(r, &rows, e);
    if (ok && r->s->check_interval) {
        while (n_ids < CHECKS_A_PASS && rows_next(&rows)) {
            ids[n_ids++] = rows_uint(&rows, 0);
            if (can_be_asked(rows_str(&rows, 1))) {
                struct queue_check *c = &items[n++];
                c->device = rows_uint(&rows, 0);
                (void)snprintf(c->sender, sizeof c->sender, "%s", rows_str(&rows, 1));
                (void)snprintf(c->ref, sizeof c->ref, "%s", rows_str(&rows, 2));
            }
        }
        rows_done(&rows);
        ok = mark_asked(r, ids, n_ids, e);
    }
    if (ok) {
        ask(r, items, n);
    }
    free(items);
    return ok;
}
