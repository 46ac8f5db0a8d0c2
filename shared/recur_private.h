/* recur_private.h -- a rule as the engine sees it, and what its files share. */
#ifndef SHARED_RECUR_PRIVATE_H
#define SHARED_RECUR_PRIVATE_H

#include "shared/recur.h"
#include "shared/tz.h"

enum recur_freq { RECUR_DAILY, RECUR_WEEKLY, RECUR_MONTHLY, RECUR_INTERVAL, RECUR_CRON };

/* Sets are bits: a weekday's is its number from 0 = Sunday, a day's and a month's from 1. */
struct recur {
    struct tz *zone;
    char *zone_name;
    enum recur_freq freq;
    int64_t every;
    uint32_t weekdays;
    uint32_t month_days, back_days; /* counted from the month's first and from its last day */
    uint32_t months;                /* cron */
    bool either;       /* cron: month_days or weekdays decide, where both are restricted */
    bool clock;        /* cron of every hour: follows the clock through both passes of an overlap */
    bool clamp, shift; /* of the policies */
    int32_t *times;    /* seconds of the day, ascending; not for intervals */
    size_t n_times, times_cap;
    int64_t start_local, start_utc;
    int64_t begin_utc;          /* when the clock first shows the start, or has passed it */
    int64_t end_local, end_utc; /* exclusive; the clock first shows what is behind the end */
};

/* How far a clock and UTC may lie apart, both ways together, and then some. */
enum { RECUR_WINDOW = 3 * 86400 };

/* The first time at or after local that a calendar rule names, whether or not the clock shows it.
 * False when there is none before the end. */
bool recur_nominal(const struct recur *r, int64_t local, int64_t *ret);

/* An item of a list, and where it stands: characters count from 1. */
struct recur_item {
    const char *s;
    size_t n;
    int at;
};

/* Cuts the next item off a list; text is where the list began.  Blanks around it are not its. */
bool recur_item(const char *text, const char **p, char separator, struct recur_item *ret);

/* A whole number without sign of at most 9 digits. */
bool recur_number(const char *s, size_t n, int *ret);

/* "mon" -> 1, in any case; -1 when it is none. */
int recur_weekday(const char *s, size_t n);

MUST_USE bool recur_cron_parse(const char *text, struct recur *r, struct err *e);
void recur_add_time(struct recur *r, int32_t s);

#endif
