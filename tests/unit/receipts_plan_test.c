#include "ctl/receipts_plan.h"
#include "ctl/receipts_sign.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

static struct receipts_plan plan;
static struct stop_words *words;

static const struct receipt_event *
read_one(const char *type, const struct receipt_shape *shape, const char *json)
{
    receipts_plan_done(&plan);
    if (!words) {
        CHECK_OK(stop_words_read(&words, "w", stop_words_builtin, strlen(stop_words_builtin), e));
    }
    CHECK_OK(receipts_plan(type, shape ? shape : receipt_shape_of(type), words, json, strlen(json),
                           &plan, e));
    return plan.n == 1 ? &plan.events[0] : NULL;
}

#define STATUS(more)                                                                               \
    "{\"entry\":[{\"changes\":[{\"value\":{\"metadata\":{\"phone_number_id\":\"106\"},"            \
    "\"statuses\":[{\"id\":\"w\",\"status\":\"read\"" more "}]}}]}]}"

static const struct receipt_event *
status(const char *json)
{
    const struct receipt_event *ev = read_one("cloudapi", NULL, json);
    CHECK(ev != NULL);
    return ev;
}

/* --- what is read ----------------------------------------------------------------------- */

TEST(a_time_is_read_in_every_way_that_it_is_written)
{
    static const struct {
        const char *value;
        int64_t ms;
    } cases[] = {
        {"\"1749416383\"", 1749416383000},
        {"1749416383", 1749416383000},
        {"1749416383.4", 1749416383000},
        {"1749416383123", 1749416383123},
        {"\"2025-07-18T22:44:20Z\"", 1752878660000},
        {"\"2025-07-18T22:44:20.123Z\"", 1752878660000},
        {"\"2025-07-19T06:44:20+08:00\"", 1752878660000},
        {"\"2025-07-18 22:44:20\"", 1752878660000},
        {"\"2025-02-29T00:00:00Z\"", 0},
        {"\"2025-07-18\"", 0},
        {"\"yesterday\"", 0},
        {"\"\"", 0},
        {"null", 0},
        {"0", 0},
        {"-5", 0},
        {"1e300", 0},
        {"{}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[300];
        (void)snprintf(json, sizeof json, STATUS(",\"timestamp\":%s"), cases[i].value);
        CHECK_INT(cases[i].ms, status(json)->at_ms);
    }
}

TEST(what_was_given_along_comes_back)
{
    static const struct {
        const char *tag, *job;
        int attempt;
    } cases[] = {
        {"c1-d2-abc-r0:1", "c1-d2-abc-r0", 1},
        {"order:7:12", "order:7", 12},
        {"x:65535", "x", 65535},
        {"x:65536", "", 0},
        {"x:0", "", 0},
        {"x:1a", "", 0},
        {"x:-1", "", 0},
        {"x:", "", 0},
        {":1", "", 0},
        {"x", "", 0},
        {"a b:1", "", 0},
        {"0123456789012345678901234567890123456789012345678901234567890123:1",
         "0123456789012345678901234567890123456789012345678901234567890123", 1},
        {"01234567890123456789012345678901234567890123456789012345678901234:1", "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[400];
        (void)snprintf(json, sizeof json, STATUS(",\"biz_opaque_callback_data\":\"%s\""),
                       cases[i].tag);
        CHECK_STR(cases[i].job, status(json)->job_id);
        CHECK_INT(cases[i].attempt, status(json)->attempt);
    }
}

TEST(a_recipient_is_a_phone_or_not_told)
{
    static const struct {
        const char *id, *phone;
    } cases[] = {{"60123456789", "60123456789"},
                 {"+60 12-345 6789", "60123456789"},
                 {"US.1349120865530", ""},
                 {"", ""},
                 {"1234@lid", ""},
                 {"60123456789@s.whatsapp.net", "60123456789"},
                 {"60123456789:7@s.whatsapp.net", "60123456789"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[300];
        (void)snprintf(json, sizeof json, STATUS(",\"recipient_id\":\"%s\""), cases[i].id);
        CHECK_STR(cases[i].phone, status(json)->phone);
    }
    CHECK_STR("106", status(STATUS(""))->device_ref);
}

TEST(a_failure_says_why)
{
    const struct receipt_event *ev = read_one(
        "cloudapi", NULL,
        "{\"entry\":[{\"changes\":[{\"value\":{\"statuses\":[{\"id\":\"w\",\"status\":\"failed\","
        "\"errors\":[{\"code\":131049,\"title\":\"t\",\"error_data\":{\"details\":\"d\"}}]}]}}]}]"
        "}");
    CHECK_INT(RECEIPT_FAILED, ev->kind);
    CHECK_STR("131049", ev->code);
    CHECK_STR("d", ev->detail);
    CHECK(read_one("cloudapi", NULL,
                   "{\"entry\":[{\"changes\":[{\"value\":{\"statuses\":[{\"id\":\"w\",\"status\":"
                   "\"failed\",\"errors\":\"x\"}]}}]}]}") != NULL);
    CHECK_STR("", plan.events[0].code);
}

TEST(pointers_find_what_they_name)
{
    struct receipt_shape s = {
        .id = "/a~1b/1/~0x", .status = "/s", .words = "9=read x=failed", .code = "/c/0"};
    CHECK_OK(receipt_shape_check(&s, e));
    const struct receipt_event *ev =
        read_one("json", &s, "{\"a/b\":[0,{\"~x\":\"id\"}],\"s\":9,\"c\":[\"k\"]}");
    CHECK_STR("id", ev->provider_id);
    CHECK_INT(RECEIPT_READ, ev->kind);
    CHECK_STR("", ev->code);
    ev = read_one("json", &s, "{\"a/b\":[0,{\"~x\":5}],\"s\":\"x\",\"c\":[\"k\"]}");
    CHECK_STR("5", ev->provider_id);
    CHECK_STR("k", ev->code);
    CHECK(read_one("json", &s, "{\"a/b\":7,\"s\":9}") == NULL);
    CHECK_INT(1, plan.left_out);
    CHECK(read_one("json", &s, "{\"a/b\":[0,{\"~x\":\"id\"}],\"s\":\"other\"}") == NULL);
    CHECK_INT(1, plan.left_out);
    receipts_plan_done(&plan);
}

/* --- signatures --------------------------------------------------------------------------- */

/* RFC 4231, test case 2; and SHA-512 of the same. */
TEST(signatures_are_the_standards)
{
    static const char body[] = "what do ya want for nothing?";
    struct receipts_key k = {.prefix = "sha256=", .secrets = {NULL, "Jefe"}};
    const size_t n = sizeof body - 1;
    CHECK(receipts_signed(
        &k, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", body, n));
    CHECK(!receipts_signed(
        &k, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3844", body, n));
    CHECK(!receipts_signed(&k, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                           body, n));
    CHECK(!receipts_signed(&k, NULL, body, n));
    CHECK(!receipts_signed(&k, "", body, n));
    k.encoding = RECEIPTS_BASE64;
    CHECK(receipts_signed(&k, "sha256=W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=", body, n));
    CHECK(!receipts_signed(&k, "sha256=W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM", body, n));
    CHECK(!receipts_signed(&k, "sha256=W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTs????", body, n));
    k = (struct receipts_key){.signature = RECEIPTS_SHA512, .secrets = {"Jefe"}};
    CHECK(receipts_signed(&k,
                          "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                          "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
                          body, n));
}

TEST(a_token_is_the_secret_itself)
{
    struct receipts_key k = {.signature = RECEIPTS_TOKEN, .secrets = {"one", "two"}};
    CHECK(receipts_signed(&k, "one", "", 0) && receipts_signed(&k, "two", "", 0));
    CHECK(!receipts_signed(&k, "tw", "", 0) && !receipts_signed(&k, "twoo", "", 0));
    CHECK(!receipts_signed(&k, "", "", 0) && !receipts_signed(&k, NULL, "", 0));
    k.signature = RECEIPTS_UNSIGNED;
    CHECK(receipts_signed(&k, NULL, "", 0));
}
