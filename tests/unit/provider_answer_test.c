/* What every row of the providers' tables, and answers that nobody should give, come to. */
#include "tests/unit/provider_calls.h"
#include "worker/pace.h"

/* --- the tables ------------------------------------------------------------------------------ */

/* An answer that a rule is about. */
static void
make_answer(const struct kind *k, const struct provider_rule *rule, const char *code,
            struct peer_reply *ret, int *ret_status)
{
    struct buf body = {0};
    bool gowa = k->sender == &sender_gowa;
    const char *text = rule->text ? rule->text : "of 60123456789";
    code = code ? code : rule->when == WHEN_CODE ? (gowa ? "NOT_LISTED" : "987654") : NULL;
    *ret_status = rule->from ? rule->from : code ? 400 : 500;
    if (rule->when == WHEN_ID) {
        buf_adds(&body, gowa ? "{\"code\":\"SUCCESS\",\"results\":{\"message_id\":\"A1\"}}"
                             : "{\"messages\":[{\"id\":\"A1\"}]}");
    } else if (!code) {
        buf_adds(&body, "<html>");
    } else if (gowa) {
        buf_addf(&body, "{\"code\":\"%s\",\"message\":\"It %s!\",\"results\":null}", code, text);
    } else {
        buf_addf(&body,
                 "{\"error\":{\"message\":\"(#%s) It %s!\",\"type\":\"OAuthException\",\"code\":%s,"
                 "\"error_data\":{\"messaging_product\":\"whatsapp\",\"details\":\"It is %s.\"},"
                 "\"fbtrace_id\":\"Az\"}}",
                 code, text, code, text);
    }
    peer_answer_with(ret, *ret_status, rule->when == WHEN_TOLD ? "Retry-After: 7\r\n" : "",
                     body.data);
    buf_done(&body);
}

/* One row, one code, one attempt, through a real connection. */
static void
check_row(const struct kind *k, void *self, struct peer_reply *reply,
          const struct provider_rule *rule, const char *code, int attempt)
{
    char want[32];
    int status;
    buf_clear(&reply->bytes);
    make_answer(k, rule, code, reply, &status);
    struct outcome o = deliver_at(k->sender, self, attempt);
    code = code ? code : rule->when == WHEN_CODE ? o.code : NULL;
    bool lost = rule->class == OUTCOME_SENT && rule->when != WHEN_ID;
    (void)snprintf(want, sizeof want, lost ? "%d-unidentified" : "%d", status);
    check_outcome(&o, attempt < rule->strikes ? OUTCOME_RETRY : rule->class, rule->scope,
                  code && rule->class != OUTCOME_SENT ? code : want);
    CHECK_STR(rule->when == WHEN_ID ? "A1" : "", o.provider_id);
    CHECK(!strstr(o.text, "60123456789"));
    int64_t retry = rule->class == OUTCOME_UNKNOWN || rule->class == OUTCOME_SENT ? 0
                    : rule->when == WHEN_TOLD                                     ? 7000
                                                                                  : rule->retry_ms;
    CHECK_INT(retry, o.retry_after_ms);
    struct http_result r = {.end = HTTP_ANSWERED, .started = true, .status = status};
    const char *body = strstr(reply->bytes.data, "\r\n\r\n") + 4;
    r.body = body;
    r.body_len = strlen(body);
    (void)snprintf(r.retry_after, sizeof r.retry_after, "%s", rule->when == WHEN_TOLD ? "7" : "");
    if (provider_rule_of(k->table, &r) != rule) { /* else the row has no effect */
        t_fail(__FILE__, __LINE__, "another row than that of \"%s\" decides", rule->meaning);
    }
}

TEST(every_row_of_both_tables_decides_its_answer)
{
    for (size_t k = 0; k < 2; k++) {
        struct peer_reply reply = {0};
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply});
        void *self = open_kind(&kinds[k], p, "10s");
        int sent = 0;
        for (size_t i = 0; i < kinds[k].table->n_rules; i++) {
            const struct provider_rule *rule = &kinds[k].table->rules[i];
            CHECK(*rule->extent && *rule->meaning && rule->advice && *rule->source);
            check_row(&kinds[k], self, &reply, rule, rule->code, 1);
            sent++;
            if (rule->last) {
                check_row(&kinds[k], self, &reply, rule, rule->last, 1);
                sent++;
            }
            if (rule->strikes) {
                check_row(&kinds[k], self, &reply, rule, rule->code, rule->strikes);
                sent++;
            }
        }
        CHECK_INT(sent, peer_requests(p));
        buf_done(&reply.bytes);
        end_sender(kinds[k].sender, self, p);
    }
}

/* What the tables must come to, written down apart from them: the row's kind, and the least time
 * that the device rests, ms. */
TEST(each_listed_error_costs_what_it_should)
{
    static const struct {
        int kind, status;
        const char *codes, *kind_of_row;
        int64_t hold_ms;
    } cases[] = {
        {0, 401, "0 190", "deferred", 300000},
        {0, 403, "3 10 200 250 299 131005", "deferred", 300000},
        {0, 500, "1 131000", "retry", 0},
        {0, 503, "2 131016 133004", "deferred", 5000},
        {0, 429, "4 17 80007 80008", "deferred", 300000},
        {0, 429, "130429", "deferred", 5000},
        {0, 400, "131056", "deferred", 0},
        {0, 400, "131048 131064 368 131031", "deferred", 86400000},
        {0, 400, "131049 131050 130472 131026 131047 131021 131030 137000", "failed", 0},
        {0, 400, "131062 135000 100 131008 131009 131051 130497", "failed", 0},
        {0, 400, "33 131063 131052 131053 132000 132001 132005 132007 132008 132012", "deferred",
         300000},
        {0, 400, "132015 132016 132068 131037 131042 134011 131045 133000 133010 133016",
         "deferred", 300000},
        {0, 400, "132069", "deferred", 30000},
        {0, 503, "131057", "deferred", 90000},
        {0, 400, "987654", "failed", 0},
        {0, 500, "987654", "retry", 0},
        {1, 400, "VALIDATION_ERROR INVALID_REQUEST", "failed", 0},
        {1, 400, "INVALID_JID", "retry", 0},
        {1, 400, "DEVICE_ID_REQUIRED", "deferred", 300000},
        {1, 404, "DEVICE_NOT_FOUND", "deferred", 300000},
        {1, 401, "AUTHENTICATION_ERROR", "deferred", 60000},
        {1, 401, "OTHER", "deferred", 30000},
        {1, 429, "WA_REACHOUT_TIMELOCK", "deferred", 1800000},
        {1, 500, "UPLOAD_MEDIA_ERROR", "retry", 0},
        {1, 500, "INVALID_WA_CLI", "deferred", 60000},
        {1, 500, "INTERNAL_SERVER_ERROR", "unknown", 0},
        {1, 503, "DEVICE_MANAGER_UNAVAILABLE", "deferred", 5000},
        {1, 504, "GATEWAY_TIMEOUT", "unknown", 0},
        {1, 408, "CONTEXT_ERROR", "unknown", 0},
        {1, 502, "OTHER", "unknown", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[128], *next, *rest = words;
        (void)snprintf(words, sizeof words, "%s", cases[i].codes);
        while ((next = strsep(&rest, " ")) != NULL) {
            char body[128];
            (void)snprintf(body, sizeof body,
                           cases[i].kind ? "{\"code\":\"%s\",\"message\":\"m\"}"
                                         : "{\"error\":{\"message\":\"m\",\"code\":%s}}",
                           next);
            struct http_result r = {.end = HTTP_ANSWERED,
                                    .started = true,
                                    .status = cases[i].status,
                                    .body = body,
                                    .body_len = strlen(body)};
            struct outcome o;
            provider_classify(kinds[cases[i].kind].table, &r, 1, NULL, &o);
            struct verdict v = pace_verdict(&o, true);
            if (strcmp(v.kind, cases[i].kind_of_row) != 0 || v.hold_ms < cases[i].hold_ms) {
                t_fail(__FILE__, __LINE__, "%s: %s, rests %lld ms", next, v.kind,
                       (long long)v.hold_ms);
            }
        }
    }
}

TEST(what_gowa_says_in_words_decides_too)
{
    static const struct {
        const char *text;
        enum outcome_class class;
        enum outcome_scope scope;
    } cases[] = {
        {"server returned error 479", OUTCOME_RETRY, SCOPE_MESSAGE},
        {"failed: Server Returned Error 463", OUTCOME_RETRY, SCOPE_DEVICE},
        {"info query timed out", OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {"", OUTCOME_UNKNOWN, SCOPE_DEVICE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[128];
        (void)snprintf(body, sizeof body, "{\"code\":\"INTERNAL_SERVER_ERROR\",\"message\":\"%s\"}",
                       cases[i].text);
        struct outcome o = ask_body(&kinds[1], 500, "", body);
        check_outcome(&o, cases[i].class, cases[i].scope, "INTERNAL_SERVER_ERROR");
    }
}

/* --- answers that nobody should give --------------------------------------------------------- */

TEST(answers_of_odd_shapes_fall_under_a_rule)
{
    static const struct {
        int kind, status;
        const char *body;
        enum outcome_class class;
        const char *code;
    } cases[] = {
        {0, 400, "{\"error\":{\"code\":131056,\"message\":\"m\",\"error_data\":\"a string\"}}",
         OUTCOME_RETRY, "131056"},
        {0, 400, "{\"error\":{\"code\":131056,\"message\":7,\"error_data\":[{}]}}", OUTCOME_RETRY,
         "131056"},
        {0, 400, "{\"error\":{\"code\":\"131026\"}}", OUTCOME_REJECTED, "131026"},
        {0, 400, "{\"error\":{\"code\":131056.5}}", OUTCOME_REJECTED, "400"},
        {0, 400, "{\"error\":{\"code\":{\"a\":1}}}", OUTCOME_REJECTED, "400"},
        {0, 500, "{\"error\":{\"code\":null,\"message\":null}}", OUTCOME_UNKNOWN, "500"},
        {0, 500, "{\"error\":\"down\"}", OUTCOME_UNKNOWN, "500"},
        {0, 500, "[[[[[[[[[[[[", OUTCOME_UNKNOWN, "500"},
        {0, 502, "", OUTCOME_UNKNOWN, "502"},
        {0, 200, "", OUTCOME_SENT, "200-unidentified"},
        {0, 200, "null", OUTCOME_SENT, "200-unidentified"},
        {0, 200, "{\"messages\":{\"id\":\"x\"}}", OUTCOME_SENT, "200-unidentified"},
        {0, 200, "{\"messages\":[{\"id\":[1]}]}", OUTCOME_SENT, "200-unidentified"},
        {0, 200, "{\"messages\":[{\"id\":\"a\\u0000b\"}]}", OUTCOME_SENT, "200-unidentified"},
        {0, 200, "{\"messages\":[{\"id\":\"x\"}],\"error\":{\"code\":1}}", OUTCOME_SENT, "200"},
        {0, 200, "{\"error\":{\"code\":131026}}", OUTCOME_UNKNOWN, "131026"},
        {0, 504, "{\"error\":{\"code\":131026}}", OUTCOME_UNKNOWN, "131026"},
        {1, 200, "{\"code\":\"SUCCESS\",\"results\":[]}", OUTCOME_SENT, "200-unidentified"},
        {1, 200, "{\"code\":\"INVALID_JID\",\"results\":{}}", OUTCOME_UNKNOWN, "INVALID_JID"},
        {1, 200, "\xff\xfe", OUTCOME_SENT, "200-unidentified"},
        {1, 400, "{\"code\":400,\"message\":{\"a\":[]}}", OUTCOME_REJECTED, "400"},
        {1, 400, "{\"code\":\"\xc3\xa9\"}", OUTCOME_REJECTED, "400"},
        {1, 401, "Unauthorized", OUTCOME_REJECTED, "401"},
        {1, 413, "<html>too large</html>", OUTCOME_REJECTED, "413"},
        {1, 101 + 200, "{}", OUTCOME_REJECTED, "301"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o = ask_body(&kinds[cases[i].kind], cases[i].status, "", cases[i].body);
        if (o.class != cases[i].class || strcmp(o.code, cases[i].code) != 0) {
            t_fail(__FILE__, __LINE__, "%s: %s %s", cases[i].body, outcome_class_name(o.class),
                   o.code);
        }
    }
}

TEST(huge_and_torn_answers_cost_no_memory_and_no_second_send)
{
    static const struct {
        const char *bytes, *code;
        uint64_t fill;
        enum peer_then then;
        enum outcome_class class;
        enum outcome_scope scope;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n{\"code\":\"", "200-unidentified", (uint64_t)1 << 40, PEER_CLOSE,
         OUTCOME_SENT, SCOPE_MESSAGE},
        {"HTTP/1.1 500 Oh\r\n\r\n{\"code\":\"", "500", (uint64_t)1 << 40, PEER_CLOSE,
         OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {"HTTP/1.1 400 No\r\n\r\n{\"error\":{\"code\":131026},\"x\":\"", "400", (uint64_t)1 << 40,
         PEER_CLOSE, OUTCOME_REJECTED, SCOPE_ENDPOINT},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "curl-18", 0, PEER_CLOSE,
         OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {"", "curl-52", 0, PEER_CLOSE, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {"", "curl-56", 0, PEER_RESET, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {"", "curl-28", 0, PEER_HOLD, OUTCOME_UNKNOWN, SCOPE_DEVICE},
        {"HTTP/1.1 200 OK\r\nX: ", "curl-28", 9, PEER_HOLD, OUTCOME_UNKNOWN, SCOPE_DEVICE},
    };
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct peer_reply reply = {.fill = cases[i].fill, .then = cases[i].then};
            buf_adds(&reply.bytes, cases[i].bytes);
            struct outcome o =
                ask_kind(&kinds[k], &reply, cases[i].then == PEER_HOLD ? "300ms" : "20s");
            check_outcome(&o, cases[i].class, cases[i].scope, cases[i].code);
            buf_done(&reply.bytes);
        }
    }
}

TEST(the_longest_of_table_retry_after_and_quota_counts)
{
#define USAGE "X-Business-Use-Case-Usage: "
    static const struct {
        const char *headers;
        int code;
        int64_t want_ms;
    } cases[] = {
        {"", 80007, 300000},
        {USAGE "{\"1\":[{\"estimated_time_to_regain_access\":2},"
               "{\"estimated_time_to_regain_access\":19}],\"2\":[]}\r\n",
         80007, 19 * 60000},
        {USAGE "{\"1\":[{\"estimated_time_to_regain_access\":1}]}\r\nRetry-After: 600\r\n", 4,
         600000},
        {USAGE "{\"1\":[{\"estimated_time_to_regain_access\":999999999999}]}\r\n", 130429,
         86400000},
        {USAGE "{\"1\":{\"estimated_time_to_regain_access\":\"9\"}}\r\n", 130429, 5000},
        {USAGE "{\"1\":[{\"estimated_time_to_regain_access\":-9},7,null]}\r\n", 130429, 5000},
        {USAGE "[[[\r\n", 130429, 5000},
        {USAGE "{\"1\":[{\"estimated_time_to_regain_access\":9}]}\r\n", 131026, 0},
        {"Retry-After: 90\r\n", 190, 90000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[64];
        (void)snprintf(body, sizeof body, "{\"error\":{\"code\":%d}}", cases[i].code);
        struct outcome o = ask_body(&kinds[0], 400, cases[i].headers, body);
        CHECK_INT(cases[i].want_ms, o.retry_after_ms);
    }
}

TEST(a_secret_that_the_provider_repeats_stays_secret)
{
    struct outcome o = ask_body(
        &kinds[0], 401, "",
        "{\"error\":{\"code\":190,\"message\":\"Malformed access token s3cret-Tokens3cret-Token "
        "for 60123456789\"}}");
    CHECK_STR("HTTP 401: Malformed access token ****** for 60******789", o.text);
    o = ask_body(&kinds[1], 400, "", "{\"code\":\"s3cret-Token\",\"message\":\"s3cret-Token\"}");
    CHECK_STR("400", o.code);
    CHECK(!strstr(o.text, "s3cret"));
}

TEST(a_message_that_is_held_is_sent_with_a_remark)
{
    struct outcome o = ask_body(
        &kinds[0], 200, "",
        "{\"messages\":[{\"id\":\"w\",\"message_status\":\"held_for_quality_assessment\"}]}");
    check_outcome(&o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    CHECK_STR("held_for_quality_assessment", o.text);
}
