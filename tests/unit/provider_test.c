/* The senders of known providers: what they ask, and the sections that they refuse. */
#include "tests/unit/provider_calls.h"

#include <fcntl.h>
#include <unistd.h>

/* --- requests -------------------------------------------------------------------------------- */

static void
say_cloud_ok(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    (void)arg, (void)rq;
    peer_answer(r, 200,
                "{\"messaging_product\":\"whatsapp\",\"contacts\":[{\"input\":\"60123456789\","
                "\"wa_id\":\"60123456789\"}],\"messages\":[{\"id\":\"wamid.HBg\"}]}");
}

TEST(cloudapi_posts_a_text_for_the_phone_number_id)
{
    CHECK(setenv("TEST_SECRET", "s3cret-Token", 1) == 0);
    struct peer *p = peer_start(&(struct peer_options){.script = say_cloud_ok});
    char url[128];
    (void)snprintf(url, sizeof url, "%s/", peer_url(p));
    struct conf_section s =
        section_of("type", "cloudapi", "url", url, "allow_private", "yes", "token",
                   "env:TEST_SECRET", "version", "v24.0", "callback_data", "yes", NULL);
    void *self = open_sender(&sender_cloudapi, &s);
    struct outcome o = deliver_at(&sender_cloudapi, self, 3);
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    CHECK_STR("wamid.HBg", o.provider_id);
    CHECK_STR("", o.text);
    CHECK_INT(60000, sender_cloudapi.limit_ms(self));
    char *got = peer_last(p);
    CHECK(strncmp(got, "POST /v24.0/106540352242922/messages HTTP/1.1\r\n", 47) == 0);
    CHECK(strstr(got, "\r\nAuthorization: Bearer s3cret-Token\r\n"));
    CHECK(strstr(got, "\r\nContent-Type: application/json\r\n"));
    CHECK(strstr(got, "\r\nUser-Agent: paceline/" PACELINE_VERSION "\r\n"));
    CHECK_STR("{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\","
              "\"to\":\"60123456789\",\"type\":\"text\",\"text\":{\"body\":\"Hi\","
              "\"preview_url\":false},\"biz_opaque_callback_data\":\"c:7:1:3\"}",
              strstr(got, "\r\n\r\n") + 4);
    free(got);
    end_sender(&sender_cloudapi, self, p);
}

TEST(without_the_setting_no_callback_data_is_sent)
{
    struct peer *p = peer_start(&(struct peer_options){.script = say_cloud_ok});
    void *self = open_kind(&kinds[0], p, "9s");
    struct outcome o = deliver_at(&sender_cloudapi, self, 1);
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    char *got = peer_last(p);
    CHECK(strstr(got, "\"text\":{") && !strstr(got, "callback"));
    free(got);
    end_sender(&sender_cloudapi, self, p);
}

static void
say_gowa_ok(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    (void)arg, (void)rq;
    peer_answer(r, 200,
                "{\"code\":\"SUCCESS\",\"message\":\"Message sent\",\"results\":{\"message_id\":"
                "\"3EB0\",\"status\":\"ok\"}}");
}

TEST(gowa_posts_a_text_for_the_device)
{
    CHECK(setenv("TEST_SECRET", "open sesame", 1) == 0);
    struct peer *p = peer_start(&(struct peer_options){.script = say_gowa_ok});
    char url[128];
    (void)snprintf(url, sizeof url, "%s/wa", peer_url(p));
    struct conf_section s = section_of("type", "gowa", "url", url, "allow_private", "yes", "user",
                                       "Aladdin", "password", "env:TEST_SECRET", NULL);
    void *self = open_sender(&sender_gowa, &s);
    struct message m = message_of("Hi \"you\"\n\xf0\x9f\x98\x80");
    struct report r;
    m.device_ref = "caf\xc3\xa9+1%:2@s";
    start(&sender_gowa, self, &m, &r);
    turn_until(&r.times, 1);
    check_outcome(&r.o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    CHECK_STR("3EB0", r.o.provider_id);
    char *got = peer_last(p);
    CHECK(strncmp(got, "POST /wa/send/message HTTP/1.1\r\n", 32) == 0);
    /* RFC 7617's own example. */
    CHECK(strstr(got, "\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    CHECK(strstr(got, "\r\nX-Device-Id: caf%C3%A9%2B1%25:2@s\r\n"));
    CHECK_STR("{\"phone\":\"60123456789@s.whatsapp.net\","
              "\"message\":\"Hi \\\"you\\\"\\n\xf0\x9f\x98\x80\"}",
              strstr(got, "\r\n\r\n") + 4);
    free(got);
    m.device_ref = "";
    start(&sender_gowa, self, &m, &r);
    turn_until(&r.times, 1);
    got = peer_last(p);
    CHECK(!strcasestr(got, "X-Device-Id"));
    free(got);
    end_sender(&sender_gowa, self, p);
}

static void
open_with_timeout(const char *timeout, char *ret_line, int size)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/log%s", t_dir(), timeout);
    int out = dup(2), fd = open(path, O_CREAT | O_RDWR, 0600);
    CHECK(dup2(fd, 2) == 2);
    struct conf_section s =
        section_of("type", "gowa", "url", "https://gowa.example", "timeout", timeout, NULL);
    void *self = open_sender(&sender_gowa, &s);
    CHECK(dup2(out, 2) == 2);
    ssize_t n = pread(fd, ret_line, (size_t)size - 1, 0);
    ret_line[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    (void)close(out);
    end_sender(&sender_gowa, self, NULL);
}

TEST(a_time_limit_below_the_gateways_own_is_warned_of)
{
    char line[512];
    open_with_timeout("45s", line, sizeof line);
    CHECK(strstr(line, "event=short_timeout sender=test timeout_ms=45000 cure="));
    open_with_timeout("46s", line, sizeof line);
    CHECK_STR("", line);
}

TEST(what_no_provider_would_take_makes_no_request)
{
#define ALL ((1u << N_KINDS) - 1)
    static const struct {
        const char *ref, *recipient, *text, *code;
        enum outcome_scope scope;
        unsigned kinds; /* bits */
    } cases[] = {
        {"1065", "60123456789", "caf\xe9", "bad-value", SCOPE_MESSAGE, ALL},
        {"1065", "60123456789", "", "bad-value", SCOPE_MESSAGE, ALL},
        {"1065", "+60123456789", "x", "bad-recipient", SCOPE_RECIPIENT, ALL},
        {"1065", "", "x", "bad-recipient", SCOPE_RECIPIENT, ALL},
        {"1065", "1234567890123456", "x", "bad-recipient", SCOPE_RECIPIENT, ALL},
        {"../me", "60123456789", "x", "bad-device", SCOPE_DEVICE, 1 << CLOUDAPI},
        {"..", "60123456789", "x", "bad-device", SCOPE_DEVICE, 1 << CLOUDAPI | 1 << EVOLUTION},
        {"", "60123456789", "x", "bad-device", SCOPE_DEVICE, 1 << CLOUDAPI | 1 << EVOLUTION},
    };
    for (size_t k = 0; k < N_KINDS; k++) {
        struct peer *p = peer_start(&(struct peer_options){.script = say_ok});
        void *self = open_kind(&kinds[k], p, "9s");
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct message m = message_of(cases[i].text);
            m.device_ref = cases[i].ref;
            m.recipient = cases[i].recipient;
            if (cases[i].kinds >> k & 1) {
                struct outcome o = deliver_message(kinds[k].sender, self, &m);
                check_outcome(&o, OUTCOME_REJECTED, cases[i].scope, cases[i].code);
                CHECK(!o.stop);
            }
        }
        CHECK_INT(0, peer_requests(p));
        CHECK_INT(4096, kinds[k].sender->max_chars(self, false)); /* the worker counts */
        CHECK_INT(1024, kinds[k].sender->max_chars(self, true));
        CHECK_INT(9000, kinds[k].sender->limit_ms(self));
        end_sender(kinds[k].sender, self, p);
    }
}

TEST(closing_reports_every_message_once)
{
    struct peer_reply silence = {.then = PEER_HOLD};
    for (size_t k = 0; k < N_KINDS; k++) {
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &silence});
        void *self = open_kind(&kinds[k], p, "30s");
        struct message m = message_of("x"), bad = message_of("\xff");
        struct report sent, refused;
        m.device_ref = bad.device_ref = "1065";
        start(kinds[k].sender, self, &m, &sent);
        while (peer_requests(p) < 1) {
            (void)ev_run(loop, EVRUN_ONCE);
        }
        start(kinds[k].sender, self, &bad, &refused);
        end_sender(kinds[k].sender, self, p);
        CHECK(sent.times == 1 && refused.times == 1);
        check_outcome(&sent.o, OUTCOME_UNKNOWN, SCOPE_MESSAGE, "closed");
        check_outcome(&refused.o, OUTCOME_REJECTED, SCOPE_MESSAGE, "bad-value");
    }
}

/* --- sections -------------------------------------------------------------------------------- */

static void
check_refused(const struct sender *type, const char *want, struct conf_section s)
{
    void *self = NULL;
    struct err e = {0};
    bool ok = type->open(ev_default_loop(0), &s, &self, &e);
    if (ok || e.kind != ERR_INPUT || !strstr(e.text, want) || strstr(e.text, "s3cret")) {
        t_fail(__FILE__, __LINE__, "%s, not %s", ok ? "accepted" : e.text, want);
    }
}

TEST(mistakes_in_a_section_have_file_line_and_key)
{
    const struct sender *c = &sender_cloudapi, *g = &sender_gowa;
#define T "token", "s3cret-Token"
#define U "url", "https://gowa.example"
    check_refused(c, "f.conf:10: token: missing", section_of("type", "cloudapi", NULL));
    check_refused(c, "f.conf:11: token: missing", section_of("token", "", NULL));
    check_refused(c, "f.conf:11: token: a control", section_of("token", "s3cret\n-Token", NULL));
    check_refused(c, "f.conf:11: token: ", section_of("token", "env:NOT_THERE", NULL));
    check_refused(c, "f.conf:12: version: ", section_of(T, "version", "23.0", NULL));
    check_refused(c, "f.conf:12: version: ", section_of(T, "version", "v23.0/x", NULL));
    check_refused(c, "f.conf:12: url: ", section_of(T, "url", "http://127.0.0.1", NULL));
    check_refused(c, "f.conf:12: url: scheme", section_of(T, "url", "https://u:p@a.b", NULL));
    check_refused(c, "f.conf:12: callbackdata: unknown", section_of(T, "callbackdata", "1", NULL));
    check_refused(c, "f.conf:12: user: unknown", section_of(T, "user", "x", NULL));
    check_refused(g, "f.conf:10: url: missing", section_of("type", "gowa", NULL));
    check_refused(g, "f.conf:11: url: ", section_of("url", "gowa", NULL));
    check_refused(g, "f.conf:11: url: scheme", section_of("url", "https://gowa/?a", NULL));
    check_refused(g, "f.conf:12: user: user and password", section_of(U, "user", "x", NULL));
    check_refused(g, "f.conf:12: password: user and", section_of(U, "password", "s3cret", NULL));
    check_refused(g, "f.conf:12: user: a name",
                  section_of(U, "user", "a:b", "password", "s3cret", NULL));
    check_refused(g, "f.conf:12: token: unknown", section_of(U, "token", "s3cret", NULL));
    check_refused(
        c, "f.conf:12: marketing_messages: ", section_of(T, "marketing_messages", "perhaps", NULL));
    check_refused(&sender_waha, "f.conf:10: url: missing", section_of("type", "waha", NULL));
    check_refused(&sender_waha, "f.conf:12: api_key: a control",
                  section_of(U, "api_key", "s3cret\n", NULL));
    check_refused(&sender_evolution, "f.conf:10: api_key: missing", section_of(U, NULL));
    check_refused(&sender_evolution, "f.conf:12: token: unknown", section_of(U, T, NULL));
    check_refused(g, "f.conf:12: timeout: ", section_of(U, "timeout", "1h", NULL));
    struct err e;
    void *self;
    CHECK(!c->open(ev_default_loop(0), NULL, &self, &e));
    CHECK(!g->open(ev_default_loop(0), NULL, &self, &e));
    CHECK(!sender_waha.open(ev_default_loop(0), NULL, &self, &e));
    CHECK(sender_by_type("cloudapi") == c && sender_by_type("gowa") == g);
    CHECK(sender_by_type("waha") == &sender_waha);
    CHECK(sender_by_type("evolution") == &sender_evolution);
}
