#include "tests/harness/peer.h"

#include "tests/harness/t.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_PEERS = 512 };

enum side { READING, DELAYED, WRITING, HELD };

struct side_of {
    int fd, number, nth;
    enum side side;
    struct buf in;
    struct peer_reply reply;
    size_t written;
    int64_t due_ms;
};

struct peer {
    struct peer_options o;
    char url[64];
    int listener, port, wake[2];
    pthread_t thread;
    struct side_of *all[MAX_PEERS];
    size_t n;
    atomic_int connections, requests;
    atomic_uint_fast64_t bytes;
    pthread_mutex_t lock; /* of last */
    struct buf last;
};

static void
drop(struct peer *p, size_t i, bool reset)
{
    struct side_of *s = p->all[i];
    if (reset) {
        struct linger now = {1, 0};
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    (void)close(s->fd);
    buf_done(&s->in);
    buf_done(&s->reply.bytes);
    free(s);
    p->all[i] = p->all[--p->n];
}

static void
welcome(struct peer *p)
{
    int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int number = atomic_fetch_add(&p->connections, 1) + 1;
    if (p->o.close_on_accept || p->n == MAX_PEERS) {
        (void)close(fd);
        return;
    }
    struct side_of *s = xcalloc(1, sizeof *s);
    s->fd = fd;
    s->number = number;
    p->all[p->n++] = s;
}

/* The length of a complete request at the start of s->in, 0 when more is to come. */
static size_t
complete(const struct peer *p, const struct side_of *s, size_t *ret_head)
{
    const char *end = s->in.len ? strstr(s->in.data, "\r\n\r\n") : NULL;
    if (p->o.raw) {
        *ret_head = s->in.len;
        return s->in.len;
    }
    if (!end) {
        return 0;
    }
    *ret_head = (size_t)(end - s->in.data) + 4;
    const char *length = strcasestr(s->in.data, "\r\nContent-Length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (p->o.only_head) {
        return *ret_head;
    }
    return s->in.len >= *ret_head + body ? *ret_head + body : 0;
}

static void
serve(struct peer *p, struct side_of *s)
{
    size_t head_len = 0, len = complete(p, s, &head_len);
    if (len == 0) {
        return;
    }
    char *head = xstrndup(s->in.data, head_len), *body = xmalloc(len - head_len + 1);
    memcpy(body, s->in.data + head_len, len - head_len); /* any bytes */
    body[len - head_len] = '\0';
    struct peer_request rq = {s->number, ++s->nth, head, body, len - head_len};
    buf_clear(&s->reply.bytes);
    s->reply = (struct peer_reply){.bytes = s->reply.bytes};
    (void)pthread_mutex_lock(&p->lock);
    buf_clear(&p->last);
    buf_add(&p->last, s->in.data, len);
    (void)pthread_mutex_unlock(&p->lock);
    p->o.script(p->o.arg, &rq, &s->reply);
    (void)atomic_fetch_add(&p->requests, 1);
    free(head);
    free(body);
    memmove(s->in.data, s->in.data + len, s->in.len - len + 1);
    s->in.len -= len;
    s->written = 0;
    s->due_ms = t_now_ms() + s->reply.delay_ms;
    s->side = s->reply.delay_ms ? DELAYED : WRITING;
}

/* False when the connection is over. */
static bool
take_in(struct peer *p, struct side_of *s)
{
    char chunk[16384];
    ssize_t n = read(s->fd, chunk, sizeof chunk);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (n == 0) {
        return false;
    }
    if (s->side == READING) {
        buf_add(&s->in, chunk, (size_t)n);
        serve(p, s);
    }
    return true;
}

static bool
put_out(struct peer *p, struct side_of *s)
{
    static const char letters[] =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    for (;;) {
        size_t left = s->reply.bytes.len - s->written;
        size_t fill =
            s->reply.fill < sizeof letters - 1 ? (size_t)s->reply.fill : sizeof letters - 1;
        if (left == 0 && fill == 0) {
            return true;
        }
        ssize_t n = left ? send(s->fd, s->reply.bytes.data + s->written, left, MSG_NOSIGNAL)
                         : send(s->fd, letters, fill, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        (void)atomic_fetch_add(&p->bytes, (uint64_t)n);
        if (left) {
            s->written += (size_t)n;
        } else {
            s->reply.fill -= (uint64_t)n;
        }
    }
}

/* False when the connection is over; *ret_reset says how. */
static bool
step(struct peer *p, struct side_of *s, short events, bool *ret_reset)
{
    *ret_reset = false;
    if ((events & (POLLIN | POLLHUP | POLLERR)) && !take_in(p, s)) {
        return false;
    }
    if (s->side == DELAYED && t_now_ms() >= s->due_ms) {
        s->side = WRITING;
    }
    if (s->side != WRITING) {
        return true;
    }
    if (!put_out(p, s)) {
        return false;
    }
    if (s->written < s->reply.bytes.len || s->reply.fill) {
        return true;
    }
    *ret_reset = s->reply.then == PEER_RESET;
    s->side = s->reply.then == PEER_HOLD ? HELD : READING;
    if (s->reply.then == PEER_KEEP) {
        serve(p, s);
    }
    return s->reply.then == PEER_KEEP || s->reply.then == PEER_HOLD;
}

static void *
run(void *arg)
{
    struct peer *p = arg;
    struct pollfd fds[MAX_PEERS + 2];
    for (;;) {
        fds[0] = (struct pollfd){p->wake[0], POLLIN, 0};
        fds[1] = (struct pollfd){p->listener, POLLIN, 0};
        int wait_ms = -1;
        size_t n = p->n;
        for (size_t i = 0; i < n; i++) {
            struct side_of *s = p->all[i];
            fds[i + 2] = (struct pollfd){s->fd, POLLIN, 0};
            fds[i + 2].events |= s->side == WRITING ? POLLOUT : 0;
            if (s->side == DELAYED) {
                int64_t left = s->due_ms - t_now_ms();
                left = left < 0 ? 0 : left;
                wait_ms = wait_ms < 0 || left < wait_ms ? (int)left : wait_ms;
            }
        }
        (void)poll(fds, n + 2, wait_ms);
        if (fds[0].revents) {
            return NULL;
        }
        for (size_t i = n; i-- > 0;) { /* downwards: drop() moves the last one here */
            bool reset;
            if (!step(p, p->all[i], fds[i + 2].revents, &reset)) {
                drop(p, i, reset);
            }
        }
        if (fds[1].revents) {
            welcome(p);
        }
    }
}

static void
listen_tcp(struct peer *p)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(p->listener >= 0);
    CHECK(bind(p->listener, (struct sockaddr *)&in, len) == 0);
    CHECK(getsockname(p->listener, (struct sockaddr *)&in, &len) == 0);
    p->port = ntohs(in.sin_port);
    (void)snprintf(p->url, sizeof p->url, "http://127.0.0.1:%d", p->port);
}

static void
listen_unix(struct peer *p)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", p->o.unix_path);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(p->listener >= 0);
    CHECK(bind(p->listener, (struct sockaddr *)&un, sizeof un) == 0);
    (void)snprintf(p->url, sizeof p->url, "http://peer");
}

struct peer *
peer_start(const struct peer_options *o)
{
    struct peer *p = xcalloc(1, sizeof *p);
    p->o = *o;
    if (o->unix_path) {
        listen_unix(p);
    } else {
        listen_tcp(p);
    }
    CHECK(listen(p->listener, 512) == 0);
    CHECK(pipe2(p->wake, O_CLOEXEC) == 0);
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    CHECK(pthread_create(&p->thread, NULL, run, p) == 0);
    return p;
}

void
peer_stop(struct peer *p)
{
    (void)close(p->wake[1]);
    (void)pthread_join(p->thread, NULL);
    while (p->n) {
        drop(p, p->n - 1, false);
    }
    (void)close(p->wake[0]);
    (void)close(p->listener);
    (void)pthread_mutex_destroy(&p->lock);
    buf_done(&p->last);
    free(p);
}

const char *
peer_url(const struct peer *p)
{
    return p->url;
}

int
peer_port(const struct peer *p)
{
    return p->port;
}

int
peer_connections(struct peer *p)
{
    return atomic_load(&p->connections);
}

int
peer_requests(struct peer *p)
{
    return atomic_load(&p->requests);
}

uint64_t
peer_written(struct peer *p)
{
    return atomic_load(&p->bytes);
}

char *
peer_last(struct peer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    char *text = xstrndup(p->last.len ? p->last.data : "", p->last.len);
    (void)pthread_mutex_unlock(&p->lock);
    return text;
}

void
peer_answer_with(struct peer_reply *r, int status, const char *headers, const char *body)
{
    buf_addf(&r->bytes, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n%s", status,
             strlen(body), headers, body);
}

void
peer_answer(struct peer_reply *r, int status, const char *body)
{
    peer_answer_with(r, status, "", body);
}
