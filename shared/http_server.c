#include "shared/http_server.h"

#include "shared/clock.h"
#include "shared/http_listen.h"
#include "shared/http_post.h"
#include "shared/mem.h"
#include "shared/metrics.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>
#include <systemd/sd-daemon.h>

enum {
    STALE_MS = 10000,          /* a loop that has not turned for so long is stuck */
    CONNECTIONS = 16,          /* a scraper, a few probes and a person */
    IDLE_SECONDS = 5,          /* for a connection without traffic */
    CONNECTION_MEMORY = 16384, /* bytes of a request's line and headers */
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
answer_page(struct MHD_Connection *conn, const char *path, const char *method)
{
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

/* --- the server
 * ------------------------------------------------------------------------------------------ */

struct http_server {
    struct MHD_Daemon *daemon;
    struct http_posts *posts; /* NULL: pages only */
    struct http_listener listener;
};

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *conn, const char *path, const char *method,
           const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct http_server *s = arg;
    (void)version;
    if (s->posts && http_posts_has(s->posts, path)) {
        return (enum MHD_Result)http_posts_request(s->posts, conn, path, method, upload,
                                                   upload_size, state);
    }
    return answer_page(conn, path, method);
}

static void
on_completed(void *arg, struct MHD_Connection *conn, void **state,
             enum MHD_RequestTerminationCode why)
{
    (void)arg, (void)conn, (void)why;
    http_posts_completed(*state);
    *state = NULL;
}

static unsigned
connections(const struct http_posts *posts)
{
    return posts ? http_posts_connections(posts) : CONNECTIONS;
}

/* Starts the server's thread with every signal blocked, so that the program's own thread gets them.
 */
static bool
start_daemon(struct http_server *s, struct err *e)
{
    sigset_t all, old;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    s->daemon = MHD_start_daemon(flags | (s->posts ? MHD_ALLOW_SUSPEND_RESUME : 0), 0, NULL, NULL,
                                 on_request, s, MHD_OPTION_LISTEN_SOCKET, s->listener.fd,
                                 MHD_OPTION_CONNECTION_LIMIT, connections(s->posts),
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!s->daemon) {
        (void)close(s->listener.fd);
        return err_set(e, ERR_RETRY, "the HTTP server's thread cannot be started");
    }
    return true;
}

bool
http_server_start_posts(const char *listen, struct http_posts *posts, struct http_server **ret,
                        struct err *e)
{
    *ret = NULL;
    if (!*listen) {
        return true;
    }
    struct http_server *s = xcalloc(1, sizeof *s);
    s->posts = posts;
    if (http_listen(listen, (int)connections(posts), &s->listener, e) && start_daemon(s, e)) {
        *ret = s;
        return true;
    }
    http_server_stop(s);
    return false;
}

bool
http_server_start(const char *listen, struct http_server **ret, struct err *e)
{
    return http_server_start_posts(listen, NULL, ret, e);
}

void
http_server_name(const struct http_server *s, char *out, size_t size)
{
    http_listen_name(&s->listener, out, size);
}

void
http_server_refuse(struct http_server *s)
{
    http_listen_unlink(&s->listener);
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET) {
        (void)close(fd);
    }
}

void
http_server_stop(struct http_server *s)
{
    if (!s) {
        return;
    }
    http_listen_unlink(&s->listener);
    if (s->daemon) {
        MHD_stop_daemon(s->daemon); /* closes the listening socket too */
    }
    free(s);
}
