/* A storm: random verbs of a producer, three workers and a reaper on five devices, each answer and
 * each state compared with the model, each device's keys with each other; calls are repeated, steps
 * left out. At the end everything drains, every row has its end, and nothing was sent a second time
 * unnoticed. */
#include "tests/harness/job_model.h"
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 3000, WORKERS = 3, LEASES = 12, SOURCES = 2, ACTS = 12 };
enum row { PENDING, QUEUED, UNKNOWN, FINAL };

static struct rig r;
static struct model m;
static const uint64_t device_ids[MODEL_DEVICES] = {17, 21, 25, 18,
                                                   22}; /* three of {p01}, two of {p02} */

/* MySQL's side. */
static struct {
    enum row status;
    uint32_t gen;
    bool resend;
    int permits, allowed; /* permits that may have left; how many more than one there may be */
    uint64_t permitted;   /* the last token with a permit */
    uint64_t unknown_by;  /* whose outcome is open */
} rows[MODEL_JOBS];

/* What each worker has held lately, over and done or not. */
static struct {
    struct queue_permit jobs[LEASES];
    size_t n;
} workers[WORKERS];

static uint64_t steps[ACTS];

static uint64_t
one_of(uint64_t n)
{
    return t_random() % n;
}

static size_t
job_index(const char *id)
{
    size_t i = strtoul(id + 1, NULL, 10);
    CHECK(*id == 'j' && i < MODEL_JOBS);
    return i;
}

static unsigned
partition_of(size_t job)
{
    return queue_partition(r.q, device_ids[m.jobs[job].device]);
}

static struct queue_push
item(size_t job, uint32_t gen)
{
    const struct model_job *j = &m.jobs[job];
    r.source = j->source ? "c1" : "c0";
    r.pace.max_in_flight = (unsigned)m.devices[j->device].max_in_flight;
    r.pace.gap_min_ms = r.pace.gap_max_ms = m.devices[j->device].gap_ms;
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "%s",
                   m.devices[j->device].paused ? "ops" : "");
    return rig_item(&r, device_ids[j->device], j->id, gen);
}

/* --- checks --------------------------------------------------------------------------------------
 */

static void
check_job(const struct model_job *j)
{
    char want[64];
    const char *got = rig_state(&r, device_ids[j->device], j->id);
    int n = snprintf(want, sizeof want, "%c %u", j->letter, j->gen);
    if (j->letter == 'D' || j->letter == 'R' || j->letter == 'U') {
        (void)snprintf(want + n, sizeof want - (size_t)n, " %" PRIu64 " %s", j->token, j->kind);
        CHECK_STR(want, got);
    } else if (j->letter == '.') {
        CHECK_STR("", got);
    } else {
        CHECK(strncmp(want, got, (size_t)n) == 0 && (got[n] == ' ' || !got[n]));
    }
    if (j->letter == 'L' || j->letter == 'P') {
        (void)snprintf(want, sizeof want, " %" PRIu64 " w1", j->token);
        CHECK(strstr(got, want));
    }
}

static void
check_device(size_t device)
{
    for (size_t i = 0; i < MODEL_JOBS; i++) {
        if (m.jobs[i].device == device) {
            check_job(&m.jobs[i]);
        }
    }
    CHECK_INT(m.devices[device].in_flight, rig_field_num(&r, device_ids[device], "in_flight"));
    rig_check_device(&r, device_ids[device]);
}

/* --- producer ------------------------------------------------------------------------------------
 */

static void
produce(size_t job)
{
    if (rows[job].status != PENDING) {
        return;
    }
    uint32_t gen = ++rows[job].gen; /* claimed in MySQL */
    struct queue_push x = item(job, gen);
    char staged = model_stage(&m, job, gen);
    for (uint64_t times = 1 + !one_of(8); times > 0; times--) {
        CHECK_RUN(ERR_NONE, &r, stage, partition_of(job), &x, 1, 1000);
        CHECK_INT(staged, x.state);
    }
    if (staged != 'S' || !one_of(10)) {
        return; /* not wanted now, or the producer dies: reconcile makes the row pending */
    }
    rows[job].status = QUEUED;
    if (!one_of(10)) {
        return;
    }
    char active = model_activate(&m, job, gen);
    for (uint64_t times = 1 + !one_of(8); times > 0; times--) {
        CHECK_RUN(ERR_NONE, &r, activate, partition_of(job), &x, 1, 1000);
        CHECK_INT(active, x.state);
    }
}

/* A producer that slept activates what it staged long ago. */
static void
activate_late(size_t job)
{
    if (rows[job].gen > 0) {
        uint32_t gen = rows[job].gen - (uint32_t)one_of(2);
        if (m.jobs[job].letter == 'S' && m.jobs[job].gen == gen && rows[job].status != QUEUED) {
            return; /* it never does without its row being queued */
        }
        struct queue_push x = item(job, gen);
        CHECK_RUN(ERR_NONE, &r, activate, partition_of(job), &x, 1, 1000);
        CHECK_INT(model_activate(&m, job, gen), x.state);
    }
}

static void
reconcile(size_t job)
{
    struct queue_probe_device device = {.device = device_ids[m.jobs[job].device]};
    struct queue_probe_job x = {.device = device.device, .gen = rows[job].gen};
    (void)snprintf(x.id, sizeof x.id, "%s", m.jobs[job].id);
    CHECK_RUN(ERR_NONE, &r, probe, partition_of(job), true, &device, 1, &x, 1);
    CHECK_INT(model_unstage(&m, job, rows[job].gen), x.state);
    if (rows[job].status == QUEUED && !x.state) {
        rows[job].status = PENDING;
    }
}

/* --- workers -------------------------------------------------------------------------------------
 */

static void
claim(size_t device)
{
    struct queue_permit got[8];
    size_t want[MODEL_JOBS], room = 1 + one_of(4), w = one_of(WORKERS);
    uint64_t token = m.devices[device].token;
    int64_t next = rig_field_num(&r, device_ids[device], "next");
    size_t n = rig_claim(&r, device_ids[device], room, got);
    if (next > r.claim.now_ms) {
        CHECK_INT(0, n);
        return;
    }
    for (size_t i = 0; i < MODEL_JOBS;
         i++) { /* in the order of their places, which is that of their results */
        size_t first = MODEL_JOBS;
        for (size_t k = 0; k < MODEL_JOBS; k++) {
            const struct model_job *j = &m.jobs[k];
            if (j->device == device && j->letter == 'W' && m.stopped[j->source] &&
                *rig_state(&r, device_ids[device], j->id) != 'W' &&
                (first == MODEL_JOBS || j->order < m.jobs[first].order)) {
                first = k;
            }
        }
        if (first == MODEL_JOBS) {
            break;
        }
        model_set_aside(&m, first);
    }
    CHECK_INT(model_claim(&m, device, room, want), n);
    for (size_t i = 0; i < n; i++) {
        CHECK_STR(m.jobs[want[i]].id, got[i].lease.id);
        CHECK_INT(++token, got[i].lease.token);
        CHECK_INT(m.jobs[want[i]].gen, got[i].lease.gen);
        workers[w].jobs[workers[w].n++ % LEASES] = got[i];
    }
}

static struct queue_permit *
some_lease(void)
{
    size_t w = one_of(WORKERS), n = workers[w].n < LEASES ? workers[w].n : LEASES;
    return n ? &workers[w].jobs[one_of(n)] : NULL;
}

static void
permit(struct queue_permit *x)
{
    size_t job = job_index(x->lease.id), device = m.jobs[job].device;
    int64_t next = rig_field_num(&r, device_ids[device], "next");
    int64_t before = redis_now_ms(&r.server);
    bool leased = m.jobs[job].letter == 'L' && model_holds(&m, job, x->lease.gen, x->lease.token);
    enum permit_answer answer = rig_permit(&r, x);
    bool early = answer == PERMIT_WAIT;
    if (leased) {
        CHECK(!early || next > before);
        CHECK(answer != PERMIT_GO || next <= redis_now_ms(&r.server));
    }
    CHECK_INT(model_permit(&m, job, x->lease.gen, x->lease.token, early), "gsxpw"[answer]);
    if (answer == PERMIT_GO && leased) {
        CHECK(++rows[job].permits <= 1 + rows[job].allowed);
        rows[job].permitted = x->lease.token;
    }
}

static void
finish(struct queue_permit *x)
{
    static const char *const kinds[] = {"sent", "sent", "failed", "retry", "deferred", "unknown"};
    size_t job = job_index(x->lease.id);
    bool unpermitted =
        model_holds(&m, job, x->lease.gen, x->lease.token) && m.jobs[job].letter == 'L';
    const char *kind = kinds[one_of(6)];
    if (unpermitted && *kind == 's') {
        return; /* nothing is sent without a permit */
    }
    for (uint64_t times = 1 + !one_of(6); times > 0; times--) {
        char want = model_finish(&m, job, x->lease.gen, x->lease.token, kind);
        CHECK_INT(want, "odls"[rig_finish(&r, x, kind)]);
    }
}

static void
release(struct queue_permit *x)
{
    size_t job = job_index(x->lease.id);
    bool permitted = m.jobs[job].letter == 'P',
         ok = model_release(&m, job, x->lease.gen, x->lease.token);
    CHECK_INT(ok, rig_release(&r, x, 0));
    rows[job].allowed += ok && permitted ? 1 : 0; /* its request was never started */
}

static void
renew(struct queue_permit *x)
{
    bool ok = model_holds(&m, job_index(x->lease.id), x->lease.gen, x->lease.token);
    CHECK_INT(ok, rig_renew(&r, x));
}

/* --- reaper --------------------------------------------------------------------------------------
 */

static void
reclaim(size_t job)
{
    struct queue_expired x = {.device = device_ids[m.jobs[job].device], .ends = "1000"};
    (void)snprintf(x.id, sizeof x.id, "%s", m.jobs[job].id);
    if (one_of(4)) { /* else it is not expired */
        (void)redis_do(&r.server, "ZADD pl:{p%02u}:leases XX 1000 %" PRIu64 "/%s",
                       partition_of(job), x.device, x.id);
    } else if (m.jobs[job].letter == 'L' || m.jobs[job].letter == 'P') {
        CHECK_INT('g', rig_reclaim(&r, partition_of(job), &x, 1)->items[0].answer);
        return;
    }
    char want = model_reclaim(&m, job);
    CHECK_INT(want, rig_reclaim(&r, partition_of(job), &x, 1)->items[0].answer);
}

/* Writes a result to its row: "sent" always, anything else for its own generation only; what is late
 * resolves its own attempt. */
static void
apply(const struct model_result *x)
{
    int more = x->token && x->token == rows[x->job].permitted;
    bool own = rows[x->job].gen == x->gen && rows[x->job].status != FINAL;
    if (x->late && rows[x->job].status == UNKNOWN && rows[x->job].unknown_by &&
        rows[x->job].unknown_by != x->token) {
        own = false;
    }
    if (strcmp(x->kind, "sent") == 0 || (own && (*x->kind == 'f' || *x->kind == 's'))) {
        rows[x->job].status = FINAL;
    } else if (own && strcmp(x->kind, "unknown") == 0) {
        if (rows[x->job].status == QUEUED) {
            rows[x->job].status = rows[x->job].resend ? PENDING : UNKNOWN;
            rows[x->job].unknown_by = x->token;
            rows[x->job].allowed += rows[x->job].resend ? more : 0;
        }
    } else if (own) {
        rows[x->job].allowed += rows[x->job].status != PENDING ? more : 0;
        rows[x->job].status = PENDING;
    }
}

/* Reads the results of a partition, which must be the model's, in their order; forgets them, or
 * dies. */
static void
settle(unsigned p, bool dies)
{
    struct queue_result x[QUEUE_BATCH_MAX];
    size_t n = rig_results(&r, p, x, QUEUE_BATCH_MAX), at = 0, kept = 0;
    for (size_t i = 0; i < m.n_results; i++) {
        const struct model_result *w = &m.results[i];
        if (partition_of(w->job) != p || at == n) {
            m.results[kept++] = *w;
            continue;
        }
        CHECK_STR(w->kind, x[at].kind);
        CHECK_STR(m.jobs[w->job].id, x[at].id);
        CHECK(w->gen == x[at].gen && w->token == x[at].token && w->late == x[at].late);
        CHECK_INT(w->job, x[at].row);
        apply(w);
        at++;
    }
    CHECK_INT(n, at);
    m.n_results = kept;
    if (!dies) {
        /* Those of readers that died come again; they have been applied. */
        CHECK_RUN(ERR_NONE, &r, results, p, true, 0, x, QUEUE_BATCH_MAX, &n);
        CHECK_RUN(ERR_NONE, &r, forget, p, x, n);
        for (size_t i = 0; i < n; i++) {
            struct model_result y = {
                .job = job_index(x[i].id), .gen = x[i].gen, .token = x[i].token};
            (void)snprintf(y.kind, sizeof y.kind, "%s", x[i].kind);
            model_forget(&m, &y);
        }
    }
}

/* Of a row's own generation, or of one that was read a while ago. */
static void
withdraw(size_t job)
{
    uint32_t gen = rows[job].gen - (rows[job].gen > 1 && !one_of(4) ? 1 : 0);
    for (uint64_t times = 1 + !one_of(4); times > 0; times--) {
        char want = model_withdraw(&m, job, gen);
        CHECK_INT(want, rig_withdraw(&r, device_ids[m.jobs[job].device], m.jobs[job].id, gen));
    }
}

/* --- steering
 * -------------------------------------------------------------------------------------- */

static void
steer(void)
{
    size_t i = one_of(SOURCES), device = one_of(MODEL_DEVICES);
    if (one_of(2)) {
        static const char *const states[] = {"none", "none", "paused", "cancelled"};
        const char *state = states[one_of(40) ? one_of(3) : 3];
        m.stopped[i] = *state == 'n' ? 0 : *state;
        CHECK_RUN(ERR_NONE, &r, steer_source, i ? "c1" : "c0", state);
        return;
    }
    m.devices[device].paused = !one_of(3);
    m.devices[device].max_in_flight = 1 + (int64_t)one_of(3);
    struct device_pace pace = {.version = ++r.pace.version,
                               .max_in_flight = (unsigned)m.devices[device].max_in_flight,
                               .gap_min_ms = m.devices[device].gap_ms,
                               .gap_max_ms = m.devices[device].gap_ms};
    (void)snprintf(pace.paused, sizeof pace.paused, "%s", m.devices[device].paused ? "ops" : "");
    CHECK_RUN(ERR_NONE, &r, steer_device, device_ids[device], &pace);
}

/* --- the storm
 * ------------------------------------------------------------------------------------- */

static void
start(void)
{
    rig_start(&r);
    for (size_t i = 0; i < MODEL_DEVICES; i++) {
        m.devices[i].max_in_flight = 1 + (int64_t)i % 3;
        m.devices[i].gap_ms = i == 1 || i == 3 ? 2 : 0;
        struct device_pace pace = {.version = 1, .max_in_flight = 1, .paused = "x"};
        CHECK_RUN(ERR_NONE, &r, steer_device, device_ids[i], &pace); /* known from now on */
        pace = (struct device_pace){.version = 2,
                                    .max_in_flight = (unsigned)m.devices[i].max_in_flight,
                                    .gap_min_ms = m.devices[i].gap_ms,
                                    .gap_max_ms = m.devices[i].gap_ms};
        CHECK_RUN(ERR_NONE, &r, steer_device, device_ids[i], &pace);
    }
    r.pace.version = 2; /* what producers read is never newer than what was steered */
    for (size_t i = 0; i < MODEL_JOBS; i++) {
        m.jobs[i] = (struct model_job){
            .device = i % MODEL_DEVICES, .source = i / 7 % SOURCES, .letter = '.'};
        (void)snprintf(m.jobs[i].id, sizeof m.jobs[i].id, "j%zu", i);
        rows[i].resend = i % 2;
    }
}

static void
step(void)
{
    static void (*const acts[])(struct queue_permit *) = {permit, permit, finish, finish, release};
    uint64_t what = one_of(ACTS);
    size_t job = one_of(MODEL_JOBS), device = one_of(MODEL_DEVICES);
    struct queue_permit *lease = some_lease();
    steps[what]++;
    if (what < 2) {
        produce(job);
    } else if (what == 2) {
        claim(device);
        check_device(device);
        return;
    } else if (what < 8 && lease) {
        job = job_index(lease->lease.id);
        acts[what - 3](lease);
    } else if (what == 8) {
        settle(1 + (unsigned)one_of(2), !one_of(5));
        reconcile(job);
    } else if (what == 9) {
        reclaim(job);
    } else if (what == 10) {
        if (one_of(2)) {
            steer();
        } else if (one_of(3)) {
            activate_late(job);
        } else {
            withdraw(job);
        }
    } else if (lease && one_of(2)) {
        renew(lease);
    } else if (one_of(4)) {
        CHECK_INT(0, rig_repair(&r, device_ids[device]));
    } else {
        CHECK_STR("OK", redis_do(&r.server, "SCRIPT FLUSH"));
    }
    check_device(m.jobs[job].device);
    check_device(device);
}

static bool
all_final(void)
{
    for (size_t i = 0; i < MODEL_JOBS; i++) {
        if (rows[i].status != FINAL && rows[i].status != UNKNOWN) {
            return false;
        }
    }
    return true;
}

/* The faults stop: workers end what they hold, dead ones' leases are ended, and all drains. */
static void
drain(void)
{
    m.stopped[0] = m.stopped[1] = 0;
    CHECK_RUN(ERR_NONE, &r, steer_source, "c0", "none");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "none");
    for (size_t i = 0; i < MODEL_DEVICES; i++) {
        struct device_pace pace = {.version = ++r.pace.version, .max_in_flight = 2};
        m.devices[i].paused = false;
        m.devices[i].max_in_flight = 2;
        m.devices[i].gap_ms = 0;
        CHECK_RUN(ERR_NONE, &r, steer_device, device_ids[i], &pace);
    }
    for (int round = 0; !all_final(); round++) {
        CHECK(round < 200);
        for (size_t i = 0; i < MODEL_JOBS; i++) {
            produce(i);
            reconcile(i);
            claim(m.jobs[i].device);
            if (m.jobs[i].letter == 'L' || m.jobs[i].letter == 'P') {
                struct queue_permit x = {.lease = {.device = device_ids[m.jobs[i].device],
                                                   .gen = m.jobs[i].gen,
                                                   .token = m.jobs[i].token},
                                         .row = i};
                (void)snprintf(x.lease.id, sizeof x.lease.id, "%s", m.jobs[i].id);
                (void)snprintf(x.source, sizeof x.source, "%s", m.jobs[i].source ? "c1" : "c0");
                permit(&x);
                finish(&x);
            }
        }
        settle(1, false);
        settle(2, false);
    }
}

TEST(a_storm_of_verbs_keeps_every_promise)
{
    start();
    for (int i = 0; i < STEPS; i++) {
        step();
    }
    drain();
    for (size_t i = 0; i < MODEL_DEVICES; i++) {
        check_device(i);
        CHECK_INT(0, rig_repair(&r, device_ids[i]));
    }
    settle(1, false);
    settle(2, false);
    CHECK_INT(0, redis_num(&r.server,
                           "EXISTS pl:{p01}:leases pl:{p02}:leases pl:{p01}:ready pl:{p02}:ready "
                           "pl:{p01}:devices pl:{p02}:devices pl:{p01}:stopped"));
    CHECK_INT(0, redis_num(&r.server, "XLEN pl:{p01}:results"));
    for (size_t i = 0; i < MODEL_JOBS; i++) {
        CHECK(rows[i].permits <= 1 + rows[i].allowed);
    }
    for (size_t i = 0; i < ACTS; i++) {
        CHECK(steps[i] > 0);
    }
    rig_stop(&r);
}
