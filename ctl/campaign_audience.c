#include "ctl/campaign_plan.h"
#include "ctl/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEADS_A_BATCH = 2000, PHONE_BYTES = 33 };

struct batch {
    struct {
        uint64_t id;
        char phone[PHONE_BYTES];
        bool opted_out, known; /* known: the device's account has written to the phone lately */
    } leads[LEADS_A_BATCH];
    size_t n;
    uint64_t full[LEADS_A_BATCH];   /* leads whose phone has had what the caps allow, ascending */
    uint64_t nearly[LEADS_A_BATCH]; /* and those that one more message fills */
    size_t n_full, n_nearly;
};

static void
add_audience(const struct plan *p, const struct plan_device *d, struct sql *q)
{
    sql_addf(q, " WHERE l.device_id = %" PRIu64 " AND l.user_id = %" PRIu64, d->id, p->c->user_id);
    if (*p->niche) {
        sql_addf(q, " AND l.niche = %s", p->niche);
    }
    if (*p->target_status) {
        sql_addf(q, " AND l.target_status = %s", p->target_status);
    }
}

static bool
read_leads(const struct plan *p, const struct plan_device *d, uint64_t last, struct batch *b,
           struct err *e)
{
    struct sql q = {0};
    struct rows r;
    uint64_t account = d->account == PLAN_NO_ACCOUNT ? 0 : p->accounts[d->account].id;
    sql_text(&q, "SELECT l.id, l.phone, o.id, ");
    sql_text(&q, account ? "r.phone" : "NULL");
    sql_text(&q, " FROM leads l LEFT JOIN opt_outs o ON o.user_id = l.user_id AND o.phone = "
                 "l.phone");
    if (account) {
        sql_addf(&q,
                 " LEFT JOIN account_recipients r ON r.account_id = %" PRIu64
                 " AND r.phone = l.phone AND r.last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR",
                 account);
    }
    add_audience(p, d, &q);
    sql_addf(&q, " AND l.id > %" PRIu64 " ORDER BY l.id LIMIT %d", last, LEADS_A_BATCH);
    bool ok = store_query(p->c->store, &q, &r, e);
    sql_done(&q);
    for (b->n = 0; ok && b->n < LEADS_A_BATCH && rows_next(&r); b->n++) {
        b->leads[b->n].id = rows_uint(&r, 0);
        (void)snprintf(b->leads[b->n].phone, PHONE_BYTES, "%s", rows_str(&r, 1));
        b->leads[b->n].opted_out = r.field[2] != NULL;
        b->leads[b->n].known = r.field[3] != NULL;
    }
    rows_done(&r);
    return ok;
}

/* The leads of the batch to whom the caps leave nothing, or one message. */
static bool
read_caps(const struct plan *p, const struct plan_device *d, struct batch *b, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    b->n_full = b->n_nearly = 0;
    if ((!p->daily && !p->weekly) || !b->n) {
        return true;
    }
    sql_text(&q,
             "SELECT l.id, SUM(COALESCE(h.sent_at, UTC_TIMESTAMP(3)) > UTC_TIMESTAMP(3) - INTERVAL "
             "1 DAY), COUNT(*) FROM leads l STRAIGHT_JOIN broadcast_messages h FORCE INDEX "
             "(messages_recipient) ON h.user_id = "
             "l.user_id AND h.recipient_phone = l.phone AND h.status IN ('sent', 'unknown', "
             "'queued', 'processing') AND COALESCE(h.sent_at, h.updated_at) > UTC_TIMESTAMP(3) - "
             "INTERVAL 7 DAY");
    add_audience(p, d, &q);
    sql_addf(&q, " AND l.id >= %" PRIu64 " AND l.id <= %" PRIu64 " GROUP BY l.id ORDER BY l.id",
             b->leads[0].id, b->leads[b->n - 1].id);
    bool ok = store_query(p->c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        int64_t day = p->daily ? p->daily - rows_int(&r, 1) : INT64_MAX;
        int64_t week = p->weekly ? p->weekly - rows_int(&r, 2) : INT64_MAX;
        int64_t left = day < week ? day : week;
        if (left <= 0) {
            b->full[b->n_full++] = rows_uint(&r, 0);
        } else if (left == 1) {
            b->nearly[b->n_nearly++] = rows_uint(&r, 0);
        }
    }
    rows_done(&r);
    return ok;
}

static int
by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool
is_capped(const struct plan *p, const struct batch *b, uint64_t lead, bool duplicate)
{
    bool one = p->daily == 1 || p->weekly == 1;
    return bsearch(&lead, b->full, b->n_full, sizeof lead, by_id) ||
           (duplicate && (one || bsearch(&lead, b->nearly, b->n_nearly, sizeof lead, by_id)));
}

static void
count_lead(struct plan *p, struct plan_device *d, const struct batch *b, size_t i)
{
    const char *phone = b->leads[i].phone;
    d->n.leads++;
    if (b->leads[i].opted_out) {
        d->n.opted_out++;
        return;
    }
    bool duplicate = !seen_add(&p->phones, 0, phone);
    d->n.messages++;
    d->n.duplicates += duplicate;
    d->n.capped += is_capped(p, b, b->leads[i].id, duplicate);
    if (d->account != PLAN_NO_ACCOUNT && !b->leads[i].known &&
        seen_add(&p->recipients, d->account, phone)) {
        p->accounts[d->account].wanted++;
    }
}

static bool
count_device(struct plan *p, struct plan_device *d, struct batch *b, struct progress *bar,
             struct err *e)
{
    uint64_t last = 0;
    do {
        if (!read_leads(p, d, last, b, e) || !read_caps(p, d, b, e)) {
            return false;
        }
        for (size_t i = 0; i < b->n; i++) {
            count_lead(p, d, b, i);
        }
        last = b->n ? b->leads[b->n - 1].id : last;
        p->sum.leads += (int64_t)b->n;
        progress_at(bar, p->sum.leads, p->sum.leads);
    } while (b->n == LEADS_A_BATCH);
    p->sum.opted_out += d->n.opted_out;
    p->sum.messages += d->n.messages;
    p->sum.duplicates += d->n.duplicates;
    p->sum.capped += d->n.capped;
    return true;
}

/* Of all leads of the devices: niche and status leave some out, the bar then ends early. */
static bool
count_leads(const struct plan *p, int64_t *ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT COUNT(*) FROM leads WHERE device_id IN (0");
    for (size_t i = 0; i < p->n_devices; i++) {
        sql_addf(&q, ", %" PRIu64, p->devices[i].id);
    }
    sql_text(&q, ")");
    bool ok = store_query(p->c->store, &q, &r, e);
    sql_done(&q);
    *ret = ok && rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return ok;
}

bool
plan_audience(struct plan *p, struct err *e)
{
    struct progress bar;
    int64_t total = 0;
    bool ok = count_leads(p, &total, e);
    struct batch *b = xcalloc(1, sizeof *b);
    progress_start(&bar, p->name, "leads", total, 0);
    for (size_t i = 0; ok && i < p->n_devices; i++) {
        ok = count_device(p, &p->devices[i], b, &bar, e);
    }
    progress_clear(&bar);
    free(b);
    return ok;
}
