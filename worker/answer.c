/* What the classifiers of answers share: reading values out of JSON, Retry-After, sentences. */
#include "worker/answer.h"

#include "shared/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

json_t *
answer_find(json_t *root, const char *pointer)
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

bool
answer_scalar(const json_t *v, char *ret, size_t size)
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
answer_retry_after(const char *value, const char *date, int64_t now_ms, int64_t *ret_ms)
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

void
answer_tidy(char *text)
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

void
answer_missing(const struct http_result *r, struct outcome *ret)
{
    bool ours = r->end == HTTP_STALE || r->end == HTTP_CLOSED;
    if (r->started) {
        ret->class = OUTCOME_UNKNOWN;
        ret->scope = ours ? SCOPE_MESSAGE : SCOPE_DEVICE;
    } else {
        ret->class = OUTCOME_NOT_SENT;
        ret->scope = ours ? SCOPE_MESSAGE : SCOPE_ENDPOINT;
    }
    (void)snprintf(ret->code, sizeof ret->code, "%s", r->code);
    (void)snprintf(ret->text, sizeof ret->text, "%s", r->text);
}
