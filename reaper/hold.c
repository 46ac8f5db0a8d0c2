/* hold.c -- what an outcome says of others than its message.  Redis acts upon it at once
 * (finish.lua, hold.lua); here it becomes what people see and what lasts: statuses with their
 * reasons, and times. */
#include "reaper/settle.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REASON_SIZE = 400, ALIKE_MAX = 1000, ALIKE_SHARE = 10, CLEAN_MS = 10000, CLEAN_ROWS = 1000 };

/* By these words `paceline audit stuck` knows a provider's stop from a person's pause. */
#define DEVICE_STOPPED "provider said "

static void
reason_of(const struct queue_result *r, const char *before, char out[REASON_SIZE])
{
    (void)snprintf(out, REASON_SIZE, "%s%s%s%s", before, r->code, *r->text ? ": " : "", r->text);
}

static bool
has_table(const struct settle_entry *x)
{
    return (int)x->kind < SOURCE_TABLES;
}

static bool
stop_source(struct store *db, const struct settle_entry *x, const char *before, struct err *e)
{
    char reason[REASON_SIZE];
    struct sql q = {0};
    uint64_t n = 0;
    if (!has_table(x)) {
        return true;
    }
    reason_of(&x->r, before, reason);
    sql_text(&q, "UPDATE ");
    sql_text(&q, sources[x->kind].table);
    sql_addf(&q,
             /* steered: in this partition Redis knows already, so it must be told whatever becomes
              * of the row meanwhile */
             " SET status = 'paused', steered = 'cancelled', status_reason = LEFT(%s, 190), "
             "updated_at = UTC_TIMESTAMP(3) "
             "WHERE id = %" PRIu64 " AND finished_at IS NULL AND status IN (",
             reason, x->source);
    sql_text(&q, sources[x->kind].others);
    sql_text(&q, ")");
    bool ok = store_exec(db, &q, &n, NULL, e);
    sql_done(&q);
    if (ok && n) {
        log_warn("source_stopped", sources[x->kind].kind, LOG_I(x->source), "why", LOG_S(reason));
    }
    return ok;
}

static bool
count_limited(struct store *db, const struct settle_entry *x, const char *status, const char *code,
              int64_t limit, int64_t *ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT COUNT(*) FROM (SELECT 1 FROM broadcast_messages WHERE ");
    sql_text(&q, sources[x->kind].column);
    sql_addf(&q, " = %" PRIu64 " AND status = %s", x->source, status);
    if (code) {
        sql_addf(&q, " AND error_class = %s", code);
    }
    sql_addf(&q, " LIMIT %" PRId64 ") t", limit);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    *ret = ok && rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return ok;
}

/* One that has nothing left to send would only stand there, paused, and never end. */
static bool
has_more(struct store *db, const struct settle_entry *x, bool *ret, struct err *e)
{
    static const char *const open[] = {"pending", "processing", "queued"};
    int64_t n = 0;
    for (size_t i = 0; n == 0 && i < sizeof open / sizeof *open; i++) {
        if (!count_limited(db, x, open[i], NULL, 1, &n, e)) {
            return false;
        }
    }
    *ret = n > 0;
    return true;
}

/* A parameter that is wrong for one recipient may be wrong for all: the source stops when enough of
 * its messages were refused alike, and they are more than a tenth of what was sent. */
static bool
stop_alike(struct store *db, const struct settle_entry *x, struct err *e)
{
    int64_t alike, sent;
    bool more;
    char before[64];
    if (!has_table(x) || x->a.status != ROW_FAILED) {
        return true;
    }
    if (!count_limited(db, x, "failed", x->r.code, ALIKE_MAX, &alike, e)) {
        return false;
    }
    if (alike < x->r.stop_after) {
        return true;
    }
    if (!count_limited(db, x, "sent", NULL, ALIKE_SHARE * alike, &sent, e) ||
        !has_more(db, x, &more, e)) {
        return false;
    }
    (void)snprintf(before, sizeof before, "%" PRId64 " messages refused alike, ", alike);
    return !more || sent >= ALIKE_SHARE * alike || stop_source(db, x, before, e);
}

static bool
stop_devices(struct store *db, const struct settle_entry *x, struct err *e)
{
    char reason[REASON_SIZE];
    struct rows r;
    uint64_t user = 0;
    char account[64 * 4 + 1] = "";
    reason_of(&x->r, DEVICE_STOPPED, reason);
    if (!store_queryf(db, &r, e, "SELECT user_id, account FROM devices WHERE id = %" PRIu64,
                      x->r.device)) {
        return false;
    }
    if (rows_next(&r)) {
        user = rows_uint(&r, 0);
        (void)snprintf(account, sizeof account, "%s", rows_str(&r, 1));
    }
    rows_done(&r);
    log_warn("device_stopped", "device", LOG_I(x->r.device), "account",
             LOG_S(x->r.stop == STOP_ACCOUNT ? account : ""), "why", LOG_S(reason));
    if (x->r.stop == STOP_ACCOUNT && *account) {
        return store_execf(db, NULL, e,
                           "UPDATE devices SET status = 'paused', status_reason = LEFT(%s, 190), "
                           "config_version = config_version + 1, updated_at = UTC_TIMESTAMP(3) "
                           "WHERE user_id = %" PRIu64 " AND account = %s AND status = 'active'",
                           reason, user, account);
    }
    return store_execf(
        db, NULL, e,
        "UPDATE devices SET status = 'paused', status_reason = LEFT(%s, 190), config_version = "
        "config_version + 1, updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
        " AND status = 'active'",
        reason, x->r.device);
}

/* Redis has stopped what its row says nothing of, because the result changed nothing: a receipt had
 * ended the message, or it is a result that comes again.  What MySQL has decides, and is told anew.
 */
static bool
tell_again(struct store *db, const struct settle_entry *x, struct err *e)
{
    struct sql q = {0};
    if (x->r.stop != STOP_SOURCE) {
        return store_execf(db, NULL, e,
                           "UPDATE devices SET config_version = config_version + 1 WHERE id = "
                           "%" PRIu64,
                           x->r.device);
    }
    if (!x->found || !has_table(x)) {
        return true;
    }
    sql_text(&q, "UPDATE ");
    sql_text(&q, sources[x->kind].table);
    sql_addf(&q, " SET steered = 'cancelled' WHERE id = %" PRIu64 " AND status <> 'cancelled'",
             x->source);
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
rest(struct store *db, const struct settle_entry *x, struct err *e)
{
    if (x->r.new_ms > 0 &&
        !store_execf(db, NULL, e,
                     "UPDATE devices SET new_contacts_until = UTC_TIMESTAMP(3) + INTERVAL %" PRId64
                     " MICROSECOND WHERE id = %" PRIu64,
                     x->r.new_ms * 1000, x->r.device)) {
        return false;
    }
    return x->r.rest_ms <= 0 ||
           store_execf(
               db, NULL, e,
               "INSERT INTO recipient_rests (user_id, phone, until_at, code) SELECT m.user_id, "
               "m.recipient_phone, UTC_TIMESTAMP(3) + INTERVAL %" PRId64
               " MICROSECOND, %s FROM broadcast_messages m WHERE m.id = %" PRIu64
               " ON DUPLICATE KEY UPDATE code = IF(until_at < VALUES(until_at), "
               "VALUES(code), code), until_at = GREATEST(until_at, VALUES(until_at))",
               x->r.rest_ms * 1000, x->r.code, x->row.id);
}

bool
settle_is_check(const struct queue_result *r)
{
    return strcmp(r->kind, "online") == 0 || strcmp(r->kind, "offline") == 0;
}

/* A person's pause is not touched.  Producers tell Redis within a second. */
static bool
write_check(struct store *db, const struct queue_result *r, struct err *e)
{
    bool online = strcmp(r->kind, "online") == 0;
    uint64_t n = 0;
    if (!store_execf(
            db, &n, e,
            "UPDATE devices SET status = %s, status_reason = LEFT(%s, 190), "
            "config_version = config_version + 1, updated_at = UTC_TIMESTAMP(3) WHERE id = "
            "%" PRIu64 " AND status = %s",
            online ? "active" : "offline", online ? "" : r->text, r->device,
            online ? "offline" : "active")) {
        return false;
    }
    if (n) {
        log_info("device_status", "device", LOG_I(r->device), "status", LOG_S(r->kind), "text",
                 LOG_S(r->text));
    }
    return true;
}

bool
settle_holds(struct store *db, const struct settle_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct settle_entry *x = &b->e[i];
        if (settle_is_check(&x->r) && !write_check(db, &x->r, e)) {
            return false;
        }
        if (!x->found || !x->fresh) {
            if (x->r.stop && !tell_again(db, x, e)) {
                return false;
            }
            continue;
        }
        bool ok = rest(db, x, e) && (!x->r.stop_after || stop_alike(db, x, e));
        if (ok && x->r.stop == STOP_SOURCE) {
            ok = stop_source(db, x, "", e);
        } else if (ok && x->r.stop) {
            ok = stop_devices(db, x, e);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool
rests_pass(struct reaper *r, struct err *e)
{
    return !program_due(&r->next_rests, CLEAN_MS) ||
           store_execf(r->db, NULL, e,
                       "DELETE FROM recipient_rests WHERE until_at < UTC_TIMESTAMP(3) LIMIT %d",
                       CLEAN_ROWS);
}
