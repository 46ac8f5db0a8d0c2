/* settle_plan.h -- a result from Redis and the row it is for -> what the row becomes.  Pure. */
#ifndef REAPER_SETTLE_PLAN_H
#define REAPER_SETTLE_PLAN_H

#include "shared/queue.h"

#include <stdbool.h>
#include <stdint.h>

enum row_status {
    ROW_PENDING,
    ROW_PROCESSING,
    ROW_QUEUED,
    ROW_SENT,
    ROW_FAILED,
    ROW_SKIPPED,
    ROW_UNKNOWN
};
const char *row_status_name(enum row_status s);
/* False for a word that is none. */
bool row_status_parse(const char *word, enum row_status *ret);

enum unknown_policy { POLICY_HOLD, POLICY_RESEND, POLICY_ASSUME_SENT };
/* "hold", "resend", "assume_sent"; anything else is hold. */
enum unknown_policy unknown_policy_parse(const char *word);

struct ledger_row {
    uint64_t id;
    enum row_status status;
    uint32_t gen;
    uint32_t attempt, deferrals, unknowns;
    uint32_t max_attempts;
    enum unknown_policy policy;
    bool applied; /* this attempt's outcome, or this very result, was applied before, or the open
                     attempt is another lease's: see settle_asks */
};

struct settle_rules {
    int64_t retry_base_ms,
        retry_cap_ms; /* of backoff_ms(); deferrals are capped at 5 min as well */
    int64_t
        resend_after_ms; /* how long an unknown waits for late evidence before its policy acts */
};

/* What is to be written.  change = false: nothing (the result has been applied before, or is out of
 * date). */
struct settle_action {
    bool change;
    enum row_status status;
    uint32_t attempt, deferrals, unknowns;
    int64_t due_in_ms;    /* pending: scheduled_at = now + this; -1 = leave scheduled_at */
    int64_t decide_in_ms; /* unknown: when the policy acts; -1 = never, so after a refusal */
};

/* Whether `applied` must be known: results may come again, and status and gen cannot tell where the
 * row has gone on since, or stays unknown because another attempt is open. */
bool settle_asks(const struct ledger_row *row, const struct queue_result *r);

/* Rules: "sent" dominates, whatever gen or status.  "unknown" is taken for a row that is not final,
 * from its gen on.  Everything else needs the row's very gen and a row that waits for it (queued or
 * processing), or, when it is late, the unknown row that it resolves.  After an unknown attempt a
 * refusal is not "failed" but "unknown": nobody knows whether the first attempt arrived.  Nor is it
 * "skipped". */
struct settle_action settle_plan(const struct ledger_row *row, const struct queue_result *r,
                                 const struct settle_rules *rules, uint64_t random);

#endif
