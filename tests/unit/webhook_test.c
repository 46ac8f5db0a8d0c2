/* The webhook sender without I/O: templates, rules, what answers mean. */
#include "shared/mem.h"
#include "tests/harness/t.h"
#include "worker/answer.h"
#include "worker/webhook.h"

#include <stdio.h>
#include <string.h>

static struct message
message_of(const char *text)
{
    return (struct message){.job_id = "job-1",
                            .attempt = 2,
                            .device_id = 18446744073709551615u,
                            .device_ref = "dev/1",
                            .recipient = "60123456789",
                            .name = "A\"b",
                            .text = text,
                            .text_len = strlen(text)};
}

/* --- templates ------------------------------------------------------------------------------- */

static void
check_expands(const char *template, enum webhook_escape escape, const char *text, const char *want)
{
    struct webhook_template *t = NULL;
    struct message m = message_of(text);
    struct buf b = {0};
    CHECK_OK(webhook_template_parse(template, escape, &t, e));
    CHECK_OK(webhook_template_expand(t, &m, &b, e));
    CHECK_STR(want, b.data ? b.data : "");
    buf_done(&b);
    webhook_template_free(t);
}

TEST(values_are_escaped_for_where_they_stand)
{
    check_expands(
        "{\"n\":{attempt},\"d\":{device},\"t\":\"{text} {name}\"}", ESCAPE_JSON,
        "a\"b\\c\n\1\xc3\xa9",
        "{\"n\":2,\"d\":18446744073709551615,\"t\":\"a\\\"b\\\\c\\n\\u0001\xc3\xa9 A\\\"b\"}");
    check_expands("{\"a\":{},\"b\":{\"c\":[{ }]},\"d\":\"\\\"{text}\\\\\"}", ESCAPE_JSON, "x",
                  "{\"a\":{},\"b\":{\"c\":[{ }]},\"d\":\"\\\"x\\\\\"}");
    check_expands("\"{{text} {Text} {1} {\"", ESCAPE_JSON, "x", "\"{text} {Text} {1} {\"");
    check_expands("to={recipient}&message={text}&n={attempt}", ESCAPE_FORM,
                  "a b&c=d+e%\r\n\xc3\xa9~",
                  "to=60123456789&message=a+b%26c%3Dd%2Be%25%0D%0A%C3%A9~&n=2");
    check_expands("https://h/{device_ref}/send?t={text}#x", ESCAPE_URL, "a b/?#",
                  "https://h/dev%2F1/send?t=a%20b%2F%3F%23#x");
    check_expands("Bearer {device_ref}: {text}", ESCAPE_HEADER, "a\r\nX: b\x7f\xc3\xa9 c",
                  "Bearer dev/1: a%0D%0AX: b%7F%C3%A9 c");
    check_expands("{text}{name}", ESCAPE_NONE, "\"\n", "\"\nA\"b");
    check_expands("", ESCAPE_NONE, "x", "");
}

TEST(a_medium_has_variables_that_are_empty_without_one)
{
    static const char with_media[] =
        "{\"t\":\"{text}\",\"u\":\"{media_url}\",\"k\":\"{media_type}\","
        "\"f\":\"{filename}\"}";
    static const struct media pdf = {
        .kind = MEDIA_DOCUMENT, .url = "https://a/x?b=\"1\"", .filename = "\xc3\xa9.pdf"};
    struct webhook_template *t = NULL, *plain = NULL;
    struct message m = message_of("Hi");
    struct buf b = {0};
    CHECK_OK(webhook_template_parse(with_media, ESCAPE_JSON, &t, e));
    CHECK_OK(webhook_template_parse("{\"t\":\"{text} {media_type} {{media_url}\"}", ESCAPE_JSON,
                                    &plain, e));
    CHECK(webhook_template_has_media_url(t) && !webhook_template_has_media_url(plain) &&
          !webhook_template_has_media_url(NULL));
    CHECK_OK(webhook_template_expand(t, &m, &b, e));
    CHECK_STR("{\"t\":\"Hi\",\"u\":\"\",\"k\":\"\",\"f\":\"\"}", b.data);
    buf_clear(&b);
    m.media = &pdf;
    CHECK_OK(webhook_template_expand(t, &m, &b, e));
    CHECK_STR("{\"t\":\"Hi\",\"u\":\"https://a/"
              "x?b=\\\"1\\\"\",\"k\":\"document\",\"f\":\"\xc3\xa9.pdf\"}",
              b.data);
    buf_done(&b);
    webhook_template_free(t);
    webhook_template_free(plain);
    struct err e = {0};
    CHECK(!webhook_template_parse("{\"a\":\"{media_url}\"{media_type}}", ESCAPE_JSON, &t, &e));
    CHECK(strstr(e.text, "character 19: {media_type} must stand between quotes"));
    CHECK(!webhook_template_parse("{\"a\":\"{media_url}{text}\",}", ESCAPE_JSON, &t, &e));
    CHECK(strstr(e.text, "character 26: not JSON"));
}

TEST(mistakes_in_templates_have_their_place)
{
    static const struct {
        const char *template, *want;
        enum webhook_escape escape;
    } cases[] = {
        {"{\"a\":\"{phone}\"}", "character 7: no variable is called {phone}", ESCAPE_JSON},
        {"{\"a\":{text}}", "character 6: {text} must stand between quotes", ESCAPE_JSON},
        {"{\"a\":\"\\{text}\"}", "character 8: a backslash before {text}", ESCAPE_JSON},
        {"{\"a\":\"{text}\",}", "character 15: not JSON", ESCAPE_JSON},
        {"{\"a\":\"{text}\"", "character 13: not JSON", ESCAPE_JSON},
        {"{\"a\":\"{{text}}\"}", "character 7: write {text}", ESCAPE_JSON},
        {"", "not JSON", ESCAPE_JSON},
        {"a={text}&b={tekst}", "character 12: no variable is called {tekst}", ESCAPE_FORM},
        {"https://{name}.example/", "character 9: {name} must come after the host", ESCAPE_URL},
        {"https://example:{attempt}/", "character 17", ESCAPE_URL},
        {"{text}", "character 1", ESCAPE_URL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct webhook_template *t = NULL;
        struct err e = {0};
        bool ok = webhook_template_parse(cases[i].template, cases[i].escape, &t, &e);
        if (ok || e.kind != ERR_INPUT || !strstr(e.text, cases[i].want)) {
            t_fail(__FILE__, __LINE__, "%s: %s", cases[i].template, ok ? "accepted" : e.text);
        }
    }
}

TEST(values_that_fit_nowhere_are_refused)
{
    struct webhook_template *json, *url;
    struct buf b = {0};
    struct err why;
    struct message m = message_of("caf\xe9");
    CHECK_OK(webhook_template_parse("{\"t\":\"{text}\"}", ESCAPE_JSON, &json, e));
    CHECK_OK(webhook_template_parse("http://h/{device_ref}/x", ESCAPE_URL, &url, e));
    buf_adds(&b, "before");
    CHECK(!webhook_template_expand(json, &m, &b, &why));
    CHECK_INT(ERR_INPUT, why.kind);
    CHECK_STR("before", b.data);
    m.device_ref = "..";
    CHECK(!webhook_template_expand(url, &m, &b, &why));
    m.device_ref = ".";
    CHECK(!webhook_template_expand(url, &m, &b, &why));
    CHECK_STR("before", b.data);
    m.device_ref = "...";
    CHECK(webhook_template_expand(url, &m, &b, &why));
    m.text = "a\0b"; /* a NUL is text like another */
    m.text_len = 3;
    buf_clear(&b);
    CHECK(webhook_template_expand(json, &m, &b, &why));
    CHECK_STR("{\"t\":\"a\\u0000b\"}", b.data);
    buf_done(&b);
    webhook_template_free(json);
    webhook_template_free(url);
}

/* Whatever the text, the body is JSON and holds it: the property, on random bytes. */
TEST(random_texts_survive_json)
{
    struct webhook_template *t;
    CHECK_OK(webhook_template_parse("{\"t\":\"{text}\"}", ESCAPE_JSON, &t, e));
    for (int i = 0; i < 20000; i++) {
        char text[32];
        size_t n = t_random() % sizeof text;
        for (size_t k = 0; k < n; k++) {
            text[k] = (char)(t_random() % (i % 2 ? 128 : 256));
        }
        struct message m = message_of("");
        m.text = text;
        m.text_len = n;
        struct buf b = {0};
        if (webhook_template_expand(t, &m, &b, NULL)) {
            CHECK(memcmp(b.data, "{\"t\":\"", 6) == 0 && strcmp(b.data + b.len - 2, "\"}") == 0);
            for (size_t k = 6; k < b.len - 2; k++) { /* no quote ends it early */
                CHECK((unsigned char)b.data[k] >= ' ' && b.data[k] != '"');
                k += b.data[k] == '\\';
            }
        } else {
            CHECK(i % 2 == 0); /* ASCII is always possible */
        }
        buf_done(&b);
    }
    webhook_template_free(t);
}

/* --- rules ----------------------------------------------------------------------------------- */

static struct outcome
classify(struct webhook_rules *rules, struct http_result r)
{
    struct outcome o;
    char code[16];
    (void)snprintf(code, sizeof code, "%d", r.status);
    r.body = r.body ? r.body : "";
    r.body_len = strlen(r.body);
    r.started = true;
    r.ms = 5;
    memcpy(r.code, code, sizeof code);
    webhook_classify(rules, &r, &o);
    CHECK_INT(5, o.send_ms);
    return o;
}

static void
check_outcome(const struct outcome *o, enum outcome_class class, enum outcome_scope scope,
              const char *code)
{
    if (o->class != class || o->scope != scope || strcmp(o->code, code) != 0) {
        t_fail(__FILE__, __LINE__, "%s/%s %s \"%s\", not %s/%s %s", outcome_class_name(o->class),
               outcome_scope_name(o->scope), o->code, o->text, outcome_class_name(class),
               outcome_scope_name(scope), code);
    }
}

static struct webhook_rules *
rules_of(const char *success, const char *id, const char *error)
{
    struct webhook_rules *r = webhook_rules_new();
    CHECK_OK(webhook_rules_success(r, success, e));
    CHECK_OK(webhook_rules_pointer(r, POINTER_ID, id, e));
    CHECK_OK(webhook_rules_pointer(r, POINTER_ERROR, error, e));
    CHECK_OK(webhook_rules_pointer(r, POINTER_TEXT, "/message", e));
    return r;
}

TEST(statuses_mean_what_the_table_says)
{
    static const struct {
        int status;
        enum outcome_class class;
        enum outcome_scope scope;
    } cases[] = {
        {100, OUTCOME_UNKNOWN, SCOPE_DEVICE},    {300, OUTCOME_REJECTED, SCOPE_ENDPOINT},
        {301, OUTCOME_REJECTED, SCOPE_ENDPOINT}, {304, OUTCOME_REJECTED, SCOPE_ENDPOINT},
        {400, OUTCOME_REJECTED, SCOPE_MESSAGE},  {401, OUTCOME_REJECTED, SCOPE_DEVICE},
        {402, OUTCOME_REJECTED, SCOPE_MESSAGE},  {403, OUTCOME_REJECTED, SCOPE_DEVICE},
        {404, OUTCOME_REJECTED, SCOPE_MESSAGE},  {408, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {413, OUTCOME_REJECTED, SCOPE_MESSAGE},  {422, OUTCOME_REJECTED, SCOPE_MESSAGE},
        {429, OUTCOME_RETRY, SCOPE_DEVICE},      {499, OUTCOME_REJECTED, SCOPE_MESSAGE},
        {500, OUTCOME_UNKNOWN, SCOPE_DEVICE},    {501, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {502, OUTCOME_UNKNOWN, SCOPE_DEVICE},    {503, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {504, OUTCOME_UNKNOWN, SCOPE_DEVICE},    {520, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {599, OUTCOME_UNKNOWN, SCOPE_DEVICE},    {600, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {999, OUTCOME_UNKNOWN, SCOPE_DEVICE},    {0, OUTCOME_UNKNOWN, SCOPE_DEVICE},
    };
    struct webhook_rules *rules = rules_of("2xx", "/id", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char code[16];
        (void)snprintf(code, sizeof code, "%d", cases[i].status);
        struct outcome o = classify(rules, (struct http_result){.status = cases[i].status});
        check_outcome(&o, cases[i].class, cases[i].scope, code);
        CHECK_INT(0, o.retry_after_ms);
    }
    webhook_rules_free(rules);
}

TEST(retry_after_is_honoured)
{
    struct webhook_rules *rules = rules_of("2xx", "/id", "");
    struct outcome o = classify(rules, (struct http_result){.status = 429, .retry_after = "30"});
    check_outcome(&o, OUTCOME_RETRY, SCOPE_DEVICE, "429");
    CHECK_INT(30000, o.retry_after_ms);
    o = classify(rules, (struct http_result){.status = 503, .retry_after = "2"});
    check_outcome(&o, OUTCOME_RETRY, SCOPE_ENDPOINT, "503");
    CHECK_INT(2000, o.retry_after_ms);
    o = classify(rules, (struct http_result){.status = 503, .retry_after = "soon"});
    check_outcome(&o, OUTCOME_UNKNOWN, SCOPE_DEVICE, "503");
    o = classify(rules, (struct http_result){.status = 500, .retry_after = "2"});
    check_outcome(&o, OUTCOME_UNKNOWN, SCOPE_DEVICE, "500");
    webhook_rules_free(rules);

    static const struct {
        const char *value, *date;
        int64_t want; /* -1: none */
    } cases[] = {
        {"0", "", 0},
        {"120", "", 120000},
        {"99999999999999999999", "", 86400000},
        {"86401", "", 86400000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:27 GMT", 10000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 09:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT", "", 37000}, /* by now_ms */
        {"Sunday, 06-Nov-94 08:49:37 GMT", "rubbish", 37000},
        {"Sun Nov  6 08:49:37 1994", "", 37000},
        {"Fri, 31 Dec 9999 23:59:59 GMT", "", 86400000},
        {"", "", -1},
        {"-1", "", -1},
        {"1.5", "", -1},
        {"5 minutes", "", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT and more", "", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        bool ok = answer_retry_after(cases[i].value, cases[i].date, 784111740000, &ms);
        if (ok != (cases[i].want >= 0) || ms != cases[i].want) {
            t_fail(__FILE__, __LINE__, "\"%s\" is %lld", cases[i].value, (long long)ms);
        }
    }
}

TEST(acceptance_with_and_without_an_id)
{
    struct webhook_rules *rules = rules_of("2xx", "/messages/0/id", "");
    struct outcome o =
        classify(rules, (struct http_result){.status = 200,
                                             .body = "{\"messages\":[{\"id\":\"wamid.1\"}]}"});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    CHECK_STR("wamid.1", o.provider_id);
    o = classify(rules,
                 (struct http_result){.status = 201, .body = "{\"messages\":[{\"id\":77}]}"});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "201");
    CHECK_STR("77", o.provider_id);

    static const char *const odd[] = {"",
                                      "OK",
                                      "<html>",
                                      "{\"messages\":[]}",
                                      "{\"messages\":{\"0\":5}}",
                                      "[1]",
                                      "null",
                                      "{\"messages\":[{\"id\":\"\"}]}",
                                      "{\"messages\":[{\"id\":null}]}",
                                      "{\"messages\":[{\"id\":\"a\\nb\"}]}",
                                      "{\"messages\":[{\"id\":\"a\\u0000b\"}]}"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        o = classify(rules, (struct http_result){.status = 200, .body = odd[i]});
        check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200-unidentified");
        CHECK_STR("", o.provider_id);
        CHECK(*o.text);
    }
    char body[512];
    (void)snprintf(body, sizeof body, "{\"messages\":[{\"id\":\"%0200d\"}]}", 1);
    o = classify(rules, (struct http_result){.status = 200, .body = body});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200-unidentified"); /* half an id is none */
    o = classify(rules, (struct http_result){.status = 200, .truncated = true, .body = "{\"a\":"});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200-unidentified");
    webhook_rules_free(rules);

    rules = rules_of("2xx", "", ""); /* no id is expected */
    o = classify(rules, (struct http_result){.status = 204});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "204");
    CHECK_STR("", o.text);
    webhook_rules_free(rules);
}

TEST(a_rule_that_reads_the_body_decides_over_2xx)
{
    struct webhook_rules *rules = rules_of("200,201 and /ok = true and /n/a~1b = 1", "", "/code");
    static const struct {
        const char *body;
        enum outcome_class class;
    } cases[] = {
        {"{\"ok\":true,\"n\":{\"a/b\":1}}", OUTCOME_SENT},
        {"{\"ok\":true,\"n\":{\"a/b\":1.0}}", OUTCOME_SENT},
        {"{\"ok\":false,\"n\":{\"a/b\":1}}", OUTCOME_REJECTED},
        {"{\"ok\":\"true\",\"n\":{\"a/b\":1}}", OUTCOME_REJECTED},
        {"{\"ok\":true,\"n\":{\"a/b\":2}}", OUTCOME_REJECTED},
        {"{\"ok\":true}", OUTCOME_UNKNOWN},
        {"{}", OUTCOME_UNKNOWN},
        {"OK", OUTCOME_UNKNOWN},
        {"", OUTCOME_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o =
            classify(rules, (struct http_result){.status = 200, .body = cases[i].body});
        check_outcome(&o, cases[i].class, SCOPE_MESSAGE, "200");
    }
    struct outcome o = classify(
        rules, (struct http_result){.status = 200, .truncated = true, .body = "{\"ok\":true"});
    check_outcome(&o, OUTCOME_UNKNOWN, SCOPE_MESSAGE, "200");
    o = classify(rules, (struct http_result){.status = 202, .body = cases[0].body});
    check_outcome(&o, OUTCOME_UNKNOWN, SCOPE_MESSAGE, "202"); /* another 2xx than named */
    o = classify(rules, (struct http_result){
                            .status = 200,
                            .body = "{\"ok\":false,\"n\":{\"a/b\":1},\"code\":\"E7\",\"message\":"
                                    "\"no device for 60123456789\\nat 12:30\"}"});
    check_outcome(&o, OUTCOME_REJECTED, SCOPE_MESSAGE, "E7");
    CHECK_STR("HTTP 200: no device for 60******789 at 12:30", o.text);
    webhook_rules_free(rules);
}

TEST(the_error_map_is_asked_in_order_and_after_success)
{
    struct webhook_rules *rules = rules_of("2xx", "/id", "/error/code");
    CHECK_OK(webhook_rules_error(rules, 20, "4xx, 503 -> retry/endpoint", e));
    CHECK_OK(webhook_rules_error(rules, 1, "code:131056 -> retry/pair retry=10s", e));
    CHECK_OK(webhook_rules_error(rules, 2, "text:Not Registered -> rejected/recipient", e));
    CHECK_OK(webhook_rules_error(rules, 3, "409->sent", e));
    CHECK_OK(webhook_rules_error(rules, 4, "text: a -> b -> not_sent/account", e));
    CHECK_OK(webhook_rules_error(rules, 5, "502 -> unknown/device", e));
    struct outcome o = classify(
        rules, (struct http_result){.status = 400, .body = "{\"error\":{\"code\":131056}}"});
    check_outcome(&o, OUTCOME_RETRY, SCOPE_PAIR, "131056");
    CHECK_INT(10000, o.retry_after_ms);
    o = classify(rules, (struct http_result){.status = 400,
                                             .retry_after = "3",
                                             .body = "{\"error\":{\"code\":\"131056\"}}"});
    CHECK_INT(3000, o.retry_after_ms); /* the provider's own word goes first */
    o = classify(rules, (struct http_result){.status = 500, .body = "number not registered!"});
    check_outcome(&o, OUTCOME_REJECTED, SCOPE_RECIPIENT, "500");
    o = classify(rules, (struct http_result){.status = 409, .body = "{\"id\":\"x\"}"});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "409");
    CHECK_STR("x", o.provider_id);
    o = classify(rules, (struct http_result){.status = 500, .body = "xa -> bx"});
    check_outcome(&o, OUTCOME_NOT_SENT, SCOPE_ACCOUNT, "500");
    o = classify(rules, (struct http_result){.status = 404});
    check_outcome(&o, OUTCOME_RETRY, SCOPE_ENDPOINT, "404");
    o = classify(rules, (struct http_result){.status = 500, .body = "{\"error\":{\"code\":1}}"});
    check_outcome(&o, OUTCOME_UNKNOWN, SCOPE_DEVICE, "1");
    /* An answer that repeats a message is no error for what the message says. */
    o = classify(rules, (struct http_result){.status = 200,
                                             .body = "{\"id\":\"i\",\"text\":\"not registered\","
                                                     "\"error\":{\"code\":131056}}"});
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    webhook_rules_free(rules);
}

TEST(mistakes_in_rules_are_refused)
{
    static const char *const success[] = {"",
                                          "x",
                                          "20",
                                          "2x",
                                          "2000",
                                          "600",
                                          "099",
                                          "200,",
                                          "200 201",
                                          "2xx or 300",
                                          "2xx and",
                                          "2xx and ok = 1",
                                          "2xx and /a",
                                          "2xx and /a =",
                                          "2xx and /a = accepted",
                                          "2xx and /a~2 = 1",
                                          "2xx and /a = 1 2",
                                          "2xx and /a == 1",
                                          "2xx and /a=1 and /a=1 and /a=1 and /a=1 and /a=1"};
    static const char *const errors[] = {"",
                                         "429",
                                         "-> retry",
                                         "429 -> ",
                                         "429 -> later",
                                         "429 -> retry/",
                                         "429 -> retry/world",
                                         "429 -> retry retry=",
                                         "429 -> retry retry=-1s",
                                         "429 -> retry stop",
                                         "429 -> retry alike=0",
                                         "429 -> retry alike=3x",
                                         "429 -> retry 30s",
                                         "code: -> retry",
                                         "text: -> retry",
                                         "body:x -> retry",
                                         "42 -> retry",
                                         "429 x -> retry"};
    for (size_t i = 0; i < sizeof success / sizeof *success; i++) {
        struct webhook_rules *r = webhook_rules_new();
        struct err e = {0};
        if (webhook_rules_success(r, success[i], &e) || e.kind != ERR_INPUT) {
            t_fail(__FILE__, __LINE__, "success = %s", success[i]);
        }
        CHECK(strncmp(e.text, "character ", 10) == 0);
        webhook_rules_free(r);
    }
    struct webhook_rules *r = webhook_rules_new();
    struct err e;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (webhook_rules_error(r, 1, errors[i], &e) || e.kind != ERR_INPUT) {
            t_fail(__FILE__, __LINE__, "error_1 = %s", errors[i]);
        }
    }
    CHECK(!webhook_rules_pointer(r, POINTER_ID, "id", &e));
    CHECK(!webhook_rules_pointer(r, POINTER_ID, "/a~", &e));
    webhook_rules_free(r);
    r = webhook_rules_new();
    CHECK(!webhook_rules_success(r, "2xx and /a = \"x and y\" und", &e));
    CHECK(strncmp(e.text, "character 24:", 13) == 0);
    webhook_rules_free(r);
}

TEST(a_transfer_without_an_answer_is_unknown_or_not_sent)
{
    static const struct {
        enum http_end end;
        bool started;
        enum outcome_class class;
        enum outcome_scope scope;
    } cases[] = {
        {HTTP_FAILED, false, OUTCOME_NOT_SENT, SCOPE_ENDPOINT},
        {HTTP_FAILED, true, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {HTTP_STALE, false, OUTCOME_NOT_SENT, SCOPE_MESSAGE},
        {HTTP_QUEUE_TIMEOUT, false, OUTCOME_NOT_SENT, SCOPE_ENDPOINT},
        {HTTP_ADDRESS_REFUSED, false, OUTCOME_NOT_SENT, SCOPE_ENDPOINT},
        {HTTP_RESEND_REFUSED, true, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {HTTP_CLOSED, false, OUTCOME_NOT_SENT, SCOPE_MESSAGE},
        {HTTP_CLOSED, true, OUTCOME_UNKNOWN, SCOPE_MESSAGE},
    };
    struct webhook_rules *rules = rules_of("2xx", "/id", "");
    CHECK_OK(webhook_rules_error(rules, 1, "text: -> x -> sent", e));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o;
        struct http_result r = {.end = cases[i].end,
                                .started = cases[i].started,
                                .code = "the-code",
                                .text = "the text"};
        webhook_classify(rules, &r, &o);
        check_outcome(&o, cases[i].class, cases[i].scope, "the-code");
        CHECK_STR("the text", o.text);
    }
    webhook_rules_free(rules);
}

TEST(a_sentence_is_cut_between_characters)
{
    struct webhook_rules *rules = rules_of("2xx", "/id", "");
    for (int pad = 0; pad < 4; pad++) {
        char body[600];
        size_t n = (size_t)snprintf(body, sizeof body, "{\"message\":\"%.*s", pad, "aaaa");
        while (n < 400) {
            n += (size_t)snprintf(body + n, sizeof body - n, "\xf0\x9f\x98\x80"); /* 4 bytes each */
        }
        (void)snprintf(body + n, sizeof body - n, "\"}");
        struct outcome o = classify(rules, (struct http_result){.status = 400, .body = body});
        size_t len = strlen(o.text);
        CHECK(len > 190 && len < sizeof o.text);
        CHECK_INT(0, (len - strlen("HTTP 400: ") - (size_t)pad) % 4);
    }
    webhook_rules_free(rules);
}

TEST(names_are_stable)
{
    CHECK_STR("not_sent", outcome_class_name(OUTCOME_NOT_SENT));
    CHECK_STR("endpoint", outcome_scope_name(SCOPE_ENDPOINT));
    CHECK(sender_by_type("webhook") == &sender_webhook && sender_by_type("null") == &sender_null);
    CHECK(sender_by_type("log") == &sender_log && !sender_by_type("") && !sender_by_type("smtp"));
}
