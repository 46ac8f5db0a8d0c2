#include "ctl/adopt_plan.h"
#include "shared/tz.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

enum { HOUR_MS = 3600000 };

TEST(lists_are_searched_by_their_keys)
{
    char out[8];
    CHECK(adopt_listed("a=1,Leads.phone=tel,c=", "leads.PHONE", out, sizeof out));
    CHECK_STR("tel", out);
    CHECK(adopt_listed("a=1,c=", "c", out, sizeof out));
    CHECK_STR("", out);
    CHECK(!adopt_listed("aa=1", "a", out, sizeof out));
    CHECK(!adopt_listed("a=12345678", "a", out, sizeof out)); /* does not fit */
    CHECK(!adopt_listed("a", "a", out, sizeof out));
    CHECK(!adopt_listed(NULL, "a", out, sizeof out));
}

TEST(statuses_are_understood_or_not)
{
    enum adopt_state s;
    CHECK(adopt_state_parse("Processing", NULL, &s));
    CHECK_INT(STATE_STUCK, s);
    CHECK(adopt_state_parse("timeout", NULL, &s));
    CHECK_INT(STATE_UNKNOWN, s);
    CHECK(adopt_state_parse("timeout", "timeout=failed", &s));
    CHECK_INT(STATE_FAILED, s);
    CHECK(!adopt_state_parse("parked", NULL, &s));
    CHECK(!adopt_state_parse("parked", "parked=nonsense", &s));
    CHECK(adopt_state_parse("", "=skipped", &s));
    CHECK_INT(STATE_SKIPPED, s);
    CHECK_STR("paused", adopt_source_status(ADOPT_CAMPAIGNS, "triggered", NULL));
    CHECK_STR("finished", adopt_source_status(ADOPT_CAMPAIGNS, "completed", NULL));
    CHECK_STR("paused", adopt_source_status(ADOPT_SEQUENCES, "completed", NULL));
    CHECK_STR("cancelled", adopt_source_status(ADOPT_SEQUENCES, "archived", NULL));
    CHECK(!adopt_source_status(ADOPT_CAMPAIGNS, "odd", "odd=paused"));
    CHECK_STR("paused", adopt_source_status(ADOPT_CAMPAIGNS, "odd", "campaigns.odd=paused"));
}

static const char *
utc(const char *text, const struct tz *zone, bool *ret_left_out)
{
    static char out[ADOPT_TIME_SIZE];
    int64_t ms;
    return adopt_time(text, zone, &ms, ret_left_out) ? adopt_time_text(ms, out) : "none";
}

TEST(local_times_become_utc)
{
    struct tz *kl = NULL, *berlin = NULL;
    bool left_out;
    CHECK_OK(tz_load("Asia/Kuala_Lumpur", &kl, e));
    CHECK_OK(tz_load("Europe/Berlin", &berlin, e));
    CHECK_STR("2026-11-22 10:00:00.000", utc("2026-11-22 18:00:00", kl, &left_out));
    CHECK_STR("2026-11-21 16:30:00.000", utc("2026-11-22 00:30", kl, &left_out));
    CHECK_STR("2026-11-21 16:00:00.000", utc("2026-11-22", kl, &left_out));
    CHECK_STR("2026-11-22 18:00:00.250", utc("2026-11-22T18:00:00.250999", NULL, &left_out));
    CHECK_STR("2024-02-29 00:00:00.000", utc("2024-02-29 00:00:00", NULL, &left_out));
    CHECK(!left_out);
    /* left out in spring; there twice in autumn: the first */
    CHECK_STR("2026-03-29 01:30:00.000", utc("2026-03-29 02:30:00", berlin, &left_out));
    CHECK(left_out);
    CHECK_STR("2026-10-25 00:30:00.000", utc("2026-10-25 02:30:00", berlin, &left_out));
    CHECK(!left_out);
    const char *none[] = {"",
                          "0000-00-00 00:00:00",
                          "2026-13-01",
                          "2026-11-22 25:00:00",
                          "2026-11-22 soon",
                          "1969-12-31 23:59:59",
                          "18:00"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        CHECK_STR("none", utc(none[i], NULL, &left_out));
    }
    tz_free(kl);
    tz_free(berlin);
}

static const char *
decided(enum adopt_state stuck, struct adopt_facts f)
{
    static char out[48];
    struct adopt_rules rules = {
        .stuck = stuck, .now_ms = 100 * HOUR_MS, .max_lateness_ms = HOUR_MS};
    struct adopt_verdict v = adopt_decide(&rules, &f);
    (void)snprintf(out, sizeof out, "%s %s", v.status, v.reason);
    return out;
}

TEST(a_message_s_fate)
{
    int64_t now = 100 * (int64_t)HOUR_MS;
    struct adopt_facts f = {.state = STATE_PENDING, .scheduled_ms = now - HOUR_MS};
    CHECK_STR("pending ", decided(STATE_UNKNOWN, f));
    f.scheduled_ms--;
    CHECK_STR("skipped expired", decided(STATE_UNKNOWN, f));
    f.obstacle = "no_media";
    CHECK_STR("skipped no_media", decided(STATE_UNKNOWN, f));
    f.has_sent_at = true;
    CHECK_STR("unknown sent_at", decided(STATE_UNKNOWN, f));
    f = (struct adopt_facts){.state = STATE_STUCK, .scheduled_ms = now};
    CHECK_STR("unknown stuck", decided(STATE_UNKNOWN, f));
    CHECK_STR("failed stuck", decided(STATE_FAILED, f));
    CHECK_STR("pending ", decided(STATE_PENDING, f));
    f.obstacle = "cancelled";
    CHECK_STR("skipped cancelled", decided(STATE_PENDING, f));
    f.state = STATE_SENT; /* what is over is not asked whether it could go out */
    CHECK_STR("sent ", decided(STATE_UNKNOWN, f));
    f.state = STATE_UNKNOWN;
    CHECK_STR("unknown adopted", decided(STATE_PENDING, f));
}

/* Every pair, by both rules: one of them counts, and nothing is pending beside what went out or may
 * have. */
TEST(of_two_rows_for_one_message_one_counts)
{
    static const char *const all[] = {"skipped", "failed", "pending", "unknown", "sent"};
    for (int rule = 0; rule < 2; rule++) {
        for (int i = 0; i < 5; i++) {
            for (int k = 0; k < 5; k++) {
                struct adopt_resolution d = adopt_resolve(rule, all[i], all[k]);
                bool pending = !strcmp(d.winner, "pending") || !strcmp(d.loser, "pending");
                CHECK(!pending || (i < 3 && k < 3));
                CHECK(strcmp(d.loser, "pending") != 0 && strcmp(d.loser, "unknown") != 0);
                CHECK_INT(!rule && k > i, d.later_wins);
                /* a doubt stays a doubt, unless the message went out */
                bool doubt = (i == 3 || k == 3) && i < 4 && k < 4;
                CHECK(!doubt || rule || strcmp(d.winner, "unknown") == 0);
            }
        }
    }
    CHECK_STR("skipped", adopt_resolve(true, "pending", "sent").winner);
    CHECK_STR("sent", adopt_resolve(true, "pending", "sent").loser);
    CHECK_STR("unknown", adopt_resolve(true, "pending", "unknown").winner);
    CHECK_STR("queued", adopt_resolve(false, "queued", "sent").winner); /* under way: left alone */
}
