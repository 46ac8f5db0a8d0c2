#include "shared/metrics.h"

#include "worker/worker.h"

#define OUTCOME(word)                                                                              \
    {                                                                                              \
        .name = "paceline_messages_total", .help = "Outcomes reported by senders.",                \
        .labels = "outcome=\"" word "\"", .type = METRIC_COUNTER                                   \
    }

struct metric worker_metrics[] = {
    [M_SENT] = OUTCOME("sent"),
    [M_FAILED] = OUTCOME("failed"),
    [M_RETRY] = OUTCOME("retry"),
    [M_DEFERRED] = OUTCOME("deferred"),
    [M_UNKNOWN] = OUTCOME("unknown"),
    [M_IN_FLIGHT] = {.name = "paceline_inflight",
                     .help = "Jobs in this worker's hands.",
                     .type = METRIC_GAUGE},
    [M_CLAIMS] = {.name = "paceline_claims_total",
                  .help = "Claim calls to Redis.",
                  .type = METRIC_COUNTER},
    [M_STALE] = {.name = "paceline_stale_total",
                 .help = "Permits and outcomes whose lease was somebody else's by then.",
                 .type = METRIC_COUNTER},
    [M_LATE] = {.name = "paceline_late_total",
                .help = "Outcomes that resolved a message declared unknown before.",
                .type = METRIC_COUNTER},
    [M_CLAIM_TO_SEND] = {.name = "paceline_claim_to_send_seconds",
                         .help = "From the claim to the start of the request.",
                         .type = METRIC_HISTOGRAM},
    [M_SEND] = {.name = "paceline_send_seconds",
                .help = "Length of requests.",
                .type = METRIC_HISTOGRAM},
    [M_REDIS_UP] = {.name = "paceline_redis_up",
                    .help = "1 while Redis is connected.",
                    .type = METRIC_GAUGE},
    [M_REASSERTED] = {.name = "paceline_reasserted_total",
                      .help = "Journal records told again after Redis lost data.",
                      .type = METRIC_COUNTER},
#define CHECKED(word)                                                                              \
    {                                                                                              \
        .name = "paceline_device_checks_total", .help = "How providers said that devices are.",    \
        .labels = "state=\"" word "\"", .type = METRIC_COUNTER                                     \
    }
    [M_CHECKED_ONLINE] = CHECKED("online"),
    [M_CHECKED_OFFLINE] = CHECKED("offline"),
    [M_CHECKED_UNKNOWN] = CHECKED("unknown"),
    [M_RELEASED] = {.name = "paceline_released_total",
                    .help = "Leases given back unsent.",
                    .type = METRIC_COUNTER},
    [M_MEDIA_BYTES] = {.name = "paceline_media_bytes",
                       .help = "Contents of media in this worker's memory.",
                       .type = METRIC_GAUGE},
    [M_MEDIA_MISSING] = {.name = "paceline_media_missing_total",
                         .help = "Messages that waited because Redis had lost their medium.",
                         .type = METRIC_COUNTER},
};
