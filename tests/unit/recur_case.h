/* recur_case.h -- what the tests of recurrence rules share: rules and times as short texts. */
#ifndef TESTS_RECUR_CASE_H
#define TESTS_RECUR_CASE_H

#include "shared/recur.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* "2026-03-08 06:30[:15]" in seconds, UTC or local alike. */
static int64_t
at(const char *text)
{
    struct tm tm = {0};
    CHECK(sscanf(text, "%d-%d-%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                 &tm.tm_min, &tm.tm_sec) >= 3);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return timegm(&tm);
}

static struct recur *
parse(const struct recur_text *t)
{
    struct recur *r = NULL;
    CHECK_OK(recur_parse(t, &r, e));
    return r;
}

#endif
