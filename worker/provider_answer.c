/* Finds the rule that an answer falls under and makes the outcome of it.
 *
 * A body that cannot be read, because it is no JSON, of another shape, or longer than what is kept,
 * has neither id nor code: the rules that ask for one do not fit, and the status decides. */
#include "shared/clock.h"
#include "shared/mem.h"
#include "worker/answer.h"
#include "worker/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS = sizeof((struct provider_table *)0)->texts / sizeof(char *) };

/* What was read of an answer. */
struct reading {
    json_t *root;
    const char *texts[TEXTS]; /* NULL or not empty */
    char id[128], code[32];
    bool accepted, refused; /* as the table's `verdict` says */
    bool told;
    int64_t told_ms;
};

static const char *
sentence(json_t *root, const char *pointer)
{
    const json_t *v = pointer ? answer_find(root, pointer) : NULL;
    return json_is_string(v) && *json_string_value(v) ? json_string_value(v) : NULL;
}

/* No provider's codes are anything else, and the ledger's column takes nothing else. */
static bool
is_ascii(const char *s)
{
    while (*s && (unsigned char)*s < 0x80) {
        s++;
    }
    return !*s;
}

/* A text, a number or a boolean; "" when there is none, or none that fits. */
static void
read_word(json_t *root, const char *pointer, char *ret, size_t size)
{
    const json_t *v = pointer ? answer_find(root, pointer) : NULL;
    if (json_is_boolean(v)) {
        (void)snprintf(ret, size, "%s", json_is_true(v) ? "true" : "false");
    } else if (!answer_scalar(v, ret, size)) {
        ret[0] = '\0';
    }
}

static json_t *
read_body(const struct http_result *r)
{
    return r->truncated ? NULL
                        : json_loadb(r->body, r->body_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void
read_answer(const struct provider_table *t, const struct http_result *r, struct reading *ret)
{
    *ret = (struct reading){.root = read_body(r)};
    for (size_t i = 0; i < sizeof t->ids / sizeof *t->ids && !ret->id[0]; i++) {
        if (!t->ids[i] ||
            !answer_scalar(answer_find(ret->root, t->ids[i]), ret->id, sizeof ret->id)) {
            ret->id[0] = '\0';
        }
    }
    read_word(ret->root, t->code, ret->code, sizeof ret->code);
    if (!is_ascii(ret->code)) {
        ret->code[0] = '\0';
    }
    for (size_t i = 0; i < TEXTS; i++) {
        ret->texts[i] = sentence(ret->root, t->texts[i]);
    }
    const json_t *verdict = t->verdict ? answer_find(ret->root, t->verdict) : NULL;
    ret->accepted = json_is_true(verdict);
    ret->refused = json_is_false(verdict);
    ret->told = answer_retry_after(r->retry_after, r->date, clock_wall_ms(), &ret->told_ms);
}

static const char *
first_text(const struct reading *a)
{
    size_t i = 0;
    while (i < TEXTS && !a->texts[i]) {
        i++;
    }
    return i < TEXTS ? a->texts[i] : NULL;
}

static bool
code_fits(const struct provider_rule *rule, const char *code)
{
    if (!rule->code || !rule->last) {
        return !rule->code || strcmp(rule->code, code) == 0;
    }
    size_t digits = strspn(code, "0123456789");
    if (digits == 0 || digits > 9 || code[digits]) {
        return false;
    }
    long n = strtol(code, NULL, 10);
    return n >= strtol(rule->code, NULL, 10) && n <= strtol(rule->last, NULL, 10);
}

static bool
text_fits(const struct provider_rule *rule, const struct reading *a)
{
    bool fits = !rule->text;
    for (size_t i = 0; i < TEXTS && !fits; i++) {
        fits = a->texts[i] && strcasestr(a->texts[i], rule->text);
    }
    return fits;
}

static bool
when_fits(enum provider_when when, const struct reading *a)
{
    switch (when) {
    case WHEN_ANY:
        return true;
    case WHEN_ID:
        return a->id[0];
    case WHEN_CODE:
        return a->code[0];
    case WHEN_NO_CODE:
        return !a->code[0];
    case WHEN_TEXT:
        return first_text(a) != NULL;
    case WHEN_ACCEPTED:
        return a->accepted;
    case WHEN_REFUSED:
        return a->refused;
    case WHEN_TOLD:
        return a->told;
    }
    return false;
}

static const struct provider_rule *
find_rule(const struct provider_table *t, int status, const struct reading *a)
{
    const struct provider_rule *rule = t->rules, *last = t->rules + t->n_rules - 1;
    for (; rule < last; rule++) {
        int to = rule->to ? rule->to : rule->from;
        bool here = !rule->from || (status >= rule->from && status <= to);
        if (here && when_fits(rule->when, a) && code_fits(rule, a->code) && text_fits(rule, a)) {
            break;
        }
    }
    return rule;
}

const struct provider_rule *
provider_rule_of(const struct provider_table *t, const struct http_result *r)
{
    struct reading a;
    read_answer(t, r, &a);
    const struct provider_rule *rule = find_rule(t, r->status, &a);
    json_decref(a.root);
    return rule;
}

/* Some providers repeat a token that they do not like. */
static char *
without_secret(const char *text, const char *secret)
{
    struct buf b = {0};
    size_t len = secret ? strlen(secret) : 0;
    while (*text) {
        const char *at = len ? strstr(text, secret) : NULL;
        size_t n = at ? (size_t)(at - text) : strlen(text);
        buf_add(&b, text, n);
        buf_adds(&b, at ? "***" : "");
        text += n + (at ? len : 0);
    }
    buf_adds(&b, "");
    return b.data;
}

static void
describe_refusal(const struct reading *a, const struct provider_rule *rule,
                 const struct http_result *r, const char *secret, struct outcome *ret)
{
    const char *text = first_text(a);
    if (text) {
        char *safe = without_secret(text, secret);
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %d: %s", r->status, safe);
        answer_tidy(ret->text);
        free(safe);
    } else {
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %d%s", r->status,
                       r->truncated ? ", a longer answer than is read" : "");
    }
    if (rule->label) {
        (void)snprintf(ret->code, sizeof ret->code, "%s", rule->label);
    } else if (a->code[0] && (!secret || !strstr(a->code, secret))) {
        (void)snprintf(ret->code, sizeof ret->code, "%s", a->code);
    } else {
        (void)snprintf(ret->code, sizeof ret->code, "%d", r->status);
    }
}

static void
describe_acceptance(const struct provider_table *t, const struct reading *a,
                    const struct http_result *r, const char *secret, struct outcome *ret)
{
    const char *note = sentence(a->root, t->note);
    bool whole = a->id[0] || !t->ids[0];
    memcpy(ret->provider_id, a->id, sizeof ret->provider_id);
    (void)snprintf(ret->code, sizeof ret->code, whole ? "%d" : "%d-unidentified", r->status);
    if (!whole) {
        (void)snprintf(ret->text, sizeof ret->text, "accepted, but %s",
                       r->truncated ? "the answer is longer than what is read"
                       : a->root    ? "the answer has no id where it is expected"
                                    : "the answer is no JSON");
    } else if (note && strcmp(note, "accepted") != 0) {
        char *safe = without_secret(note, secret);
        (void)snprintf(ret->text, sizeof ret->text, "%s", safe);
        answer_tidy(ret->text);
        free(safe);
    }
}

/* How long to wait at least: the longer of what the table, Retry-After and the quota header say. */
static int64_t
wait_ms(const struct provider_table *t, const struct provider_rule *rule, const struct reading *a,
        const struct http_result *r)
{
    int64_t ms = rule->retry_ms;
    bool throttled = rule->class == OUTCOME_RETRY &&
                     (rule->scope == SCOPE_ACCOUNT || rule->scope == SCOPE_DEVICE);
    if (a->told && a->told_ms > ms) {
        ms = a->told_ms;
    }
    if (throttled && t->regain_ms) {
        int64_t regain_ms = t->regain_ms(r->extra);
        ms = regain_ms > ms ? regain_ms : ms;
    }
    return ms;
}

void
provider_classify(const struct provider_table *t, const struct http_result *r, int attempt,
                  const char *secret, struct outcome *ret)
{
    *ret = (struct outcome){.send_ms = r->ms};
    if (r->end != HTTP_ANSWERED) {
        answer_missing(r, ret);
        return;
    }
    struct reading a;
    read_answer(t, r, &a);
    const struct provider_rule *rule = find_rule(t, r->status, &a);
    ret->class = attempt < rule->strikes ? OUTCOME_RETRY : rule->class;
    ret->scope = rule->scope;
    ret->stop = rule->stop;
    ret->stop_after = rule->stop_after;
    if (rule->class == OUTCOME_SENT) {
        describe_acceptance(t, &a, r, secret, ret);
    } else {
        describe_refusal(&a, rule, r, secret, ret);
        ret->retry_after_ms = rule->class == OUTCOME_UNKNOWN ? 0 : wait_ms(t, rule, &a, r);
    }
    json_decref(a.root);
}

static void
upload_accepted(const struct provider_table *t, const struct http_result *r, struct outcome *ret)
{
    json_t *root = read_body(r);
    char id[sizeof ret->provider_id] = "";
    bool there = t->upload_id && answer_scalar(answer_find(root, t->upload_id), id, sizeof id);
    *ret = (struct outcome){.class = there ? OUTCOME_SENT : OUTCOME_RETRY, .send_ms = r->ms};
    (void)snprintf(ret->code, sizeof ret->code, there ? "%d" : "%d-unidentified", r->status);
    if (there) {
        memcpy(ret->provider_id, id, sizeof id);
    } else {
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %d, but no id of the medium", r->status);
    }
    json_decref(root);
}

void
provider_classify_upload(const struct provider_table *t, const struct http_result *r,
                         const char *secret, struct outcome *ret)
{
    if (r->end == HTTP_ANSWERED && r->status >= 200 && r->status <= 299) {
        upload_accepted(t, r, ret);
        return;
    }
    provider_classify(t, r, 1, secret, ret);
    if (ret->class == OUTCOME_UNKNOWN) { /* it may be there or not: nobody has seen it */
        ret->class = OUTCOME_RETRY;
        ret->scope = SCOPE_MESSAGE;
    } else if (ret->class == OUTCOME_REJECTED && ret->scope == SCOPE_MESSAGE) {
        ret->scope = SCOPE_TEMPLATE;
        ret->stop = true;
        ret->stop_after = 0;
    }
}

static const struct provider_state *
find_state(const struct provider_table *t, json_t *root, int status, char *value, size_t size)
{
    for (size_t i = 0; i < t->n_states; i++) {
        const struct provider_state *s = &t->states[i];
        int to = s->to ? s->to : s->from;
        read_word(root, s->pointer, value, size);
        if (status >= s->from && status <= to && value[0] &&
            (!s->value || strcmp(s->value, value) == 0)) {
            return s;
        }
    }
    return NULL;
}

enum device_state
provider_state_of(const struct provider_table *t, const struct http_result *r, const char *secret,
                  char *text, size_t size)
{
    char value[64];
    if (r->end != HTTP_ANSWERED) {
        (void)snprintf(text, size, "%s%s%s", r->code, r->text[0] ? ": " : "", r->text);
        return DEVICE_UNKNOWN;
    }
    json_t *root = read_body(r);
    const struct provider_state *s = find_state(t, root, r->status, value, sizeof value);
    if (s) {
        char *safe = without_secret(value, secret);
        (void)snprintf(text, size, "%s (%s)", s->meaning, safe);
        free(safe);
    } else {
        (void)snprintf(text, size, "HTTP %d, which says nothing of the device", r->status);
    }
    answer_tidy(text);
    json_decref(root);
    return s ? s->state : DEVICE_UNKNOWN;
}
