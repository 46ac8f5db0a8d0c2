#include "ctl/receipts_value.h"

#include "shared/civil.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
receipt_copy(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);
    if (n >= size) {
        n = size - 1;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    memcpy(out, text, n);
    out[n] = '\0';
}

/* Takes as many digits as there should be; -1 when there are fewer. */
static int
digits(const char **p, int n)
{
    int v = 0;
    for (; n; n--, ++*p) {
        if (!isdigit((unsigned char)**p)) {
            return -1;
        }
        v = 10 * v + (**p - '0');
    }
    return v;
}

/* "2025-07-18T22:44:20.5+08:00" -> seconds; -1 when it is none. */
static int64_t
rfc3339(const char *p)
{
    int year = digits(&p, 4), month = *p == '-' ? (p++, digits(&p, 2)) : -1;
    int day = *p == '-' ? (p++, digits(&p, 2)) : -1;
    if (*p == 'T' || *p == 't' || *p == ' ') {
        p++;
    }
    int hour = digits(&p, 2), minute = *p == ':' ? (p++, digits(&p, 2)) : -1;
    int second = *p == ':' ? (p++, digits(&p, 2)) : -1, offset = 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > civil_month_length(year, month) || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60) {
        return -1;
    }
    p += *p == '.' ? 1 + strspn(p + 1, "0123456789") : 0;
    if (*p == '+' || *p == '-') {
        int sign = *p++ == '-' ? -1 : 1, h = digits(&p, 2);
        p += *p == ':';
        int m = digits(&p, 2);
        offset = h < 0 || m < 0 ? 0 : sign * (h * 3600 + m * 60);
    }
    return (civil_days(year, month) + day - 1) * CIVIL_DAY + hour * 3600 + minute * 60 + second -
           offset;
}

int64_t
receipt_time_ms(const char *text)
{
    static const int64_t from_s = 1000000000, to_s = 4102444800;
    int64_t s = 0, ms = 0;
    if (*text && strspn(text, "0123456789") == strlen(text)) {
        int64_t n = strlen(text) < 15 ? strtoll(text, NULL, 10) : 0;
        s = n >= to_s ? n / 1000 : n;
        ms = n >= to_s ? n % 1000 : 0;
    } else {
        s = rfc3339(text);
    }
    return s > from_s && s < to_s ? s * 1000 + ms : 0;
}

void
receipt_phone(const char *text, char out[PHONE_SIZE])
{
    struct err ignored = {0};
    const char *at = strchr(text, '@');
    size_t n = strlen(text);
    if (at && strcmp(at, "@g.us") != 0) {
        if (strcmp(at, "@s.whatsapp.net") != 0 && strcmp(at, "@c.us") != 0) {
            *out = '\0';
            return;
        }
        n = strcspn(text, ":@");
    }
    if (!phone_normalise(text, n, NULL, out, &ignored)) {
        *out = '\0';
    }
}

void
receipt_callback(const char *text, struct receipt_event *ev)
{
    const char *colon = strrchr(text, ':');
    char *end;
    if (!colon || colon == text || colon - text >= JOB_ID_SIZE ||
        !isdigit((unsigned char)colon[1])) {
        return;
    }
    unsigned long attempt = strtoul(colon + 1, &end, 10);
    (void)snprintf(ev->job_id, sizeof ev->job_id, "%.*s", (int)(colon - text), text);
    if (*end || attempt < 1 || attempt > UINT16_MAX || !job_id_is_good(ev->job_id)) {
        *ev->job_id = '\0';
        return;
    }
    ev->attempt = (uint16_t)attempt;
}
