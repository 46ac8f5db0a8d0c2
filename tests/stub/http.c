#include "tests/stub/http.h"

#include <string.h>
#include <strings.h>

enum { BUFFER_KEPT = 64 * 1024 }; /* larger chunk buffers are given back after the request */

static bool
bad(struct http_req *r, int status, const char *why)
{
    r->status = status;
    r->why = why;
    return false;
}

static bool
is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* A view of some bytes; not NUL-terminated. */
struct slice {
    const char *p;
    size_t n;
};

static bool
slice_is(struct slice s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

static bool
slice_has(struct slice s, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.n; i++) {
        if (strncasecmp(s.p + i, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static struct slice
slice_trim(struct slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

/* Cuts the bytes before the first separator off s; false when there is none. */
static bool
slice_cut(struct slice *s, char separator, struct slice *ret)
{
    const char *at = memchr(s->p, separator, s->n);
    if (!at) {
        return false;
    }
    *ret = (struct slice){s->p, (size_t)(at - s->p)};
    s->n -= ret->n + 1;
    s->p = at + 1;
    return true;
}

static bool
request_line(struct http_req *r, struct slice line)
{
    struct slice method, path;
    if (!slice_cut(&line, ' ', &method) || !slice_cut(&line, ' ', &path)) {
        return bad(r, 400, "the request line is not three words");
    }
    if (method.n == 0 || method.n >= sizeof r->method) {
        return bad(r, 501, "the method is unknown");
    }
    for (size_t i = 0; i < method.n; i++) {
        if (!is_token(method.p[i])) {
            return bad(r, 400, "the method is not a word");
        }
    }
    if (slice_is(method, "HEAD") || slice_is(method, "CONNECT")) {
        return bad(r, 501, "the method is not served");
    }
    if (path.n == 0 || *path.p != '/') {
        return bad(r, 400, "the target is not a path");
    }
    if (path.n >= sizeof r->path) {
        return bad(r, 414, "the path is too long");
    }
    r->http_1_0 = slice_is(line, "HTTP/1.0");
    if (!r->http_1_0 && !slice_is(line, "HTTP/1.1")) {
        return bad(r, 505, "the protocol is not HTTP/1.0 or HTTP/1.1");
    }
    r->keep_alive = !r->http_1_0;
    memcpy(r->method, method.p, method.n);
    memcpy(r->path, path.p, path.n);
    r->phase = HTTP_HEADERS;
    return true;
}

/* Keeps a value for the ledger, whose fields are separated by tabs. */
static bool
keep_field(struct http_req *r, char field[HTTP_FIELD_MAX], struct slice value)
{
    if (value.n >= HTTP_FIELD_MAX) {
        return bad(r, 431, "a header that goes into the ledger is too long");
    }
    if (*field) {
        return bad(r, 400, "a header that goes into the ledger appears twice");
    }
    if (memchr(value.p, '\t', value.n)) {
        return bad(r, 400, "a header that goes into the ledger contains a tab");
    }
    memcpy(field, value.p, value.n);
    return true;
}

static bool
content_length(struct http_req *r, struct slice value)
{
    size_t length = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') {
            return bad(r, 400, "the content length is no number");
        }
        length = length * 10 + (size_t)(value.p[i] - '0');
        if (length > HTTP_BODY_MAX) {
            return bad(r, 413, "the body is too long");
        }
    }
    if (value.n == 0 || (r->has_length && r->length != length)) {
        return bad(r, 400, "the content length is empty or contradicts itself");
    }
    r->has_length = true;
    r->length = length;
    return true;
}

static bool
header_value(struct http_req *r, struct slice name, struct slice value)
{
    if (slice_is(name, "Idempotency-Key")) {
        return keep_field(r, r->job, value);
    }
    if (slice_is(name, "X-Attempt")) {
        return keep_field(r, r->attempt, value);
    }
    if (slice_is(name, "X-Device")) {
        return keep_field(r, r->device, value);
    }
    if (slice_is(name, "X-Recipient")) {
        return keep_field(r, r->recipient, value);
    }
    if (slice_is(name, "Content-Length")) {
        return content_length(r, value);
    }
    if (slice_is(name, "Content-Type")) {
        r->json = slice_has(value, "json");
    } else if (slice_is(name, "Connection")) {
        if (slice_has(value, "close")) {
            r->keep_alive = false;
        } else if (r->http_1_0 && slice_has(value, "keep-alive")) {
            r->keep_alive = true;
        }
    } else if (slice_is(name, "Transfer-Encoding")) {
        if (r->chunked || r->http_1_0 || !slice_is(value, "chunked")) {
            return bad(r, 501, "the transfer encoding is not served");
        }
        r->chunked = true;
    } else if (slice_is(name, "Expect")) {
        if (!slice_is(value, "100-continue")) {
            return bad(r, 417, "the expectation cannot be met");
        }
        r->expect_continue = true;
    }
    return true;
}

static bool
header(struct http_req *r, struct slice line)
{
    struct slice name, value = line;
    if (!slice_cut(&value, ':', &name) || name.n == 0) {
        return bad(r, 400, "a header has no name");
    }
    for (size_t i = 0; i < name.n; i++) {
        if (!is_token(name.p[i])) {
            return bad(r, 400, "a header's name is not a word");
        }
    }
    return header_value(r, name, slice_trim(value));
}

static bool
chunk_size(struct http_req *r, struct slice line)
{
    size_t size = 0, i = 0;
    for (; i < line.n && line.p[i] != ';'; i++) {
        const char *digits = "0123456789abcdef";
        char c = line.p[i] >= 'A' && line.p[i] <= 'F' ? (char)(line.p[i] + 32) : line.p[i];
        const char *at = c ? strchr(digits, c) : NULL;
        if (!at) {
            return bad(r, 400, "the size of a chunk is no number");
        }
        size = size * 16 + (size_t)(at - digits);
        if (size > HTTP_BODY_MAX - r->chunks.len) {
            return bad(r, 413, "the body is too long");
        }
    }
    if (i == 0) {
        return bad(r, 400, "a chunk has no size");
    }
    r->length = size;
    r->phase = size ? HTTP_CHUNK_DATA : HTTP_TRAILERS;
    return true;
}

enum line_result { LINE_MORE, LINE_FOUND, LINE_BAD };

/* Takes a line that ends with CR LF off the bytes at p + *used. */
static enum line_result
next_line(struct http_req *r, const char *p, size_t n, size_t *used, struct slice *line)
{
    const char *start = p + *used;
    size_t here = n - *used;
    const char *end = here > r->scan ? memchr(start + r->scan, '\n', here - r->scan) : NULL;
    size_t length = end ? (size_t)(end - start) + 1 : here;
    if (r->head_bytes + length > HTTP_HEAD_MAX) {
        bad(r, 431, "the headers are too long");
        return LINE_BAD;
    }
    if (!end) {
        r->scan = here;
        return LINE_MORE;
    }
    r->scan = 0;
    *used += length;
    r->head_bytes += length;
    if (length < 2 || end[-1] != '\r') {
        bad(r, 400, "a line does not end with CR LF");
        return LINE_BAD;
    }
    *line = (struct slice){start, length - 2};
    for (size_t i = 0; i < line->n; i++) {
        unsigned char c = (unsigned char)start[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            bad(r, 400, "a line contains control bytes");
            return LINE_BAD;
        }
    }
    return LINE_FOUND;
}

/* The empty line after the headers: how long is the body? */
static enum http_event
end_of_head(struct http_req *r)
{
    if (r->chunked && r->has_length) {
        bad(r, 400, "the body has two lengths");
        return HTTP_BAD;
    }
    r->phase = r->chunked ? HTTP_CHUNK_SIZE : HTTP_BODY;
    r->head_bytes = 0;
    return HTTP_HEAD;
}

/* One step of the phases that are made of lines. */
static enum http_event
parse_line(struct http_req *r, struct slice line)
{
    bool ok = true;
    switch (r->phase) {
    case HTTP_REQUEST_LINE:
        /* RFC 9112 2.2: empty lines before a request are to be ignored. */
        ok = line.n == 0 || request_line(r, line);
        break;
    case HTTP_HEADERS:
        if (line.n == 0) {
            return end_of_head(r);
        }
        ok = header(r, line);
        break;
    case HTTP_CHUNK_SIZE:
        r->head_bytes = 0;
        ok = chunk_size(r, line);
        break;
    case HTTP_CHUNK_END:
        r->head_bytes = 0;
        r->phase = HTTP_CHUNK_SIZE;
        ok = line.n == 0 || bad(r, 400, "a chunk is longer than it said");
        break;
    case HTTP_TRAILERS:
        if (line.n == 0) {
            r->body = r->chunks.len ? r->chunks.data : "";
            r->body_len = r->chunks.len;
            return HTTP_DONE;
        }
        break;
    case HTTP_BODY:
    case HTTP_CHUNK_DATA:
        break;
    }
    return ok ? HTTP_MORE : HTTP_BAD;
}

enum http_event
http_parse(struct http_req *r, const char *p, size_t n, size_t *used)
{
    *used = 0;
    for (;;) {
        size_t here = n - *used;
        if (r->phase == HTTP_BODY) {
            if (here < r->length) {
                return HTTP_MORE;
            }
            r->body = r->length ? p + *used : "";
            r->body_len = r->length;
            *used += r->length;
            return HTTP_DONE;
        }
        if (here == 0) {
            return HTTP_MORE;
        }
        if (r->phase == HTTP_CHUNK_DATA) {
            size_t take = here < r->length ? here : r->length;
            buf_add(&r->chunks, p + *used, take);
            *used += take;
            r->length -= take;
            if (r->length == 0) {
                r->phase = HTTP_CHUNK_END;
            }
            continue;
        }
        struct slice line;
        enum line_result found = next_line(r, p, n, used, &line);
        if (found != LINE_FOUND) {
            return found == LINE_BAD ? HTTP_BAD : HTTP_MORE;
        }
        enum http_event event = parse_line(r, line);
        if (event != HTTP_MORE) {
            return event;
        }
    }
}

void
http_next(struct http_req *r)
{
    struct buf chunks = r->chunks;
    *r = (struct http_req){.chunks = chunks};
    if (r->chunks.cap > BUFFER_KEPT) {
        buf_done(&r->chunks);
    }
    buf_clear(&r->chunks);
}

void
http_done(struct http_req *r)
{
    buf_done(&r->chunks);
    *r = (struct http_req){0};
}
