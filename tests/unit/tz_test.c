#include "tests/unit/tz_case.h"

#include <string.h>

TEST(utc_needs_no_files)
{
    CHECK(setenv("PACELINE_TZDIR", "/nonexistent", 1) == 0);
    struct tz *z = load("UTC");
    CHECK_INT(0, tz_offset_at(z, 0));
    CHECK_INT(0, tz_offset_at(z, INT64_MIN));
    CHECK_INT(1234567890, tz_local_to_utc(z, 1234567890));
    tz_free(z);
    tz_free(NULL);
}

TEST(only_names_are_loaded)
{
    static const char *const bad[] = {"",
                                      "/etc/passwd",
                                      "../x",
                                      "Asia/../UTC",
                                      "Asia//Dili",
                                      "Asia/",
                                      "Asia",
                                      ".",
                                      "No/Such",
                                      "/Asia/Tokyo",
                                      "EST5EDT,0,1",
                                      "Asia/\xff",
                                      "zone1970.tab",
                                      ":UTC",
                                      "Asia/Dili\n",
                                      "utc "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tz *z = (void *)&i;
        struct err e = {0};
        if (tz_load(bad[i], &z, &e) || e.kind != ERR_INPUT || z) {
            t_fail(__FILE__, __LINE__, "\"%s\" gave \"%s\"", bad[i], e.text);
        }
    }
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    struct tz *z;
    CHECK(!tz_load(longest, &z, NULL));
}

/* From the published history of these zones. */
TEST(known_offsets)
{
    static const struct {
        const char *zone, *utc;
        int32_t offset;
    } cases[] = {
        {"Asia/Kuala_Lumpur", "1981-12-31 15:59", 27000},
        {"Asia/Kuala_Lumpur", "1981-12-31 16:00", 28800},
        {"Asia/Kuala_Lumpur", "2059-06-01 00:00", 28800},
        {"America/New_York", "2024-03-10 06:59", -18000},
        {"America/New_York", "2024-03-10 07:00", -14400},
        {"America/New_York", "2050-11-06 05:59", -14400},
        {"America/New_York", "2050-11-06 06:00", -18000},
        {"Australia/Lord_Howe", "2024-10-05 15:29", 37800},
        {"Australia/Lord_Howe", "2024-10-05 15:30", 39600},
        {"Asia/Kathmandu", "2024-01-01 00:00", 20700},
        {"Pacific/Apia", "2011-12-30 09:59", -36000},
        {"Pacific/Apia", "2011-12-30 10:00", 50400},
        {"Europe/Dublin", "2024-01-01 00:00", 0},
        {"Europe/Dublin", "2024-07-01 00:00", 3600},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tz *z = load(cases[i].zone);
        CHECK_INT(cases[i].offset, tz_offset_at(z, at(cases[i].utc)));
        tz_free(z);
    }
}

TEST(gaps_shift_forward_and_overlaps_take_the_first)
{
    static const struct {
        const char *zone, *local, *utc;
    } cases[] = {
        {"America/New_York", "2024-03-10 01:59", "2024-03-10 06:59"},
        {"America/New_York", "2024-03-10 02:00", "2024-03-10 07:00"}, /* shows 03:00 */
        {"America/New_York", "2024-03-10 02:30", "2024-03-10 07:30"}, /* shows 03:30 */
        {"America/New_York", "2024-03-10 03:00", "2024-03-10 07:00"},
        {"America/New_York", "2024-11-03 00:59", "2024-11-03 04:59"},
        {"America/New_York", "2024-11-03 01:30", "2024-11-03 05:30"},
        {"America/New_York", "2024-11-03 02:00", "2024-11-03 07:00"},
        {"America/New_York", "2055-03-14 02:30", "2055-03-14 07:30"}, /* by the footer */
        {"Australia/Lord_Howe", "2024-10-06 02:15", "2024-10-05 15:45"},
        {"Australia/Lord_Howe", "2024-04-07 01:45", "2024-04-06 14:45"},
        {"Australia/Lord_Howe", "2024-04-07 02:00", "2024-04-06 15:30"},
        {"Asia/Kuala_Lumpur", "1981-12-31 23:29", "1981-12-31 15:59"},
        {"Asia/Kuala_Lumpur", "1981-12-31 23:45", "1981-12-31 16:15"},
        {"Asia/Kuala_Lumpur", "1982-01-01 00:00", "1981-12-31 16:00"},
        {"Pacific/Apia", "2011-12-30 12:00", "2011-12-30 22:00"}, /* a day left out */
        {"Pacific/Apia", "2011-12-31 00:00", "2011-12-30 10:00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tz *z = load(cases[i].zone);
        int64_t got = tz_local_to_utc(z, at(cases[i].local));
        if (got != at(cases[i].utc)) {
            t_fail(__FILE__, __LINE__, "%s %s is %lld s off", cases[i].zone, cases[i].local,
                   (long long)(got - at(cases[i].utc)));
        }
        tz_free(z);
    }
}

/* --- against the C library
 * -------------------------------------------------------------------------- */

TEST(some_zones_agree_with_the_c_library_hour_by_hour)
{
    static const struct {
        const char *zone;
        int min_changes;
    } zones[] = {
        {"Asia/Kuala_Lumpur", 1},   {"America/New_York", 180}, {"Australia/Lord_Howe", 140},
        {"Europe/Dublin", 170},     {"America/Nuuk", 150},     {"Asia/Gaza", 100},
        {"Africa/Casablanca", 100}, {"Asia/Jerusalem", 100},   {"Pacific/Apia", 5},
        {"Antarctica/Troll", 100},  {"America/Caracas", 2},    {"Asia/Pyongyang", 2},
    };
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        struct tz *z = load(zones[i].zone);
        int changes = compare(zones[i].zone, z, zones[i].zone, 3 * hour);
        if (changes < zones[i].min_changes) {
            t_fail(__FILE__, __LINE__, "%s changes only %d times: is tzdata installed?",
                   zones[i].zone, changes);
        }
        tz_free(z);
    }
}

TEST(all_zones_agree_with_the_c_library)
{
    FILE *f = fopen("/usr/share/zoneinfo/zone1970.tab", "r");
    char line[512], zone[64];
    int n = 0;
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f)) {
        if (line[0] != '#' && sscanf(line, "%*s %*s %63s", zone) == 1) {
            struct tz *z = load(zone);
            (void)compare(zone, z, zone, 5 * day);
            tz_free(z);
            n++;
        }
    }
    (void)fclose(f);
    CHECK(n > 250);
}

TEST(every_moment_is_found_again_by_its_local_time)
{
    static const char *const zones[] = {"America/New_York", "Australia/Lord_Howe", "Asia/Gaza",
                                        "Pacific/Apia", "Africa/Casablanca"};
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        struct tz *z = load(zones[i]);
        for (int round = 0; round < 100000; round++) {
            int64_t s = (int64_t)(t_random() % 6000000000u) - 2000000000;
            int64_t local = s + tz_offset_at(z, s), found = tz_local_to_utc(z, local);
            if (found > s || found + tz_offset_at(z, found) != local) {
                t_fail(__FILE__, __LINE__, "%s: %lld is found at %lld", zones[i], (long long)s,
                       (long long)found);
            }
        }
        tz_free(z);
    }
}
