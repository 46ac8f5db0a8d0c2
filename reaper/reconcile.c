/* reconcile.c -- rows and Redis are compared, both ways.
 *
 * Rows -> Redis: rows that have stood still are probed (staged ones are unstaged in the same call:
 * whoever staged them finds nothing to activate) and repaired by compare-and-set on (status, gen).
 * Each queued row is looked at once when it is `fresh_age` old, and all of them once in every
 * `audit_interval`. Redis -> rows: device by device, jobs whose row is final, gone or of another
 * generation are dropped, and the device's keys are checked against one another. */
#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/source.h"
#include "shared/withdraw.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_A_BATCH = 1000,
    BATCHES_A_PASS = 20,
    PROBE_ITEMS = 50,
    DEVICES_A_PASS = 64,
    WITHDRAW_MS = 3000
};

struct item {
    uint64_t id;
    enum row_status status;
    struct queue_probe_job probe;
    enum repair repair;
};

struct rows_batch {
    struct item *items;
    size_t n;
    char last_at[32];
    uint64_t last_id;
};

static bool
read_items(struct reaper *r, const struct sql *q, struct rows_batch *b, struct err *e)
{
    struct rows rows;
    b->n = 0;
    b->items = NULL;
    if (!store_query(r->db, q, &rows, e)) {
        return false;
    }
    b->items = xcalloc((size_t)rows.count, sizeof *b->items);
    while (rows_next(&rows)) {
        struct item *x = &b->items[b->n];
        x->id = rows_uint(&rows, 0);
        (void)snprintf(x->probe.id, sizeof x->probe.id, "%s", rows_str(&rows, 1));
        x->probe.device = rows_uint(&rows, 2);
        x->probe.gen = (uint32_t)rows_uint(&rows, 3);
        (void)snprintf(b->last_at, sizeof b->last_at, "%s", rows_str(&rows, 5));
        b->last_id = x->id;
        b->n += row_status_parse(rows_str(&rows, 4), &x->status);
    }
    rows_done(&rows);
    return true;
}

/* --- probing
 * ------------------------------------------------------------------------------------------- */

struct probe_call {
    struct queue_probe_device devices[PROBE_ITEMS];
    struct queue_probe_job jobs[PROBE_ITEMS];
    struct item *items[PROBE_ITEMS];
    size_t n_devices, n;
    unsigned p;
    bool failed;
};

static void
on_probe(void *arg, const struct err *e)
{
    struct probe_call *c = arg;
    c->failed = e != NULL;
}

static int
by_partition(const void *a, const void *b, void *arg)
{
    const struct item *x = a, *y = b;
    unsigned p = queue_partition(arg, x->probe.device), q = queue_partition(arg, y->probe.device);
    if (p != q) {
        return p < q ? -1 : 1;
    }
    return x->probe.device < y->probe.device ? -1 : x->probe.device > y->probe.device;
}

static void
add_probe(struct probe_call *c, struct item *x)
{
    if (!c->n_devices || c->devices[c->n_devices - 1].device != x->probe.device) {
        c->devices[c->n_devices++].device = x->probe.device;
    }
    c->jobs[c->n] = x->probe;
    c->items[c->n++] = x;
}

/* Fills each item's repair.  Items of partitions that did not answer, or of whose opening we have
 * not read whether it was in doubt, keep REPAIR_NOTHING, and the partition is marked as not looked
 * at.  Returns whether all were. */
static bool
probe(struct reaper *r, struct rows_batch *b)
{
    bool all = true;
    struct probe_call *calls = xcalloc(b->n, sizeof *calls);
    size_t n_calls = 0;
    qsort_r(b->items, b->n, sizeof *b->items, by_partition, r->q);
    for (size_t i = 0; i < b->n; i++) {
        unsigned p = queue_partition(r->q, b->items[i].probe.device);
        if (!n_calls || calls[n_calls - 1].p != p || calls[n_calls - 1].n == PROBE_ITEMS) {
            calls[n_calls++].p = p;
        }
        add_probe(&calls[n_calls - 1], &b->items[i]);
    }
    for (size_t k = 0; k < n_calls; k++) {
        struct probe_call *c = &calls[k];
        queue_probe(r->q, c->p, true, c->devices, c->n_devices, c->jobs, c->n, on_probe, c);
    }
    queue_wait(r->q);
    for (size_t k = 0; k < n_calls; k++) {
        struct probe_call *c = &calls[k];
        struct part *part = &r->parts[c->p];
        if (c->failed || strcmp(part->seen, queue_incarnation(r->q, c->p)) != 0) {
            part->unlooked = true;
            all = false;
            continue;
        }
        for (size_t i = 0; i < c->n; i++) {
            c->items[i]->repair =
                reconcile_plan(c->items[i]->status, c->jobs[i].state, part->doubt);
        }
    }
    free(calls);
    return all;
}

/* --- writing
 * ------------------------------------------------------------------------------------------- */

static bool
write_repair(struct reaper *r, const struct rows_batch *b, enum repair repair, enum row_status from,
             const char *set, enum reaper_metric m, struct err *e)
{
    struct sql q = {0}, pairs = {0};
    uint64_t *ids = xcalloc(b->n, sizeof *ids), changed = 0;
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->items[i].repair == repair && b->items[i].status == from) {
            sql_addf(&pairs, n ? ",(%" PRIu64 ",%u)" : "(%" PRIu64 ",%u)", b->items[i].id,
                     b->items[i].probe.gen);
            ids[n++] = b->items[i].id;
        }
    }
    bool ok = true;
    if (n) {
        sql_text(&q, "UPDATE broadcast_messages SET ");
        sql_text(&q, set);
        sql_text(&q, ", updated_at = UTC_TIMESTAMP(3) WHERE id IN (");
        sql_ids(&q, ids, n);
        sql_addf(&q, ") AND status = %s AND (id, gen) IN (", row_status_name(from));
        sql_text(&q, pairs.text.data);
        sql_text(&q, ")");
        ok = store_exec(r->db, &q, &changed, NULL, e);
        metric_add(&reaper_metrics[m], (int64_t)changed);
        if (changed) {
            log_info("reconciled", "rows", LOG_I(changed), "from", LOG_S(row_status_name(from)),
                     "set", LOG_S(set));
        }
    }
    free(ids);
    sql_done(&q);
    sql_done(&pairs);
    return ok;
}

static bool
repair_rows(struct reaper *r, struct rows_batch *b, bool *ret_all, struct err *e)
{
    static const char pending[] = "status = 'pending'";
    static const char queued[] = "status = 'queued', queued_at = UTC_TIMESTAMP(3)";
    static const char unknown[] =
        "status = 'unknown', attempt = attempt + 1, unknowns = unknowns + 1, error_class = "
        "'redis-lost', error_message = 'Redis lost data and a worker that may have sent it did "
        "not report', decide_at = NULL";
    *ret_all = probe(r, b);
    FAULT("reconcile.probed");
    bool ok = write_repair(r, b, REPAIR_PENDING, ROW_QUEUED, pending, M_REPAIR_PENDING, e) &&
              write_repair(r, b, REPAIR_PENDING, ROW_PROCESSING, pending, M_REPAIR_PENDING, e) &&
              write_repair(r, b, REPAIR_QUEUED, ROW_PROCESSING, queued, M_REPAIR_QUEUED, e) &&
              write_repair(r, b, REPAIR_UNKNOWN, ROW_QUEUED, unknown, M_REPAIR_UNKNOWN, e);
    if (ok) {
        FAULT("reconcile.written");
    }
    return ok;
}

/* --- rows -> Redis
 * ------------------------------------------------------------------------------------- */

static bool
look_at_processing(struct reaper *r, struct err *e)
{
    struct sql q = {0};
    struct rows_batch b;
    sql_addf(
        &q,
        "SELECT id, job_id, device_id, gen, status, processing_started_at FROM broadcast_messages "
        "WHERE "
        "status = 'processing' AND processing_started_at < UTC_TIMESTAMP(3) - INTERVAL %" PRId64
        " MICROSECOND ORDER BY processing_started_at, id LIMIT %d",
        r->s->claim_lease * 1000, ROWS_A_BATCH);
    bool ok = read_items(r, &q, &b, e);
    bool all;
    ok = ok && (b.n == 0 || repair_rows(r, &b, &all, e));
    free(b.items);
    sql_done(&q);
    return ok;
}

/* From the cursor on; *ret_end when there are no more rows of that age, or (unless sweeping) not
 * all could be looked at: the cursor stays then. */
static bool
look_at_queued(struct reaper *r, int64_t age_ms, bool sweeping, bool *ret_end, struct err *e)
{
    struct sql q = {0};
    struct rows_batch b;
    sql_addf(&q,
             "SELECT id, job_id, device_id, gen, status, queued_at FROM broadcast_messages WHERE "
             "status = 'queued' AND "
             "queued_at >= %s AND queued_at <= UTC_TIMESTAMP(3) - INTERVAL %" PRId64
             " MICROSECOND AND (queued_at > %s OR id > %" PRIu64
             ") ORDER BY queued_at, id LIMIT %d",
             r->fresh_at, age_ms * 1000, r->fresh_at, r->fresh_id, ROWS_A_BATCH);
    bool ok = read_items(r, &q, &b, e);
    *ret_end = b.n < ROWS_A_BATCH;
    if (ok && b.n) {
        char at[sizeof r->fresh_at];
        uint64_t id = b.last_id;
        bool all = true;
        (void)snprintf(at, sizeof at, "%s", b.last_at);
        ok = repair_rows(r, &b, &all, e);
        if (ok && (all || sweeping)) {
            (void)snprintf(r->fresh_at, sizeof r->fresh_at, "%s", at);
            r->fresh_id = id;
        } else {
            *ret_end = true;
        }
    }
    free(b.items);
    sql_done(&q);
    return ok;
}

static void
rewind_cursor(struct reaper *r)
{
    (void)snprintf(r->fresh_at, sizeof r->fresh_at, "1970-01-01 00:00:00");
    r->fresh_id = 0;
}

struct mark {
    struct part *part;
    char incarnation[80];
};

static void
on_marked(void *arg, const struct err *e)
{
    struct mark *m = arg;
    if (!e) {
        (void)snprintf(m->part->swept, sizeof m->part->swept, "%s", m->incarnation);
        m->part->doubt = false;
    }
}

/* After a recovery every queued row is looked at, whatever its age; partitions of which all rows
 * were, and that took note of it, then count as swept. */
static bool
sweep_recovered(struct reaper *r, struct err *e)
{
    struct mark *marks = xcalloc(r->n_parts, sizeof *marks);
    bool any = false, ok = true, end = false;
    for (unsigned p = 0; p < r->n_parts; p++) {
        struct part *part = &r->parts[p];
        const char *now = queue_incarnation(r->q, p);
        if (queue_state(r->q, p) == PARTITION_OPEN && *now && strcmp(now, part->seen) == 0 &&
            strcmp(now, part->swept) != 0) {
            marks[p].part = part;
            (void)snprintf(marks[p].incarnation, sizeof marks[p].incarnation, "%s", now);
            part->unlooked = false;
            any = true;
        }
    }
    if (any) {
        rewind_cursor(r);
        while (ok && !end && !program_stopping) {
            ok = look_at_queued(r, 0, true, &end, e);
        }
        for (unsigned p = 0; ok && end && p < r->n_parts; p++) {
            if (marks[p].part && !marks[p].part->unlooked) {
                queue_mark_swept(r->q, p, marks[p].incarnation, on_marked, &marks[p]);
            }
        }
        queue_wait(r->q);
    }
    free(marks);
    return ok;
}

/* Jobs that wait in the stream of a device that serves nothing are met by no worker.  Those that
 * are too late, cancelled, or wait for a device that will not come are taken out. */
static bool
withdraw(struct reaper *r, struct err *e)
{
    struct sql q = {0};
    struct withdrawn w = {0};
    sql_addf(&q,
             "SELECT " WITHDRAW_COLUMNS ", IF('cancelled' IN (c.status, s.status, g.status), "
             "'cancelled', IF(m.expires_at < UTC_TIMESTAMP(3), 'expired', 'device-offline')) FROM "
             "devices d JOIN broadcast_messages m ON m.device_id = d.id AND m.status = 'queued' "
             "LEFT JOIN campaigns c ON c.id = m.campaign_id LEFT JOIN sequences s ON s.id = "
             "m.sequence_id LEFT JOIN recurring_messages g ON g.id = m.recurring_id WHERE d.status "
             "IN ('paused', 'offline', 'removed') AND (m.expires_at < UTC_TIMESTAMP(3) OR "
             "'cancelled' IN (c.status, s.status, g.status) OR d.status = 'removed' OR (d.status = "
             "'offline' AND d.when_offline = 'skip')) LIMIT %d",
             ROWS_A_BATCH);
    bool ok = withdraw_rows(r->db, r->q, &q, &w, e);
    sql_done(&q);
    return ok;
}

/* Of a cancelled source no job goes out any more; on a slow device, or one that is held, they would
 * wait long to be met. */
static bool
withdraw_cancelled(struct reaper *r, struct err *e)
{
    bool ok = true;
    for (int k = 0; ok && k < SOURCE_TABLES; k++) {
        struct sql q = {0};
        struct withdrawn w = {0};
        sql_text(&q, "SELECT " WITHDRAW_COLUMNS ", 'cancelled' FROM ");
        sql_text(&q, sources[k].table);
        sql_text(&q, " s STRAIGHT_JOIN broadcast_messages m ON m.");
        sql_text(&q, sources[k].column);
        sql_addf(&q,
                 " = s.id AND m.status = 'queued' WHERE s.status = 'cancelled' AND s.finished_at "
                 "IS NULL LIMIT %d",
                 ROWS_A_BATCH);
        ok = withdraw_rows(r->db, r->q, &q, &w, e);
        sql_done(&q);
    }
    return ok;
}

/* --- Redis -> rows
 * ------------------------------------------------------------------------------------- */

static bool
check_device(struct reaper *r, unsigned p, uint64_t device, struct err *e)
{
    struct queue_ids ids;
    int64_t fixed = 0;
    queue_ids(r->q, device, &ids, NULL, NULL);
    queue_repair(r->q, p, device, r->s->lease, &fixed, NULL, NULL);
    queue_wait(r->q);
    if (fixed) {
        log_info("repaired", "device", LOG_I(device), "things", LOG_I(fixed));
        metric_add(&reaper_metrics[M_REPAIR_KEYS], fixed);
    }
    bool ok = drop_strays(r, device, &ids, false, e);
    free(ids.ids);
    return ok;
}

/* A few devices a pass, round and round: a round takes audit_interval at the quickest. */
static bool
check_devices(struct reaper *r, struct err *e)
{
    if (clock_mono_ms() < r->next_audit) {
        return true;
    }
    for (size_t n = 0; n < DEVICES_A_PASS && r->device_part < r->n_parts;) {
        struct part *part = &r->parts[r->device_part];
        if (!part->devices) {
            struct queue_devices list;
            queue_devices(r->q, r->device_part, &list, NULL, NULL);
            queue_wait(r->q);
            part->devices = list.devices;
            part->n_devices = list.n;
            part->at_device = 0;
        }
        if (part->at_device >= part->n_devices) {
            free(part->devices);
            part->devices = NULL;
            r->device_part++;
            continue;
        }
        if (!check_device(r, r->device_part, part->devices[part->at_device], e)) {
            return false;
        }
        part->at_device++;
        n++;
    }
    if (r->device_part >= r->n_parts) {
        r->device_part = 0;
        r->next_audit = clock_mono_ms() + r->s->audit_interval;
        rewind_cursor(r); /* the rows are gone through again, too */
    }
    return true;
}

bool
reconcile_pass(struct reaper *r, struct err *e)
{
    bool end = false;
    if (!r->fresh_at[0]) {
        rewind_cursor(r);
    }
    if (!sweep_recovered(r, e) || !look_at_processing(r, e) ||
        (program_due(&r->next_withdraw, WITHDRAW_MS) &&
         !(withdraw(r, e) && withdraw_cancelled(r, e)))) {
        return false;
    }
    for (int i = 0; i < BATCHES_A_PASS && !end && !program_stopping; i++) {
        if (!look_at_queued(r, r->s->fresh_age, false, &end, e)) {
            return false;
        }
    }
    return check_devices(r, e);
}
