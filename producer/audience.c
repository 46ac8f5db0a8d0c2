#include "producer/audience.h"

#include <inttypes.h>

enum { DEVICES_A_BATCH = 200 };

bool
audience_snapshot(struct store *db, struct audience *a, struct err *e)
{
    struct rows r;
    bool ok = a->contacts ? store_queryf(db, &r, e,
                                         "SELECT MAX(id) FROM recurring_contacts WHERE "
                                         "recurring_id = %" PRIu64,
                                         a->row.source)
                          : store_queryf(db, &r, e, "SELECT MAX(id) FROM leads");
    if (!ok) {
        return false;
    }
    a->max = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return true;
}

static void
select_people(const struct audience *a, struct sql *q, uint64_t device, uint64_t after)
{
    if (a->contacts) {
        sql_addf(q,
                 "SELECT l.id, l.phone, l.name, o.id FROM recurring_contacts l LEFT JOIN opt_outs "
                 "o ON o.user_id = %" PRIu64 " AND o.phone = l.phone WHERE l.recurring_id = "
                 "%" PRIu64 " AND l.device_id = %" PRIu64,
                 a->row.user, a->row.source, device);
    } else {
        sql_addf(q,
                 "SELECT l.id, l.phone, l.name, o.id FROM leads l LEFT JOIN opt_outs o ON "
                 "o.user_id = l.user_id AND o.phone = l.phone WHERE l.device_id = %" PRIu64
                 " AND l.user_id = %" PRIu64,
                 device, a->row.user);
    }
    sql_addf(q, " AND l.id > %" PRIu64 " AND l.id <= %" PRIu64, after, a->max);
    if (*a->niche) {
        sql_addf(q, " AND l.niche = %s", a->niche);
    }
    if (*a->target_status) {
        sql_addf(q, " AND l.target_status = %s", a->target_status);
    }
    sql_addf(q, " ORDER BY l.id LIMIT %lu", (unsigned long)(a->limit - a->rows));
}

/* Adds the next people of one device; moves the cursor.  *ret_full: the batch is full. */
static bool
add_people(struct store *db, struct audience *a, uint64_t device, uint64_t after, bool *ret_full,
           struct err *e)
{
    struct sql q = {0};
    struct rows r;
    size_t limit = a->limit - a->rows;
    select_people(a, &q, device, after);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    *ret_full = r.count == limit;
    while (rows_next(&r)) {
        a->cursor_lead = rows_uint(&r, 0);
        if (rows_uint(&r, 3)) {
            continue; /* opted out */
        }
        a->row.device = device;
        a->row.lead = a->contacts ? 0 : a->cursor_lead;
        a->row.phone = rows_str(&r, 1);
        a->row.name = rows_str(&r, 2);
        row_plan_add(&a->insert, &a->row, a->rows == 0);
        a->rows++;
    }
    rows_done(&r);
    a->cursor_device = device;
    return true;
}

static bool
next_devices(struct store *db, const struct audience *a, uint64_t *devices, size_t *n,
             struct err *e)
{
    const struct source_info *s = &sources[a->row.kind];
    struct sql q = {0};
    struct rows r;
    *n = 0;
    sql_text(&q, "SELECT d.id FROM devices d");
    if (!a->all_devices && !a->contacts) {
        sql_text(&q, " JOIN ");
        sql_text(&q, s->devices);
        sql_text(&q, " x ON x.device_id = d.id AND x.");
        sql_text(&q, s->column);
        sql_addf(&q, " = %" PRIu64 " AND x.device_id > %" PRIu64, a->row.source, a->cursor_device);
    }
    sql_addf(&q, " WHERE d.user_id = %" PRIu64 " AND d.status <> 'removed' AND d.id > %" PRIu64,
             a->row.user, a->cursor_device);
    if (a->contacts) {
        sql_addf(&q,
                 " AND EXISTS (SELECT 1 FROM recurring_contacts x WHERE x.recurring_id = %" PRIu64
                 " AND x.device_id = d.id)",
                 a->row.source);
    }
    sql_addf(&q, " ORDER BY d.id LIMIT %d", DEVICES_A_BATCH);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        devices[(*n)++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    return ok;
}

bool
audience_gather(struct store *db, struct audience *a, struct err *e)
{
    uint64_t devices[DEVICES_A_BATCH];
    size_t n = 0;
    bool full = false;
    a->rows = 0;
    a->complete = false;
    row_plan_begin(&a->insert);
    if (a->cursor_device && !add_people(db, a, a->cursor_device, a->cursor_lead, &full, e)) {
        return false;
    }
    if (full) {
        return true;
    }
    if (!next_devices(db, a, devices, &n, e)) {
        return false;
    }
    for (size_t i = 0; i < n && !full; i++) {
        a->cursor_lead = 0;
        if (!add_people(db, a, devices[i], 0, &full, e)) {
            return false;
        }
    }
    a->complete = !full && n < DEVICES_A_BATCH;
    return true;
}
