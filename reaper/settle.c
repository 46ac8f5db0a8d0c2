/* settle.c -- results become rows.  Read from the results streams by the group `ledger`, applied to
 * locked rows in one transaction a batch, committed, and only then forgotten by Redis.  A reaper
 * that dies in between leaves results that any other applies again, without change.
 *
 * Over 500 lines because one transaction is read from top to bottom here: what locks the rows, what
 * is decided, what is written. */
#include "reaper/settle.h"

#include "reaper/opt_out.h"
#include "shared/backoff.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/receipt.h"
#include "shared/source.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { READ_A_PARTITION = 100, FORGET_ITEMS = 50, STUCK_MS = 10000, MAX_ATTEMPTS = 5 };

void
sql_ids(struct sql *q, const uint64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sql_text(q, i ? "," : "");
        sql_uint(q, ids[i]);
    }
}

/* --- reading
 * ------------------------------------------------------------------------------------------- */

/* All partitions in one pipelined round trip; the caller frees *ret. */
static size_t
read_results(struct reaper *r, bool stuck, struct settle_entry **ret)
{
    struct queue_result *all = xcalloc((size_t)r->n_parts * READ_A_PARTITION, sizeof *all);
    size_t *n = xcalloc(r->n_parts, sizeof *n), total = 0;
    for (unsigned p = 0; p < r->n_parts; p++) {
        if (queue_state(r->q, p) == PARTITION_OPEN) {
            queue_results(r->q, p, stuck, STUCK_MS, all + (size_t)p * READ_A_PARTITION,
                          READ_A_PARTITION, &n[p], NULL, NULL);
        }
    }
    queue_wait(r->q);
    for (unsigned p = 0; p < r->n_parts; p++) {
        total += n[p];
    }
    *ret = xcalloc(total, sizeof **ret);
    size_t k = 0;
    for (unsigned p = 0; p < r->n_parts; p++) {
        for (size_t i = 0; i < n[p]; i++) {
            (*ret)[k++].r = all[(size_t)p * READ_A_PARTITION + i];
        }
    }
    free(all);
    free(n);
    return total;
}

/* --- one transaction
 * ----------------------------------------------------------------------------------- */

static int
by_row(const void *a, const void *b)
{
    const struct settle_entry *x = a, *y = b;
    if (x->r.row != y->r.row) {
        return x->r.row < y->r.row ? -1 : 1;
    }
    /* Results of one row in the order in which they were written. */
    unsigned long long s[2] = {0}, t[2] = {0};
    (void)sscanf(x->r.entry, "%llu-%llu", &s[0], &s[1]);
    (void)sscanf(y->r.entry, "%llu-%llu", &t[0], &t[1]);
    int i = s[0] == t[0] ? 1 : 0;
    return s[i] < t[i] ? -1 : s[i] > t[i];
}

/* A result without its row's number (its stream entry was lost with Redis' data) is found by its
 * job id. */
static bool
find_rows(struct store *db, struct settle_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct rows r;
        if (b->e[i].r.row || settle_is_check(&b->e[i].r)) {
            continue;
        }
        if (!store_queryf(db, &r, e, "SELECT id FROM broadcast_messages WHERE job_id = %s",
                          b->e[i].r.id)) {
            return false;
        }
        if (rows_next(&r)) {
            b->e[i].r.row = rows_uint(&r, 0);
        }
        rows_done(&r);
    }
    qsort(b->e, b->n, sizeof *b->e, by_row);
    return true;
}

static bool
lock_rows(struct store *db, struct settle_batch *b, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT m.id, m.status, m.gen, m.attempt, m.deferrals, m.unknowns, "
                 "m.kind, " SOURCE_ID_SQL " FROM broadcast_messages m WHERE m.id IN (");
    for (size_t i = 0; i < b->n; i++) {
        sql_text(&q, i ? "," : "");
        sql_uint(&q, b->e[i].r.row);
        b->e[i].found = false;
    }
    sql_text(&q, ") ORDER BY m.id FOR UPDATE");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    for (size_t i = 0; rows_next(&r);) {
        uint64_t id = rows_uint(&r, 0);
        while (i < b->n && b->e[i].r.row < id) {
            i++;
        }
        for (; i < b->n && b->e[i].r.row == id; i++) {
            struct ledger_row *row = &b->e[i].row;
            *row = (struct ledger_row){
                .id = id,
                .gen = (uint32_t)rows_uint(&r, 2),
                .attempt = (uint32_t)rows_uint(&r, 3),
                .deferrals = (uint32_t)rows_uint(&r, 4),
                .unknowns = (uint32_t)rows_uint(&r, 5),
                .max_attempts = MAX_ATTEMPTS,
            };
            b->e[i].kind = source_kind_parse(rows_str(&r, 6));
            b->e[i].source = rows_uint(&r, 7);
            b->e[i].found = row_status_parse(rows_str(&r, 1), &row->status);
        }
    }
    rows_done(&r);
    return true;
}

/* What the sources of one kind say of attempts and unknown outcomes. */
static bool
read_policies_of(struct store *db, struct settle_batch *b, enum source_kind kind, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    uint64_t last = 0;
    sql_text(&q, "SELECT id, max_attempts, on_unknown FROM ");
    sql_text(&q, sources[kind].table);
    sql_text(&q, " WHERE id IN (");
    for (size_t i = 0; i < b->n; i++) {
        if (b->e[i].found && b->e[i].kind == kind && b->e[i].source != last) {
            sql_text(&q, last ? "," : "");
            last = b->e[i].source;
            sql_uint(&q, last);
        }
    }
    sql_text(&q, ")");
    bool ok = last == 0 || store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok || last == 0) {
        return ok;
    }
    while (rows_next(&r)) {
        for (size_t i = 0; i < b->n; i++) {
            if (b->e[i].kind == kind && b->e[i].source == rows_uint(&r, 0)) {
                b->e[i].row.max_attempts = (uint32_t)rows_uint(&r, 1);
                b->e[i].row.policy = unknown_policy_parse(rows_str(&r, 2));
            }
        }
    }
    rows_done(&r);
    return true;
}

/* Read without locks, which a pause would wait for.  A direct message has no source that could say
 * anything: MAX_ATTEMPTS, and its unknown outcome is held. */
static bool
read_policies(struct store *db, struct settle_batch *b, struct err *e)
{
    for (int k = 0; k < SOURCE_TABLES; k++) {
        if (!read_policies_of(db, b, (enum source_kind)k, e)) {
            return false;
        }
    }
    return true;
}

/* An earlier result of the batch has called another lease's attempt at this generation unknown. */
static bool
is_others_in_batch(const struct settle_batch *b, size_t i)
{
    const struct queue_result *r = &b->e[i].r;
    for (size_t k = i; k-- > 0 && b->e[k].r.row == r->row;) {
        const struct queue_result *x = &b->e[k].r;
        if (strcmp(x->kind, "unknown") == 0 && x->gen == r->gen && x->token &&
            x->token != r->token) {
            return true;
        }
    }
    return false;
}

/* An attempt has one outcome: what calls it unknown is out of date once that has been written.  And
 * whoever comes late speaks of his own attempt only: a lease that was given back before the permit
 * knows nothing of what became of the next one. */
static bool
was_applied(struct store *db, struct settle_batch *b, size_t i, struct err *e)
{
    struct settle_entry *x = &b->e[i];
    bool late = x->r.late && strcmp(x->r.kind, "unknown") != 0;
    struct rows r;
    if (!store_queryf(db, &r, e,
                      "SELECT COALESCE(SUM(token = %" PRIu64
                      " AND event IN ('sent', 'failed', 'retry', 'deferred', %s)), 0), "
                      "COALESCE(SUM(event = 'unknown' AND token NOT IN (0, %" PRIu64
                      ")), 0) FROM message_events WHERE message_id = %" PRIu64 " AND gen = %u",
                      x->r.token, x->r.kind, x->r.token, x->row.id, x->r.gen)) {
        return false;
    }
    x->row.applied = rows_next(&r) && (rows_int(&r, 0) > 0 || (late && rows_int(&r, 1) > 0));
    x->row.applied = x->row.applied || (late && is_others_in_batch(b, i));
    rows_done(&r);
    return true;
}

/* Decides for each result; several results of one row are applied one after another. */
static bool
decide(struct store *db, struct settle_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct settle_entry *x = &b->e[i];
        x->a = (struct settle_action){.change = false};
        if (settle_is_check(&x->r)) {
            continue;
        }
        if (!x->found) {
            log_warn("result_without_row", "job", LOG_S(x->r.id), "kind", LOG_S(x->r.kind));
            continue;
        }
        if (i && b->e[i - 1].found && b->e[i - 1].r.row == x->r.row && b->e[i - 1].a.change) {
            const struct settle_action *before = &b->e[i - 1].a;
            x->row.status = before->status;
            x->row.attempt = before->attempt;
            x->row.deferrals = before->deferrals;
            x->row.unknowns = before->unknowns;
        }
        if (settle_asks(&x->row, &x->r) && !was_applied(db, b, i, e)) {
            return false;
        }
        x->a = settle_plan(&x->row, &x->r, &b->reaper->rules, random_u64());
        x->fresh = x->a.change;
        x->from = &x->r;
        if (!x->a.change && i && b->e[i - 1].r.row == x->r.row) {
            x->a = b->e[i - 1].a; /* the last one of a row is written */
            x->from = b->e[i - 1].from;
        }
    }
    return true;
}

/* Only the last result of a row is written. */
static bool
is_written(const struct settle_batch *b, size_t i, enum row_status status)
{
    return b->e[i].a.change && b->e[i].a.status == status &&
           (i + 1 == b->n || b->e[i + 1].r.row != b->e[i].r.row);
}

typedef void add_value(struct sql *q, const struct settle_entry *x);

static void
value_attempt(struct sql *q, const struct settle_entry *x)
{
    sql_uint(q, x->a.attempt);
}

static void
value_deferrals(struct sql *q, const struct settle_entry *x)
{
    sql_uint(q, x->a.deferrals);
}

static void
value_unknowns(struct sql *q, const struct settle_entry *x)
{
    sql_uint(q, x->a.unknowns);
}

static void
value_provider_id(struct sql *q, const struct settle_entry *x)
{
    sql_str(q, x->from->provider_id[0] ? x->from->provider_id : NULL);
}

static void
value_code(struct sql *q, const struct settle_entry *x)
{
    sql_str(q, x->from->code[0] ? x->from->code : x->from->kind);
}

static void
value_text(struct sql *q, const struct settle_entry *x)
{
    sql_str(q, x->from->text[0] ? x->from->text : NULL);
}

static void
value_age(struct sql *q, const struct settle_entry *x)
{
    sql_int(q, x->from->age_ms * 1000);
}

static void
value_due(struct sql *q, const struct settle_entry *x)
{
    if (x->a.due_in_ms < 0) {
        sql_text(q, "scheduled_at"); /* its place in the device's order is kept */
    } else {
        sql_addf(q, "GREATEST(scheduled_at, UTC_TIMESTAMP(3) + INTERVAL %" PRId64 " MICROSECOND)",
                 x->a.due_in_ms * 1000);
    }
}

static void
value_decide(struct sql *q, const struct settle_entry *x)
{
    if (x->a.decide_in_ms < 0) {
        sql_text(q, "NULL");
    } else {
        sql_int(q, x->a.decide_in_ms * 1000);
    }
}

/* One value for all rows of a status, or a CASE by id where they differ. */
static void
add_column(struct sql *q, const struct settle_batch *b, enum row_status status, add_value *value)
{
    struct sql one = {0}, first = {0};
    bool same = true;
    for (size_t i = 0; i < b->n && same; i++) {
        if (is_written(b, i, status)) {
            sql_clear(&one);
            value(&one, &b->e[i]);
            if (!first.text.len) {
                sql_text(&first, one.text.data);
            }
            same = strcmp(first.text.data, one.text.data) == 0;
        }
    }
    if (same) {
        sql_text(q, first.text.data);
    } else {
        sql_text(q, "CASE id");
        for (size_t i = 0; i < b->n; i++) {
            if (is_written(b, i, status)) {
                sql_addf(q, " WHEN %" PRIu64 " THEN ", b->e[i].row.id);
                value(q, &b->e[i]);
            }
        }
        sql_text(q, " END");
    }
    sql_done(&one);
    sql_done(&first);
}

static void
add_assignments(struct sql *q, const struct settle_batch *b, enum row_status status)
{
    sql_addf(q, "UPDATE broadcast_messages SET status = %s, attempt = ", row_status_name(status));
    add_column(q, b, status, value_attempt);
    sql_text(q, ", deferrals = ");
    add_column(q, b, status, value_deferrals);
    sql_text(q, ", unknowns = ");
    add_column(q, b, status, value_unknowns);
    sql_text(q, ", updated_at = UTC_TIMESTAMP(3)");
    if (status == ROW_SENT) {
        sql_text(
            q,
            ", error_class = NULL, error_message = NULL, decide_at = NULL, provider_message_id = ");
        add_column(q, b, status, value_provider_id);
        sql_text(q, ", sent_at = UTC_TIMESTAMP(3) - INTERVAL ");
        add_column(q, b, status, value_age);
        sql_text(q, " MICROSECOND");
        return;
    }
    sql_text(q, ", error_class = ");
    add_column(q, b, status, value_code);
    sql_text(q, ", error_message = ");
    add_column(q, b, status, value_text);
    if (status == ROW_PENDING) {
        sql_text(q, ", scheduled_at = ");
        add_column(q, b, status, value_due);
    } else if (status == ROW_UNKNOWN) {
        sql_text(q, ", decide_at = UTC_TIMESTAMP(3) + INTERVAL ");
        add_column(q, b, status, value_decide);
        sql_text(q, " MICROSECOND");
    }
}

static bool
write_rows(struct store *db, const struct settle_batch *b, enum row_status status, struct err *e)
{
    struct sql q = {0};
    uint64_t *ids = xcalloc(b->n, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (is_written(b, i, status)) {
            ids[n++] = b->e[i].row.id;
        }
    }
    bool ok = true;
    if (n) {
        add_assignments(&q, b, status);
        sql_text(&q, " WHERE id IN (");
        sql_ids(&q, ids, n);
        sql_text(&q, ")");
        ok = store_exec(db, &q, NULL, NULL, e);
    }
    free(ids);
    sql_done(&q);
    return ok;
}

static bool
write_events(struct store *db, const struct settle_batch *b, struct err *e)
{
    struct sql q = {0};
    bool any = false;
    sql_text(&q, "INSERT IGNORE INTO message_events (message_id, gen, token, event, actor, "
                 "happened_at, code, detail, "
                 "send_ms) VALUES ");
    for (size_t i = 0; i < b->n; i++) {
        const struct queue_result *r = &b->e[i].r;
        if (!b->e[i].found) {
            continue;
        }
        sql_text(&q, any ? ",(" : "(");
        any = true;
        sql_addf(&q,
                 "%" PRIu64 ",%u,%" PRIu64 ",%s,%s,UTC_TIMESTAMP(3) - INTERVAL %" PRId64
                 " MICROSECOND,%s,%s,%" PRId64 ")",
                 b->e[i].row.id, r->gen, r->token, r->kind, r->by, r->age_ms * 1000, r->code,
                 r->text, r->send_ms);
    }
    bool ok = !any || store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* A refusal because its recipient wants no such messages. */
static bool
opt_out_refused(struct store *db, const struct settle_batch *b, struct err *e)
{
    uint64_t *ids = xcalloc(b->n, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->e[i].found && strcmp(b->e[i].r.kind, "failed") == 0 &&
            receipt_code_is_opt_out(b->e[i].r.code)) {
            ids[n++] = b->e[i].row.id;
        }
    }
    bool ok = opt_out_rows(db, ids, n, e);
    free(ids);
    return ok;
}

static bool
settle_body(struct store *db, void *arg, struct err *e)
{
    static const enum row_status written[] = {ROW_SENT, ROW_FAILED, ROW_PENDING, ROW_SKIPPED,
                                              ROW_UNKNOWN};
    struct settle_batch *b = arg;
    if (!find_rows(db, b, e) || !lock_rows(db, b, e) || !read_policies(db, b, e) ||
        !decide(db, b, e)) {
        return false;
    }
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        if (!write_rows(db, b, written[i], e)) {
            return false;
        }
    }
    if (!write_events(db, b, e) || !settle_holds(db, b, e) || !opt_out_refused(db, b, e)) {
        return false;
    }
    FAULT("settle.applied");
    return true;
}

/* --- after the commit
 * ---------------------------------------------------------------------------------- */

static void
count(const struct settle_batch *b)
{
    static const int metric_of[] = {[ROW_SENT] = M_SETTLED_SENT,
                                    [ROW_FAILED] = M_SETTLED_FAILED,
                                    [ROW_PENDING] = M_SETTLED_PENDING,
                                    [ROW_SKIPPED] = M_SETTLED_SKIPPED,
                                    [ROW_UNKNOWN] = M_SETTLED_UNKNOWN};
    for (size_t i = 0; i < b->n; i++) {
        metric_add(&reaper_metrics[b->e[i].a.change ? metric_of[b->e[i].a.status] : M_UNCHANGED],
                   1);
    }
}

static int
by_partition(const void *a, const void *b, void *arg)
{
    const struct queue_result *x = a, *y = b;
    unsigned p = queue_partition(arg, x->device), q = queue_partition(arg, y->device);
    return p < q ? -1 : p > q;
}

static void
forget(struct reaper *r, const struct settle_batch *b)
{
    struct queue_result *list = xcalloc(b->n, sizeof *list);
    for (size_t i = 0; i < b->n; i++) {
        list[i] = b->e[i].r;
    }
    qsort_r(list, b->n, sizeof *list, by_partition, r->q);
    for (size_t i = 0; i < b->n;) {
        size_t n = 1;
        unsigned p = queue_partition(r->q, list[i].device);
        while (i + n < b->n && n < FORGET_ITEMS && queue_partition(r->q, list[i + n].device) == p) {
            n++;
        }
        queue_forget(r->q, p, list + i, n, NULL, NULL);
        i += n;
    }
    queue_wait(r->q);
    free(list);
}

/* One transaction; then Redis forgets. */
static bool
settle(struct reaper *r, struct settle_batch *b, struct err *e)
{
    int64_t began = clock_mono_us();
    if (!store_transact(r->db, settle_body, b, e)) {
        return false;
    }
    FAULT("settle.committed");
    forget(r, b);
    FAULT("settle.forgotten");
    count(b);
    metric_observe_us(&reaper_metrics[M_SETTLE], clock_mono_us() - began);
    return true;
}

/* A batch that the database refuses is written one by one; what it refuses alone stays in the
 * stream, in sight, and in nobody's way. */
static bool
settle_apart(struct reaper *r, struct settle_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct settle_batch one = {r, b->e + i, 1};
        *e = (struct err){0};
        if (settle(r, &one, e)) {
            continue;
        }
        if (e->kind != ERR_REFUSED) {
            return false;
        }
        log_error("result_refused", "job", LOG_S(one.e->r.id), "entry", LOG_S(one.e->r.entry),
                  "why", LOG_S(e->text));
    }
    *e = (struct err){0};
    return true;
}

bool
settle_pass(struct reaper *r, bool stuck, size_t *ret_n, struct err *e)
{
    struct settle_entry *entries;
    size_t n = read_results(r, stuck, &entries), batch = (size_t)r->s->settle_batch;
    bool ok = true;
    for (size_t at = 0; ok && at < n;) {
        struct settle_batch b = {r, entries + at, n - at < batch ? n - at : batch};
        ok = settle(r, &b, e) || (e->kind == ERR_REFUSED && settle_apart(r, &b, e));
        at += b.n;
    }
    free(entries);
    *ret_n += n;
    return ok;
}
