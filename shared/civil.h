/* civil.h -- days and dates of the proleptic Gregorian calendar, without the C library's time zone.
 * Days count from 1970-01-01. */
#ifndef SHARED_CIVIL_H
#define SHARED_CIVIL_H

#include <stdint.h>

enum { CIVIL_DAY = 86400 }; /* seconds */

struct civil {
    int64_t year;
    int month, day; /* from 1 */
};

/* The first day of a month. */
int64_t civil_days(int64_t year, int month);
int civil_month_length(int64_t year, int month);
struct civil civil_date(int64_t days);

/* 0 is Sunday. */
int civil_weekday(int64_t days);

/* The day of a second, before 1970 too. */
int64_t civil_day_of(int64_t s);

#endif
