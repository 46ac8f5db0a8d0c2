/* http_calls.h -- what the tests of worker/http share: calls that remember what came of them, a
 * loop that turns until it did, and scripts for the peer. */
#ifndef TESTS_UNIT_HTTP_CALLS_H
#define TESTS_UNIT_HTTP_CALLS_H

#include "shared/mem.h"
#include "tests/harness/peer.h"
#include "tests/harness/t.h"
#include "worker/http.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <ev.h>

static struct ev_loop *loop;
static ev_timer beat; /* so that the loop turns while nothing happens */

static inline void
on_beat(struct ev_loop *l, ev_timer *w, int events)
{
    (void)l, (void)w, (void)events;
}

struct call {
    int times;
    struct http_result r;
    char body[256];
};

static inline void
on_done(void *arg, const struct http_result *r)
{
    struct call *c = arg;
    c->times++;
    c->r = *r;
    (void)snprintf(c->body, sizeof c->body, "%.200s", r->body ? r->body : "");
    c->r.body = c->body;
}

static inline void
start_loop(void)
{
    if (!loop) {
        (void)signal(SIGPIPE, SIG_IGN);
        loop = ev_loop_new(EVFLAG_AUTO);
        ev_timer_init(&beat, on_beat, 0.01, 0.01);
        ev_timer_start(loop, &beat);
    }
}

static inline struct http *
open_with(struct http_options o)
{
    struct http *h = NULL;
    start_loop();
    o.connect_ms = o.connect_ms ? o.connect_ms : 5000;
    o.total_ms = o.total_ms ? o.total_ms : 10000;
    o.max_body = o.max_body ? o.max_body : 65536;
    o.max_connections = o.max_connections ? o.max_connections : 8;
    CHECK_OK(http_open(loop, &o, &h, e));
    return h;
}

static inline struct http *
open_local(void)
{
    return open_with((struct http_options){.allow_private = true});
}

static inline void
finish(struct http *h, struct peer *p)
{
    http_close(h);
    if (p) {
        peer_stop(p);
    }
    ev_timer_stop(loop, &beat);
    ev_loop_destroy(loop);
    loop = NULL;
}

static inline void
post(struct http *h, const char *url, const char *body, struct call *c)
{
    *c = (struct call){0};
    const struct http_request r = {
        .method = "POST", .url = url, .body = body, .body_len = strlen(body)};
    http_send(h, &r, on_done, c);
    CHECK_INT(0, c->times); /* never before http_send returned */
}

/* Turns the loop until a count is reached. */
static inline void
turn_until(const int *count, int want)
{
    int64_t until = t_now_ms() + 30000;
    while (*count < want) {
        CHECK(t_now_ms() < until);
        (void)ev_run(loop, EVRUN_ONCE);
    }
}

static inline struct call
ask(struct http *h, const char *url, const char *body)
{
    struct call c;
    post(h, url, body, &c);
    turn_until(&c.times, 1);
    CHECK_INT(1, c.times);
    return c;
}

static inline void
check_end(const struct call *c, enum http_end end, bool started)
{
    if (c->r.end != end || c->r.started != started) {
        (void)fprintf(stderr, "    %s started=%d %s: %s\n", http_end_name(c->r.end), c->r.started,
                      c->r.code, c->r.text);
    }
    CHECK_INT(end, c->r.end);
    CHECK_INT(started, c->r.started);
}

/* --- scripts --------------------------------------------------------------------------------- */

static inline void
say_ok(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    (void)arg, (void)rq;
    peer_answer(r, 200, "{\"id\":\"a\"}");
}

/* Says whatever arg is. */
static inline void
say(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    (void)rq;
    const struct peer_reply *what = arg;
    buf_add(&r->bytes, what->bytes.data, what->bytes.len);
    r->fill = what->fill;
    r->delay_ms = what->delay_ms;
    r->then = what->then;
}

static inline struct call
ask_peer_saying(const char *bytes, uint64_t fill, enum peer_then then, struct http_options o)
{
    struct peer_reply reply = {.fill = fill, .then = then};
    buf_adds(&reply.bytes, bytes);
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply});
    o.allow_private = true;
    struct http *h = open_with(o);
    struct call c = ask(h, peer_url(p), "hello");
    CHECK_INT(1, peer_requests(p));
    finish(h, p);
    buf_done(&reply.bytes);
    return c;
}

#endif
