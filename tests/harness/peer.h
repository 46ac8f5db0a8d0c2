/* peer.h -- a scripted HTTP/1.1 server for fault tests, on a thread of its own.
 *
 *     static void script(void *arg, const struct peer_request *rq, struct peer_reply *r)
 *     {
 *         peer_answer(r, 200, "{\"id\":\"a\"}");
 *     }
 *     struct peer *p = peer_start(&(struct peer_options){.script = script});
 *     ... requests to peer_url(p) ...
 *     peer_stop(p);
 *
 * It listens on an ephemeral port of 127.0.0.1, or on a unix socket.  The script runs on the peer's
 * thread once for each request that was read completely, before a byte of the answer is written. */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H

#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer;

struct peer_request {
    int connection; /* 1 for the first */
    int nth;        /* on this connection, 1 for the first */
    const char *head, *body;
    size_t body_len;
};

enum peer_then {
    PEER_KEEP,  /* wait for the next request */
    PEER_CLOSE, /* close in order */
    PEER_RESET, /* close with a reset */
    PEER_HOLD,  /* say nothing more, keep the connection open */
};

/* What to do with a request: after delay_ms write bytes, then `fill` letters, then end as `then`
 * says. */
struct peer_reply {
    struct buf bytes;
    uint64_t fill;
    int64_t delay_ms;
    enum peer_then then;
};

typedef void peer_script(void *arg, const struct peer_request *rq, struct peer_reply *reply);

struct peer_options {
    const char *unix_path; /* NULL = TCP */
    bool close_on_accept;  /* hang up without reading */
    bool only_head;        /* a request is complete when its head is; the body is not read */
    bool raw;              /* whatever was sent is a request: for peers that speak no HTTP */
    peer_script *script;
    void *arg;
};

struct peer *peer_start(const struct peer_options *o);
/* Closes everything and ends the thread. */
void peer_stop(struct peer *p);

/* "http://127.0.0.1:PORT", or "http://peer" for a unix socket. */
const char *peer_url(const struct peer *p);
int peer_port(const struct peer *p);

/* How many so far; may be read at any time. */
int peer_connections(struct peer *p);
int peer_requests(struct peer *p);
uint64_t peer_written(struct peer *p);

/* The last request, head and body, as text; the caller frees it. */
char *peer_last(struct peer *p);

/* Adds a whole answer with a Content-Length.  headers: complete lines, each with its CRLF, or "".
 */
void peer_answer_with(struct peer_reply *r, int status, const char *headers, const char *body);
void peer_answer(struct peer_reply *r, int status, const char *body);

#endif
