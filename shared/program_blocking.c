/* program_blocking.c -- the frame of producer and reaper; a file of its own because the worker
 * links no MySQL. */
#include "shared/clock.h"
#include "shared/http_server.h"
#include "shared/log.h"
#include "shared/metrics.h"
#include "shared/migrate.h"
#include "shared/program.h"
#include "shared/store.h"

#include <unistd.h>

#include <ev.h>

enum { REST_MS = 500, STEP_MS = 200 };

volatile sig_atomic_t program_stopping;

static void
on_signal(int signo)
{
    (void)signo;
    if (program_stopping) {
        _exit(1);
    }
    program_stopping = 1;
}

void
program_catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    (void)sigemptyset(&sa.sa_mask);
    (void)sigaction(SIGTERM, &sa, NULL); /* no SA_RESTART: waits end */
    (void)sigaction(SIGINT, &sa, NULL);
}

bool
program_store(const struct program_mysql *m, int dialect, struct store **ret, struct err *e)
{
    struct store_config c = {
        .url = m->url,
        .password = m->password,
        .time_zone = m->time_zone,
        .query_timeout_ms = (int)m->timeout,
        .force_dialect = dialect,
    };
    return store_open(&c, ret, e) && (migrate_check(*ret, e) || e->kind == ERR_RETRY);
}

void
program_on_link(void *arg, bool up, const char *why)
{
    (void)arg;
    if (up) {
        log_info("redis_up");
    } else {
        log_warn("redis_down", "why", LOG_S(why));
    }
}

bool
program_due(int64_t *next_ms, int64_t interval_ms)
{
    int64_t now = clock_mono_ms();
    if (now < *next_ms) {
        return false;
    }
    *next_ms = now + interval_ms;
    return true;
}

static void
on_sleep_over(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)t, (void)revents;
    ev_break(loop, EVBREAK_ONE);
}

/* Turns the loop, in which Redis' connection lives on, for ms or until a signal. */
static void
rest(struct ev_loop *loop, int64_t ms)
{
    for (int64_t step; ms > 0 && !program_stopping; ms -= step) {
        step = ms < STEP_MS ? ms : STEP_MS;
        ev_timer t;
        ev_timer_init(&t, on_sleep_over, (double)step / 1000.0, 0.);
        ev_now_update(loop);
        ev_timer_start(loop, &t);
        (void)ev_run(loop, 0);
        ev_timer_stop(loop, &t);
        health_tick();
    }
}

static void
say_goodbye(struct queue *q, const char *name)
{
    if (queue_up(q)) {
        queue_beat(q, name, BEAT_LEAVE, NULL, NULL, NULL);
        queue_wait(q);
    }
}

int
program_run(struct ev_loop *loop, struct queue *q, struct store *db, const char *name,
            int64_t idle_ms, const struct program_gauges *gauges, program_cycle *cycle, void *arg)
{
    bool was_well = true;
    unsigned said = 0; /* a trouble is told once, and again when it becomes another one */
    log_info("started", "name", LOG_S(name), "version", LOG_S(PACELINE_VERSION));
    health_ready(false, "not connected yet");
    health_notify_started();
    while (!program_stopping && !queue_refused(q)) {
        struct err e = {0};
        bool work = false, redis = queue_up(q);
        health_tick();
        /* After trouble MySQL is asked first: nothing is taken from Redis that could not be
         * written. */
        bool mysql = was_well || store_ping(db, &e);
        if (redis && mysql) {
            mysql = cycle(arg, &work, &e);
        }
        metric_set(gauges->redis_up, redis);
        metric_set(gauges->mysql_up, mysql);
        metric_set(gauges->deadlocks, (int64_t)store_stats(db)->deadlocks);
        metric_set(gauges->statements, (int64_t)store_stats(db)->statements);
        if (!mysql && (was_well || store_code(db) != said)) {
            said = store_code(db);
            log_warn("mysql_trouble", "kind", LOG_S(err_kind_name(e.kind)), "why", LOG_S(e.text));
        } else if (mysql && !was_well) {
            log_info("mysql_well");
        }
        was_well = mysql;
        health_ready(redis && mysql, redis ? "MySQL does not answer" : "Redis is not connected");
        rest(loop, !redis || !mysql ? REST_MS : work ? 1 : idle_ms);
    }
    int code = 0;
    health_notify_stopping();
    if (queue_refused(q)) {
        log_error("redis_refused", "why", LOG_S(queue_refused(q)));
        code = 2;
    } else {
        say_goodbye(q, name);
    }
    log_info("ended", "exit", LOG_I(code));
    return code;
}
