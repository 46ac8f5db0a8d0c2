/* steer.c -- Redis is told what MySQL says: campaigns paused, resumed, cancelled; devices paused or
 * paced anew. Whoever changes a row may tell Redis itself at once (the paceline command does); this
 * catches the rest, including a change made by hand and a teller that died between the two. */
#include "producer/producer.h"
#include "shared/device.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/source.h"

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

struct source_steer {
    enum source_kind kind;
    uint64_t id;
    char status[16], wanted[16];
    struct told told;
};

/* A cancelled source stays known as such until its last row is settled. */
static void
add_unsteered(struct sql *q, enum source_kind kind)
{
    static const struct {
        const char *wanted, *where;
    } cases[] = {
        {"'paused'", "status = 'paused' AND steered <> 'paused'"},
        {"IF(finished_at IS NULL, 'cancelled', 'none')",
         "status = 'cancelled' AND steered IN ('none', 'paused') AND finished_at IS NULL"},
        {"'none'", "status = 'cancelled' AND steered = 'cancelled' AND finished_at IS NOT NULL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sql_text(q, q->text.len ? " UNION ALL SELECT " : "SELECT ");
        sql_int(q, kind);
        sql_text(q, ", id, status, ");
        sql_text(q, cases[i].wanted);
        sql_text(q, " FROM ");
        sql_text(q, sources[kind].table);
        sql_text(q, " WHERE ");
        sql_text(q, cases[i].where);
    }
    sql_addf(q, " UNION ALL SELECT %d, id, status, 'none' FROM ", (int)kind);
    sql_text(q, sources[kind].table);
    sql_text(q, " WHERE steered IN ('paused', 'cancelled') AND status IN (");
    sql_text(q, sources[kind].others);
    sql_text(q, ")");
}

static bool
read_sources(struct store *db, struct source_steer *list, size_t *n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    *n = 0;
    for (int k = 0; k < SOURCE_TABLES; k++) {
        add_unsteered(&q, (enum source_kind)k);
    }
    sql_addf(&q, " LIMIT %d", STEER_MAX);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        struct source_steer *s = &list[(*n)++];
        *s = (struct source_steer){.kind = (enum source_kind)rows_int(&r, 0),
                                   .id = rows_uint(&r, 1)};
        (void)snprintf(s->status, sizeof s->status, "%s", rows_str(&r, 2));
        (void)snprintf(s->wanted, sizeof s->wanted, "%s", rows_str(&r, 3));
    }
    rows_done(&r);
    return ok;
}

static bool
note_told(struct producer *p, const struct source_steer *s, struct err *e)
{
    struct sql q = {0};
    /* Somebody may have changed the row meanwhile and told Redis before us: then it is told again.
     */
    sql_text(&q, "UPDATE ");
    sql_text(&q, sources[s->kind].table);
    sql_addf(&q,
             " SET steered = IF(status = %s, %s, IF(status IN ('paused', 'cancelled'), 'none', "
             "'paused')) WHERE id = %" PRIu64,
             s->status, s->wanted, s->id);
    bool ok = store_exec(p->db, &q, NULL, NULL, e);
    sql_done(&q);
    log_info("source_steered", sources[s->kind].kind, LOG_I(s->id), "status", LOG_S(s->status),
             "redis", LOG_S(s->wanted));
    return ok;
}

static bool
steer_sources(struct producer *p, struct err *e)
{
    struct source_steer list[STEER_MAX];
    size_t n;
    if (!read_sources(p->db, list, &n, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char word[SOURCE_WORD_SIZE];
        FAULT("steer.noted");
        queue_steer_source(p->q, source_word(list[i].kind, list[i].id, word), list[i].wanted,
                           on_told, &list[i].told);
    }
    queue_wait(p->q);
    for (size_t i = 0; i < n; i++) {
        /* What Redis did not hear is told again at the next tick. */
        if (!list[i].told.failed && !note_told(p, &list[i], e)) {
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
    return steer_sources(p, e) && steer_devices(p, e);
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
                 "UPDATE broadcast_messages SET status = " SKIPPED_SQL ", error_class = %s, "
                 "updated_at = UTC_TIMESTAMP(3) WHERE id IN (",
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
    struct sql q = {0};
    struct rows r;
    sources_stopped(&q, false);
    bool ok = store_query(p->db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        char where[64];
        (void)snprintf(where, sizeof where, "%s = %" PRIu64, sources[rows_int(&r, 0)].column,
                       rows_uint(&r, 1));
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
