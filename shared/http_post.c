#include "shared/http_post.h"

#include "shared/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <microhttpd.h>

enum {
    DISCARD_TIMES = 8, /* of the limit is read and dropped before a body is cut off */
    POST_CONNECTIONS = 64,
    WEBHOOK_CONNECTIONS = 256,
    BUSY_S = 5, /* for whoever came too much */
    HEADERS_MAX = 8
};

struct http_posts {
    struct http_posts_config c;
    char *credentials; /* what follows "Basic " */
    pthread_mutex_t lock;
    pthread_cond_t come;
    struct http_post *first, **last; /* complete, and not asked for yet */
    size_t active;
    size_t held; /* bytes of bodies */
};

/* Belongs to the server's thread, but between its hand-over and http_post_answer(), when it belongs
 * to the program's. */
struct http_post {
    struct http_posts *all;
    struct MHD_Connection *conn;
    struct http_post *next;
    struct buf body, answer;
    size_t read;
    int64_t since_ms;
    unsigned status; /* 0: not decided */
    int retry_after_s;
    size_t held; /* of them here */
    bool handed_over, get, text;
    char *path, *headers[HEADERS_MAX];
};

/* --- credentials ---------------------------------------------------------------------- */

static char *
base64(const char *text, size_t n)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = xcalloc((n + 2) / 3 * 4 + 1, 1), *to = out;
    for (size_t i = 0; i < n; i += 3) {
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++) {
            bits = bits << 8 | (i + k < n ? (unsigned char)text[i + k] : 0);
        }
        for (size_t k = 0; k < 4; k++) {
            *to++ = i + k > n ? '=' : letters[bits >> (18 - 6 * k) & 63];
        }
    }
    return out;
}

/* Takes as long whatever is wrong: only the given text's length shows. */
static bool
same(const char *given, const char *secret)
{
    size_t n = strlen(given), length = strlen(secret);
    unsigned differs = n != length;
    for (size_t i = 0; i < n; i++) {
        differs |= (unsigned char)given[i] ^ (unsigned char)secret[length ? i % length : 0];
    }
    return !differs;
}

static bool
is_authorised(const struct http_posts *p, struct MHD_Connection *conn)
{
    const char *text = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Authorization");
    if (!text || strncasecmp(text, "Basic ", 6) != 0) {
        return false;
    }
    text += 6;
    return same(text + strspn(text, " "), p->credentials);
}

/* --- reading -------------------------------------------------------------------------- */

static void
drop_body(struct http_post *r)
{
    buf_done(&r->body);
    (void)pthread_mutex_lock(&r->all->lock);
    r->all->held -= r->held;
    (void)pthread_mutex_unlock(&r->all->lock);
    r->held = 0;
}

/* False when all bodies together would be too much. */
static bool
hold(struct http_post *r, size_t n)
{
    struct http_posts *p = r->all;
    (void)pthread_mutex_lock(&p->lock);
    bool fits = !p->c.all_max || p->held + n <= p->c.all_max;
    if (fits) {
        p->held += n;
        r->held += n;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return fits;
}

static void
refuse(struct http_post *r, unsigned status, const char *why)
{
    r->status = status;
    drop_body(r);
    buf_addf(&r->answer, "{\"error\":\"%s\"}", why);
}

static void
refuse_size(struct http_post *r)
{
    char why[96];
    (void)snprintf(why, sizeof why, "the body is longer than %zu bytes", r->all->c.body_max);
    refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, why);
}

static void
take_headers(struct http_post *r)
{
    const char *const *name = r->all->c.headers;
    for (size_t i = 0; name && name[i] && i < HEADERS_MAX; i++) {
        const char *value = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name[i]);
        r->headers[i] = value ? xstrdup(value) : NULL;
    }
}

/* The headers are there. */
static struct http_post *
begin(struct http_posts *p, struct MHD_Connection *conn, const char *path, const char *method)
{
    struct http_post *r = xcalloc(1, sizeof *r);
    *r = (struct http_post){.all = p, .conn = conn, .since_ms = clock_mono_ms()};
    const char *length = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Content-Length");
    r->path = xstrdup(path);
    r->get = p->c.webhook && strcmp(method, "GET") == 0;
    take_headers(r);
    if (!r->get && strcmp(method, "POST") != 0) {
        refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, p->c.webhook ? "only GET and POST" : "only POST");
    } else if (p->c.user && !is_authorised(p, conn)) {
        refuse(r, MHD_HTTP_UNAUTHORIZED, "wrong user name or password");
    } else if (length && strtoull(length, NULL, 10) > p->c.body_max) {
        refuse_size(r);
    }
    (void)pthread_mutex_lock(&p->lock);
    p->active++;
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

static bool
take(struct http_post *r, const char *upload, size_t n)
{
    const struct http_posts_config *c = &r->all->c;
    r->read += n;
    if (clock_mono_ms() - r->since_ms > c->body_ms || r->read > DISCARD_TIMES * c->body_max) {
        return false; /* in the middle of a body the library takes no answer */
    }
    if (!r->status && r->read > c->body_max) {
        refuse_size(r);
    }
    if (!r->status && !hold(r, n)) {
        r->retry_after_s = BUSY_S;
        refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, "too much comes at once: post it again");
    }
    if (!r->status) {
        buf_add(&r->body, upload, n);
    }
    return true;
}

/* Suspended first: the program's answer may come before this returns. */
static void
hand_over(struct http_post *r)
{
    struct http_posts *p = r->all;
    buf_add(&r->body, "", 0); /* NUL-terminated, if empty too */
    r->handed_over = true;
    MHD_suspend_connection(r->conn);
    (void)pthread_mutex_lock(&p->lock);
    *p->last = r;
    p->last = &r->next;
    (void)pthread_cond_signal(&p->come);
    (void)pthread_mutex_unlock(&p->lock);
}

static enum MHD_Result
send_answer(struct http_post *r)
{
    buf_reserve(&r->answer, 0);
    struct MHD_Response *m =
        MHD_create_response_from_buffer(r->answer.len, r->answer.data, MHD_RESPMEM_MUST_FREE);
    if (!m) {
        return MHD_NO;
    }
    r->answer = (struct buf){0};
    (void)MHD_add_response_header(m, "Content-Type",
                                  r->text ? "text/plain; charset=utf-8" : "application/json");
    (void)MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
    if (!r->all->c.webhook) {
        (void)MHD_add_response_header(m, "Connection", "close");
    }
    if (r->status == MHD_HTTP_UNAUTHORIZED && r->all->c.user) {
        (void)MHD_add_response_header(m, "WWW-Authenticate", "Basic realm=\"paceline\"");
    } else if (r->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(m, "Allow", r->all->c.webhook ? "GET, POST" : "POST");
    }
    if (r->retry_after_s) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%d", r->retry_after_s);
        (void)MHD_add_response_header(m, "Retry-After", seconds);
    }
    enum MHD_Result result = MHD_queue_response(r->conn, r->status, m);
    MHD_destroy_response(m);
    return result;
}

/* Called by the library first with the headers, then for each part of the body, at its end, and
 * once more when the program has answered. */
int
http_posts_request(struct http_posts *p, struct MHD_Connection *conn, const char *path,
                   const char *method, const char *upload, size_t *upload_size, void **state)
{
    struct http_post *r = *state;
    if (!r) {
        *state = begin(p, conn, path, method);
        return MHD_YES;
    }
    if (*upload_size) {
        bool ok = take(r, upload, *upload_size);
        *upload_size = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    if (r->status) {
        return (int)send_answer(r);
    }
    if (!r->handed_over) {
        hand_over(r);
    }
    return MHD_YES;
}

void
http_posts_completed(struct http_post *r)
{
    if (!r) {
        return;
    }
    struct http_posts *p = r->all;
    drop_body(r);
    buf_done(&r->answer);
    for (size_t i = 0; i < HEADERS_MAX; i++) {
        free(r->headers[i]);
    }
    free(r->path);
    free(r);
    (void)pthread_mutex_lock(&p->lock);
    p->active--;
    (void)pthread_cond_signal(&p->come); /* whoever waits for the last one looks again */
    (void)pthread_mutex_unlock(&p->lock);
}

/* --- the program's side --------------------------------------------------------------- */

struct http_posts *
http_posts_open(const struct http_posts_config *c)
{
    struct http_posts *p = xcalloc(1, sizeof *p);
    char *pair = xasprintf("%s:%s", c->user ? c->user : "", c->password ? c->password : "");
    pthread_condattr_t monotonic;
    p->c = *c;
    p->credentials = base64(pair, strlen(pair));
    p->last = &p->first;
    free(pair);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&p->come, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return p;
}

void
http_posts_close(struct http_posts *p)
{
    if (p) {
        (void)pthread_cond_destroy(&p->come);
        (void)pthread_mutex_destroy(&p->lock);
        free(p->credentials);
        free(p);
    }
}

bool
http_posts_has(const struct http_posts *p, const char *path)
{
    size_t n = strlen(p->c.path);
    return n && p->c.path[n - 1] == '/' ? strncmp(path, p->c.path, n) == 0
                                        : strcmp(path, p->c.path) == 0;
}

unsigned
http_posts_connections(const struct http_posts *p)
{
    return p->c.webhook ? WEBHOOK_CONNECTIONS : POST_CONNECTIONS;
}

struct http_post *
http_posts_next(struct http_posts *p, int wait_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&p->lock);
    if (!p->first) {
        (void)pthread_cond_timedwait(&p->come, &p->lock, &until);
    }
    struct http_post *r = p->first;
    if (r) {
        p->first = r->next;
        p->last = p->first ? p->last : &p->first;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

const char *
http_post_body(const struct http_post *r, size_t *ret_len)
{
    *ret_len = r->body.len;
    return r->body.data;
}

const char *
http_post_path(const struct http_post *r)
{
    return r->path;
}

bool
http_post_is_get(const struct http_post *r)
{
    return r->get;
}

const char *
http_post_header(const struct http_post *r, size_t i)
{
    return r->headers[i];
}

/* The connection is suspended, so nobody else looks at it. */
const char *
http_post_query(const struct http_post *r, const char *name)
{
    return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
}

void
http_post_answer_text(struct http_post *r, unsigned status, struct buf *text)
{
    r->text = true;
    http_post_answer(r, status, text, 0);
}

void
http_post_answer(struct http_post *r, unsigned status, struct buf *json, int retry_after_s)
{
    drop_body(r);
    r->answer = *json;
    *json = (struct buf){0};
    r->retry_after_s = retry_after_s;
    r->status = status;
    MHD_resume_connection(r->conn); /* from here on it is the server's */
}

size_t
http_posts_active(struct http_posts *p)
{
    (void)pthread_mutex_lock(&p->lock);
    size_t n = p->active;
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}
