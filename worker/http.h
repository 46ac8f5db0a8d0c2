/* http.h -- HTTP requests on the loop, each certainly sent at most once.  The only user of libcurl
 * that sends messages (ctl/media_fetch.c downloads).
 *
 * libcurl repeats a request by itself when a kept connection is closed after the request was
 * written and before an answer came (measured on 7.88.1: the server had the body twice, the caller
 * saw one 200). For a message that is a second delivery nobody knows of, so it is stopped twice
 * over:
 *
 *   - the body goes through a read callback whose seek callback fails: a body that was begun cannot
 * be rewound, and the repeat ends as error 65;
 *   - a callback that libcurl makes before each writing of a request counts, and refuses the
 * second.
 *
 * The same count tells what no error code tells: a transfer that ended before the first call has
 * certainly not left (`started` is false); any other without an answer may have arrived.
 *
 * Everything runs on the loop's thread.  SIGPIPE must be ignored by the program. */
#ifndef WORKER_HTTP_H
#define WORKER_HTTP_H

#include "shared/err.h"
#include "shared/http_address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct http;

struct http_options {
    const char *unix_socket;  /* path of a unix socket instead of TCP, or NULL */
    int64_t connect_ms;       /* for name, TCP and TLS */
    int64_t total_ms;         /* from http_send to the end of the answer */
    size_t max_body;          /* bytes of an answer's body that are kept */
    int max_connections;      /* requests at once; more wait their turn within total_ms */
    bool allow_private;       /* private, loopback and link-local addresses may be called */
    bool insecure;            /* TLS certificates are not verified */
    bool http2;               /* where TLS offers it; see http_open */
    const char *extra_header; /* "Name:" of one more header of the answer to keep, or NULL; lasts
                                 as long as the pool */
};

struct http_header {
    const char *name, *value;
};

/* Copied by http_send. */
struct http_request {
    const char *method, *url;
    const struct http_header *headers;
    size_t n_headers;
    const char *body;
    size_t body_len;
    int64_t not_after_mono_ms; /* not begun later than this clock_mono_ms(); 0 = no limit */
};

enum http_end {
    HTTP_ANSWERED,        /* status and head are there, and the body, whole or cut at max_body */
    HTTP_FAILED,          /* libcurl's error, code "curl-28" */
    HTTP_STALE,           /* not_after_mono_ms had passed: not started */
    HTTP_QUEUE_TIMEOUT,   /* no connection came free within total_ms: not started */
    HTTP_ADDRESS_REFUSED, /* every address of the host is private: not started */
    HTTP_RESEND_REFUSED,  /* libcurl was about to send it a second time */
    HTTP_CLOSED,          /* http_close came first */
};

/* Valid until the callback returns. */
struct http_result {
    enum http_end end;
    bool started; /* false: no byte of the request has left, certainly */
    int status;   /* 0 unless end is HTTP_ANSWERED */
    const char *body;
    size_t body_len;
    /* The body went on beyond max_body.  The connection is then given up, but the answer counts:
     * its status is known, so the request's fate is, and only what the body would add is lost. */
    bool truncated;
    char retry_after[64], date[64]; /* these headers as they came, "" without */
    char extra[2048];               /* options.extra_header likewise, cut off at its end */
    int64_t ms;                     /* from leaving the queue to the end */
    char code[32];                  /* "200", "curl-7", "stale", "address-refused" */
    char text[160];
};

typedef void http_done(void *arg, const struct http_result *r);

/* One connection pool.  Each endpoint has its own, so that a slow one holds no connection of
 * another.
 *
 * A connection carries one request at a time, with HTTP/2 too: what ends a connection makes one
 * message unknown, not a hundred.  Measured with libcurl 7.88.1 and a peaceful Node server:
 * HTTP/1.1, none of 60,000 sends unknown; HTTP/2, 32, because libcurl resets each stream it is done
 * with and nghttp2 takes 1,000 resets for an attack; HTTP/2 multiplexed, 12 to 37 of 3,000, and
 * with a server that hangs up, answers cut short and called complete.  So http2 is for servers that
 * speak nothing else. */
MUST_USE bool http_open(struct ev_loop *loop, const struct http_options *o, struct http **ret,
                        struct err *e);

/* Borrows r.  done is called exactly once, from the loop or from http_close, never before http_send
 * has returned.  It may call http_send, never http_close. */
void http_send(struct http *h, const struct http_request *r, http_done *done, void *arg);

/* Takes the answers that are already there, reports the other requests as HTTP_CLOSED, starts none,
 * frees.  NULL is allowed. */
void http_close(struct http *h);

const char *http_end_name(enum http_end end);

/* Checks that a URL is one http_send can use: http or https, with a host.  A host written as an
 * address must be public unless private ones are allowed.  ERR_INPUT; the text does not repeat the
 * URL, which may hold a secret. */
MUST_USE bool http_url_check(const char *url, bool allow_private, struct err *e);

#endif
