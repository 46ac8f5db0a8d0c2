/* queue.c -- keys, calls and incarnations: what the verbs (queue_push, queue_deliver, queue_keep)
 * stand on.
 *
 * Over 500 lines because a partition's incarnation is looked up, begun and noted by calls that
 * themselves fail when it changes: the two halves know each other's state. */
#include "shared/queue.h"

#include "shared/backoff.h"
#include "shared/clock.h"
#include "shared/queue_private.h"
#include "shared/script.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- keys
 * ---------------------------------------------------------------------------------------------- */

void
key_partition(const struct queue *q, struct redis_cmd *c, unsigned p, const char *what)
{
    redis_cmd_key(c, "%s:{p%02u}:%s", q->prefix, p, what);
}

void
key_device(const struct queue *q, struct redis_cmd *c, uint64_t device, enum device_key which)
{
    unsigned p = queue_partition(q, device);
    static const char *const suffix[] = {[KEY_JOBS] = ":jobs",
                                         [KEY_DEVICE] = "",
                                         [KEY_IDS] = ":ids",
                                         [KEY_FEEDER] = ":feeder",
                                         [KEY_PAIRS] = ":pairs"};
    redis_cmd_key(c, "%s:{p%02u}:d:%" PRIu64 "%s", q->prefix, p, device, suffix[which]);
}

/* --- calls
 * --------------------------------------------------------------------------------------------- */

void
verb_begin(const struct queue *q, struct redis_cmd *c, const char *verb, unsigned p)
{
    redis_cmd_verb(c, script_index(verb));
    key_partition(q, c, p, "meta");
}

void
verb_args(const struct queue *q, struct redis_cmd *c, unsigned p)
{
    redis_cmd_str(c, q->partitions[p].incarnation);
}

struct call
call_make(struct queue *q, unsigned p, void *items, size_t n,
          bool (*parse)(struct call *, const struct redis_value *), queue_done *done, void *arg)
{
    return (struct call){
        .q = q, .p = p, .items = items, .n = n, .parse = parse, .done = done, .arg = arg};
}

bool
parse_nothing(struct call *c, const struct redis_value *v)
{
    (void)c, (void)v;
    return true;
}

enum { TROUBLE_MS = 10000 };

/* Answers of a server that is there but takes nothing: each has its word in front ("OOM command not
 * ..."). */
static void
tell_trouble(struct queue *q, const struct err *e)
{
    size_t word = strspn(e->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    int64_t now = clock_mono_ms();
    if (word < 2 || e->text[word] != ' ' || strncmp(e->text, "EPOCH", 5) == 0 ||
        strncmp(e->text, "CLOSED", 6) == 0 || strncmp(e->text, "NOGROUP", 7) == 0 ||
        now < q->next_trouble_ms || !q->events.on_trouble) {
        return;
    }
    q->next_trouble_ms = now + TROUBLE_MS;
    q->events.on_trouble(q->events.arg, e->text);
}

static void
on_call(void *arg, const struct redis_value *v, const struct err *e)
{
    struct call *c = arg;
    struct err shape = {0};
    if (e) {
        tell_trouble(c->q, e);
    }
    if (e && (e->kind == ERR_GONE || strncmp(e->text, "CLOSED", 6) == 0)) {
        queue_refresh(c->q, c->p);
    }
    if (!e && !c->parse(c, v)) {
        (void)err_set(&shape, ERR_REFUSED,
                      "Redis answered in an unexpected shape: is another version's script loaded?");
        e = &shape;
    }
    if (c->done) {
        c->done(c->arg, e);
    }
    free(c->extra);
    free(c);
}

static void
fail_later(struct call *c)
{
    c->next = c->q->failed;
    c->q->failed = c;
    c->q->n_failed++;
    if (!ev_is_active(&c->q->late)) {
        ev_timer_set(&c->q->late, 0., 0.);
        ev_timer_start(c->q->loop, &c->q->late);
    }
}

static void
on_late(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    struct queue *q = w->data;
    struct call *list = q->failed, *ordered = NULL;
    q->failed = NULL;
    q->n_failed = 0;
    while (list) {
        struct call *next = list->next;
        list->next = ordered;
        ordered = list;
        list = next;
    }
    while (ordered) {
        struct call *next = ordered->next;
        on_call(ordered, NULL, &ordered->error);
        ordered = next;
    }
}

void
call_send(const struct call *template_call, struct redis_cmd *c, bool needs_incarnation)
{
    struct call *call = xmalloc(sizeof *call);
    *call = *template_call;
    struct queue *q = call->q;
    if (needs_incarnation && !q->partitions[call->p].incarnation[0]) {
        redis_cmd_done(c);
        queue_refresh(q, call->p);
        (void)err_set(&call->error, ERR_RETRY, "partition %u has not been looked up yet", call->p);
        fail_later(call);
    } else if (!q->link) {
        redis_cmd_done(c);
        (void)err_set(&call->error, ERR_RETRY, "the connection to Redis is closed");
        fail_later(call);
    } else if (!redis_call(q->link, c, on_call, call, &call->error)) {
        fail_later(call);
    }
}

/* --- incarnations
 * -------------------------------------------------------------------------------------- */

static void look(struct queue *q, unsigned p);
static void ask_count(struct queue *q, redis_reply *done);
static void on_recount(void *arg, const struct redis_value *v, const struct err *e);

enum { ASK_AGAIN_MS = 300 };

static void
ask_again(struct queue *q)
{
    if (!ev_is_active(&q->again)) {
        ev_timer_set(&q->again, ASK_AGAIN_MS / 1000., 0.);
        ev_timer_start(q->loop, &q->again);
    }
}

static void
note_partition(struct queue *q, unsigned p, const char *incarnation, const char *state)
{
    struct partition *part = &q->partitions[p];
    bool fresh = strcmp(part->incarnation, incarnation) != 0;
    enum partition_state now = strcmp(state, "open") == 0 ? PARTITION_OPEN : PARTITION_CLOSED;
    bool changed = fresh || now != part->state;
    copy_text(part->incarnation, sizeof part->incarnation, incarnation);
    part->state = now;
    if (changed && q->events.on_partition) {
        q->events.on_partition(q->events.arg, p, now, fresh);
    }
}

static bool
parse_begin(struct call *c, const struct redis_value *v)
{
    if (redis_len(v) != 2 || redis_type(redis_at(v, 0)) != REDIS_STR) {
        return false;
    }
    note_partition(c->q, c->p, redis_str(redis_at(v, 0)), redis_str(redis_at(v, 1)));
    return true;
}

static void
on_looked(void *arg, const struct err *e)
{
    struct partition *part = arg;
    part->looking = false;
    if (e) {
        ask_again(part->q);
    }
}

static void
begin(struct queue *q, unsigned p)
{
    struct redis_cmd c = {.script = -1};
    char word[17];
    (void)snprintf(word, sizeof word, "%016" PRIx64, random_u64());
    verb_begin(q, &c, "begin", p);
    redis_cmd_str(&c, q->run_id);
    redis_cmd_str(&c, word);
    struct call call = call_make(q, p, NULL, 0, parse_begin, on_looked, &q->partitions[p]);
    call_send(&call, &c, false);
    ask_count(q, on_recount); /* a flush has taken the number of partitions along */
}

static bool
parse_look(struct call *c, const struct redis_value *v)
{
    struct queue *q = c->q;
    const char *incarnation = redis_str(redis_at(v, 0));
    struct partition *part = &q->partitions[c->p];
    if (redis_len(v) != 2) {
        return false;
    }
    if (strncmp(incarnation, q->run_id, 40) != 0 || incarnation[40] != ':') {
        part->incarnation[0] = '\0';
        part->state = PARTITION_UNKNOWN;
        begin(q, c->p); /* a new server process, or a flushed partition */
        return true;
    }
    note_partition(q, c->p, incarnation, redis_str(redis_at(v, 1)));
    return true;
}

static void
look(struct queue *q, unsigned p)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "HMGET");
    key_partition(q, &c, p, "meta");
    redis_cmd_str(&c, "inc");
    redis_cmd_str(&c, "state");
    q->partitions[p].looking = true;
    struct call call = call_make(q, p, NULL, 0, parse_look, on_looked, &q->partitions[p]);
    call_send(&call, &c, false);
}

void
queue_refresh(struct queue *q, unsigned p)
{
    if (queue_up(q) && q->counted && !q->partitions[p].looking && !q->refused[0]) {
        look(q, p);
    }
}

/* --- the link comes and goes
 * --------------------------------------------------------------------------- */

static void
refuse(struct queue *q, const char *text)
{
    copy_text(q->refused, sizeof q->refused, text);
    if (q->events.on_link) {
        q->events.on_link(q->events.arg, false, q->refused);
    }
}

/* False when there is no answer, or another one than ours: then we are refused. */
static bool
same_count(struct queue *q, const struct redis_value *v, const struct err *e)
{
    if (e || redis_type(v) == REDIS_NIL) {
        return false; /* nil: Redis refuses to write for now */
    }
    int64_t there = redis_int(v);
    if (there != (int64_t)q->n_partitions) {
        char text[200];
        (void)snprintf(text, sizeof text,
                       "this Redis holds %" PRId64
                       " partitions, the configuration says %u: set partitions = %" PRId64
                       " (the number is fixed at first start)",
                       there, q->n_partitions, there);
        refuse(q, text);
        return false;
    }
    return true;
}

static void
on_recount(void *arg, const struct redis_value *v, const struct err *e)
{
    (void)same_count(arg, v, e);
}

static void
on_count(void *arg, const struct redis_value *v, const struct err *e)
{
    struct queue *q = arg;
    if (!same_count(q, v, e)) {
        ask_again(q);
        return;
    }
    q->counted = true;
    for (unsigned p = 0; p < q->n_partitions; p++) {
        look(q, p);
    }
    if (q->events.on_link) {
        q->events.on_link(q->events.arg, true, "");
    }
}

static void
on_policy(void *arg, const struct redis_value *v, const struct err *e)
{
    struct queue *q = arg;
    const char *policy = e ? "" : redis_str(redis_at(v, 1));
    if (*policy && strcmp(policy, "noeviction") != 0) {
        char text[200];
        (void)snprintf(
            text, sizeof text,
            "this Redis evicts keys (maxmemory-policy %.40s): set maxmemory-policy noeviction, or "
            "messages would vanish",
            policy);
        refuse(q, text);
    }
}

static void
ask(struct queue *q, struct redis_cmd *c, redis_reply *done)
{
    struct err e = {0};
    if (!redis_call(q->link, c, done, q, &e)) {
        ask_again(q);
    }
}

static void
ask_count(struct queue *q, redis_reply *done)
{
    struct redis_cmd c = {.script = -1};
    char meta[80];
    (void)snprintf(meta, sizeof meta, "%s:meta", q->prefix);
    redis_cmd_plain(&c, "HSETNX");
    redis_cmd_str(&c, meta);
    redis_cmd_str(&c, "partitions");
    redis_cmd_int(&c, q->n_partitions);
    ask(q, &c, NULL);
    redis_cmd_plain(&c, "HGET");
    redis_cmd_str(&c, meta);
    redis_cmd_str(&c, "partitions");
    ask(q, &c, done);
}

static void
on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    struct queue *q = w->data;
    if (!redis_link_up(q->link) || q->refused[0]) {
        return; /* the next greeting asks everything */
    }
    if (!q->counted) {
        ask_count(q, on_count);
    }
    for (unsigned p = 0; p < q->n_partitions; p++) {
        if (!q->partitions[p].incarnation[0]) {
            queue_refresh(q, p);
        }
    }
}

static void
on_state(void *arg, const char *run_id, const char *why)
{
    struct queue *q = arg;
    if (!run_id) {
        if (q->events.on_link) {
            q->events.on_link(q->events.arg, false, why);
        }
        return;
    }
    copy_text(q->run_id, sizeof q->run_id, run_id);
    q->counted = false;
    for (unsigned p = 0; p < q->n_partitions; p++) {
        q->partitions[p].looking = false;
    }
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "CONFIG");
    redis_cmd_str(&c, "GET");
    redis_cmd_str(&c, "maxmemory-policy");
    ask(q, &c, on_policy);
    ask_count(q, on_count);
}

/* --- life
 * ---------------------------------------------------------------------------------------------- */

bool
queue_open(struct ev_loop *loop, const struct queue_config *c, const struct queue_events *ev,
           struct queue **ret, struct err *e)
{
    if (c->partitions < 1 || c->partitions > QUEUE_PARTITIONS_MAX) {
        return err_set(e, ERR_INPUT, "partitions: %" PRId64 " is not within 1..%d", c->partitions,
                       QUEUE_PARTITIONS_MAX);
    }
    struct queue *q = xcalloc(1, sizeof *q);
    q->loop = loop;
    if (ev) {
        q->events = *ev;
    }
    q->prefix = xstrdup(c->prefix);
    (void)snprintf(q->wake_channel, sizeof q->wake_channel, "%s:wake", q->prefix);
    q->n_partitions = (unsigned)c->partitions;
    q->partitions = xcalloc(q->n_partitions, sizeof *q->partitions);
    for (unsigned p = 0; p < q->n_partitions; p++) {
        q->partitions[p].q = q;
    }
    ev_timer_init(&q->late, on_late, 0., 0.);
    ev_timer_init(&q->again, on_again, 0., 0.);
    q->late.data = q->again.data = q;
    if (!redis_link_new(loop, &c->redis, on_state, q, &q->link, e)) {
        queue_close(q);
        return false;
    }
    redis_link_start(q->link);
    *ret = q;
    return true;
}

void
queue_close(struct queue *q)
{
    if (!q) {
        return;
    }
    q->events = (struct queue_events){0};
    struct redis_link *link = q->link;
    q->link = NULL; /* what the last callbacks ask is answered with "down" */
    redis_link_free(link);
    while (q->failed) {
        on_late(q->loop, &q->late, 0);
    }
    ev_timer_stop(q->loop, &q->late);
    ev_timer_stop(q->loop, &q->again);
    free(q->partitions);
    free(q->prefix);
    free(q);
}

size_t
queue_in_flight(const struct queue *q)
{
    return redis_link_in_flight(q->link) + q->n_failed;
}

void
queue_wait(struct queue *q)
{
    while (queue_in_flight(q) > 0) {
        (void)ev_run(q->loop, EVRUN_ONCE);
    }
}

static bool
all_looked_up(const struct queue *q)
{
    for (unsigned p = 0; p < q->n_partitions; p++) {
        if (!q->partitions[p].incarnation[0]) {
            return false;
        }
    }
    return true;
}

bool
queue_wait_ready(struct queue *q, int64_t ms, struct err *e)
{
    int64_t until = clock_mono_ms() + ms;
    while (!q->refused[0] && !(redis_link_up(q->link) && all_looked_up(q))) {
        int64_t left = until - clock_mono_ms();
        if (left < 0) {
            return err_set(e, ERR_RETRY, "Redis does not answer: %.200s", redis_link_why(q->link));
        }
        if (!redis_link_wait_up(q->link, left, e)) {
            return false;
        }
        if (!all_looked_up(q)) {
            (void)ev_run(q->loop,
                         EVRUN_ONCE); /* an answer, a deadline, or the timer that asks again */
        }
    }
    return !q->refused[0] || err_set(e, ERR_REFUSED, "%s", q->refused);
}

bool
queue_up(const struct queue *q)
{
    return q->link && redis_link_up(q->link) && !q->refused[0];
}

const char *
queue_refused(const struct queue *q)
{
    return q->refused[0] ? q->refused : NULL;
}

const char *
queue_why(const struct queue *q)
{
    return q->refused[0] ? q->refused : redis_link_why(q->link);
}

unsigned
queue_partitions(const struct queue *q)
{
    return q->n_partitions;
}

unsigned
queue_partition(const struct queue *q, uint64_t device)
{
    return (unsigned)(device % q->n_partitions);
}

enum partition_state
queue_state(const struct queue *q, unsigned p)
{
    return q->partitions[p].state;
}

const char *
queue_incarnation(const struct queue *q, unsigned p)
{
    return q->partitions[p].incarnation;
}

const char *
queue_wake_channel(const struct queue *q)
{
    return q->wake_channel;
}

/* --- small things
 * -------------------------------------------------------------------------------------- */

uint64_t
str_u64(const char *s)
{
    return strtoull(s, NULL, 10);
}

void
copy_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from);
}

bool
split_member(const char *member, uint64_t *device, char id[JOB_ID_SIZE])
{
    char *slash;
    *device = strtoull(member, &slash, 10);
    if (slash == member || *slash != '/' || strlen(slash + 1) >= JOB_ID_SIZE) {
        return false;
    }
    copy_text(id, JOB_ID_SIZE, slash + 1);
    return true;
}

void
add_pace(struct redis_cmd *c, const struct device_pace *pace)
{
    redis_cmd_int(c, (int64_t)pace->version);
    redis_cmd_int(c, pace->max_in_flight);
    redis_cmd_int(c, pace->gap_min_ms);
    redis_cmd_int(c, pace->gap_max_ms);
    redis_cmd_int(c, pace->batch_size);
    redis_cmd_int(c, pace->batch_pause_ms);
    redis_cmd_int(c, pace->hourly_cap);
    redis_cmd_int(c, pace->daily_cap);
    redis_cmd_str(c, pace->quiet);
    redis_cmd_str(c, pace->paused);
    redis_cmd_str(c, pace->sender);
    redis_cmd_str(c, pace->account);
    redis_cmd_str(c, pace->ref);
}

const char *const stop_words[] = {[STOP_NOTHING] = "",
                                  [STOP_SOURCE] = "source",
                                  [STOP_DEVICE] = "device",
                                  [STOP_ACCOUNT] = "account"};

struct fan {
    size_t left;
    struct err first;
    queue_done *done;
    void *arg;
};

struct fan *
fan_new(size_t n, queue_done *done, void *arg)
{
    struct fan *fan = xcalloc(1, sizeof *fan);
    *fan = (struct fan){.left = n, .done = done, .arg = arg};
    return fan;
}

void
fan_answered(void *arg, const struct err *e)
{
    struct fan *fan = arg;
    if (e && !fan->first.kind) {
        fan->first = *e;
    }
    if (--fan->left == 0) {
        if (fan->done) {
            fan->done(fan->arg, fan->first.kind ? &fan->first : NULL);
        }
        free(fan);
    }
}

void
add_lease(struct redis_cmd *c, const struct queue_lease *l)
{
    redis_cmd_int(c, (int64_t)l->device);
    redis_cmd_str(c, l->id);
    redis_cmd_int(c, (int64_t)l->gen);
    redis_cmd_int(c, (int64_t)l->token);
}
