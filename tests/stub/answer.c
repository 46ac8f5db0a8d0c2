#include "tests/stub/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TRUNCATED_BY = 64 }; /* bytes that a truncated answer promises and does not send */

static const char *
reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Status";
}

/* The usual body, in text unless the action brings its own. */
static const char *
body_of(const struct action *a, uint64_t serial, char *text, size_t size)
{
    switch (a->kind) {
    case ACTION_GARBAGE:
        return "%% provider error: <html><b>oops\n";
    case ACTION_WRONG_TYPE:
        return "[\"accepted\",42,null]";
    case ACTION_THROTTLE:
        return "{\"error\":{\"code\":429,\"message\":\"slow down\"}}";
    case ACTION_STATUS:
        if (a->body) {
            return a->body;
        }
        if (a->status >= 300) {
            (void)snprintf(text, size, "{\"error\":{\"code\":%d,\"message\":\"refused by rule\"}}",
                           a->status);
            return text;
        }
        break;
    case ACTION_OK:
    case ACTION_LATE:
    case ACTION_NEVER:
    case ACTION_TRUNCATED:
    case ACTION_HUGE:
    case ACTION_DRIBBLE:
    case ACTION_SLOW_HEADERS:
    case ACTION_RESET_AFTER:
    case ACTION_RESET_BEFORE:
    case ACTION_CLOSE_AFTER_READ:
        break;
    }
    (void)snprintf(text, size, "{\"id\":\"stub-%" PRIu64 "\",\"status\":\"accepted\"}", serial);
    return text;
}

struct answer
answer_add(struct buf *out, const struct action *a, uint64_t serial, bool keep)
{
    char text[128];
    const char *body = body_of(a, serial, text, sizeof text);
    size_t n = strlen(body), declared = n, start = out->len;
    struct answer answer = {.close = !keep};
    if (a->kind == ACTION_TRUNCATED) {
        declared += TRUNCATED_BY;
        answer.close = true;
    } else if (a->kind == ACTION_HUGE) {
        declared = ANSWER_HUGE;
        answer.filler = declared - n;
    }
    buf_addf(out, "HTTP/1.1 %d %s\r\n", a->status, reason(a->status));
    if (a->kind == ACTION_THROTTLE) {
        buf_addf(out, "Retry-After: %d\r\n", a->number);
    }
    if (!keep) {
        buf_adds(out, "Connection: close\r\n");
    }
    /* RFC 9110 8.6: these two have no body and do not speak of its length. */
    bool bodyless = a->status == 204 || a->status == 304;
    if (bodyless) {
        n = 0;
    } else {
        buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", declared);
    }
    buf_adds(out, "\r\n");
    answer.head = out->len - start;
    buf_add(out, body, n);
    return answer;
}

void
answer_continue(struct buf *out)
{
    buf_adds(out, "HTTP/1.1 100 Continue\r\n\r\n");
}

void
answer_json_string(struct buf *out, const char *s)
{
    buf_adds(out, "\"");
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p == '"' || *p == '\\') {
            buf_addf(out, "\\%c", *p);
        } else if (*p < 0x20) {
            buf_addf(out, "\\u%04x", *p);
        } else {
            buf_add(out, p, 1);
        }
    }
    buf_adds(out, "\"");
}
