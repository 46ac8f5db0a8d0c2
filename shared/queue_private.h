/* queue_private.h -- what the files of the queue share: its struct, its keys, its calls.  Not for
 * others. */
#ifndef SHARED_QUEUE_PRIVATE_H
#define SHARED_QUEUE_PRIVATE_H

#include "shared/queue.h"

#include <ev.h>

struct partition {
    struct queue *q;
    char incarnation[80]; /* "" until looked up */
    enum partition_state state;
    bool looking;
    bool look_again;
};

struct call;

struct queue {
    struct ev_loop *loop;
    struct redis_link *link;
    struct queue_events events;
    char *prefix;
    char wake_channel[64];
    unsigned n_partitions;
    struct partition *partitions;
    char run_id[41];
    int64_t ahead_ms; /* Redis TIME less our monotonic clock at the last beat, 0 = unknown */
    char refused[200];
    bool counted;            /* on this connection Redis has confirmed the number of partitions */
    ev_timer again;          /* asks anew what could not be asked or was not answered */
    ev_timer late;           /* runs calls that failed at once, on a clean stack */
    int64_t next_trouble_ms; /* when a refusal is told again, monotonic */
    struct call *failed;
    size_t n_failed;
};

/* A verb under way.  parse fills the caller's items from the reply; false = the reply has another
 * shape. */
struct call {
    struct queue *q;
    unsigned p;
    void *items;
    size_t n;
    void *extra;
    bool (*parse)(struct call *c, const struct redis_value *v);
    queue_done *done;
    void *arg;
    struct err error; /* for calls that failed at once */
    struct call *next;
};

/* Key names: the only place where they are made. */
enum device_key { KEY_JOBS, KEY_DEVICE, KEY_IDS, KEY_FEEDER, KEY_PAIRS };
void key_partition(const struct queue *q, struct redis_cmd *c, unsigned p, const char *what);
void key_device(const struct queue *q, struct redis_cmd *c, uint64_t device, enum device_key which);

/* Starts a verb of partition p with KEYS[1] = meta; the caller adds the other keys, then calls
 * verb_args() once, which adds ARGV[1], then the other arguments. */
void verb_begin(const struct queue *q, struct redis_cmd *c, const char *verb, unsigned p);
void verb_args(const struct queue *q, struct redis_cmd *c, unsigned p);

/* Sends.  Takes c's contents.  needs_incarnation is what scripts with a gate want. */
struct call call_make(struct queue *q, unsigned p, void *items, size_t n,
                      bool (*parse)(struct call *, const struct redis_value *), queue_done *done,
                      void *arg);
void call_send(const struct call *template_call, struct redis_cmd *c, bool needs_incarnation);
bool parse_nothing(struct call *c, const struct redis_value *v);

/* One answer for n calls: done gets the first error, if there was one. */
struct fan;
struct fan *fan_new(size_t n, queue_done *done, void *arg);
void fan_answered(void *fan, const struct err *e);

extern const char *const stop_words[]; /* by enum stop_what */
void add_pace(struct redis_cmd *c, const struct device_pace *pace);
void add_lease(struct redis_cmd *c, const struct queue_lease *l);
/* "17/c42-..." -> device and id. */
bool split_member(const char *member, uint64_t *device, char id[JOB_ID_SIZE]);
uint64_t str_u64(const char *s);
void copy_text(char *to, size_t size, const char *from);

#endif
