#include "shared/tz.h"

#include "shared/civil.h"
#include "shared/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_LIMIT = 64 * 1024, /* bytes; the longest of IANA's has under 4 KiB */
    NAME_LIMIT = 64,
    HEADER = 44, /* bytes, RFC 8536 section 3.1 */
    DAY = CIVIL_DAY,
    HOUR = 3600,
};
static const int64_t far = INT64_C(1) << 55;
static const int32_t min_offset = -89999, max_offset = 93599; /* RFC 8536 section 3.2 */

/* When daylight saving starts or ends, in the footer's words. */
struct rule {
    char form; /* 'J' day 1..365 without 29 February, 'D' day 0..365, 'M' week day of a month */
    int day;   /* J and D: day of the year; M: day of the week, 0 = Sunday */
    int month, week; /* M: week 5 is the last */
    int32_t time;    /* seconds after midnight, wall clock */
};

struct footer {
    bool present, has_dst;
    int32_t standard, daylight; /* seconds east */
    struct rule start, end;
};

struct tz {
    size_t n;             /* transitions */
    int64_t *at;          /* ascending */
    int32_t *offset;      /* in force from at[i] on */
    int32_t first;        /* in force before at[0] */
    struct footer footer; /* for what follows the last transition */
};

/* --- the footer's rules
 * ------------------------------------------------------------------------------ */

/* The local second at which a rule strikes in a year. */
static int64_t
rule_at(const struct rule *r, int64_t year)
{
    int64_t day;
    if (r->form == 'M') {
        int64_t first = civil_days(year, r->month);
        day = first + (r->day - civil_weekday(first) + 7) % 7 + INT64_C(7) * (r->week - 1);
        bool too_far = day >= first + civil_month_length(year, r->month);
        day -= too_far ? 7 : 0; /* the fifth where there are four: the last */
    } else {
        day = civil_days(year, 1) + r->day;
        if (r->form == 'J') {
            bool after_february = r->day > 59;
            day = after_february ? civil_days(year, 3) + r->day - 60 : day - 1;
        }
    }
    return day * DAY + r->time;
}

/* The offset at s by the footer; *end is when it ends. */
static int32_t
footer_offset(const struct footer *f, int64_t s, int64_t *end)
{
    *end = INT64_MAX;
    if (!f->has_dst) {
        return f->standard;
    }
    /* The end before the start of each year: where daylight saving lasts all year, the one strikes
     * with the other, and the start then stands. */
    int64_t last = INT64_MIN, year = civil_date(civil_day_of(s)).year;
    int32_t offset = f->standard;
    for (int64_t y = year - 2; y <= year + 2; y++) { /* a rule's time may lie a week off its day */
        const struct {
            int64_t at;
            int32_t offset;
        } turns[] = {{rule_at(&f->end, y) - f->daylight, f->standard},
                     {rule_at(&f->start, y) - f->standard, f->daylight}};
        for (size_t i = 0; i < 2; i++) {
            if (turns[i].at > s) {
                *end = turns[i].at < *end ? turns[i].at : *end;
            } else if (turns[i].at >= last) {
                last = turns[i].at;
                offset = turns[i].offset;
            }
        }
    }
    return offset;
}

/* A cursor over the footer's text; each reader returns false when what it expects is not there. */
static bool
read_char(const char **p, char c)
{
    bool ok = **p == c;
    *p += ok;
    return ok;
}

static bool
read_number(const char **p, int min, int max, int *ret)
{
    int v = 0, digits = 0;
    for (; **p >= '0' && **p <= '9' && digits < 4; ++*p, digits++) {
        v = v * 10 + (**p - '0');
    }
    *ret = v;
    return digits > 0 && min <= v && v <= max;
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static bool
read_time(const char **p, int max_hours, int32_t *ret)
{
    bool minus = read_char(p, '-');
    int hours, minutes = 0, seconds = 0;
    if (!minus) {
        (void)read_char(p, '+');
    }
    if (!read_number(p, 0, max_hours, &hours)) {
        return false;
    }
    if (read_char(p, ':')) {
        if (!read_number(p, 0, 59, &minutes)) {
            return false;
        }
        if (read_char(p, ':') && !read_number(p, 0, 59, &seconds)) {
            return false;
        }
    }
    *ret = (hours * HOUR + minutes * 60 + seconds) * (minus ? -1 : 1);
    return true;
}

/* "EST" or "<+1030>": of no interest, but it must be there. */
static bool
read_zone_name(const char **p)
{
    bool quoted = read_char(p, '<');
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    size_t n = strspn(*p, letters);
    if (!quoted) {
        n = strcspn(*p, "0123456789+-,");
        n = n <= strspn(*p, letters) ? n : 0;
    }
    *p += n;
    return n >= 3 && (!quoted || read_char(p, '>'));
}

/* ",M3.2.0/2", ",J60" or ",59". */
static bool
read_rule(const char **p, struct rule *r)
{
    *r = (struct rule){.form = 'D', .time = 2 * HOUR};
    if (!read_char(p, ',')) {
        return false;
    }
    bool ok;
    if (read_char(p, 'M')) {
        r->form = 'M';
        ok = read_number(p, 1, 12, &r->month) && read_char(p, '.') &&
             read_number(p, 1, 5, &r->week) && read_char(p, '.') && read_number(p, 0, 6, &r->day);
    } else if (read_char(p, 'J')) {
        r->form = 'J';
        ok = read_number(p, 1, 365, &r->day);
    } else {
        ok = read_number(p, 0, 365, &r->day);
    }
    return ok && (!read_char(p, '/') || read_time(p, 167, &r->time));
}

/* POSIX TZ with the extension of RFC 8536 section 3.3.1; an empty one says nothing. */
static bool
read_footer(const char *p, struct footer *f)
{
    *f = (struct footer){.present = *p != '\0'};
    if (!f->present) {
        return true;
    }
    if (!read_zone_name(&p) || !read_time(&p, 24, &f->standard)) {
        return false;
    }
    f->standard = -f->standard; /* POSIX counts westward */
    if (!*p) {
        return true;
    }
    f->has_dst = true;
    f->daylight = f->standard + HOUR;
    if (!read_zone_name(&p)) {
        return false;
    }
    if (*p != ',') {
        if (!read_time(&p, 24, &f->daylight)) {
            return false;
        }
        f->daylight = -f->daylight;
    }
    return read_rule(&p, &f->start) && read_rule(&p, &f->end) && !*p;
}

/* --- the file
 * ---------------------------------------------------------------------------------------- */

static int64_t
big_endian(const unsigned char *p, size_t size)
{
    uint64_t v = size == 4 && (p[0] & 0x80) ? UINT64_MAX : 0; /* carries the sign on */
    for (size_t i = 0; i < size; i++) {
        v = v << 8 | p[i];
    }
    return (int64_t)v;
}

/* A header and its data block, RFC 8536 sections 3.1 and 3.2. */
struct block {
    size_t isut, isstd, leap, time, type, chars; /* counts */
    size_t time_size;                            /* bytes of a time: 4 or 8 */
    const unsigned char *data;
    size_t size;
};

static bool
read_block(const unsigned char *p, size_t n, size_t time_size, struct block *b)
{
    if (n < HEADER || memcmp(p, "TZif", 4) != 0) {
        return false;
    }
    size_t counts[6];
    for (size_t i = 0; i < 6; i++) {
        int64_t v = big_endian(p + 20 + 4 * i, 4);
        if (v < 0 || v > FILE_LIMIT) {
            return false;
        }
        counts[i] = (size_t)v;
    }
    *b = (struct block){counts[0], counts[1], counts[2],  counts[3], counts[4],
                        counts[5], time_size, p + HEADER, 0};
    b->size = b->time * (time_size + 1) + b->type * 6 + b->chars + b->leap * (time_size + 4) +
              b->isstd + b->isut;
    return b->size <= n - HEADER;
}

/* The offset of a local time type; false when the type is malformed. */
static bool
read_type(const struct block *b, size_t i, int32_t *ret)
{
    if (i >= b->type) {
        return false;
    }
    const unsigned char *p = b->data + b->time * (b->time_size + 1) + i * 6;
    int64_t v = big_endian(p, 4);
    *ret = (int32_t)v;
    return v >= min_offset && v <= max_offset && p[4] <= 1 && p[5] < b->chars;
}

static bool
read_data(const struct block *b, struct tz *z)
{
    bool counts_fit = b->type <= 256 && (b->isut == 0 || b->isut == b->type) &&
                      (b->isstd == 0 || b->isstd == b->type);
    if (!counts_fit || !read_type(b, 0, &z->first)) {
        return false;
    }
    z->n = b->time;
    z->at = xcalloc(z->n, sizeof *z->at);
    z->offset = xcalloc(z->n, sizeof *z->offset);
    for (size_t i = 0; i < z->n; i++) {
        z->at[i] = big_endian(b->data + i * b->time_size, b->time_size);
        size_t type = b->data[b->time * b->time_size + i];
        if (!read_type(b, type, &z->offset[i]) || (i && z->at[i] <= z->at[i - 1])) {
            return false;
        }
    }
    return true;
}

/* Reads the whole file; NULL or what is wrong with it. */
static const char *
read_file(const unsigned char *p, size_t n, struct tz *z)
{
    struct block b;
    if (!read_block(p, n, 4, &b)) {
        return "no TZif file, or cut short";
    }
    if (p[4]) { /* version 2 and later: the same again with 64-bit times, and a footer */
        size_t skip = HEADER + b.size;
        if (!read_block(p + skip, n - skip, 8, &b)) {
            return "its second part is malformed or cut short";
        }
        const unsigned char *end = p + n, *text = b.data + b.size;
        const unsigned char *close =
            end - text > 1 ? memchr(text + 1, '\n', (size_t)(end - text - 1)) : NULL;
        if (!close || *text != '\n') {
            return "its footer is missing";
        }
        char *footer = xstrndup((const char *)text + 1, (size_t)(close - text - 1));
        bool ok = read_footer(footer, &z->footer);
        free(footer);
        if (!ok) {
            return "its footer is malformed";
        }
    }
    if (b.leap) {
        return "it counts leap seconds";
    }
    return read_data(&b, z) ? NULL : "its transitions are malformed";
}

bool
tz_parse(const unsigned char *data, size_t n, struct tz **ret, struct err *e)
{
    struct tz *z = xcalloc(1, sizeof *z);
    *ret = NULL;
    const char *wrong = n > FILE_LIMIT ? "too long" : read_file(data, n, z);
    if (wrong) {
        tz_free(z);
        return err_set(e, ERR_INPUT, "malformed time zone: %s", wrong);
    }
    *ret = z;
    return true;
}

void
tz_free(struct tz *z)
{
    if (z) {
        free(z->at);
        free(z->offset);
        free(z);
    }
}

static bool
is_name(const char *name)
{
    size_t n = strlen(name);
    return n && n <= NAME_LIMIT && name[0] != '/' && name[n - 1] != '/' && !strstr(name, "..") &&
           !strstr(name, "//") &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/.") == n;
}

bool
tz_load(const char *name, struct tz **ret, struct err *e)
{
    const char *own = getenv("PACELINE_TZDIR");
    const char *const folders[] = {own ? own : "", "/usr/share/zoneinfo"};
    *ret = NULL;
    if (!is_name(name)) {
        return err_set(e, ERR_INPUT,
                       "not a time zone's name (write one such as Asia/Kuala_Lumpur)");
    }
    if (strcmp(name, "UTC") == 0) {
        *ret = xcalloc(1, sizeof **ret);
        return true;
    }
    FILE *f = NULL;
    for (size_t i = 0; i < 2 && !f; i++) {
        char *path = xasprintf("%s/%s", folders[i], name);
        f = *folders[i] ? fopen(path, "re") : NULL;
        free(path);
    }
    if (!f) {
        return err_set(e, ERR_INPUT, "%s: no such time zone (is the package tzdata installed?)",
                       name);
    }
    unsigned char *data = xmalloc(FILE_LIMIT + 1);
    size_t n = fread(data, 1, FILE_LIMIT + 1, f);
    bool ok = ferror(f) ? err_set(e, ERR_INPUT, "no readable file") : tz_parse(data, n, ret, e);
    (void)fclose(f);
    free(data);
    return ok || err_wrap(e, "%s", name);
}

/* --- answers
 * ----------------------------------------------------------------------------------------- */

/* The offset in force at s, and when it ends. */
static int32_t
segment_at(const struct tz *z, int64_t s, int64_t *end)
{
    size_t low = 0, high = z->n; /* how many transitions are not after s */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->at[middle] <= s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *end = low < z->n ? z->at[low] : INT64_MAX;
    if (low == z->n && z->footer.present) {
        return footer_offset(&z->footer, s, end);
    }
    return low ? z->offset[low - 1] : z->first;
}

static int64_t
bounded(int64_t s)
{
    return s > far ? far : s < -far ? -far : s;
}

int32_t
tz_offset_at(const struct tz *z, int64_t utc_s)
{
    int64_t end;
    return segment_at(z, bounded(utc_s), &end);
}

int32_t
tz_offset_until(const struct tz *z, int64_t utc_s, int64_t *end)
{
    return segment_at(z, bounded(utc_s), end);
}

int64_t
tz_local_to_utc(const struct tz *z, int64_t local_s)
{
    int64_t local = bounded(local_s), start = local - max_offset, end;
    for (int32_t before = 0;;) {
        int32_t offset = segment_at(z, start, &end);
        int64_t utc = local - offset;
        if (utc < start) {
            return local - before; /* between two segments: the clock left it out */
        }
        if (utc < end) {
            return utc;
        }
        before = offset;
        start = end;
    }
}
