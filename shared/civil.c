#include "shared/civil.h"

#include <stdbool.h>

int64_t
civil_days(int64_t year, int month)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int64_t y = year - 1, cycle = y / 400 - (y % 400 < 0); /* rounds down, for years before 1 too */
    y -= cycle * 400;
    return cycle * 146097 + y * 365 + y / 4 - y / 100 - 719162 + before[month - 1] +
           (leap && month > 2);
}

int
civil_month_length(int64_t year, int month)
{
    int64_t next = month < 12 ? civil_days(year, month + 1) : civil_days(year + 1, 1);
    return (int)(next - civil_days(year, month));
}

struct civil
civil_date(int64_t days)
{
    int64_t year = 1970 + days / 366; /* too low after 1970, too high before; then walk */
    year += (days - civil_days(year, 1)) / 366;
    while (civil_days(year, 1) > days) {
        year--;
    }
    while (civil_days(year + 1, 1) <= days) {
        year++;
    }
    int month = (int)(days - civil_days(year, 1)) / 31 + 1; /* right, or one too low */
    month += month < 12 && civil_days(year, month + 1) <= days;
    return (struct civil){year, month, (int)(days - civil_days(year, month)) + 1};
}

int
civil_weekday(int64_t days)
{
    return (int)(((days + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
}

int64_t
civil_day_of(int64_t s)
{
    return s / CIVIL_DAY - (s % CIVIL_DAY < 0);
}
