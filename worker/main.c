/* main.c -- the worker: jobs from Redis to the provider, each device at its own pace. */
#include "shared/clock.h"
#include "shared/conf.h"
#include "shared/http_server.h"
#include "shared/log.h"
#include "shared/mem.h"
#include "shared/program.h"
#include "worker/worker.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define KEY(member) offsetof(struct settings, member)
static const struct conf_key keys[] = {
    PROGRAM_KEYS(struct settings, "info"),
    {"lease", CONF_MS, KEY(lease), "5s", "200..600000", 0,
     "how long a claimed or permitted job stays this worker's"},
    {"renew", CONF_MS, KEY(renew), "1500ms", "50..600000", 0,
     "how often leases are renewed; well below lease"},
    {"concurrency", CONF_INT, KEY(concurrency), "256", "1..100000", 0,
     "jobs in this worker's hands at most"},
    {"poll_max", CONF_MS, KEY(poll_max), "1s", "10..60000", 0,
     "longest sleep between two looks at a partition"},
    {"device_rest", CONF_MS, KEY(device_rest), "30s", "1..3600000", 0,
     "first rest of a device that is throttled or fails; grows up to 120 times that, at most an "
     "hour"},
    {"drain", CONF_MS, KEY(drain), "75s", "0..3600000", 0,
     "longest wait for requests under way after SIGTERM"},
    {"journal_dir", CONF_STR, KEY(journal_dir), "", NULL, 0,
     "folder of the journal that survives this process; empty: memory only"},
    {"journal_records", CONF_INT, KEY(journal_records), "65536", "64..16777216", 0,
     "messages that the journal remembers"},
    {"media_memory", CONF_INT, KEY(media_memory), "67108864", "1048576..68719476736", 0,
     "bytes of media that are kept in memory"},
    COMPOSE_KEYS(struct settings),
    {0},
};

static bool
open_sender(struct worker *w, const struct conf_section *section, const char *name,
            const struct sender *type, struct err *e)
{
    struct sender_instance *i = &w->senders[w->n_senders];
    if (w->n_senders == SENDERS_MAX || strlen(name) >= sizeof i->name) {
        return err_set(e, ERR_INPUT,
                       "%s:%d: more than %d senders, or a name of 64 characters and more",
                       section->file, section->line, SENDERS_MAX);
    }
    if (!type->open(w->loop, section, &i->self, e)) {
        return false;
    }
    memcpy(i->name, name, strlen(name) + 1);
    i->type = type;
    w->n_senders++;
    return true;
}

/* Every [sender NAME] section; "log" and "null" are there without one. */
static bool
open_senders(struct worker *w, const struct conf *c, struct err *e)
{
    bool has_log = false, has_null = false;
    for (size_t i = 0; i < c->n_sections; i++) {
        const struct conf_section *s = &c->sections[i];
        const char *type = NULL;
        if (strcmp(s->kind, "sender") != 0) {
            continue;
        }
        for (size_t k = 0; k < s->n_pairs; k++) {
            type = strcmp(s->pairs[k].key, "type") == 0 ? s->pairs[k].value : type;
        }
        const struct sender *sender = type ? sender_by_type(type) : NULL;
        if (!sender) {
            return err_set(e, ERR_INPUT,
                           "%s:%d: [sender %s] needs type = cloudapi, gowa, webhook, "
                           "log or null",
                           s->file, s->line, s->name);
        }
        if (!open_sender(w, s, s->name, sender, e)) {
            return false;
        }
        has_log = has_log || strcmp(s->name, "log") == 0;
        has_null = has_null || strcmp(s->name, "null") == 0;
    }
    return (has_log || open_sender(w, NULL, "log", &sender_log, e)) &&
           (has_null || open_sender(w, NULL, "null", &sender_null, e));
}

static void
close_senders(struct worker *w)
{
    for (size_t i = 0; i < w->n_senders; i++) {
        w->senders[i].type->close(w->senders[i].self);
    }
    w->n_senders = 0;
}

static bool
check_senders(struct conf *c, struct err *e)
{
    struct worker w = {.loop = ev_loop_new(EVFLAG_AUTO)};
    bool ok = open_senders(&w, c, e);
    close_senders(&w);
    ev_loop_destroy(w.loop);
    return ok;
}

/* --- events ---------------------------------------------------------------------------------- */

static void
on_link(void *arg, bool up, const char *why)
{
    struct worker *w = arg;
    metric_set(&worker_metrics[M_REDIS_UP], up);
    if (up) {
        log_info("redis_up", "name", LOG_S(w->name));
        deliver_renew(w);
        ev_feed_event(w->loop, &w->beat, EV_TIMER); /* which partitions are ours is known at once */
    } else {
        log_warn("redis_down", "why", LOG_S(why));
        health_ready(false, "Redis is not connected");
    }
    if (queue_refused(w->q)) {
        log_error("redis_refused", "why", LOG_S(why));
        w->exit_code = 2;
        ev_break(w->loop, EVBREAK_ALL);
    }
}

static void
on_partition(void *arg, unsigned p, enum partition_state state, bool new_incarnation)
{
    struct worker *w = arg;
    if (new_incarnation) {
        w->parts[p].told = false;
        reassert_start(&w->parts[p]);
    } else if (state == PARTITION_OPEN) {
        claim_kick(&w->parts[p]);
    }
    if (state == PARTITION_OPEN) {
        health_ready(true, "");
    }
}

static void
on_wake(void *arg, const char *payload)
{
    struct worker *w = arg;
    unsigned long p = strtoul(payload, NULL, 10);
    if (p < w->n_parts && w->parts[p].preferred) {
        if (strstr(payload, " check")) {
            check_take(&w->parts[p]);
        } else {
            claim_kick(&w->parts[p]);
        }
    }
}

static bool
drained(const struct worker *w)
{
    for (unsigned p = 0; p < w->n_parts; p++) {
        /* A claim under way may bring jobs, which are then given back at once. */
        if (w->parts[p].calls || w->parts[p].claiming) {
            return false;
        }
    }
    return w->n_live == 0;
}

static void
on_flush(struct ev_loop *loop, ev_prepare *x, int revents)
{
    (void)revents;
    struct worker *w = x->data;
    for (unsigned p = 0; p < w->n_parts; p++) {
        deliver_flush(&w->parts[p]);
    }
    if (w->resting && !ev_is_active(&w->rest)) {
        w->resting = false;
        ev_timer_set(&w->rest, 0.2, 0.);
        ev_timer_start(loop, &w->rest);
    }
    if (w->draining && (drained(w) || w->dead_line_passed)) {
        ev_break(loop, EVBREAK_ALL);
    }
}

static void
on_rest(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop, (void)t, (void)revents; /* the loop has turned: on_flush looks again */
}

static void
on_renew(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop, (void)revents;
    deliver_renew(t->data);
}

static void
on_fleet(void *arg, const struct err *e)
{
    if (!e) {
        claim_prefer(arg);
    }
}

static void
on_beat(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop, (void)revents;
    struct worker *w = t->data;
    health_tick();
    if (!queue_up(w->q)) {
        return;
    }
    /* A draining worker still has requests under way: recovery must wait for its report. */
    check_beat(w);
    queue_beat(w->q, w->name, w->draining ? BEAT_DRAIN : BEAT_ALIVE, &w->fleet, on_fleet, w);
    for (unsigned p = 0; p < w->n_parts; p++) {
        if (queue_state(w->q, p) != PARTITION_OPEN) {
            queue_refresh(w->q, p);
        }
        if (!w->parts[p].told) {
            reassert_start(&w->parts[p]);
        }
    }
}

static void
on_drain_over(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop, (void)revents;
    struct worker *w = t->data;
    log_warn("drain_over", "left", LOG_I(w->n_live), "means",
             LOG_S("their outcomes are unknown; the journal has them"));
    w->dead_line_passed = true;
}

static void
on_term(struct ev_loop *loop, ev_signal *s, int revents)
{
    (void)revents;
    struct worker *w = s->data;
    if (w->draining) {
        log_warn("second_signal", "left", LOG_I(w->n_live));
        _Exit(1);
    }
    log_info("drain", "in_hand", LOG_I(w->n_live));
    w->draining = true;
    health_ready(false, "draining");
    health_notify_stopping();
    deliver_release_all(w);
    ev_timer_set(&w->drain_over, (double)w->s->drain / 1000.0, 0.);
    ev_timer_start(loop, &w->drain_over);
}

/* --- life ------------------------------------------------------------------------------------ */

static void
watch(struct worker *w, ev_signal *term, ev_signal *interrupt)
{
    ev_timer_init(&w->renew, on_renew, (double)w->s->renew / 1000.0, (double)w->s->renew / 1000.0);
    ev_timer_init(&w->beat, on_beat, 0., 1.);
    ev_timer_init(&w->drain_over, on_drain_over, 0., 0.);
    ev_timer_init(&w->rest, on_rest, 0., 0.);
    ev_prepare_init(&w->flush, on_flush);
    ev_signal_init(term, on_term, SIGTERM);
    ev_signal_init(interrupt, on_term, SIGINT);
    w->renew.data = w->beat.data = w->drain_over.data = w->rest.data = w;
    w->flush.data = term->data = interrupt->data = w;
    ev_timer_start(w->loop, &w->renew);
    ev_timer_start(w->loop, &w->beat);
    ev_prepare_start(w->loop, &w->flush);
    ev_signal_start(w->loop, term);
    ev_signal_start(w->loop, interrupt);
}

static void
leave(struct worker *w)
{
    claim_done(w);
    uploads_close(w->uploads);
    close_senders(w); /* what is still under way is reported now: unknown, or certainly not sent */
    for (unsigned p = 0; p < w->n_parts; p++) {
        deliver_flush(&w->parts[p]);
    }
    if (queue_up(w->q) && w->exit_code == 0) {
        queue_beat(w->q, w->name, BEAT_LEAVE, NULL, NULL, NULL);
        ev_prepare_stop(w->loop, &w->flush);
        queue_wait(w->q);
    }
}

/* A journal of an earlier life keeps its size. */
static bool
journal_fits(const struct worker *w, struct err *e)
{
    return journal_size(w->journal) >= 2 * (size_t)w->s->concurrency ||
           err_set(
               e, ERR_INPUT,
               "journal_dir: the journal there has %zu records, too few for concurrency %lld: once "
               "all is settled, move it away",
               journal_size(w->journal), (long long)w->s->concurrency);
}

static bool
set_up(struct worker *w, const struct conf *c, struct err *e)
{
    const struct program_settings *ps = &w->s->program;
    struct queue_config qc = program_queue(ps, w->name);
    struct queue_events events = {on_link, on_partition, w, program_on_trouble};
    w->n_parts = (unsigned)ps->partitions;
    w->n_workers = 1;
    w->parts = xcalloc(w->n_parts, sizeof *w->parts);
    claim_init(w);
    if (!open_senders(w, c, e) || !composer_new(&w->s->compose, &w->composer, e) ||
        !journal_open(w->s->journal_dir, (size_t)w->s->journal_records, w->name, &w->journal, e) ||
        !journal_fits(w, e) || !queue_open(w->loop, &qc, &events, &w->q, e) ||
        !redis_link_new(w->loop, &qc.redis, NULL, w, &w->wake, e)) {
        return false;
    }
    w->contents = media_cache_new(w->q, w->s->media_memory);
    w->uploads = uploads_new(w->q, w->contents);
    redis_link_subscribe(w->wake, queue_wake_channel(w->q), on_wake);
    return true;
}

static void
tear_down(struct worker *w)
{
    close_senders(w);
    redis_link_free(w->wake);
    queue_close(w->q);
    uploads_free(w->uploads);
    media_cache_free(w->contents);
    journal_close(w->journal);
    composer_free(w->composer);
    free(w->parts);
    ev_loop_destroy(w->loop);
}

int
main(int argc, char **argv)
{
    static const char *const kinds[] = {"sender", NULL};
    struct settings s = {0};
    struct conf c = {0};
    struct err e = {0};
    struct http_server *http = NULL;
    enum conf_result r = conf_load(
        &c, keys, &s, "paceline-worker",
        "Takes jobs from the device streams in Redis and sends them, each device at its pace.",
        kinds, check_senders, argc, argv);
    if (r != CONF_RUN) {
        return r == CONF_EXIT_OK ? 0 : 2;
    }
    struct worker w = {.s = &s, .loop = ev_default_loop(EVFLAG_AUTO)};
    ev_signal term, interrupt;
    for (int i = 0; i < WORKER_METRICS; i++) {
        metric_register(&worker_metrics[i]);
    }
    if (s.journal_records < 2 * s.concurrency) {
        (void)err_set(&e, ERR_INPUT, "journal_records: must be at least twice concurrency");
        w.exit_code = 2;
    } else if (s.renew * 2 > s.lease) {
        (void)err_set(&e, ERR_INPUT, "renew: must be at most half of lease");
        w.exit_code = 2;
    } else if (!program_name("worker", s.program.name, w.name, &e) ||
               !program_start("worker", &s.program, &http, &e) || !set_up(&w, &c, &e)) {
        w.exit_code = 2;
    } else {
        watch(&w, &term, &interrupt);
        log_info("started", "name", LOG_S(w.name), "version", LOG_S(PACELINE_VERSION));
        health_ready(false, "not connected to Redis yet");
        health_notify_started();
        (void)ev_run(w.loop, 0);
        leave(&w);
        log_info("ended", "exit", LOG_I(w.exit_code));
    }
    if (e.kind) {
        log_error("cannot_start", "why", LOG_S(e.text));
    }
    tear_down(&w);
    http_server_stop(http);
    conf_done(&c);
    return w.exit_code;
}
