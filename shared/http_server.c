#include "shared/http_server.h"

#include "shared/clock.h"
#include "shared/mem.h"
#include "shared/metrics.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>
#include <systemd/sd-daemon.h>

enum {
    STALE_MS = 10000,          /* a loop that has not turned for so long is stuck */
    CONNECTIONS = 16,          /* a scraper, a few probes and a person */
    IDLE_SECONDS = 5,          /* for a connection without traffic */
    CONNECTION_MEMORY = 16384, /* bytes of a request's line and headers */
    BACKLOG = 16,
};

/* --- health
 * ----------------------------------------------------------------------------------------- */

static _Atomic int64_t last_tick = -1; /* -1 = never */
static atomic_bool ready;
static const char *_Atomic not_ready = "starting";
static int64_t watchdog_us = -1, next_watchdog; /* the loop's thread only; -1 = not asked yet */

static void
feed_watchdog(void)
{
    if (watchdog_us < 0) {
        uint64_t usec = 0;
        watchdog_us = sd_watchdog_enabled(0, &usec) > 0 ? (int64_t)usec : 0;
    }
    int64_t now = clock_mono_us();
    if (watchdog_us && now >= next_watchdog) {
        next_watchdog = now + watchdog_us / 3;
        (void)sd_notify(0, "WATCHDOG=1");
    }
}

void
health_tick(void)
{
    atomic_store(&last_tick, clock_mono_ms());
    feed_watchdog();
}

void
health_ready(bool is_ready, const char *why)
{
    if (!is_ready) {
        atomic_store(&not_ready, why ? why : "not ready");
    }
    atomic_store(&ready, is_ready);
}

bool
health_is_ready(void)
{
    return atomic_load(&ready);
}

void
health_notify_started(void)
{
    (void)sd_notify(0, "READY=1");
}

void
health_notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

/* --- answers
 * ---------------------------------------------------------------------------------------- */

/* Each writes a body and returns the status. */
static unsigned
answer_healthz(struct buf *body)
{
    int64_t tick = atomic_load(&last_tick), age = clock_mono_ms() - tick;
    if (tick >= 0 && age <= STALE_MS) {
        buf_adds(body, "ok\n");
        return MHD_HTTP_OK;
    }
    if (tick < 0) {
        buf_adds(body, "the loop has not turned yet\n");
    } else {
        buf_addf(body, "the loop has not turned for %lld ms\n", (long long)age);
    }
    return MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned
answer_readyz(struct buf *body)
{
    bool is_ready = health_is_ready();
    buf_addf(body, "%s\n", is_ready ? "ready" : atomic_load(&not_ready));
    return is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned
answer_metrics(struct buf *body)
{
    metrics_print(body);
    return MHD_HTTP_OK;
}

static const struct page {
    const char *path, *type;
    unsigned (*answer)(struct buf *body);
} pages[] = {
    {"/healthz", "text/plain; charset=utf-8", answer_healthz},
    {"/readyz", "text/plain; charset=utf-8", answer_readyz},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", answer_metrics},
};

static const struct page *
page_at(const char *path)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(path, pages[i].path) == 0) {
            return &pages[i];
        }
    }
    return NULL;
}

/* Answers at once, without waiting for a body; the library then closes the connection, so that no
 * idle scraper holds one of the few. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *conn, const char *path, const char *method,
           const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)arg, (void)version, (void)upload, (void)upload_size, (void)state;
    struct buf body = {0};
    unsigned status = MHD_HTTP_NOT_FOUND;
    const struct page *p = page_at(path);
    bool allowed = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (!p) {
        buf_adds(&body, "not found: this server has /healthz, /readyz and /metrics\n");
    } else if (!allowed) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        buf_adds(&body, "only GET and HEAD\n");
    } else {
        status = p->answer(&body);
    }
    buf_reserve(&body, 0); /* a body may be empty, but not NULL */
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body.len, body.data, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        buf_done(&body);
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, "Content-Type", p ? p->type : pages[0].type);
    (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(r, "Allow", "GET, HEAD");
    }
    enum MHD_Result result = MHD_queue_response(conn, status, r);
    MHD_destroy_response(r);
    return result;
}

/* --- listening
 * -------------------------------------------------------------------------------------- */

struct http_server {
    struct MHD_Daemon *daemon;
    char *path;       /* of a unix socket; NULL for TCP */
    struct stat made; /* the socket as we bound it, so that we unlink no other */
};

static bool
is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return false; /* connecting to a plain file is refused too, and it is not ours to delete */
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    const void *address = a;
    bool refused = connect(fd, address, sizeof *a) < 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

static bool
listen_unix(struct http_server *s, const char *path, int *ret, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const void *address = &a;
    if (*path != '/' || strlen(path) >= sizeof a.sun_path) {
        return err_set(e, ERR_INPUT, "unix:%s: not an absolute path of at most %zu bytes", path,
                       sizeof a.sun_path - 1);
    }
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && bind(fd, address, sizeof a) == 0;
    if (fd >= 0 && !ok && errno == EADDRINUSE) {
        bool stale = is_stale(&a);
        errno = EADDRINUSE;
        ok = stale && unlink(path) == 0 && bind(fd, address, sizeof a) == 0;
    }
    if (!ok || listen(fd, BACKLOG) < 0 || lstat(path, &s->made) < 0) {
        (void)err_set(e, ERR_REFUSED, "unix:%s: %s", path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    s->path = xstrdup(path);
    *ret = fd;
    return true;
}

/* Binds one address; -1 with errno when that fails. */
static int
listen_at(const struct addrinfo *a)
{
    const int yes = 1, no = 0;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (a->ai_family == AF_INET6) { /* [::] serves IPv4 too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Splits "host:port", "[v6]:port" or ":port"; host is "" for any address. */
static bool
split_address(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (!colon || n >= size || (!bracketed && memchr(text, ':', n))) {
        return false;
    }
    (void)snprintf(host, size, "%.*s", (int)(bracketed ? n - 2 : n), text + bracketed);
    *ret_port = colon + 1;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits && digits <= 5 && !colon[1 + digits] && atoi(colon + 1) <= 65535;
}

static bool
listen_tcp(const char *text, int *ret, struct err *e)
{
    static const int any_families[] = {AF_INET6, AF_INET}, all_families[] = {AF_UNSPEC};
    char host[256];
    const char *port;
    if (!split_address(text, host, sizeof host, &port)) {
        return err_set(e, ERR_INPUT, "%s: malformed address (write host:port, :port or unix:/path)",
                       text);
    }
    const int *families = *host ? all_families : any_families;
    for (size_t i = 0; i < (*host ? 1u : 2u); i++) {
        struct addrinfo hints = {.ai_family = families[i],
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        struct addrinfo *list;
        int error = getaddrinfo(*host ? host : NULL, port, &hints, &list);
        if (error) {
            (void)err_set(e, ERR_REFUSED, "%s: %s", text, gai_strerror(error));
            continue;
        }
        *ret = -1;
        for (const struct addrinfo *a = list; a && *ret < 0; a = a->ai_next) {
            *ret = listen_at(a);
        }
        error = errno;
        freeaddrinfo(list);
        if (*ret >= 0) {
            return true;
        }
        (void)err_set(e, ERR_REFUSED, "%s: %s", text, strerror(error));
    }
    return false;
}

/* Starts the server's thread with every signal blocked, so that the program's own thread gets them.
 */
static bool
start_daemon(struct http_server *s, int fd, struct err *e)
{
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    s->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, on_request, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!s->daemon) {
        (void)close(fd);
        return err_set(e, ERR_RETRY, "the HTTP server's thread cannot be started");
    }
    return true;
}

bool
http_server_start(const char *listen, struct http_server **ret, struct err *e)
{
    *ret = NULL;
    if (!*listen) {
        return true;
    }
    struct http_server *s = xcalloc(1, sizeof *s);
    int fd = -1;
    bool ok = strncmp(listen, "unix:", 5) == 0 ? listen_unix(s, listen + 5, &fd, e)
                                               : listen_tcp(listen, &fd, e);
    if (ok && start_daemon(s, fd, e)) {
        *ret = s;
        return true;
    }
    http_server_stop(s);
    return false;
}

void
http_server_stop(struct http_server *s)
{
    if (!s) {
        return;
    }
    struct stat st;
    if (s->path && lstat(s->path, &st) == 0 && st.st_dev == s->made.st_dev &&
        st.st_ino == s->made.st_ino) {
        (void)unlink(s->path);
    }
    if (s->daemon) {
        MHD_stop_daemon(s->daemon); /* closes the listening socket too */
    }
    free(s->path);
    free(s);
}
