/* queue_keep.c -- the verbs that keep the queue whole: reclaim, results, forget, repair, recovery;
 * steering, the fleet, and what status shows.  Over 500 lines: many small verbs, each a call and
 * its reply. */
#include "shared/clock.h"
#include "shared/queue_private.h"
#include "shared/render.h"
#include "shared/script.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* --- reclaim
 * ------------------------------------------------------------------------------------------- */

static bool
parse_reclaim(struct call *c, const struct redis_value *v)
{
    struct queue_reclaim *r = c->items;
    if (redis_len(v) < 1 + r->n) {
        return false;
    }
    r->now_ms = redis_int(redis_at(v, 0));
    for (size_t i = 0; i < r->n; i++) {
        r->items[i].answer = *redis_str(redis_at(v, 1 + i));
    }
    r->n_found = 0;
    for (size_t i = 1 + r->n; i + 1 < redis_len(v) && r->n_found < QUEUE_BATCH_MAX; i += 2) {
        struct queue_expired *x = &r->found[r->n_found];
        *x = (struct queue_expired){0};
        if (split_member(redis_str(redis_at(v, i)), &x->device, x->id)) {
            copy_text(x->ends, sizeof x->ends, redis_str(redis_at(v, i + 1)));
            r->n_found++;
        }
    }
    return true;
}

void
queue_reclaim(struct queue *q, unsigned p, struct queue_reclaim *r, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "reclaim", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    for (size_t i = 0; i < r->n; i++) {
        key_device(q, &c, r->items[i].device, KEY_JOBS);
        key_device(q, &c, r->items[i].device, KEY_DEVICE);
        key_device(q, &c, r->items[i].device, KEY_IDS);
    }
    verb_args(q, &c, p);
    redis_cmd_int(&c, QUEUE_BATCH_MAX);
    for (size_t i = 0; i < r->n; i++) {
        redis_cmd_int(&c, (int64_t)r->items[i].device);
        redis_cmd_str(&c, r->items[i].id);
        redis_cmd_str(&c, r->items[i].ends);
    }
    struct call call = call_make(q, p, r, 0, parse_reclaim, done, arg);
    call_send(&call, &c, true);
}

/* --- results
 * ------------------------------------------------------------------------------------------- */

struct results {
    size_t *n;
    bool stuck;
    queue_done *done;
    void *arg;
};

/* A text that was cut, or came from outside, may hold bytes that are no UTF-8: the database would
 * refuse them. */
static void
clean_utf8(char *text)
{
    size_t n = strlen(text);
    for (size_t bad; (bad = render_bad_utf8(text, n)) < n;) {
        text[bad] = '?';
    }
}

#define AT(field) offsetof(struct queue_result, field), sizeof((struct queue_result *)0)->field

static void
read_result_field(struct queue_result *r, const char *name, const char *value)
{
    static const struct {
        const char *name;
        size_t at, size;
    } texts[] = {{"kind", AT(kind)}, {"id", AT(id)},           {"code", AT(code)},
                 {"text", AT(text)}, {"pid", AT(provider_id)}, {"by", AT(by)}},
      numbers[] = {{"row", AT(row)},     {"dev", AT(device)},   {"tok", AT(token)},
                   {"ms", AT(send_ms)},  {"wait", AT(wait_ms)}, {"new", AT(new_ms)},
                   {"rest", AT(rest_ms)}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            copy_text((char *)r + texts[i].at, texts[i].size, value);
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            uint64_t n = str_u64(value);
            memcpy((char *)r + numbers[i].at, &n, sizeof n);
        }
    }
    if (strcmp(name, "gen") == 0) {
        r->gen = (uint32_t)str_u64(value);
    } else if (strcmp(name, "late") == 0) {
        r->late = *value == '1';
    } else if (strcmp(name, "alike") == 0) {
        r->stop_after = (int)str_u64(value);
    } else if (strcmp(name, "stop") == 0) {
        for (int w = STOP_SOURCE; w <= STOP_ACCOUNT; w++) {
            r->stop = strcmp(value, stop_words[w]) == 0 ? (enum stop_what)w : r->stop;
        }
    }
}

static void
read_result(const struct queue *q, const struct redis_value *entry, struct queue_result *r)
{
    const struct redis_value *f = redis_at(entry, 1);
    *r = (struct queue_result){0};
    copy_text(r->entry, sizeof r->entry, redis_str(redis_at(entry, 0)));
    /* An entry's id begins with Redis' time at which it was written. */
    int64_t age = q->ahead_ms ? q->ahead_ms + clock_mono_ms() - (int64_t)str_u64(r->entry) : 0;
    r->age_ms = age > 0 ? age : 0;
    for (size_t i = 0; i + 1 < redis_len(f); i += 2) {
        read_result_field(r, redis_str(redis_at(f, i)), redis_str(redis_at(f, i + 1)));
    }
    for (char *c = r->code; *c; c++) {
        *c = (*c & 0x80) || *c < ' ' ? '?' : *c; /* a code is ASCII, whatever the provider said */
    }
    clean_utf8(r->text);
    clean_utf8(r->provider_id);
}

/* XREADGROUP answers [[stream, [entry, ...]]] or nil; XAUTOCLAIM [cursor, [entry, ...], [deleted,
 * ...]]. */
static bool
parse_results(struct call *c, const struct redis_value *v)
{
    struct results *x = c->extra;
    const struct redis_value *list = redis_at(x->stuck ? v : redis_at(v, 0), 1);
    struct queue_result *items = c->items;
    for (size_t i = 0; i < redis_len(list) && *x->n < c->n; i++) {
        if (redis_type(redis_at(redis_at(list, i), 1)) == REDIS_LIST) {
            read_result(c->q, redis_at(list, i), &items[(*x->n)++]);
        }
    }
    return true;
}

static void
on_results(void *arg, const struct err *e)
{
    struct results *x = arg;
    /* No group yet: the partition has never been opened.  There are no results then. */
    if (e && strncmp(e->text, "NOGROUP", 7) == 0) {
        e = NULL;
    }
    if (x->done) {
        x->done(x->arg, e);
    }
}

void
queue_results(struct queue *q, unsigned p, bool stuck, int64_t idle_ms, struct queue_result *ret,
              size_t n, size_t *ret_n, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    *ret_n = 0;
    if (stuck) {
        redis_cmd_plain(&c, "XAUTOCLAIM");
        key_partition(q, &c, p, "results");
        redis_cmd_str(&c, "ledger");
        redis_cmd_str(&c, "reaper");
        redis_cmd_int(&c, idle_ms);
        redis_cmd_str(&c, "0-0");
        redis_cmd_str(&c, "COUNT");
        redis_cmd_int(&c, (int64_t)n);
    } else {
        redis_cmd_plain(&c, "XREADGROUP");
        redis_cmd_str(&c, "GROUP");
        redis_cmd_str(&c, "ledger");
        redis_cmd_str(&c, "reaper");
        redis_cmd_str(&c, "COUNT");
        redis_cmd_int(&c, (int64_t)n);
        redis_cmd_str(&c, "STREAMS");
        c.n_keys = c.n;
        key_partition(q, &c, p, "results");
        redis_cmd_str(&c, ">");
    }
    struct results *x = xcalloc(1, sizeof *x);
    *x = (struct results){ret_n, stuck, done, arg};
    struct call call = call_make(q, p, ret, n, parse_results, on_results, x);
    call.extra = x;
    call_send(&call, &c, false);
}

void
queue_forget(struct queue *q, unsigned p, const struct queue_result *items, size_t n,
             queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "forget", p);
    key_partition(q, &c, p, "results");
    key_partition(q, &c, p, "devices");
    for (size_t i = 0; i < n; i++) {
        key_device(q, &c, items[i].device, KEY_JOBS);
        key_device(q, &c, items[i].device, KEY_DEVICE);
        key_device(q, &c, items[i].device, KEY_IDS);
    }
    verb_args(q, &c, p);
    for (size_t i = 0; i < n; i++) {
        redis_cmd_str(&c, items[i].entry);
        redis_cmd_int(&c, (int64_t)items[i].device);
        redis_cmd_str(&c, items[i].id);
        redis_cmd_int(&c, items[i].gen);
        redis_cmd_int(&c, (int64_t)items[i].token);
        redis_cmd_str(&c, items[i].kind);
    }
    struct call call = call_make(q, p, NULL, n, parse_nothing, done, arg);
    call_send(&call, &c, true);
}

/* --- repair and recovery
 * ------------------------------------------------------------------------------- */

static bool
parse_count(struct call *c, const struct redis_value *v)
{
    int64_t *count = c->items;
    if (count) {
        *count = redis_int(v);
    }
    return redis_type(v) == REDIS_INT;
}

void
queue_repair(struct queue *q, unsigned p, uint64_t device, int64_t lease_ms, int64_t *fixed,
             queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "repair", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_device(q, &c, device, KEY_JOBS);
    key_device(q, &c, device, KEY_DEVICE);
    key_device(q, &c, device, KEY_IDS);
    key_partition(q, &c, p, "devices");
    verb_args(q, &c, p);
    redis_cmd_int(&c, (int64_t)device);
    redis_cmd_int(&c, lease_ms);
    struct call call = call_make(q, p, fixed, 0, parse_count, done, arg);
    call_send(&call, &c, true);
}

void
queue_drop(struct queue *q, unsigned p, bool doubt, bool all, const struct queue_drop *items,
           size_t n, int64_t *dropped, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "drop", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    for (size_t i = 0; i < n; i++) {
        key_device(q, &c, items[i].device, KEY_JOBS);
        key_device(q, &c, items[i].device, KEY_DEVICE);
        key_device(q, &c, items[i].device, KEY_IDS);
    }
    verb_args(q, &c, p);
    redis_cmd_str(&c, doubt ? "doubt" : "final");
    redis_cmd_str(&c, all ? "all" : "idle");
    for (size_t i = 0; i < n; i++) {
        redis_cmd_int(&c, (int64_t)items[i].device);
        redis_cmd_str(&c, items[i].id);
        redis_cmd_int(&c, (int64_t)items[i].row);
        redis_cmd_int(&c, items[i].gen);
    }
    struct call call = call_make(q, p, dropped, 0, parse_count, done, arg);
    call_send(&call, &c, true);
}

void
queue_open_partition(struct queue *q, unsigned p, const char *incarnation, bool doubt,
                     queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "open", p);
    key_partition(q, &c, p, "results");
    redis_cmd_str(&c, incarnation);
    redis_cmd_str(&c, doubt ? "doubt" : "");
    struct call call = call_make(q, p, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, true);
}

static bool
parse_devices(struct call *c, const struct redis_value *v)
{
    struct queue_devices *d = c->items;
    d->n = redis_len(v);
    d->devices = xcalloc(d->n, sizeof *d->devices);
    for (size_t i = 0; i < d->n; i++) {
        d->devices[i] = str_u64(redis_str(redis_at(v, i)));
    }
    return true;
}

void
queue_devices(struct queue *q, unsigned p, struct queue_devices *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "SMEMBERS");
    key_partition(q, &c, p, "devices");
    *ret = (struct queue_devices){0};
    struct call call = call_make(q, p, ret, 0, parse_devices, done, arg);
    call_send(&call, &c, false);
}

static bool
parse_ids(struct call *c, const struct redis_value *v)
{
    struct queue_ids *ids = c->items;
    ids->n = redis_len(v) / 2;
    ids->ids = xcalloc(ids->n, sizeof *ids->ids);
    for (size_t i = 0; i < ids->n; i++) {
        copy_text(ids->ids[i].id, sizeof ids->ids[i].id, redis_str(redis_at(v, 2 * i)));
        copy_text(ids->ids[i].state, sizeof ids->ids[i].state, redis_str(redis_at(v, 2 * i + 1)));
    }
    return true;
}

void
queue_ids(struct queue *q, uint64_t device, struct queue_ids *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "HGETALL");
    key_device(q, &c, device, KEY_IDS);
    *ret = (struct queue_ids){0};
    struct call call = call_make(q, queue_partition(q, device), ret, 0, parse_ids, done, arg);
    call_send(&call, &c, false);
}

static bool
parse_meta(struct call *c, const struct redis_value *v)
{
    struct queue_meta *m = c->items;
    *m = (struct queue_meta){.state = PARTITION_UNKNOWN};
    for (size_t i = 0; i + 1 < redis_len(v); i += 2) {
        const char *k = redis_str(redis_at(v, i)), *s = redis_str(redis_at(v, i + 1));
        if (strcmp(k, "inc") == 0) {
            copy_text(m->incarnation, sizeof m->incarnation, s);
        } else if (strcmp(k, "state") == 0) {
            m->state = strcmp(s, "open") == 0 ? PARTITION_OPEN : PARTITION_CLOSED;
        } else if (strcmp(k, "swept") == 0) {
            copy_text(m->swept, sizeof m->swept, s);
        } else if (strcmp(k, "doubt") == 0) {
            m->doubt = *s != '\0';
        } else if (strncmp(k, "told:", 5) == 0 && m->n_told < sizeof m->told / sizeof *m->told) {
            copy_text(m->told[m->n_told++], QUEUE_NAME_SIZE, k + 5);
        }
    }
    return true;
}

void
queue_read_meta(struct queue *q, unsigned p, struct queue_meta *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "HGETALL");
    key_partition(q, &c, p, "meta");
    struct call call = call_make(q, p, ret, 0, parse_meta, done, arg);
    call_send(&call, &c, false);
}

void
queue_mark_swept(struct queue *q, unsigned p, const char *incarnation, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "swept", p);
    redis_cmd_str(&c, incarnation);
    struct call call = call_make(q, p, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, true);
}

/* --- steering
 * ------------------------------------------------------------------------------------------ */

void
queue_steer_source_in(struct queue *q, unsigned p, const char *source, const char *state,
                      queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "steer", p);
    key_partition(q, &c, p, "stopped");
    verb_args(q, &c, p);
    redis_cmd_str(&c, "source");
    redis_cmd_str(&c, source);
    redis_cmd_str(&c, state);
    struct call call = call_make(q, p, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, true);
}

void
queue_steer_source(struct queue *q, const char *source, const char *state, queue_done *done,
                   void *arg)
{
    struct fan *fan = fan_new(q->n_partitions, done, arg);
    for (unsigned p = 0; p < q->n_partitions; p++) {
        queue_steer_source_in(q, p, source, state, fan_answered, fan);
    }
}

void
queue_steer_device(struct queue *q, uint64_t device, const struct device_pace *pace,
                   queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    unsigned p = queue_partition(q, device);
    verb_begin(q, &c, "steer", p);
    key_partition(q, &c, p, "ready");
    key_device(q, &c, device, KEY_JOBS);
    key_device(q, &c, device, KEY_DEVICE);
    key_partition(q, &c, p, "holds");
    verb_args(q, &c, p);
    redis_cmd_str(&c, "device");
    redis_cmd_int(&c, (int64_t)device);
    add_pace(&c, pace);
    redis_cmd_str(&c, q->wake_channel);
    redis_cmd_int(&c, p);
    struct call call = call_make(q, p, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, true);
}

/* --- the fleet and what status shows
 * ------------------------------------------------------------------- */

static bool
parse_beat(struct call *c, const struct redis_value *v)
{
    struct queue_fleet *f = c->items;
    int64_t now = redis_int(redis_at(v, 0));
    if (redis_type(v) != REDIS_LIST) {
        return false;
    }
    c->q->ahead_ms = now - clock_mono_ms();
    if (f) {
        f->n = 0;
        for (size_t i = 1; i + 1 < redis_len(v) && f->n < sizeof f->members / sizeof *f->members;
             i += 2) {
            struct queue_member *m = &f->members[f->n++];
            copy_text(m->name, sizeof m->name, redis_str(redis_at(v, i)));
            m->silent_ms = now - redis_int(redis_at(v, i + 1));
        }
    }
    return true;
}

void
queue_beat(struct queue *q, const char *name, enum queue_beat_kind kind, struct queue_fleet *ret,
           queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_verb(&c, script_index("beat"));
    redis_cmd_key(&c, "%s:fleet", q->prefix);
    redis_cmd_str(&c, name ? name : "");
    redis_cmd_str(&c, kind == BEAT_LEAVE ? "leave" : kind == BEAT_DRAIN ? "drain" : "");
    struct call call = call_make(q, 0, ret, 0, parse_beat, done, arg);
    call_send(&call, &c, false);
}

static bool
parse_info(struct call *c, const struct redis_value *v)
{
    struct buf *b = c->items;
    for (size_t i = 0; i + 1 < redis_len(v); i += 2) {
        buf_addf(b, "%s %s\n", redis_str(redis_at(v, i)), redis_str(redis_at(v, i + 1)));
    }
    return true;
}

void
queue_device_info(struct queue *q, uint64_t device, struct buf *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "HGETALL");
    key_device(q, &c, device, KEY_DEVICE);
    struct call call = call_make(q, queue_partition(q, device), ret, 0, parse_info, done, arg);
    call_send(&call, &c, false);
}

void
queue_holds(struct queue *q, unsigned p, struct buf *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "HGETALL");
    key_partition(q, &c, p, "holds");
    struct call call = call_make(q, p, ret, 0, parse_info, done, arg);
    call_send(&call, &c, false);
}

static void
count_call(struct queue *q, unsigned p, const char *command, const char *what, int64_t *ret,
           queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, command);
    key_partition(q, &c, p, what);
    *ret = 0;
    struct call call = call_make(q, p, ret, 0, parse_count, done, arg);
    call_send(&call, &c, false);
}

void
queue_depths(struct queue *q, unsigned p, struct queue_depths *ret, queue_done *done, void *arg)
{
    struct fan *fan = fan_new(4, done, arg);
    count_call(q, p, "ZCARD", "ready", &ret->ready, fan_answered, fan);
    count_call(q, p, "ZCARD", "leases", &ret->leases, fan_answered, fan);
    count_call(q, p, "XLEN", "results", &ret->results, fan_answered, fan);
    count_call(q, p, "SCARD", "devices", &ret->devices, fan_answered, fan);
}
