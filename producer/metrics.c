#include "shared/metrics.h"

#include "producer/producer.h"

#define COUNTER(n, h)                                                                              \
    {                                                                                              \
        .name = (n), .help = (h), .type = METRIC_COUNTER                                           \
    }
#define GAUGE(n, h)                                                                                \
    {                                                                                              \
        .name = (n), .help = (h), .type = METRIC_GAUGE                                             \
    }

struct metric producer_metrics[] = {
    [M_ROWS] = COUNTER("paceline_rows_total",
                       "Messages written for campaigns, sequences and recurring messages."),
    [M_ENROLLED] = COUNTER("paceline_enrolled_total", "Contacts enrolled in sequences."),
    [M_RUNS] = COUNTER("paceline_recurring_runs_total", "Occurrences that were run."),
    [M_MISSED] = COUNTER("paceline_recurring_missed_total",
                         "Occurrences that were not run: too late, or an earlier run went on."),
    [M_ENROL_RATE] = GAUGE("paceline_enrol_rate", "Rows a second that may be enrolled now."),
    [M_LAG] = {.name = "paceline_dispatch_lag_seconds",
               .help = "Lateness of the first due message of devices that waited for nothing else.",
               .type = METRIC_HISTOGRAM},
    [M_JOBS] = COUNTER("paceline_jobs_total", "Jobs activated in Redis."),
    [M_EXPIRED] = COUNTER("paceline_expired_total", "Rows skipped because they were too late."),
    [M_CANCELLED] =
        COUNTER("paceline_cancelled_total", "Rows skipped because their source was cancelled."),
    [M_WITHDRAWN] = COUNTER("paceline_withdrawn_total",
                            "Jobs and rows on their way that an opt-out has taken back."),
    [M_RETURNED] = COUNTER("paceline_returned_total", "Claimed rows that Redis had no place for."),
    [M_REFUSED] = COUNTER("paceline_refused_total",
                          "Claimed rows that must not go out: opted out, left, bad input."),
    [M_CAPPED] = COUNTER("paceline_capped_total",
                         "Claimed rows put off: their recipient or their account has had enough."),
    [M_DEADLOCKS] = COUNTER("paceline_deadlocks_total",
                            "Transactions repeated after a deadlock or lock time-out."),
    [M_STATEMENTS] = COUNTER("paceline_statements_total", "Statements sent to MySQL."),
    [M_MYSQL_UP] = GAUGE("paceline_mysql_up", "1 while MySQL answers."),
    [M_REDIS_UP] = GAUGE("paceline_redis_up", "1 while Redis answers."),
    [M_BACKLOG] = GAUGE("paceline_due_devices", "Devices with due rows at the last sweep."),
    [M_CYCLE] = {.name = "paceline_cycle_seconds",
                 .help = "Length of a producer's cycle.",
                 .type = METRIC_HISTOGRAM},
};
