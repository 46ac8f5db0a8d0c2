/* queue.h -- the queue's verbs in our own types; the only place that knows key names and scripts.
 *
 * A queue is one link to Redis, the incarnation of every partition, and the calls under way.
 * Partition of a device = device id mod partitions.  All verbs are asynchronous: they fill their
 * batch's items and then call `done` exactly once, never before they have returned; e == NULL means
 * that the items are filled.  ERR_GONE: the partition has another incarnation (the queue looks it
 * up and reports it through on_partition); nothing was done.  ERR_RETRY: the fate of the call is
 * unknown, every verb may be repeated as it is. Batches of up to 100 items a call; items of one
 * call belong to one partition. Blocking programs call queue_wait() after starting calls. */
#ifndef SHARED_QUEUE_H
#define SHARED_QUEUE_H

#include "shared/err.h"
#include "shared/job.h"
#include "shared/mem.h"
#include "shared/redis.h"

#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct queue;

enum { QUEUE_BATCH_MAX = 100, QUEUE_PARTITIONS_MAX = 1024, QUEUE_NAME_SIZE = 96 };
enum partition_state { PARTITION_UNKNOWN, PARTITION_CLOSED, PARTITION_OPEN };

struct queue_config {
    struct redis_config redis;
    const char *prefix; /* "pl" */
    int64_t partitions; /* wanted at first start; what Redis already says must match */
};

/* The link came up or fell (up), or a partition was looked up anew (p >= 0). */
struct queue_events {
    void (*on_link)(void *arg, bool up, const char *why);
    void (*on_partition)(void *arg, unsigned p, enum partition_state state, bool new_incarnation);
    void *arg;
    /* Redis refuses calls for now (OOM, MISCONF, READONLY, ...): told at most every ten seconds. */
    void (*on_trouble)(void *arg, const char *why);
};

MUST_USE bool queue_open(struct ev_loop *loop, const struct queue_config *c,
                         const struct queue_events *ev, struct queue **ret, struct err *e);
void queue_close(struct queue *q);
void queue_wait(struct queue *q);
/* Waits until the link is up and every partition has been looked up once.  ERR_REFUSED when Redis
 * holds another number of partitions or evicts keys (maxmemory-policy must be noeviction). */
MUST_USE bool queue_wait_ready(struct queue *q, int64_t ms, struct err *e);

bool queue_up(const struct queue *q);
/* Not NULL when Redis refused us for good (other partition count, eviction policy): the program
 * should end. */
const char *queue_refused(const struct queue *q);
const char *queue_why(const struct queue *q);
size_t queue_in_flight(const struct queue *q);
unsigned queue_partitions(const struct queue *q);
unsigned queue_partition(const struct queue *q, uint64_t device);
enum partition_state queue_state(const struct queue *q, unsigned p);
const char *queue_incarnation(const struct queue *q, unsigned p);
/* Looks a partition's incarnation and state up again (begins a new incarnation where that is due).
 */
void queue_refresh(struct queue *q, unsigned p);

typedef void queue_done(void *arg, const struct err *e);

/* How a device is to be paced; passed along with its jobs. */
struct device_pace {
    uint64_t version;
    unsigned max_in_flight;
    int64_t gap_min_ms, gap_max_ms, batch_size, batch_pause_ms, hourly_cap, daily_cap;
    char quiet[96]; /* "1320 420 Asia/Kuala_Lumpur": minutes of the local day from, to; "" = none */
    char paused[64];                        /* "" = serving; otherwise who or why */
    char sender[64], ref[800], account[96]; /* what holds of an endpoint and of an account are named
                                     by; account "user/name" or "" */
};

/* --- producer
 * ------------------------------------------------------------------------------------------------
 */
struct queue_push {
    char id[JOB_ID_SIZE];
    uint64_t device, row;
    uint32_t gen;
    char source[24];       /* "c42" */
    int64_t expires_in_ms; /* 0 = never */
    const void *payload;
    size_t payload_len;
    const struct device_pace *pace;
    bool more;    /* MySQL may hold more for this device */
    bool skip;    /* leave this item out of the call */
    size_t order; /* the caller's own: the place among the items of its device */
    char state;   /* stage: 'S' staged, 'F' full, or the letter it is in; activate: '1' or '0' */
};
/* Items sorted by device. */
void queue_stage(struct queue *q, unsigned p, struct queue_push *items, size_t n, int64_t window,
                 queue_done *done, void *arg);
void queue_activate(struct queue *q, unsigned p, struct queue_push *items, size_t n, int64_t window,
                    queue_done *done, void *arg);
/* Up to n hungry devices of the partition (SPOP). */
struct queue_hungry {
    uint64_t devices[QUEUE_BATCH_MAX];
    size_t n;
};
void queue_hungry(struct queue *q, unsigned p, struct queue_hungry *ret, queue_done *done,
                  void *arg);

/* --- worker
 * --------------------------------------------------------------------------------------------------
 */
struct queue_lease { /* names one delivery */
    uint64_t device;
    char id[JOB_ID_SIZE];
    uint32_t gen;
    uint64_t token;
};
struct queue_claimed { /* one job as claimed; texts are borrowed for the length of on_claim */
    struct queue_lease lease;
    uint64_t row;
    const char *source;
    int64_t gap_min_ms, gap_max_ms, batch_size, batch_pause_ms;
    const char *quiet, *account;
    const char *sender, *ref; /* the device's, as they are now; "": the payload's hold */
    int64_t version;
    const void *payload;
    size_t payload_len;
};
struct queue_claim_reply {
    int64_t now_ms, next_due_ms; /* Redis TIME; next_due_ms -1: nothing waits */
    const uint64_t *due;         /* devices to name in the next claim */
    size_t n_due;
    const struct queue_claimed *jobs;
    size_t n_jobs;
};
/* r is NULL exactly when e is not. */
typedef void queue_claim_done(void *arg, const struct queue_claim_reply *r, const struct err *e);
void queue_claim(struct queue *q, unsigned p, const char *owner, int64_t lease_ms, size_t room,
                 const uint64_t *devices, size_t n, queue_claim_done *done, void *arg);

enum permit_answer {
    PERMIT_GO,
    PERMIT_STALE,
    PERMIT_STOPPED,
    PERMIT_PAUSED,
    PERMIT_WAIT,
    PERMIT_CAPPED
};
struct queue_permit {
    struct queue_lease lease;
    uint64_t row;
    char source[24];
    int64_t gap_ms, batch_size, batch_pause_ms;
    char who[17]; /* the recipient, hashed: queue_who() */
    enum job_contact contact;
    enum permit_answer answer;
};
/* Names a recipient without telling the phone.  Returns out. */
char *queue_who(const char *phone, size_t len, char out[17]);
void queue_permit(struct queue *q, unsigned p, int64_t lease_ms, struct queue_permit *items,
                  size_t n, queue_done *done, void *arg);

enum finish_answer { FINISH_OK, FINISH_DUP, FINISH_LATE, FINISH_STALE };
/* What an outcome says of other messages; words as in finish.lua. */
enum hold_act {
    HOLD_NOTHING, /* hold_ms > 0: this message alone comes again later */
    HOLD_DEVICE,
    HOLD_THROTTLE, /* the device, and its gaps grow */
    HOLD_PAIR,
    HOLD_NEW_CONTACTS,
    HOLD_RECIPIENT
};
enum stop_what { STOP_NOTHING, STOP_SOURCE, STOP_DEVICE, STOP_ACCOUNT };
struct queue_finish {
    struct queue_lease lease;
    uint64_t row;
    const char *kind; /* sent failed retry deferred returned unknown */
    enum hold_act act;
    int64_t hold_ms;
    bool told; /* the provider named hold_ms; otherwise it grows with each failure */
    enum stop_what stop;
    int stop_after; /* so many of the source's messages refused with this code stop it, 0 = none */
    char source[24], who[17];
    enum job_contact contact;
    const char *code, *text, *provider_id, *worker; /* borrowed until queue_finish has returned */
    int64_t send_ms;
    int64_t busy_ms; /* from the permit to the answer */
    enum finish_answer answer;
};
void queue_finish(struct queue *q, unsigned p, struct queue_finish *items, size_t n,
                  queue_done *done, void *arg);

/* Tells every partition of a hold on an endpoint ("e:<sender>") or an account ("a:<user>/<name>"),
 * learned by a delivery of `device`; it doubles up to cap_ms unless it was told. */
void queue_hold(struct queue *q, const char *field, uint64_t device, int64_t ms, int64_t cap_ms,
                bool told, const char *code, queue_done *done, void *arg);
/* The holds of a partition, "field until count code [device]" lines; the caller frees with
 * buf_done. */
void queue_holds(struct queue *q, unsigned p, struct buf *ret, queue_done *done, void *arg);

/* --- how devices are -------------------------------------------------------------------------- */
enum { QUEUE_CHECKS_MAX = 16 };
struct queue_check {
    uint64_t device;
    char sender[64], ref[800];
};
struct queue_checks {
    struct queue_check items[QUEUE_CHECKS_MAX];
    size_t n;
};
/* Asks that some worker of the partition looks at these devices; forgotten after ms. */
void queue_ask(struct queue *q, unsigned p, const struct queue_check *items, size_t n, int64_t ms,
               queue_done *done, void *arg);
/* Takes up to n, at most QUEUE_CHECKS_MAX, of those that were asked for. */
void queue_take(struct queue *q, unsigned p, size_t n, struct queue_checks *ret, queue_done *done,
                void *arg);
/* What a provider said; it becomes a result of kind "online" or "offline" without a job. */
void queue_checked(struct queue *q, uint64_t device, bool online, const char *text,
                   const char *worker, queue_done *done, void *arg);

struct queue_release {
    struct queue_lease lease;
    int64_t not_before_ms; /* from now; 0 = at once */
    const char *why;       /* shown as the device's "held" when not_before_ms > 0 */
    bool ok;
};
void queue_release(struct queue *q, unsigned p, struct queue_release *items, size_t n,
                   queue_done *done, void *arg);
/* ok[i] tells whether lease i is still the caller's. */
void queue_renew(struct queue *q, unsigned p, int64_t lease_ms, const struct queue_lease *items,
                 bool *ok, size_t n, queue_done *done, void *arg);

enum reassert_state { REASSERT_FLYING, REASSERT_SENT, REASSERT_UNKNOWN };
struct queue_reassert {
    struct queue_lease lease;
    uint64_t row;
    enum reassert_state state;
};
/* worker = NULL: more records follow; otherwise this worker has told everything. */
void queue_reassert(struct queue *q, unsigned p, int64_t lease_ms, const char *worker,
                    const char *owner, const struct queue_reassert *items, size_t n,
                    queue_done *done, void *arg);

/* --- reaper
 * --------------------------------------------------------------------------------------------------
 */
struct queue_expired {
    uint64_t device;
    char id[JOB_ID_SIZE];
    char ends[24]; /* the lease's end as Redis wrote it */
    char answer;   /* 'a' again, 'u' unknown, 'g' gone */
};
struct queue_reclaim {
    struct queue_expired *items; /* in: to end; answers are filled in */
    size_t n;
    struct queue_expired found[QUEUE_BATCH_MAX]; /* out: expired leases */
    size_t n_found;
    int64_t now_ms;
};
void queue_reclaim(struct queue *q, unsigned p, struct queue_reclaim *r, queue_done *done,
                   void *arg);

struct queue_result {
    char entry[32];
    char id[JOB_ID_SIZE];
    uint64_t device, row;
    uint32_t gen;
    uint64_t token;
    char kind[12]; /* sent failed retry deferred unknown skipped returned; of a device: online
                      offline */
    char code[32], text[256], provider_id[192], by[QUEUE_NAME_SIZE];
    int64_t send_ms;
    int64_t age_ms; /* how long ago, by Redis' clock; 0 before the first beat */
    bool late;
    int64_t wait_ms; /* the message comes again so much later, 0 = as the ledger has it */
    int64_t new_ms;  /* the device may not begin conversations for so long */
    int64_t rest_ms; /* nothing goes to the recipient for so long */
    enum stop_what stop;
    int stop_after;
};
/* Reads up to n results: fresh ones, or (stuck) those that another reader took over idle_ms ago and
 * did not finish.  *ret_n tells how many; a missing group is created. */
void queue_results(struct queue *q, unsigned p, bool stuck, int64_t idle_ms,
                   struct queue_result *ret, size_t n, size_t *ret_n, queue_done *done, void *arg);
void queue_forget(struct queue *q, unsigned p, const struct queue_result *items, size_t n,
                  queue_done *done, void *arg);

struct queue_probe_job {
    uint64_t device;
    char id[JOB_ID_SIZE];
    uint32_t gen;
    char state; /* letter, or 0: Redis does not know it */
};
struct queue_probe_device {
    uint64_t device;
    int64_t known, waiting;
    bool paused; /* not to be fed: paused, or (queue_feed) another producer is at it */
};
/* Jobs sorted by device; devices[] gets one line for each device in order of first appearance (jobs
 * may be empty for a pure depth probe: then the devices are the input). */
void queue_probe(struct queue *q, unsigned p, bool unstage, struct queue_probe_device *devices,
                 size_t n_devices, struct queue_probe_job *jobs, size_t n_jobs, queue_done *done,
                 void *arg);

/* Takes the devices' feeder leases for ms and reads their depth; ms = 0 gives them back.  A device
 * that another producer is feeding comes back as paused: one producer at a time keeps a device's
 * order. */
void queue_feed(struct queue *q, unsigned p, const char *producer, int64_t ms,
                struct queue_probe_device *devices, size_t n_devices, queue_done *done, void *arg);

/* fixed counts what was put right. */
void queue_repair(struct queue *q, unsigned p, uint64_t device, int64_t lease_ms, int64_t *fixed,
                  queue_done *done, void *arg);
struct queue_drop {
    uint64_t device, row;
    uint32_t gen; /* as Redis had it when it was looked at */
    char id[JOB_ID_SIZE];
};
void queue_drop(struct queue *q, unsigned p, bool doubt, bool all, const struct queue_drop *items,
                size_t n, int64_t *dropped, queue_done *done, void *arg);
void queue_open_partition(struct queue *q, unsigned p, const char *incarnation, bool doubt,
                          queue_done *done, void *arg);

/* Takes back jobs that must not go out any more: see lua/withdraw.lua. */
struct queue_withdraw {
    uint64_t device, row;
    uint32_t gen; /* of the row: a later one is left alone */
    char id[JOB_ID_SIZE];
    char code[32]; /* why, as its row will say */
    /* 'T' taken out (result "skipped"), 'S' was staged and is forgotten, 'P' may have left, 'D' 'R'
     * 'U' its result is on its way, 'N' has a later generation, 0 not known */
    char answer;
};
void queue_withdraw(struct queue *q, unsigned p, struct queue_withdraw *items, size_t n,
                    queue_done *done, void *arg);

/* The devices that the partition knows (SMEMBERS), and one device's ids with their states
 * (HGETALL). */
struct queue_devices {
    uint64_t *devices; /* the caller frees */
    size_t n;
};
void queue_devices(struct queue *q, unsigned p, struct queue_devices *ret, queue_done *done,
                   void *arg);
struct queue_ids {
    struct queue_id {
        char id[JOB_ID_SIZE];
        char state[120];
    } * ids; /* the caller frees */
    size_t n;
};
void queue_ids(struct queue *q, uint64_t device, struct queue_ids *ret, queue_done *done,
               void *arg);

/* The partition's meta: who has reported, when it was closed, whether its sweep was done. */
struct queue_meta {
    enum partition_state state;
    char incarnation[80], swept[80];
    bool doubt;
    char told[512][QUEUE_NAME_SIZE];
    size_t n_told;
};
void queue_read_meta(struct queue *q, unsigned p, struct queue_meta *ret, queue_done *done,
                     void *arg);
/* Notes that rows were compared with the partition under this incarnation, and ends a doubt. */
void queue_mark_swept(struct queue *q, unsigned p, const char *incarnation, queue_done *done,
                      void *arg);

/* --- steering and the fleet
 * -------------------------------------------------------------------------------- */
/* state: "paused", "cancelled" or "none"; every partition is told (one call each). done once, with
 * the first error if there was one. */
void queue_steer_source(struct queue *q, const char *source, const char *state, queue_done *done,
                        void *arg);
void queue_steer_source_in(struct queue *q, unsigned p, const char *source, const char *state,
                           queue_done *done, void *arg);
void queue_steer_device(struct queue *q, uint64_t device, const struct device_pace *pace,
                        queue_done *done, void *arg);

struct queue_member {
    char name[QUEUE_NAME_SIZE]; /* role/host.pid.word/version */
    int64_t silent_ms;
};
struct queue_fleet {
    struct queue_member members[1024];
    size_t n;
};
/* name NULL: look only.  BEAT_DRAIN: alive, but not to be counted on; BEAT_LEAVE: good-bye. */
enum queue_beat_kind { BEAT_ALIVE, BEAT_DRAIN, BEAT_LEAVE };
void queue_beat(struct queue *q, const char *name, enum queue_beat_kind kind,
                struct queue_fleet *ret, queue_done *done, void *arg);

/* One device's hash and depth, for status and explain: field, value, field, value ... (the caller
 * frees with buf_done; pairs separated by newlines, "field value\n"). */
void queue_device_info(struct queue *q, uint64_t device, struct buf *ret, queue_done *done,
                       void *arg);

/* Depths of a partition for status: lengths of ready, leases, results, devices. */
struct queue_depths {
    int64_t ready, leases, results, devices;
};
void queue_depths(struct queue *q, unsigned p, struct queue_depths *ret, queue_done *done,
                  void *arg);

/* --- media (queue_media.c)
 * --------------------------------------------------------------------------------------------------
 * Contents by their hash, ids of uploaded ones, and what workers miss: beside the partitions, and
 * all of it may be lost, for it is made again.  Every content and id ends by itself. */
enum { QUEUE_SHA_SIZE = 65, QUEUE_MEDIA_ID_SIZE = 128 };
struct queue_medium {
    char sha256[QUEUE_SHA_SIZE];
    int64_t left_ms; /* out: how long Redis keeps it; 0: it has none */
};
void queue_media_look(struct queue *q, struct queue_medium *m, queue_done *done, void *arg);
void queue_media_put(struct queue *q, const char *sha256, const void *content, size_t n, int64_t ms,
                     queue_done *done, void *arg);
void queue_media_keep(struct queue *q, const char *sha256, int64_t ms, queue_done *done, void *arg);
struct queue_content {
    struct buf bytes; /* the caller frees with buf_done() */
    bool there;
};
void queue_media_get(struct queue *q, const char *sha256, struct queue_content *ret,
                     queue_done *done, void *arg);
/* A worker tells what it misses, and a producer takes it from there (SADD, SPOP).  *ret_gone: a
 * producer has said lately that the user has no such content any more. */
void queue_media_missing(struct queue *q, uint64_t user, const char *sha256, bool *ret_gone,
                         queue_done *done, void *arg);
void queue_media_gone(struct queue *q, uint64_t user, const char *sha256, int64_t ms,
                      queue_done *done, void *arg);
enum { QUEUE_WANTED_MAX = 16 };
struct queue_wanted {
    size_t n;
    struct {
        uint64_t user;
        char sha256[QUEUE_SHA_SIZE];
    } items[QUEUE_WANTED_MAX];
};
void queue_media_wanted(struct queue *q, struct queue_wanted *ret, queue_done *done, void *arg);

/* The id that the provider has given a content that was uploaded for a device. */
struct queue_upload {
    const char *sender, *device_ref, *sha256; /* borrowed until the verb has returned */
    char id[QUEUE_MEDIA_ID_SIZE];             /* get: out, "" when there is none */
};
void queue_upload_get(struct queue *q, struct queue_upload *u, queue_done *done, void *arg);
void queue_upload_put(struct queue *q, const struct queue_upload *u, int64_t ms, queue_done *done,
                      void *arg);
void queue_upload_drop(struct queue *q, const struct queue_upload *u, queue_done *done, void *arg);

/* The channel on which activate publishes partitions, for redis_link_subscribe(). */
const char *queue_wake_channel(const struct queue *q);

#endif
