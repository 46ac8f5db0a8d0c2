/* queue_push.c -- the verbs that bring jobs into Redis and ask what it knows: stage, activate,
 * probe. */
#include "shared/queue_private.h"

#include <inttypes.h>
#include <string.h>

/* Items [from, *to) belong to one device; returns how many of them take part. */
static size_t
device_run(const struct queue_push *items, size_t n, size_t from, size_t *to)
{
    size_t taking_part = 0;
    *to = from;
    while (*to < n && items[*to].device == items[from].device) {
        taking_part += items[*to].skip ? 0 : 1;
        (*to)++;
    }
    return taking_part;
}

static bool
parse_stage(struct call *c, const struct redis_value *v)
{
    struct queue_push *items = c->items;
    size_t k = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (items[i].skip) {
            continue;
        }
        const char *s = redis_str(redis_at(v, k++));
        items[i].state = strcmp(s, "full") == 0 ? 'F' : *s;
    }
    return k == redis_len(v);
}

void
queue_stage(struct queue *q, unsigned p, struct queue_push *items, size_t n, int64_t window,
            queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    size_t to;
    verb_begin(q, &c, "stage", p);
    key_partition(q, &c, p, "devices");
    for (size_t i = 0; i < n; i = to) {
        if (device_run(items, n, i, &to)) {
            key_device(q, &c, items[i].device, KEY_IDS);
        }
    }
    verb_args(q, &c, p);
    redis_cmd_int(&c, window);
    for (size_t i = 0; i < n; i = to) {
        size_t jobs = device_run(items, n, i, &to);
        if (!jobs) {
            continue;
        }
        redis_cmd_int(&c, (int64_t)items[i].device);
        redis_cmd_int(&c, (int64_t)jobs);
        for (size_t k = i; k < to; k++) {
            if (!items[k].skip) {
                redis_cmd_str(&c, items[k].id);
                redis_cmd_int(&c, items[k].gen);
            }
        }
    }
    struct call call = call_make(q, p, items, n, parse_stage, done, arg);
    call_send(&call, &c, true);
}

static bool
parse_activate(struct call *c, const struct redis_value *v)
{
    struct queue_push *items = c->items;
    size_t k = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (!items[i].skip) {
            items[i].state = redis_int(redis_at(v, k++)) ? '1' : '0';
        }
    }
    return k == redis_len(v);
}

void
queue_activate(struct queue *q, unsigned p, struct queue_push *items, size_t n, int64_t window,
               queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    size_t to;
    verb_begin(q, &c, "activate", p);
    key_partition(q, &c, p, "ready");
    for (size_t i = 0; i < n; i = to) {
        if (device_run(items, n, i, &to)) {
            key_device(q, &c, items[i].device, KEY_IDS);
            key_device(q, &c, items[i].device, KEY_JOBS);
            key_device(q, &c, items[i].device, KEY_DEVICE);
        }
    }
    verb_args(q, &c, p);
    redis_cmd_str(&c, q->wake_channel);
    redis_cmd_int(&c, p);
    for (size_t i = 0; i < n; i = to) {
        size_t jobs = device_run(items, n, i, &to);
        if (!jobs) {
            continue;
        }
        redis_cmd_int(&c, (int64_t)items[i].device);
        add_pace(&c, items[i].pace);
        redis_cmd_int(&c, window);
        redis_cmd_int(&c, items[i].more ? 1 : 0);
        redis_cmd_int(&c, (int64_t)jobs);
        for (size_t k = i; k < to; k++) {
            if (!items[k].skip) {
                redis_cmd_str(&c, items[k].id);
                redis_cmd_int(&c, items[k].gen);
                redis_cmd_int(&c, (int64_t)items[k].row);
                redis_cmd_str(&c, items[k].source);
                redis_cmd_int(&c, items[k].expires_in_ms);
                redis_cmd_int(&c, JOB_VERSION);
                redis_cmd_bytes(&c, items[k].payload, items[k].payload_len);
            }
        }
    }
    struct call call = call_make(q, p, items, n, parse_activate, done, arg);
    call_send(&call, &c, true);
}

static bool
parse_hungry(struct call *c, const struct redis_value *v)
{
    struct queue_hungry *h = c->items;
    h->n = 0;
    for (size_t i = 0; i < redis_len(v) && h->n < QUEUE_BATCH_MAX; i++) {
        h->devices[h->n++] = str_u64(redis_str(redis_at(v, i)));
    }
    return true;
}

void
queue_hungry(struct queue *q, unsigned p, struct queue_hungry *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "SPOP");
    key_partition(q, &c, p, "hungry");
    redis_cmd_int(&c, QUEUE_BATCH_MAX);
    ret->n = 0;
    struct call call = call_make(q, p, ret, 0, parse_hungry, done, arg);
    call_send(&call, &c, false);
}

/* --- probe
 * --------------------------------------------------------------------------------------------- */

struct probe {
    struct queue_probe_device *devices;
    size_t n_devices;
};

/* The end of the run of jobs that belong to devices[d], starting at i. */
static size_t
probe_run(const struct queue_probe_job *jobs, size_t n, size_t i, uint64_t device)
{
    while (i < n && jobs[i].device == device) {
        i++;
    }
    return i;
}

static bool
parse_probe(struct call *c, const struct redis_value *v)
{
    struct probe *probe = c->extra;
    struct queue_probe_job *jobs = c->items;
    size_t i = 0;
    if (redis_len(v) != probe->n_devices) {
        return false;
    }
    for (size_t d = 0; d < probe->n_devices; d++) {
        const struct redis_value *row = redis_at(v, d);
        size_t to = probe_run(jobs, c->n, i, probe->devices[d].device);
        if (redis_len(row) != 3 + (to - i)) {
            return false;
        }
        probe->devices[d].known = redis_int(redis_at(row, 0));
        probe->devices[d].waiting = redis_int(redis_at(row, 1));
        probe->devices[d].paused = redis_len(redis_at(row, 2)) > 0;
        for (size_t k = 3; i < to; i++, k++) {
            jobs[i].state = *redis_str(redis_at(row, k));
        }
    }
    return true;
}

static void
send_probe(struct queue *q, unsigned p, const char *mode, const char *producer, int64_t ms,
           struct probe probe, struct queue_probe_job *jobs, size_t n_jobs, queue_done *done,
           void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "probe", p);
    for (size_t d = 0; d < probe.n_devices; d++) {
        key_device(q, &c, probe.devices[d].device, KEY_IDS);
        key_device(q, &c, probe.devices[d].device, KEY_JOBS);
        key_device(q, &c, probe.devices[d].device, KEY_DEVICE);
        key_device(q, &c, probe.devices[d].device, KEY_FEEDER);
    }
    verb_args(q, &c, p);
    redis_cmd_str(&c, mode);
    redis_cmd_str(&c, producer);
    redis_cmd_int(&c, ms);
    for (size_t d = 0, i = 0; d < probe.n_devices; d++) {
        size_t to = probe_run(jobs, n_jobs, i, probe.devices[d].device);
        redis_cmd_int(&c, (int64_t)(to - i));
        for (; i < to; i++) {
            redis_cmd_str(&c, jobs[i].id);
            redis_cmd_int(&c, jobs[i].gen);
        }
    }
    struct call call = call_make(q, p, jobs, n_jobs, parse_probe, done, arg);
    struct probe *extra = xcalloc(1, sizeof *extra);
    *extra = probe;
    call.extra = extra;
    call_send(&call, &c, true);
}

void
queue_probe(struct queue *q, unsigned p, bool unstage, struct queue_probe_device *devices,
            size_t n_devices, struct queue_probe_job *jobs, size_t n_jobs, queue_done *done,
            void *arg)
{
    struct probe probe = {devices, n_devices};
    send_probe(q, p, unstage ? "unstage" : "look", "", 0, probe, jobs, n_jobs, done, arg);
}

void
queue_feed(struct queue *q, unsigned p, const char *producer, int64_t ms,
           struct queue_probe_device *devices, size_t n_devices, queue_done *done, void *arg)
{
    struct probe probe = {devices, n_devices};
    send_probe(q, p, ms > 0 ? "feed" : "unfeed", producer, ms, probe, NULL, 0, done, arg);
}
