#include "reaper/settle_plan.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

static const struct settle_rules rules = {
    .retry_base_ms = 1000, .retry_cap_ms = 10000, .resend_after_ms = 60000};

static const char *const kinds[] = {"sent",     "failed",  "retry",  "deferred",
                                    "returned", "skipped", "unknown"};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct queue_result
result(const char *kind, uint32_t gen, uint64_t token, bool late)
{
    struct queue_result r = {.gen = gen, .token = token, .late = late};
    (void)snprintf(r.kind, sizeof r.kind, "%s", kind);
    return r;
}

/* --- words ------------------------------------------------------------------------------------ */

TEST(every_status_has_a_word_of_its_own)
{
    static const char *const words[] = {"pending", "processing", "queued", "sent",
                                        "failed",  "skipped",    "unknown"};
    for (int s = ROW_PENDING; s <= ROW_UNKNOWN; s++) {
        enum row_status got = ROW_PENDING;
        CHECK_STR(words[s], row_status_name((enum row_status)s));
        CHECK(row_status_parse(words[s], &got));
        CHECK_INT(s, got);
    }
}

TEST(a_word_that_is_no_status_is_refused)
{
    static const char *const bad[] = {"", "Pending", "sent ", " sent", "sen", "sents", "cancelled"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum row_status got = ROW_SKIPPED;
        CHECK(!row_status_parse(bad[i], &got));
        CHECK_INT(ROW_SKIPPED, got);
    }
}

TEST(a_policy_that_nobody_knows_is_hold)
{
    CHECK_INT(POLICY_HOLD, unknown_policy_parse("hold"));
    CHECK_INT(POLICY_RESEND, unknown_policy_parse("resend"));
    CHECK_INT(POLICY_ASSUME_SENT, unknown_policy_parse("assume_sent"));
    static const char *const others[] = {"", "Resend", "resend ", "assume", "sent", "x"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_INT(POLICY_HOLD, unknown_policy_parse(others[i]));
    }
}

/* --- the rules as a table ---------------------------------------------------------------------
 * The first line that fits decides.  A column left 0 fits everything. */

enum { PENDING = 1, PROCESSING = 2, QUEUED = 4, SENT = 8, FAILED = 16, SKIPPED = 32, UNKNOWN = 64 };
enum { WAITS = PROCESSING | QUEUED };
enum { ROW_OLDER = 1, SAME = 2, ROW_NEWER = 4 };
enum { YES = 1, NO = 2 };

enum effect {
    KEEP,
    SENT_CHARGED,  /* this attempt is the one */
    SENT_RESOLVED, /* the attempt was charged when it became unknown */
    NOW_UNKNOWN,
    AGAIN_AS_IT_WAS,
    SKIP,
    AGAIN_DEFERRED,
    RETRY,
    REFUSE,
};

static const struct rule {
    const char *kind;
    int status, gen, late, open, applied;
    bool resolves; /* an unknown attempt is taken back before the effect */
    enum effect effect;
} table[] = {
    /* "sent" dominates, whatever gen or status. */
    {"sent", SENT, 0, 0, 0, 0, false, KEEP},
    {"sent", UNKNOWN, SAME, 0, YES, 0, false, SENT_RESOLVED},
    {"sent", 0, 0, 0, 0, 0, false, SENT_CHARGED},
    /* The same result again. */
    {NULL, 0, 0, 0, 0, YES, false, KEEP},
    /* "unknown" is taken for a row that is not final, from its gen on. */
    {"unknown", PENDING | WAITS, SAME | ROW_NEWER, 0, 0, 0, false, NOW_UNKNOWN},
    {"unknown", 0, 0, 0, 0, 0, false, KEEP},
    /* Everything else needs the row's very gen and a row that waits for it. */
    {NULL, 0, ROW_OLDER | ROW_NEWER, 0, 0, 0, false, KEEP},
    {"returned", WAITS, 0, 0, 0, 0, false, AGAIN_AS_IT_WAS},
    {"skipped", WAITS, 0, 0, 0, 0, false, SKIP},
    {"deferred", WAITS, 0, 0, 0, 0, false, AGAIN_DEFERRED},
    {"retry", WAITS, 0, 0, 0, 0, false, RETRY},
    {"failed", WAITS, 0, 0, 0, 0, false, REFUSE},
    /* Or, when it is late, the unknown row that it resolves. */
    {"returned", UNKNOWN, 0, YES, YES, 0, true, AGAIN_AS_IT_WAS},
    {"skipped", UNKNOWN, 0, YES, YES, 0, true, SKIP},
    {"deferred", UNKNOWN, 0, YES, YES, 0, true, AGAIN_DEFERRED},
    {"retry", UNKNOWN, 0, YES, YES, 0, true, RETRY},
    {"failed", UNKNOWN, 0, YES, YES, 0, true, REFUSE},
    {NULL, 0, 0, 0, 0, 0, false, KEEP},
};

static bool
fits(int column, int value)
{
    return column == 0 || (column & value) != 0;
}

static const struct rule *
find_rule(const struct ledger_row *row, const struct queue_result *r)
{
    for (const struct rule *x = table;; x++) {
        int gen = row->gen == r->gen ? SAME : row->gen < r->gen ? ROW_OLDER : ROW_NEWER;
        if ((!x->kind || strcmp(x->kind, r->kind) == 0) && fits(x->status, 1 << row->status) &&
            fits(x->gen, gen) && fits(x->late, r->late ? YES : NO) &&
            fits(x->open, row->unknowns ? YES : NO) && fits(x->applied, row->applied ? YES : NO)) {
            return x;
        }
    }
}

/* Half and whole of base * 2^step, capped: the bounds of a delay. */
static int64_t
whole_delay(uint32_t step)
{
    int64_t ms = rules.retry_base_ms;
    while (step-- && ms < rules.retry_cap_ms) {
        ms *= 2;
    }
    return ms < rules.retry_cap_ms ? ms : rules.retry_cap_ms;
}

struct wanted {
    struct settle_action a;
    bool delayed;
    uint32_t step;
};

static void
want_refused(struct settle_action *a)
{
    a->status =
        a->unknowns ? ROW_UNKNOWN : ROW_FAILED; /* nobody knows whether the first one arrived */
}

static struct wanted
judge(const struct ledger_row *row, const struct queue_result *r)
{
    const struct rule *rule = find_rule(row, r);
    struct wanted w = {.a = {.change = rule->effect != KEEP,
                             .attempt = row->attempt,
                             .deferrals = row->deferrals,
                             .unknowns = row->unknowns,
                             .due_in_ms = -1,
                             .decide_in_ms = -1}};
    if (rule->resolves || rule->effect == SENT_RESOLVED) {
        w.a.unknowns--;
    }
    if (rule->resolves && w.a.attempt) {
        w.a.attempt--; /* charged again, if at all, as what it was */
    }
    switch (rule->effect) {
    case KEEP:
        break;
    case SENT_CHARGED:
        w.a.attempt++;
        w.a.status = ROW_SENT;
        break;
    case SENT_RESOLVED:
        w.a.status = ROW_SENT;
        break;
    case NOW_UNKNOWN:
        w.a.attempt++;
        w.a.unknowns++;
        w.a.status = ROW_UNKNOWN;
        w.a.decide_in_ms = row->policy == POLICY_HOLD ? -1 : rules.resend_after_ms;
        break;
    case AGAIN_AS_IT_WAS:
        w.a.status = ROW_PENDING;
        break;
    case SKIP:
        w.a.status = w.a.unknowns ? ROW_UNKNOWN : ROW_SKIPPED; /* an attempt may have arrived */
        break;
    case AGAIN_DEFERRED:
        w.a.status = ROW_PENDING;
        w.delayed = true;
        w.step = w.a.deferrals++;
        break;
    case RETRY:
        w.step = w.a.attempt++;
        w.delayed = w.a.attempt < row->max_attempts;
        w.a.status = ROW_PENDING;
        if (!w.delayed) {
            want_refused(&w.a);
        }
        break;
    case REFUSE:
        w.a.attempt++;
        want_refused(&w.a);
        break;
    }
    return w;
}

static _Noreturn void
explain(const struct ledger_row *row, const struct queue_result *r, const struct settle_action *got,
        const struct settle_action *want)
{
    t_fail(
        __FILE__, __LINE__,
        "%s gen %u attempt %u/%u deferrals %u unknowns %u policy %d applied %d; %s gen %u late %d: "
        "change %d %s %u/%u/%u due %lld decide %lld, not change %d %s %u/%u/%u due %lld decide "
        "%lld",
        row_status_name(row->status), row->gen, row->attempt, row->max_attempts, row->deferrals,
        row->unknowns, row->policy, row->applied, r->kind, r->gen, r->late, got->change,
        row_status_name(got->status), got->attempt, got->deferrals, got->unknowns,
        (long long)got->due_in_ms, (long long)got->decide_in_ms, want->change,
        row_status_name(want->status), want->attempt, want->deferrals, want->unknowns,
        (long long)want->due_in_ms, (long long)want->decide_in_ms);
}

static void
compare(const struct ledger_row *row, const struct queue_result *r, const struct settle_action *got,
        const struct settle_action *want)
{
    bool same = got->change == want->change;
    if (same && want->change) {
        same = got->status == want->status && got->attempt == want->attempt &&
               got->deferrals == want->deferrals && got->unknowns == want->unknowns &&
               got->due_in_ms == want->due_in_ms && got->decide_in_ms == want->decide_in_ms;
    }
    if (!same) {
        explain(row, r, got, want);
    }
}

static void
check_rules(const struct ledger_row *row, const struct queue_result *r)
{
    struct wanted w = judge(row, r);
    int64_t whole = whole_delay(w.step), half = whole / 2;
    w.a.due_in_ms = w.delayed ? half : -1;
    struct settle_action got = settle_plan(row, r, &rules, 0);
    compare(row, r, &got, &w.a);
    w.a.due_in_ms = w.delayed ? whole : -1;
    got = settle_plan(row, r, &rules, (uint64_t)(whole - half));
    compare(row, r, &got, &w.a);
}

/* --- every combination ------------------------------------------------------------------------ */

typedef void check(const struct ledger_row *row, const struct queue_result *r);

static void
for_each_row(const struct queue_result *r, check *f)
{
    enum { ROW_GEN = 7 };
    static const uint32_t attempts[] = {0, 1, 2, 4, 5, 6}, deferrals[] = {0, 3},
                          limits[] = {0, 1, 5};
    for (int s = ROW_PENDING; s <= ROW_UNKNOWN; s++) {
        for (int i = 0; i < 6 * 2 * 3 * 3 * 3 * 2; i++) {
            struct ledger_row row = {
                .id = 1,
                .status = (enum row_status)s,
                .gen = ROW_GEN,
                .attempt = attempts[i % 6],
                .deferrals = deferrals[i / 6 % 2],
                .max_attempts = limits[i / 12 % 3],
                .unknowns = (uint32_t)(i / 36 % 3),
                .policy = (enum unknown_policy)(i / 108 % 3),
                .applied = i / 324,
            };
            f(&row, r);
        }
    }
}

static void
for_each(check *f)
{
    for (int k = 0; k < KINDS; k++) {
        for (uint32_t gen = 6; gen <= 8; gen++) {
            for (int late = 0; late < 2; late++) {
                struct queue_result r = result(kinds[k], gen, 9, late);
                for_each_row(&r, f);
            }
        }
    }
}

TEST(every_result_for_every_row_goes_by_the_rules)
{
    for_each(check_rules);
}

static void
check_monotony(const struct ledger_row *row, const struct queue_result *r)
{
    struct settle_action a = settle_plan(row, r, &rules, t_random());
    if (!a.change) {
        return;
    }
    CHECK(row->status != ROW_SENT);
    CHECK((row->status != ROW_FAILED && row->status != ROW_SKIPPED) || a.status == ROW_SENT);
    CHECK(a.status != ROW_PROCESSING && a.status != ROW_QUEUED);
    CHECK((a.status == ROW_SENT) == (strcmp(r->kind, "sent") == 0));
    CHECK(a.status != ROW_FAILED || a.unknowns == 0);
    CHECK(a.attempt <= row->attempt + 1 && a.deferrals >= row->deferrals);
    CHECK(a.unknowns <= row->unknowns + 1 && a.unknowns + 1 >= row->unknowns);
    CHECK(a.due_in_ms == -1 || (a.status == ROW_PENDING && a.due_in_ms > 0));
    CHECK(a.decide_in_ms == -1 || a.status == ROW_UNKNOWN);
    CHECK(strcmp(r->kind, "retry") != 0 || a.status != ROW_PENDING ||
          a.attempt < row->max_attempts);
}

TEST(nothing_replaces_sent_and_only_sent_replaces_what_is_final)
{
    for_each(check_monotony);
}

static struct ledger_row
after(const struct ledger_row *row, const struct settle_action *a)
{
    struct ledger_row next = *row;
    if (a->change) {
        next.status = a->status;
        next.attempt = a->attempt;
        next.deferrals = a->deferrals;
        next.unknowns = a->unknowns;
    }
    return next;
}

/* A reaper that dies between commit and forget leaves its results to be applied again. */
static void
check_twice(const struct ledger_row *row, const struct queue_result *r)
{
    if (row->applied) {
        return;
    }
    struct settle_action a = settle_plan(row, r, &rules, t_random());
    struct ledger_row next = after(row, &a);
    next.applied = a.change && settle_asks(&next, r);
    struct settle_action b = settle_plan(&next, r, &rules, t_random());
    if (a.change && b.change) {
        explain(&next, r, &b, &(struct settle_action){.change = false});
    }
}

TEST(the_same_result_twice_changes_nothing_the_second_time)
{
    for_each(check_twice);
}

/* Even after the row has gone on: it was claimed again meanwhile. */
static void
check_twice_later(const struct ledger_row *row, const struct queue_result *r)
{
    if (row->applied || row->gen < r->gen) {
        return;
    }
    struct settle_action a = settle_plan(row, r, &rules, t_random());
    if (!a.change || a.status == ROW_SENT) {
        return;
    }
    for (int s = ROW_PENDING; s <= ROW_UNKNOWN; s++) {
        struct ledger_row next = after(row, &a);
        next.status = (enum row_status)s;
        next.gen++;
        next.applied = settle_asks(&next, r);
        CHECK(!settle_plan(&next, r, &rules, t_random()).change);
    }
}

TEST(a_result_that_comes_again_does_not_touch_a_later_claim)
{
    for_each(check_twice_later);
}

/* Asking costs a query: never for "sent", and never where status and gen say all. */
static void
check_question(const struct ledger_row *row, const struct queue_result *r)
{
    if (row->applied || !settle_asks(row, r)) {
        return;
    }
    CHECK(strcmp(r->kind, "sent") != 0);
    CHECK(settle_plan(row, r, &rules, 0).change);
    CHECK(row->status == ROW_PENDING || row->status == ROW_UNKNOWN || row->gen > r->gen);
}

TEST(it_is_asked_only_where_the_row_cannot_tell)
{
    for_each(check_question);
    struct ledger_row row = {.status = ROW_QUEUED, .gen = 3, .max_attempts = 5};
    for (int k = 0; k < KINDS; k++) {
        struct queue_result r = result(kinds[k], 3, 1, false);
        CHECK(!settle_asks(&row, &r));
    }
}

/* --- a life ----------------------------------------------------------------------------------- */

TEST(a_message_is_sent)
{
    struct ledger_row row = {.status = ROW_QUEUED, .gen = 1, .max_attempts = 5};
    struct queue_result r = result("sent", 1, 1, false);
    struct settle_action a = settle_plan(&row, &r, &rules, 0);
    CHECK(a.change);
    CHECK_INT(ROW_SENT, a.status);
    CHECK_INT(1, a.attempt);
    CHECK_INT(0, a.unknowns);
}

TEST(retries_end_after_the_last_attempt)
{
    struct ledger_row row = {.max_attempts = 5};
    for (uint32_t n = 1; n <= 5; n++) {
        row.status = ROW_QUEUED;
        row.gen = n;
        struct queue_result r = result("retry", n, n, false);
        struct settle_action a = settle_plan(&row, &r, &rules, 0);
        row = after(&row, &a);
        CHECK_INT(n, row.attempt);
        CHECK_INT(n < 5 ? ROW_PENDING : ROW_FAILED, row.status);
        CHECK_INT(n < 5 ? whole_delay(n - 1) / 2 : -1, a.due_in_ms);
    }
}

TEST(deferrals_do_not_end_and_charge_nothing)
{
    struct ledger_row row = {.max_attempts = 1};
    for (uint32_t n = 1; n <= 200; n++) {
        row.status = ROW_QUEUED;
        row.gen = n;
        struct queue_result r = result("deferred", n, n, false);
        struct settle_action a = settle_plan(&row, &r, &rules, 0);
        row = after(&row, &a);
        CHECK_INT(ROW_PENDING, row.status);
        CHECK_INT(0, row.attempt);
        CHECK_INT(n, row.deferrals);
        CHECK(a.due_in_ms > 0 && a.due_in_ms <= rules.retry_cap_ms);
    }
}

/* A device that was out of reach for a day must not cost its messages another hour. */
TEST(deferrals_wait_five_minutes_at_most_and_retries_up_to_their_cap)
{
    const struct settle_rules slow = {1000, 3600000, 60000};
    struct ledger_row row = {
        .status = ROW_QUEUED, .gen = 1, .max_attempts = 100, .attempt = 40, .deferrals = 40};
    struct queue_result deferred = result("deferred", 1, 1, false);
    struct queue_result retry = result("retry", 1, 1, false);
    CHECK_INT(150000, settle_plan(&row, &deferred, &slow, 0).due_in_ms);
    CHECK_INT(300000, settle_plan(&row, &deferred, &slow, 150000).due_in_ms);
    CHECK_INT(1800000, settle_plan(&row, &retry, &slow, 0).due_in_ms);
    CHECK_INT(3600000, settle_plan(&row, &retry, &slow, 1800000).due_in_ms);
}

/* Unknown, sent again by policy, refused; then the first attempt's own answer. */
TEST(a_refusal_after_an_unknown_attempt_is_unknown)
{
    struct ledger_row row = {
        .status = ROW_QUEUED, .gen = 1, .max_attempts = 5, .policy = POLICY_RESEND};
    struct queue_result r = result("unknown", 1, 1, false);
    struct settle_action a = settle_plan(&row, &r, &rules, 0);
    CHECK_INT(rules.resend_after_ms, a.decide_in_ms);
    row = after(&row, &a);
    row.status = ROW_QUEUED;
    row.gen = 2;
    r = result("failed", 2, 2, false);
    a = settle_plan(&row, &r, &rules, 0);
    row = after(&row, &a);
    CHECK_INT(ROW_UNKNOWN, row.status);
    CHECK_INT(2, row.attempt);
    CHECK_INT(1, row.unknowns);
    CHECK_INT(
        -1,
        a.decide_in_ms); /* sending it once more would only be refused again: a person decides */
    r = result("sent", 1, 1, true);
    a = settle_plan(&row, &r, &rules, 0);
    CHECK_INT(ROW_SENT, a.status);
}

TEST(a_late_refusal_resolves_the_only_unknown_attempt)
{
    struct ledger_row row = {
        .status = ROW_UNKNOWN, .gen = 1, .max_attempts = 5, .attempt = 1, .unknowns = 1};
    struct queue_result r = result("failed", 1, 1, true);
    struct settle_action a = settle_plan(&row, &r, &rules, 0);
    CHECK_INT(ROW_FAILED, a.status);
    CHECK_INT(1, a.attempt);
    CHECK_INT(0, a.unknowns);
}

/* --- random lives -----------------------------------------------------------------------------
 * A row is claimed again and again; each claim's attempt gives one result, and an unknown one
 * perhaps a late result after it.  Results are delivered in any order and more than once, as dying
 * reapers leave them.  The truth about each attempt is kept apart. */

enum { RESULTS_MAX = 64, GENS_MAX = 32 };

struct life {
    struct ledger_row row;
    struct emitted {
        struct queue_result r;
        bool delivered;
    } results[RESULTS_MAX];
    size_t n;
    bool concluded[GENS_MAX]; /* the attempt has given its first result */
    bool taken[GENS_MAX];     /* its "unknown" has been taken over into the row */
    bool resolved[GENS_MAX];  /* and what it was has become known */
};

static void
emit(struct life *l, const char *kind, uint32_t gen, bool late)
{
    if (l->n < RESULTS_MAX) {
        l->results[l->n++] = (struct emitted){.r = result(kind, gen, gen, late)};
    }
}

/* As the caller finds it in the events: a word about this attempt, or this very one, was written
 * before. */
static bool
was_applied(const struct life *l, const struct queue_result *r)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct queue_result *x = &l->results[i].r;
        if (l->results[i].delivered && x->gen == r->gen && x->token == r->token &&
            (strcmp(x->kind, r->kind) == 0 || strcmp(x->kind, "unknown") != 0)) {
            return true;
        }
    }
    return false;
}

static size_t
open_attempts(const struct life *l)
{
    size_t n = 0;
    for (uint32_t g = 0; g < GENS_MAX; g++) {
        n += l->taken[g] && !l->resolved[g];
    }
    return n;
}

static void
check_life(const struct life *l, const struct ledger_row *before, const struct queue_result *r,
           const struct settle_action *a)
{
    CHECK(before->status != ROW_SENT || !a->change);
    if (a->change && a->status == ROW_FAILED) {
        CHECK_INT(0, open_attempts(l));
    }
    if (l->row.status != ROW_SENT) {
        CHECK(l->row.unknowns >= open_attempts(l));
        CHECK(l->row.attempt <= l->row.max_attempts);
        CHECK(l->row.attempt + l->row.deferrals <= l->row.gen);
    }
    CHECK(l->row.status != ROW_PENDING || l->row.attempt < l->row.max_attempts);
    CHECK(strcmp(r->kind, "sent") != 0 || l->row.status == ROW_SENT);
}

static void
deliver(struct life *l)
{
    struct emitted *x = &l->results[t_random() % l->n];
    struct ledger_row before = l->row;
    before.applied = settle_asks(&before, &x->r) && was_applied(l, &x->r);
    struct settle_action a = settle_plan(&before, &x->r, &rules, t_random());
    l->row = after(&before, &a);
    l->row.applied = false;
    if (strcmp(x->r.kind, "unknown") == 0) {
        l->taken[x->r.gen] |= a.change;
    } else {
        l->resolved[x->r.gen] = true;
    }
    x->delivered = true;
    check_life(l, &before, &x->r, &a);
}

static void
conclude(struct life *l)
{
    uint32_t g = l->row.gen;
    if ((l->row.status == ROW_QUEUED || l->row.status == ROW_PROCESSING) && !l->concluded[g]) {
        l->concluded[g] = true;
        emit(l, kinds[t_random() % KINDS], g, false);
        if (strcmp(l->results[l->n - 1].r.kind, "unknown") == 0 && t_random() % 2) {
            static const char *const words[] = {"sent", "failed", "retry", "deferred"};
            emit(l, words[t_random() % 4], g, true);
        }
    }
}

static void
go_on(struct life *l)
{
    bool again = l->row.status == ROW_UNKNOWN && l->row.policy == POLICY_RESEND &&
                 l->row.attempt < l->row.max_attempts;
    if (again && t_random() % 4 == 0) {
        l->row.status = ROW_PENDING;
    } else if (l->row.status == ROW_PENDING && l->row.gen + 1 < GENS_MAX &&
               l->n + 2 < RESULTS_MAX) {
        l->row.status = t_random() % 4 ? ROW_QUEUED : ROW_PROCESSING;
        l->row.gen++;
    } else if (l->row.status == ROW_PROCESSING) {
        l->row.status = ROW_QUEUED;
    }
}

TEST(no_sequence_of_results_calls_failed_what_may_have_been_sent)
{
    size_t failed = 0, unknown = 0, sent = 0;
    for (int i = 0; i < 20000; i++) {
        struct life l = {.row = {.id = 1, .policy = (enum unknown_policy)(t_random() % 3)}};
        l.row.max_attempts = 1 + (uint32_t)(t_random() % 5);
        for (int step = 0; step < 120; step++) {
            go_on(&l);
            if (t_random() % 2) {
                conclude(&l);
            }
            if (l.n) {
                deliver(&l);
            }
        }
        failed += l.row.status == ROW_FAILED;
        unknown += l.row.status == ROW_UNKNOWN;
        sent += l.row.status == ROW_SENT;
    }
    CHECK(failed > 500 && unknown > 500 && sent > 500);
}
