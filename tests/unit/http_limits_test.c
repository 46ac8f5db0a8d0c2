/* worker/http: addresses that are refused, names, time limits, waiting, closing, certificates. */
#include "shared/clock.h"
#include "tests/unit/http_calls.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- names: this program's own getaddrinfo() ------------------------------------------------- */

static sem_t slow_names; /* posted: "slow.test" resolves at last */

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
            struct addrinfo **ret)
{
    static const struct {
        const char *name, *address;
    } names[] = {{"metadata.test", "169.254.169.254"},
                 {"mapped.test", "::ffff:127.0.0.1"},
                 {"ten.test", "10.1.2.3"},
                 {"unique.test", "fd00::1"},
                 {"six.test", "::1"},
                 {"decimal.test", "2130706433"},
                 {"hex.test", "0x7f.1"},
                 {"slow.test", "127.0.0.1"}};
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    for (size_t i = 0; host && i < sizeof names / sizeof *names; i++) {
        if (strcmp(host, names[i].name) == 0) {
            if (strcmp(host, "slow.test") == 0) {
                struct timespec until;
                (void)clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += 30;
                (void)sem_timedwait(&slow_names, &until);
            }
            struct addrinfo any = hints ? *hints : (struct addrinfo){0};
            any.ai_family = AF_UNSPEC;
            any.ai_flags = 0;
            return real(names[i].address, service, &any, ret);
        }
    }
    return real(host, service, hints, ret);
}

/* --- addresses ------------------------------------------------------------------------------- */

/* Each address of a list, apart by blanks. */
static void
check_addresses(const char *list, bool private)
{
    char *copy = xstrdup(list), *rest = copy;
    for (const char *text; (text = strtok_r(rest, " ", &rest)) != NULL;) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        const struct sockaddr *a = (const struct sockaddr *)&in;
        if (inet_pton(AF_INET, text, &in.sin_addr) != 1) {
            CHECK_INT(1, inet_pton(AF_INET6, text, &in6.sin6_addr));
            a = (const struct sockaddr *)&in6;
        }
        if (http_address_private(a) != private) {
            t_fail(__FILE__, __LINE__, "%s", text);
        }
    }
    free(copy);
}

TEST(private_addresses_are_known)
{
    static const char private[] =
        "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 "
        "127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.168.0.1 "
        "198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 "
        "255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:8.8.8.8 ::ffff:127.0.0.1 64:ff9b::10.0.0.1 "
        "64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 fc00::1 fdff::1 fe80::1 febf::1 "
        "fec0::1 ff02::1";
    static const char public[] =
        "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 "
        "128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.1 192.167.255.255 192.169.0.1 "
        "198.17.255.255 198.20.0.1 223.255.255.255 2001:4860:4860::8888 2606:4700::1111 "
        "2a00:1450::1 64:ff9b::8.8.8.8";
    check_addresses(private, true);
    check_addresses(public, false);
    CHECK(http_address_private(&(struct sockaddr){.sa_family = AF_UNIX}));
}

TEST(a_private_address_is_refused_however_it_is_spelt)
{
    static const char *const hosts[] = {
        "127.0.0.1",   "2130706433",         "0x7f.1",       "0177.0.0.1",  "localhost",
        "[::1]",       "[::ffff:127.0.0.1]", "ten.test",     "mapped.test", "metadata.test",
        "unique.test", "six.test",           "decimal.test", "hex.test"};
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_with((struct http_options){0});
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        char url[128];
        (void)snprintf(url, sizeof url, "http://%s:%d/", hosts[i], peer_port(p));
        struct call c = ask(h, url, "x");
        if (c.r.end != HTTP_ADDRESS_REFUSED) {
            t_fail(__FILE__, __LINE__, "%s: %s %s", hosts[i], c.r.code, c.r.text);
        }
        check_end(&c, HTTP_ADDRESS_REFUSED, false);
        CHECK_STR("address-refused", c.r.code);
    }
    CHECK_INT(0, peer_connections(p));
    finish(h, p);
}

TEST(urls_are_checked)
{
    struct err why;
    CHECK_OK(http_url_check("https://example.com/a?b=c", false, e));
    CHECK_OK(http_url_check("http://127.0.0.1:80/", true, e));
    CHECK_OK(http_url_check("http://8.8.8.8/", false, e));
    static const char *const bad[] = {"",
                                      "example",
                                      "ftp://example.com/",
                                      "file:///etc/passwd",
                                      "http://",
                                      "http://a b/",
                                      "http://127.0.0.1/",
                                      "http://[::1]:80/",
                                      "http://[fd00::1]/",
                                      "http://10.0.0.1:99999/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (http_url_check(bad[i], false, &why)) {
            t_fail(__FILE__, __LINE__, "%s", bad[i]);
        }
        CHECK_INT(ERR_INPUT, why.kind);
    }
    CHECK(!http_url_check("http://127.0.0.1/secret", false, &why));
    CHECK(!strstr(why.text, "secret") && strstr(why.text, "allow_private"));
}

TEST(a_name_that_is_never_resolved_blocks_nothing)
{
    CHECK(sem_init(&slow_names, 0, 0) == 0);
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_with((struct http_options){.allow_private = true, .connect_ms = 200});
    struct call c, d;
    int64_t from = t_now_ms();
    post(h, "http://slow.test/", "x", &c);
    d = ask(h, peer_url(p), "y"); /* others go on */
    check_end(&d, HTTP_ANSWERED, true);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_FAILED, false);
    CHECK_STR("curl-28", c.r.code);
    CHECK(t_now_ms() - from < 5000);
    post(h, "http://slow.test/", "x", &c); /* nor does closing wait for it */
    for (int i = 0; i < 3; i++) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    finish(h, p);
    check_end(&c, HTTP_CLOSED, false);
    CHECK(t_now_ms() - from < 5000);
    (void)sem_post(&slow_names);
    (void)sem_post(&slow_names);
}

/* --- time, order, closing -------------------------------------------------------------------- */

TEST(a_stale_request_is_not_sent)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_local();
    struct call c = {0};
    struct http_request r = {.method = "POST", .url = peer_url(p), .body = "x", .body_len = 1};
    r.not_after_mono_ms = clock_mono_ms() - 1;
    http_send(h, &r, on_done, &c);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_STALE, false);
    CHECK_STR("stale", c.r.code);
    r.not_after_mono_ms = clock_mono_ms() + 5000;
    c.times = 0;
    http_send(h, &r, on_done, &c);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(1, peer_requests(p));
    finish(h, p);
}

/* The name takes longer than the leave to send lasts: connected, but too late to write. */
TEST(a_request_that_grows_stale_while_connecting_is_not_sent)
{
    CHECK(sem_init(&slow_names, 0, 0) == 0);
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_local();
    struct call c = {0};
    char url[64];
    (void)snprintf(url, sizeof url, "http://slow.test:%d/", peer_port(p));
    const int64_t end = clock_mono_ms() + 100;
    const struct http_request r = {
        .method = "POST", .url = url, .body = "x", .body_len = 1, .not_after_mono_ms = end};
    http_send(h, &r, on_done, &c);
    while (clock_mono_ms() <= end) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    (void)sem_post(&slow_names);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_STALE, false);
    T_WAIT(peer_connections(p) == 1, 5000);
    CHECK_INT(0, peer_requests(p));
    finish(h, p);
}

TEST(requests_wait_for_a_connection_and_no_longer_than_they_may)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_with((struct http_options){.allow_private = true, .max_connections = 2});
    struct call calls[20];
    for (int i = 0; i < 20; i++) {
        post(h, peer_url(p), "x", &calls[i]);
    }
    turn_until(&calls[19].times, 1);
    for (int i = 0; i < 20; i++) {
        turn_until(&calls[i].times, 1);
        check_end(&calls[i], HTTP_ANSWERED, true);
    }
    CHECK(peer_connections(p) <= 2);
    http_close(h);

    struct peer_reply silence = {.then = PEER_HOLD};
    struct peer *mute = peer_start(&(struct peer_options){.script = say, .arg = &silence});
    h = open_with(
        (struct http_options){.allow_private = true, .max_connections = 1, .total_ms = 300});
    post(h, peer_url(mute), "x", &calls[0]);
    post(h, peer_url(mute), "y", &calls[1]);
    calls[2] = (struct call){0};
    const struct http_request r = {.method = "POST",
                                   .url = peer_url(mute),
                                   .body = "z",
                                   .body_len = 1,
                                   .not_after_mono_ms = clock_mono_ms() + 50};
    http_send(h, &r, on_done, &calls[2]);
    for (int i = 0; i < 3; i++) {
        turn_until(&calls[i].times, 1);
    }
    check_end(&calls[0], HTTP_FAILED, true);
    CHECK(calls[1].r.end == HTTP_QUEUE_TIMEOUT && !calls[1].r.started);
    check_end(&calls[2], HTTP_STALE, false);
    CHECK_INT(1, peer_requests(mute));
    peer_stop(mute);
    finish(h, p);
}

TEST(closing_says_what_is_known_of_each_request)
{
    struct peer_reply silence = {.then = PEER_HOLD};
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct peer *mute = peer_start(&(struct peer_options){.script = say, .arg = &silence});
    struct http *h = open_with((struct http_options){.allow_private = true, .max_connections = 2});
    struct call sent, answered, waiting, unturned;
    post(h, peer_url(mute), "x", &sent);
    while (peer_requests(mute) < 1) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    post(h, peer_url(p), "x", &answered);
    post(h, peer_url(p), "x", &waiting);
    (void)ev_run(loop, EVRUN_ONCE); /* begun, as far as a turn goes */
    post(h, peer_url(p), "x", &unturned);
    finish(h, p);
    CHECK_INT(1, sent.times);
    check_end(&sent, HTTP_CLOSED, true);
    CHECK_STR("closed", sent.r.code);
    CHECK_INT(1, answered.times);
    CHECK(answered.r.end == HTTP_CLOSED || answered.r.end == HTTP_ANSWERED);
    CHECK_INT(1, unturned.times);
    check_end(&unturned, HTTP_CLOSED, false);
    CHECK_INT(1, waiting.times);
    peer_stop(mute);
}

/* Answers the second request after a while. */
static void
say_ok_slowly(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    say_ok(arg, rq, r);
    r->delay_ms = rq->nth > 1 ? 200 : 0;
}

TEST(closing_takes_the_answers_that_are_there)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok_slowly});
    struct http *h = open_local();
    struct call c = ask(h, peer_url(p), "x"); /* a connection is up */
    T_WAIT(peer_written(p) > 0, 5000);
    uint64_t answer = peer_written(p);
    post(h, peer_url(p), "y", &c);
    while (peer_requests(p) < 2) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    T_WAIT(peer_written(p) == 2 * answer, 5000); /* it is in our socket's buffer */
    finish(h, p);
    CHECK_INT(1, c.times);
    check_end(&c, HTTP_ANSWERED, true);
}

TEST(closing_starts_nothing)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct http *h = open_local();
    struct call c = ask(h, peer_url(p), "x"); /* a connection is up: one step, and "y" is written */
    post(h, peer_url(p), "y", &c);
    (void)ev_run(loop, EVRUN_ONCE);
    http_close(h);
    CHECK_INT(1, c.times);
    check_end(&c, HTTP_CLOSED, false);
    CHECK_INT(1, peer_requests(p));
    peer_stop(p);
}

TEST(waiting_costs_no_turns_of_the_loop)
{
    struct peer_reply silence = {.then = PEER_HOLD};
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &silence});
    struct http *h = open_with((struct http_options){.allow_private = true, .total_ms = 500});
    unsigned before = ev_iteration(loop);
    struct call c = ask(h, peer_url(p), "x");
    check_end(&c, HTTP_FAILED, true);
    CHECK(ev_iteration(loop) - before < 150); /* 50 of them are the beat's */
    finish(h, p);
}

static struct http *closing;

static void
on_last_words(void *arg, const struct http_result *r)
{
    struct call *c = arg;
    on_done(c, r);
    const struct http_request again = {.method = "POST", .url = "http://127.0.0.1:1/"};
    if (c->times == 1) {
        http_send(closing, &again, on_last_words, c);
    }
}

TEST(a_callback_may_send_again_even_while_closing)
{
    struct http *h = closing = open_local();
    struct call c = {0};
    const struct http_request r = {.method = "POST", .url = "http://127.0.0.1:1/"};
    http_send(h, &r, on_last_words, &c);
    http_close(h);
    CHECK_INT(2, c.times);
    check_end(&c, HTTP_CLOSED, false);
}

/* --- TLS, by the openssl program ------------------------------------------------------------- */

static pid_t
start_tls(const char *folder, int *ret_port)
{
    char line[1024];
    int out[2];
    (void)snprintf(line, sizeof line,
                   "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 2 "
                   "-subj /CN=peer -addext subjectAltName=IP:127.0.0.1 >/dev/null 2>&1 && exec "
                   "openssl s_server -accept 127.0.0.1:0 -key k "
                   "-cert c -www -naccept 100 2>&1",
                   folder);
    CHECK(pipe(out) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(out[1], 1);
        (void)execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    FILE *f = fdopen(out[0], "r");
    *ret_port = 0;
    while (f && !*ret_port && fgets(line, sizeof line, f)) {
        const char *colon = strncmp(line, "ACCEPT", 6) == 0 ? strrchr(line, ':') : NULL;
        *ret_port = colon ? atoi(colon + 1) : 0;
    }
    return pid; /* f stays open: s_server writes to it */
}

TEST(certificates_are_verified)
{
    int port;
    if (system("openssl version >/dev/null 2>&1") != 0) {
        printf("note: no openssl program, skipped\n");
        return;
    }
    pid_t pid = start_tls(t_dir(), &port);
    CHECK(port > 0);
    char url[64];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", port);
    struct http *h = open_local();
    struct call c = ask(h, url, "x");
    check_end(&c, HTTP_FAILED, false);
    CHECK_STR("curl-60", c.r.code);
    http_close(h);
    h = open_with((struct http_options){.allow_private = true, .insecure = true});
    const struct http_request get = {.method = "GET", .url = url};
    c.times = 0;
    http_send(h, &get, on_done, &c);
    turn_until(&c.times, 1);
    check_end(&c, HTTP_ANSWERED, true);
    CHECK_INT(200, c.r.status);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    finish(h, NULL);
}
