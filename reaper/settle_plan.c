#include "reaper/settle_plan.h"

#include "shared/backoff.h"

#include <string.h>

enum { DEFERRAL_CAP_MS = 300000 };

static const char *const names[] = {"pending", "processing", "queued", "sent",
                                    "failed",  "skipped",    "unknown"};

const char *
row_status_name(enum row_status s)
{
    return names[s];
}

bool
row_status_parse(const char *word, enum row_status *ret)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(word, names[i]) == 0) {
            *ret = (enum row_status)i;
            return true;
        }
    }
    return false;
}

enum unknown_policy
unknown_policy_parse(const char *word)
{
    return strcmp(word, "resend") == 0        ? POLICY_RESEND
           : strcmp(word, "assume_sent") == 0 ? POLICY_ASSUME_SENT
                                              : POLICY_HOLD;
}

static bool
is(const struct queue_result *r, const char *kind)
{
    return strcmp(r->kind, kind) == 0;
}

/* The final word on a row that was refused: "failed" only if no attempt's outcome is open. */
static enum row_status
refused(const struct settle_action *a)
{
    return a->unknowns > 0 ? ROW_UNKNOWN : ROW_FAILED;
}

static void
try_again(struct settle_action *a, const struct queue_result *r, uint32_t times, int64_t base_ms,
          int64_t cap_ms, uint64_t random)
{
    a->status = ROW_PENDING;
    a->due_in_ms = backoff_ms(times, base_ms, cap_ms, random);
    int64_t wait_ms = r->wait_ms > r->rest_ms ? r->wait_ms : r->rest_ms;
    a->due_in_ms = a->due_in_ms > wait_ms ? a->due_in_ms : wait_ms;
}

static void
become_unknown(struct settle_action *a, const struct ledger_row *row,
               const struct settle_rules *rules)
{
    a->status = ROW_UNKNOWN;
    a->attempt++;
    a->unknowns++;
    a->decide_in_ms = row->policy == POLICY_HOLD ? -1 : rules->resend_after_ms;
}

static bool
waits(const struct ledger_row *row)
{
    return row->status == ROW_QUEUED || row->status == ROW_PROCESSING;
}

static bool
resolves(const struct ledger_row *row, const struct queue_result *r)
{
    return row->status == ROW_UNKNOWN && row->gen == r->gen && row->unknowns > 0;
}

bool
settle_asks(const struct ledger_row *row, const struct queue_result *r)
{
    if (is(r, "unknown")) {
        return (row->status == ROW_PENDING && row->gen >= r->gen) ||
               (waits(row) && row->gen > r->gen);
    }
    return !is(r, "sent") && r->late && resolves(row, r);
}

struct settle_action
settle_plan(const struct ledger_row *row, const struct queue_result *r,
            const struct settle_rules *rules, uint64_t random)
{
    struct settle_action a = {
        .change = true,
        .status = row->status,
        .attempt = row->attempt,
        .deferrals = row->deferrals,
        .unknowns = row->unknowns,
        .due_in_ms = -1,
        .decide_in_ms = -1,
    };
    const struct settle_action nothing = {.change = false};
    if (is(r, "sent")) {
        if (row->status == ROW_SENT) {
            return nothing;
        }
        a.status = ROW_SENT;
        if (resolves(row, r)) {
            a.unknowns--;
        } else {
            a.attempt++;
        }
        return a;
    }
    if (row->applied) {
        return nothing;
    }
    if (is(r, "unknown")) {
        if (!(waits(row) || row->status == ROW_PENDING) || row->gen < r->gen) {
            return nothing;
        }
        become_unknown(&a, row, rules);
        return a;
    }
    if (row->gen != r->gen || !(waits(row) || (r->late && resolves(row, r)))) {
        return nothing;
    }
    if (resolves(row, r)) {
        a.unknowns--;
        a.attempt -= a.attempt > 0;
    }
    if (is(r, "returned")) {
        a.status = ROW_PENDING;
        a.due_in_ms = r->wait_ms > 0 ? r->wait_ms : -1;
    } else if (is(r, "skipped")) {
        a.status = a.unknowns > 0 ? ROW_UNKNOWN : ROW_SKIPPED;
    } else if (is(r, "deferred")) {
        /* Nothing was wrong with the message: it does not wait much longer than what held it up. */
        int64_t cap = rules->retry_cap_ms < DEFERRAL_CAP_MS ? rules->retry_cap_ms : DEFERRAL_CAP_MS;
        try_again(&a, r, a.deferrals, rules->retry_base_ms, cap, random);
        a.deferrals++;
    } else if (is(r, "retry")) {
        a.attempt++;
        if (a.attempt >= row->max_attempts) {
            a.status = refused(&a);
        } else {
            try_again(&a, r, a.attempt - 1, rules->retry_base_ms, rules->retry_cap_ms, random);
        }
    } else {
        a.attempt++;
        a.status = refused(&a);
    }
    return a;
}
