/* http_server.h -- /healthz, /readyz and /metrics of a program (libmicrohttpd, its own thread).
 *
 * healthz: 200 while the program's loop has called health_tick() within the last 10 s, 503 after.
 * It does not depend on Redis or MySQL, so a broker's outage restarts nobody. readyz: 200 while the
 * program has said health_ready(true), with the reason as body otherwise. */
#ifndef SHARED_HTTP_SERVER_H
#define SHARED_HTTP_SERVER_H

#include "shared/err.h"

#include <stddef.h>

struct http_server;
struct http_posts;

/* listen is "unix:/path", "host:port", ":port" or "" (no server: *ret is NULL and true is
 * returned). ERR_INPUT for a malformed address, ERR_REFUSED when it cannot be bound. */
MUST_USE bool http_server_start(const char *listen, struct http_server **ret, struct err *e);
void http_server_stop(struct http_server *s);

/* The same with one more path, to which an application posts: see http_post.h.  posts outlives the
 * server.  Before it is stopped, http_server_refuse() closes the door and http_posts_active() tells
 * when everybody has the answer: a request that waits for one must not be abandoned. */
MUST_USE bool http_server_start_posts(const char *listen, struct http_posts *posts,
                                      struct http_server **ret, struct err *e);
/* The address as bound: "127.0.0.1:41234", "unix:/path". */
void http_server_name(const struct http_server *s, char *out, size_t size);
/* No more connections; those that are there go on. */
void http_server_refuse(struct http_server *s);

void health_tick(void);
/* why is kept (a constant); ignored when ready. */
void health_ready(bool ready, const char *why);
bool health_is_ready(void);

/* sd_notify: READY=1, STOPPING=1, and WATCHDOG=1 from health_tick() when systemd asks for it. */
void health_notify_started(void);
void health_notify_stopping(void);

#endif
