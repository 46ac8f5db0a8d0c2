#include "tests/stub/server.h"

#include "shared/log.h"
#include "tests/stub/answer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPT_MAX = 256 }; /* connections in a turn */

static const double accept_again_seconds = 0.2;

void
server_touch(struct server *s, struct conn *c)
{
    if (!c->in_todo && c->state != CONN_CLOSED) {
        c->in_todo = true;
        c->todo_next = s->todo;
        s->todo = c;
    }
}

/* Out of file descriptors: clients wait in the backlog until a connection ends or the timer fires.
 */
static void
pause_accept(struct server *s)
{
    if (!s->accept_paused) {
        log_warn("accept paused", "why", LOG_S(strerror(errno)), "connections",
                 LOG_I(s->conn_count));
        s->accept_paused = true;
    }
    ev_io_stop(s->loop, &s->acceptable);
    ev_timer_set(&s->accept_again, accept_again_seconds, 0);
    ev_timer_start(s->loop, &s->accept_again);
}

static void
on_accept_again(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *s = w->data;
    (void)events;
    ev_timer_stop(loop, w);
    ev_io_start(loop, &s->acceptable);
}

void
server_conn_closed(struct server *s)
{
    s->conn_count--;
    if (ev_is_active(&s->accept_again)) {
        on_accept_again(s->loop, &s->accept_again, 0);
    }
}

static void
on_acceptable(struct ev_loop *loop, ev_io *w, int events)
{
    struct server *s = w->data;
    (void)loop;
    (void)events;
    for (int i = 0; i < ACCEPT_MAX; i++) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (!s->path) {
                int on = 1;
                (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            }
            conn_open(s, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accept(s);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            s->accept_paused = false;
            return;
        }
    }
}

static void
on_before_sleep(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct server *s = w->data;
    (void)events;
    (void)loop;
    turn_end(s);
}

/* A socket file that nobody listens on any more is removed. */
static bool
remove_stale(const struct sockaddr_un *a, struct err *e)
{
    struct stat st;
    if (lstat(a->sun_path, &st) != 0) {
        return true;
    }
    int fd = S_ISSOCK(st.st_mode) ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool stale =
        fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) != 0 && errno == ECONNREFUSED;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (!stale || unlink(a->sun_path) != 0) {
        return err_set(e, ERR_REFUSED, "%s is in use", a->sun_path);
    }
    return true;
}

static bool
bind_unix(struct server *s, const char *path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof a.sun_path) {
        return err_set(e, ERR_INPUT, "the path of a unix socket has 1 to %zu bytes",
                       sizeof a.sun_path - 1);
    }
    memcpy(a.sun_path, path, strlen(path));
    if (!remove_stale(&a, e)) {
        return false;
    }
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        return err_set(e, ERR_RETRY, "cannot bind %s: %s", path, strerror(errno));
    }
    s->path = xstrdup(path);
    (void)snprintf(s->address, sizeof s->address, "unix:%s", path);
    return true;
}

static bool
bind_tcp(struct server *s, const char *listen, struct err *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof a;
    const char *colon = strchr(listen, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    char *host = xstrndup(listen, colon ? (size_t)(colon - listen) : 0);
    bool ok = inet_pton(AF_INET, host, &a.sin_addr) == 1;
    free(host);
    if (!ok || !end || end == colon + 1 || *end || port < 0 || port > 65535) {
        return err_set(e, ERR_INPUT, "listen on unix:/path or A.B.C.D:port, not on \"%s\"", listen);
    }
    a.sin_port = htons((uint16_t)port);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (s->fd < 0 || setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(s->fd, (const struct sockaddr *)&a, sizeof a) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &size) != 0) {
        return err_set(e, ERR_RETRY, "cannot bind %s: %s", listen, strerror(errno));
    }
    (void)snprintf(s->address, sizeof s->address, "%d", ntohs(a.sin_port));
    return true;
}

bool
server_open(struct server *s, struct ev_loop *loop, const char *address, struct err *e)
{
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    s->loop = loop;
    s->fd = -1;
    ev_init(&s->acceptable, on_acceptable);
    ev_init(&s->accept_again, on_accept_again);
    ev_prepare_init(&s->before_sleep, on_before_sleep);
    s->acceptable.data = s->accept_again.data = s->before_sleep.data = s;
    if (!(is_unix ? bind_unix(s, address + 5, e) : bind_tcp(s, address, e))) {
        return false;
    }
    if (listen(s->fd, SOMAXCONN) != 0) {
        return err_set(e, ERR_RETRY, "cannot listen on %s: %s", address, strerror(errno));
    }
    ev_io_set(&s->acceptable, s->fd, EV_READ);
    ev_io_start(loop, &s->acceptable);
    ev_prepare_start(loop, &s->before_sleep);
    return true;
}

void
server_close(struct server *s)
{
    ev_timer_stop(s->loop, &s->accept_again);
    ev_io_stop(s->loop, &s->acceptable);
    ev_prepare_stop(s->loop, &s->before_sleep);
    turn_end(s);
    while (s->conns) {
        conn_close(s->conns);
    }
    turn_end(s);
    if (s->fd >= 0) {
        (void)close(s->fd);
        s->fd = -1;
    }
    if (s->path) {
        (void)unlink(s->path);
    }
    free(s->path);
    s->path = NULL;
}

void
server_free(struct server *s)
{
    free(s->pending);
    free(s->stats.verdicts);
}

void
server_stats(const struct server *s, struct buf *out)
{
    const struct stats *t = &s->stats;
    buf_addf(out, "{\"received\":%" PRIu64 ",\"answered\":%" PRIu64, t->received, t->answered);
    buf_addf(out, ",\"lost\":%" PRIu64 ",\"unread\":%" PRIu64, t->lost, t->unread);
    buf_addf(out, ",\"bad_requests\":%" PRIu64 ",\"accepted\":%" PRIu64, t->bad, t->accepted);
    buf_addf(out, ",\"open_connections\":%zu,\"verdicts\":{", s->conn_count);
    for (size_t i = 0; i < t->verdict_count; i++) {
        buf_addf(out, "%s\"%s\":%" PRIu64, i ? "," : "", t->verdicts[i].verdict,
                 t->verdicts[i].count);
    }
    buf_adds(out, "},\"rules\":[");
    for (size_t i = 0; i < rules_count(s->rules); i++) {
        uint64_t matched;
        buf_adds(out, i ? ",{\"rule\":" : "{\"rule\":");
        answer_json_string(out, rules_text(s->rules, i, &matched));
        buf_addf(out, ",\"matched\":%" PRIu64 "}", matched);
    }
    buf_adds(out, "]}");
}
