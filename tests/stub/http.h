/* http.h -- one HTTP/1.1 request out of a stream of bytes, however the stream was cut (RFC 9112).
 *
 * The reader is strict: bare line feeds, folded headers, both kinds of body length at once, control
 * bytes and anything over the limits are refused, because a request that two readers may understand
 * differently has no place in a witness. */
#ifndef TESTS_STUB_HTTP_H
#define TESTS_STUB_HTTP_H

#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    HTTP_HEAD_MAX = 16 * 1024, /* request line and headers, or trailers, of one request */
    HTTP_BODY_MAX = 1024 * 1024,
    HTTP_FIELD_MAX = 128, /* a header value that goes into the ledger */
};

enum http_phase {
    HTTP_REQUEST_LINE,
    HTTP_HEADERS,
    HTTP_BODY,
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_END,
    HTTP_TRAILERS,
};

enum http_event {
    HTTP_MORE, /* all usable bytes are used up */
    HTTP_HEAD, /* the headers have arrived; the next call goes on with the body */
    HTTP_DONE, /* the whole request is here; call http_next() before the next one */
    HTTP_BAD,  /* status and why say what to answer; the stream cannot be read on */
};

struct http_req {
    enum http_phase phase;
    size_t scan;       /* bytes of the current line already searched for its end */
    size_t head_bytes; /* of HTTP_HEAD_MAX */
    size_t length;     /* of the body, or what is left of a chunk */
    int status;
    const char *why;
    const char *body; /* at HTTP_DONE; borrowed from the caller's bytes or from chunks */
    size_t body_len;
    struct buf chunks;
    bool http_1_0, keep_alive, has_length, chunked, expect_continue, json;
    char method[16], path[256];
    char job[HTTP_FIELD_MAX], attempt[HTTP_FIELD_MAX];
    char device[HTTP_FIELD_MAX], recipient[HTTP_FIELD_MAX];
};

/* Reads on in the n bytes at p, which begin where the last call stopped: it said in *used how many
 * bytes it will not look at again.  p need not be the same address as before. */
enum http_event http_parse(struct http_req *r, const char *p, size_t n, size_t *used);

/* Makes r ready for the next request; a zeroed struct is ready. */
void http_next(struct http_req *r);
void http_done(struct http_req *r);

#endif
