/* Over 500 lines because the scenes of one store share their table, bodies and hostile strings. */
#include "shared/mem.h"
#include "shared/store.h"
#include "tests/harness/mariadb.h"
#include "tests/harness/t.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- no server needed ---------------------------------------------------------------------- */

TEST(a_malformed_url_is_refused_without_showing_the_password)
{
    static const char *const urls[] = {"",
                                       "postgres://root:hunter2@host/db",
                                       "mysql://root:hunter2@host",
                                       "mysql://root:hunter2@host/",
                                       "mysql://root:hunter2@host?socket=/s",
                                       "mysql://host/db",
                                       "mysql://@host/db",
                                       "mysql://:hunter2@host/db",
                                       "mysql://root:hunter2@/db",
                                       "mysql://root:hunter2@host:/db",
                                       "mysql://root:hunter2@host:0/db",
                                       "mysql://root:hunter2@host:65536/db",
                                       "mysql://root:hunter2@host:33o6/db",
                                       "mysql://root:hunter2@host:99999999999999999999/db",
                                       "mysql://root:hunter2@[::1/db",
                                       "mysql://root:hunter2@[::1]3306/db",
                                       "mysql://root:hunter2@host/db/table",
                                       "mysql://root:hunter2@host/db?ssl=1",
                                       "mysql://root:hunter2@host/db?socket=/s",
                                       "mysql://root:hunter2@/db?socket=",
                                       "mysql://root:hunter2%@host/db",
                                       "mysql://root:hunter2%4@host/db",
                                       "mysql://root:hunter2%zz@host/db",
                                       "mysql://root:hunter2%00@host/db",
                                       "mysql://root:hunter2@/db?socket=/%2",
                                       NULL};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct store *s = NULL;
        struct err why = {0};
        CHECK_STORE_ERR(ERR_INPUT,
                        "mysql_url: ", store_open(&(struct store_config){.url = urls[i]}, &s, e));
        CHECK(!store_open(&(struct store_config){.url = urls[i]}, &s, &why));
        CHECK(!strstr(why.text, "hunter2"));
        CHECK(!s);
    }
}

TEST(a_good_url_is_taken)
{
    static const char *const urls[] = {"mysql://root@host/db",
                                       "mysql://root:@host:65535/db",
                                       "mysql://ro%40ot:a%2Fb%3F:@c@host.example:3307/db%20x",
                                       "mysql://root@[::1]/db",
                                       "mysql://root@[fe80::1]:3306/db",
                                       "mysql://root@/db?socket=/run/mysqld/mysqld.sock",
                                       "mysql://root@localhost/db?socket=/s%20s"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        store_close(mariadb_open(urls[i]));
    }
    store_close(NULL);
}

TEST(values_are_quoted_and_numbers_are_whole)
{
    struct sql q = {0};
    const char *nothing = t_dir()[0] ? NULL : "";
    sql_addf(&q, "%s,%s,%d,%u,%ld,%lu,%lld,%llu,%" PRId64 ",%" PRIu64 ",100%%,%s", "it's \\ \"x\"",
             nothing, -1, 4294967295u, -2l, 3ul, INT64_MIN + 0ll, UINT64_MAX + 0ull, INT64_MAX,
             UINT64_MAX, "");
    CHECK_STR("'it\\'s \\\\ \\\"x\\\"',NULL,-1,4294967295,-2,3,-9223372036854775808,"
              "18446744073709551615,9223372036854775807,18446744073709551615,100%,''",
              q.text.data);
    sql_clear(&q);
    sql_bytes(&q, "a\0b\n\r\x1a", 6);
    sql_text(&q, " ");
    sql_bytes(&q, NULL, 0);
    sql_text(&q, " ");
    sql_str(&q, NULL);
    sql_text(&q, " ");
    sql_int(&q, -7);
    sql_uint(&q, 7);
    CHECK_STR("'a\\0b\\n\\r\\Z' '' NULL -77", q.text.data);
    sql_done(&q);
}

static bool
aborts(const char *fmt)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        struct sql q = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        sql_addf(&q, fmt, 1);
#pragma GCC diagnostic pop
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

TEST(an_unknown_directive_aborts)
{
    static const char *const bad[] = {"%x", "%5d", "%.3s", "%lld%f", "%ls", "%llld", "100%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!aborts(bad[i])) {
            CHECK_STR("abort", bad[i]);
        }
    }
    CHECK(!aborts("%d"));
}

/* --- sessions ------------------------------------------------------------------------------ */

static char *
text_of(struct store *s, const char *select)
{
    struct rows r;
    struct sql q = {0};
    sql_text(&q, "SELECT ");
    sql_text(&q, select);
    CHECK_OK(store_query(s, &q, &r, e));
    CHECK(rows_next(&r));
    char *text = xstrdup(rows_str(&r, 0));
    rows_done(&r);
    sql_done(&q);
    return text;
}

TEST(every_session_is_set_up)
{
    static const char *const want[][2] = {{"@@SESSION.time_zone", "+00:00"},
                                          {"@@SESSION.sql_mode",
                                           "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
                                           "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"},
                                          {"@@SESSION.tx_isolation", "READ-COMMITTED"},
                                          {"@@SESSION.innodb_lock_wait_timeout", "5"},
                                          {"@@SESSION.autocommit", "1"},
                                          {"@@SESSION.character_set_client", "utf8mb4"},
                                          {"@@SESSION.character_set_connection", "utf8mb4"},
                                          {"@@SESSION.character_set_results", "utf8mb4"}};
    struct mariadb m;
    mariadb_start(&m, "--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES");
    struct store *s = mariadb_open(m.url);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char *got = text_of(s, want[i][0]);
        CHECK_STR(want[i][1], got);
        free(got);
    }
    CHECK_INT(0, store_stats(s)->reconnects);
    store_close(s);

    CHECK_OK(store_open(&(struct store_config){.url = m.url, .time_zone = "+08:00"}, &s, e));
    char *zone = text_of(s, "@@SESSION.time_zone");
    CHECK_STR("+08:00", zone);
    free(zone);
    store_close(s);

    CHECK_OK(store_open(&(struct store_config){.url = m.url, .time_zone = "Moon/'Sea"}, &s, e));
    CHECK_STORE_ERR(ERR_REFUSED, "time zone: 'Moon/'Sea' (1298)", store_ping(s, e));
    store_close(s);
}

TEST(a_refused_login_and_a_missing_database_name_their_cure)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *root = mariadb_open(m.url), *s = NULL;
    CHECK_OK(store_execf(root, NULL, e, "CREATE USER 'a@b'@'%%' IDENTIFIED BY %s", "p@:/?#% 1'"));
    CHECK_OK(store_execf(root, NULL, e, "GRANT ALL ON paceline.* TO 'a@b'@'%%'"));
    char *good = mariadb_url(&m, "a%40b:p@:%2f%3F%23%25%201'", "paceline");
    char *bad = mariadb_url(&m, "a%40b:hunter2", "paceline");
    char *missing = mariadb_url(&m, "root", "nowhere");

    s = mariadb_open(good);
    CHECK_OK(store_ping(s, e));
    store_close(s);

    struct store_config c = {.url = bad, .password = "p@:/?#% 1'"};
    CHECK_OK(store_open(&c, &s, e));
    CHECK_OK(store_ping(s, e));
    store_close(s);

    s = mariadb_open(bad);
    struct err why = {0};
    CHECK_STORE_ERR(ERR_REFUSED, "check the user and password in mysql_url", store_ping(s, e));
    CHECK_INT(1045, store_code(s));
    CHECK(!store_ping(s, &why) && why.kind == ERR_REFUSED && !strstr(why.text, "hunter2"));
    store_close(s);

    s = mariadb_open(missing);
    CHECK_STORE_ERR(ERR_REFUSED, "create the database or fix mysql_url", store_ping(s, e));
    store_close(s);

    store_close(root);
    free(missing);
    free(bad);
    free(good);
}

/* A socket that hangs up on every caller, and counts them. */
struct hanging_up {
    int fd;
    atomic_int calls;
    atomic_bool stop;
};

static void *
hang_up_on_all(void *arg)
{
    struct hanging_up *h = arg;
    while (!h->stop) {
        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        if (poll(&p, 1, 10) == 1) {
            (void)close(accept(h->fd, NULL, NULL));
            h->calls++;
        }
    }
    return NULL;
}

TEST(a_server_out_of_reach_is_not_dialled_in_a_hot_loop)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%.80s/s k", t_dir());
    struct hanging_up h = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    CHECK(bind(h.fd, (const struct sockaddr *)&a, sizeof a) == 0 && listen(h.fd, 64) == 0);
    pthread_t thread;
    CHECK_INT(0, pthread_create(&thread, NULL, hang_up_on_all, &h));

    char *url = xasprintf("mysql://root@/db?socket=%.80s/s%%20k", t_dir());
    struct store *s = mariadb_open(url);
    int64_t until_ms = t_now_ms() + 700, calls = 0;
    while (t_now_ms() < until_ms) {
        CHECK_STORE_ERR(ERR_RETRY, "mysql at /", store_ping(s, e));
        calls++;
    }
    h.stop = true;
    CHECK_INT(0, pthread_join(thread, NULL));
    CHECK(calls > 100);
    CHECK(h.calls >= 2 && h.calls <= 4); /* at 0 ms, 100 to 200, 300 to 600, 700 or later */
    CHECK_INT(h.calls, (int64_t)store_stats(s)->errors);
    store_close(s);
    (void)close(h.fd);
    free(url);

    s = mariadb_open("mysql://root@127.0.0.1:1/db");
    CHECK_STORE_ERR(ERR_RETRY, "mysql at 127.0.0.1: ", store_ping(s, e));
    store_close(s);
}

TEST(skip_locked_is_known_by_version_or_forced)
{
    static const struct {
        const char *option;
        bool want;
    } cases[] = {{NULL, true}, /* MariaDB 10.6 or later is what the tests run on */
                 {"--version=5.5.5-10.5.22-MariaDB-log", false},
                 {"--version=11.4.2-MariaDB", true},
                 {"--version=5.7.44-log", false},
                 {"--version=8.0.0-dmr", false},
                 {"--version=8.0.36", true},
                 {"--version=9.1", true}};
    struct mariadb m = {.pid = 0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i == 0) {
            mariadb_start(&m, cases[i].option);
        } else {
            mariadb_kill(&m);
            mariadb_restart(&m, cases[i].option);
        }
        bool got = !cases[i].want;
        struct store *s = mariadb_open(m.url);
        CHECK_OK(store_has_skip_locked(s, &got, e));
        CHECK_STR(cases[i].want ? "yes" : "no", got ? "yes" : "no");
        store_close(s);
    }
    mariadb_kill(&m);
    for (int force = 1; force <= 2; force++) {
        struct store *s = NULL;
        bool got = force == 1;
        struct store_config c = {.url = m.url, .force_dialect = force};
        CHECK_OK(store_open(&c, &s, e));
        CHECK_OK(store_has_skip_locked(s, &got, e)); /* and nobody is there to ask */
        CHECK_INT(force == 2, got);
        store_close(s);
    }
}

/* --- statements ---------------------------------------------------------------------------- */

static void
check_round_trip(struct store *s, const char *column, const char *value, size_t n)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "REPLACE INTO t (id, ");
    sql_text(&q, column);
    sql_text(&q, ") VALUES (1, ");
    sql_bytes(&q, value, n);
    sql_text(&q, ")");
    CHECK_OK(store_exec(s, &q, NULL, NULL, e));
    sql_clear(&q);
    sql_text(&q, "SELECT ");
    sql_text(&q, column);
    sql_text(&q, ", NULL FROM t WHERE ");
    sql_text(&q, column);
    sql_text(&q, " = ");
    sql_bytes(&q, value, n);
    CHECK_OK(store_query(s, &q, &r, e));
    CHECK_INT(1, r.count);
    CHECK(rows_next(&r));
    CHECK_INT(n, r.length[0]);
    CHECK(memcmp(value, r.field[0], n) == 0);
    CHECK(!r.field[1] && !*rows_str(&r, 1) && !rows_int(&r, 1) && !rows_uint(&r, 1));
    CHECK(!rows_next(&r));
    rows_done(&r);
    sql_done(&q);
}

TEST(hostile_strings_come_back_as_they_were)
{
    static const char *const pieces[] = {"'",
                                         "\"",
                                         "\\",
                                         "\\'",
                                         "''",
                                         "`",
                                         "%",
                                         "_",
                                         ";",
                                         "--",
                                         "/*",
                                         "\n",
                                         "\r",
                                         "\t",
                                         "\x1a",
                                         "\\0",
                                         "\\Z",
                                         "x",
                                         " ",
                                         "\x7f",
                                         "\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x98\x80",
                                         "\xe6\x97\xa5\xe6\x9c\xac",
                                         "'); DROP TABLE t; -- ",
                                         "' OR '1'='1"};
    enum { PIECES = sizeof pieces / sizeof *pieces };
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    CHECK_OK(store_execf(s, NULL, e,
                         "CREATE TABLE t (id INT PRIMARY KEY, v TEXT COLLATE utf8mb4_bin, "
                         "b VARBINARY(300)) DEFAULT CHARSET=utf8mb4"));
    struct buf b = {0};
    for (int i = 0; i < 500; i++) {
        buf_clear(&b);
        if (i < PIECES) {
            buf_adds(&b, pieces[i]);
        }
        for (uint64_t n = i < PIECES ? 0 : t_random() % 8; n > 0; n--) {
            uint64_t pick = t_random() % (PIECES + 1);
            buf_add(&b, pick < PIECES ? pieces[pick] : "\0",
                    pick < PIECES ? strlen(pieces[pick]) : 1);
        }
        check_round_trip(s, "v", b.data ? b.data : "", b.len);
    }
    for (int i = 0; i < 500; i++) {
        buf_clear(&b);
        for (uint64_t n = t_random() % 300; n > 0; n--) {
            buf_add(&b, &(char){(char)t_random()}, 1);
        }
        check_round_trip(s, "b", b.data ? b.data : "", b.len);
    }
    buf_clear(&b);
    for (int i = 0; i < 256; i++) {
        buf_add(&b, &(char){(char)i}, 1);
    }
    check_round_trip(s, "b", b.data, b.len);
    buf_done(&b);
    store_close(s);
}

TEST(a_statement_tells_what_it_did)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    uint64_t affected = 0, id = 0;
    CHECK_OK(store_execf(s, NULL, e,
                         "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n TINYINT, "
                         "v VARCHAR(9) UNIQUE) DEFAULT CHARSET=utf8mb4"));
    struct sql q = {0};
    sql_text(&q, "INSERT INTO t (n, v) VALUES (1, 'a'), (2, 'b')");
    CHECK_OK(store_exec(s, &q, &affected, &id, e));
    CHECK_INT(2, affected);
    CHECK_INT(1, id);
    sql_done(&q);
    CHECK_OK(store_execf(s, &affected, e, "UPDATE t SET n = 2"));
    CHECK_INT(1, affected);                                    /* one of them had it already */
    CHECK_OK(store_execf(s, &affected, e, "SELECT n FROM t")); /* rows are thrown away */
    CHECK_INT(2, mariadb_int(s, "SELECT COUNT(*) FROM t WHERE n = 2"));

    CHECK_INT(0, store_stats(s)->warnings);
    CHECK_OK(store_execf(s, NULL, e, "INSERT IGNORE INTO t (n, v) VALUES (300, '0123456789')"));
    CHECK_INT(2, store_stats(s)->warnings);
    CHECK_INT(0, store_stats(s)->errors);

    CHECK_STORE_ERR(ERR_REFUSED, "(1406)",
                    store_execf(s, NULL, e, "UPDATE t SET v = '0123456789'"));
    CHECK_STORE_ERR(ERR_REFUSED, "(1062)", store_execf(s, NULL, e, "UPDATE t SET v = 'x'"));
    CHECK_INT(1062, store_code(s));
    CHECK_OK(store_ping(s, e));
    CHECK_INT(0, store_code(s));
    CHECK_STORE_ERR(ERR_REFUSED, "(1064) in: SELECT 1; SELECT 2",
                    store_execf(s, NULL, e, "SELECT 1; SELECT 2"));
    struct rows r = {.count = 7};
    CHECK_STORE_ERR(ERR_REFUSED, "(1146)", store_queryf(s, &r, e, "SELECT 1 FROM nowhere"));
    CHECK(!r.res && !r.count && !rows_next(&r));
    rows_done(&r);

    /* 80 bytes of the statement are shown, without a cut character: 18 and 20 times 3 */
    struct buf euros = {0}, want = {0};
    buf_adds(&want, "in: SELECT nothing,  '");
    for (int i = 0; i < 30; i++) {
        buf_adds(&euros, "\xe2\x82\xac");
        buf_adds(&want, i < 20 ? "\xe2\x82\xac" : "");
    }
    buf_adds(&want, "..");
    CHECK_STORE_ERR(ERR_REFUSED, want.data,
                    store_execf(s, NULL, e, "SELECT nothing,\n\t%s", euros.data));
    buf_done(&want);
    buf_done(&euros);
    CHECK_INT(5, (int64_t)store_stats(s)->errors);
    CHECK(store_stats(s)->busy_us > 0 && store_stats(s)->statements > 15);
    store_close(s);
}

TEST(statements_are_traced_one_a_line)
{
    struct mariadb m;
    char *path = xasprintf("%s/trace", t_dir());
    CHECK_INT(0, setenv("PACELINE_SQL_TRACE", path, 1));
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    CHECK_INT(1, mariadb_int(s, "SELECT\n\t1\r\nFROM DUAL"));
    CHECK_OK(store_execf(s, NULL, e, "DO %s", "a\nb\tc"));
    CHECK_STORE_ERR(ERR_REFUSED, "", store_execf(s, NULL, e, "NONSENSE"));
    store_close(s);
    FILE *f = fopen(path, "r");
    char line[512], last[3][512] = {{0}};
    CHECK(f);
    while (fgets(line, sizeof line, f)) {
        memmove(last[0], last[1], sizeof last[0] * 2);
        memcpy(last[2], line, sizeof line);
    }
    (void)fclose(f);
    CHECK_STR("SELECT  1  FROM DUAL\n", last[0]);
    CHECK_STR("DO 'a\\nb c'\n", last[1]);
    CHECK_STR("NONSENSE\n", last[2]);
    free(path);
}

/* --- transactions -------------------------------------------------------------------------- */

/* A table t of the rows 1 and 2, each with n = 0. */
static void
make_table(struct store *s)
{
    CHECK_OK(store_execf(s, NULL, e, "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL)"));
    CHECK_OK(store_execf(s, NULL, e, "INSERT INTO t VALUES (1, 0), (2, 0)"));
}

static bool
add(struct store *s, int id, struct err *e)
{
    return store_execf(s, NULL, e, "UPDATE t SET n = n + 1 WHERE id = %d", id);
}

/* What a body is to do behind its first statement. */
struct plan {
    struct store *other;
    int calls;
    int64_t connection;
    bool swallow;
};

static bool
add_then_refuse(struct store *s, void *arg, struct err *e)
{
    struct plan *plan = arg;
    plan->calls++;
    return add(s, 1, e) && plan->calls < 2 && err_set(e, ERR_GONE, "changed my mind");
}

static bool
add_both(struct store *s, void *arg, struct err *e)
{
    ((struct plan *)arg)->calls++;
    return add(s, 1, e) && add(s, 2, e);
}

TEST(a_transaction_happens_whole_or_not_at_all)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url), *other = mariadb_open(m.url);
    make_table(s);
    struct plan plan = {.calls = 0};
    CHECK_STORE_ERR(ERR_GONE, "changed my mind", store_transact(s, add_then_refuse, &plan, e));
    CHECK_INT(1, plan.calls);
    CHECK_INT(0, mariadb_int(other, "SELECT SUM(n) FROM t"));
    CHECK_OK(store_transact(s, add_both, &plan, e));
    CHECK_INT(2, plan.calls);
    CHECK_INT(2, mariadb_int(other, "SELECT SUM(n) FROM t"));
    CHECK_OK(
        store_execf(s, NULL, e, "UPDATE t SET n = 5")); /* and behind it, each by itself again */
    CHECK_INT(10, mariadb_int(other, "SELECT SUM(n) FROM t"));
    store_close(other);
    store_close(s);
}

/* Two of these take the rows 1 and 2 in opposite order and wait for each other in between, the
 * first time round. */
struct crossing {
    struct store *s;
    pthread_barrier_t *middle;
    int first, calls;
    bool ok;
    struct err why;
};

static bool
cross_body(struct store *s, void *arg, struct err *e)
{
    struct crossing *c = arg;
    bool ok = add(s, c->first, e);
    if (c->calls++ == 0) {
        (void)pthread_barrier_wait(c->middle);
    }
    return ok && add(s, 3 - c->first, e);
}

static void *
cross(void *arg)
{
    struct crossing *c = arg;
    c->ok = store_transact(c->s, cross_body, c, &c->why);
    return NULL;
}

TEST(a_deadlock_is_repeated_until_both_are_through)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct crossing c[2];
    pthread_t threads[2];
    pthread_barrier_t middle;
    CHECK_INT(0, pthread_barrier_init(&middle, NULL, 2));
    for (int i = 0; i < 2; i++) {
        c[i] = (struct crossing){.s = mariadb_open(m.url), .middle = &middle, .first = i + 1};
    }
    make_table(c[0].s);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(0, pthread_create(&threads[i], NULL, cross, &c[i]));
    }
    for (int i = 0; i < 2; i++) {
        CHECK_INT(0, pthread_join(threads[i], NULL));
        CHECK_STR("", c[i].ok ? "" : c[i].why.text);
    }
    CHECK(c[0].calls + c[1].calls >= 3);
    CHECK(store_stats(c[0].s)->deadlocks + store_stats(c[1].s)->deadlocks >= 1);
    CHECK_INT(4, mariadb_int(c[0].s, "SELECT SUM(n) FROM t"));
    CHECK_INT(2, mariadb_int(c[0].s, "SELECT MIN(n) FROM t"));
    store_close(c[0].s);
    store_close(c[1].s);
}

/* Wants row 2 that another connection holds, which lets go when this is called the second time. */
static bool
add_both_late(struct store *s, void *arg, struct err *why)
{
    struct plan *plan = arg;
    if (plan->calls++ == 1) {
        CHECK_OK(store_execf(plan->other, NULL, e, "COMMIT"));
    }
    return add(s, 1, why) && add(s, 2, why);
}

TEST(a_lock_time_out_undoes_the_whole_transaction_and_is_repeated)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *other = mariadb_open(m.url), *s = NULL;
    struct store_config c = {.url = m.url, .query_timeout_ms = 2000}; /* locks: 1 s */
    make_table(other);
    CHECK_OK(store_open(&c, &s, e));
    CHECK_OK(store_execf(other, NULL, e, "START TRANSACTION"));
    CHECK_OK(add(other, 2, e));
    CHECK_STORE_ERR(ERR_RETRY, "(1205)", add(s, 2, e));
    struct plan plan = {.other = other};
    CHECK_OK(store_transact(s, add_both_late, &plan, e));
    CHECK_INT(2, plan.calls);
    CHECK_INT(2, store_stats(s)->deadlocks);
    CHECK_INT(0, store_stats(s)->reconnects);
    CHECK_INT(1, mariadb_int(s, "SELECT n FROM t WHERE id = 1")); /* not 2 */
    CHECK_INT(2, mariadb_int(s, "SELECT n FROM t WHERE id = 2"));
    store_close(s);
    store_close(other);
}

/* Loses its connection after the first statement. */
static bool
add_cut_off(struct store *s, void *arg, struct err *why)
{
    struct plan *plan = arg;
    plan->calls++;
    if (!add(s, 1, why)) {
        return false;
    }
    CHECK_OK(store_execf(plan->other, NULL, e, "KILL %" PRId64, plan->connection));
    CHECK_STORE_ERR(ERR_RETRY, "in: UPDATE t", add(s, 2, e));
    CHECK_STORE_ERR(ERR_RETRY, "the transaction is gone", add(s, 2, e));
    return plan->swallow || add(s, 2, why);
}

TEST(a_lost_transaction_leaves_nothing_behind)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url), *other = mariadb_open(m.url);
    make_table(s);
    for (int swallow = 0; swallow < 2; swallow++) {
        struct plan plan = {.other = other, .swallow = swallow};
        T_WAIT(store_ping(s, NULL), 5000);
        plan.connection = mariadb_int(s, "SELECT CONNECTION_ID()");
        CHECK_STORE_ERR(ERR_RETRY, "the transaction is gone",
                        store_transact(s, add_cut_off, &plan, e));
        CHECK_INT(1, plan.calls); /* only locks are worth a repetition by the store itself */
        CHECK_INT(0, mariadb_int(other, "SELECT SUM(n) FROM t"));
    }
    T_WAIT(store_ping(s, NULL), 5000);
    CHECK_INT(2, store_stats(s)->reconnects);
    store_close(other);
    store_close(s);
}

/* --- losses -------------------------------------------------------------------------------- */

TEST(a_killed_server_is_found_again)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    make_table(s);
    CHECK_OK(add(s, 1, e));
    mariadb_kill(&m);
    CHECK_STORE_ERR(ERR_RETRY, "in: UPDATE t", add(s, 1, e));
    for (int i = 0; i < 100; i++) {
        CHECK_STORE_ERR(ERR_RETRY, "mysql", add(s, 1, e));
    }
    mariadb_restart(&m, NULL);
    T_WAIT(add(s, 1, NULL), 10000);
    CHECK_INT(2, mariadb_int(s, "SELECT n FROM t WHERE id = 1"));
    CHECK_INT(1, store_stats(s)->reconnects);
    char *zone = text_of(s, "@@SESSION.time_zone");
    CHECK_STR("+00:00", zone); /* the new session is set up, too */
    free(zone);
    store_close(s);
}

TEST(a_server_that_hangs_is_given_up)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store_config c = {.url = m.url, .query_timeout_ms = 1, .connect_timeout_ms = 1};
    struct store *s = NULL, *fresh = NULL;
    CHECK_OK(store_open(&c, &s, e));
    CHECK_OK(store_open(&c, &fresh, e));
    CHECK_OK(store_ping(s, e));
    CHECK_INT(0, kill(m.pid, SIGSTOP));
    CHECK_INT(m.pid, waitpid(m.pid, NULL, WUNTRACED));
    int64_t from_ms = t_now_ms();
    CHECK_STORE_ERR(ERR_RETRY, "in: DO 1", store_ping(s, e));
    CHECK_STORE_ERR(ERR_RETRY, "mysql at /", store_ping(fresh, e));
    CHECK(t_now_ms() - from_ms < 10000);
    CHECK_INT(0, kill(m.pid, SIGCONT));
    T_WAIT(store_ping(s, NULL), 10000);
    T_WAIT(store_ping(fresh, NULL), 10000);
    store_close(fresh);
    store_close(s);
}

TEST(a_server_that_takes_no_writes_or_no_more_callers_is_tried_again)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    enum { CALLERS = 12 };
    struct store *root = mariadb_open(m.url), *s[CALLERS];
    make_table(root);
    CHECK_OK(store_execf(root, NULL, e, "CREATE USER plain"));
    CHECK_OK(store_execf(root, NULL, e, "GRANT ALL ON paceline.* TO plain"));
    char *url = mariadb_url(&m, "plain", "paceline");
    s[0] = mariadb_open(url);
    CHECK_OK(add(s[0], 1, e));
    CHECK_OK(store_execf(root, NULL, e, "SET GLOBAL read_only = 1"));
    CHECK_STORE_ERR(ERR_RETRY, "(1290)", add(s[0], 1, e));
    CHECK_OK(store_execf(root, NULL, e, "SET GLOBAL read_only = 0"));
    T_WAIT(add(s[0], 1, NULL), 5000);
    CHECK_INT(1, store_stats(s[0])->reconnects); /* it looked for the primary */

    CHECK_OK(store_execf(root, NULL, e, "SET GLOBAL max_connections = 10"));
    int refused = 0;
    for (size_t i = 1; i < CALLERS; i++) {
        s[i] = mariadb_open(url);
        struct err why = {0};
        if (!store_ping(s[i], &why)) {
            CHECK_INT(1040, store_code(s[i]));
            CHECK_STR("retry", err_kind_name(why.kind));
            refused++;
        }
    }
    CHECK(refused > 0);
    for (size_t i = 0; i < CALLERS; i++) {
        store_close(s[i]);
    }
    store_close(root);
    free(url);
}

TEST(a_named_lock_has_one_owner_and_ends_with_its_connection)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *a = mariadb_open(m.url), *b = mariadb_open(m.url);
    bool ours = false;
    CHECK_OK(store_try_lock(a, "it's", 0, &ours, e));
    CHECK(ours);
    CHECK_OK(store_try_lock(b, "it's", 0, &ours, e));
    CHECK(!ours);
    CHECK_STORE_ERR(ERR_GONE, "'it's' is not ours", store_unlock(b, "it's", e));
    CHECK_STORE_ERR(ERR_GONE, "is not ours", store_unlock(b, "other", e));
    CHECK_OK(store_unlock(a, "it's", e));
    CHECK_OK(store_try_lock(b, "it's", 0, &ours, e));
    CHECK(ours);
    store_close(b);
    CHECK_OK(store_try_lock(a, "it's", 10, &ours, e)); /* as soon as the server has noticed */
    CHECK(ours);
    store_close(a);
}
