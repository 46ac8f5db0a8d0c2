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
#include "shared/conf.h"
#include "shared/mem.h"
#include "worker/webhook_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* What a JSON pointer names, borrowed from root; NULL when there is no such thing. */
static json_t *
find(json_t *root, const char *pointer)
{
    struct buf key = {0};
    while (root && *pointer == '/') {
        buf_clear(&key);
        for (pointer++; *pointer && *pointer != '/'; pointer++) {
            char c = *pointer;
            if (c == '~') {
                c = *++pointer == '1' ? '/' : '~';
            }
            buf_add(&key, &c, 1);
        }
        const char *word = key.len ? key.data : "";
        if (json_is_object(root)) {
            root = json_object_get(root, word);
        } else if (json_is_array(root) && key.len && key.len < 7 &&
                   strspn(word, "0123456789") == key.len) {
            root = json_array_get(root, strtoul(word, NULL, 10));
        } else {
            root = NULL;
        }
    }
    buf_done(&key);
    return root;
}

/* A string or a number as text; false when it is neither, is empty, does not fit or holds a control
 * character. */
static bool
scalar(const json_t *v, char *ret, size_t size)
{
    int n = -1;
    char text[256];
    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)) {
        n = snprintf(text, sizeof text, "%s", json_string_value(v));
    } else if (json_is_integer(v)) {
        n = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    }
    if (n <= 0 || (size_t)n >= size || (size_t)n >= sizeof text) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (iscntrl((unsigned char)text[i])) {
            return false;
        }
    }
    memcpy(ret, text, (size_t)n + 1);
    return true;
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
        const json_t *got = find(root, rules->tests[i].pointer);
        if (!got) {
            return UNREADABLE;
        }
        v = same(got, rules->tests[i].want) ? v : DIFFERS;
    }
    return v;
}

/* --- Retry-After ----------------------------------------------------------------------------- */

static bool
parse_date(const char *s, int64_t *ret_ms)
{
    static const char *const forms[] = {
        "%a, %d %b %Y %H:%M:%S GMT", /* IMF-fixdate */
        "%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
        "%a %b %d %H:%M:%S %Y",      /* asctime */
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {0};
        const char *end = strptime(s, forms[i], &tm);
        if (end && *end == '\0') {
            *ret_ms = (int64_t)timegm(&tm) * 1000;
            return true;
        }
    }
    return false;
}

bool
webhook_retry_after(const char *value, const char *date, int64_t now_ms, int64_t *ret_ms)
{
    static const int64_t day_ms = 86400000;
    int64_t ms;
    size_t digits = strspn(value, "0123456789");
    if (digits && value[digits] == '\0') {
        ms = digits > 6 ? day_ms : strtoll(value, NULL, 10) * 1000;
    } else {
        int64_t until_ms, from_ms;
        if (!parse_date(value, &until_ms)) {
            return false;
        }
        ms = until_ms - (parse_date(date, &from_ms) ? from_ms : now_ms);
    }
    *ret_ms = ms < 0 ? 0 : ms > day_ms ? day_ms : ms;
    return true;
}

/* --- the outcome ----------------------------------------------------------------------------- */

/* Keeps a sentence fit for logs and tables: no control characters, no half UTF-8 character at its
 * end, and of a number that may be a phone's the first two and the last three digits. */
static void
tidy(char *text)
{
    size_t len = strlen(text), cut = len;
    while (cut && ((unsigned char)text[cut - 1] & 0xc0) == 0x80) {
        cut--;
    }
    if (cut) {
        unsigned char lead = (unsigned char)text[cut - 1];
        size_t need = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        text[len - (cut - 1) < need ? cut - 1 : len] = '\0';
    }
    for (char *p = text; *p; p++) {
        size_t digits = strspn(p, "0123456789");
        if (digits >= 7) {
            memset(p + 2, '*', digits - 5);
        }
        p += digits ? digits - 1 : 0;
        *p = iscntrl((unsigned char)*p) ? ' ' : *p;
    }
}

/* The code and the sentence of an answer that is no success. */
static void
describe(const struct webhook_rules *rules, const struct http_result *r, json_t *root,
         struct outcome *ret)
{
    const char *code = rules->pointers[POINTER_ERROR], *text = rules->pointers[POINTER_TEXT];
    if (!code || !scalar(find(root, code), ret->code, sizeof ret->code)) {
        (void)snprintf(ret->code, sizeof ret->code, "%d", r->status);
    }
    const json_t *sentence = text ? find(root, text) : NULL;
    if (json_is_string(sentence) && *json_string_value(sentence)) {
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %d: %s", r->status,
                       json_string_value(sentence));
        tidy(ret->text);
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
    bool known = id && scalar(find(root, id), ret->provider_id, sizeof ret->provider_id);
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
    bool coded = pointer && scalar(find(root, pointer), code, sizeof code);
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
        webhook_retry_after(r->retry_after, r->date, clock_wall_ms(), &ret->retry_after_ms);
    describe(rules, r, root, ret);
    if (!rule) {
        classify_by_status(r->status, verdict, told_when, ret);
    } else if (rule->class == OUTCOME_SENT) {
        ret->retry_after_ms = 0;
        accept(rules, r, root, ret);
    } else {
        put(ret, rule->class, rule->scope);
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
    bool ours = r->end == HTTP_STALE || r->end == HTTP_CLOSED;
    if (r->started) {
        put(ret, OUTCOME_UNKNOWN, ours ? SCOPE_MESSAGE : SCOPE_DEVICE);
    } else {
        put(ret, OUTCOME_NOT_SENT, ours ? SCOPE_MESSAGE : SCOPE_ENDPOINT);
    }
    (void)snprintf(ret->code, sizeof ret->code, "%s", r->code);
    (void)snprintf(ret->text, sizeof ret->text, "%s", r->text);
}
