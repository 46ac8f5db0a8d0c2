#include "tests/unit/recur_case.h"

/* The occurrences from the first on, "2026-03-07 07:30, 2026-03-08 07:30, ..", as many as want
 * has; "-" stands for the end. */
static void
check_list(const char *file, int line, const struct recur_text *t, const char *want)
{
    struct recur *r = parse(t);
    char got[1024] = "";
    size_t n = 0;
    int64_t s = INT64_MIN;
    while (n < strlen(want)) {
        bool more = recur_next(r, s, &s);
        time_t when = s;
        struct tm tm;
        char text[40] = "-";
        if (more) {
            CHECK(gmtime_r(&when, &tm) &&
                  strftime(text, sizeof text, tm.tm_sec ? "%F %T" : "%F %H:%M", &tm));
        }
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s", n ? ", " : "", text);
        if (!more) {
            break;
        }
    }
    if (strcmp(want, got) != 0) {
        t_fail(file, line, "want %s\n     got  %s", want, got);
    }
    recur_free(r);
}
#define CHECK_LIST(want, ...)                                                                      \
    check_list(__FILE__, __LINE__, &(struct recur_text){__VA_ARGS__}, (want))

#define KL .zone = "Asia/Kuala_Lumpur"
#define NY .zone = "America/New_York"

TEST(daily_counts_days_from_the_start)
{
    CHECK_LIST("2026-11-26 01:00, 2026-11-27 01:00, 2026-11-28 01:00", KL, .freq = "daily",
               .every = 1, .start = "2026-11-26 09:00");
    CHECK_LIST("2026-11-26 09:00, 2026-11-28 01:00, 2026-11-28 09:00, 2026-11-30 01:00", KL,
               .freq = "daily", .every = 2, .start = "2026-11-26 12:00",
               .at = "17:00, 09:00,17:00");
    CHECK_LIST("2026-11-26 16:00, 2026-12-03 16:00", KL, .freq = "daily", .every = 7,
               .start = "2026-11-27");
    CHECK_LIST("2026-11-26 01:00:30, 2026-11-27 01:00:30, -", KL, .freq = "daily", .every = 1,
               .start = "2026-11-26", .at = "09:00:30", .end_date = "2026-11-27");
}

TEST(weekly_counts_weeks_from_monday)
{
    CHECK_LIST("2026-11-26 01:00, 2026-12-03 01:00", KL, .freq = "weekly", .every = 1,
               .start = "2026-11-26 09:00");
    /* A Thursday: the Wednesday of its week is past, the Sunday is still the same week. */
    CHECK_LIST("2026-11-29 01:00, 2026-12-09 01:00, 2026-12-13 01:00, 2026-12-23 01:00", KL,
               .freq = "weekly", .every = 2, .start = "2026-11-26 09:00", .weekdays = "Sun,wed");
}

TEST(monthly_clamps_and_anchors_again)
{
    CHECK_LIST("2027-01-31 01:00, 2027-02-28 01:00, 2027-03-31 01:00, 2027-04-30 01:00, "
               "2027-05-31 01:00",
               KL, .freq = "monthly", .every = 1, .start = "2027-01-31 09:00");
    CHECK_LIST("2027-01-31 01:00, 2027-03-31 01:00, 2027-05-31 01:00, 2027-07-31 01:00", KL,
               .freq = "monthly", .every = 1, .start = "2027-01-31 09:00", .month_policy = "skip");
    CHECK_LIST("2027-01-31 01:00, 2027-02-28 01:00, 2027-03-31 01:00, 2027-04-30 01:00", KL,
               .freq = "monthly", .every = 1, .start = "2027-01-01 09:00", .month_days = "-1");
    CHECK_LIST("2027-01-30 01:00, 2027-01-31 01:00, 2027-02-28 01:00, 2027-03-30 01:00", KL,
               .freq = "monthly", .every = 1, .start = "2027-01-29 09:00",
               .month_days = "30,31,-1");
    CHECK_LIST("2027-01-31 01:00, 2027-04-30 01:00, 2027-07-31 01:00, 2027-10-31 01:00", KL,
               .freq = "monthly", .every = 3, .start = "2027-01-31 09:00");
    /* Day -31 of a month of 30 days does not exist either: its first stands in for it. */
    CHECK_LIST("2027-02-01 01:00, 2027-03-01 01:00", KL, .freq = "monthly", .every = 1,
               .start = "2027-02-01 09:00", .month_days = "-31");
    CHECK_LIST("2027-03-01 01:00, 2027-05-01 01:00", KL, .freq = "monthly", .every = 1,
               .start = "2027-02-01 09:00", .month_days = "-31", .month_policy = "skip");
    CHECK_LIST("2028-02-29 01:00, 2032-02-29 01:00, 2036-02-29 01:00", KL, .freq = "monthly",
               .every = 12, .start = "2028-02-29 09:00", .month_policy = "skip");
}

TEST(intervals_are_elapsed_time)
{
    CHECK_LIST("2026-03-07 07:30, 2026-03-08 07:30, 2026-03-09 07:30", NY, .freq = "interval",
               .every = 86400, .start = "2026-03-07 02:30");
    CHECK_LIST("2026-03-07 07:30, 2026-03-08 07:30, 2026-03-09 06:30", NY, .freq = "daily",
               .every = 1, .start = "2026-03-07 02:30");
    CHECK_LIST("2026-11-30 15:59:30, 2026-11-30 15:59:45, -", KL, .freq = "interval", .every = 15,
               .start = "2026-11-30 23:59:30", .end_date = "2026-11-30");
}

TEST(a_time_left_out_is_shifted_or_skipped)
{
    CHECK_LIST("2026-03-07 07:30, 2026-03-08 07:30, 2026-03-09 06:30", NY, .freq = "daily",
               .every = 1, .start = "2026-03-07 02:30", .gap_policy = "shift");
    CHECK_LIST("2026-03-07 07:30, 2026-03-09 06:30", NY, .freq = "daily", .every = 1,
               .start = "2026-03-07 02:30", .gap_policy = "skip");
    /* 02:45 becomes 03:45, behind 03:15; 02:15 becomes 03:15, which is due once. */
    CHECK_LIST("2026-03-08 07:15, 2026-03-08 07:45, 2026-03-09 06:15, 2026-03-09 06:45, "
               "2026-03-09 07:15",
               NY, .freq = "daily", .every = 1, .start = "2026-03-08", .at = "02:15,02:45,03:15");
    CHECK_LIST("2026-03-08 07:15, 2026-03-08 07:45, 2026-03-09 06:45", NY, .freq = "daily",
               .every = 1, .start = "2026-03-08", .at = "02:45,03:15");
    CHECK_LIST("2026-03-08 07:15, 2026-03-09 06:45, 2026-03-09 07:15", NY, .freq = "daily",
               .every = 1, .start = "2026-03-08", .at = "02:45,03:15", .gap_policy = "skip");
    /* Half an hour, and a whole day. */
    CHECK_LIST("2026-10-02 15:45, 2026-10-03 15:45, 2026-10-04 15:15",
               .zone = "Australia/Lord_Howe", .freq = "daily", .every = 1,
               .start = "2026-10-03 02:15");
    CHECK_LIST("1981-12-30 16:15, 1981-12-31 16:15, 1982-01-01 15:45", KL, .freq = "daily",
               .every = 1, .start = "1981-12-30 23:45");
    CHECK_LIST("2011-12-29 22:00, 2011-12-30 22:00, 2011-12-31 22:00", .zone = "Pacific/Apia",
               .freq = "daily", .every = 1, .start = "2011-12-29 12:00");
    CHECK_LIST("2011-12-29 22:00, 2011-12-30 22:00, 2011-12-31 22:00", .zone = "Pacific/Apia",
               .freq = "daily", .every = 1, .start = "2011-12-29 12:00", .gap_policy = "skip");
}

TEST(of_a_time_shown_twice_the_first_counts)
{
    CHECK_LIST("2026-10-31 05:30, 2026-11-01 05:30, 2026-11-02 06:30", NY, .freq = "daily",
               .every = 1, .start = "2026-10-31 01:30");
    CHECK_LIST("2026-11-01 05:30, 2026-11-01 05:45, 2026-11-01 07:00, 2026-11-01 07:15", NY,
               .freq = "cron", .cron = "*/15 1,2 * * *", .start = "2026-11-01 01:30",
               .end_date = "2026-11-02");
}

TEST(a_cron_of_every_hour_follows_the_clock)
{
    CHECK_LIST("2026-11-01 04:30, 2026-11-01 05:30, 2026-11-01 06:30, 2026-11-01 07:30", NY,
               .freq = "cron", .cron = "30 * * * *", .start = "2026-11-01");
    CHECK_LIST("2026-03-08 06:30, 2026-03-08 07:30, 2026-03-08 08:30", NY, .freq = "cron",
               .cron = "30 * * * *", .start = "2026-03-08 01:00");
    CHECK_LIST("2026-04-04 14:30, 2026-04-04 14:45, 2026-04-04 15:00, 2026-04-04 15:15, "
               "2026-04-04 15:30",
               .zone = "Australia/Lord_Howe", .freq = "cron", .cron = "*/15 * * * *",
               .start = "2026-04-05 01:30");
    CHECK_LIST("2011-12-30 09:30, 2011-12-30 10:30", .zone = "Pacific/Apia", .freq = "cron",
               .cron = "30 0-23 * * *", .start = "2011-12-29 23:30");
    CHECK_LIST("2011-12-30 10:30, 2011-12-30 11:30", .zone = "Pacific/Apia", .freq = "cron",
               .cron = "30 * * * *", .start = "2011-12-30 12:00");
}

TEST(cron_fields)
{
    static const struct {
        const char *cron, *want;
    } cases[] = {
        {"0 9 * * mon-fri", "2026-11-26 09:00, 2026-11-27 09:00, 2026-11-30 09:00"},
        {" 0\t9 * * MON,Wed ", "2026-11-30 09:00, 2026-12-02 09:00"},
        {"0 9 * * 7", "2026-11-29 09:00, 2026-12-06 09:00"},
        {"0 9 * * 0", "2026-11-29 09:00, 2026-12-06 09:00"},
        {"0 9 * * fri-sun",
         "2026-11-27 09:00, 2026-11-28 09:00, 2026-11-29 09:00, 2026-12-04 09:00"},
        {"0 9 * * */3", "2026-11-28 09:00, 2026-11-29 09:00, 2026-12-02 09:00"},
        {"30,0 9-10 26 11 *", "2026-11-26 09:00, 2026-11-26 09:30, 2026-11-26 10:00"},
        {"5-59/25 9 * * *", "2026-11-26 09:05, 2026-11-26 09:30, 2026-11-26 09:55"},
        {"0 0 29 2 *", "2028-02-29 00:00, 2032-02-29 00:00"},
        {"0 0 29 feb *", "2028-02-29 00:00, 2032-02-29 00:00"},
        {"0 0 1 JAN-mar/2 *", "2027-01-01 00:00, 2027-03-01 00:00, 2028-01-01 00:00"},
        /* Both restricted: either; one begins with a star: both. */
        {"0 0 1 * fri", "2026-11-27 00:00, 2026-12-01 00:00, 2026-12-04 00:00"},
        {"0 0 */2 * fri", "2026-11-27 00:00, 2026-12-11 00:00, 2026-12-25 00:00"},
        {"0 0 13 * */5", "2026-12-13 00:00, 2027-06-13 00:00, 2027-08-13 00:00"},
        {"0 0 31 * *", "2026-12-31 00:00, 2027-01-31 00:00, 2027-03-31 00:00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_LIST(cases[i].want, .zone = "UTC", .freq = "cron", .cron = cases[i].cron,
                   .start = "2026-11-26");
    }
}

TEST(start_and_end_are_of_the_wall_clock)
{
    CHECK_LIST("2026-11-26 01:00, 2026-11-27 01:00, -", KL, .freq = "daily", .every = 1,
               .start = "2026-11-26T09:00:00", .end_date = "2026-11-27");
    CHECK_LIST("2026-11-27 01:00, -", KL, .freq = "daily", .every = 1, .at = "09:00",
               .start = "2026-11-26 09:00:01", .end_date = "2026-11-27");
    CHECK_LIST("2026-11-27 15:59, -", KL, .freq = "cron", .cron = "59 23 * * *",
               .start = "2026-11-27", .end_date = "2026-11-27");
    /* A start that the clock leaves out: what it shows from there on counts. */
    CHECK_LIST("2026-03-08 07:00, 2026-03-09 07:00", NY, .freq = "daily", .every = 1, .at = "03:00",
               .start = "2026-03-08 02:30");
    CHECK_LIST("2026-03-08 07:00, 2026-03-08 07:15", NY, .freq = "cron", .cron = "*/15 * * * *",
               .start = "2026-03-08 02:30");
    /* The last time is shifted to the day behind the end: its own date counts. */
    CHECK_LIST("1981-12-31 16:15, -", KL, .freq = "daily", .every = 1, .start = "1981-12-31 23:45",
               .end_date = "1981-12-31");
    CHECK_LIST("2011-12-30 22:00, -", .zone = "Pacific/Apia", .freq = "daily", .every = 1,
               .start = "2011-12-30 12:00", .end_date = "2011-12-30");
}

static void
check_refused(const struct recur_text *t, const char *member, const char *word)
{
    struct recur *r = (void *)&t;
    struct err e = {0};
    if (recur_parse(t, &r, &e) || e.kind != ERR_INPUT || r ||
        strncmp(e.text, member, strlen(member)) != 0 || e.text[strlen(member)] != ':' ||
        !strstr(e.text, word)) {
        t_fail(__FILE__, __LINE__, "wanted %s: ..%s.., got \"%s\"", member, word, e.text);
    }
}
#define CHECK_REFUSED(member, word, ...)                                                           \
    check_refused(&(struct recur_text){__VA_ARGS__}, (member), (word))

TEST(wrong_members_are_named)
{
#define GOOD    KL, .freq = "daily", .every = 1, .start = "2026-11-26"
#define MONTHLY KL, .freq = "monthly", .every = 1, .start = "2026-11-26"
    CHECK_REFUSED("freq", "daily, weekly, monthly, interval, cron", KL, .every = 1);
    CHECK_REFUSED("freq", "'yearly'", KL, .freq = "yearly");
    CHECK_REFUSED("zone", "Asia/Kuala_Lumpur", .freq = "daily", .start = "2026-11-26");
    CHECK_REFUSED("zone", "no such", .freq = "daily", .zone = "Asia/Lumpur");
    CHECK_REFUSED("start", "''", KL, .freq = "daily", .every = 1);
    static const char *const starts[] = {
        "2026-02-29",  "2026-11-26 24:00",  "26-11-2026",       "2026-11-26 9:00",
        "2026-11-26 ", "2026-11-26 09:00Z", "1969-12-31",       "2026-13-01",
        "tomorrow",    "2026-11-26 09:60",  "2026-11-26+09:00", "2026-11-26 09:00:0"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        CHECK_REFUSED("start", starts[i], KL, .freq = "daily", .every = 1, .start = starts[i]);
    }
    CHECK_REFUSED("end_date", "2026-11-31", GOOD, .end_date = "2026-11-31");
    CHECK_REFUSED("end_date", "before the start", GOOD, .end_date = "2026-11-25");
    CHECK_REFUSED("end_date", "would be 2026-12-31", MONTHLY, .month_days = "31",
                  .month_policy = "skip", .end_date = "2026-12-30");
    CHECK_REFUSED("every", "from 1 to", KL, .freq = "daily", .every = 0, .start = "2026-11-26");
    CHECK_REFUSED("every", "from 1 to 1200", KL, .freq = "monthly", .every = 1201,
                  .start = "2026-11-26");
    CHECK_REFUSED("every", "*/2", KL, .freq = "cron", .every = 2, .cron = "0 0 * * *",
                  .start = "2026-11-26");
    CHECK_REFUSED("weekdays", "character 5: 'tues'", KL, .freq = "weekly", .every = 1,
                  .start = "2026-11-26", .weekdays = "mon,tues");
    CHECK_REFUSED("weekdays", "weekly", GOOD, .weekdays = "mon");
    CHECK_REFUSED("month_days", "monthly", GOOD, .month_days = "1");
    CHECK_REFUSED("at", "daily, weekly or monthly", KL, .freq = "interval", .every = 1,
                  .start = "2026-11-26", .at = "09:00");
    CHECK_REFUSED("cron", "leave it out", GOOD, .cron = "0 0 * * *");
    CHECK_REFUSED("cron", "5 fields", KL, .freq = "cron", .start = "2026-11-26");
    CHECK_REFUSED("month_days", "character 3: '0'", MONTHLY, .month_days = "1,0");
    CHECK_REFUSED("month_days", "'32'", MONTHLY, .month_days = "32");
    CHECK_REFUSED("month_days", "'-32'", MONTHLY, .month_days = "-32");
    CHECK_REFUSED("month_days", "''", MONTHLY, .month_days = "1,");
    CHECK_REFUSED("at", "character 7: '9:00'", GOOD, .at = "08:00,9:00");
    CHECK_REFUSED("at", "'24:00'", GOOD, .at = "24:00");
    CHECK_REFUSED("month_policy", "clamp, skip", GOOD, .month_policy = "last");
    CHECK_REFUSED("gap_policy", "shift, skip", GOOD, .gap_policy = "Shift");
}

TEST(wrong_crons_are_refused_with_field_and_cure)
{
    static const struct {
        const char *cron, *word;
    } cases[] = {
        {"0 0 9 * * *", "seconds are not supported"},
        {"0 0 9 * * * 2026", "seconds and years are not supported"},
        {"0 9 * *", "4 fields"},
        {"   ", "0 fields"},
        {"@daily", "write 0 0 * * *"},
        {" @Hourly", "write 0 * * * *"},
        {"@reboot", "'@reboot' is not supported"},
        {"60 9 * * *", "field 1 (minute), character 1: '60': not within 0-59"},
        {"0 9,24 * * *", "field 2 (hour), character 5: '24': not within 0-23"},
        {"0 9 0 * *", "field 3 (day of month), character 5: '0': not within 1-31"},
        {"0 9 * 13 *", "field 4 (month), character 7: '13': not within 1-12"},
        {"0 9 * * 8", "field 5 (day of week), character 9: '8': not within 0-7"},
        {"0 9 L * *", "month_days -1"},
        {"0 9 * * 5L", "'L' is not supported"},
        {"0 9 15W * *", "'W' is not supported"},
        {"0 9 ? * mon", "write * for any"},
        {"0 9 * * mon#2", "field 5 (day of week), character 9: 'mon#2': '#' is not supported"},
        {"H 9 * * *", "random times"},
        {"0~30 9 * * *", "random times"},
        {"0 9 * * fri-mon", "write 5-6,0-1"},
        {"0 22-6 * * *", "write 22-23,0-6"},
        {"5/15 * * * *", "a step needs a range"},
        {"*/0 * * * *", "a step here is from 1 to 59"},
        {"*/60 * * * *", "a step here is from 1 to 59"},
        {"*/ * * * *", "behind / stands a number"},
        {"1,,2 * * * *", "field 1 (minute), character 3"},
        {"1- * * * *", "field 1"},
        {"-1 * * * *", "field 1"},
        {"1-2-3 * * * *", "field 1"},
        {"** * * * *", "field 1"},
        {"0 9 * --- *", "field 4"},
        {"0 9 * * --1", "field 5"},
        {"0 9 * monday *", "field 4"},
        {"0 9 * * monday", "names of three letters"},
        {"0 0 30 2 *", "never fires"},
        {"0 0 31 feb,apr,jun,sep,nov *", "never fires"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_REFUSED("cron", cases[i].word, KL, .freq = "cron", .cron = cases[i].cron,
                      .start = "2026-11-26");
    }
    CHECK_REFUSED("month_days", "never fires", KL, .freq = "monthly", .every = 12,
                  .month_days = "30", .month_policy = "skip", .start = "2026-02-01");
}

static void
check_notes(const struct recur_text *t, const char *want)
{
    struct recur *r = parse(t);
    struct buf out = {0};
    recur_notes(r, at("2026-11-26 00:00"), &out);
    CHECK_STR(want, out.data ? out.data : "");
    buf_done(&out);
    recur_free(r);
}
#define CHECK_NOTES(want, ...) check_notes(&(struct recur_text){__VA_ARGS__}, (want))

TEST(notes_say_what_surprises)
{
    CHECK_NOTES("", GOOD, .at = "09:00");
    CHECK_NOTES("", NY, .freq = "interval", .every = 3600, .start = "2026-11-26");
    CHECK_NOTES("A month without day 31: its last day counts instead (month_policy clamp).\n",
                MONTHLY, .month_days = "31,30,1");
    CHECK_NOTES("A month without day 29 is left out (month_policy skip).\n", MONTHLY,
                .month_days = "29", .month_policy = "skip");
    CHECK_NOTES("Due when the day of the month or the day of the week fits; both need not.\n", KL,
                .freq = "cron", .cron = "0 0 31 * mon", .start = "2026-11-26");
    CHECK_NOTES(
        "The clock of America/New_York leaves out 2027-03-14 02:30: due at 2027-03-14 03:30 "
        "instead (gap_policy shift).\n"
        "The clock of America/New_York leaves out 2028-03-12 02:30: due at 2028-03-12 03:30 "
        "instead (gap_policy shift).\n",
        NY, .freq = "daily", .every = 1, .start = "2026-11-26 02:30");
    CHECK_NOTES("The clock of America/New_York leaves out 2027-03-14 02:30: nothing is due then "
                "(gap_policy skip).\n",
                NY, .freq = "daily", .every = 1, .start = "2026-11-26 02:30", .gap_policy = "skip",
                .end_date = "2027-12-31");
    CHECK_NOTES("The clock of America/New_York shows 2027-11-07 01:30 twice: due the first time "
                "only.\n",
                NY, .freq = "weekly", .every = 1, .weekdays = "sun", .start = "2026-11-26 01:30",
                .end_date = "2027-12-31");
    CHECK_NOTES("The clock of America/New_York leaves out 2027-03-14 02:00: nothing is due until "
                "2027-03-14 03:00.\n"
                "The clock of America/New_York shows 2027-11-07 01:00 twice: due both times.\n",
                NY, .freq = "cron", .cron = "0 * * * *", .start = "2026-11-26",
                .end_date = "2027-12-31");
}
