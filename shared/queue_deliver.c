/* queue_deliver.c -- the worker's verbs: claim, permit, finish, release, renew, reassert. */
#include "shared/queue_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* --- claim
 * --------------------------------------------------------------------------------------------- */

struct claim {
    queue_claim_done *done;
    void *arg;
    bool answered;
};

static void
read_claimed(const struct redis_value *v, struct queue_claimed *job)
{
    const char *id = redis_str(redis_at(v, 1));
    job->lease.device = str_u64(redis_str(redis_at(v, 0)));
    copy_text(job->lease.id, sizeof job->lease.id, id);
    job->lease.gen = (uint32_t)str_u64(redis_str(redis_at(v, 2)));
    job->lease.token = str_u64(redis_str(redis_at(v, 3)));
    job->row = str_u64(redis_str(redis_at(v, 4)));
    job->source = redis_str(redis_at(v, 5));
    job->gap_min_ms = redis_int(redis_at(v, 6));
    job->gap_max_ms = redis_int(redis_at(v, 7));
    job->batch_size = redis_int(redis_at(v, 8));
    job->batch_pause_ms = redis_int(redis_at(v, 9));
    job->quiet = redis_str(redis_at(v, 10));
    job->version = redis_int(redis_at(v, 11));
    job->payload = redis_str(redis_at(v, 12));
    job->payload_len = redis_len(redis_at(v, 12));
    job->account = redis_str(redis_at(v, 13));
    job->sender = redis_str(redis_at(v, 14));
    job->ref = redis_str(redis_at(v, 15));
}

static bool
parse_claim(struct call *c, const struct redis_value *v)
{
    struct claim *claim = c->extra;
    const struct redis_value *due = redis_at(v, 2), *jobs = redis_at(v, 3);
    if (redis_len(v) != 4 || redis_type(due) != REDIS_LIST || redis_type(jobs) != REDIS_LIST) {
        return false;
    }
    size_t n_due = redis_len(due), n_jobs = redis_len(jobs);
    uint64_t *devices = xcalloc(n_due, sizeof *devices);
    struct queue_claimed *list = xcalloc(n_jobs, sizeof *list);
    for (size_t i = 0; i < n_due; i++) {
        devices[i] = str_u64(redis_str(redis_at(due, i)));
    }
    for (size_t i = 0; i < n_jobs; i++) {
        read_claimed(redis_at(jobs, i), &list[i]);
    }
    struct queue_claim_reply reply = {
        .now_ms = redis_int(redis_at(v, 0)),
        .next_due_ms = redis_int(redis_at(v, 1)),
        .due = devices,
        .n_due = n_due,
        .jobs = list,
        .n_jobs = n_jobs,
    };
    claim->answered = true;
    claim->done(claim->arg, &reply, NULL);
    free(devices);
    free(list);
    return true;
}

/* The generic completion: reports an error where parse_claim has not reported the reply. */
static void
on_claim(void *arg, const struct err *e)
{
    struct claim *claim = arg;
    if (!claim->answered) {
        claim->done(claim->arg, NULL, e);
    }
}

void
queue_claim(struct queue *q, unsigned p, const char *owner, int64_t lease_ms, size_t room,
            const uint64_t *devices, size_t n, queue_claim_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "claim", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    key_partition(q, &c, p, "stopped");
    key_partition(q, &c, p, "holds");
    for (size_t i = 0; i < n; i++) {
        key_device(q, &c, devices[i], KEY_JOBS);
        key_device(q, &c, devices[i], KEY_DEVICE);
        key_device(q, &c, devices[i], KEY_IDS);
    }
    verb_args(q, &c, p);
    redis_cmd_str(&c, owner);
    redis_cmd_int(&c, lease_ms);
    redis_cmd_int(&c, (int64_t)room);
    redis_cmd_int(&c, QUEUE_BATCH_MAX / 2);
    for (size_t i = 0; i < n; i++) {
        redis_cmd_int(&c, (int64_t)devices[i]);
    }
    struct claim *claim = xcalloc(1, sizeof *claim);
    *claim = (struct claim){.done = done, .arg = arg};
    struct call call = call_make(q, p, NULL, 0, parse_claim, on_claim, claim);
    call.extra = claim;
    call_send(&call, &c, true);
}

/* --- verbs over a list of deliveries
 * --------------------------------------------------------------------- */

static void
delivery_keys(const struct queue *q, struct redis_cmd *c, const struct queue_lease *l)
{
    key_device(q, c, l->device, KEY_JOBS);
    key_device(q, c, l->device, KEY_DEVICE);
    key_device(q, c, l->device, KEY_IDS);
}

static int
word_index(const char *word, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool
parse_permit(struct call *c, const struct redis_value *v)
{
    static const char *const answers[] = {"go", "stale", "stopped", "paused", "wait", "capped"};
    struct queue_permit *items = c->items;
    if (redis_len(v) != c->n) {
        return false;
    }
    for (size_t i = 0; i < c->n; i++) {
        int k = word_index(redis_str(redis_at(v, i)), answers, 6);
        if (k < 0) {
            return false;
        }
        items[i].answer = (enum permit_answer)k;
    }
    return true;
}

void
queue_permit(struct queue *q, unsigned p, int64_t lease_ms, struct queue_permit *items, size_t n,
             queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "permit", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    key_partition(q, &c, p, "stopped");
    key_partition(q, &c, p, "holds");
    for (size_t i = 0; i < n; i++) {
        delivery_keys(q, &c, &items[i].lease);
        key_device(q, &c, items[i].lease.device, KEY_PAIRS);
    }
    verb_args(q, &c, p);
    redis_cmd_int(&c, lease_ms);
    for (size_t i = 0; i < n; i++) {
        add_lease(&c, &items[i].lease);
        redis_cmd_int(&c, (int64_t)items[i].row);
        redis_cmd_str(&c, items[i].source);
        redis_cmd_int(&c, items[i].gap_ms);
        redis_cmd_int(&c, items[i].batch_size);
        redis_cmd_int(&c, items[i].batch_pause_ms);
        redis_cmd_str(&c, items[i].who);
        redis_cmd_int(&c, items[i].contact);
    }
    struct call call = call_make(q, p, items, n, parse_permit, done, arg);
    call_send(&call, &c, true);
}

static bool
parse_finish(struct call *c, const struct redis_value *v)
{
    static const char *const answers[] = {"ok", "dup", "late", "stale"};
    struct queue_finish *items = c->items;
    if (redis_len(v) != c->n) {
        return false;
    }
    for (size_t i = 0; i < c->n; i++) {
        int k = word_index(redis_str(redis_at(v, i)), answers, 4);
        if (k < 0) {
            return false;
        }
        items[i].answer = (enum finish_answer)k;
    }
    return true;
}

void
queue_finish(struct queue *q, unsigned p, struct queue_finish *items, size_t n, queue_done *done,
             void *arg)
{
    static const char *const acts[] = {
        [HOLD_NOTHING] = "",  [HOLD_DEVICE] = "device",    [HOLD_THROTTLE] = "throttle",
        [HOLD_PAIR] = "pair", [HOLD_NEW_CONTACTS] = "new", [HOLD_RECIPIENT] = "recipient"};
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "finish", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    key_partition(q, &c, p, "hungry");
    key_partition(q, &c, p, "stopped");
    key_partition(q, &c, p, "holds");
    for (size_t i = 0; i < n; i++) {
        delivery_keys(q, &c, &items[i].lease);
        key_device(q, &c, items[i].lease.device, KEY_PAIRS);
    }
    verb_args(q, &c, p);
    for (size_t i = 0; i < n; i++) {
        add_lease(&c, &items[i].lease);
        redis_cmd_int(&c, (int64_t)items[i].row);
        redis_cmd_str(&c, items[i].kind);
        redis_cmd_int(&c, items[i].hold_ms);
        redis_cmd_str(&c, items[i].code);
        redis_cmd_str(&c, items[i].text);
        redis_cmd_str(&c, items[i].provider_id);
        redis_cmd_str(&c, items[i].worker);
        redis_cmd_int(&c, items[i].send_ms);
        redis_cmd_int(&c, items[i].busy_ms);
        redis_cmd_str(&c, acts[items[i].act]);
        redis_cmd_int(&c, items[i].told);
        redis_cmd_str(&c, items[i].who);
        redis_cmd_int(&c, items[i].contact);
        redis_cmd_str(&c, stop_words[items[i].stop]);
        redis_cmd_int(&c, items[i].stop_after);
        redis_cmd_str(&c, items[i].source);
    }
    struct call call = call_make(q, p, items, n, parse_finish, done, arg);
    call_send(&call, &c, true);
}

void
queue_hold(struct queue *q, const char *field, uint64_t device, int64_t ms, int64_t cap_ms,
           bool told, const char *code, queue_done *done, void *arg)
{
    struct fan *fan = fan_new(q->n_partitions, done, arg);
    for (unsigned p = 0; p < q->n_partitions; p++) {
        struct redis_cmd c = {.script = -1};
        verb_begin(q, &c, "hold", p);
        key_partition(q, &c, p, "holds");
        verb_args(q, &c, p);
        redis_cmd_str(&c, field);
        redis_cmd_int(&c, ms);
        redis_cmd_int(&c, cap_ms);
        redis_cmd_int(&c, told);
        redis_cmd_str(&c, code);
        redis_cmd_int(&c, (int64_t)device);
        struct call call = call_make(q, p, NULL, 0, parse_nothing, fan_answered, fan);
        call_send(&call, &c, true);
    }
}

char *
queue_who(const char *phone, size_t len, char out[17])
{
    (void)snprintf(out, 17, "%016" PRIx64, (uint64_t)XXH64(phone, len, 0));
    return out;
}

static bool
parse_release(struct call *c, const struct redis_value *v)
{
    struct queue_release *items = c->items;
    for (size_t i = 0; i < c->n; i++) {
        items[i].ok = redis_int(redis_at(v, i)) == 1;
    }
    return redis_len(v) == c->n;
}

void
queue_release(struct queue *q, unsigned p, struct queue_release *items, size_t n, queue_done *done,
              void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "release", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "holds");
    for (size_t i = 0; i < n; i++) {
        delivery_keys(q, &c, &items[i].lease);
    }
    verb_args(q, &c, p);
    for (size_t i = 0; i < n; i++) {
        add_lease(&c, &items[i].lease);
        redis_cmd_int(&c, items[i].not_before_ms);
        redis_cmd_str(&c, items[i].why ? items[i].why : "");
    }
    struct call call = call_make(q, p, items, n, parse_release, done, arg);
    call_send(&call, &c, true);
}

static bool
parse_renew(struct call *c, const struct redis_value *v)
{
    bool *ok = c->items;
    for (size_t i = 0; i < c->n; i++) {
        ok[i] = redis_int(redis_at(v, i)) == 1;
    }
    return redis_len(v) == c->n;
}

void
queue_renew(struct queue *q, unsigned p, int64_t lease_ms, const struct queue_lease *items,
            bool *ok, size_t n, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "renew", p);
    key_partition(q, &c, p, "leases");
    for (size_t i = 0; i < n; i++) {
        key_device(q, &c, items[i].device, KEY_IDS);
    }
    verb_args(q, &c, p);
    redis_cmd_int(&c, lease_ms);
    for (size_t i = 0; i < n; i++) {
        add_lease(&c, &items[i]);
    }
    struct call call = call_make(q, p, ok, n, parse_renew, done, arg);
    call_send(&call, &c, true);
}

void
queue_reassert(struct queue *q, unsigned p, int64_t lease_ms, const char *worker, const char *owner,
               const struct queue_reassert *items, size_t n, queue_done *done, void *arg)
{
    static const char *const states[] = {"flying", "sent", "unknown"};
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "reassert", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    key_partition(q, &c, p, "devices");
    for (size_t i = 0; i < n; i++) {
        delivery_keys(q, &c, &items[i].lease);
    }
    verb_args(q, &c, p);
    redis_cmd_int(&c, lease_ms);
    redis_cmd_str(&c, worker ? worker : "");
    for (size_t i = 0; i < n; i++) {
        add_lease(&c, &items[i].lease);
        redis_cmd_int(&c, (int64_t)items[i].row);
        redis_cmd_str(&c, states[items[i].state]);
        redis_cmd_str(&c, owner);
    }
    struct call call = call_make(q, p, NULL, n, parse_nothing, done, arg);
    call_send(&call, &c, true);
}
