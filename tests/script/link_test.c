/* The supervised link: every call is answered once, whatever happens to the server. */
#include "shared/clock.h"
#include "shared/redis.h"
#include "tests/harness/redis_server.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

#include <ev.h>

enum { DEADLINE_MS = 300, WINDOW = 64 };

static struct redis_server server;
static struct ev_loop *loop;
static struct redis_link *link_;
static int ups, downs;
static char run_id[41], why_down[200];

static void
on_state(void *arg, const char *id, const char *why)
{
    CHECK(arg == &server);
    if (id) {
        ups++;
        CHECK_INT(40, strlen(id));
        memcpy(run_id, id, 41);
        CHECK_STR("", why);
    } else {
        downs++;
        (void)snprintf(why_down, sizeof why_down, "%s", why);
    }
}

/* A new link to this URL; not started. */
static void
make_link(const char *url, const char *password)
{
    struct redis_config c = {.url = url,
                             .password = password,
                             .name = "test",
                             .deadline_ms = DEADLINE_MS,
                             .window = WINDOW};
    loop = loop ? loop : ev_loop_new(EVFLAG_AUTO);
    CHECK_OK(redis_link_new(loop, &c, on_state, &server, &link_, e));
}

static void
start(void)
{
    redis_server_start(&server, NULL, NULL);
    make_link(server.url, NULL);
    CHECK(!redis_link_up(link_));
    redis_link_start(link_);
    CHECK_OK(redis_link_wait_up(link_, 10000, e));
}

static void
stop(void)
{
    redis_link_free(link_);
    ev_loop_destroy(loop);
    if (server.pid) {
        redis_server_kill(&server);
    }
}

static bool
turn(void)
{
    (void)ev_run(loop, EVRUN_NOWAIT);
    return true;
}

/* --- calls ---------------------------------------------------------------------------------------
 */

struct answer {
    int times;
    enum err_kind kind;
    enum redis_type type;
    int64_t n;
    size_t len;
    char text[200], error[320];
};

static void
on_answer(void *arg, const struct redis_value *v, const struct err *e)
{
    struct answer *a = arg;
    CHECK(!v == !!e);
    a->times++;
    if (e) {
        a->kind = e->kind;
        (void)snprintf(a->error, sizeof a->error, "%s", e->text);
        return;
    }
    a->type = redis_type(v);
    a->n = redis_int(v);
    a->len = redis_len(v);
    (void)snprintf(a->text, sizeof a->text, "%s", redis_str(v));
}

/* Words are separated by blanks; "EVAL|return 1|0" by bars where they contain blanks. */
static bool
call(const char *words, struct answer *a)
{
    struct redis_cmd c = {.script = -1};
    struct err e = {0};
    char *copy = xstrdup(words), *rest = copy,
         *word = strsep(&rest, strchr(words, '|') ? "|" : " ");
    redis_cmd_plain(&c, word);
    while ((word = strsep(&rest, strchr(words, '|') ? "|" : " ")) != NULL) {
        redis_cmd_str(&c, word);
    }
    free(copy);
    *a = (struct answer){.times = 0};
    bool ok = redis_call(link_, &c, on_answer, a, &e);
    if (!ok) {
        a->kind = e.kind;
        (void)snprintf(a->error, sizeof a->error, "%s", e.text);
    }
    CHECK_INT(0, a->times); /* never before the call has returned */
    CHECK(!c.bytes.data && !c.ends);
    return ok;
}

static struct answer
ask(const char *words)
{
    struct answer a;
    CHECK(call(words, &a));
    redis_link_wait(link_);
    CHECK_INT(1, a.times);
    return a;
}

TEST(a_link_tells_the_run_id_and_answers_calls)
{
    start();
    CHECK_INT(1, ups);
    CHECK(strstr(redis_do(&server, "INFO server"), run_id));
    CHECK(strstr(redis_do(&server, "CLIENT LIST"), " name=test "));
    CHECK_STR("", redis_link_why(link_));
    struct answer a = ask("SET k 17");
    CHECK(a.type == REDIS_STR && strcmp(a.text, "OK") == 0 && a.len == 2);
    a = ask("GET k");
    CHECK(a.type == REDIS_STR && a.n == 17);
    a = ask("INCR k");
    CHECK(a.type == REDIS_INT && a.n == 18 && a.len == 0 && !*a.text);
    a = ask("GET nothing");
    CHECK(a.type == REDIS_NIL && a.n == 0 && a.len == 0 && !*a.text);
    a = ask("MGET k nothing k");
    CHECK(a.type == REDIS_LIST && a.len == 3 && a.n == 0);
    (void)ask("SET k 17x");
    a = ask("GET k");
    CHECK(a.n == 0 && strcmp(a.text, "17x") == 0);
    stop();
}

static void
on_nested(void *arg, const struct redis_value *v, const struct err *e)
{
    int *times = arg;
    CHECK(!e);
    CHECK_INT(2, redis_len(v));
    CHECK_INT(1, redis_int(redis_at(v, 0)));
    CHECK_INT(2, redis_len(redis_at(v, 1)));
    CHECK_STR("b", redis_str(redis_at(redis_at(v, 1), 1)));
    CHECK_INT(REDIS_NIL, redis_type(redis_at(v, 2)));              /* behind the end */
    CHECK_INT(REDIS_NIL, redis_type(redis_at(redis_at(v, 0), 0))); /* of no list */
    CHECK_INT(0, redis_len(redis_at(redis_at(redis_at(v, 7), 3), 1)));
    (*times)++;
}

TEST(nested_replies_are_read_safely)
{
    struct redis_cmd c = {.script = -1};
    int times = 0;
    start();
    redis_cmd_plain(&c, "EVAL");
    redis_cmd_str(&c, "return {1, {'a', 'b'}}");
    redis_cmd_int(&c, 0);
    CHECK_OK(redis_call(link_, &c, on_nested, &times, e));
    redis_link_wait(link_);
    CHECK_INT(1, times);
    stop();
}

TEST(commands_carry_any_bytes_and_any_number_of_arguments)
{
    static char big[1 << 20];
    struct redis_cmd c = {.script = -1};
    struct answer a = {.times = 0};
    start();
    redis_cmd_plain(&c, "SET");
    redis_cmd_key(&c, "%s:%d", "k", 1);
    redis_cmd_bytes(&c, big, sizeof big);
    CHECK_OK(redis_call(link_, &c, on_answer, &a, e));
    redis_link_wait(link_);
    CHECK_INT(sizeof big, redis_num(&server, "STRLEN k:1"));
    redis_cmd_plain(&c, "RPUSH");
    redis_cmd_str(&c, "list");
    for (int i = 0; i < 1000; i++) {
        redis_cmd_int(&c, i);
    }
    CHECK_OK(redis_call(link_, &c, on_answer, &a, e));
    redis_link_wait(link_);
    CHECK_INT(1000, a.n);
    redis_cmd_plain(&c, "SET");
    redis_cmd_str(&c, "");
    redis_cmd_str(&c, "");
    CHECK_OK(redis_call(link_, &c, NULL, NULL, e)); /* nobody wants to know */
    redis_link_wait(link_);
    redis_cmd_plain(&c, "SET");
    redis_cmd_done(&c); /* given up before it was sent */
    stop();
}

TEST(error_replies_say_what_to_do)
{
    static const struct {
        const char *text;
        enum err_kind kind;
        bool falls;
    } replies[] = {{"EPOCH x", ERR_GONE, false},        {"CLOSED x", ERR_RETRY, false},
                   {"OOM x", ERR_RETRY, false},         {"MISCONF x", ERR_RETRY, false},
                   {"BUSY x", ERR_RETRY, false},        {"TRYAGAIN x", ERR_RETRY, false},
                   {"CLUSTERDOWN x", ERR_RETRY, false}, {"NOREPLICAS x", ERR_RETRY, false},
                   {"WRONGTYPE x", ERR_REFUSED, false}, {"ERR x", ERR_REFUSED, false},
                   {"NOPERM x", ERR_REFUSED, false},    {"READONLY x", ERR_RETRY, true},
                   {"LOADING x", ERR_RETRY, true},      {"MASTERDOWN x", ERR_RETRY, true}};
    start();
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        char *words = xasprintf("EVAL|return redis.error_reply('%s')|0", replies[i].text);
        struct answer a = ask(words);
        free(words);
        CHECK_STR(err_kind_name(replies[i].kind), err_kind_name(a.kind));
        CHECK_STR(replies[i].text, a.error);
        CHECK_INT(!replies[i].falls, redis_link_up(link_));
        if (replies[i].falls) {
            int before = downs;
            T_WAIT(turn() && downs > before, 5000);
            CHECK_STR(replies[i].text, why_down);
            CHECK_OK(redis_link_wait_up(link_, 10000, e));
        }
    }
    stop();
}

TEST(a_full_window_refuses_without_a_callback)
{
    static struct answer answers[WINDOW + 1];
    start();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < WINDOW; i++) {
            CHECK(call("PING", &answers[i]));
        }
        CHECK_INT(WINDOW, redis_link_in_flight(link_));
        CHECK(!call("PING", &answers[WINDOW]));
        CHECK_INT(ERR_FULL, answers[WINDOW].kind);
        redis_link_wait(link_);
        for (int i = 0; i <= WINDOW; i++) {
            CHECK_INT(i < WINDOW ? 1 : 0, answers[i].times);
        }
    }
    stop();
}

/* --- the server goes
 * ------------------------------------------------------------------------------- */

TEST(a_killed_servers_calls_are_answered_once_and_the_link_comes_back)
{
    static struct answer answers[20];
    char first[41];
    start();
    memcpy(first, run_id, sizeof first);
    redis_server_freeze(&server); /* so that the calls are under way when it dies */
    for (int i = 0; i < 20; i++) {
        CHECK(call("INCR k", &answers[i]));
    }
    (void)turn();
    redis_server_kill(&server);
    redis_link_wait(link_);
    T_WAIT(turn() && downs == 1, 5000);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(1, answers[i].times);
        CHECK_INT(ERR_RETRY, answers[i].kind);
    }
    CHECK(!redis_link_up(link_));
    CHECK(*redis_link_why(link_) && *why_down);
    struct answer a;
    CHECK(!call("PING", &a)); /* down */
    CHECK_INT(ERR_RETRY, a.kind);
    redis_server_restart(&server);
    CHECK_OK(redis_link_wait_up(link_, 10000, e));
    CHECK(strcmp(first, run_id) != 0);
    CHECK_INT(0, a.times);
    CHECK_INT(2, ups);
    (void)ask("PING");
    stop();
}

TEST(a_frozen_server_hits_the_deadline)
{
    static struct answer answers[20];
    start();
    redis_server_freeze(&server);
    int64_t t = clock_mono_ms();
    for (int i = 0; i < 20; i++) {
        CHECK(call("INCR k", &answers[i]));
    }
    redis_link_wait(link_);
    int64_t took = clock_mono_ms() - t;
    CHECK(took >= DEADLINE_MS - 50 && took < DEADLINE_MS + 2000);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(1, answers[i].times);
        CHECK_INT(ERR_RETRY, answers[i].kind);
    }
    CHECK_STR("no reply within the deadline", why_down);
    T_WAIT(turn() && clock_mono_ms() - t > INT64_C(3) * DEADLINE_MS,
           10000); /* it keeps trying, in vain */
    CHECK(!redis_link_up(link_));
    CHECK_INT(1, downs);
    redis_server_thaw(&server);
    CHECK_OK(redis_link_wait_up(link_, 10000, e));
    CHECK_INT(20, redis_num(&server, "GET k")); /* done all the same: their fate was unknown */
    for (int i = 0; i < 20; i++) {
        CHECK_INT(1, answers[i].times);
    }
    stop();
}

TEST(a_slow_server_that_makes_progress_is_not_given_up)
{
    static struct answer answers[5];
    start();
    for (int i = 0; i < 5; i++) { /* each 0.6 of the deadline, three times it in all */
        CHECK(call("BLPOP nothing 0.18", &answers[i]));
    }
    redis_link_wait(link_);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(1, answers[i].times);
        CHECK_STR("", answers[i].error);
    }
    CHECK_INT(0, downs);
    stop();
}

TEST(an_idle_link_has_no_deadline)
{
    start();
    redis_server_freeze(&server);
    int64_t t = clock_mono_ms();
    T_WAIT(turn() && clock_mono_ms() - t > INT64_C(2) * DEADLINE_MS, 10000);
    redis_server_thaw(&server);
    CHECK_INT(0, downs);
    (void)ask("PING");
    stop();
}

TEST(a_link_that_is_freed_answers_what_is_under_way)
{
    static struct answer answers[10];
    start();
    redis_server_freeze(&server);
    for (int i = 0; i < 10; i++) {
        CHECK(call("PING", &answers[i]));
    }
    (void)turn();
    redis_link_free(link_);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(1, answers[i].times);
        CHECK_INT(ERR_RETRY, answers[i].kind);
    }
    CHECK_INT(0, downs); /* nobody is told */
    link_ = NULL;
    redis_link_free(NULL);
    redis_server_thaw(&server);
    stop();
}

TEST(a_connection_that_the_server_cuts_comes_back)
{
    start();
    for (int i = 1; i <= 5; i++) {
        CHECK_INT(1, redis_num(&server, "CLIENT KILL TYPE normal SKIPME yes"));
        T_WAIT(turn() && downs == i, 5000);
        CHECK_OK(redis_link_wait_up(link_, 10000, e));
        (void)ask("PING");
    }
    CHECK_INT(6, ups);
    stop();
}

TEST(a_link_waits_for_a_server_that_is_not_there_yet)
{
    struct err why = {0};
    redis_server_start(&server, NULL, NULL);
    redis_server_kill(&server);
    make_link(server.url, NULL);
    redis_link_start(link_);
    CHECK(!redis_link_wait_up(link_, 100, &why));
    CHECK_INT(ERR_RETRY, why.kind);
    CHECK(strstr(why.text, "No such file"));
    redis_server_restart(&server);
    CHECK_OK(redis_link_wait_up(link_, 10000, e));
    CHECK_INT(0, downs); /* it had never been up */
    stop();
}

TEST(a_busy_server_is_waited_for)
{
    start();
    CHECK_STR("OK", redis_do(&server, "CONFIG SET busy-reply-threshold 1"));
    struct answer endless, a;
    CHECK(call("EVAL|while true do end|0", &endless));
    T_WAIT(turn() && strncmp(redis_do(&server, "GET k"), "BUSY", 4) == 0, 5000);
    redis_link_free(link_); /* another program comes, and cannot even greet */
    CHECK_INT(1, endless.times);
    make_link(server.url, NULL);
    redis_link_start(link_);
    struct err why = {0};
    CHECK(!redis_link_wait_up(link_, 200, &why));
    CHECK(strstr(why.text, "BUSY"));
    CHECK_STR("OK", redis_do(&server, "SCRIPT KILL"));
    CHECK_OK(redis_link_wait_up(link_, 10000, e));
    a = ask("PING");
    CHECK_STR("PONG", a.text);
    stop();
}

TEST(a_server_without_room_for_clients_is_waited_for)
{
    static const char *const options[] = {"--maxclients", "1", NULL};
    struct err why = {0};
    redis_server_start(&server, options, NULL);
    make_link(server.url, NULL);
    redis_link_start(link_);
    CHECK(!redis_link_wait_up(link_, 150, &why));
    CHECK_STR("OK", redis_do(&server, "CONFIG SET maxclients 10"));
    CHECK_OK(redis_link_wait_up(link_, 10000, e));
    stop();
}

/* --- subscribers
 * ------------------------------------------------------------------------------------ */

static int messages;
static char message[64];

static void
on_message(void *arg, const char *payload)
{
    CHECK(arg == &server);
    messages++;
    (void)snprintf(message, sizeof message, "%s", payload);
}

TEST(a_subscriber_hears_and_subscribes_again)
{
    redis_server_start(&server, NULL, NULL);
    for (int i = 1; i <= 2; i++) {
        if (i == 1) {
            make_link(server.url, NULL);
            redis_link_subscribe(link_, "pl:wake", on_message);
        } else {
            redis_server_kill(&server);
            T_WAIT(turn() && !redis_link_up(link_), 5000);
            redis_server_restart(&server);
        }
        CHECK_OK(redis_link_wait_up(link_, 10000, e));
        CHECK_INT(1, redis_num(&server, "PUBLISH pl:wake 17"));
        CHECK_INT(0, redis_num(&server, "PUBLISH pl:other 18"));
        T_WAIT(turn() && messages == i, 5000);
        CHECK_STR("17", message);
    }
    stop();
}
