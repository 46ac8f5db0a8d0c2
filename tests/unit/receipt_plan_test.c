#include "reaper/receipt_plan.h"
#include "tests/harness/t.h"

static struct receipt_action
plan(enum row_status status, uint32_t attempt, uint32_t unknowns, enum receipt_kind has,
     enum receipt_kind kind, uint32_t of)
{
    struct receipt_row row = {status, attempt, unknowns, has, false};
    struct receipt r = {.kind = kind, .attempt = of, .age_ms = RECEIPT_RESULT_MS};
    return receipt_plan(&row, &r);
}

static const enum row_status statuses[] = {ROW_PENDING, ROW_PROCESSING, ROW_QUEUED, ROW_SENT,
                                           ROW_FAILED,  ROW_SKIPPED,    ROW_UNKNOWN};

TEST(words_and_kinds_belong_together)
{
    for (int k = RECEIPT_SENT; k <= RECEIPT_RESUME; k++) {
        CHECK_INT(k, receipt_kind_parse(receipt_kind_name((enum receipt_kind)k)));
    }
    CHECK_INT(RECEIPT_NONE, receipt_kind_parse("none"));
    CHECK_INT(RECEIPT_NONE, receipt_kind_parse("Sent"));
    CHECK(receipt_code_is_opt_out("131050") && !receipt_code_is_opt_out("131049"));
}

/* Whatever the order, and however often: the highest counts. */
TEST(a_receipt_is_a_maximum)
{
    for (int has = RECEIPT_NONE; has <= RECEIPT_READ; has++) {
        for (int kind = RECEIPT_SENT; kind <= RECEIPT_READ; kind++) {
            struct receipt_action a =
                plan(ROW_SENT, 1, 0, (enum receipt_kind)has, (enum receipt_kind)kind, 1);
            CHECK_INT(kind > has, a.raise);
            CHECK(!a.evidence && !a.wait && !a.take_back);
            CHECK_INT(ROW_SENT, a.status);
        }
    }
}

TEST(what_went_out_is_sent_whatever_its_row_says)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        for (int kind = RECEIPT_SENT; kind <= RECEIPT_READ; kind++) {
            if (kind == RECEIPT_FAILED) {
                continue;
            }
            struct receipt_action a =
                plan(statuses[i], 2, 1, RECEIPT_NONE, (enum receipt_kind)kind, 1);
            bool under_way = statuses[i] == ROW_QUEUED || statuses[i] == ROW_PROCESSING;
            CHECK_INT(ROW_SENT, a.status);
            CHECK(a.raise);
            CHECK_INT(statuses[i] != ROW_SENT, a.evidence);
            CHECK_INT(under_way, a.take_back);
            /* What is under way again may be sent twice, and is counted for that. */
            CHECK_INT(under_way || statuses[i] == ROW_SENT ? 1 : 0, a.unknowns);
            CHECK_INT(2, a.attempt);
        }
    }
}

TEST(a_failure_resolves_one_open_attempt_and_sends_nothing)
{
    struct receipt_action a = plan(ROW_UNKNOWN, 1, 1, RECEIPT_NONE, RECEIPT_FAILED, 1);
    CHECK_INT(ROW_FAILED, a.status);
    CHECK_INT(0, a.unknowns);
    CHECK(a.evidence && a.raise);
    a = plan(ROW_UNKNOWN, 2, 2, RECEIPT_NONE, RECEIPT_FAILED, 1);
    CHECK_INT(ROW_UNKNOWN, a.status); /* the other attempt may have arrived */
    CHECK_INT(1, a.unknowns);
    CHECK(a.evidence && !a.raise);
    static const enum row_status open[] = {ROW_PENDING, ROW_PROCESSING, ROW_QUEUED};
    for (size_t i = 0; i < 3; i++) {
        a = plan(open[i], 1, 1, RECEIPT_NONE, RECEIPT_FAILED, 1);
        CHECK_INT(open[i], a.status);
        CHECK_INT(0, a.unknowns);
        CHECK(a.evidence && !a.take_back);
        a = plan(open[i], 1, 0, RECEIPT_NONE, RECEIPT_FAILED, 1);
        CHECK(!a.evidence && !a.raise && !a.wait);
    }
    a = plan(ROW_FAILED, 1, 0, RECEIPT_NONE, RECEIPT_FAILED, 1);
    CHECK(!a.evidence && a.raise);
}

TEST(what_was_only_assumed_is_open)
{
    struct receipt_row row = {ROW_SENT, 1, 1, RECEIPT_NONE, true};
    struct receipt r = {.kind = RECEIPT_FAILED, .attempt = 1};
    struct receipt_action a = receipt_plan(&row, &r);
    CHECK_INT(ROW_FAILED, a.status);
    CHECK(a.evidence && a.raise && a.unknowns == 0);
    r.kind = RECEIPT_SENT;
    a = receipt_plan(&row, &r);
    CHECK_INT(ROW_SENT, a.status);
    CHECK(a.evidence && a.raise && a.unknowns == 0 && !a.take_back);
    row.unknowns = 2; /* of two one is known not to have arrived */
    r.kind = RECEIPT_FAILED;
    a = receipt_plan(&row, &r);
    CHECK_INT(ROW_SENT, a.status);
    CHECK(a.evidence && !a.raise && a.unknowns == 1);
}

TEST(a_failure_of_another_attempt_is_not_this_ones)
{
    struct receipt_row row = {ROW_SENT, 2, 1, RECEIPT_SENT, false};
    struct receipt r = {.kind = RECEIPT_FAILED, .attempt = 1, .other_id = true};
    struct receipt_action a = receipt_plan(&row, &r);
    CHECK(!a.raise && !a.evidence && !a.wait);
    r.other_id = false;
    CHECK(receipt_plan(&row, &r).raise);
}

TEST(a_result_on_its_way_is_waited_for)
{
    struct receipt_row row = {ROW_QUEUED, 1, 1, RECEIPT_NONE, false};
    for (int kind = RECEIPT_SENT; kind <= RECEIPT_READ; kind++) {
        struct receipt r = {.kind = (enum receipt_kind)kind, .attempt = 2};
        CHECK(receipt_plan(&row, &r).wait);
        r.age_ms = RECEIPT_RESULT_MS - 1;
        CHECK(receipt_plan(&row, &r).wait);
        r.age_ms = RECEIPT_RESULT_MS;
        CHECK(!receipt_plan(&row, &r).wait);
        r.age_ms = 0;
        r.attempt = 1; /* the one before: nothing will come of it any more */
        CHECK(!receipt_plan(&row, &r).wait);
    }
    row.status = ROW_UNKNOWN;
    struct receipt r = {.kind = RECEIPT_SENT, .attempt = 2};
    CHECK(!receipt_plan(&row, &r).wait);
}

TEST(attempts_are_those_that_are_proven)
{
    CHECK_INT(3, plan(ROW_PENDING, 1, 0, RECEIPT_NONE, RECEIPT_SENT, 3).attempt);
    CHECK_INT(1, plan(ROW_PENDING, 0, 0, RECEIPT_NONE, RECEIPT_SENT, 0).attempt);
    CHECK_INT(4, plan(ROW_UNKNOWN, 4, 1, RECEIPT_NONE, RECEIPT_SENT, 3).attempt);
}
