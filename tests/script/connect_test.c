/* Who is let in and who is turned away: URLs, passwords, servers that must not be used. */
#include "tests/harness/rig.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ev.h>

static struct rig r;

static bool
turn(struct ev_loop *loop)
{
    (void)ev_run(loop, EVRUN_NOWAIT);
    return true;
}

/* --- URLs ----------------------------------------------------------------------------------------
 */

static bool
new_link(struct ev_loop *loop, const char *url, const char *password, struct redis_link **ret,
         struct err *e)
{
    struct redis_config c = {
        .url = url, .password = password, .name = "test", .deadline_ms = 5000, .window = 10};
    return redis_link_new(loop, &c, NULL, NULL, ret, e);
}

TEST(a_malformed_url_is_refused_without_showing_the_password)
{
    static const char *const urls[] = {"",
                                       "localhost:6379",
                                       "http://u:hunter2@host/0",
                                       "redis:/host",
                                       "redis://u:hunter2@host:0",
                                       "redis://u:hunter2@host:65536",
                                       "redis://u:hunter2@host:",
                                       "redis://u:hunter2@host:63x",
                                       "redis://u:hunter2@host:6379/x",
                                       "redis://u:hunter2@host:6379/-1",
                                       "redis://u:hunter2@host:6379/1x",
                                       "redis://u:hunter2@host:6379/99999999999",
                                       "unix:",
                                       "unix://",
                                       "unix:?db=1",
                                       "unix:/s?db=",
                                       "unix:/s?db=x",
                                       "unix:/s?database=1",
                                       "rediss://u:hunter2@host"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct redis_link *l = NULL;
        struct err e = {0};
        CHECK(!new_link(ev_default_loop(0), urls[i], NULL, &l, &e));
        CHECK_INT(ERR_INPUT, e.kind);
        if (strncmp(e.text, "redis_url: ", 11) != 0 || strstr(e.text, "hunter2")) {
            t_fail(__FILE__, __LINE__, "%s: %s", urls[i], e.text);
        }
        CHECK(!l);
    }
    struct redis_link *l = NULL;
    struct err e = {0};
    CHECK(!new_link(ev_default_loop(0), "rediss://host", NULL, &l, &e));
    CHECK(strstr(e.text, "TLS") && strstr(e.text, "stunnel"));
}

/* The link comes up and can write; or it tells why not. */
static void
check_link(const char *url, const char *password, const char *why)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct redis_link *l = NULL;
    CHECK_OK(new_link(loop, url, password, &l, e));
    redis_link_start(l);
    if (why) {
        T_WAIT(turn(loop) && strstr(redis_link_why(l), why), 5000);
        CHECK(!redis_link_up(l));
    } else {
        CHECK_OK(redis_link_wait_up(l, 10000, e));
    }
    redis_link_free(l);
    ev_loop_destroy(loop);
}

TEST(a_password_is_needed_and_must_be_the_right_one)
{
    redis_server_start(&r.server, NULL, "hunter2 with blanks");
    check_link(r.server.url, NULL, "NOAUTH");
    check_link(r.server.url, "", "NOAUTH");
    check_link(r.server.url, "hunter3", "WRONGPASS");
    check_link(r.server.url, "hunter2 with blanks", NULL);
    rig_connect(&r, RIG_PARTITIONS);
    rig_stop(&r);
}

TEST(a_url_may_name_port_user_and_password)
{
    char url[200];
    redis_server_start_cluster(&r.server); /* this one has a port */
    check_link(r.server.url, NULL, NULL);
    (void)snprintf(url, sizeof url, "redis://:%d/0", r.server.port);
    check_link(url, NULL, NULL);
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%d/1", r.server.port);
    check_link(url, NULL, "SELECT is not allowed in cluster mode");
    CHECK_STR("OK", redis_do(&r.server, "ACL SETUSER paceline on >s3:cr@et ~pl:* &* +@all"));
    CHECK_STR("OK", redis_do(&r.server, "CONFIG SET requirepass other"));
    (void)snprintf(url, sizeof url, "redis://paceline:s3:cr@et@127.0.0.1:%d", r.server.port);
    check_link(url, NULL, NULL);
    check_link(url, "other", "WRONGPASS"); /* the configured one wins */
    (void)snprintf(url, sizeof url, "redis://:other@127.0.0.1:%d", r.server.port);
    check_link(url, NULL, NULL);
    (void)snprintf(url, sizeof url, "redis://paceline@127.0.0.1:%d", r.server.port);
    check_link(url, "s3:cr@et", NULL);
    check_link(r.server.url, NULL, "NOAUTH");
    redis_server_kill(&r.server);
}

TEST(a_url_may_name_a_database)
{
    redis_server_start(&r.server, NULL, NULL);
    char *plain = xstrdup(r.server.url);
    (void)snprintf(r.server.url, sizeof r.server.url, "%s?db=3", plain);
    rig_connect(&r, RIG_PARTITIONS);
    CHECK_INT(0, redis_num(&r.server, "DBSIZE"));
    CHECK_STR("OK", redis_do(&r.server, "SELECT 3"));
    CHECK_INT(RIG_PARTITIONS, redis_num(&r.server, "HGET pl:meta partitions"));
    free(plain);
    rig_stop(&r);
}

/* --- servers that must not be used
 * ------------------------------------------------------------------ */

static enum err_kind
open_queue(int64_t partitions, size_t window, int64_t ms, struct err *why)
{
    struct queue_config c = {
        .redis = {.url = r.server.url, .name = "test", .deadline_ms = 5000, .window = window},
        .prefix = "pl",
        .partitions = partitions};
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct queue *q = NULL;
    *why = (struct err){0};
    if (queue_open(loop, &c, NULL, &q, why) && queue_wait_ready(q, ms, why)) {
        CHECK(queue_up(q) && !queue_refused(q));
        CHECK_STR("", queue_why(q));
        CHECK_INT(partitions, queue_partitions(q));
        for (unsigned p = 0; p < queue_partitions(q); p++) {
            CHECK(*queue_incarnation(q, p));
        }
    } else if (why->kind == ERR_REFUSED) {
        CHECK(!queue_up(q));
        CHECK_STR(why->text, queue_refused(q));
        CHECK_STR(why->text, queue_why(q));
    }
    queue_close(q);
    ev_loop_destroy(loop);
    return why->kind;
}

TEST(another_number_of_partitions_is_refused)
{
    struct err why;
    redis_server_start(&r.server, NULL, NULL);
    CHECK_INT(ERR_INPUT, open_queue(0, 100, 5000, &why));
    CHECK_INT(ERR_INPUT, open_queue(QUEUE_PARTITIONS_MAX + 1, 100, 5000, &why));
    CHECK_INT(ERR_NONE, open_queue(8, 100, 5000, &why));
    CHECK_INT(ERR_REFUSED, open_queue(64, 100, 5000, &why));
    CHECK(strstr(why.text, "holds 8 partitions") && strstr(why.text, "partitions = 8"));
    CHECK_INT(8, redis_num(&r.server, "HGET pl:meta partitions"));
    CHECK_INT(ERR_NONE, open_queue(8, 100, 5000, &why));
    redis_server_kill(&r.server);
}

TEST(a_server_that_evicts_keys_is_refused)
{
    struct err why;
    redis_server_start(&r.server, NULL, NULL);
    CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory-policy allkeys-lru"));
    CHECK_INT(ERR_REFUSED, open_queue(4, 100, 5000, &why));
    CHECK(strstr(why.text, "allkeys-lru") && strstr(why.text, "noeviction"));
    CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory-policy noeviction"));
    CHECK_INT(ERR_NONE, open_queue(4, 100, 5000, &why));
    redis_server_kill(&r.server);
}

TEST(a_small_window_is_enough_to_get_ready)
{
    struct err why;
    redis_server_start(&r.server, NULL, NULL);
    CHECK_INT(ERR_NONE, open_queue(40, 8, 10000, &why));
    CHECK_INT(ERR_NONE, open_queue(40, 8, 10000, &why)); /* nothing to begin this time */
    redis_server_kill(&r.server);
}

TEST(an_empty_server_without_memory_is_waited_for)
{
    struct err why;
    redis_server_start(&r.server, NULL, NULL);
    CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory 1"));
    CHECK_INT(ERR_RETRY, open_queue(4, 100, 400, &why));
    CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory 0"));
    CHECK_INT(ERR_NONE, open_queue(4, 100, 5000, &why));
    redis_server_kill(&r.server);
}

static bool
fell(void)
{
    return turn(r.loop) && r.links_down > 0;
}

TEST(a_replica_is_not_written_to)
{
    struct err why;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK_STR("OK", redis_do(&r.server, "REPLICAOF 127.0.0.1 1")); /* demoted by a failover */
    struct queue_push x = rig_item(&r, 17, "j2", 1);
    CHECK_RUN(ERR_RETRY, &r, stage, 1, &x, 1, 10);
    CHECK(strncmp(r.error.text, "READONLY", 8) == 0);
    T_WAIT(fell(), 5000);
    CHECK(strncmp(r.why, "READONLY", 8) == 0);
    CHECK_INT(ERR_RETRY,
              open_queue(4, 100, 500, &why)); /* not refused for good: it may be promoted */
    CHECK_STR("OK", redis_do(&r.server, "REPLICAOF NO ONE"));
    CHECK_OK(queue_wait_ready(r.q, 10000, e));
    queue_wait(r.q);
    CHECK_INT('S', rig_stage(&r, 17, "j2", 1));
    rig_stop(&r);
}

TEST(an_empty_replica_is_waited_for)
{
    struct err why;
    redis_server_start(&r.server, NULL, NULL);
    CHECK_STR("OK", redis_do(&r.server, "REPLICAOF 127.0.0.1 1"));
    CHECK_INT(ERR_RETRY, open_queue(4, 100, 500, &why));
    CHECK_STR("OK", redis_do(&r.server, "REPLICAOF NO ONE"));
    CHECK_INT(ERR_NONE, open_queue(4, 100, 5000, &why));
    redis_server_kill(&r.server);
}

TEST(a_closed_queue_answers_what_is_under_way)
{
    int answers = 0;
    static struct queue_push items[30];
    rig_start(&r);
    redis_server_freeze(&r.server);
    rig_begin(&r);
    for (int i = 0; i < 30; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        items[i] = rig_item(&r, 17, id, 1);
        queue_stage(r.q, 1, &items[i], 1, 100, rig_answered, &r);
    }
    answers = r.answers;
    CHECK_INT(0, answers);
    queue_close(r.q);
    CHECK_INT(30, r.answers);
    CHECK_INT(ERR_RETRY, r.error.kind);
    r.q = NULL;
    rig_stop(&r);
}

/* --- a proxy
 * ----------------------------------------------------------------------------------------- */

static int
connect_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        _exit(1);
    }
    return fd;
}

static volatile sig_atomic_t switched;

static void
on_switch(int sig)
{
    (void)sig;
    switched = 1;
}

static bool
pass_on(int from, int to)
{
    static char bytes[65536];
    ssize_t n = read(from, bytes, sizeof bytes);
    return n > 0 && write(to, bytes, (size_t)n) == n;
}

/* Serves one client after the other; after SIGUSR1 their bytes go to the second server, on the same
 * connection of the client's. */
_Noreturn static void
proxy(int listener, const char *first, const char *second)
{
    for (;;) {
        int client = accept(listener, NULL, NULL);
        bool behind = switched;
        int server = connect_unix(behind ? second : first);
        for (bool ok = client >= 0; ok;) {
            struct pollfd fds[2] = {{.fd = client, .events = POLLIN},
                                    {.fd = server, .events = POLLIN}};
            int n = poll(fds, 2, 5);
            if (switched && !behind && n == 0) {
                behind = true;
                (void)close(server);
                server = connect_unix(second);
                continue;
            }
            ok = !(n > 0 && fds[0].revents && !pass_on(client, server)) &&
                 !(n > 0 && fds[1].revents && !pass_on(server, client));
        }
        (void)close(client);
        (void)close(server);
    }
}

TEST(another_server_behind_the_same_connection_is_noticed)
{
    struct redis_server second;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    redis_server_start(&r.server, NULL, NULL);
    redis_server_start(&second, NULL, NULL);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%.60s/proxy", t_dir());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(0, bind(listener, (const struct sockaddr *)&a, sizeof a));
    CHECK_INT(0, listen(listener, 5));
    (void)signal(SIGUSR1, on_switch);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        proxy(listener, r.server.socket, second.socket);
    }
    (void)snprintf(r.server.url, sizeof r.server.url, "unix:%s", a.sun_path);
    rig_connect(&r, RIG_PARTITIONS);
    rig_open_all(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1");
    char *first = xstrdup(queue_incarnation(r.q, 1));
    CHECK_INT(0, kill(pid, SIGUSR1));
    T_WAIT(RUN(&r, permit, 1, RIG_LEASE_MS, &job, 1) == ERR_GONE || r.error.kind == ERR_RETRY,
           5000);
    T_WAIT(fell(), 5000); /* it must greet the new one, and learn its run id */
    CHECK_OK(queue_wait_ready(r.q, 10000, e));
    queue_wait(r.q);
    CHECK(strcmp(first, queue_incarnation(r.q, 1)) != 0);
    CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
    CHECK_INT(2, r.links_up);
    free(first);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    rig_stop(&r);
    redis_server_kill(&second);
}
