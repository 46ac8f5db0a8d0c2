/* pace.h -- when may a device speak, and how long does it rest?  Pure: the time comes as an
 * argument. */
#ifndef WORKER_PACE_H
#define WORKER_PACE_H

#include "shared/queue.h"
#include "worker/sender.h"

#include <stdbool.h>
#include <stdint.h>

struct tz;

/* The gap behind this job: min..max, drawn by hash(job id), so that every worker and every retry
 * draws the same. min > max is read as max = min. */
int64_t pace_gap_ms(const char *job_id, int64_t min_ms, int64_t max_ms);

/* Quiet hours as "from to zone" in minutes of the local day ("1320 420 Asia/Kuala_Lumpur");
 * no zone is UTC. */
struct quiet {
    int from_min, to_min;
    char zone[64];
};
/* False for "" and for anything malformed: there are no quiet hours then. */
bool pace_quiet_parse(const char *text, struct quiet *ret);
/* 0 when now is not within the quiet hours; else how long they still last, ms: with the hour that
 * is left out or doubled when the clocks are changed.  tz may be NULL (UTC). */
int64_t pace_quiet_left_ms(const struct quiet *q, const struct tz *tz, int64_t now_ms);

/* How long a throttled device rests first, unless a worker is told otherwise (device_rest). */
enum { PACE_DEVICE_REST_MS = 30000 };

/* What an outcome means for the row, and for whatever it is about. */
struct verdict {
    const char *kind; /* sent failed retry deferred returned unknown: as in finish.lua */
    enum hold_act act;
    int64_t hold_ms; /* how long that waits; 0 = its own pace */
    bool told;       /* the provider named it; otherwise it grows with each failure */
    enum stop_what stop;
    /* The whole account's or endpoint's devices wait, in all partitions; 0 = no. */
    int64_t wide_ms, wide_cap_ms;
};
/* has_source: the message belongs to something that can be paused; a direct one does not. */
struct verdict pace_verdict(const struct outcome *o, bool has_source);

#endif
