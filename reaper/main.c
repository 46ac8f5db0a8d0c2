/* main.c -- the reaper: outcomes from Redis to MySQL, leases of the dead, repair of every
 * disagreement. */
#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/conf.h"
#include "shared/http_server.h"
#include "shared/log.h"

#include <stddef.h>
#include <stdlib.h>

#include <ev.h>

enum { IDLE_MS = 50 };

#define KEY(member) offsetof(struct settings, member)
static const struct conf_key keys[] = {
    PROGRAM_KEYS(struct settings, "info"),
    PROGRAM_MYSQL_KEYS(struct settings),
    {"lease", CONF_MS, KEY(lease), "5s", "200..600000", 0,
     "the workers' lease, for leases that have to be made anew"},
    {"sweep", CONF_MS, KEY(sweep), "500ms", "10..60000", 0,
     "how often expired leases are looked for"},
    {"confirm", CONF_MS, KEY(confirm), "2s", "0..600000", 0,
     "how long a lease must be seen expired before it is ended; above the workers' renew"},
    {"settle_batch", CONF_INT, KEY(settle_batch), "500", "1..5000", 0,
     "results written in one transaction"},
    {"claim_lease", CONF_MS, KEY(claim_lease), "60s", "100..3600000", 0,
     "how long a producer may hold rows that it has claimed"},
    {"fresh_age", CONF_MS, KEY(fresh_age), "15s", "100..3600000", 0,
     "age at which a queued row is compared with Redis"},
    {"audit_interval", CONF_MS, KEY(audit_interval), "10m", "100..86400000", 0,
     "how often every queued row and every device in Redis is compared again"},
    {"retry_base", CONF_MS, KEY(retry_base), "30s", "10..86400000", 0,
     "wait before the second attempt; doubles from there"},
    {"retry_cap", CONF_MS, KEY(retry_cap), "1h", "10..604800000", 0,
     "longest wait between two attempts"},
    {"resend_after", CONF_MS, KEY(resend_after), "60s", "0..604800000", 0,
     "how long an unknown outcome waits for late evidence before its campaign's policy acts"},
    {"recovery_grace", CONF_MS, KEY(recovery_grace), "15s", "0..3600000", 0,
     "how long a partition that lost data waits for a worker's report"},
    {"progress_interval", CONF_MS, KEY(progress_interval), "1s", "10..3600000", 0,
     "how often campaigns are counted, at most"},
    {"check_interval", CONF_MS, KEY(check_interval), "60s", "0..86400000", 0,
     "how often a device's provider is asked how the device is; 0: never"},
#define RETENTION(name, place, help)                                                               \
    {                                                                                              \
        name, CONF_MS, KEY(place), "0", "0..1000000000000", 0, help                                \
    }
    RETENTION("retention_sent", retention[ARCHIVE_SENT],
              "age at which sent messages of what has ended move to the archive; 0: never"),
    RETENTION("retention_failed", retention[ARCHIVE_FAILED], "the same for failed ones"),
    RETENTION("retention_skipped", retention[ARCHIVE_SKIPPED], "the same for skipped ones"),
    RETENTION("retention_unknown", retention[ARCHIVE_UNKNOWN],
              "the same for unknown ones, on which nobody can decide behind it"),
    RETENTION(
        "retention_direct", retention_direct,
        "least age of messages that an application inserted: behind it, the same job_id would "
        "be sent again; 0: never moved"),
    {"receipt_orphan_after", CONF_MS, KEY(orphan_after), "1h", "1000..604800000", 0,
     "how long a receipt of a message that is not known waits for it"},
    {"receipts_retention", CONF_MS, KEY(receipts_retention), "8d", "0..1000000000000", 0,
     "age at which lines of the inbox that are done are deleted; providers repeat for up to 7 "
     "days; 0: never"},
    {"archive_interval", CONF_MS, KEY(archive_interval), "10m", "10..86400000", 0,
     "pause between two rounds of the archive"},
    {0},
};

/* Steps that one reaper at a time does for all: a second one would only do the work twice. */
static bool
single_steps(struct reaper *r, struct err *e)
{
    bool mine;
    if (!store_try_lock(r->db, "paceline-reconcile", 0, &mine, e)) {
        return false;
    }
    if (!mine) {
        return true;
    }
    bool ok = reconcile_pass(r, e) && policy_pass(r, e) && members_gone(r, e) &&
              contacts_pass(r, e) && check_pass(r, e) && rests_pass(r, e);
    if (ok && clock_mono_ms() >= r->next_progress) {
        int64_t began = clock_mono_ms();
        ok = progress_pass(r, e);
        /* Counting takes at most a twentieth of our time, however large the campaigns. */
        int64_t took = clock_mono_ms() - began;
        r->next_progress =
            began + (20 * took > r->s->progress_interval ? 20 * took : r->s->progress_interval);
    }
    ok = ok && accounts_pass(r, e) && archive_pass(r, e);
    struct err ignored = {0}; /* after a failure the lock may have gone with the connection */
    bool unlocked = store_unlock(r->db, "paceline-reconcile", ok ? e : &ignored);
    return ok && unlocked;
}

static bool
cycle(void *arg, bool *work, struct err *e)
{
    struct reaper *r = arg;
    size_t settled = 0;
    bool beat = program_due(&r->next_beat, 1000);
    if (beat) {
        queue_beat(r->q, r->name, BEAT_ALIVE, &r->fleet, NULL, NULL);
        queue_wait(r->q);
    }
    if (program_due(&r->next_sweep, r->s->sweep)) {
        reclaim_pass(r);
    }
    if (beat && !members_alive(r, e)) {
        return err_wrap(e, "members");
    }
    if (program_due(&r->next_recovery, 250) && !recovery_pass(r, e)) {
        return err_wrap(e, "recovery");
    }
    if (!settle_pass(r, false, &settled, e)) {
        return err_wrap(e, "settle");
    }
    if (program_due(&r->next_stuck, 5000)) {
        for (size_t n = 1; n > 0 && !program_stopping;) {
            n = 0;
            if (!settle_pass(r, true, &n, e)) {
                return err_wrap(e, "settle");
            }
        }
    }
    if (program_due(&r->next_reconcile, 1000) && !single_steps(r, e)) {
        return err_wrap(e, "reconcile");
    }
    if (!receipts_pass(r, e)) {
        return err_wrap(e, "receipts");
    }
    *work = settled > 0;
    return true;
}

static bool
set_up(struct reaper *r, struct err *e)
{
    struct settings *s = r->s;
    struct queue_config qc = program_queue(&s->program, r->name);
    struct queue_events events = {program_on_link, NULL, r, program_on_trouble};
    r->n_parts = (unsigned)s->program.partitions;
    r->parts = xcalloc(r->n_parts, sizeof *r->parts);
    r->rules = (struct settle_rules){s->retry_base, s->retry_cap, s->resend_after};
    return program_store(&s->mysql, 0, &r->db, e) && queue_open(r->loop, &qc, &events, &r->q, e);
}

static void
tear_down(struct reaper *r)
{
    for (unsigned p = 0; r->parts && p < r->n_parts; p++) {
        reclaim_watch_free(r->parts[p].watch);
        free(r->parts[p].devices);
    }
    free(r->parts);
    archive_close(r->archive);
    queue_close(r->q);
    store_close(r->db);
    ev_loop_destroy(r->loop);
}

int
main(int argc, char **argv)
{
    struct settings s = {0};
    struct conf c = {0};
    struct err e = {0};
    struct http_server *http = NULL;
    enum conf_result result = conf_load(&c, keys, &s, "paceline-reaper",
                                        "Writes outcomes back to MySQL, ends the leases of dead "
                                        "workers, repairs what MySQL and Redis disagree on.",
                                        NULL, NULL, argc, argv);
    if (result != CONF_RUN) {
        return result == CONF_EXIT_OK ? 0 : 2;
    }
    struct reaper r = {.s = &s, .loop = ev_default_loop(EVFLAG_AUTO)};
    for (int i = 0; i < REAPER_METRICS; i++) {
        metric_register(&reaper_metrics[i]);
    }
    int code = 0;
    program_catch_signals();
    if (!program_name("reaper", s.program.name, r.name, &e) ||
        !program_start("reaper", &s.program, &http, &e) || !set_up(&r, &e)) {
        log_error("cannot_start", "why", LOG_S(e.text));
        code = 2;
    } else {
        struct program_gauges gauges = {&reaper_metrics[M_REDIS_UP], &reaper_metrics[M_MYSQL_UP],
                                        &reaper_metrics[M_DEADLOCKS],
                                        &reaper_metrics[M_STATEMENTS]};
        code = program_run(r.loop, r.q, r.db, r.name, IDLE_MS, &gauges, cycle, &r);
    }
    tear_down(&r);
    http_server_stop(http);
    conf_done(&c);
    return code;
}
