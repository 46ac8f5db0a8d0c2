/* worker.h -- what the worker's rooms share: settings, partitions, deliveries.
 *
 * claim.c     which partition is asked when, and what a claim brings
 * prepare.c   a claimed job becomes a message
 * media.c     its medium is brought to hand
 * deliver.c   one job from its lease to its recorded outcome (deliver_plan decides)
 * check.c     providers are asked how devices are
 * reassert.c  what a new incarnation is told before this worker claims in it */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "shared/compose.h"
#include "shared/metrics.h"
#include "shared/program.h"
#include "shared/queue.h"
#include "worker/deliver_plan.h"
#include "worker/journal.h"
#include "worker/media_cache.h"
#include "worker/media_upload.h"
#include "worker/pace.h"
#include "worker/parts.h"
#include "worker/sender.h"

#include <ev.h>

struct settings {
    struct program_settings program;
    struct compose_settings compose;
    char *journal_dir;
    int64_t lease, renew, concurrency, drain, poll_max, journal_records, media_memory, device_rest;
};

enum { CLAIM_DEVICES = QUEUE_BATCH_MAX / 2, SENDERS_MAX = 64 };

struct delivery {
    enum delivery_state state;
    struct part *part;
    struct delivery *prev, *next; /* the list of the state's partition queue, or all others */
    struct queue_lease lease;
    uint64_t row;
    char source[24];
    int64_t gap_ms, batch_size, batch_pause_ms;
    char *memory; /* payload and texts */
    struct job job;
    struct buf text;
    struct parts *parts; /* NULL: text alone */
    const struct sender_instance *sender;
    struct message message;
    int64_t claimed_us, asked_ms, leased_ms; /* monotonic */
    int64_t busy_ms;                         /* from the permit to the answer */
    int64_t hold_ms;                         /* of a release */
    const char *hold_why;
    struct verdict verdict;
    char who[17], account[96]; /* the recipient, hashed; the device's account, or "" */
    size_t record;
    bool has_record;
    struct outcome outcome;
    const char *kind; /* of the finish */
};

struct delivery_list {
    struct delivery *first, *last;
    size_t n;
};

struct part {
    struct worker *w;
    unsigned p;
    ev_timer timer;
    bool preferred, claiming, starved;
    bool ask, taking; /* somebody asked for looks at devices; they are being taken */
    bool again;       /* something came due while a claim was under way */
    bool told;        /* this incarnation has been told what we know: we may claim */
    bool telling;
    size_t tell_at; /* journal record to tell next */
    size_t tell_name;
    size_t asked; /* room given to the claim under way */
    uint64_t due[CLAIM_DEVICES];
    size_t n_due;
    struct delivery_list permits, finishes, releases; /* waiting for their call */
    struct delivery_list live;                        /* all others */
    unsigned calls;        /* permit, finish and release calls under way */
    int64_t rest_until_ms; /* after a refusal, monotonic */
};

struct sender_instance {
    char name[64];
    const struct sender *type;
    void *self;
};

struct worker {
    struct settings *s;
    struct ev_loop *loop;
    struct queue *q;
    struct redis_link *wake;
    struct journal *journal;
    struct composer *composer;
    struct media_cache *contents;
    struct uploads *uploads;
    char name[QUEUE_NAME_SIZE];
    struct part *parts;
    unsigned n_parts;
    unsigned n_workers;
    struct sender_instance senders[SENDERS_MAX];
    size_t n_senders;
    size_t n_live;           /* deliveries */
    size_t n_asked;          /* room given to claims under way */
    size_t n_checks;         /* looks at devices under way */
    uint64_t checked_device; /* the last one that a refusal was about, and when, monotonic */
    int64_t checked_ms;
    struct queue_fleet fleet;
    ev_timer renew, beat, drain_over, rest;
    bool resting; /* some partition waits for its rest to end */
    ev_prepare flush;
    bool draining, dead_line_passed;
    int exit_code;
};

/* --- claim.c --------------------------------------------------------------------------------- */
void claim_init(struct worker *w);
void claim_done(struct worker *w);
/* Asks the partition now if it may be asked. */
void claim_kick(struct part *part);
/* Asks the partition again in ms at the latest. */
void claim_soon(struct part *part, int64_t ms);
/* A device has room and its slot has come: it is named in the next claim, which starts now. */
void claim_device(struct part *part, uint64_t device);
/* Deliveries have ended: partitions that found no room are asked again. */
void claim_room(struct worker *w);
/* Who prefers which partition: rendezvous hashing over the live workers. */
void claim_prefer(struct worker *w);
/* --- deliver.c ------------------------------------------------------------------------------- */
/* Takes a new delivery in hand, as leased. */
void deliver_add(struct delivery *d);
/* An event of a delivery that no call has in hand. */
void deliver_step(struct delivery *d, enum delivery_event event);
void deliver_count(const char *kind);
/* A claimed delivery ends by an outcome that came before the permit. */
void deliver_unsent(struct delivery *d, const struct outcome *o);
/* Sends what has gathered: permits, finishes, releases. */
void deliver_flush(struct part *part);
void deliver_renew(struct worker *w);
/* Gives back what has not been permitted. */
void deliver_release_all(struct worker *w);

/* --- prepare.c
 * ------------------------------------------------------------------------------------------ */
/* Takes a claimed job over; what it points to is borrowed until return. */
void prepare_delivery(struct part *part, const struct queue_claimed *job, int64_t now_ms);

/* The rest of it, once the medium is at hand. */
void prepare_ready(struct delivery *d);
/* A claimed delivery ends as failed; or goes back unsent, to be served again after hold_ms. */
void prepare_cannot_send(struct delivery *d, const char *code, const char *why);
void prepare_give_back(struct delivery *d, int64_t hold_ms, const char *why);

/* --- media.c --------------------------------------------------------------------------------- */
/* Brings the message's medium to hand, if it has one: prepare_ready() follows, at once or later,
 * or the delivery's end. */
void media_begin(struct delivery *d);
/* An outcome that refuses nothing but the id of an uploaded medium becomes a retry; the id is
 * forgotten. */
void media_amend(const struct delivery *d, struct outcome *o);
/* --- check.c --------------------------------------------------------------------------------- */
/* Devices of this partition are asked for. */
void check_take(struct part *part);
/* Takes what could not be taken yet; once a second. */
void check_beat(struct worker *w);
/* A refusal was about the delivery's device: its provider is asked at once. */
void check_refused(struct delivery *d);

/* --- reassert.c ------------------------------------------------------------------------------ */
/* Starts telling partition p's present incarnation; part->told when done. */
void reassert_start(struct part *part);

/* By the name of its section; NULL when this worker has none. */
const struct sender_instance *worker_sender(const struct worker *w, const char *name, size_t len);

extern struct metric worker_metrics[];
enum worker_metric {
    M_SENT,
    M_FAILED,
    M_RETRY,
    M_DEFERRED,
    M_UNKNOWN,
    M_IN_FLIGHT,
    M_CLAIMS,
    M_STALE,
    M_LATE,
    M_CLAIM_TO_SEND,
    M_SEND,
    M_REDIS_UP,
    M_REASSERTED,
    M_RELEASED,
    M_MEDIA_BYTES,
    M_MEDIA_MISSING,
    M_CHECKED_ONLINE,
    M_CHECKED_OFFLINE,
    M_CHECKED_UNKNOWN,
    WORKER_METRICS
};

#endif
