#include "producer/audience.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE_MS = 200 };

/* scheduled -> running, by one winner. */
static bool
begin_due(struct producer *p, struct err *e)
{
    struct source_ids due;
    if (!source_read_ids(p->db,
                         "SELECT id, user_id FROM campaigns WHERE status = 'scheduled' AND "
                         "scheduled_at <= UTC_TIMESTAMP(3) ORDER BY scheduled_at LIMIT 16",
                         &due, e)) {
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
    struct audience a;
    bool present; /* the campaign is running and has an audience to write */
    uint64_t inserted;
};

static bool
read_campaign(struct store *db, struct expansion *x, struct err *e)
{
    struct audience *a = &x->a;
    struct rows r;
    if (!store_queryf(db, &r, e,
                      "SELECT user_id, max_lateness_s, niche, target_status, audience_max_lead, "
                      "cursor_device, cursor_lead, audience_max_lead IS NULL FROM campaigns WHERE "
                      "id = %" PRIu64 " AND status = 'running' AND expanded_at IS NULL FOR UPDATE",
                      a->row.source)) {
        return false;
    }
    x->present = rows_next(&r);
    bool fresh = false;
    if (x->present) {
        a->row.user = rows_uint(&r, 0);
        a->row.max_lateness_s = rows_int(&r, 1);
        (void)snprintf(a->niche, sizeof a->niche, "%s", rows_str(&r, 2));
        (void)snprintf(a->target_status, sizeof a->target_status, "%s", rows_str(&r, 3));
        a->max = rows_uint(&r, 4);
        a->cursor_device = rows_uint(&r, 5);
        a->cursor_lead = rows_uint(&r, 6);
        fresh = rows_int(&r, 7);
    }
    rows_done(&r);
    return !fresh || audience_snapshot(db, a, e);
}

/* Rows and cursor in one transaction: a producer that dies anywhere is continued without gap or
 * repeat. */
static bool
expand_body(struct store *db, void *arg, struct err *e)
{
    struct expansion *x = arg;
    struct audience *a = &x->a;
    x->inserted = 0;
    if (!read_campaign(db, x, e) || (x->present && !audience_gather(db, a, e))) {
        return false;
    }
    if (!x->present) {
        return true;
    }
    if (a->rows && !store_exec(db, &a->insert, &x->inserted, NULL, e)) {
        return false;
    }
    FAULT("expand.inserted");
    return store_execf(
        db, NULL, e,
        "UPDATE campaigns SET audience_max_lead = %" PRIu64 ", cursor_device = %" PRIu64
        ", cursor_lead = %" PRIu64 ", total = total + %" PRIu64
        ", expanded_at = IF(%d, UTC_TIMESTAMP(3), NULL), updated_at = UTC_TIMESTAMP(3) WHERE id = "
        "%" PRIu64,
        a->max, a->cursor_device, a->cursor_lead, x->inserted, a->complete ? 1 : 0, a->row.source);
}

static bool
expand(struct producer *p, uint64_t campaign, uint64_t *ret_rows, struct err *e)
{
    struct expansion x = {.a = {.row = {.kind = SOURCE_CAMPAIGN, .source = campaign},
                                .limit = (size_t)p->s->expand_batch}};
    bool mine = false;
    if (!source_try_lock(p, SOURCE_CAMPAIGN, campaign, &mine, e)) {
        return false;
    }
    if (!mine) {
        return true;
    }
    bool ok = store_transact(p->db, expand_body, &x, e);
    sql_done(&x.a.insert);
    if (ok) {
        FAULT("expand.committed");
        *ret_rows += x.inserted;
        metric_add(&producer_metrics[M_ROWS], (int64_t)x.inserted);
        if (x.present && x.a.complete) {
            log_info("campaign_expanded", "campaign", LOG_I(campaign));
        }
    }
    return source_unlock(p, SOURCE_CAMPAIGN, campaign, ok, e);
}

/* Campaigns take turns, a batch each, until the slice is over: what is due is dispatched in
 * between. */
bool
campaign_tick(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    struct source_ids open;
    struct sql q = {0};
    int64_t until = clock_mono_ms() + SLICE_MS;
    if (!begin_due(p, e)) {
        return false;
    }
    sql_addf(&q,
             "SELECT id, user_id FROM campaigns WHERE status = 'running' AND expanded_at IS NULL "
             "AND id > %" PRIu64 " ORDER BY id LIMIT %d",
             p->turn_campaign, SOURCES_A_TICK);
    bool ok = source_read_ids(p->db, q.text.data, &open, e);
    sql_done(&q);
    p->turn_campaign = 0;
    for (size_t i = 0; ok && i < open.n && clock_mono_ms() < until && !program_stopping; i++) {
        ok = expand(p, open.id[i], ret_rows, e) || source_refused(SOURCE_CAMPAIGN, open.id[i], e);
        p->turn_campaign = i + 1 < open.n || open.n == SOURCES_A_TICK ? open.id[i] : 0;
    }
    return ok;
}
