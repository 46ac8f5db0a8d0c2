/* One request as libcurl sees it: its options, the callbacks it makes, what came of it.  The
 * callbacks note things and finish nothing. */
#include "shared/clock.h"
#include "worker/http_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    MAX_HEAD = 64 * 1024, /* bytes of an answer's head: libcurl itself would keep any number */
    /* Seconds an idle connection is used again.  The repeat this file guards against starts with a
     * connection the server closes for idleness just then; Node's servers do so after 5 s. */
    MAX_IDLE = 3,
};

const char *
http_end_name(enum http_end end)
{
    switch (end) {
    case HTTP_ANSWERED:
        return "answered";
    case HTTP_FAILED:
        return "failed";
    case HTTP_STALE:
        return "stale";
    case HTTP_QUEUE_TIMEOUT:
        return "queue-timeout";
    case HTTP_ADDRESS_REFUSED:
        return "address-refused";
    case HTTP_RESEND_REFUSED:
        return "resend-refused";
    case HTTP_CLOSED:
        return "closed";
    }
    return "?";
}

/* About to write the request: the last moment at which it has certainly not left. */
static int
before_writing(void *arg, char *to, char *from, int to_port, int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    struct exchange *x = arg;
    x->writings++;
    if (x->writings > 1) {
        x->result.end = HTTP_RESEND_REFUSED;
        return CURL_PREREQFUNC_ABORT;
    }
    if (x->http->closing) {
        x->result.end = HTTP_CLOSED;
        return CURL_PREREQFUNC_ABORT;
    }
    if (x->not_after_ms && clock_mono_ms() > x->not_after_ms) {
        x->result.end = HTTP_STALE;
        return CURL_PREREQFUNC_ABORT;
    }
    x->result.started = true;
    return CURL_PREREQFUNC_OK;
}

static size_t
read_body(char *to, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    size_t room = size * n, left = x->body_len - x->body_read;
    size_t len = left < room ? left : room;
    if (len) {
        memcpy(to, x->body + x->body_read, len);
    }
    x->body_read += len;
    return len;
}

/* A body is written once: libcurl asks for a rewind only to send it again. */
static int
refuse_seek(void *arg, curl_off_t offset, int origin)
{
    (void)arg, (void)offset, (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

static size_t
take_body(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    size_t len = size * n, room = x->http->options.max_body - x->answer.len;
    x->result.truncated = len > room;
    buf_add(&x->answer, p, x->result.truncated ? room : len);
    return x->result.truncated ? 0 : len;
}

static void
take_header(const char *p, size_t len, const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);
    if (len <= n || strncasecmp(p, name, n) != 0) {
        return;
    }
    p += n;
    len -= n;
    while (len && (*p == ' ' || *p == '\t')) {
        p++;
        len--;
    }
    while (len && (unsigned char)p[len - 1] <= ' ') {
        len--;
    }
    (void)snprintf(ret, size, "%.*s", (int)len, p);
}

static size_t
take_head(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    size_t len = size * n;
    if (len > MAX_HEAD - x->head_len) {
        return 0;
    }
    x->head_len += len;
    if (len > 5 && memcmp(p, "HTTP/", 5) == 0) { /* a head of its own follows 100 Continue */
        x->result.retry_after[0] = x->result.date[0] = x->result.extra[0] = '\0';
    }
    take_header(p, len, "Retry-After:", x->result.retry_after, sizeof x->result.retry_after);
    take_header(p, len, "Date:", x->result.date, sizeof x->result.date);
    if (x->http->options.extra_header) {
        take_header(p, len, x->http->options.extra_header, x->result.extra, sizeof x->result.extra);
    }
    return len;
}

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)purpose;
    struct exchange *x = arg;
    /* A unix socket is named by the settings only, so there is nothing to guard. */
    if (a->family != AF_UNIX && !x->http->options.allow_private && http_address_private(&a->addr)) {
        x->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static CURLcode
set_limits(struct exchange *x, CURL *c, int64_t left_ms)
{
    const struct http_options *o = &x->http->options;
    CURLcode rc = CURLE_OK;
#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(c, option, value))
    SET(CURLOPT_NOSIGNAL, 1L);
    /* Without it a time-out during a name look-up blocks the loop until getaddrinfo() gives up. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_TIMEOUT_MS, (long)left_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(o->connect_ms < left_ms ? o->connect_ms : left_ms));
    SET(CURLOPT_MAXAGE_CONN, (long)MAX_IDLE);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)(o->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* not even from the environment */
    SET(CURLOPT_SSL_VERIFYPEER, o->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, o->insecure ? 0L : 2L);
    if (x->http->unix_socket) {
        SET(CURLOPT_UNIX_SOCKET_PATH, x->http->unix_socket);
    }
    return rc;
}

static CURLcode
set_callbacks(struct exchange *x, CURL *c)
{
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_ERRORBUFFER, x->curl_text);
    SET(CURLOPT_PREREQFUNCTION, before_writing);
    SET(CURLOPT_PREREQDATA, x);
    SET(CURLOPT_READFUNCTION, read_body);
    SET(CURLOPT_READDATA, x);
    SET(CURLOPT_SEEKFUNCTION, refuse_seek);
    SET(CURLOPT_SEEKDATA, x);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_HEADERFUNCTION, take_head);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, x);
    return rc;
}

static CURLcode
set_request(struct exchange *x, CURL *c)
{
    CURLcode rc = CURLE_OK;
    bool bodiless = x->body_len == 0 && strcasecmp(x->method, "GET") == 0;
    SET(CURLOPT_URL, x->url);
    SET(CURLOPT_HTTPHEADER, x->headers);
    if (!bodiless) {
        /* Never CURLOPT_POSTFIELDS: see http.h. */
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_len);
    }
    SET(CURLOPT_CUSTOMREQUEST, x->method);
#undef SET
    return rc;
}

CURLcode
exchange_configure(struct exchange *x, CURL *c, int64_t left_ms)
{
    CURLcode rc = set_limits(x, c, left_ms);
    rc = rc ? rc : set_callbacks(x, c);
    return rc ? rc : set_request(x, c);
}

struct exchange *
exchange_new(struct http *h, const struct http_request *r, http_done *done, void *arg)
{
    struct exchange *x = xcalloc(1, sizeof *x);
    x->http = h;
    x->done = done;
    x->arg = arg;
    x->method = xstrdup(r->method);
    x->url = xstrdup(r->url);
    x->body = xmalloc(r->body_len);
    if (r->body_len) {
        memcpy(x->body, r->body, r->body_len);
    }
    x->body_len = r->body_len;
    x->not_after_ms = r->not_after_mono_ms;
    x->deadline_ms = clock_mono_ms() + h->options.total_ms;
    struct buf line = {0};
    x->headers = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct http_header *f = &r->headers[i];
        buf_clear(&line);
        /* "Name:" would remove a header; "Name;" is libcurl's way to write an empty one. */
        buf_addf(&line, *f->value ? "%s: %s" : "%s;", f->name, f->value);
        x->headers = curl_slist_append(x->headers, line.data);
    }
    buf_done(&line);
    return x;
}

void
exchange_free(struct exchange *x)
{
    curl_slist_free_all(x->headers);
    buf_done(&x->answer);
    free(x->method);
    free(x->url);
    free(x->body);
    free(x);
}

void
exchange_conclude(struct exchange *x, CURLcode rc)
{
    struct http_result *r = &x->result;
    long status = 0;
    if (x->easy) {
        (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    }
    if (rc == CURLE_OK || (rc == CURLE_WRITE_ERROR && r->truncated)) {
        r->end = HTTP_ANSWERED;
        r->status = (int)status;
        r->body = x->answer.len ? x->answer.data : "";
        r->body_len = x->answer.len;
        (void)snprintf(r->code, sizeof r->code, "%d", r->status);
        return;
    }
    if (r->end == HTTP_ANSWERED) { /* no callback gave another reason */
        r->end = x->refused && !x->writings ? HTTP_ADDRESS_REFUSED : HTTP_FAILED;
    }
    if (r->end == HTTP_FAILED) {
        const char *why = x->curl_text[0] ? x->curl_text : curl_easy_strerror(rc);
        (void)snprintf(r->code, sizeof r->code, "curl-%d", (int)rc);
        (void)snprintf(r->text, sizeof r->text, "%.150s", why);
        for (char *p = r->text; *p; p++) {
            *p = *p < ' ' || *p > '~' ? '?' : *p;
        }
        return;
    }
    (void)snprintf(r->code, sizeof r->code, "%s", http_end_name(r->end));
}

static bool
literal_private(const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    char bare[64];
    size_t n = strlen(host);
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        return http_address_private((const struct sockaddr *)&in);
    }
    if (n > 2 && host[0] == '[' && n - 2 < sizeof bare) {
        (void)snprintf(bare, sizeof bare, "%.*s", (int)(n - 2), host + 1);
        return inet_pton(AF_INET6, bare, &in6.sin6_addr) == 1 &&
               http_address_private((const struct sockaddr *)&in6);
    }
    return false;
}

bool
http_url_check(const char *url, bool allow_private, struct err *e)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL;
    CURLUcode rc = u ? curl_url_set(u, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
    rc = rc ? rc : curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    rc = rc ? rc : curl_url_get(u, CURLUPART_HOST, &host, 0);
    bool ok = !rc;
    if (rc) {
        ok = err_set(e, ERR_INPUT, "not a URL: %s", curl_url_strerror(rc));
    } else if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0) {
        ok = err_set(e, ERR_INPUT, "a URL must begin with http:// or https://");
    } else if (!allow_private && literal_private(host)) {
        ok = err_set(e, ERR_INPUT, "%s is a private address; allow_private = yes allows it", host);
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);
    return ok;
}
