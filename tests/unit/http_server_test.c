#include "shared/clock.h"
#include "shared/http_server.h"
#include "shared/mem.h"
#include "shared/metrics.h"
#include "tests/harness/t.h"

#include <dirent.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The test's own clock instead of the host's, so that ten seconds pass at once. */
static _Atomic int64_t now_us = 1000000;

int64_t
clock_mono_us(void)
{
    return now_us;
}

int64_t
clock_mono_ms(void)
{
    return now_us / 1000;
}

int64_t
clock_wall_ms(void)
{
    return now_us / 1000;
}

static char address[160]; /* "unix:..." in the test's folder */

static void
set_address(void)
{
    (void)snprintf(address, sizeof address, "unix:%s/http", t_dir());
}

static struct http_server *
start_unix(void)
{
    struct http_server *s = NULL;
    set_address();
    CHECK_OK(http_server_start(address, &s, e));
    CHECK(s != NULL);
    return s;
}

static struct sockaddr_un
unix_address(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof a.sun_path);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    return a;
}

static int
dial_unix(void)
{
    struct sockaddr_un a = unix_address(address + 5);
    const void *any = &a;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && connect(fd, any, sizeof a) == 0);
    return fd;
}

static char reply[65536];

/* Sends a request and reads until the server closes. */
static const char *
exchange(int fd, const char *request)
{
    size_t n = strlen(request), got = 0;
    CHECK(send(fd, request, n, MSG_NOSIGNAL) == (ssize_t)n);
    for (ssize_t part = 1; part > 0; got += (size_t)part) {
        part = recv(fd, reply + got, sizeof reply - 1 - got, 0);
        part = part < 0 ? 0 : part;
    }
    reply[got] = '\0';
    (void)close(fd);
    return reply;
}

static const char *
get(const char *path)
{
    char request[256];
    (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    return exchange(dial_unix(), request);
}

static void
check_reply(int status, const char *body, const char *got)
{
    char start[32];
    const char *end = strstr(got, "\r\n\r\n");
    (void)snprintf(start, sizeof start, "HTTP/1.1 %d ", status);
    if (strncmp(got, start, strlen(start)) != 0 || !end || strcmp(end + 4, body) != 0) {
        t_fail(__FILE__, __LINE__, "not %d \"%s\" but:\n%s", status, body, got);
    }
}

TEST(no_address_means_no_server)
{
    struct http_server *s = (void *)address;
    CHECK_OK(http_server_start("", &s, e));
    CHECK(s == NULL);
    http_server_stop(NULL);
}

TEST(malformed_addresses_are_refused)
{
    static const char *const bad[] = {
        "x",       ":",     "host:",     ":port",   ":70000",     ":-1",       ":+80", "::1:80",
        "1.2.3.4", "unix:", "unix:here", ":123456", "1.2.3.4:8x", "[::1]:8 0", "[::1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_server *s;
        struct err e = {0};
        if (http_server_start(bad[i], &s, &e) || e.kind != ERR_INPUT || s) {
            t_fail(__FILE__, __LINE__, "\"%s\" gave \"%s\"", bad[i], e.text);
        }
    }
}

TEST(healthz_says_whether_the_loop_turns)
{
    struct http_server *s = start_unix();
    check_reply(503, "the loop has not turned yet\n", get("/healthz"));
    health_tick();
    check_reply(200, "ok\n", get("/healthz"));
    now_us += 10000000;
    check_reply(200, "ok\n", get("/healthz"));
    now_us += 1000;
    check_reply(503, "the loop has not turned for 10001 ms\n", get("/healthz"));
    health_tick();
    check_reply(200, "ok\n", get("/healthz?verbose=1"));
    http_server_stop(s);
}

TEST(readyz_says_why_not)
{
    struct http_server *s = start_unix();
    CHECK(!health_is_ready());
    check_reply(503, "starting\n", get("/readyz"));
    health_ready(true, "ignored");
    CHECK(health_is_ready());
    check_reply(200, "ready\n", get("/readyz"));
    health_ready(false, "redis is away");
    check_reply(503, "redis is away\n", get("/readyz"));
    health_ready(false, NULL);
    check_reply(503, "not ready\n", get("/readyz"));
    http_server_stop(s);
}

TEST(metrics_are_served)
{
    static struct metric m = {.name = "x_total", .help = "How many.", .type = METRIC_COUNTER};
    struct http_server *s = start_unix();
    check_reply(200, "", get("/metrics"));
    metric_register(&m);
    metric_add(&m, 42);
    check_reply(200, "# HELP x_total How many.\n# TYPE x_total counter\nx_total 42\n",
                get("/metrics"));
    CHECK(strstr(reply, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    http_server_stop(s);
}

TEST(only_known_pages_and_methods_are_answered)
{
    struct http_server *s = start_unix();
    health_tick();
    check_reply(404, "not found: this server has /healthz, /readyz and /metrics\n", get("/"));
    check_reply(404, "not found: this server has /healthz, /readyz and /metrics\n",
                get("/healthz/../etc/passwd"));
    check_reply(200, "", exchange(dial_unix(), "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
    CHECK(strstr(reply, "\r\nContent-Length: 3\r\n"));
    check_reply(405, "only GET and HEAD\n",
                exchange(dial_unix(), "POST /healthz HTTP/1.1\r\nHost: x\r\n"
                                      "Content-Length: 1000000\r\n\r\n"));
    CHECK(strstr(reply, "\r\nAllow: GET, HEAD\r\n"));
    check_reply(405, "only GET and HEAD\n",
                exchange(dial_unix(), "BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
    http_server_stop(s);
}

TEST(broken_clients_do_no_harm)
{
    struct http_server *s = start_unix();
    health_tick();
    struct buf big = {0};
    buf_adds(&big, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: ");
    for (int i = 0; i < 20000; i++) {
        buf_adds(&big, "a");
    }
    buf_adds(&big, "\r\n\r\n");
    CHECK(strncmp(exchange(dial_unix(), big.data), "HTTP/1.1 200", 12) != 0);
    buf_done(&big);
    for (int round = 0; round < 200; round++) {
        char junk[64];
        for (size_t i = 0; i < sizeof junk; i++) {
            junk[i] = (char)t_random();
        }
        int fd = dial_unix();
        (void)send(fd, junk, sizeof junk, MSG_NOSIGNAL);
        (void)close(fd);
    }
    int idle[24]; /* more than the server takes at once */
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        idle[i] = dial_unix();
    }
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        (void)close(idle[i]);
    }
    check_reply(200, "ok\n", get("/healthz"));
    http_server_stop(s);
}

/* --- addresses ------------------------------------------------------------------------------- */

/* The port of this process's listening TCP socket. */
static in_port_t
listening_port(void)
{
    for (int fd = 3; fd < 256; fd++) {
        int listening = 0;
        socklen_t n = sizeof listening;
        struct sockaddr_in6 a = {0}; /* its port lies where IPv4's does */
        socklen_t size = sizeof a;
        void *any = &a;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening &&
            getsockname(fd, any, &size) == 0) {
            return a.sin6_port;
        }
    }
    t_fail(__FILE__, __LINE__, "nothing listens");
}

static int
dial_loopback(in_port_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const void *any = &a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && connect(fd, any, sizeof a) == 0);
    return fd;
}

TEST(tcp_addresses_are_served)
{
    static const char *const addresses[] = {"127.0.0.1:0", "localhost:0", ":0"};
    health_tick();
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct http_server *s;
        CHECK_OK(http_server_start(addresses[i], &s, e));
        if (i != 1) { /* localhost may be ::1 */
            check_reply(200, "ok\n",
                        exchange(dial_loopback(listening_port()),
                                 "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        http_server_stop(s);
    }
}

TEST(a_taken_tcp_port_is_refused)
{
    struct http_server *s, *second;
    struct err why = {0};
    char taken[32];
    CHECK_OK(http_server_start("127.0.0.1:0", &s, e));
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", ntohs(listening_port()));
    CHECK(!http_server_start(taken, &second, &why));
    CHECK_INT(ERR_REFUSED, why.kind);
    CHECK(strstr(why.text, taken) && strstr(why.text, "in use") && !second);
    /* The server closes first, so that this connection lingers on its side. */
    (void)exchange(dial_loopback(listening_port()), "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    http_server_stop(s);
    CHECK_OK(http_server_start(taken, &s, e)); /* free again at once */
    http_server_stop(s);
}

TEST(a_unix_socket_goes_with_its_server)
{
    struct stat st;
    struct http_server *s = start_unix();
    CHECK(lstat(address + 5, &st) == 0 && S_ISSOCK(st.st_mode));
    http_server_stop(s);
    CHECK(lstat(address + 5, &st) < 0);
}

TEST(a_stale_unix_socket_is_replaced)
{
    set_address();
    struct sockaddr_un a = unix_address(address + 5);
    const void *any = &a;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, any, sizeof a) == 0);
    (void)close(fd); /* what a killed program leaves behind */
    struct http_server *s = start_unix();
    health_tick();
    check_reply(200, "ok\n", get("/healthz"));
    http_server_stop(s);
}

TEST(a_living_unix_socket_is_left_alone)
{
    struct http_server *s = start_unix(), *second;
    struct err e = {0};
    health_tick();
    CHECK(!http_server_start(address, &second, &e));
    CHECK_INT(ERR_REFUSED, e.kind);
    CHECK(strstr(e.text, "in use") && !second);
    check_reply(200, "ok\n", get("/healthz"));
    http_server_stop(s);
}

TEST(a_file_in_the_way_is_not_deleted)
{
    struct http_server *s;
    struct err e = {0};
    struct stat st;
    set_address();
    FILE *f = fopen(address + 5, "w");
    CHECK(f && fputs("precious", f) >= 0 && fclose(f) == 0);
    CHECK(!http_server_start(address, &s, &e));
    CHECK_INT(ERR_REFUSED, e.kind);
    CHECK(lstat(address + 5, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 8);
}

TEST(another_kind_of_socket_is_not_deleted)
{
    struct http_server *s;
    struct err e = {0};
    struct stat st;
    set_address();
    struct sockaddr_un a = unix_address(address + 5);
    const void *any = &a;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(fd >= 0 && bind(fd, any, sizeof a) == 0);
    CHECK(!http_server_start(address, &s, &e));
    CHECK_INT(ERR_REFUSED, e.kind);
    CHECK(lstat(address + 5, &st) == 0 && S_ISSOCK(st.st_mode));
    (void)close(fd);
}

TEST(a_successors_socket_is_not_deleted)
{
    struct stat st;
    struct http_server *s = start_unix();
    CHECK(unlink(address + 5) == 0);
    struct http_server *successor = start_unix();
    http_server_stop(s);
    CHECK(lstat(address + 5, &st) == 0);
    http_server_stop(successor);
    CHECK(lstat(address + 5, &st) < 0);
}

/* --- the process ----------------------------------------------------------------------------- */

/* The mask of blocked signals of a thread. */
static unsigned long long
blocked_signals(const char *task)
{
    char path[64], line[256];
    unsigned long long mask = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) && sscanf(line, "SigBlk: %llx", &mask) != 1) {
    }
    (void)fclose(f);
    return mask;
}

TEST(signals_are_left_to_the_programs_own_thread)
{
    static const int signals[] = {1, 2, 10, 12, 13, 15, 17}; /* HUP INT USR1 USR2 PIPE TERM CHLD */
    struct http_server *s = start_unix();
    char own[16];
    int others = 0;
    (void)get("/healthz"); /* the thread runs: a new one has all signals blocked for a moment */
    (void)snprintf(own, sizeof own, "%d", (int)getpid());
    DIR *d = opendir("/proc/self/task");
    CHECK(d != NULL);
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        bool is_own = strcmp(entry->d_name, own) == 0;
        others += !is_own;
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
            unsigned long long bit = 1ull << (signals[i] - 1);
            CHECK_INT(is_own ? 0 : bit, blocked_signals(entry->d_name) & bit);
        }
    }
    (void)closedir(d);
    CHECK(others >= 1);
    http_server_stop(s);
}

static int supervisor = -1;

static void
become_supervised(void)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/notify", t_dir());
    struct sockaddr_un a = unix_address(path);
    const void *any = &a;
    supervisor = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(supervisor >= 0 && bind(supervisor, any, sizeof a) == 0);
    CHECK(setenv("NOTIFY_SOCKET", path, 1) == 0);
}

/* What has been notified since the last call, "" for nothing. */
static const char *
notified(void)
{
    static char text[256];
    ssize_t n = recv(supervisor, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

TEST(systemd_is_told_of_start_and_stop)
{
    become_supervised();
    health_notify_started();
    CHECK_STR("READY=1", notified());
    health_tick();
    CHECK_STR("", notified()); /* no watchdog was asked for */
    health_notify_stopping();
    CHECK_STR("STOPPING=1", notified());
    CHECK_STR("", notified());
}

TEST(the_watchdog_is_fed_in_time_but_not_at_every_tick)
{
    become_supervised();
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    CHECK(setenv("WATCHDOG_USEC", "30000000", 1) == 0 && setenv("WATCHDOG_PID", pid, 1) == 0);
    health_tick();
    CHECK_STR("WATCHDOG=1", notified());
    now_us += 5000000;
    health_tick();
    CHECK_STR("", notified());
    now_us += 5000000; /* a third of the limit */
    health_tick();
    CHECK_STR("WATCHDOG=1", notified());
    CHECK_STR("", notified());
}

TEST(another_processs_watchdog_is_not_fed)
{
    become_supervised();
    CHECK(setenv("WATCHDOG_USEC", "30000000", 1) == 0 && setenv("WATCHDOG_PID", "1", 1) == 0);
    health_tick();
    CHECK_STR("", notified());
}
