#include "shared/civil.h"
#include "shared/recur_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CENTURY_DAYS = 36525, FIRST_YEAR = 1970, LAST_YEAR = 9999, SHOWN = 40 };

static bool
set(const char *text)
{
    return text && *text;
}

/* --- lists, numbers, names
 * ---------------------------------------------------------------------------------- */

bool
recur_item(const char *text, const char **p, char separator, struct recur_item *ret)
{
    if (!*p) {
        return false;
    }
    const char *s = *p + strspn(*p, " \t"), *end = strchr(s, separator);
    *p = end ? end + 1 : NULL;
    end = end ? end : s + strlen(s);
    ret->s = s;
    ret->at = (int)(s - text) + 1;
    for (ret->n = (size_t)(end - s); ret->n && strchr(" \t", s[ret->n - 1]); ret->n--) {
    }
    return true;
}

bool
recur_number(const char *s, size_t n, int *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n && i < 9; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        *ret = *ret * 10 + (s[i] - '0');
    }
    return n > 0 && n <= 9;
}

int
recur_weekday(const char *s, size_t n)
{
    static const char names[] = "sunmontuewedthufrisat";
    for (int i = 0; n == 3 && i < 7; i++) {
        if (strncasecmp(s, names + 3 * i, 3) == 0) {
            return i;
        }
    }
    return -1;
}

static bool
refuse_item(struct err *e, const char *member, const struct recur_item *item, const char *cure)
{
    return err_set(e, ERR_INPUT, "%s: character %d: '%.*s' %s", member, item->at,
                   (int)(item->n < SHOWN ? item->n : SHOWN), item->s, cure);
}

void
recur_add_time(struct recur *r, int32_t s)
{
    size_t i = r->n_times;
    while (i && r->times[i - 1] >= s) {
        i--;
    }
    if (i < r->n_times && r->times[i] == s) {
        return;
    }
    VEC_GROW(r->times, r->n_times, r->times_cap);
    memmove(r->times + i + 1, r->times + i, (r->n_times - i) * sizeof *r->times);
    r->times[i] = s;
    r->n_times++;
}

/* --- dates and times
 * -------------------------------------------------------------------------------------- */

/* "09:00" or "09:00:30" in seconds. */
static bool
read_time(const char *s, size_t n, int32_t *ret)
{
    int hours, minutes, seconds = 0;
    bool ok = (n == 5 || n == 8) && s[2] == ':' && recur_number(s, 2, &hours) &&
              recur_number(s + 3, 2, &minutes) &&
              (n == 5 || (s[5] == ':' && recur_number(s + 6, 2, &seconds)));
    if (!ok || hours > 23 || minutes > 59 || seconds > 59) {
        return false;
    }
    *ret = hours * 3600 + minutes * 60 + seconds;
    return true;
}

/* "2026-11-26" in days. */
static bool
read_date(const char *s, size_t n, int64_t *ret)
{
    int year, month, day;
    if (n != 10 || s[4] != '-' || s[7] != '-' || !recur_number(s, 4, &year) ||
        !recur_number(s + 5, 2, &month) || !recur_number(s + 8, 2, &day)) {
        return false;
    }
    if (year < FIRST_YEAR || month < 1 || month > 12 || day < 1 ||
        day > civil_month_length(year, month)) {
        return false;
    }
    *ret = civil_days(year, month) + day - 1;
    return true;
}

/* When the clock first shows local or more. */
static int64_t
reach(const struct tz *z, int64_t local)
{
    int64_t at = tz_local_to_utc(z, local) - RECUR_WINDOW, end;
    for (;; at = end) {
        int64_t utc = local - tz_offset_until(z, at, &end);
        if (utc < end) {
            return utc > at ? utc : at;
        }
    }
}

static bool
read_start(const struct recur_text *t, struct recur *r, struct err *e)
{
    size_t n = set(t->start) ? strlen(t->start) : 0;
    int64_t days;
    int32_t time = 0;
    bool with_time = n > 11 && strchr(" T", t->start[10]);
    if (!n || !read_date(t->start, with_time ? 10 : n, &days) ||
        (with_time && !read_time(t->start + 11, n - 11, &time))) {
        return err_set(e, ERR_INPUT,
                       "start: '%.40s' is no date from 1970 on; write it like 2026-11-26 or "
                       "2026-11-26 09:00",
                       n ? t->start : "");
    }
    r->start_local = days * CIVIL_DAY + time;
    r->start_utc = tz_local_to_utc(r->zone, r->start_local);
    r->begin_utc = reach(r->zone, r->start_local);
    return true;
}

static bool
read_end(const struct recur_text *t, struct recur *r, struct err *e)
{
    int64_t days = civil_days(LAST_YEAR, 12) + 30;
    if (set(t->end_date)) {
        if (!read_date(t->end_date, strlen(t->end_date), &days)) {
            return err_set(e, ERR_INPUT,
                           "end_date: '%.40s' is no date from 1970 on; write it like 2026-12-31",
                           t->end_date);
        }
        if (days < civil_day_of(r->start_local)) {
            return err_set(e, ERR_INPUT,
                           "end_date: %s is before the start, %.10s; write a later one, or none",
                           t->end_date, t->start);
        }
    }
    r->end_local = (days + 1) * CIVIL_DAY;
    r->end_utc = reach(r->zone, r->end_local);
    return true;
}

/* --- members
 * ---------------------------------------------------------------------------------------------- */

static bool
read_word(const char *member, const char *text, const char *const *words, int *ret, struct err *e)
{
    struct buf all = {0};
    for (*ret = 0; words[*ret]; ++*ret) {
        if (strcmp(text, words[*ret]) == 0) {
            buf_done(&all);
            return true;
        }
        buf_addf(&all, "%s%s", *ret ? ", " : "", words[*ret]);
    }
    (void)err_set(e, ERR_INPUT, "%s: '%.40s' is none of %s", member, text, all.data);
    buf_done(&all);
    return false;
}

/* A member that another kind of rule has would be left unheard: it is a mistake. */
static bool
check_members(const struct recur_text *t, const struct recur *r, struct err *e)
{
    bool cron = r->freq == RECUR_CRON, interval = r->freq == RECUR_INTERVAL;
    const struct {
        const char *name, *text;
        bool allowed;
        const char *whose;
    } members[] = {
        {"weekdays", t->weekdays, r->freq == RECUR_WEEKLY, "weekly"},
        {"month_days", t->month_days, r->freq == RECUR_MONTHLY, "monthly"},
        {"at", t->at, !cron && !interval, "daily, weekly or monthly"},
        {"cron", t->cron, cron, "cron"},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (set(members[i].text) && !members[i].allowed) {
            return err_set(e, ERR_INPUT, "%s: only a %s rule has it, this one is %s; leave it out",
                           members[i].name, members[i].whose, t->freq);
        }
    }
    return true;
}

static bool
read_every(const struct recur_text *t, struct recur *r, struct err *e)
{
    static const struct {
        const char *what;
        int64_t max;
    } units[] = {{"days", CENTURY_DAYS},
                 {"weeks", CENTURY_DAYS / 7},
                 {"months", 1200},
                 {"seconds", INT64_C(86400) * CENTURY_DAYS},
                 {NULL, 1}};
    r->every = t->every;
    if (r->freq == RECUR_CRON) {
        return t->every == 0 || t->every == 1 ||
               err_set(e, ERR_INPUT, "every: a cron rule has none; write steps into it, like */2");
    }
    return (t->every >= 1 && t->every <= units[r->freq].max) ||
           err_set(e, ERR_INPUT, "every: %" PRId64 " %s; it is from 1 to %" PRId64, t->every,
                   units[r->freq].what, units[r->freq].max);
}

static bool
read_weekdays(const char *text, struct recur *r, struct err *e)
{
    struct recur_item item;
    for (const char *p = text; recur_item(text, &p, ',', &item);) {
        int day = recur_weekday(item.s, item.n);
        if (day < 0) {
            return refuse_item(e, "weekdays", &item,
                               "is none of mon, tue, wed, thu, fri, sat, sun");
        }
        r->weekdays |= 1u << day;
    }
    return true;
}

static bool
read_month_days(const char *text, struct recur *r, struct err *e)
{
    struct recur_item item;
    for (const char *p = text; recur_item(text, &p, ',', &item);) {
        int day;
        bool minus = item.n && *item.s == '-';
        if (!recur_number(item.s + minus, item.n - minus, &day) || day < 1 || day > 31) {
            return refuse_item(e, "month_days", &item,
                               "is no day of a month; write 1 to 31, or -1 for the last day, -2 "
                               "for the one before");
        }
        *(minus ? &r->back_days : &r->month_days) |= 1u << day;
    }
    return true;
}

static bool
read_at(const char *text, struct recur *r, struct err *e)
{
    struct recur_item item;
    for (const char *p = text; recur_item(text, &p, ',', &item);) {
        int32_t time;
        if (!read_time(item.s, item.n, &time)) {
            return refuse_item(e, "at", &item,
                               "is no time of the day; write 00:00 to 23:59, as in 09:00,17:30");
        }
        recur_add_time(r, time);
    }
    return true;
}

static bool
read_calendar(const struct recur_text *t, struct recur *r, struct err *e)
{
    int64_t start_day = civil_day_of(r->start_local);
    if (!check_members(t, r, e) || !read_every(t, r, e)) {
        return false;
    }
    if (r->freq == RECUR_INTERVAL) {
        return true;
    }
    if (r->freq == RECUR_CRON) {
        return set(t->cron) ? recur_cron_parse(t->cron, r, e)
                            : err_set(e, ERR_INPUT,
                                      "cron: a cron rule needs one; write 5 fields, like 0 9 * * "
                                      "mon-fri");
    }
    r->weekdays = set(t->weekdays) ? 0 : 1u << civil_weekday(start_day);
    r->month_days = set(t->month_days) ? 0 : 1u << civil_date(start_day).day;
    if (!set(t->at)) {
        recur_add_time(r, (int32_t)(r->start_local - start_day * CIVIL_DAY));
    }
    return (!set(t->weekdays) || read_weekdays(t->weekdays, r, e)) &&
           (!set(t->month_days) || read_month_days(t->month_days, r, e)) &&
           (!set(t->at) || read_at(t->at, r, e));
}

static bool
read_policies(const struct recur_text *t, struct recur *r, struct err *e)
{
    static const char *const months[] = {"clamp", "skip", NULL}, *const gaps[] = {"shift", "skip",
                                                                                  NULL};
    int month = 0, gap = 0;
    if ((set(t->month_policy) && !read_word("month_policy", t->month_policy, months, &month, e)) ||
        (set(t->gap_policy) && !read_word("gap_policy", t->gap_policy, gaps, &gap, e))) {
        return false;
    }
    r->clamp = r->freq == RECUR_MONTHLY && month == 0;
    r->shift = gap == 0;
    return true;
}

/* --- the whole
 * -------------------------------------------------------------------------------------------- */

/* Whether anything is due within a century of the start, its own end aside or not. */
static bool
first_due(const struct recur *r, bool with_end, int64_t *ret)
{
    struct recur probe = *r;
    int64_t limit = r->start_local + INT64_C(86400) * CENTURY_DAYS;
    if (!with_end || limit < r->end_local) {
        probe.end_local = limit;
        probe.end_utc = reach(r->zone, limit);
    }
    return recur_next(&probe, r->begin_utc - 1, ret);
}

static bool
check_fires(const struct recur *r, struct err *e)
{
    int64_t first;
    if (first_due(r, true, &first)) {
        return true;
    }
    if (first_due(r, false, &first)) {
        int64_t local = first + tz_offset_at(r->zone, first), day = civil_day_of(local);
        struct civil d = civil_date(day);
        return err_set(e, ERR_INPUT,
                       "end_date: the first time would be %" PRId64
                       "-%02d-%02d, behind the end; write a later one, or none",
                       d.year, d.month, d.day);
    }
    if (r->freq == RECUR_CRON) {
        return err_set(e, ERR_INPUT,
                       "cron: this never fires: field 3 (day of month) and field 4 (month) name "
                       "no day that exists");
    }
    return err_set(e, ERR_INPUT,
                   "%s: this never fires within 100 years of the start; name days that exist%s",
                   r->freq == RECUR_MONTHLY ? "month_days" : "freq",
                   r->freq == RECUR_MONTHLY ? ", or write month_policy clamp" : "");
}

static bool
read_all(const struct recur_text *t, struct recur *r, struct err *e)
{
    static const char *const freqs[] = {"daily", "weekly", "monthly", "interval", "cron", NULL};
    int freq;
    if (!read_word("freq", t->freq ? t->freq : "", freqs, &freq, e)) {
        return false;
    }
    r->freq = (enum recur_freq)freq;
    if (!tz_load(t->zone ? t->zone : "", &r->zone, e)) {
        return err_wrap(e, "zone");
    }
    r->zone_name = xstrdup(t->zone);
    return read_start(t, r, e) && read_end(t, r, e) && read_calendar(t, r, e) &&
           read_policies(t, r, e) && check_fires(r, e);
}

bool
recur_parse(const struct recur_text *t, struct recur **ret, struct err *e)
{
    struct recur *r = xcalloc(1, sizeof *r);
    *ret = NULL;
    if (!read_all(t, r, e)) {
        recur_free(r);
        return false;
    }
    *ret = r;
    return true;
}
