/* What an answer means.  In this order:
 *
 *   the success rule matches                       SENT; code = the status, or "200-unidentified"
 * when an id was expected and none can be read: accepted all the same, so never repeated the first
 * line of the error map that matches   what the line says otherwise, by status:
 *
 *   2xx, and a value of the rule differs           REJECTED  message    the provider says so
 *   2xx, and a value of the rule cannot be read    UNKNOWN   message    the settings say that 2xx
 * alone is no acceptance, so nobody knows 2xx outside the rule                           UNKNOWN
 * message 3xx                                            REJECTED  endpoint   the URL is wrong for
 * all 401, 403                                       REJECTED  device     its key or its session is
 *   408                                            UNKNOWN   device
 *   429                                            RETRY     device     after Retry-After
 *   other 4xx                                      REJECTED  message
 *   503 with Retry-After                           RETRY     endpoint   after it
 *   other 5xx (500, 502, 504 ...)                  UNKNOWN   device     gateways give them after
 * sending anything else                                  UNKNOWN   device
 *
 * The success rule goes first so that no text in a successful answer, which may repeat the message,
 * can turn it into something that is sent again.  Without an answer:
 *
 *   not started (name, connect, TLS, refused address, time-out before writing; libcurl 5 6 7 35 60
 * 97) NOT_SENT  endpoint not started because stale, or closed           NOT_SENT  message started
 * (libcurl 18 28 52 55 56 65 92 ..., a second writing refused) UNKNOWN   device started, and closed
 * UNKNOWN   message
 */
#include "shared/clock.h"
#include "worker/answer.h"
#include "worker/webhook_rules.h"

#include <stdio.h>
#include <string.h>

static bool
status_in(const struct status_set *set, int status)
{
    for (size_t i = 0; i < set->n; i++) {
        if (status >= set->range[i].from && status <= set->range[i].to) {
            return true;
        }
    }
    return false;
}

static bool
same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b)) {
        double d = json_number_value(a) - json_number_value(b);
        return d >= 0 && d <= 0;
    }
    return json_equal(a, b);
}

enum verdict { MATCHES, DIFFERS, UNREADABLE, OTHER_STATUS };

static enum verdict
judge(const struct webhook_rules *rules, const struct http_result *r, json_t *root)
{
    if (!status_in(&rules->success, r->status)) {
        return OTHER_STATUS;
    }
    enum verdict v = MATCHES;
    for (size_t i = 0; i < rules->n_tests; i++) {
        const json_t *got = answer_find(root, rules->tests[i].pointer);
        if (!got) {
            return UNREADABLE;
        }
        v = same(got, rules->tests[i].want) ? v : DIFFERS;
    }
    return v;
}

/* --- the outcome ----------------------------------------------------------------------------- */

/* The code and the sentence of an answer that is no success. */
static void
describe(const struct webhook_rules *rules, const struct http_result *r, json_t *root,
         struct outcome *ret)
{
    const char *code = rules->pointers[POINTER_ERROR], *text = rules->pointers[POINTER_TEXT];
    if (!code || !answer_scalar(answer_find(root, code), ret->code, sizeof ret->code)) {
        (void)snprintf(ret->code, sizeof ret->code, "%d", r->status);
    }
    const json_t *sentence = text ? answer_find(root, text) : NULL;
    if (json_is_string(sentence) && *json_string_value(sentence)) {
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %d: %s", r->status,
                       json_string_value(sentence));
        answer_tidy(ret->text);
    } else {
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %d%s", r->status,
                       r->truncated ? ", a longer answer than max_body" : "");
    }
}

static void
accept(const struct webhook_rules *rules, const struct http_result *r, json_t *root,
       struct outcome *ret)
{
    const char *id = rules->pointers[POINTER_ID];
    bool known =
        id && answer_scalar(answer_find(root, id), ret->provider_id, sizeof ret->provider_id);
    ret->class = OUTCOME_SENT;
    ret->scope = SCOPE_MESSAGE;
    ret->text[0] = '\0';
    (void)snprintf(ret->code, sizeof ret->code, id && !known ? "%d-unidentified" : "%d", r->status);
    if (id && !known) {
        (void)snprintf(ret->text, sizeof ret->text, "accepted, but %s",
                       r->truncated ? "the answer is longer than max_body"
                       : root       ? "the answer has no id where it is expected"
                                    : "the answer is no JSON");
    }
}

static const struct error_rule *
find_rule(const struct webhook_rules *rules, const struct http_result *r, json_t *root)
{
    char code[128];
    const char *pointer = rules->pointers[POINTER_ERROR];
    bool coded = pointer && answer_scalar(answer_find(root, pointer), code, sizeof code);
    for (size_t i = 0; i < rules->n_errors; i++) {
        const struct error_rule *rule = &rules->errors[i];
        bool hit = false;
        switch (rule->by) {
        case BY_STATUS:
            hit = status_in(&rule->statuses, r->status);
            break;
        case BY_CODE:
            hit = coded && strcmp(rule->word, code) == 0;
            break;
        case BY_TEXT:
            hit = strcasestr(r->body, rule->word) != NULL;
            break;
        }
        if (hit) {
            return rule;
        }
    }
    return NULL;
}

static void
put(struct outcome *ret, enum outcome_class class, enum outcome_scope scope)
{
    ret->class = class;
    ret->scope = scope;
}

static void
classify_by_status(int status, enum verdict verdict, bool told_when, struct outcome *ret)
{
    if (status >= 200 && status <= 299) {
        put(ret, verdict == DIFFERS ? OUTCOME_REJECTED : OUTCOME_UNKNOWN, SCOPE_MESSAGE);
    } else if (status >= 300 && status <= 399) {
        put(ret, OUTCOME_REJECTED, SCOPE_ENDPOINT);
    } else if (status == 401 || status == 403) {
        put(ret, OUTCOME_REJECTED, SCOPE_DEVICE);
    } else if (status == 429) {
        put(ret, OUTCOME_RETRY, SCOPE_DEVICE);
    } else if (status >= 400 && status <= 499 && status != 408) {
        put(ret, OUTCOME_REJECTED, SCOPE_MESSAGE);
    } else if (status == 503 && told_when) {
        put(ret, OUTCOME_RETRY, SCOPE_ENDPOINT);
    } else {
        put(ret, OUTCOME_UNKNOWN, SCOPE_DEVICE);
    }
}

static void
classify_answer(const struct webhook_rules *rules, const struct http_result *r, struct outcome *ret)
{
    json_t *root = r->truncated
                       ? NULL
                       : json_loadb(r->body, r->body_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    enum verdict verdict = judge(rules, r, root);
    if (verdict == MATCHES) {
        accept(rules, r, root, ret);
        json_decref(root);
        return;
    }
    const struct error_rule *rule = find_rule(rules, r, root);
    bool told_when =
        answer_retry_after(r->retry_after, r->date, clock_wall_ms(), &ret->retry_after_ms);
    describe(rules, r, root, ret);
    if (!rule) {
        classify_by_status(r->status, verdict, told_when, ret);
    } else if (rule->class == OUTCOME_SENT) {
        ret->retry_after_ms = 0;
        accept(rules, r, root, ret);
    } else {
        put(ret, rule->class, rule->scope);
        ret->stop = rule->stop;
        ret->stop_after = rule->stop_after;
        ret->retry_after_ms = told_when ? ret->retry_after_ms : rule->retry_ms;
    }
    json_decref(root);
}

void
webhook_classify(const struct webhook_rules *rules, const struct http_result *r,
                 struct outcome *ret)
{
    *ret = (struct outcome){.send_ms = r->ms};
    if (r->end == HTTP_ANSWERED) {
        classify_answer(rules, r, ret);
        return;
    }
    answer_missing(r, ret);
}
