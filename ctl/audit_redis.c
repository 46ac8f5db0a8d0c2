/* audit_redis.c -- MySQL and Redis compared while both are at work.
 *
 * Nothing is locked, so each suspicion is proved by a second look from the side it came from: a row
 * that was queued under a generation before and after a look at Redis must have been known there in
 * between, and a job that was in one state before and after a look at its row must fit that row. */
#include "ctl/audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 100, ROWS_A_QUERY = 500, TRIES = 5 };

struct known { /* a job in Redis, and its row */
    struct queue_id job;
    uint64_t device, row;
    char status[16]; /* "" = no row */
    bool suspect;
};

struct queued { /* a row */
    uint64_t row, device;
    unsigned gen;
    char job[JOB_ID_SIZE];
};

struct chunk {
    struct audit *a;
    uint64_t devices[CHUNK];
    size_t n;
    struct known *known; /* sorted by job */
    size_t n_known;
    struct queued *queued;
    size_t n_queued;
};

/* --- reading -------------------------------------------------------------------------- */

static int
by_job(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    return strcmp(x->job.id, y->job.id);
}

/* The jobs that Redis knows of the chunk's devices; the caller frees *ret. */
static bool
read_known(const struct chunk *k, struct known **ret, size_t *ret_n, struct err *e)
{
    struct queue_ids ids[CHUNK] = {0};
    struct err why = {0};
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++) {
        queue_ids(k->a->c->queue, k->devices[i], &ids[i], ctl_asked, &why);
    }
    queue_wait(k->a->c->queue);
    for (size_t i = 0; i < k->n; i++) {
        n += ids[i].n;
    }
    *ret = xcalloc(n + 1, sizeof **ret);
    *ret_n = 0;
    for (size_t i = 0; i < k->n; i++) {
        for (size_t j = 0; j < ids[i].n; j++) {
            (*ret)[(*ret_n)++] = (struct known){.job = ids[i].ids[j], .device = k->devices[i]};
        }
        free(ids[i].ids);
    }
    qsort(*ret, n, sizeof **ret, by_job);
    if (why.kind) {
        *e = why;
    }
    return !why.kind;
}

static struct known *
find_job(struct known *list, size_t n, const char *job)
{
    struct known key = {.device = 0};
    (void)snprintf(key.job.id, sizeof key.job.id, "%s", job);
    return n ? bsearch(&key, list, n, sizeof *list, by_job) : NULL;
}

static bool
read_queued(struct chunk *k, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id, device_id, gen, job_id FROM broadcast_messages WHERE status = "
                 "'queued' AND device_id IN (");
    for (size_t i = 0; i < k->n; i++) {
        sql_text(&q, i ? ", " : "");
        sql_uint(&q, k->devices[i]);
    }
    sql_addf(&q, ") AND user_id = %" PRIu64, k->a->c->user_id);
    bool ok = store_query(k->a->c->store, &q, &r, e);
    sql_done(&q);
    k->queued = xcalloc(ok ? (size_t)r.count + 1 : 1, sizeof *k->queued);
    while (ok && rows_next(&r)) {
        struct queued *x = &k->queued[k->n_queued++];
        x->row = rows_uint(&r, 0);
        x->device = rows_uint(&r, 1);
        x->gen = (unsigned)rows_uint(&r, 2);
        (void)snprintf(x->job, sizeof x->job, "%s", rows_str(&r, 3));
    }
    rows_done(&r);
    return ok;
}

/* --- queued rows, of which Redis has to know ------------------------------------------ */

/* "W 3 1763-0" -> 3 */
static unsigned
state_gen(const char *state)
{
    return (unsigned)strtoul(state + (*state != '\0'), NULL, 10);
}

/* Those suspects that are queued under the same generation still. */
static bool
prove_queued(struct chunk *k, const struct queued *list, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id, gen, job_id FROM broadcast_messages WHERE status = 'queued' AND (id, "
                 "gen) IN (");
    for (size_t i = 0; i < n; i++) {
        sql_addf(&q, i ? ", (%" PRIu64 ", %u)" : "(%" PRIu64 ", %u)", list[i].row, list[i].gen);
    }
    sql_text(&q, ")");
    bool ok = store_query(k->a->c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        const struct known *there = find_job(k->known, k->n_known, rows_str(&r, 2));
        audit_found(k->a, "queued", rows_uint(&r, 0),
                    "job %s is queued with generation %s, and Redis %s%s", rows_str(&r, 2),
                    rows_str(&r, 1), there ? "has it as: " : "does not know it",
                    there ? there->job.state : "");
    }
    rows_done(&r);
    return ok;
}

static bool
check_queued(struct chunk *k, struct err *e)
{
    struct queued suspects[ROWS_A_QUERY];
    size_t n = 0;
    for (size_t i = 0; i < k->n_queued; i++) {
        const struct known *there = find_job(k->known, k->n_known, k->queued[i].job);
        if (!there || state_gen(there->job.state) != k->queued[i].gen) {
            suspects[n++] = k->queued[i];
        }
        if (n == ROWS_A_QUERY || (n && i + 1 == k->n_queued)) {
            if (!prove_queued(k, suspects, n, e)) {
                return false;
            }
            n = 0;
        }
    }
    return true;
}

/* --- jobs in Redis, to which rows have to fit ----------------------------------------- */

static bool
read_rows(const struct chunk *k, size_t from, size_t to, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT job_id, id, status FROM broadcast_messages WHERE job_id IN (");
    for (size_t i = from; i < to; i++) {
        sql_text(&q, i > from ? ", " : "");
        sql_str(&q, k->known[i].job.id);
    }
    sql_text(&q, ")");
    bool ok = store_query(k->a->c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        struct known *x = find_job(k->known, k->n_known, rows_str(&r, 0));
        if (x) {
            x->row = rows_uint(&r, 1);
            (void)snprintf(x->status, sizeof x->status, "%s", rows_str(&r, 2));
        }
    }
    rows_done(&r);
    return ok;
}

static bool
is_settled(const struct known *x)
{
    return strchr("DRU", x->job.state[0]) != NULL;
}

/* Waiting or with a worker: its row is queued, or still processing where a producer died half-way.
 * Staged: its row may be given back already.  Settled: its result is on the way, see prove_known().
 */
static bool
fits(const struct known *x)
{
    bool open = strcmp(x->status, "queued") == 0 || strcmp(x->status, "processing") == 0;
    return open || (x->job.state[0] == 'S' && strcmp(x->status, "pending") == 0);
}

static void
report_known(struct audit *a, const struct known *x)
{
    if (is_settled(x)) {
        audit_found(a, "settled", x->row,
                    "job %s is settled in Redis (%s), and its result is in no stream", x->job.id,
                    x->job.state);
    } else if (!*x->status) {
        audit_found(a, "stray", 0, "job %s is in Redis (%s), and has no row", x->job.id,
                    x->job.state);
    } else {
        audit_found(a, "stray", x->row, "job %s is in Redis (%s), and its row is %s", x->job.id,
                    x->job.state, x->status);
    }
}

/* Looks again: only what has not moved since is reported.  A settled job is in order as long as its
 * partition has results that wait for a reaper. */
static bool
prove_known(struct chunk *k, struct err *e)
{
    struct queue *queue = k->a->c->queue;
    struct queue_depths *depths = xcalloc(queue_partitions(queue), sizeof *depths);
    struct known *now = NULL;
    size_t n = 0;
    struct err why = {0};
    for (unsigned p = 0; p < queue_partitions(queue); p++) {
        queue_depths(queue, p, &depths[p], ctl_asked, &why);
    }
    queue_wait(queue);
    bool ok = why.kind ? err_set(e, why.kind, "%s", why.text) : read_known(k, &now, &n, e);
    for (size_t i = 0; ok && i < k->n_known; i++) {
        const struct known *x = &k->known[i];
        const struct known *again = x->suspect ? find_job(now, n, x->job.id) : NULL;
        bool still = again && strcmp(again->job.state, x->job.state) == 0;
        if (still && (!is_settled(x) || depths[queue_partition(queue, x->device)].results == 0)) {
            report_known(k->a, x);
        }
    }
    free(now);
    free(depths);
    return ok;
}

static bool
check_known(struct chunk *k, struct err *e)
{
    bool any = false;
    for (size_t i = 0; i < k->n_known; i += ROWS_A_QUERY) {
        size_t to = i + ROWS_A_QUERY < k->n_known ? i + ROWS_A_QUERY : k->n_known;
        if (!read_rows(k, i, to, e)) {
            return false;
        }
    }
    for (size_t i = 0; i < k->n_known; i++) {
        k->known[i].suspect = is_settled(&k->known[i]) || !fits(&k->known[i]);
        any = any || k->known[i].suspect;
    }
    return !any || prove_known(k, e);
}

/* --- a device's own count ------------------------------------------------------------- */

static int64_t
count_held(const struct queue_ids *ids)
{
    int64_t n = 0;
    for (size_t i = 0; i < ids->n; i++) {
        n += ids->ids[i].state[0] == 'L' || ids->ids[i].state[0] == 'P';
    }
    return n;
}

/* The number behind "in_flight " on a line of its own. */
static int64_t
read_in_flight(const struct buf *info)
{
    const char *p = info->data ? info->data : "";
    while (p && strncmp(p, "in_flight ", 10) != 0) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return p ? strtoll(p + 10, NULL, 10) : 0;
}

/* Both in one round trip; a device that is busy is looked at until the two agree. */
static bool
check_device(struct audit *a, uint64_t device, struct err *e)
{
    int64_t held = 0, counted = 0;
    for (int i = 0; i < TRIES; i++) {
        struct buf info = {0};
        struct queue_ids ids = {0};
        struct err why = {0};
        queue_device_info(a->c->queue, device, &info, ctl_asked, &why);
        queue_ids(a->c->queue, device, &ids, ctl_asked, &why);
        queue_wait(a->c->queue);
        held = count_held(&ids);
        counted = read_in_flight(&info);
        free(ids.ids);
        buf_done(&info);
        if (why.kind) {
            *e = why;
            return false;
        }
        if (held == counted) {
            return true;
        }
    }
    audit_found(a, "in-flight", 0,
                "device %" PRIu64 ": Redis counts %" PRId64 " jobs in flight, and %" PRId64
                " are with workers",
                device, counted, held);
    return true;
}

/* --- all of it ------------------------------------------------------------------------ */

static bool
check_chunk(struct chunk *k, bool lists, int64_t *queued, int64_t *known, struct err *e)
{
    bool ok = read_queued(k, e) && read_known(k, &k->known, &k->n_known, e) && check_queued(k, e) &&
              (!lists || check_known(k, e));
    for (size_t i = 0; ok && lists && i < k->n; i++) {
        ok = check_device(k->a, k->devices[i], e);
    }
    *queued += (int64_t)k->n_queued;
    *known += (int64_t)k->n_known;
    free(k->queued);
    free(k->known);
    return ok;
}

bool
audit_devices(struct audit *a, bool lists, struct err *e)
{
    int64_t devices = 0, queued = 0, known = 0;
    uint64_t last = 0;
    struct rows r;
    if (!ctl_queue(a->c, e)) {
        return false;
    }
    for (bool more = true; more;) {
        struct chunk k = {.a = a};
        if (!store_queryf(a->c->store, &r, e,
                          "SELECT id FROM devices WHERE user_id = %" PRIu64 " AND id > %" PRIu64
                          " ORDER BY id LIMIT %d",
                          a->c->user_id, last, CHUNK)) {
            return false;
        }
        while (rows_next(&r)) {
            last = k.devices[k.n++] = rows_uint(&r, 0);
        }
        rows_done(&r);
        if (k.n && !check_chunk(&k, lists, &queued, &known, e)) {
            return false;
        }
        devices += (int64_t)k.n;
        more = k.n == CHUNK;
    }
    audit_fact(a, "devices", devices);
    audit_fact(a, "queued rows compared with Redis", queued);
    if (lists) {
        audit_fact(a, "jobs in Redis compared with rows", known);
    }
    return true;
}

/* Held jobs and leases of one partition. */
static bool
count_partition(struct ctl *c, unsigned p, int64_t *held, int64_t *leases, struct err *e)
{
    struct queue_devices devices = {0};
    struct queue_depths depths = {0};
    struct err why = {0};
    queue_devices(c->queue, p, &devices, ctl_asked, &why);
    queue_wait(c->queue);
    struct queue_ids *ids = xcalloc(devices.n + 1, sizeof *ids);
    for (size_t i = 0; i < devices.n; i++) {
        queue_ids(c->queue, devices.devices[i], &ids[i], ctl_asked, &why);
    }
    queue_depths(c->queue, p, &depths, ctl_asked, &why);
    queue_wait(c->queue);
    *held = 0;
    for (size_t i = 0; i < devices.n; i++) {
        *held += count_held(&ids[i]);
        free(ids[i].ids);
    }
    *leases = depths.leases;
    free(ids);
    free(devices.devices);
    if (why.kind) {
        *e = why;
    }
    return !why.kind;
}

bool
audit_leases(struct audit *a, struct err *e)
{
    int64_t all = 0;
    for (unsigned p = 0; p < queue_partitions(a->c->queue); p++) {
        int64_t held = 0, leases = -1;
        for (int i = 0; i < TRIES && held != leases; i++) {
            if (!count_partition(a->c, p, &held, &leases, e)) {
                return false;
            }
        }
        if (held != leases) {
            audit_found(a, "leases", 0,
                        "partition %u: %" PRId64 " leases, and %" PRId64 " jobs are with workers",
                        p, leases, held);
        }
        all += leases;
    }
    audit_fact(a, "leases", all);
    return true;
}
