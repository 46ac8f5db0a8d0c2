/* A provider's answer: status, flags and headers from the first bytes and lines, the body from the
 * rest.  Every classifier gives an outcome that makes sense, and the same one again.
 *
 *   make fuzz runs it; what it found is kept in build-fuzz/corpus/fuzz_answer */
#include "shared/mem.h"
#include "shared/render.h"
#include "worker/answer.h"
#include "worker/pace.h"
#include "worker/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "EAAGm0PX4ZCps";

static void
expect(bool ok)
{
    if (!ok) {
        abort();
    }
}

static size_t
take_line(const char **at, const char *end, char *ret, size_t size)
{
    const char *eol = memchr(*at, '\n', (size_t)(end - *at));
    size_t len = (size_t)((eol ? eol : end) - *at);
    (void)snprintf(ret, size, "%.*s", (int)(len < size ? len : size - 1), *at);
    *at += len + (eol ? 1 : 0);
    return len;
}

/* One line of UTF-8, and none of what may not be in it. */
static void
check_text(const char *text, size_t size)
{
    size_t len = strlen(text), digits = 0;
    expect(len < size && !strstr(text, secret));
    expect(render_bad_utf8(text, len) == len);
    for (size_t i = 0; i < len; i++) {
        expect((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
        digits = text[i] >= '0' && text[i] <= '9' ? digits + 1 : 0;
        expect(digits < 7);
    }
}

static bool
refuses(const struct provider_table *t, const struct http_result *r)
{
    json_t *root = json_loadb(r->body, r->body_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool yes = json_is_false(answer_find(root, t->verdict));
    json_decref(root);
    return yes && !r->truncated;
}

static void
check_upload(const struct provider_table *t, const struct http_result *r)
{
    struct outcome o;
    provider_classify_upload(t, r, secret, &o);
    expect(o.class != OUTCOME_UNKNOWN);
    expect(!o.provider_id[0] == (o.class != OUTCOME_SENT));
    expect(o.code[0] && !strstr(o.code, secret));
    check_text(o.text, sizeof o.text);
}

static void
check_state(const struct provider_table *t, const struct http_result *r)
{
    char text[200];
    enum device_state state = provider_state_of(t, r, secret, text, sizeof text);
    expect(state == DEVICE_UNKNOWN || (r->end == HTTP_ANSWERED && !r->truncated));
    check_text(text, sizeof text);
}

static void
check(const struct provider_table *t, const struct http_result *r, int attempt)
{
    struct outcome o, again;
    provider_classify(t, r, attempt, secret, &o);
    provider_classify(t, r, attempt, secret, &again);
    expect(o.class == again.class && o.scope == again.scope && !strcmp(o.code, again.code) &&
           !strcmp(o.text, again.text) && !strcmp(o.provider_id, again.provider_id));
    bool answered = r->end == HTTP_ANSWERED, good = r->status >= 200 && r->status <= 299;
    expect(o.retry_after_ms >= 0 && o.retry_after_ms <= 86400000);
    expect(o.class != OUTCOME_SENT || (answered && good));
    /* What may have been accepted is never sent again: a provider that refuses with a status of
     * success has said so in its `verdict`. */
    expect(!answered || !good || o.class == OUTCOME_SENT || o.class == OUTCOME_UNKNOWN ||
           (t->verdict && refuses(t, r)));
    expect(answered || o.class == (r->started ? OUTCOME_UNKNOWN : OUTCOME_NOT_SENT));
    expect(!o.provider_id[0] || o.class == OUTCOME_SENT);
    expect(o.code[0] && strlen(o.code) < sizeof o.code && !strstr(o.code, secret));
    for (const char *p = o.code; *p; p++) {
        expect(*p > 0);
    }
    check_text(o.text, sizeof o.text);
    expect(pace_verdict(&o, true).hold_ms >= 0);
    if (answered) {
        const struct provider_rule *rule = provider_rule_of(t, r);
        expect(rule >= t->rules && rule < t->rules + t->n_rules);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    struct http_result r = {.started = true, .status = 100 + (data[0] * 256 + data[1]) % 500};
    r.end = data[2] & 8 ? (enum http_end)(data[2] >> 4 & 7) % (HTTP_CLOSED + 1) : HTTP_ANSWERED;
    r.started = !(data[2] & 1) || r.end == HTTP_ANSWERED;
    r.truncated = (data[2] & 2) != 0;
    char *copy = xmalloc(size - 2); /* as from http.c, with a NUL behind the body */
    memcpy(copy, data + 3, size - 3);
    copy[size - 3] = '\0';
    const char *at = copy, *end = copy + size - 3;
    (void)take_line(&at, end, r.retry_after, sizeof r.retry_after);
    (void)take_line(&at, end, r.date, sizeof r.date);
    (void)take_line(&at, end, r.extra, sizeof r.extra);
    r.body = at;
    r.body_len = (size_t)(end - at);
    (void)snprintf(r.code, sizeof r.code, "%d", r.status);
    for (const struct provider_table *const *t = provider_tables; *t; t++) {
        check(*t, &r, 1 + (data[2] >> 2 & 1));
        check_upload(*t, &r);
        check_state(*t, &r);
    }
    free(copy);
    return 0;
}
