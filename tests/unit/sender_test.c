/* Whole senders: a section is opened, messages go out, outcomes come back, each once. */
#include "shared/clock.h"
#include "shared/log.h"
#include "tests/unit/sender_calls.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xxhash.h>

/* --- webhook --------------------------------------------------------------------------------- */

TEST(a_webhook_posts_json_and_reads_the_id)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    struct conf_section s = section_of("type", "webhook", "url", peer_url(p), "allow_private",
                                       "yes", "timeout", "9s", NULL);
    void *w = open_sender(&sender_webhook, &s);
    struct outcome o = deliver(&sender_webhook, w, "Hi \"you\"\n\xf0\x9f\x98\x80");
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    CHECK_STR("a", o.provider_id);
    CHECK_INT(9000, sender_webhook.limit_ms(w));
    char *got = peer_last(p);
    CHECK(strncmp(got, "POST / HTTP/1.1\r\n", 17) == 0);
    CHECK(strstr(got, "\r\nContent-Type: application/json\r\n"));
    CHECK(strstr(got, "\r\nIdempotency-Key: c:7:1\r\n") && strstr(got, "\r\nX-Attempt: 1\r\n"));
    CHECK(strstr(got, "\r\nX-Device: 42\r\n") && strstr(got, "\r\nX-Recipient: 60123456789\r\n"));
    CHECK(strstr(got, "\r\nUser-Agent: paceline/" PACELINE_VERSION "\r\n"));
    CHECK_STR("{\"job_id\":\"c:7:1\",\"attempt\":1,\"device\":42,\"device_ref\":\"inst-42\","
              "\"recipient\":\"60123456789\",\"name\":\"Siti\","
              "\"text\":\"Hi \\\"you\\\"\\n\xf0\x9f\x98\x80\"}",
              strstr(got, "\r\n\r\n") + 4);
    free(got);
    end_sender(&sender_webhook, w, p);
}

TEST(a_webhook_can_be_a_form_with_headers_from_elsewhere)
{
    char path[256], from_file[300];
    (void)snprintf(path, sizeof path, "%s/token", t_dir());
    (void)snprintf(from_file, sizeof from_file, "file:%s", path);
    FILE *f = fopen(path, "w");
    CHECK(f && fputs("{not a variable}\n", f) >= 0 && fclose(f) == 0);
    CHECK(setenv("TEST_TOKEN", "Bearer secret", 1) == 0);
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    char url[128];
    (void)snprintf(url, sizeof url, "%s/{device_ref}/send?q={text}", peer_url(p));
    struct conf_section s = section_of(
        "url", url, "allow_private", "yes", "content_type", "application/x-www-form-urlencoded",
        "body", "to={recipient}&m={text}", "header_Authorization", "env:TEST_TOKEN",
        "header_X-File", from_file, "header_X-Device-Id", "{device_ref}/{text}", "recipient_header",
        "no", "method", "PUT", NULL);
    void *w = open_sender(&sender_webhook, &s);
    struct outcome o = deliver(&sender_webhook, w, "a b\r\nX-Evil: 1");
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    char *got = peer_last(p);
    CHECK(strncmp(got, "PUT /inst-42/send?q=a%20b%0D%0AX-Evil%3A%201 HTTP/1.1\r\n", 52) == 0);
    CHECK(strstr(got, "\r\nAuthorization: Bearer secret\r\n"));
    CHECK(strstr(got, "\r\nX-File: {not a variable}\r\n"));
    CHECK(strstr(got, "\r\nX-Device-Id: inst-42/a b%0D%0AX-Evil: 1\r\n"));
    CHECK(!strstr(got, "X-Recipient") && !strstr(got, "\r\nX-Evil"));
    CHECK_STR("to=60123456789&m=a+b%0D%0AX-Evil%3A+1", strstr(got, "\r\n\r\n") + 4);
    free(got);
    end_sender(&sender_webhook, w, p);
}

TEST(a_webhook_can_be_a_get_over_a_unix_socket)
{
    char path[256], option[300];
    (void)snprintf(path, sizeof path, "%s/s", t_dir());
    (void)snprintf(option, sizeof option, "unix:%s", path);
    struct peer *p = peer_start(&(struct peer_options){.unix_path = path, .script = say_ok});
    struct conf_section s = section_of("url", "http://localhost/?to={recipient}", "unix_socket",
                                       option, "method", "GET", NULL);
    void *w = open_sender(&sender_webhook, &s);
    struct outcome o = deliver(&sender_webhook, w, "x");
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    char *got = peer_last(p);
    CHECK(strncmp(got, "GET /?to=60123456789 HTTP/1.1\r\n", 31) == 0);
    CHECK(!strcasestr(got, "content-") && strstr(got, "\r\nIdempotency-Key: c:7:1\r\n"));
    free(got);
    end_sender(&sender_webhook, w, p);
}

TEST(every_kind_of_answer_becomes_its_outcome)
{
    static const struct {
        const char *bytes, *code;
        enum peer_then then;
        enum outcome_class class;
        enum outcome_scope scope;
        int64_t retry_ms;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\":\"b\"}", "200", PEER_KEEP,
         OUTCOME_SENT, SCOPE_MESSAGE, 0},
        {"HTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\nok", "202-unidentified", PEER_KEEP,
         OUTCOME_SENT, SCOPE_MESSAGE, 0},
        {"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "429", PEER_KEEP,
         OUTCOME_RETRY, SCOPE_DEVICE, 7000},
        {"HTTP/1.1 429 Slow\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n",
         "429", PEER_KEEP, OUTCOME_RETRY, SCOPE_DEVICE, 60000},
        {"HTTP/1.1 503 Off\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", "503", PEER_KEEP,
         OUTCOME_RETRY, SCOPE_ENDPOINT, 1000},
        {"HTTP/1.1 503 Off\r\nContent-Length: 0\r\n\r\n", "503", PEER_KEEP, OUTCOME_UNKNOWN,
         SCOPE_DEVICE, 0},
        {"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n", "504", PEER_KEEP, OUTCOME_UNKNOWN,
         SCOPE_DEVICE, 0},
        {"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n", "401", PEER_KEEP, OUTCOME_REJECTED,
         SCOPE_DEVICE, 0},
        {"HTTP/1.1 400 Bad\r\nContent-Length: 14\r\n\r\n{\"code\":\"bad\"}", "bad", PEER_KEEP,
         OUTCOME_REJECTED, SCOPE_MESSAGE, 0},
        {"HTTP/1.1 400 Bad\r\nContent-Length: 15\r\n\r\n{\"code\":131056}", "131056", PEER_KEEP,
         OUTCOME_RETRY, SCOPE_PAIR, 4000},
        {"HTTP/1.1 301 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "301", PEER_KEEP,
         OUTCOME_REJECTED, SCOPE_ENDPOINT, 0},
        {"", "curl-52", PEER_CLOSE, OUTCOME_UNKNOWN, SCOPE_DEVICE, 0},
        {"", "curl-56", PEER_RESET, OUTCOME_UNKNOWN, SCOPE_DEVICE, 0},
        {"", "curl-28", PEER_HOLD, OUTCOME_UNKNOWN, SCOPE_DEVICE, 0},
        {"garbage\r\n\r\n", "curl-1", PEER_CLOSE, OUTCOME_UNKNOWN, SCOPE_DEVICE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "curl-18", PEER_CLOSE, OUTCOME_UNKNOWN,
         SCOPE_DEVICE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer_reply reply = {.then = cases[i].then};
        buf_adds(&reply.bytes, cases[i].bytes);
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply});
        struct conf_section s = section_of("url", peer_url(p), "allow_private", "yes", "timeout",
                                           "300ms", "error_pointer", "/code", "error_1",
                                           "code:131056 -> retry/pair retry=4s", NULL);
        void *w = open_sender(&sender_webhook, &s);
        struct outcome o = deliver(&sender_webhook, w, "x");
        check_outcome(&o, cases[i].class, cases[i].scope, cases[i].code);
        CHECK_INT(cases[i].retry_ms, o.retry_after_ms);
        CHECK_INT(1, peer_requests(p));
        end_sender(&sender_webhook, w, p);
        buf_done(&reply.bytes);
    }
}

TEST(a_huge_answer_is_accepted_unless_the_rule_has_to_read_it)
{
    static const char *const rules[] = {"2xx", "2xx and /ok = true"};
    for (size_t i = 0; i < 2; i++) {
        struct peer_reply huge = {.fill = (uint64_t)1 << 40, .then = PEER_CLOSE};
        buf_adds(&huge.bytes, "HTTP/1.1 200 OK\r\n\r\n{\"ok\":true,\"id\":\"");
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &huge});
        struct conf_section s =
            section_of("url", peer_url(p), "allow_private", "yes", "success", rules[i], NULL);
        void *w = open_sender(&sender_webhook, &s);
        struct outcome o = deliver(&sender_webhook, w, "x");
        check_outcome(&o, i ? OUTCOME_UNKNOWN : OUTCOME_SENT, SCOPE_MESSAGE,
                      i ? "200" : "200-unidentified");
        CHECK(strstr(o.text, "max_body"));
        end_sender(&sender_webhook, w, p);
        buf_done(&huge.bytes);
    }
}

TEST(what_never_left_is_not_sent)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
    char url[64];
    (void)snprintf(url, sizeof url, "http://localhost:%d/", peer_port(p));
    struct conf_section s = section_of("url", url, NULL);
    void *w = open_sender(&sender_webhook, &s);
    struct outcome o = deliver(&sender_webhook, w, "x");
    check_outcome(&o, OUTCOME_NOT_SENT, SCOPE_ENDPOINT, "address-refused");
    sender_webhook.close(w);

    s = section_of("url", peer_url(p), "allow_private", "yes", NULL);
    w = open_sender(&sender_webhook, &s);
    struct report r;
    struct message m = message_of("x");
    m.not_after_mono_ms = clock_mono_ms() - 1;
    start(&sender_webhook, w, &m, &r);
    turn_until(&r.times, 1);
    check_outcome(&r.o, OUTCOME_NOT_SENT, SCOPE_MESSAGE, "stale");
    CHECK_INT(0, peer_requests(p));
    peer_stop(p);
    o = deliver(&sender_webhook, w, "x");
    check_outcome(&o, OUTCOME_NOT_SENT, SCOPE_ENDPOINT, "curl-7");
    o = deliver(&sender_webhook, w,
                "caf\xe9"); /* fits in no JSON: a later attempt would not help */
    check_outcome(&o, OUTCOME_REJECTED, SCOPE_MESSAGE, "bad-value");
    CHECK(strstr(o.text, "{text} is not valid UTF-8"));
    end_sender(&sender_webhook, w, NULL);
}

TEST(a_webhook_takes_media_when_its_template_has_their_url)
{
    static const struct media image = {.kind = MEDIA_IMAGE, .url = "https://a.example/x.jpg"},
                              bytes = {.kind = MEDIA_IMAGE, .bytes = "x", .len = 1};
    static const struct message_template approved = {.name = "x", .language = "en"};
    static const struct {
        const char *body;
        const struct media *media;
        const struct message_template *template;
        unsigned can;
        bool ok;
    } cases[] = {{"{\"u\":\"{media_url}\"}", &image, NULL, CAN_MEDIA_URL, true},
                 {"{\"u\":\"{media_url}\"}", &bytes, NULL, CAN_MEDIA_URL, false},
                 {"{\"u\":\"{media_url}\"}", NULL, &approved, CAN_MEDIA_URL, false},
                 {"{\"u\":\"{text}\"}", &image, NULL, 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
        struct conf_section s = section_of("type", "webhook", "url", peer_url(p), "allow_private",
                                           "yes", "body", cases[i].body, NULL);
        void *self = open_sender(&sender_webhook, &s);
        struct message m = message_of("");
        struct report r;
        m.media = cases[i].media;
        m.template = cases[i].template;
        CHECK_INT(cases[i].can, sender_webhook.can(self));
        start(&sender_webhook, self, &m, &r);
        turn_until(&r.times, 1);
        if (cases[i].ok) {
            CHECK_INT(OUTCOME_SENT, r.o.class);
            char *got = peer_last(p);
            CHECK(strstr(got, "{\"u\":\"https://a.example/x.jpg\"}"));
            free(got);
        } else {
            check_outcome(&r.o, OUTCOME_REJECTED, SCOPE_TEMPLATE, "unsupported");
            CHECK(r.o.stop);
        }
        CHECK_INT(cases[i].ok, peer_requests(p));
        end_sender(&sender_webhook, self, p);
    }
}

TEST(closing_a_webhook_reports_every_message_once)
{
    struct peer_reply silence = {.then = PEER_HOLD};
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &silence});
    struct conf_section s =
        section_of("url", peer_url(p), "allow_private", "yes", "max_connections", "1", NULL);
    void *w = open_sender(&sender_webhook, &s);
    struct report sent, waiting, refused;
    struct message m = message_of("x"), bad = message_of("\xff");
    start(&sender_webhook, w, &m, &sent);
    start(&sender_webhook, w, &m, &waiting);
    while (peer_requests(p) < 1) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    start(&sender_webhook, w, &bad, &refused);
    end_sender(&sender_webhook, w, p);
    CHECK(sent.times == 1 && waiting.times == 1 && refused.times == 1);
    check_outcome(&sent.o, OUTCOME_UNKNOWN, SCOPE_MESSAGE, "closed");
    check_outcome(&waiting.o, OUTCOME_NOT_SENT, SCOPE_MESSAGE, "closed");
    check_outcome(&refused.o, OUTCOME_REJECTED, SCOPE_MESSAGE, "bad-value");
}

static void
check_refused(const char *want, struct conf_section s)
{
    void *self = NULL;
    struct err e = {0};
    bool ok = sender_webhook.open(ev_default_loop(0), &s, &self, &e);
    if (ok || e.kind != ERR_INPUT || !strstr(e.text, want)) {
        t_fail(__FILE__, __LINE__, "%s, not %s", ok ? "accepted" : e.text, want);
    }
}

TEST(mistakes_in_a_section_have_file_line_and_key)
{
#define U "url", "https://example.com/"
    check_refused("f.conf:10: url: missing", section_of("type", "webhook", NULL));
    check_refused("f.conf:11: url: ", section_of("url", "example", NULL));
    check_refused("f.conf:11: url: 127.0.0.1 is a private",
                  section_of("url", "http://127.0.0.1/", NULL));
    check_refused("f.conf:11: url: character 9", section_of("url", "https://{name}/", NULL));
    check_refused("f.conf:12: methd: unknown key", section_of(U, "methd", "POST", NULL));
    check_refused("f.conf:12: method: ", section_of(U, "method", "HEAD", NULL));
    check_refused("f.conf:12: body: character 7: no variable",
                  section_of(U, "body", "{\"a\":\"{b}\"}", NULL));
    check_refused("f.conf:12: content_type: ", section_of(U, "content_type", "text/xml", NULL));
    check_refused(": body: needed", section_of(U, "content_type", "text/plain", NULL));
    check_refused("f.conf:13: body: GET", section_of(U, "method", "GET", "body", "{}", NULL));
    check_refused("f.conf:12: success: character 9", section_of(U, "success", "2xx and a", NULL));
    check_refused("f.conf:12: id_pointer: ", section_of(U, "id_pointer", "id", NULL));
    check_refused("f.conf:12: error_1: ", section_of(U, "error_1", "429 > retry", NULL));
    check_refused("f.conf:12: error_pointr: unknown", section_of(U, "error_pointr", "/x", NULL));
    check_refused("f.conf:12: header_X-A: ", section_of(U, "header_X-A", "env:NOT_THERE", NULL));
    check_refused("f.conf:12: header_X A: ", section_of(U, "header_X A", "b", NULL));
    check_refused("f.conf:12: header_: ", section_of(U, "header_", "b", NULL));
    check_refused("f.conf:12: header_expect: ", section_of(U, "header_expect", "b", NULL));
    check_refused("f.conf:12: header_X-A: a control", section_of(U, "header_X-A", "a\nb", NULL));
    check_refused("f.conf:12: header_X-A: character 1", section_of(U, "header_X-A", "{b}", NULL));
    check_refused("f.conf:12: timeout: ", section_of(U, "timeout", "1h", NULL));
    check_refused("f.conf:12: unix_socket: ", section_of(U, "unix_socket", "s", NULL));
    struct err e;
    void *self;
    CHECK(!sender_webhook.open(ev_default_loop(0), NULL, &self, &e));
}

/* --- null and log ---------------------------------------------------------------------------- */

TEST(null_and_log_answer_on_a_later_turn)
{
    void *n = open_sender(&sender_null, NULL), *l = open_sender(&sender_log, NULL);
    struct outcome o = deliver(&sender_null, n, "x");
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "null");
    char path[256], line[512];
    (void)snprintf(path, sizeof path, "%s/log", t_dir());
    int out = dup(2), fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(dup2(fd, 2) == 2);
    o = deliver(&sender_log, l, "hello");
    struct report late;
    struct message m = message_of("late");
    start(&sender_log, l, &m, &late);
    sender_log.close(l);
    CHECK(dup2(out, 2) == 2);
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "logged");
    check_outcome(&late.o, OUTCOME_SENT, SCOPE_MESSAGE, "logged");
    FILE *f = fopen(path, "r");
    CHECK(f && fgets(line, sizeof line, f));
    CHECK(strstr(line, "job=c:7:1") && strstr(line, "recipient=60******789") &&
          strstr(line, "bytes=5"));
    CHECK(!strstr(line, "60123456789") && !strstr(line, "hello"));
    (void)fclose(f);
    (void)close(fd);
    (void)close(out);
    end_sender(&sender_null, n, NULL);
}

TEST(the_ledger_is_written_before_the_outcome)
{
    char path[256], line[512], want[128];
    (void)snprintf(path, sizeof path, "%s/ledger", t_dir());
    struct conf_section s = section_of("type", "null", "ledger", path, NULL);
    void *n = open_sender(&sender_null, &s);
    for (int i = 0; i < 3; i++) {
        struct outcome o = deliver(&sender_null, n, "hello");
        check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "null");
    }
    struct message m = message_of("x"), evil = message_of("y");
    struct report a, b;
    evil.job_id = "a\tb\nc";
    start(&sender_null, n, &m, &a);
    start(&sender_null, n, &evil, &b);
    end_sender(&sender_null, n, NULL);
    check_outcome(&a.o, OUTCOME_UNKNOWN, SCOPE_MESSAGE, "closed");
    FILE *f = fopen(path, "r");
    int lines = 0;
    (void)snprintf(want, sizeof want, "\t1\tc:7:1\t1\t42\t60123456789\t%016llx\t5\t1\n",
                   (unsigned long long)XXH64("hello", 5, 0));
    while (f && fgets(line, sizeof line, f)) {
        long long wall, mono;
        CHECK(sscanf(line, "%lld\t%lld", &wall, &mono) == 2 && wall > 0 && mono > 0);
        CHECK(lines > 0 || strstr(line, want));
        lines++;
    }
    CHECK_INT(5, lines);
    CHECK(strstr(line, "\ta?b?c\t"));
    (void)fclose(f);
}

TEST(processes_share_a_ledger)
{
    char path[256], line[512];
    (void)snprintf(path, sizeof path, "%s/ledger", t_dir());
    CHECK(setenv("PACELINE_NULL_LEDGER", path, 1) == 0);
    for (int child = 0; child < 4; child++) {
        (void)fflush(NULL);
        if (fork() == 0) {
            void *n = open_sender(&sender_null, NULL);
            static struct report reports[2000];
            struct message m = message_of("hello");
            for (int i = 0; i < 2000; i++) {
                m.device_id = (uint64_t)child;
                start(&sender_null, n, &m, &reports[i]);
                if (i % 7 == 0) {
                    turn_until(&reports[i].times, 1);
                }
            }
            turn_until(&reports[1999].times, 1);
            end_sender(&sender_null, n, NULL);
            exit(0);
        }
    }
    for (int i = 0; i < 4; i++) {
        int status;
        CHECK(wait(&status) > 0 && status == 0);
    }
    int next[4] = {0};
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        int serial, device, ok;
        CHECK_INT(3, sscanf(line, "%*d\t%*d\t%d\tc:7:1\t1\t%d\t60123456789\t%*x\t5\t%d\n", &serial,
                            &device, &ok));
        CHECK_INT(++next[device], serial);
    }
    (void)fclose(f);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(2000, next[i]);
    }
}

TEST(a_null_sender_can_be_slow_and_its_ledger_can_fail)
{
    struct conf_section s = section_of("delay", "80ms", "ledger", "/dev/full", NULL);
    void *n = open_sender(&sender_null, &s);
    CHECK_INT(1080, sender_null.limit_ms(n));
    int64_t from = clock_mono_ms();
    struct outcome o = deliver(&sender_null, n, "x");
    CHECK(clock_mono_ms() - from >= 80);
    check_outcome(&o, OUTCOME_UNKNOWN, SCOPE_MESSAGE, "ledger");
    struct report a, b; /* each has its own delay */
    struct message m = message_of("y");
    start(&sender_null, n, &m, &a);
    for (from = clock_mono_ms(); clock_mono_ms() - from < 50;) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    start(&sender_null, n, &m, &b);
    turn_until(&a.times, 1);
    CHECK_INT(0, b.times);
    turn_until(&b.times, 1);
    CHECK(clock_mono_ms() - from >= 130);
    sender_null.close(n);
    struct err e = {0};
    s = section_of("ledger", "/nowhere/at/all", NULL);
    CHECK(!sender_null.open(loop, &s, &n, &e) && e.kind == ERR_INPUT);
    s = section_of("delay", "slow", NULL);
    CHECK(!sender_null.open(loop, &s, &n, &e) && e.kind == ERR_INPUT);
    s = section_of("ledgr", "x", NULL);
    CHECK(!sender_null.open(loop, &s, &n, &e) && strstr(e.text, "f.conf:11: ledgr: unknown key"));
    CHECK(!sender_log.open(loop, &s, &n, &e) && strstr(e.text, "f.conf:11: ledgr: unknown key"));
    CHECK(setenv("PACELINE_NULL_DELAY", "slow", 1) == 0);
    CHECK(!sender_null.open(loop, NULL, &n, &e) && e.kind == ERR_INPUT);
    CHECK(setenv("PACELINE_NULL_DELAY", "50ms", 1) == 0);
    n = open_sender(&sender_null, NULL);
    CHECK_INT(1050, sender_null.limit_ms(n));
    end_sender(&sender_null, n, NULL);
}
