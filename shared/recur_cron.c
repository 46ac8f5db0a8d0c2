#include "shared/recur_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELDS = 5, MINUTE = 0, HOUR, DAY_OF_MONTH, MONTH, WEEKDAY };

static const struct field {
    const char *name;
    int min, max;
    const char *names; /* of three letters each, from 0 */
} fields[FIELDS] = {
    {"minute", 0, 59, ""},
    {"hour", 0, 23, ""},
    {"day of month", 1, 31, ""},
    {"month", 1, 12, "---janfebmaraprmayjunjulaugsepoctnovdec"},
    {"day of week", 0, 7, "sunmontuewedthufrisat"},
};

struct cron {
    const char *text;
    struct err *e;
    struct recur_item field[FIELDS];
};

static bool
refuse(const struct cron *c, int i, const struct recur_item *item, const char *why)
{
    return err_set(c->e, ERR_INPUT, "cron: field %d (%s), character %d: '%.*s': %s", i + 1,
                   fields[i].name, item->at, (int)(item->n < 40 ? item->n : 40), item->s, why);
}

/* What other dialects have and this one has not, and how to say it here; NULL for none. */
static const char *
dialect(int i, const struct recur_item *item)
{
    bool day = i == DAY_OF_MONTH, weekday = i == WEEKDAY;
    if (memchr(item->s, '?', item->n)) {
        return "'?' is not supported; write * for any";
    }
    if (memchr(item->s, '#', item->n)) {
        return "'#' is not supported; name days of the week (mon), or days of the month (1-7)";
    }
    if (day && strncasecmp(item->s, "L", 1) == 0) {
        return "'L' is not supported; for the last day use a monthly rule with month_days -1";
    }
    if (weekday && item->n > 1 && strchr("Ll", item->s[item->n - 1])) {
        return "'L' is not supported; name days of the week (fri), or days of the month (25-31)";
    }
    if (weekday && item->n == 1 && strchr("Ll", *item->s)) {
        return "'L' is not supported; write sat";
    }
    if (day && strchr("Ww", item->s[item->n - 1])) {
        return "'W' is not supported; name the day itself, or days of the week";
    }
    if (memchr(item->s, '~', item->n) || strncasecmp(item->s, "H", 1) == 0) {
        return "random times are not supported; write a number";
    }
    return NULL;
}

static bool
read_value(int i, const char *s, size_t n, int *ret)
{
    const struct field *f = &fields[i];
    for (const char *name = f->names; n == 3 && *name; name += 3) {
        if (strncasecmp(s, name, 3) == 0 && *name != '-') {
            *ret = (int)(name - f->names) / 3;
            return true;
        }
    }
    return recur_number(s, n, ret);
}

static bool
add_range(const struct cron *c, int i, const struct recur_item *item, int low, int high, int step,
          uint64_t *set)
{
    const struct field *f = &fields[i];
    char why[120];
    if (i == WEEKDAY && high == 0 && low > 0) {
        high = 7; /* fri-sun */
    }
    if (low < f->min || low > f->max || high < f->min || high > f->max) {
        (void)snprintf(why, sizeof why, "not within %d-%d", f->min, f->max);
        return refuse(c, i, item, why);
    }
    if (low > high) {
        (void)snprintf(why, sizeof why, "a range ascends; write %d-%d,%d-%d", low,
                       f->max - (f->max == 7), f->min, high);
        return refuse(c, i, item, why);
    }
    if (step < 1 || (step > 1 && step > high - low)) {
        (void)snprintf(why, sizeof why, "a step here is from 1 to %d", high > low ? high - low : 1);
        return refuse(c, i, item, why);
    }
    for (int v = low; v <= high; v += step) {
        *set |= UINT64_C(1) << v;
    }
    return true;
}

/* "*", "5", "mon-fri", "0-30/10", "*" with a step. */
static bool
read_item(const struct cron *c, int i, const struct recur_item *item, uint64_t *set)
{
    const char *end = item->s + item->n, *slash = memchr(item->s, '/', item->n);
    const char *range_end = slash ? slash : end;
    const char *dash = memchr(item->s, '-', (size_t)(range_end - item->s));
    int low = fields[i].min, high = fields[i].max, step = 1;
    const char *other = item->n ? dialect(i, item) : NULL;
    if (other) {
        return refuse(c, i, item, other);
    }
    if (slash && !recur_number(slash + 1, (size_t)(end - slash - 1), &step)) {
        return refuse(c, i, item, "behind / stands a number");
    }
    if (range_end == item->s + 1 && *item->s == '*') {
        high -= i == WEEKDAY; /* Sunday once, or a step would count it anew */
    } else {
        const char *low_end = dash ? dash : range_end;
        bool ok = read_value(i, item->s, (size_t)(low_end - item->s), &low);
        high = low;
        ok = ok && (!dash || read_value(i, dash + 1, (size_t)(range_end - dash - 1), &high));
        if (!ok) {
            return refuse(c, i, item,
                          *fields[i].names
                              ? "write numbers or names, like 1, 1-5, */2, or names of "
                                "three letters"
                              : "write numbers, like 5, 1-5, 0,30 or */15");
        }
        if (slash && !dash) {
            return refuse(c, i, item, "a step needs a range or *, like 5-59/15");
        }
    }
    return add_range(c, i, item, low, high, step, set);
}

static bool
read_field(const struct cron *c, int i, uint64_t *set)
{
    const struct recur_item *field = &c->field[i];
    char *text = xstrndup(field->s, field->n);
    const char *p = text;
    struct recur_item item;
    bool ok = true;
    *set = 0;
    while (ok && recur_item(text, &p, ',', &item)) {
        item.at += field->at - 1;
        ok = read_item(c, i, &item, set);
    }
    free(text);
    return ok;
}

static bool
refuse_nickname(const char *text, struct err *e)
{
    static const char *const known[][2] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcasecmp(text, known[i][0]) == 0) {
            return err_set(e, ERR_INPUT, "cron: %s is not supported; write %s", known[i][0],
                           known[i][1]);
        }
    }
    return err_set(e, ERR_INPUT,
                   "cron: '%.40s' is not supported; write 5 fields, like 0 9 * * mon-fri", text);
}

static bool
split(const char *text, struct cron *c)
{
    static const char blanks[] = " \t";
    int n = 0;
    for (const char *p = text + strspn(text, blanks); *p; p += strspn(p, blanks)) {
        size_t length = strcspn(p, blanks);
        if (n < FIELDS) {
            c->field[n] = (struct recur_item){p, length, (int)(p - text) + 1};
        }
        n++;
        p += length;
    }
    if (n == FIELDS) {
        return true;
    }
    return err_set(c->e, ERR_INPUT,
                   "cron: this has %d fields; 5 are needed: minute, hour, day of month, month, day "
                   "of week%s",
                   n,
                   n == FIELDS + 1   ? " (seconds are not supported: leave the first out)"
                   : n == FIELDS + 2 ? " (seconds and years are not supported: leave the first and "
                                       "the last out)"
                                     : "");
}

bool
recur_cron_parse(const char *text, struct recur *r, struct err *e)
{
    struct cron c = {.text = text, .e = e};
    uint64_t set[FIELDS];
    const char *word = text + strspn(text, " \t");
    if (*word == '@') {
        return refuse_nickname(word, e);
    }
    if (!split(text, &c)) {
        return false;
    }
    for (int i = 0; i < FIELDS; i++) {
        if (!read_field(&c, i, &set[i])) {
            return false;
        }
    }
    r->month_days = (uint32_t)set[DAY_OF_MONTH];
    r->months = (uint32_t)set[MONTH];
    r->weekdays = (uint32_t)(set[WEEKDAY] & 127) | (set[WEEKDAY] >> 7 ? 1u : 0);
    /* Restricted is, as in cron(8), what does not begin with a star. */
    r->either = *c.field[DAY_OF_MONTH].s != '*' && *c.field[WEEKDAY].s != '*';
    r->clock = set[HOUR] == (UINT64_C(1) << 24) - 1;
    for (int32_t minute = 0; minute < 24 * 60; minute++) {
        if (set[HOUR] >> minute / 60 & set[MINUTE] >> minute % 60 & 1) {
            recur_add_time(r, minute * 60);
        }
    }
    return true;
}
