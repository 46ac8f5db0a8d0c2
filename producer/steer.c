/* steer.c -- Redis is told what MySQL says: campaigns paused, resumed, cancelled; devices paused or
 * paced anew. Whoever changes a row may tell Redis itself at once (the paceline command does); this
 * catches the rest, including a change made by hand and a teller that died between the two. */
#include "producer/campaign_plan.h"
#include "producer/producer.h"
#include "shared/device.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STEER_MAX = 100, SKIP_MAX = 1000 };

struct told {
    bool failed;
};

static void
on_told(void *arg, const struct err *e)
{
    struct told *t = arg;
    t->failed = e != NULL;
}

struct campaign_steer {
    uint64_t id;
    char status[16], wanted[16];
    struct told told;
};

/* A cancelled campaign stays known as such until its last row is settled. */
static bool
read_campaigns(struct store *db, struct campaign_steer *list, size_t *n, struct err *e)
{
    struct rows r;
    *n = 0;
    if (!store_queryf(
            db, &r, e,
            "SELECT id, status, 'paused' FROM campaigns WHERE status = 'paused' AND steered <> "
            "'paused' UNION ALL "
            "SELECT id, status, IF(finished_at IS NULL, 'cancelled', 'none') FROM campaigns WHERE "
            "status = "
            "'cancelled' AND steered IN ('none', 'paused') AND finished_at IS NULL UNION ALL "
            "SELECT id, status, 'none' FROM campaigns WHERE status = 'cancelled' AND steered = "
            "'cancelled' AND "
            "finished_at IS NOT NULL UNION ALL "
            "SELECT id, status, 'none' FROM campaigns WHERE status IN ('draft', 'scheduled', "
            "'running', 'finished') "
            "AND steered IN ('paused', 'cancelled') LIMIT %d",
            STEER_MAX)) {
        return false;
    }
    while (rows_next(&r)) {
        struct campaign_steer *c = &list[(*n)++];
        *c = (struct campaign_steer){.id = rows_uint(&r, 0)};
        (void)snprintf(c->status, sizeof c->status, "%s", rows_str(&r, 1));
        (void)snprintf(c->wanted, sizeof c->wanted, "%s", rows_str(&r, 2));
    }
    rows_done(&r);
    return true;
}

static bool
steer_campaigns(struct producer *p, struct err *e)
{
    struct campaign_steer list[STEER_MAX];
    size_t n;
    if (!read_campaigns(p->db, list, &n, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char source[24];
        FAULT("steer.noted");
        queue_steer_source(p->q, campaign_source(list[i].id, source), list[i].wanted, on_told,
                           &list[i].told);
    }
    queue_wait(p->q);
    for (size_t i = 0; i < n; i++) {
        if (list[i].told.failed) {
            continue; /* again at the next tick */
        }
        /* Somebody may have changed the row meanwhile and told Redis before us: then it is told
         * again. */
        if (!store_execf(p->db, NULL, e,
                         "UPDATE campaigns SET steered = IF(status IN ('paused', 'cancelled'), "
                         "'none', 'paused') "
                         "WHERE id = %" PRIu64 " AND status <> %s",
                         list[i].id, list[i].status)) {
            return false;
        }
        log_info("campaign_steered", "campaign", LOG_I(list[i].id), "status", LOG_S(list[i].status),
                 "redis", LOG_S(list[i].wanted));
        if (!store_execf(p->db, NULL, e,
                         "UPDATE campaigns SET steered = %s WHERE id = %" PRIu64 " AND status = %s",
                         list[i].wanted, list[i].id, list[i].status)) {
            return false;
        }
    }
    return true;
}

struct device_steer {
    uint64_t id;
    struct device_pace pace;
    struct told told;
};

static bool
steer_devices(struct producer *p, struct err *e)
{
    struct device_steer list[STEER_MAX];
    size_t n = 0;
    struct rows r;
    if (!store_queryf(p->db, &r, e,
                      "SELECT d.id, " DEVICE_PACE_COLUMNS
                      " FROM devices d WHERE d.unsteered = 1 ORDER BY d.id LIMIT %d",
                      STEER_MAX)) {
        return false;
    }
    while (rows_next(&r)) {
        list[n] = (struct device_steer){.id = rows_uint(&r, 0)};
        device_pace_read(&r, 1, &list[n].pace);
        n++;
    }
    rows_done(&r);
    for (size_t i = 0; i < n; i++) {
        FAULT("steer.noted");
        queue_steer_device(p->q, list[i].id, &list[i].pace, on_told, &list[i].told);
    }
    queue_wait(p->q);
    for (size_t i = 0; i < n; i++) {
        if (!list[i].told.failed &&
            !store_execf(p->db, NULL, e,
                         "UPDATE devices SET steered_version = %" PRIu64 " WHERE id = %" PRIu64
                         " AND config_version = %" PRIu64,
                         list[i].pace.version, list[i].id, list[i].pace.version)) {
            return false;
        }
    }
    return true;
}

bool
steer_tick(struct producer *p, struct err *e)
{
    return steer_campaigns(p, e) && steer_devices(p, e);
}

/* --- rows that will not go
 * ----------------------------------------------------------------------------- */

/* Looks first and writes by id: an UPDATE over a range would wait for, and deadlock with, the
 * claims in it. */
static bool
skip_rows(struct producer *p, enum producer_metric m, uint64_t *ret_rows, const char *where,
          const char *why, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    uint64_t n = 0;
    sql_text(&q, "SELECT id FROM broadcast_messages WHERE status = 'pending' AND ");
    sql_text(&q, where);
    sql_addf(&q, " LIMIT %d", SKIP_MAX);
    bool ok = store_query(p->db, &q, &r, e);
    if (ok && r.count) {
        sql_clear(&q);
        sql_addf(&q,
                 "UPDATE broadcast_messages SET status = 'skipped', error_class = %s, updated_at = "
                 "UTC_TIMESTAMP(3) WHERE id IN (",
                 why);
        for (bool first = true; rows_next(&r); first = false) {
            sql_text(&q, first ? "" : ",");
            sql_uint(&q, rows_uint(&r, 0));
        }
        sql_text(&q, ") AND status = 'pending'");
        ok = store_exec(p->db, &q, &n, NULL, e);
    }
    rows_done(&r);
    sql_done(&q);
    *ret_rows += n;
    metric_add(&producer_metrics[m], (int64_t)n);
    return ok;
}

static bool
skip_cancelled(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            p->db, &r, e,
            "SELECT id FROM campaigns WHERE status = 'cancelled' AND (finished_at IS NULL OR "
            "finished_at > UTC_TIMESTAMP(3) - INTERVAL 1 DAY)")) {
        return false;
    }
    bool ok = true;
    while (ok && rows_next(&r)) {
        char where[64];
        (void)snprintf(where, sizeof where, "campaign_id = %" PRIu64, rows_uint(&r, 0));
        ok = skip_rows(p, M_CANCELLED, ret_rows, where, "cancelled", e);
    }
    rows_done(&r);
    return ok;
}

/* Devices that are offline and whose owner does not want messages to wait for them, and removed
 * ones. */
static bool
skip_offline(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    return skip_rows(p, M_EXPIRED, ret_rows,
                     "scheduled_at <= UTC_TIMESTAMP(3) AND device_id IN (SELECT id FROM devices "
                     "WHERE status = 'removed' OR "
                     "(status = 'offline' AND when_offline = 'skip'))",
                     "device-offline", e);
}

bool
skip_tick(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    return skip_rows(p, M_EXPIRED, ret_rows, "expires_at < UTC_TIMESTAMP(3)", "expired", e) &&
           skip_cancelled(p, ret_rows, e) && skip_offline(p, ret_rows, e);
}
