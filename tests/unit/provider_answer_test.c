/* What every row of the providers' tables, and answers that nobody should give, come to. */
#include "tests/unit/provider_calls.h"

/* --- the tables ------------------------------------------------------------------------------ */

/* The body of an answer that a rule is about; text is the pointer of its sentence, NULL = none. */
static char *
make_body(const struct provider_table *t, const struct provider_rule *rule, const char *code,
          const char *text)
{
    json_t *root = json_object();
    if (rule->when == WHEN_ID) {
        put(root, t->ids[0], json_string("A1"));
    }
    if (code) {
        put(root, t->code, word_value(code));
    }
    if (rule->when == WHEN_ACCEPTED || rule->when == WHEN_REFUSED) {
        put(root, t->verdict, json_boolean(rule->when == WHEN_ACCEPTED));
    }
    if (text) {
        char *sentence = xasprintf("It %s!", rule->text ? rule->text : "of 60123456789");
        put(root, text, json_string(sentence));
        free(sentence);
    }
    char *body = json_object_size(root) ? json_dumps(root, JSON_COMPACT) : xstrdup("<html>");
    json_decref(root);
    return body;
}

/* What is asked of one row. */
struct row {
    const struct kind *kind;
    void *self;
    struct peer_reply *reply;
    const struct provider_rule *rule;
};

static void
check_row_outcome(const struct row *row, const struct outcome *o, int status, const char *code,
                  int attempt)
{
    const struct provider_rule *rule = row->rule;
    bool sent = rule->class == OUTCOME_SENT;
    char want[32];
    (void)snprintf(want, sizeof want,
                   sent && rule->when != WHEN_ID && row->kind->table->ids[0] ? "%d-unidentified"
                                                                             : "%d",
                   status);
    check_outcome(o, attempt < rule->strikes ? OUTCOME_RETRY : rule->class, rule->scope,
                  sent          ? want
                  : rule->label ? rule->label
                  : code        ? code
                                : want);
    CHECK_STR(rule->when == WHEN_ID ? "A1" : "", o->provider_id);
    CHECK(!strstr(o->text, "60123456789"));
    CHECK(o->stop == rule->stop);
    CHECK_INT(rule->stop_after, o->stop_after);
    int64_t retry = rule->class == OUTCOME_UNKNOWN || sent ? 0
                    : rule->when == WHEN_TOLD              ? 7000
                                                           : rule->retry_ms;
    CHECK_INT(retry, o->retry_after_ms);
}

/* One row, one code, one sentence, one attempt, through a real connection. */
static void
check_row(const struct row *row, int status, const char *code, const char *text, int attempt)
{
    const struct provider_rule *rule = row->rule;
    bool told = rule->when == WHEN_TOLD;
    char *body = make_body(row->kind->table, rule, code, text);
    buf_clear(&row->reply->bytes);
    peer_answer_with(row->reply, status, told ? "Retry-After: 7\r\n" : "", body);
    struct outcome o = deliver_at(row->kind->sender, row->self, attempt);
    check_row_outcome(row, &o, status, code, attempt);
    struct http_result r = {.end = HTTP_ANSWERED,
                            .started = true,
                            .status = status,
                            .body = body,
                            .body_len = strlen(body)};
    (void)snprintf(r.retry_after, sizeof r.retry_after, "%s", told ? "7" : "");
    if (provider_rule_of(row->kind->table, &r) != rule) { /* else the row has no effect */
        t_fail(__FILE__, __LINE__, "%s: another row than that of \"%s\" decides for %d %s",
               row->kind->table->name, rule->meaning, status, body);
    }
    free(body);
}

/* Every way to come to a row: both ends of its ranges, each place of a sentence, each attempt. */
static int
check_rule(const struct row *row)
{
    const struct provider_table *t = row->kind->table;
    const struct provider_rule *rule = row->rule;
    const char *code = rule->code                ? rule->code
                       : rule->when == WHEN_CODE ? (t == &cloudapi_table ? "987654" : "NOT_LISTED")
                                                 : NULL;
    int status = rule->from ? rule->from : code ? 400 : 502, sent = 0;
    bool speaks = rule->text || rule->when == WHEN_TEXT || rule->when == WHEN_REFUSED;
    CHECK(*rule->meaning && rule->advice && *rule->source && (!rule->extent || *rule->extent));
    CHECK(!rule->stop || rule->scope == SCOPE_TEMPLATE || rule->scope == SCOPE_DEVICE ||
          rule->scope == SCOPE_ACCOUNT);
    for (size_t i = 0; i < sizeof t->texts / sizeof *t->texts && t->texts[i]; i++) {
        if (speaks) {
            check_row(row, status, code, t->texts[i], 1);
            sent++;
        }
    }
    if (!speaks) {
        check_row(row, status, code, code && t == &cloudapi_table ? t->texts[0] : NULL, 1);
        sent++;
    }
    const char *text = speaks ? t->texts[0] : NULL;
    if (rule->to) {
        check_row(row, rule->to, code, text, 1);
        sent++;
    }
    if (rule->last) {
        check_row(row, status, rule->last, text, 1);
        sent++;
    }
    if (rule->strikes) {
        check_row(row, status, code, text, rule->strikes);
        sent++;
    }
    return sent;
}

TEST(every_row_of_every_table_decides_its_answer)
{
    for (size_t k = 0; k < N_KINDS; k++) {
        struct peer_reply reply = {0};
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply});
        void *self = open_kind(&kinds[k], p, "10s");
        int sent = 0;
        CHECK(provider_tables[k] == kinds[k].table);
        for (size_t i = 0; i < kinds[k].table->n_rules; i++) {
            const struct row row = {&kinds[k], self, &reply, &kinds[k].table->rules[i]};
            sent += check_rule(&row);
        }
        CHECK_INT(sent, peer_requests(p));
        buf_done(&reply.bytes);
        end_sender(kinds[k].sender, self, p);
    }
    CHECK(!provider_tables[N_KINDS]);
}

/* What an answer comes to, for the classifier alone. */
static struct outcome
classify(int kind, int status, const char *body)
{
    struct http_result r = {.end = HTTP_ANSWERED,
                            .started = true,
                            .status = status,
                            .body = body,
                            .body_len = strlen(body)};
    struct outcome o;
    provider_classify(kinds[kind].table, &r, 1, NULL, &o);
    return o;
}

/* What the tables must come to, written down apart from them. */
struct want {
    int kind, status;
    const char *words; /* codes or sentences, by "|" */
    enum outcome_class class;
    enum outcome_scope scope;
    bool stop;
    int stop_after;
};

static void
check_wants(const struct want *wants, size_t n, const char *form)
{
    for (size_t i = 0; i < n; i++) {
        char words[256], *next, *rest = words;
        (void)snprintf(words, sizeof words, "%s", wants[i].words);
        while ((next = strsep(&rest, "|")) != NULL) {
            char *body = xcalloc(1, strlen(form) + strlen(next) + 1);
            const char *at = strchr(form, '@');
            (void)sprintf(body, "%.*s%s%s", (int)(at - form), form, next, at + 1);
            struct outcome o = classify(wants[i].kind, wants[i].status, body);
            if (o.class != wants[i].class || o.scope != wants[i].scope || o.stop != wants[i].stop ||
                o.stop_after != wants[i].stop_after) {
                t_fail(__FILE__, __LINE__, "%s: %s/%s stop %d after %d", body,
                       outcome_class_name(o.class), outcome_scope_name(o.scope), o.stop,
                       o.stop_after);
            }
            free(body);
        }
    }
}
#define CHECK_WANTS(wants, form) check_wants(wants, sizeof wants / sizeof *wants, form)
#define IS(c, s)                 OUTCOME_##c, SCOPE_##s

TEST(each_code_of_the_cloud_api_costs_what_it_should)
{
    static const struct want wants[] = {
        {0, 401, "0|190", IS(REJECTED, ENDPOINT), false, 0},
        {0, 403, "3|10|200|250|299|131005", IS(REJECTED, DEVICE), false, 0},
        {0, 500, "1|131000", IS(RETRY, MESSAGE), false, 0},
        {0, 503, "2|131016|133004", IS(RETRY, ENDPOINT), false, 0},
        {0, 429, "4|17|80007|80008", IS(RETRY, ACCOUNT), false, 0},
        {0, 429, "130429|131057|132069", IS(RETRY, DEVICE), false, 0},
        {0, 400, "131056", IS(RETRY, PAIR), false, 0},
        {0, 400, "131048", IS(REJECTED, DEVICE), true, 0},
        {0, 400, "131064|368|131031", IS(REJECTED, ACCOUNT), true, 0},
        {0, 400, "131042|134011", IS(REJECTED, ACCOUNT), false, 0},
        {0, 400, "131049|131050|130472|131026|131047|131021|131030|137000|130497",
         IS(REJECTED, RECIPIENT), false, 0},
        {0, 400, "131062|987654", IS(REJECTED, MESSAGE), false, 0},
        {0, 400, "100|131008|131009|131051|135000", IS(REJECTED, MESSAGE), false, 3},
        {0, 400,
         "131052|131053|132000|132001|132005|132007|132008|132012|132015|132016|132068|131063",
         IS(REJECTED, TEMPLATE), true, 0},
        {0, 400, "33|131037|131045|133000|133010|133016", IS(REJECTED, DEVICE), false, 0},
        {0, 500, "987654", IS(RETRY, MESSAGE), false, 0},
    };
    CHECK_WANTS(wants, "{\"error\":{\"message\":\"m\",\"code\":@}}");
}

TEST(each_code_of_gowa_costs_what_it_should)
{
    static const struct want wants[] = {
        {GOWA, 400, "VALIDATION_ERROR|INVALID_REQUEST", IS(REJECTED, MESSAGE), false, 3},
        {GOWA, 400, "INVALID_JID", IS(RETRY, RECIPIENT), false, 0},
        {GOWA, 400, "DEVICE_ID_REQUIRED", IS(REJECTED, DEVICE), false, 0},
        {GOWA, 404, "DEVICE_NOT_FOUND", IS(REJECTED, DEVICE), false, 0},
        {GOWA, 401, "AUTHENTICATION_ERROR", IS(REJECTED, DEVICE), false, 0},
        {GOWA, 401, "OTHER", IS(REJECTED, ENDPOINT), false, 0},
        {GOWA, 413, "OTHER", IS(REJECTED, TEMPLATE), true, 0},
        {GOWA, 429, "WA_REACHOUT_TIMELOCK", IS(RETRY, NEW_CONTACTS), false, 0},
        {GOWA, 500, "UPLOAD_MEDIA_ERROR", IS(RETRY, MESSAGE), false, 0},
        {GOWA, 500, "INVALID_WA_CLI", IS(REJECTED, DEVICE), false, 0},
        {GOWA, 500, "INTERNAL_SERVER_ERROR", IS(UNKNOWN, DEVICE), false, 0},
        {GOWA, 503, "DEVICE_MANAGER_UNAVAILABLE", IS(RETRY, ENDPOINT), false, 0},
        {GOWA, 504, "GATEWAY_TIMEOUT", IS(UNKNOWN, DEVICE), false, 0},
        {GOWA, 408, "CONTEXT_ERROR", IS(UNKNOWN, DEVICE), false, 0},
        {GOWA, 502, "OTHER", IS(UNKNOWN, DEVICE), false, 0},
    };
    CHECK_WANTS(wants, "{\"code\":\"@\",\"message\":\"m\"}");
}

TEST(what_gowa_says_in_words_decides_too)
{
    static const struct want wants[] = {
        {GOWA, 500, "server returned error 479", IS(RETRY, MESSAGE), false, 0},
        {GOWA, 500, "failed: Server Returned Error 463", IS(RETRY, NEW_CONTACTS), false, 0},
        {GOWA, 500, "info query timed out|", IS(UNKNOWN, DEVICE), false, 0},
    };
    CHECK_WANTS(wants, "{\"code\":\"INTERNAL_SERVER_ERROR\",\"message\":\"@\"}");
}

TEST(each_answer_of_waha_costs_what_it_should)
{
    static const struct want states[] = {
        {WAHA, 422, "STOPPED|SCAN_QR_CODE|FAILED|NEW_ONE", IS(REJECTED, DEVICE), false, 0},
        {WAHA, 422, "STARTING", IS(RETRY, DEVICE), false, 0},
    };
    CHECK_WANTS(states,
                "{\"error\":\"Session status is not as expected. Try again later or restart "
                "the session\",\"session\":\"s\",\"status\":\"@\",\"expected\":[\"WORKING\"]}");
    static const struct want wants[] = {
        {WAHA, 500, "2 UNKNOWN: server returned error 463", IS(RETRY, NEW_CONTACTS), false, 0},
        {WAHA, 500, "2 UNKNOWN: server returned error 400", IS(RETRY, MESSAGE), false, 0},
        {WAHA, 500, "Protocol error|context deadline exceeded", IS(UNKNOWN, DEVICE), false, 0},
        {WAHA, 422, "The method is not implemented by the engine.|Available in Plus version",
         IS(REJECTED, TEMPLATE), true, 0},
        {WAHA, 422, "chatId is strange", IS(REJECTED, MESSAGE), false, 3},
        {WAHA, 404, "Session \\\"x\\\" not found", IS(REJECTED, DEVICE), false, 0},
        {WAHA, 401, "Unauthorized", IS(REJECTED, ENDPOINT), false, 0},
    };
    CHECK_WANTS(wants, "{\"statusCode\":500,\"exception\":{\"message\":\"@\"}}");
}

TEST(each_answer_of_evolution_costs_what_it_should)
{
    static const struct want wants[] = {
        {EVOLUTION, 400, "{\"exists\":false,\"jid\":\"x\",\"number\":\"1\"}", IS(RETRY, RECIPIENT),
         false, 0},
        {EVOLUTION, 400, "\"Error: Connection Closed\"", IS(REJECTED, DEVICE), false, 0},
        {EVOLUTION, 500, "\"Error: Connection Closed\"", IS(REJECTED, DEVICE), false, 0},
        {EVOLUTION, 400, "[\"instance requires property \\\"text\\\"\"]", IS(REJECTED, MESSAGE),
         false, 3},
        {EVOLUTION, 404, "\"The \\\"x\\\" instance does not exist\"", IS(REJECTED, DEVICE), false,
         0},
        {EVOLUTION, 401, "\"Unauthorized\"", IS(REJECTED, ENDPOINT), false, 0},
        {EVOLUTION, 500, "\"Cannot read properties\"", IS(UNKNOWN, DEVICE), false, 0},
    };
    CHECK_WANTS(wants, "{\"status\":400,\"error\":\"Bad Request\",\"response\":{\"message\":[@]}}");
}

TEST(each_refusal_of_a_form_costs_what_it_should)
{
    static const struct want whacenter[] = {
        {WHACENTER, 200, "Number is Not Valid", IS(REJECTED, RECIPIENT), false, 0},
        {WHACENTER, 200, "device not connected or not found|Device not found|device disconnected",
         IS(REJECTED, DEVICE), false, 0},
        {WHACENTER, 200, "something new", IS(REJECTED, MESSAGE), false, 3},
    };
    CHECK_WANTS(whacenter, "{\"status\":false,\"message\":\"@\"}");
    static const struct want fonnte[] = {
        {FONNTE, 200, "target invalid", IS(REJECTED, RECIPIENT), false, 0},
        {FONNTE, 200, "request invalid on disconnected device|token invalid|insufficient quota",
         IS(REJECTED, DEVICE), false, 0},
        {FONNTE, 200, "something new", IS(REJECTED, MESSAGE), false, 3},
    };
    CHECK_WANTS(fonnte, "{\"status\":false,\"reason\":\"@\",\"requestid\":1}");
    static const struct want unclear[] = {
        {WHACENTER, 200, "\"true\"|null|1", IS(UNKNOWN, DEVICE), false, 0},
        {FONNTE, 200, "\"true\"|null|1", IS(UNKNOWN, DEVICE), false, 0},
        {WABLAS, 200, "\"true\"|null|1", IS(UNKNOWN, DEVICE), false, 0},
        {WABLAS, 200, "true", IS(SENT, MESSAGE), false, 0},
        {WABLAS, 500, "false", IS(UNKNOWN, DEVICE), false, 0},
    };
    CHECK_WANTS(unclear, "{\"status\":@}");
}

/* --- looks at a device ----------------------------------------------------------------------- */

TEST(every_row_of_states_decides_a_look)
{
    for (size_t k = 0; k < N_KINDS; k++) {
        const struct provider_table *t = kinds[k].table;
        struct peer_reply reply = {0};
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply});
        void *self = open_kind(&kinds[k], p, "10s");
        CHECK(t->n_states);
        for (size_t i = 0; i < t->n_states; i++) {
            const struct provider_state *s = &t->states[i];
            json_t *root = json_object();
            put(root, s->pointer, word_value(s->value ? s->value : "ANY_OTHER"));
            char *body = json_dumps(root, 0), want[200];
            json_decref(root);
            buf_clear(&reply.bytes);
            peer_answer(&reply, s->from, body);
            struct check_report r = look(kinds[k].sender, self, "106540352242922");
            (void)snprintf(want, sizeof want, "%s (%s)", s->meaning,
                           s->value ? s->value : "ANY_OTHER");
            CHECK_STR(want, r.text);
            CHECK_INT(s->state, r.state);
            free(body);
        }
        buf_done(&reply.bytes);
        end_sender(kinds[k].sender, self, p);
    }
}

TEST(a_failed_look_is_never_an_offline_device)
{
    static const struct {
        int status;
        const char *body;
        enum peer_then then;
    } cases[] = {{500, "{\"code\":\"X\"}", PEER_KEEP},
                 {200, "{\"results\":[]}", PEER_KEEP},
                 {200, "<html>", PEER_KEEP},
                 {401, "{\"status\":\"x\"}", PEER_KEEP},
                 {0, "", PEER_CLOSE},
                 {0, "", PEER_HOLD}};
    for (size_t k = 0; k < N_KINDS; k++) {
        struct peer_reply reply = {0};
        struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &reply});
        void *self = open_kind(&kinds[k], p, "300ms");
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            buf_clear(&reply.bytes);
            reply.then = cases[i].then;
            if (cases[i].status) {
                peer_answer(&reply, cases[i].status, cases[i].body);
            }
            struct check_report r = look(kinds[k].sender, self, "106540352242922");
            CHECK_INT(DEVICE_UNKNOWN, r.state);
            CHECK(*r.text && !strstr(r.text, "s3cret"));
        }
        buf_done(&reply.bytes);
        end_sender(kinds[k].sender, self, p);
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
        {WAHA, 201, "{\"id\":{\"_serialized\":\"true_1\"}}", OUTCOME_SENT, "201"},
        {WAHA, 201, "{\"key\":{\"id\":\"3EB0\"}}", OUTCOME_SENT, "201"},
        {WAHA, 201, "{\"id\":[],\"key\":7}", OUTCOME_SENT, "201-unidentified"},
        {WAHA, 500, "{\"exception\":[\"server returned error 463\"]}", OUTCOME_UNKNOWN, "500"},
        {WAHA, 422, "[[]]", OUTCOME_REJECTED, "422"},
        {WAHA, 400, "<html>", OUTCOME_REJECTED, "400"},
        {EVOLUTION, 201, "{\"status\":\"PENDING\"}", OUTCOME_SENT, "201-unidentified"},
        {EVOLUTION, 400, "{\"response\":{\"message\":[{\"exists\":\"false\"}]}}", OUTCOME_RETRY,
         "not-on-whatsapp"},
        {EVOLUTION, 400, "{\"response\":{\"message\":{}}}", OUTCOME_REJECTED, "400"},
        {EVOLUTION, 500, "{\"response\":null}", OUTCOME_UNKNOWN, "500"},
        {WHACENTER, 200, "{\"status\":true,\"message\":[]}", OUTCOME_SENT, "200"},
        {WHACENTER, 200, "{\"status\":false,\"message\":{\"a\":1}}", OUTCOME_REJECTED, "refused"},
        {WHACENTER, 200, "<br />Fatal error", OUTCOME_UNKNOWN, "200"},
        {WHACENTER, 200, "", OUTCOME_UNKNOWN, "200"},
        {FONNTE, 200, "{\"status\":true,\"id\":[7]}", OUTCOME_SENT, "200"},
        {FONNTE, 200, "{\"status\":true,\"id\":{}}", OUTCOME_SENT, "200-unidentified"},
        {FONNTE, 200, "{\"status\":false,\"id\":[\"7\"]}", OUTCOME_REJECTED, "refused"},
        {WABLAS, 500, "{\"status\":false,\"message\":\"token invalid\"}", OUTCOME_UNKNOWN, "500"},
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
    for (size_t k = 0; k <= GOWA; k++) {
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
    o = ask_body(&kinds[WHACENTER], 200, "",
                 "{\"status\":false,\"message\":\"no device s3cret-Token\"}");
    CHECK_STR("HTTP 200: no device ***", o.text);
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
