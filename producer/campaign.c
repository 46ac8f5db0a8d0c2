#include "producer/campaign_plan.h"
#include "producer/producer.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CAMPAIGNS_A_TICK = 16, DEVICES_A_BATCH = 200 };

struct ids {
    uint64_t id[CAMPAIGNS_A_TICK];
    size_t n;
};

static bool
read_ids(struct store *db, struct ids *ret, struct err *e, const char *statement)
{
    struct sql q = {0};
    struct rows r;
    ret->n = 0;
    sql_text(&q, statement);
    bool ok = store_query(db, &q, &r, e);
    while (ok && rows_next(&r) && ret->n < CAMPAIGNS_A_TICK) {
        ret->id[ret->n++] = rows_uint(&r, 0);
    }
    if (ok) {
        rows_done(&r);
    }
    sql_done(&q);
    return ok;
}

/* scheduled -> running, by one winner. */
static bool
begin_due(struct producer *p, struct err *e)
{
    struct ids due;
    if (!read_ids(p->db, &due, e,
                  "SELECT id FROM campaigns WHERE status = 'scheduled' AND "
                  "scheduled_at <= UTC_TIMESTAMP(3) ORDER BY scheduled_at LIMIT 16")) {
        return false;
    }
    for (size_t i = 0; i < due.n; i++) {
        uint64_t won = 0;
        if (!store_execf(p->db, &won, e,
                         "UPDATE campaigns SET status = 'running', started_at = UTC_TIMESTAMP(3), "
                         "updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
                         " AND status = 'scheduled'",
                         due.id[i])) {
            return false;
        }
        if (won) {
            log_info("campaign_running", "campaign", LOG_I(due.id[i]));
            FAULT("campaign.started");
        }
    }
    return true;
}

/* --- one batch of an audience
 * -------------------------------------------------------------------------- */

struct expansion {
    struct producer *p;
    struct campaign c;
    char niche[64 * 4], target_status[64 * 4];
    uint64_t max_lead, cursor_device, cursor_lead;
    bool present; /* the campaign is running and has an audience to write */
    bool complete;
    uint64_t inserted;
    struct sql insert;
    size_t rows;
};

static bool
read_campaign(struct store *db, struct expansion *x, struct err *e)
{
    struct rows r;
    if (!store_queryf(db, &r, e,
                      "SELECT user_id, max_lateness_s, niche, target_status, audience_max_lead, "
                      "cursor_device, "
                      "cursor_lead, audience_max_lead IS NULL FROM campaigns WHERE id = %" PRIu64
                      " AND status = 'running' AND expanded_at IS NULL FOR UPDATE",
                      x->c.id)) {
        return false;
    }
    x->present = rows_next(&r);
    bool fresh = false;
    if (x->present) {
        x->c.user = rows_uint(&r, 0);
        x->c.max_lateness_s = rows_int(&r, 1);
        (void)snprintf(x->niche, sizeof x->niche, "%s", rows_str(&r, 2));
        (void)snprintf(x->target_status, sizeof x->target_status, "%s", rows_str(&r, 3));
        x->max_lead = rows_uint(&r, 4);
        x->cursor_device = rows_uint(&r, 5);
        x->cursor_lead = rows_uint(&r, 6);
        fresh = rows_int(&r, 7);
    }
    rows_done(&r);
    if (!fresh) {
        return true;
    }
    /* The snapshot: leads that arrive later do not belong to this campaign. */
    if (!store_queryf(db, &r, e, "SELECT MAX(id) FROM leads")) {
        return false;
    }
    x->max_lead = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return true;
}

/* Adds the next leads of one device; moves the cursor.  *ret_more: the batch is full. */
static bool
add_leads(struct store *db, struct expansion *x, uint64_t device, uint64_t after, bool *ret_more,
          struct err *e)
{
    struct sql q = {0};
    struct rows r;
    size_t limit = (size_t)x->p->s->expand_batch - x->rows, seen = 0;
    sql_addf(&q,
             "SELECT l.id, l.phone, l.name, o.id FROM leads l LEFT JOIN opt_outs o ON o.user_id = "
             "l.user_id AND "
             "o.phone = l.phone WHERE l.device_id = %" PRIu64 " AND l.id > %" PRIu64
             " AND l.id <= %" PRIu64 " AND l.user_id = %" PRIu64,
             device, after, x->max_lead, x->c.user);
    if (*x->niche) {
        sql_addf(&q, " AND l.niche = %s", x->niche);
    }
    if (*x->target_status) {
        sql_addf(&q, " AND l.target_status = %s", x->target_status);
    }
    sql_addf(&q, " ORDER BY l.id LIMIT %lu", (unsigned long)limit);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    while (rows_next(&r)) {
        struct audience_lead lead = {rows_uint(&r, 0), device, rows_str(&r, 1), rows_str(&r, 2)};
        seen++;
        x->cursor_lead = lead.id;
        if (rows_uint(&r, 3)) {
            continue; /* opted out: never becomes a row */
        }
        campaign_plan_row(&x->insert, &x->c, &lead, x->rows == 0);
        x->rows++;
    }
    rows_done(&r);
    x->cursor_device = device;
    *ret_more = seen == limit;
    return true;
}

static bool
next_devices(struct store *db, const struct expansion *x, uint64_t *devices, size_t *n,
             struct err *e)
{
    struct rows r;
    *n = 0;
    /* A device of another user is no part of this audience, whatever campaign_devices says. */
    if (!store_queryf(db, &r, e,
                      "SELECT cd.device_id FROM campaign_devices cd JOIN devices d ON d.id = "
                      "cd.device_id AND "
                      "d.user_id = %" PRIu64
                      " AND d.status <> 'removed' WHERE cd.campaign_id = %" PRIu64
                      " AND cd.device_id > %" PRIu64 " ORDER BY cd.device_id LIMIT %d",
                      x->c.user, x->c.id, x->cursor_device, DEVICES_A_BATCH)) {
        return false;
    }
    while (rows_next(&r)) {
        devices[(*n)++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    return true;
}

static bool
gather(struct store *db, struct expansion *x, struct err *e)
{
    uint64_t devices[DEVICES_A_BATCH];
    size_t n = 0;
    bool full = false;
    if (x->cursor_device && !add_leads(db, x, x->cursor_device, x->cursor_lead, &full, e)) {
        return false;
    }
    if (full) {
        return true;
    }
    if (!next_devices(db, x, devices, &n, e)) {
        return false;
    }
    for (size_t i = 0; i < n && !full; i++) {
        x->cursor_lead = 0;
        if (!add_leads(db, x, devices[i], 0, &full, e)) {
            return false;
        }
    }
    x->complete = !full && n < DEVICES_A_BATCH;
    return true;
}

/* Rows and cursor in one transaction: a producer that dies anywhere is continued without gap or
 * repeat. */
static bool
expand_body(struct store *db, void *arg, struct err *e)
{
    struct expansion *x = arg;
    x->rows = 0;
    x->inserted = 0;
    x->complete = false;
    campaign_plan_begin(&x->insert);
    if (!read_campaign(db, x, e)) {
        return false;
    }
    if (!x->present) {
        return true;
    }
    if (!gather(db, x, e) || (x->rows && !store_exec(db, &x->insert, &x->inserted, NULL, e))) {
        return false;
    }
    FAULT("expand.inserted");
    return store_execf(
        db, NULL, e,
        "UPDATE campaigns SET audience_max_lead = %" PRIu64 ", cursor_device = %" PRIu64
        ", cursor_lead = %" PRIu64 ", total = total + %" PRIu64
        ", expanded_at = IF(%d, UTC_TIMESTAMP(3), NULL), updated_at = UTC_TIMESTAMP(3) WHERE id = "
        "%" PRIu64,
        x->max_lead, x->cursor_device, x->cursor_lead, x->inserted, x->complete ? 1 : 0, x->c.id);
}

static bool
expand(struct producer *p, uint64_t campaign, uint64_t *ret_rows, struct err *e)
{
    struct expansion x = {.p = p, .c = {.id = campaign}};
    char lock[64];
    bool mine = false;
    /* Only courtesy: two producers at one audience would wait for each other's row lock. */
    (void)snprintf(lock, sizeof lock, "paceline-campaign-%" PRIu64, campaign);
    if (!store_try_lock(p->db, lock, 0, &mine, e)) {
        return false;
    }
    if (!mine) {
        return true;
    }
    bool ok = store_transact(p->db, expand_body, &x, e);
    sql_done(&x.insert);
    if (!ok) {
        struct err ignored = {0}; /* the lock may have gone with the connection */
        return store_unlock(p->db, lock, &ignored) ? err_wrap(e, "campaign %" PRIu64, campaign)
                                                   : false;
    }
    FAULT("expand.committed");
    *ret_rows += x.inserted;
    metric_add(&producer_metrics[M_ROWS], (int64_t)x.inserted);
    if (x.present && x.complete) {
        log_info("campaign_expanded", "campaign", LOG_I(campaign));
    }
    return store_unlock(p->db, lock, e);
}

bool
campaign_tick(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    struct ids open;
    if (!begin_due(p, e) ||
        !read_ids(p->db, &open, e,
                  "SELECT id FROM campaigns WHERE status = 'running' AND expanded_at IS NULL "
                  "ORDER BY scheduled_at LIMIT 16")) {
        return false;
    }
    for (size_t i = 0; i < open.n; i++) {
        if (!expand(p, open.id[i], ret_rows, e)) {
            return false;
        }
    }
    return true;
}
