#include "producer/row_plan.h"
#include "shared/job.h"
#include "tests/harness/t.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- a reader of the statement ----------------------------------------------------------------
 * INSERT .. (columns) VALUES (value, ...),(...): each value as a string, an undone literal or the
 * text as it stands.  It fails the test on anything that a server would read differently. */

enum { COLUMNS = 17, VALUE_MAX = 1024 };

struct value {
    bool quoted;
    char text[VALUE_MAX];
};

struct row {
    struct value value[COLUMNS];
};

static const char *
expect(const char *p, const char *text)
{
    if (strncmp(p, text, strlen(text)) != 0) {
        t_fail(__FILE__, __LINE__, "%s expected at: %.60s", text, p);
    }
    return p + strlen(text);
}

static char
undo(char c)
{
    switch (c) {
    case '0':
        return '\0';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 'b':
        return '\b';
    case 't':
        return '\t';
    case 'Z':
        return '\x1a';
    default:
        return c;
    }
}

/* 'abc' with backslashes; '' within it is one quote. */
static const char *
read_quoted(const char *p, struct value *ret)
{
    size_t n = 0;
    ret->quoted = true;
    for (p = expect(p, "'");; p++) {
        CHECK(*p != '\0' && n + 1 < sizeof ret->text);
        if (*p == '\\') {
            ret->text[n++] = undo(*++p);
        } else if (*p == '\'' && p[1] != '\'') {
            ret->text[n] = '\0';
            return p + 1;
        } else {
            p += *p == '\'';
            ret->text[n++] = *p;
        }
    }
}

static const char *
read_value(const char *p, struct value *ret)
{
    if (*p == '\'') {
        return read_quoted(p, ret);
    }
    size_t n = 0;
    int depth = 0;
    ret->quoted = false;
    for (; *p && (depth || (*p != ',' && *p != ')')); p++) {
        depth += (*p == '(') - (*p == ')');
        CHECK(*p != '\'' && n + 1 < sizeof ret->text);
        ret->text[n++] = *p;
    }
    ret->text[n] = '\0';
    CHECK(n > 0);
    return p;
}

static const char *
read_row(const char *p, struct row *ret)
{
    p = expect(p, "(");
    for (int i = 0; i < COLUMNS; i++) {
        p = read_value(i ? expect(p, ",") : p, &ret->value[i]);
    }
    return expect(p, ")");
}

static const char *
read_head(const char *p)
{
    return expect(p, "INSERT IGNORE INTO broadcast_messages (job_id, user_id, device_id, kind, "
                     "campaign_id, sequence_id, sequence_stepid, rotation, recurring_id, "
                     "occurrence_at, lead_id, recipient_phone, recipient_name, scheduled_at, "
                     "expires_at, created_at, updated_at) VALUES ");
}

struct campaign {
    uint64_t id, user;
    int64_t max_lateness_s;
};
struct audience_lead {
    uint64_t id, device;
    const char *phone, *name;
};

/* --- what a row must say ---------------------------------------------------------------------- */

static void
check_quoted(const char *want, const struct value *v)
{
    CHECK(v->quoted);
    CHECK_STR(want, v->text);
}

static void
check_plain(const char *want, const struct value *v)
{
    CHECK(!v->quoted);
    CHECK_STR(want, v->text);
}

static void
check_number(uint64_t want, const struct value *v)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, want);
    check_plain(text, v);
}

static void
check_row(const struct campaign *c, const struct audience_lead *l, const struct row *r)
{
    char id[JOB_ID_SIZE], expiry[64] = "NULL";
    if (c->max_lateness_s > 0) {
        (void)snprintf(expiry, sizeof expiry, "UTC_TIMESTAMP(3) + INTERVAL %" PRId64 " SECOND",
                       c->max_lateness_s);
    }
    check_quoted(job_id_campaign(c->id, l->device, l->phone, 0, id), &r->value[0]);
    check_number(c->user, &r->value[1]);
    check_number(l->device, &r->value[2]);
    check_quoted("campaign", &r->value[3]);
    check_number(c->id, &r->value[4]);
    check_plain("NULL", &r->value[5]);
    check_plain("NULL", &r->value[6]);
    check_plain("0", &r->value[7]);
    check_plain("NULL", &r->value[8]);
    check_plain("NULL", &r->value[9]);
    check_number(l->id, &r->value[10]);
    check_quoted(l->phone, &r->value[11]);
    check_quoted(l->name, &r->value[12]);
    check_plain("UTC_TIMESTAMP(3)", &r->value[13]);
    check_plain(expiry, &r->value[14]);
    check_plain("UTC_TIMESTAMP(3)", &r->value[15]);
    check_plain("UTC_TIMESTAMP(3)", &r->value[16]);
}

static void
add_row(struct sql *q, const struct campaign *c, const struct audience_lead *l, bool first)
{
    const struct message_row m = {.kind = SOURCE_CAMPAIGN,
                                  .source = c->id,
                                  .user = c->user,
                                  .device = l->device,
                                  .lead = l->id,
                                  .phone = l->phone,
                                  .name = l->name,
                                  .max_lateness_s = c->max_lateness_s};
    row_plan_add(q, &m, first);
}

static void
check_statement(const struct campaign *c, const struct audience_lead *leads, size_t n)
{
    struct sql q = {0};
    struct row *row = malloc(sizeof *row);
    CHECK(row != NULL);
    row_plan_begin(&q);
    for (size_t i = 0; i < n; i++) {
        add_row(&q, c, &leads[i], i == 0);
    }
    CHECK_INT(strlen(q.text.data), q.text.len);
    const char *p = read_head(q.text.data);
    for (size_t i = 0; i < n; i++) {
        p = read_row(i ? expect(p, ",") : p, row);
        check_row(c, &leads[i], row);
    }
    CHECK_STR("", p);
    free(row);
    sql_done(&q);
}

static const struct campaign plain = {.id = 42, .user = 7, .max_lateness_s = 0};

TEST(a_lead_becomes_a_row)
{
    const struct audience_lead l = {
        .id = 5, .device = 17, .phone = "60123456789", .name = "Aisyah"};
    check_statement(&plain, &l, 1);
}

TEST(a_batch_has_a_row_for_every_lead)
{
    struct audience_lead leads[50];
    char phones[50][16];
    for (size_t i = 0; i < 50; i++) {
        (void)snprintf(phones[i], sizeof phones[i], "6012%07d", (int)i);
        leads[i] = (struct audience_lead){100 + i, 1 + i % 3, phones[i], "Tan, (Ms) 'n Co"};
    }
    check_statement(&plain, leads, 50);
}

TEST(hostile_names_stay_text)
{
    static const char *const names[] = {
        "",
        "O'Brien",
        "'",
        "''",
        "\\",
        "\\'",
        "\\\\'",
        "\"",
        "`",
        "'); DROP TABLE users; -- ",
        "a\nb\r\tc",
        "\x1a",
        "\x01\x7f",
        "%s %n %%",
        "-- x",
        "/* x */",
        "NULL",
        ",(",
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 \xe2\x9c\x85",
        "\xe6\x9e\x97\xe5\xb0\x8f\xe5\xa7\x90",
        "\xbf\x27", /* a broken character before a quote */
        "\xbf\x5c\x27",
        "\xff\xfe",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct audience_lead l[] = {
            {1, 2, "60123456789", names[i]}, {3, 4, names[i], "plain"}, {5, 6, names[i], names[i]}};
        check_statement(&plain, l, 3);
    }
}

TEST(random_bytes_stay_text)
{
    for (int round = 0; round < 5000; round++) {
        char text[2][200];
        for (int k = 0; k < 2; k++) {
            size_t n = t_random() % (sizeof text[k] - 1);
            for (size_t i = 0; i < n; i++) {
                /* Mostly those that matter. */
                text[k][i] = t_random() % 2 ? "\\'\"n0Z,()`%-"[t_random() % 12]
                                            : (char)(1 + t_random() % 255);
            }
            text[k][n] = '\0';
        }
        const struct campaign c = {t_random(), t_random(), (int64_t)(t_random() % 3)};
        const struct audience_lead l[] = {{1 + t_random() / 2, t_random(), text[0], text[1]},
                                          {1 + t_random() / 2, t_random(), text[1], text[0]}};
        check_statement(&c, l, 2);
    }
}

TEST(a_lateness_is_an_interval_and_none_is_no_expiry)
{
    static const int64_t lateness[] = {-1, 0, 1, 3600, 4294967295};
    const struct audience_lead l = {5, 17, "60123456789", "A"};
    for (size_t i = 0; i < sizeof lateness / sizeof *lateness; i++) {
        const struct campaign c = {42, 7, lateness[i]};
        check_statement(&c, &l, 1);
    }
}

TEST(the_largest_numbers_fit)
{
    const struct campaign c = {UINT64_MAX, UINT64_MAX, INT64_MAX};
    const struct audience_lead l = {UINT64_MAX, UINT64_MAX, "60123456789", "A"};
    check_statement(&c, &l, 1);
}

TEST(a_statement_is_begun_anew)
{
    struct sql q = {0};
    const struct audience_lead l = {5, 17, "60123456789", "A"};
    row_plan_begin(&q);
    add_row(&q, &plain, &l, true);
    row_plan_begin(&q);
    CHECK_STR("", read_head(q.text.data));
    sql_done(&q);
}

/* The unique key on job_id refuses a second row for a message, so its id must be the same whoever
 * makes it, and another's must be another. */
TEST(a_message_has_one_id)
{
    char a[JOB_ID_SIZE], b[JOB_ID_SIZE];
    static const struct {
        uint64_t campaign, device;
        const char *phone;
        unsigned rotation;
    } others[] = {
        {43, 17, "60123456789", 0}, {42, 18, "60123456789", 0}, {42, 17, "60123456780", 0},
        {42, 17, "60123456789", 1}, {4, 217, "60123456789", 0}, {421, 7, "60123456789", 0},
    };
    CHECK_STR(job_id_campaign(42, 17, "60123456789", 0, a),
              job_id_campaign(42, 17, "60123456789", 0, b));
    CHECK(strncmp(a, "c42-d17-", 8) == 0 && strcmp(a + strlen(a) - 3, "-r0") == 0);
    CHECK(strstr(a, "60123456789") == NULL);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK(strcmp(a, job_id_campaign(others[i].campaign, others[i].device, others[i].phone,
                                        others[i].rotation, b)) != 0);
    }
    CHECK(strlen(job_id_campaign(UINT64_MAX, UINT64_MAX, "60123456789", 9, b)) < JOB_ID_SIZE);
}

TEST(every_source_has_its_word)
{
    char out[SOURCE_WORD_SIZE];
    CHECK_STR("c42", source_word(SOURCE_CAMPAIGN, 42, out));
    CHECK(source_word(SOURCE_CAMPAIGN, 1, out) == out);
    CHECK_STR("s7", source_word(SOURCE_SEQUENCE, 7, out));
    CHECK_STR("d1", source_word(SOURCE_DIRECT, 1, out));
    CHECK_STR("r18446744073709551615", source_word(SOURCE_RECURRING, UINT64_MAX, out));
    for (int k = 0; k < SOURCE_KINDS; k++) {
        CHECK_INT(k, source_kind_parse(sources[k].kind));
    }
    CHECK_INT(SOURCE_DIRECT, source_kind_parse("?"));
}

TEST(a_step_is_due_behind_its_enrolment_and_late_behind_that)
{
    char id[JOB_ID_SIZE];
    struct sql q = {0}, want = {0};
    const struct message_row m = {.kind = SOURCE_SEQUENCE,
                                  .source = 7,
                                  .step = 70,
                                  .rotation = 2,
                                  .user = 1,
                                  .device = 17,
                                  .lead = 5,
                                  .phone = "60123456789",
                                  .name = "A",
                                  .from = "2026-11-26 10:00:00.250",
                                  .after_s = 300,
                                  .max_lateness_s = 60};
    row_plan_begin(&q);
    row_plan_add(&q, &m, true);
    sql_addf(&want,
             "(%s,1,17,'sequence',NULL,7,70,2,NULL,NULL,5,'60123456789','A','2026-11-26 "
             "10:00:00.250' + INTERVAL 300 SECOND,'2026-11-26 10:00:00.250' + INTERVAL 360 "
             "SECOND,UTC_TIMESTAMP(3),UTC_TIMESTAMP(3))",
             job_id_step(70, 17, "60123456789", 2, id));
    CHECK_STR(want.text.data, read_head(q.text.data));
    CHECK(strncmp(id, "s70-d17-", 8) == 0 && strcmp(id + strlen(id) - 3, "-r2") == 0);
    sql_done(&q);
    sql_done(&want);
}

/* One message an occurrence and recipient, whichever device has the contact. */
TEST(an_occurrence_is_named_by_its_nominal_instant)
{
    char id[JOB_ID_SIZE];
    struct sql q = {0}, want = {0};
    const struct message_row m = {.kind = SOURCE_RECURRING,
                                  .source = 3,
                                  .occurrence_s = 1763805600,
                                  .user = 1,
                                  .device = 17,
                                  .phone = "120363041234567890@g.us",
                                  .name = ""};
    row_plan_begin(&q);
    row_plan_add(&q, &m, true);
    sql_addf(&want,
             "(%s,1,17,'recurring',NULL,NULL,NULL,0,3,'1970-01-01' + INTERVAL 1763805600 "
             "SECOND,NULL,%s,'',UTC_TIMESTAMP(3),NULL,UTC_TIMESTAMP(3),UTC_TIMESTAMP(3))",
             job_id_occurrence(3, 1763805600, m.phone, id), m.phone);
    CHECK_STR(want.text.data, read_head(q.text.data));
    CHECK(strncmp(id, "r3-t1763805600-", 15) == 0);
    sql_done(&q);
    sql_done(&want);
}

TEST(ids_from_outside_are_checked)
{
    static const char *const good[] = {"a", "order-17", "A.b_c:d#e-9"};
    static const char *const bad[] = {
        "",
        " ",
        "a b",
        "a/b",
        "a\n",
        "{p07}",
        "\xc3\xa9",
        "*",
        "0123456789012345678901234567890123456789012345678901234567890"
        "12345"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(job_id_is_good(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!job_id_is_good(bad[i]));
    }
}
