/* dispatch.c -- due rows become jobs, in three steps that survive the death of the producer after
 * each: claimed rows are staged in Redis, called queued in MySQL by compare-and-set, and activated.
 * Many devices share a transaction and a round trip; at most one claim of `claim_batch` rows is in
 * hand. */
#include "producer/campaign_plan.h"
#include "producer/producer.h"
#include "shared/clock.h"
#include "shared/device.h"
#include "shared/fault.h"
#include "shared/job.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum {
    DEVICES_A_PASS = 500,
    CALL_ITEMS = 50,
    FULL_REST_MS = 2000,
    EMPTY_REST_MS = 1000,
    LATER_MS = 2000
};

struct target {
    uint64_t device;
    int64_t room;
    struct device_pace pace;
    char *sender, *sender_ref;
    size_t claimed;
};

/* What the rows of one claim have in common, from campaigns. */
struct template
{
    uint64_t campaign;
    char *content;
    int64_t gap_min, gap_max, batch_size, batch_pause;
};

struct pass {
    struct producer *p;
    struct target *targets;
    size_t n_targets;
    struct template *templates;
    size_t n_templates, cap_templates;
    struct queue_push *items;
    struct buf *payloads;
    size_t n_items;
    char token[64];
    bool skip_locked;
    struct sql ids; /* "1,2,3" of the claim in hand */
    uint64_t jobs;
};

/* --- resting devices
 * ----------------------------------------------------------------------------------- */

static struct resting *
resting_slot(struct producer *p, uint64_t device)
{
    return &p->resting[device % (sizeof p->resting / sizeof *p->resting)];
}

static bool
rests(struct producer *p, uint64_t device)
{
    const struct resting *r = resting_slot(p, device);
    return r->device == device && r->until > clock_mono_ms();
}

static void
rest(struct producer *p, uint64_t device, int64_t ms)
{
    *resting_slot(p, device) = (struct resting){device, clock_mono_ms() + ms};
}

/* --- targets: devices, their pace and their room
 * -------------------------------------------------------- */

static void
targets_done(struct pass *x)
{
    for (size_t i = 0; i < x->n_targets; i++) {
        free(x->targets[i].sender);
        free(x->targets[i].sender_ref);
    }
    free(x->targets);
    x->targets = NULL;
    x->n_targets = 0;
}

static bool
read_targets(struct pass *x, const uint64_t *devices, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT d.id, d.sender, d.sender_ref, " DEVICE_PACE_COLUMNS
                 " FROM devices d WHERE d.id IN (");
    for (size_t i = 0; i < n; i++) {
        sql_text(&q, i ? "," : "");
        sql_uint(&q, devices[i]);
    }
    sql_text(&q, ") AND d.status = 'active' ORDER BY d.id");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    x->targets = xcalloc((size_t)r.count, sizeof *x->targets);
    while (rows_next(&r)) {
        struct target *t = &x->targets[x->n_targets++];
        t->device = rows_uint(&r, 0);
        t->sender = xstrdup(rows_str(&r, 1));
        t->sender_ref = xstrdup(rows_str(&r, 2));
        device_pace_read(&r, 3, &t->pace);
    }
    rows_done(&r);
    return true;
}

struct probe_call {
    struct queue_probe_device devices[QUEUE_BATCH_MAX];
    size_t index[QUEUE_BATCH_MAX];
    size_t n;
    unsigned partition;
    bool failed;
};

static void
on_probe(void *arg, const struct err *e)
{
    struct probe_call *c = arg;
    c->failed = e != NULL;
}

/* One pipelined call a partition asks for the depth of all targets. */
static void
read_rooms(struct pass *x)
{
    struct queue *q = x->p->q;
    unsigned n_partitions = queue_partitions(q);
    struct probe_call **open = xcalloc(n_partitions, sizeof *open);
    struct probe_call **calls = xcalloc(x->n_targets, sizeof *calls);
    size_t n_calls = 0;
    for (size_t i = 0; i < x->n_targets; i++) {
        unsigned p = queue_partition(q, x->targets[i].device);
        if (!open[p] || open[p]->n == QUEUE_BATCH_MAX) {
            open[p] = xcalloc(1, sizeof **open);
            open[p]->partition = p;
            calls[n_calls++] = open[p];
        }
        open[p]->devices[open[p]->n].device = x->targets[i].device;
        open[p]->index[open[p]->n++] = i;
    }
    for (size_t k = 0; k < n_calls; k++) {
        queue_probe(q, calls[k]->partition, false, calls[k]->devices, calls[k]->n, NULL, 0,
                    on_probe, calls[k]);
    }
    queue_wait(q);
    for (size_t k = 0; k < n_calls; k++) {
        struct probe_call *c = calls[k];
        for (size_t i = 0; i < c->n; i++) {
            x->targets[c->index[i]].room =
                plan_room(x->p->s->window, c->devices[i].known, c->devices[i].paused, !c->failed);
        }
        free(c);
    }
    free(calls);
    free(open);
}

/* Targets without room leave the pass. */
static void
keep_roomy(struct pass *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->n_targets; i++) {
        if (x->targets[i].room > 0) {
            struct target t = x->targets[kept];
            x->targets[kept] = x->targets[i];
            x->targets[i] = t;
            kept++;
        } else {
            rest(x->p, x->targets[i].device, FULL_REST_MS);
        }
    }
    for (size_t i = kept; i < x->n_targets; i++) {
        free(x->targets[i].sender);
        free(x->targets[i].sender_ref);
    }
    x->n_targets = kept;
}

/* --- the claim
 * ----------------------------------------------------------------------------------------- */

struct claim {
    struct pass *x;
    struct target *targets;
    size_t n_targets;
    const char *paused; /* " AND (..)" keeping rows of paused campaigns out, or "" */
    uint64_t rows;
};

static void
add_candidates(const struct claim *c, struct sql *q)
{
    for (size_t i = 0; i < c->n_targets; i++) {
        sql_text(q, i ? " UNION ALL (" : "(");
        sql_addf(q,
                 "SELECT id FROM broadcast_messages FORCE INDEX (messages_claim) WHERE status = "
                 "'pending' AND "
                 "device_id = %" PRIu64 " AND scheduled_at <= UTC_TIMESTAMP(3)",
                 c->targets[i].device);
        sql_text(q, c->paused);
        sql_addf(q, " ORDER BY scheduled_at, id LIMIT %" PRId64, c->targets[i].room);
        sql_text(q, c->x->skip_locked ? " FOR UPDATE SKIP LOCKED)" : ")");
    }
}

static int
by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Both dialects: find ids, then the compare-and-set by id, in id order so that claims cannot
 * deadlock with one another.  With SKIP LOCKED other producers' rows are not even looked at. */
static bool
claim_body(struct store *db, void *arg, struct err *e)
{
    struct claim *c = arg;
    struct sql q = {0}, *ids = &c->x->ids;
    struct rows r;
    c->rows = 0;
    sql_clear(ids);
    add_candidates(c, &q);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    uint64_t *list = xcalloc((size_t)r.count, sizeof *list);
    size_t n = 0;
    while (rows_next(&r)) {
        list[n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    qsort(list, n, sizeof *list, by_number);
    for (size_t i = 0; i < n; i++) {
        sql_text(ids, i ? "," : "");
        sql_uint(ids, list[i]);
    }
    free(list);
    if (n) {
        sql_text(&q, "UPDATE broadcast_messages SET status = 'processing', gen = gen + 1, "
                     "processing_worker_id = ");
        sql_str(&q, c->x->token);
        sql_text(&q, ", processing_started_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3) "
                     "WHERE id IN (");
        sql_text(&q, ids->text.data);
        sql_text(&q, ") AND status = 'pending'");
        ok = store_exec(db, &q, &c->rows, NULL, e);
        sql_done(&q);
    }
    return ok;
}

/* Campaigns that are paused or cancelled keep their rows. */
static bool
read_paused(struct producer *p, struct buf *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(p->db, &r, e,
                      "SELECT id FROM campaigns WHERE status = 'paused' UNION ALL SELECT id FROM "
                      "campaigns WHERE "
                      "status = 'cancelled' AND finished_at IS NULL")) {
        return false;
    }
    if (r.count) {
        buf_adds(ret, " AND (campaign_id IS NULL OR campaign_id NOT IN (");
        for (bool first = true; rows_next(&r); first = false) {
            buf_addf(ret, "%s%" PRIu64, first ? "" : ",", rows_uint(&r, 0));
        }
        buf_adds(ret, "))");
    }
    rows_done(&r);
    return true;
}

/* --- rows -> jobs
 * -------------------------------------------------------------------------------------- */

static const struct template *
find_template(const struct pass *x, uint64_t campaign)
{
    for (size_t i = 0; i < x->n_templates; i++) {
        if (x->templates[i].campaign == campaign) {
            return &x->templates[i];
        }
    }
    return NULL;
}

static int64_t
int_or(const struct rows *r, unsigned column)
{
    return r->field[column] ? rows_int(r, column) : -1;
}

static bool
read_templates(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q,
             "SELECT c.id, c.content, c.min_gap_ms, c.max_gap_ms, c.batch_size, c.batch_pause_ms "
             "FROM campaigns c "
             "WHERE c.id IN (SELECT DISTINCT campaign_id FROM broadcast_messages WHERE id IN (");
    sql_text(&q, x->ids.text.data);
    sql_text(&q, "))");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    while (rows_next(&r)) {
        if (find_template(x, rows_uint(&r, 0))) {
            continue;
        }
        VEC_GROW(x->templates, x->n_templates, x->cap_templates);
        x->templates[x->n_templates++] = (struct template){
            rows_uint(&r, 0), xstrdup(rows_str(&r, 1)), int_or(&r, 2), int_or(&r, 3), int_or(&r, 4),
            int_or(&r, 5),
        };
    }
    rows_done(&r);
    return true;
}

static struct target *
find_target(const struct pass *x, uint64_t device)
{
    size_t lo = 0, hi = x->n_targets;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (x->targets[mid].device < device) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < x->n_targets && x->targets[lo].device == device ? &x->targets[lo] : NULL;
}

static struct job_text
text(const char *s)
{
    return (struct job_text){s, strlen(s)};
}

/* A lead's attributes are a JSON object of strings, numbers and booleans; anything else in it is
 * left out. */
static json_t *
add_attributes(struct job *j, const char *attributes)
{
    json_t *object = attributes ? json_loads(attributes, 0, NULL) : NULL;
    const char *key;
    json_t *v;
    json_object_foreach(object, key, v)
    {
        if (j->n_vars == JOB_VARS_MAX) {
            break;
        }
        if (!json_is_string(v)) {
            char *s =
                json_is_number(v) || json_is_boolean(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
            if (!s || json_object_set_new(object, key, json_string(s)) != 0) {
                free(s);
                continue;
            }
            free(s);
            v = json_object_get(object, key);
        }
        j->vars[2 * j->n_vars] = text(key);
        j->vars[2 * j->n_vars + 1] = (struct job_text){json_string_value(v), json_string_length(v)};
        j->n_vars++;
    }
    return object;
}

static void
build_item(struct pass *x, const struct rows *r, size_t k)
{
    struct queue_push *item = &x->items[k];
    struct target *t = find_target(x, rows_uint(r, 2));
    const struct template *c = find_template(x, rows_uint(r, 4));
    *item = (struct queue_push){.row = rows_uint(r, 0),
                                .device = rows_uint(r, 2),
                                .gen = (uint32_t)rows_uint(r, 3),
                                .order = k};
    (void)snprintf(item->id, sizeof item->id, "%s", rows_str(r, 1));
    (void)campaign_source(rows_uint(r, 4), item->source);
    item->expires_in_ms = rows_int(r, 8);
    struct job j = {
        .row = item->row,
        .attempt = (uint32_t)rows_uint(r, 5) + 1,
        .user = rows_uint(r, 9),
        .device = item->device,
        .sender = text(t ? t->sender : ""),
        .device_ref = text(t ? t->sender_ref : ""),
        .recipient = text(rows_str(r, 6)),
        .name = text(rows_str(r, 7)),
        .content = text(r->field[10] ? rows_str(r, 10)
                        : c          ? c->content
                                     : ""),
        .gap_min_ms = c ? c->gap_min : -1,
        .gap_max_ms = c ? c->gap_max : -1,
        .batch_size = c ? c->batch_size : -1,
        .batch_pause_ms = c ? c->batch_pause : -1,
    };
    json_t *attributes = add_attributes(&j, r->field[11]);
    job_encode(&j, &x->payloads[k]);
    json_decref(attributes);
    item->payload = x->payloads[k].data;
    item->payload_len = x->payloads[k].len;
    item->pace = t ? &t->pace : NULL;
    if (t) {
        t->claimed++;
    }
}

static bool
read_jobs(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(
        &q,
        "SELECT m.id, m.job_id, m.device_id, m.gen, m.campaign_id, m.attempt, m.recipient_phone, "
        "m.recipient_name, IF(m.expires_at IS NULL, 0, GREATEST(1, TIMESTAMPDIFF(MICROSECOND, "
        "UTC_TIMESTAMP(3), m.expires_at) DIV 1000)), m.user_id, m.content, l.attributes FROM "
        "broadcast_messages m "
        "LEFT JOIN leads l ON l.id = m.lead_id WHERE m.id IN (");
    sql_text(&q, x->ids.text.data);
    sql_text(&q, ") AND m.status = 'processing' AND m.processing_worker_id = ");
    sql_str(&q, x->token);
    sql_text(&q, " ORDER BY m.device_id, m.scheduled_at, m.id");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    x->items = xcalloc((size_t)r.count, sizeof *x->items);
    x->payloads = xcalloc((size_t)r.count, sizeof *x->payloads);
    while (rows_next(&r)) {
        build_item(x, &r, x->n_items);
        x->n_items++;
    }
    rows_done(&r);
    return true;
}

static void
jobs_done(struct pass *x)
{
    for (size_t i = 0; i < x->n_items; i++) {
        buf_done(&x->payloads[i]);
    }
    free(x->payloads);
    free(x->items);
    x->payloads = NULL;
    x->items = NULL;
    x->n_items = 0;
}

/* --- stage, queued, activate
 * --------------------------------------------------------------------------- */

struct verb_call {
    struct queue_push *items;
    size_t n;
};

static void
on_stage(void *arg, const struct err *e)
{
    struct verb_call *c = arg;
    for (size_t i = 0; e && i < c->n; i++) {
        c->items[i].state = 0; /* nobody knows: the row goes back, the next claim stages anew */
    }
}

/* Items are in order of device; those of one partition are brought together, then sent CALL_ITEMS a
 * call. */
static int
by_partition(const void *a, const void *b, void *arg)
{
    const struct queue_push *x = a, *y = b;
    unsigned px = queue_partition(arg, x->device), py = queue_partition(arg, y->device);
    if (px != py) {
        return px < py ? -1 : 1;
    }
    if (x->device != y->device) {
        return x->device < y->device ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

static void
each_call(struct pass *x, bool activate)
{
    struct queue *q = x->p->q;
    struct verb_call *calls = xcalloc(x->n_items, sizeof *calls);
    size_t n_calls = 0;
    for (size_t i = 0; i < x->n_items;) {
        size_t n = 1;
        unsigned p = queue_partition(q, x->items[i].device);
        while (i + n < x->n_items && n < CALL_ITEMS &&
               queue_partition(q, x->items[i + n].device) == p) {
            n++;
        }
        struct verb_call *c = &calls[n_calls++];
        *c = (struct verb_call){&x->items[i], n};
        bool any = false;
        for (size_t k = 0; k < n; k++) {
            any = any || !c->items[k].skip;
        }
        if (any && activate) {
            queue_activate(q, p, c->items, n, x->p->s->window, NULL, NULL);
        } else if (any) {
            queue_stage(q, p, c->items, n, x->p->s->window, on_stage, c);
        }
        i += n;
    }
    queue_wait(q);
    free(calls);
}

/* Appends the ids of items with skip == skip; false when there are none. */
static bool
add_item_ids(const struct pass *x, struct sql *q, bool (*wanted)(const struct queue_push *))
{
    bool any = false;
    for (size_t i = 0; i < x->n_items; i++) {
        if (wanted(&x->items[i])) {
            sql_text(q, any ? "," : "");
            sql_uint(q, x->items[i].row);
            any = true;
        }
    }
    return any;
}

static bool
is_staged(const struct queue_push *item)
{
    return plan_fate(item->state) == FATE_QUEUE;
}

static bool
is_returned(const struct queue_push *item)
{
    return plan_fate(item->state) == FATE_RETURN;
}

static bool
is_later(const struct queue_push *item)
{
    return plan_fate(item->state) == FATE_LATER;
}

static bool
give_back(struct pass *x, bool (*wanted)(const struct queue_push *), int64_t later_ms,
          struct err *e)
{
    struct sql q = {0};
    uint64_t n = 0;
    bool ok = true;
    sql_addf(
        &q,
        "UPDATE broadcast_messages SET status = 'pending', scheduled_at = scheduled_at + INTERVAL "
        "IF(%" PRId64
        " > 0, GREATEST(0, TIMESTAMPDIFF(MICROSECOND, scheduled_at, UTC_TIMESTAMP(3)) + %" PRId64
        " * 1000), 0) MICROSECOND, updated_at = UTC_TIMESTAMP(3) WHERE id IN (",
        later_ms, later_ms);
    if (add_item_ids(x, &q, wanted)) {
        sql_addf(&q, ") AND status = 'processing' AND processing_worker_id = %s", x->token);
        ok = store_exec(x->p->db, &q, &n, NULL, e);
    }
    sql_done(&q);
    metric_add(&producer_metrics[M_RETURNED], (int64_t)n);
    return ok;
}

/* Those that are queued by this very token afterwards take part in activate; all others are
 * skipped. */
static bool
read_queued(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id FROM broadcast_messages WHERE id IN (");
    sql_text(&q, x->ids.text.data);
    sql_addf(&q, ") AND status = 'queued' AND processing_worker_id = %s", x->token);
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    uint64_t *list = xcalloc((size_t)r.count, sizeof *list);
    size_t n = 0;
    while (rows_next(&r)) {
        list[n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    qsort(list, n, sizeof *list, by_number);
    for (size_t i = 0; i < x->n_items; i++) {
        x->items[i].skip = !bsearch(&x->items[i].row, list, n, sizeof *list, by_number);
    }
    free(list);
    return true;
}

static bool
mark_queued(struct pass *x, struct err *e)
{
    struct sql q = {0};
    uint64_t n = 0, staged = 0;
    bool ok = true;
    for (size_t i = 0; i < x->n_items; i++) {
        x->items[i].skip = !is_staged(&x->items[i]);
        staged += x->items[i].skip ? 0 : 1;
    }
    sql_text(&q, "UPDATE broadcast_messages SET status = 'queued', queued_at = UTC_TIMESTAMP(3), "
                 "updated_at = UTC_TIMESTAMP(3) WHERE id IN (");
    if (add_item_ids(x, &q, is_staged)) {
        sql_addf(&q, ") AND status = 'processing' AND processing_worker_id = %s", x->token);
        ok = store_exec(x->p->db, &q, &n, NULL, e);
    }
    sql_done(&q);
    return ok && (n == staged || read_queued(x, e));
}

static bool
push(struct pass *x, struct err *e)
{
    qsort_r(x->items, x->n_items, sizeof *x->items, by_partition, x->p->q);
    each_call(x, false);
    FAULT("dispatch.staged");
    if (!mark_queued(x, e)) {
        return false;
    }
    FAULT("dispatch.queued");
    for (size_t i = 0; i < x->n_items; i++) {
        struct target *t = find_target(x, x->items[i].device);
        x->items[i].more = t && t->claimed >= (size_t)t->room;
    }
    char *before = xcalloc(1, x->n_items + 1);
    for (size_t i = 0; i < x->n_items; i++) {
        before[i] = x->items[i].state;
    }
    each_call(x, true);
    FAULT("dispatch.activated");
    for (size_t i = 0; i < x->n_items; i++) {
        x->jobs += !x->items[i].skip && x->items[i].state == '1';
        x->items[i].state = before[i];
    }
    free(before);
    return give_back(x, is_returned, 0, e) && give_back(x, is_later, LATER_MS, e);
}

/* --- the pass
 * ------------------------------------------------------------------------------------------ */

static bool
claim_and_push(struct pass *x, struct claim *c, struct err *e)
{
    struct producer *p = x->p;
    (void)snprintf(x->token, sizeof x->token, "%.40s-%" PRIu64, strchr(p->name, '/') + 1,
                   ++p->claims);
    if (!store_transact(p->db, claim_body, c, e)) {
        return err_wrap(e, "claim");
    }
    FAULT("dispatch.claimed");
    if (c->rows == 0) {
        return true;
    }
    bool ok = read_templates(x, e) && read_jobs(x, e) && push(x, e);
    jobs_done(x);
    return ok;
}

static bool
claim_all(struct pass *x, struct err *e)
{
    struct buf paused = {0};
    int64_t *rooms = xcalloc(x->n_targets, sizeof *rooms);
    bool ok = read_paused(x->p, &paused, e) && store_has_skip_locked(x->p->db, &x->skip_locked, e);
    for (size_t i = 0; i < x->n_targets; i++) {
        rooms[i] = x->targets[i].room;
    }
    for (size_t at = 0; ok && at < x->n_targets && !program_stopping;) {
        struct claim c = {
            .x = x, .targets = x->targets + at, .paused = paused.data ? paused.data : ""};
        c.n_targets = plan_claim(rooms, x->n_targets, at, x->p->s->claim_batch);
        for (size_t i = 0; i < c.n_targets; i++) {
            c.targets[i].room = rooms[at + i];
        }
        ok = claim_and_push(x, &c, e);
        for (size_t i = 0; ok && i < c.n_targets; i++) {
            if (c.targets[i].claimed == 0) {
                rest(x->p, c.targets[i].device, EMPTY_REST_MS);
            }
        }
        at += c.n_targets;
    }
    free(rooms);
    buf_done(&paused);
    return ok;
}

static bool
dispatch(struct producer *p, const uint64_t *devices, size_t n, uint64_t *ret_jobs, struct err *e)
{
    struct pass x = {.p = p};
    if (n == 0) {
        return true;
    }
    bool ok = read_targets(&x, devices, n, e);
    if (ok) {
        read_rooms(&x);
        keep_roomy(&x);
        ok = claim_all(&x, e);
    }
    *ret_jobs += x.jobs;
    metric_add(&producer_metrics[M_JOBS], (int64_t)x.jobs);
    for (size_t i = 0; i < x.n_templates; i++) {
        free(x.templates[i].content);
    }
    free(x.templates);
    sql_done(&x.ids);
    targets_done(&x);
    return ok;
}

static bool
dispatch_list(struct producer *p, const uint64_t *devices, size_t n, uint64_t *ret_jobs,
              struct err *e)
{
    for (size_t at = 0; at < n && !program_stopping; at += DEVICES_A_PASS) {
        if (!dispatch(p, devices + at, n - at < DEVICES_A_PASS ? n - at : DEVICES_A_PASS, ret_jobs,
                      e)) {
            return false;
        }
    }
    return true;
}

bool
dispatch_hungry(struct producer *p, uint64_t *ret_jobs, struct err *e)
{
    unsigned n_partitions = queue_partitions(p->q);
    struct queue_hungry *h = xcalloc(n_partitions, sizeof *h);
    uint64_t *devices = xcalloc((size_t)n_partitions * QUEUE_BATCH_MAX, sizeof *devices);
    size_t n = 0;
    for (unsigned i = 0; i < n_partitions; i++) {
        queue_hungry(p->q, i, &h[i], NULL, NULL);
    }
    queue_wait(p->q);
    for (unsigned i = 0; i < n_partitions; i++) {
        memcpy(devices + n, h[i].devices, h[i].n * sizeof *devices);
        n += h[i].n;
    }
    bool ok = dispatch_list(p, devices, n, ret_jobs, e);
    free(devices);
    free(h);
    return ok;
}

bool
dispatch_sweep(struct producer *p, uint64_t *ret_jobs, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            p->db, &r, e,
            "SELECT d.id FROM devices d WHERE d.status = 'active' AND EXISTS (SELECT 1 FROM "
            "broadcast_messages m WHERE m.status = 'pending' AND m.device_id = d.id AND "
            "m.scheduled_at <= UTC_TIMESTAMP(3)) ORDER BY d.id")) {
        return false;
    }
    uint64_t *devices = xcalloc((size_t)r.count, sizeof *devices);
    size_t n = 0;
    metric_set(&producer_metrics[M_BACKLOG], (int64_t)r.count);
    while (rows_next(&r)) {
        uint64_t device = rows_uint(&r, 0);
        if (!rests(p, device)) {
            devices[n++] = device;
        }
    }
    rows_done(&r);
    bool ok = dispatch_list(p, devices, n, ret_jobs, e);
    free(devices);
    return ok;
}
