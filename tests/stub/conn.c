#include "shared/log.h"
#include "tests/stub/answer.h"
#include "tests/stub/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 4000,
    IN_MAX = HTTP_BODY_MAX + 64 * 1024, /* unread bytes; one request always fits */
    OUT_MAX = 256 * 1024,               /* unsent bytes above which no request is read */
    BUFFER_KEPT = 64 * 1024,            /* larger buffers are given back when they are empty */
    PIPELINE_MAX = 1024,                /* requests of one connection in a turn */
    WRITE_MAX = 1024 * 1024,            /* bytes of one connection in a turn */
};

static const double drain_seconds = 2;

static void
set_state(struct conn *c, enum conn_state state)
{
    static const char *const names[] = {"open", "held", "late", "drip", "mute", "drain", "closed"};
    if (log_enabled(LOG_LEVEL_TRACE)) {
        log_event(LOG_LEVEL_TRACE, "connection", "fd", LOG_I(c->fd), "from", LOG_S(names[c->state]),
                  "to", LOG_S(names[state]), NULL);
    }
    c->state = state;
}

void
conn_hold(struct conn *c)
{
    set_state(c, CONN_HELD);
}

void
conn_close(struct conn *c)
{
    struct server *s = c->server;
    if (c->state == CONN_CLOSED) {
        return;
    }
    ev_io_stop(s->loop, &c->readable);
    ev_io_stop(s->loop, &c->writable);
    ev_timer_stop(s->loop, &c->timer);
    (void)close(c->fd);
    set_state(c, CONN_CLOSED);
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        s->conns = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->next = s->dead;
    s->dead = c;
    server_conn_closed(s);
}

void
conn_free(struct conn *c)
{
    http_done(&c->req);
    action_done(&c->action);
    action_done(&c->held.action);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

/* Starts and stops the watchers as the state wants them. */
static void
watch(struct conn *c)
{
    struct ev_loop *loop = c->server->loop;
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (!c->eof && c->in.len < IN_MAX) {
        ev_io_start(loop, &c->readable);
    } else {
        ev_io_stop(loop, &c->readable);
    }
    if (c->blocked) {
        ev_io_start(loop, &c->writable);
    } else {
        ev_io_stop(loop, &c->writable);
    }
}

/* Drops the bytes that were read, keeps the others. */
static void
drop_input(struct conn *c, size_t used)
{
    if (used < c->in.len) {
        memmove(c->in.data, c->in.data + used, c->in.len - used);
        c->in.len -= used;
    } else if (c->in.cap > BUFFER_KEPT) {
        buf_done(&c->in);
    } else {
        c->in.len = 0;
    }
}

static void
parse(struct conn *c)
{
    size_t used = 0;
    bool more = false;
    while (!more && c->state == CONN_OPEN && c->pending < PIPELINE_MAX &&
           c->out.len - c->sent < OUT_MAX) {
        size_t n = 0;
        const char *p = c->in.len ? c->in.data + used : "";
        enum http_event event = http_parse(&c->req, p, c->in.len - used, &n);
        used += n;
        switch (event) {
        case HTTP_MORE:
            more = true;
            break;
        case HTTP_HEAD:
            turn_head(c);
            break;
        case HTTP_DONE:
            turn_request(c);
            http_next(&c->req);
            break;
        case HTTP_BAD:
            turn_bad(c);
            break;
        }
    }
    drop_input(c, used);
    if (more && c->eof && c->state == CONN_OPEN && !c->pending && c->sent == c->out.len) {
        conn_close(c);
    }
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct conn *c = w->data;
    (void)loop;
    (void)events;
    if (c->in.cap - c->in.len < READ_SIZE / 2) {
        buf_reserve(&c->in, c->in.len > READ_SIZE ? c->in.len : READ_SIZE);
    }
    ssize_t n = recv(c->fd, c->in.data + c->in.len, c->in.cap - c->in.len - 1, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            conn_close(c);
        }
        return;
    }
    c->in.len += (size_t)n;
    c->eof = n == 0;
    if (c->state == CONN_MUTE || c->state == CONN_DRAIN) {
        drop_input(c, c->in.len);
    }
    if (c->eof) {
        server_touch(c->server, c);
    } else if (c->state == CONN_OPEN) {
        parse(c);
    }
    watch(c);
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    struct conn *c = w->data;
    (void)events;
    ev_io_stop(loop, w);
    server_touch(c->server, c);
}

static void
start_timer(struct conn *c, double after, double repeat)
{
    ev_timer_stop(c->server->loop, &c->timer);
    ev_now_update(c->server->loop); /* a witness counts from now, not from the turn's beginning */
    ev_timer_set(&c->timer, after, repeat);
    ev_timer_start(c->server->loop, &c->timer);
}

static void
add_answer(struct conn *c, const struct pending *p)
{
    struct answer answer = answer_add(&c->out, &p->action, p->serial, p->keep);
    c->filler += answer.filler;
    if (answer.close) {
        c->ending = END_GOODBYE;
    }
    c->answers += p->kind == PENDING_MESSAGE;
    if (p->action.kind == ACTION_DRIBBLE || p->action.kind == ACTION_SLOW_HEADERS) {
        bool whole = p->action.kind == ACTION_DRIBBLE;
        double pause = p->action.number / 1000.0;
        c->drip_end = whole ? c->out.len : c->gate + answer.head;
        set_state(c, CONN_DRIP);
        start_timer(c, pause, pause);
    }
}

void
conn_answer(struct conn *c, struct pending *p)
{
    if (p->kind == PENDING_CONTINUE) {
        answer_continue(&c->out);
        return;
    }
    switch (p->action.kind) {
    case ACTION_OK:
    case ACTION_STATUS:
    case ACTION_THROTTLE:
    case ACTION_GARBAGE:
    case ACTION_WRONG_TYPE:
    case ACTION_TRUNCATED:
    case ACTION_HUGE:
        add_answer(c, p);
        break;
    case ACTION_DRIBBLE:
    case ACTION_SLOW_HEADERS:
        c->gate = c->out.len;
        add_answer(c, p);
        break;
    case ACTION_LATE:
        c->held = *p;
        p->action.body = NULL;
        set_state(c, CONN_LATE);
        start_timer(c, p->action.number / 1000.0, 0);
        break;
    case ACTION_NEVER:
        set_state(c, CONN_MUTE);
        drop_input(c, c->in.len);
        break;
    case ACTION_RESET_AFTER:
    case ACTION_RESET_BEFORE:
        c->ending = END_RESET;
        break;
    case ACTION_CLOSE_AFTER_READ:
        c->ending = END_CLOSE;
        break;
    }
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct conn *c = w->data;
    (void)events;
    if (c->state == CONN_DRAIN) {
        conn_close(c);
    } else if (c->state == CONN_LATE) {
        set_state(c, CONN_HELD);
        add_answer(c, &c->held);
        action_done(&c->held.action);
    } else if (c->state == CONN_DRIP && ++c->gate >= c->drip_end) {
        ev_timer_stop(loop, w);
        c->gate = SIZE_MAX;
        set_state(c, CONN_HELD);
    }
    server_touch(c->server, c);
}

/* Sends n bytes at p, or fewer; returns how many, 0 when the socket takes none now or is gone. */
static size_t
send_some(struct conn *c, const char *p, size_t n)
{
    ssize_t sent;
    do {
        sent = send(c->fd, p, n, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) {
        conn_close(c);
        return 0;
    }
    c->blocked = sent < 0 || (size_t)sent < n;
    return sent < 0 ? 0 : (size_t)sent;
}

static void
write_out(struct conn *c)
{
    static char spaces[64 * 1024];
    size_t total = 0;
    c->blocked = false;
    while (c->state != CONN_CLOSED && !c->blocked) {
        size_t end = c->out.len < c->gate ? c->out.len : c->gate, n = 0;
        if (total > WRITE_MAX) {
            c->blocked = true;
        } else if (c->sent < end) {
            n = send_some(c, c->out.data + c->sent, end - c->sent);
            c->sent += n;
        } else if (c->filler && c->sent == c->out.len) {
            memset(spaces, ' ', sizeof spaces);
            n = send_some(c, spaces, c->filler < sizeof spaces ? c->filler : sizeof spaces);
            c->filler -= n;
        } else {
            break;
        }
        total += n;
    }
    if (c->state != CONN_CLOSED && c->sent == c->out.len && !c->filler) {
        c->server->stats.answered += c->answers;
        c->answers = 0;
        c->sent = 0;
        if (c->out.cap > BUFFER_KEPT) {
            buf_done(&c->out);
        }
        buf_clear(&c->out);
    }
}

/* All is written that was to be written: what comes next? */
static void
finish(struct conn *c)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    switch (c->ending) {
    case END_NOT:
        set_state(c, CONN_OPEN);
        break;
    case END_GOODBYE:
        set_state(c, CONN_DRAIN);
        (void)shutdown(c->fd, SHUT_WR);
        drop_input(c, c->in.len);
        start_timer(c, drain_seconds, 0);
        break;
    case END_RESET:
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        conn_close(c);
        break;
    case END_CLOSE:
        conn_close(c);
        break;
    }
}

void
conn_step(struct conn *c)
{
    if (c->state == CONN_CLOSED) {
        return;
    }
    write_out(c);
    bool written = c->out.len == 0 && !c->filler;
    if (c->state == CONN_HELD && !c->pending && written) {
        finish(c);
    }
    if (c->state == CONN_OPEN) {
        parse(c);
    }
    if (c->eof && (c->state == CONN_MUTE || c->state == CONN_DRAIN)) {
        conn_close(c);
    }
    watch(c);
}

void
conn_open(struct server *s, int fd)
{
    struct conn *c = xcalloc(1, sizeof *c);
    c->server = s;
    c->fd = fd;
    c->gate = SIZE_MAX;
    ev_io_init(&c->readable, on_readable, fd, EV_READ);
    ev_io_init(&c->writable, on_writable, fd, EV_WRITE);
    ev_timer_init(&c->timer, on_timer, 0, 0);
    c->readable.data = c->writable.data = c->timer.data = c;
    c->next = s->conns;
    if (s->conns) {
        s->conns->prev = c;
    }
    s->conns = c;
    s->conn_count++;
    s->stats.accepted++;
    ev_io_start(s->loop, &c->readable);
}
