/* worker/http against a scripted peer: nothing is sent twice, and what came of each request. */
#include "tests/unit/http_calls.h"

#include <stdatomic.h>

#include <curl/curl.h>

/* --- the repeated request -------------------------------------------------------------------- */

/* Answers the first request of each connection; reads the second and hangs up; answers later ones.
 */
static void
hang_up_on_second(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    (void)arg;
    if (rq->connection == 1 && rq->nth == 2) {
        r->then = PEER_CLOSE;
    } else {
        peer_answer(r, 200, "ok");
    }
}

static size_t
drop_body(char *p, size_t size, size_t n, void *arg)
{
    (void)p, (void)arg;
    return size * n;
}

static size_t
give_body(char *p, size_t size, size_t n, void *arg)
{
    size_t *given = arg;
    size_t len = *given || size * n < 5 ? 0 : 5;
    memcpy(p, "hello", len);
    *given += len;
    return len;
}

static int
fail_seek(void *arg, curl_off_t offset, int origin)
{
    (void)arg, (void)offset, (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

static int
count_writing(void *arg, char *a, char *b, int c, int d)
{
    (void)a, (void)b, (void)c, (void)d;
    return ++*(int *)arg > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* Two POSTs by libcurl itself, the second on a kept connection that is closed after it was read.
 * Returns how the second ended; *ret_bodies is what the peer had of both. */
static CURLcode
post_twice(bool unseekable, bool counted, int *ret_bodies)
{
    struct peer *p = peer_start(&(struct peer_options){.script = hang_up_on_second});
    CURL *c = curl_easy_init();
    CURLcode rc = CURLE_OK;
    for (int i = 0; i < 2; i++) {
        size_t given = 0;
        int writings = 0;
        curl_easy_reset(c);
        (void)curl_easy_setopt(c, CURLOPT_URL, peer_url(p));
        (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop_body);
        (void)curl_easy_setopt(c, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, 5L);
        if (unseekable) {
            (void)curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body);
            (void)curl_easy_setopt(c, CURLOPT_READDATA, &given);
            (void)curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, fail_seek);
        } else {
            (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, "hello");
        }
        if (counted) {
            (void)curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, count_writing);
            (void)curl_easy_setopt(c, CURLOPT_PREREQDATA, &writings);
        }
        rc = curl_easy_perform(c);
    }
    curl_easy_cleanup(c);
    *ret_bodies = peer_requests(p);
    peer_stop(p);
    return rc;
}

TEST(libcurl_alone_posts_a_body_twice_and_either_guard_stops_it)
{
    int bodies;
    CURLcode rc = post_twice(false, false, &bodies);
    if (bodies == 2) {
        printf("note: libcurl %s does not repeat such a POST any more\n", LIBCURL_VERSION);
        return;
    }
    CHECK_INT(CURLE_OK, rc); /* two sends, two answers ... */
    CHECK_INT(3, bodies);    /* ... and three deliveries */
    CHECK_INT(CURLE_SEND_FAIL_REWIND, post_twice(true, false, &bodies));
    CHECK_INT(2, bodies);
    CHECK_INT(CURLE_ABORTED_BY_CALLBACK, post_twice(false, true, &bodies));
    CHECK_INT(2, bodies);
}

enum { N_SENDS = 2400, AT_ONCE = 16 };

static struct storm {
    struct http *http;
    const char *url;
    int begun, ended, unknown, not_started;
    struct call calls[N_SENDS];
    atomic_int bodies[N_SENDS]; /* what the peer had, by the number in the body */
    uint64_t dice;
    bool after_answer; /* hang up behind an answer instead of in its place */
} storm;

static void
hang_up_at_random(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    struct storm *s = arg;
    (void)atomic_fetch_add(&s->bodies[strtol(rq->body, NULL, 10)], 1);
    s->dice = s->dice * 6364136223846793005u + 1442695040888963407u;
    bool hang_up = rq->nth > 1 && (s->dice >> 33) % 4 == 0;
    if (!hang_up || s->after_answer) {
        peer_answer(r, 200, rq->body);
    }
    r->then = hang_up ? PEER_CLOSE : PEER_KEEP;
}

static void storm_next(void);

static void
on_storm(void *arg, const struct http_result *r)
{
    struct call *c = arg;
    on_done(c, r);
    storm.ended++;
    storm.unknown += r->started && r->end != HTTP_ANSWERED;
    storm.not_started += !r->started;
    storm_next();
}

static void
storm_next(void)
{
    if (storm.begun == N_SENDS) {
        return;
    }
    int i = storm.begun++;
    char body[3000];
    int len = snprintf(body, sizeof body, "%d %*s", i, (int)(t_random() % 2000), "");
    const struct http_request r = {
        .method = "POST", .url = storm.url, .body = body, .body_len = (size_t)len};
    http_send(storm.http, &r, on_storm, &storm.calls[i]);
}

static struct peer *
run_storm(bool after_answer)
{
    storm.dice = t_random();
    storm.after_answer = after_answer;
    struct peer *p = peer_start(&(struct peer_options){.script = hang_up_at_random, .arg = &storm});
    storm.http =
        open_with((struct http_options){.allow_private = true, .max_connections = AT_ONCE});
    storm.url = peer_url(p);
    for (int i = 0; i < AT_ONCE; i++) {
        storm_next();
    }
    turn_until(&storm.ended, N_SENDS);
    return p;
}

TEST(a_peer_that_hangs_up_in_place_of_answers_has_no_body_twice)
{
    struct peer *p = run_storm(false);
    for (int i = 0; i < N_SENDS; i++) {
        CHECK_INT(1, storm.calls[i].times);
        CHECK_INT(true, storm.calls[i].r.started);
        CHECK(storm.calls[i].r.end != HTTP_RESEND_REFUSED); /* the rewind was refused before that */
        CHECK_INT(1, storm.bodies[i]);
    }
    CHECK_INT(N_SENDS, peer_requests(p));
    CHECK(peer_connections(p) < N_SENDS / 2); /* connections were used again */
    CHECK(storm.unknown > N_SENDS / 10);
    CHECK_INT(0, storm.not_started);
    finish(storm.http, p);
}

TEST(a_peer_that_hangs_up_behind_answers_has_no_body_twice)
{
    struct peer *p = run_storm(true);
    int bodies = 0;
    for (int i = 0; i < N_SENDS; i++) {
        CHECK_INT(1, storm.calls[i].times);
        CHECK(storm.bodies[i] <= 1);
        CHECK(storm.bodies[i] == 1 || storm.calls[i].r.end != HTTP_ANSWERED);
        bodies += storm.bodies[i];
    }
    CHECK_INT(bodies, peer_requests(p));
    CHECK(peer_connections(p) < N_SENDS);
    finish(storm.http, p);
}

TEST(a_request_without_a_body_is_not_repeated_either)
{
    struct peer *p = peer_start(&(struct peer_options){.script = hang_up_on_second});
    struct http *h = open_local();
    const struct http_request r = {.method = "GET", .url = peer_url(p)};
    struct call c = {0};
    http_send(h, &r, on_done, &c);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_ANSWERED, true);
    c.times = 0;
    http_send(h, &r, on_done, &c);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_RESEND_REFUSED, true);
    CHECK_INT(2, peer_requests(p));
    finish(h, p);
}

/* --- what came of it ------------------------------------------------------------------------- */

TEST(an_answer_comes_with_status_headers_and_body)
{
    struct call c = ask_peer_saying("HTTP/1.1 100 Continue\r\nRetry-After: 1\r\n\r\n"
                                    "HTTP/1.1 429 Slow\r\nretry-after:  7 \r\n"
                                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                    "Content-Length: 4\r\n\r\nwait",
                                    0, PEER_KEEP, (struct http_options){0});
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(429, c.r.status);
    CHECK_STR("429", c.r.code);
    CHECK_STR("7", c.r.retry_after);
    CHECK_STR("Sun, 06 Nov 1994 08:49:37 GMT", c.r.date);
    CHECK_STR("wait", c.body);
    CHECK_INT(4, c.r.body_len);
    CHECK(!c.r.truncated);
    c = ask_peer_saying("HTTP/1.1 100 Continue\r\nRetry-After: 1\r\nDate: x\r\n\r\n"
                        "HTTP/1.1 204 No\r\n\r\n",
                        0, PEER_KEEP, (struct http_options){0});
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(204, c.r.status);
    CHECK_STR("", c.r.retry_after); /* not the other head's */
    CHECK_STR("", c.r.date);
}

TEST(a_request_is_what_was_asked_for)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_local();
    const struct http_header headers[] = {{"X-A", "1"}, {"X-Empty", ""}, {"Content-Type", "a/b"}};
    char *body = xmalloc(2000001);
    memset(body, 'b', 2000000);
    body[2000000] = '\0';
    char url[128];
    (void)snprintf(url, sizeof url, "%s/a/../b?c=d", peer_url(p));
    const struct http_request r = {.method = "PUT",
                                   .url = url,
                                   .headers = headers,
                                   .n_headers = 3,
                                   .body = body,
                                   .body_len = 2000000};
    struct call c = {0};
    http_send(h, &r, on_done, &c);
    memset(body, 'x', 2000000); /* it was copied */
    turn_until(&c.times, 1);
    check_end(&c, HTTP_ANSWERED, true);
    char *got = peer_last(p), *end = strstr(got, "\r\n\r\n") + 4;
    CHECK(strncmp(got, "PUT /b?c=d HTTP/1.1\r\n", 21) == 0);
    CHECK(strstr(got, "\r\nX-A: 1\r\n") && strstr(got, "\r\nX-Empty:\r\n"));
    CHECK(strstr(got, "\r\nContent-Type: a/b\r\n") &&
          strstr(got, "\r\nContent-Length: 2000000\r\n"));
    CHECK(!strcasestr(got, "expect:") && !strcasestr(got, "transfer-encoding"));
    CHECK_INT(2000000, strlen(end));
    CHECK_INT(2000000, strspn(end, "b"));
    free(got);
    free(body);
    finish(h, p);
}

TEST(connections_are_used_again)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_local();
    for (int i = 0; i < 50; i++) {
        struct call c = ask(h, peer_url(p), "x");
        check_end(&c, HTTP_ANSWERED, true);
    }
    CHECK_INT(1, peer_connections(p));
    finish(h, p);
}

TEST(a_unix_socket_can_be_the_way)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/s", t_dir());
    struct peer *p = peer_start(&(struct peer_options){.unix_path = path, .script = say_ok});
    struct http *h = open_with((struct http_options){.unix_socket = path});
    struct call c = ask(h, peer_url(p), "x");
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(1, peer_requests(p));
    finish(h, p);
    struct err e;
    char far[200];
    memset(far, 'a', sizeof far);
    far[sizeof far - 1] = '\0';
    const struct http_options o = {
        .unix_socket = far, .connect_ms = 1, .total_ms = 1, .max_connections = 1};
    CHECK(!http_open(ev_default_loop(0), &o, &h, &e));
    CHECK_INT(ERR_INPUT, e.kind);
}

TEST(a_refused_connection_is_not_sent)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    char url[64];
    (void)snprintf(url, sizeof url, "%s", peer_url(p));
    peer_stop(p);
    struct http *h = open_local();
    struct call c = ask(h, url, "x");
    check_end(&c, HTTP_FAILED, false);
    CHECK_STR("curl-7", c.r.code);
    c = ask(h, "http://nowhere.invalid/", "x");
    check_end(&c, HTTP_FAILED, false);
    CHECK_STR("curl-6", c.r.code);
    c = ask(h, "ftp://127.0.0.1/", "x");
    check_end(&c, HTTP_FAILED, false);
    CHECK_STR("curl-1", c.r.code);
    finish(h, NULL);
}

TEST(a_peer_without_tls_is_not_sent)
{
    struct peer_reply reply = {.then = PEER_CLOSE};
    buf_adds(&reply.bytes, "what?\r\n");
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply, .raw = true});
    struct http *h = open_local();
    char url[64];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", peer_port(p));
    struct call c = ask(h, url, "x");
    check_end(&c, HTTP_FAILED, false);
    CHECK_STR("curl-35", c.r.code);
    finish(h, p);
    buf_done(&reply.bytes);
}

TEST(silence_is_unknown_after_the_time_limit)
{
    struct call c = ask_peer_saying("", 0, PEER_HOLD, (struct http_options){.total_ms = 200});
    check_end(&c, HTTP_FAILED, true);
    CHECK_STR("curl-28", c.r.code);
    CHECK(c.r.ms >= 190 && c.r.ms < 5000);
}

TEST(an_answer_that_comes_too_late_changes_nothing)
{
    struct peer_reply late = {.delay_ms = 400};
    buf_adds(&late.bytes, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &late});
    struct http *h = open_with((struct http_options){.allow_private = true, .total_ms = 150});
    struct call c = ask(h, peer_url(p), "x"), d;
    check_end(&c, HTTP_FAILED, true);
    CHECK_STR("curl-28", c.r.code);
    int never = 0, until = (int)t_now_ms() + 500;
    post(h, peer_url(p), "y", &d); /* the late answer must not be taken for this one's */
    turn_until(&d.times, 1);
    check_end(&d, HTTP_FAILED, true);
    while ((int)t_now_ms() < until && !never) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    CHECK_INT(1, c.times);
    CHECK_INT(2, peer_requests(p));
    finish(h, p);
    buf_done(&late.bytes);
}

TEST(an_answer_that_breaks_off_is_unknown)
{
    static const struct {
        const char *bytes, *code;
        enum peer_then then;
    } cases[] = {
        {"", "curl-52", PEER_CLOSE},
        {"", "curl-56", PEER_RESET},
        {"HTTP/1.1 200 O", NULL, PEER_CLOSE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"id\":", "curl-18", PEER_CLOSE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "curl-18", PEER_CLOSE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", "curl-56", PEER_CLOSE},
        {"SSH-2.0-OpenSSH_9.2\r\n", "curl-1", PEER_CLOSE},
        {"\1\2\3\377\376\r\n\r\n\r\n", "curl-1", PEER_CLOSE},
        {"HTTP/1.1 999999 Odd\r\n\r\n", NULL, PEER_CLOSE},
        {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", NULL, PEER_CLOSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct call c = ask_peer_saying(cases[i].bytes, 0, cases[i].then, (struct http_options){0});
        if (c.r.end != HTTP_FAILED || (cases[i].code && strcmp(cases[i].code, c.r.code) != 0)) {
            t_fail(__FILE__, __LINE__, "case %zu: %s %s %s", i, http_end_name(c.r.end), c.r.code,
                   c.r.text);
        }
        check_end(&c, HTTP_FAILED, true);
    }
}

TEST(a_peer_that_hangs_up_on_accept_is_never_not_sent)
{
    struct peer *p = peer_start(&(struct peer_options){.close_on_accept = true});
    struct http *h = open_local();
    struct call c = ask(h, peer_url(p), "x");
    CHECK_INT(HTTP_FAILED, c.r.end);
    CHECK_INT(true, c.r.started); /* TCP was up and the request was written into it */
    finish(h, p);
}

TEST(an_answer_before_the_body_was_read_counts)
{
    struct peer_reply no = {.then = PEER_HOLD};
    buf_adds(&no.bytes, "HTTP/1.1 413 Too much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    struct peer *p =
        peer_start(&(struct peer_options){.script = say, .arg = &no, .only_head = true});
    struct http *h = open_local();
    char *body = xcalloc(8, 1 << 20);
    memset(body, 'b', (8 << 20) - 1);
    struct call c = ask(h, peer_url(p), body);
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(413, c.r.status);
    free(body);
    finish(h, p);
    buf_done(&no.bytes);
}

TEST(a_huge_body_is_cut_and_the_status_counts)
{
    struct peer_reply huge = {.fill = (uint64_t)1 << 40, .then = PEER_CLOSE};
    buf_adds(&huge.bytes, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{");
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &huge});
    struct http *h = open_local();
    struct call c = ask(h, peer_url(p), "x");
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(200, c.r.status);
    CHECK(c.r.truncated);
    CHECK_INT(65536, c.r.body_len);
    CHECK(peer_written(p) < 64 << 20); /* the sockets' buffers, not the body */
    c = ask_peer_saying("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n", 1024, PEER_KEEP,
                        (struct http_options){.max_body = 1024});
    check_end(&c, HTTP_ANSWERED, true);
    CHECK(!c.r.truncated); /* exactly as much is not too much */
    http_close(h);
    peer_stop(p);
    buf_done(&huge.bytes);
}

TEST(a_huge_head_is_given_up)
{
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK"};
    for (size_t i = 0; i < 2; i++) {
        struct call c =
            ask_peer_saying(heads[i], (uint64_t)1 << 40, PEER_CLOSE, (struct http_options){0});
        check_end(&c, HTTP_FAILED, true);
    }
    struct peer_reply many = {.then = PEER_HOLD}; /* short lines without end, in good order */
    buf_adds(&many.bytes, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 100000; i++) {
        buf_addf(&many.bytes, "X-%d: y\r\n", i);
    }
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &many});
    struct http *h = open_local();
    struct call c = ask(h, peer_url(p), "x");
    check_end(&c, HTTP_FAILED, true);
    CHECK_STR("curl-23", c.r.code);
    finish(h, p);
    buf_done(&many.bytes);
}

TEST(redirects_are_answers_and_proxies_are_not_asked)
{
    struct peer *other = peer_start(&(struct peer_options){.script = say_ok});
    CHECK(setenv("http_proxy", peer_url(other), 1) == 0 &&
          setenv("ALL_PROXY", peer_url(other), 1) == 0);
    char bytes[256];
    (void)snprintf(bytes, sizeof bytes,
                   "HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n",
                   peer_url(other));
    struct call c = ask_peer_saying(bytes, 0, PEER_KEEP, (struct http_options){0});
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(302, c.r.status);
    CHECK_INT(0, peer_connections(other));
    peer_stop(other);
}
