/* main.c -- the producer: campaigns become rows, due rows become jobs in Redis. */
#include "producer/dispatch_media.h"
#include "producer/producer.h"
#include "shared/clock.h"
#include "shared/conf.h"
#include "shared/http_server.h"
#include "shared/log.h"
#include "shared/rank.h"

#include <stddef.h>
#include <stdlib.h>

#include <ev.h>

enum { IDLE_MS = 100, SILENT_MS = 3000, FULL_SWEEP_MS = 5000 };

#define KEY(member) offsetof(struct settings, member)
static const struct conf_key keys[] = {
    PROGRAM_KEYS(struct settings, "info"),
    PROGRAM_MYSQL_KEYS(struct settings),
    {"claim_dialect", CONF_WORD, KEY(dialect), "auto", "auto|update-then-select|skip-locked", 0,
     "how due rows are claimed; auto: by the server's version"},
    {"window", CONF_INT, KEY(window), "200", "1..5000", 0,
     "jobs of one device that Redis holds at most"},
    {"poll_min", CONF_MS, KEY(poll_min), "250ms", "10..60000", 0,
     "wait between sweeps while there is work"},
    {"poll_max", CONF_MS, KEY(poll_max), "5s", "10..600000", 0,
     "wait between sweeps of an idle fleet"},
    {"claim_batch", CONF_INT, KEY(claim_batch), "500", "1..5000", 0,
     "rows claimed in one transaction"},
    {"expand_batch", CONF_INT, KEY(expand_batch), "1000", "1..5000", 0,
     "rows of an audience written in one transaction"},
    {"enrol_interval", CONF_MS, KEY(enrol_interval), "1m", "10..3600000", 0,
     "how often leads are looked for that are to be enrolled in sequences"},
    {"enrol_batch", CONF_INT, KEY(enrol_batch), "50", "1..1000", 0,
     "leads enrolled in one transaction"},
    {"enrol_rate", CONF_INT, KEY(enrol_rate), "20000", "1..1000000", 0,
     "rows a second that enrolments write at most"},
    {"dispatch_lag", CONF_MS, KEY(dispatch_lag), "5s", "10..3600000", 0,
     "enrolments slow down while due messages are dispatched later than this; not below poll_max"},
    {"steer_interval", CONF_MS, KEY(steer_interval), "500ms", "10..60000", 0,
     "how often pauses, cancellations and new paces are passed on to Redis"},
    {"media_keep", CONF_MS, KEY(media_keep), "24h", "1s..30d", 0,
     "how long Redis keeps the content of a medium that no further job needs"},
    {0},
};

static bool
cycle(void *arg, bool *work, struct err *e)
{
    struct producer *p = arg;
    int64_t began = clock_mono_us();
    uint64_t rows = 0, jobs = 0;
    if (program_due(&p->next_beat, 1000)) {
        queue_beat(p->q, p->name, BEAT_ALIVE, &p->fleet, NULL, NULL);
        queue_wait(p->q);
        (void)rank_partitions(&p->fleet, p->name, SILENT_MS, queue_partitions(p->q), p->prefers);
    }
    if (!opt_out_tick(p, e)) {
        return false;
    }
    if (program_due(&p->next_steer, p->s->steer_interval) && !steer_tick(p, e)) {
        return err_wrap(e, "steer");
    }
    if (program_due(&p->next_expire, 1000) && !skip_tick(p, &rows, e)) {
        return err_wrap(e, "skip");
    }
    if (program_due(&p->next_media, 500) && !media_restore(p, e)) {
        return err_wrap(e, "media");
    }
    uint64_t written = 0;
    if (program_due(&p->next_campaign, 500) && !campaign_tick(p, &written, e)) {
        return false;
    }
    if (program_due(&p->next_recurring, 500) && !recurring_tick(p, &written, e)) {
        return false;
    }
    if (program_due(&p->next_leave, 1000) && !leave_tick(p, e)) {
        return err_wrap(e, "leave");
    }
    if (written) {
        p->next_campaign = p->next_recurring = 0;
        p->sweep_ms = p->s->poll_min; /* fresh rows: dispatch at once */
        p->next_sweep = 0;
    }
    if (!dispatch_hungry(p, &jobs, e)) {
        return err_wrap(e, "dispatch");
    }
    if (clock_mono_ms() >= p->next_sweep) {
        uint64_t swept = 0;
        if (!dispatch_sweep(p, program_due(&p->next_full, FULL_SWEEP_MS), &swept, e)) {
            return err_wrap(e, "sweep");
        }
        p->sweep_ms = plan_interval(swept > 0, p->sweep_ms, p->s->poll_min, p->s->poll_max);
        p->next_sweep = clock_mono_ms() + p->sweep_ms;
        jobs += swept;
    }
    uint64_t enrolled = 0;
    if (!sequence_tick(p, &enrolled, e)) { /* behind dispatch: what is due goes first */
        return false;
    }
    *work = rows + written + jobs + enrolled > 0;
    metric_observe_us(&producer_metrics[M_CYCLE], clock_mono_us() - began);
    return true;
}

static bool
set_up(struct producer *p, struct err *e)
{
    struct settings *s = p->s;
    struct queue_config qc = program_queue(&s->program, p->name);
    struct queue_events events = {program_on_link, NULL, p, program_on_trouble};
    p->prefers = xcalloc((size_t)s->program.partitions, sizeof *p->prefers);
    return program_store(&s->mysql, (int)s->dialect, &p->db, e) &&
           queue_open(p->loop, &qc, &events, &p->q, e);
}

int
main(int argc, char **argv)
{
    struct settings s = {0};
    struct conf c = {0};
    struct err e = {0};
    struct http_server *http = NULL;
    enum conf_result r = conf_load(
        &c, keys, &s, "paceline-producer",
        "Turns due campaigns into rows and due rows into jobs, one Redis stream per device.", NULL,
        NULL, argc, argv);
    if (r != CONF_RUN) {
        return r == CONF_EXIT_OK ? 0 : 2;
    }
    struct producer p = {.s = &s, .loop = ev_default_loop(EVFLAG_AUTO), .sweep_ms = s.poll_min};
    for (int i = 0; i < PRODUCER_METRICS; i++) {
        metric_register(&producer_metrics[i]);
    }
    int code = 0;
    program_catch_signals();
    if (!program_name("producer", s.program.name, p.name, &e) ||
        !program_start("producer", &s.program, &http, &e) || !set_up(&p, &e)) {
        log_error("cannot_start", "why", LOG_S(e.text));
        code = 2;
    } else {
        struct program_gauges gauges = {
            &producer_metrics[M_REDIS_UP], &producer_metrics[M_MYSQL_UP],
            &producer_metrics[M_DEADLOCKS], &producer_metrics[M_STATEMENTS]};
        code = program_run(p.loop, p.q, p.db, p.name, IDLE_MS, &gauges, cycle, &p);
    }
    free(p.prefers);
    queue_close(p.q);
    store_close(p.db);
    http_server_stop(http);
    ev_loop_destroy(p.loop);
    conf_done(&c);
    return code;
}
