/* metrics.h -- counters, gauges and histograms, printed as Prometheus text (OpenMetrics names).
 *
 * Written by the loop's thread, read by the HTTP thread: values are C11 atomics, the list is
 * append-only. Metrics are static objects registered once; labels are a fixed text made by the
 * owner. */
#ifndef SHARED_METRICS_H
#define SHARED_METRICS_H

#include "shared/mem.h"

#include <stdatomic.h>
#include <stdint.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum { METRIC_BUCKETS = 16 };

struct metric {
    const char *name; /* paceline_messages_total */
    const char *help;
    const char *labels; /* `outcome="sent"` or NULL; series of one name must be registered one after
                           another */
    enum metric_type type;
    _Atomic int64_t value;                  /* counter, gauge; histogram: count */
    _Atomic int64_t sum_us;                 /* histogram: sum, microseconds */
    _Atomic int64_t bucket[METRIC_BUCKETS]; /* histogram: per bucket, not cumulative */
    struct metric *next;                    /* private */
};

/* Keeps m.  A counter's name must end with _total and no other's may; a series must be new, of the
 * type of its name: a scraper would refuse everything else, so an assertion does. */
void metric_register(struct metric *m);
void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t v);
/* Histogram of durations; buckets 1, 2, 5, 10, 20, 50 ms .. 50 s, printed in seconds. */
void metric_observe_us(struct metric *m, int64_t us);
/* Appends every registered metric as text, HELP and TYPE once a name. */
void metrics_print(struct buf *out);

#endif
