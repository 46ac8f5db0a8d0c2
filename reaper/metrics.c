#include "shared/metrics.h"

#include "reaper/reaper.h"

#define COUNTER(n, l, h)                                                                           \
    {                                                                                              \
        .name = (n), .labels = (l), .help = (h), .type = METRIC_COUNTER                            \
    }
#define GAUGE(n, h)                                                                                \
    {                                                                                              \
        .name = (n), .help = (h), .type = METRIC_GAUGE                                             \
    }
#define SETTLED(word)                                                                              \
    COUNTER("paceline_settled_total", "status=\"" word "\"", "Rows written with this status.")
#define RECLAIM(word)                                                                              \
    COUNTER("paceline_reclaims_total", "reason=\"" word "\"",                                      \
            "Leases ended after their worker fell silent.")
#define REPAIR(word)                                                                               \
    COUNTER("paceline_repairs_total", "to=\"" word "\"",                                           \
            "Disagreements between MySQL and Redis repaired.")
#define ARCHIVED(word)                                                                             \
    COUNTER("paceline_archived_total", "status=\"" word "\"", "Messages moved to the archive.")

struct metric reaper_metrics[] = {
    [M_SETTLED_SENT] = SETTLED("sent"),
    [M_SETTLED_FAILED] = SETTLED("failed"),
    [M_SETTLED_PENDING] = SETTLED("pending"),
    [M_SETTLED_SKIPPED] = SETTLED("skipped"),
    [M_SETTLED_UNKNOWN] = SETTLED("unknown"),
    [M_UNCHANGED] =
        COUNTER("paceline_settled_unchanged_total", NULL, "Results that had been applied before."),
    [M_RECLAIM_AGAIN] = RECLAIM("again"),
    [M_RECLAIM_UNKNOWN] = RECLAIM("unknown"),
    [M_REPAIR_PENDING] = REPAIR("pending"),
    [M_REPAIR_QUEUED] = REPAIR("queued"),
    [M_REPAIR_UNKNOWN] = REPAIR("unknown"),
    [M_REPAIR_KEYS] = REPAIR("keys"),
    [M_DROPPED] = COUNTER("paceline_dropped_total", NULL,
                          "Jobs taken out of Redis because their row was final or gone."),
    [M_RECOVERIES] =
        COUNTER("paceline_recoveries_total", NULL, "Partitions opened after Redis lost data."),
    [M_DOUBTS] = COUNTER("paceline_doubts_total", NULL,
                         "Partitions opened without the report of every worker."),
    [M_RESENT] = COUNTER("paceline_resent_total", NULL, "Unknown messages sent again by policy."),
    [M_ASSUMED] =
        COUNTER("paceline_assumed_total", NULL, "Unknown messages taken as sent by policy."),
    [M_UNKNOWN_OPEN] =
        GAUGE("paceline_unknown", "Messages whose outcome is unknown, at the last count."),
    [M_ARCHIVED_SENT] = ARCHIVED("sent"),
    [M_ARCHIVED_FAILED] = ARCHIVED("failed"),
    [M_ARCHIVED_SKIPPED] = ARCHIVED("skipped"),
    [M_ARCHIVED_UNKNOWN] = ARCHIVED("unknown"),
    [M_RECEIPTS_APPLIED] = COUNTER("paceline_receipts_total", "end=\"applied\"",
                                   "Providers' events that were looked at, by their end."),
    [M_RECEIPTS_ORPHANED] = COUNTER("paceline_receipts_total", "end=\"orphan\"",
                                    "Providers' events that were looked at, by their end."),
    [M_RECEIPTS_RESOLVED] =
        COUNTER("paceline_receipts_evidence_total", NULL,
                "Receipts that changed what was known of a message, such as an unknown outcome."),
    [M_OPTED_OUT] = COUNTER("paceline_opt_outs_total", NULL,
                            "Recipients who opted out by an answer, a setting or a refusal."),
    [M_OPTED_IN] =
        COUNTER("paceline_opt_ins_total", NULL, "Opt-outs that their recipients have lifted."),
    [M_DEADLOCKS] = COUNTER("paceline_deadlocks_total", NULL,
                            "Transactions repeated after a deadlock or lock time-out."),
    [M_STATEMENTS] = COUNTER("paceline_statements_total", NULL, "Statements sent to MySQL."),
    [M_MYSQL_UP] = GAUGE("paceline_mysql_up", "1 while MySQL answers."),
    [M_REDIS_UP] = GAUGE("paceline_redis_up", "1 while Redis answers."),
    [M_SETTLE] = {.name = "paceline_settle_seconds",
                  .help = "Length of a settle transaction.",
                  .type = METRIC_HISTOGRAM},
};
