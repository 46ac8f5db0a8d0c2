/* rig.h -- a queue on a private Redis, driven step by step: what the tests of the verbs repeat.
 *
 * Four partitions, so that device 17 lives in {p01} and 18 in {p02}.  A job's row is the number at
 * the end of its id: "j12" is row 12. */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include "shared/queue.h"
#include "tests/harness/redis_server.h"
#include "tests/harness/t.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RIG_PARTITIONS = 4, RIG_LEASE_MS = 60000 };

struct rig {
    struct redis_server server;
    struct ev_loop *loop;
    struct queue *q;
    struct err error; /* of the last verb */
    int answers;      /* callbacks of the verb under way */
    int links_up, links_down, partitions_seen, incarnations_seen; /* events */
    char why[320];                                                /* of the last link that fell */
    /* What rig_push() gives its jobs: */
    struct device_pace pace;
    const char *source; /* "c1" */
    int64_t expires_in_ms, window;
    bool more;
    /* What claims are answered: */
    struct queue_claim_reply claim;
    void **copies; /* that it points to */
    size_t n_copies, cap_copies;
};

/* A server and a queue of its own, every partition open. */
void rig_start(struct rig *r);
/* On a server that r->server holds already, partitions as they are. */
void rig_connect(struct rig *r, int64_t partitions);
void rig_open_all(struct rig *r);
/* Waits until every partition has been looked up and opens those that are closed. */
void rig_recover(struct rig *r);
void rig_stop(struct rig *r);

/* Starts a verb of the queue, waits for it, and checks that it was answered exactly once. */
#define RUN(r, verb, ...)                                                                          \
    (rig_begin(r), queue_##verb((r)->q, __VA_ARGS__, rig_answered, (r)),                           \
     rig_end((r), __FILE__, __LINE__, #verb))
#define CHECK_RUN(want, r, verb, ...)                                                              \
    rig_check((r), __FILE__, __LINE__, #verb, (want), RUN((r), verb, __VA_ARGS__))
void rig_begin(struct rig *r);
void rig_answered(void *rig, const struct err *e);
enum err_kind rig_end(struct rig *r, const char *file, int line, const char *verb);
void rig_check(struct rig *r, const char *file, int line, const char *verb, enum err_kind want,
               enum err_kind got);

/* --- verbs on single jobs -------------------------------------------------------------------- */

struct queue_push rig_item(const struct rig *r, uint64_t device, const char *id, uint32_t gen);
/* 'S', 'F', or the letter that it is in. */
char rig_stage(struct rig *r, uint64_t device, const char *id, uint32_t gen);
/* '1' or '0'. */
char rig_activate(struct rig *r, uint64_t device, const char *id, uint32_t gen);
/* Both, which must succeed; generation 1. */
void rig_push(struct rig *r, uint64_t device, const char *id);

/* Claims for these devices, which belong to one partition; the answer is kept in r->claim until the
 * next claim. */
enum err_kind rig_claim_for(struct rig *r, const uint64_t *devices, size_t n, size_t room);
/* The jobs that one device gives, at most room; ret gets them with 30 ms of gap unless the pace
 * says otherwise. */
size_t rig_claim(struct rig *r, uint64_t device, size_t room, struct queue_permit *ret);
/* Exactly one job, with this id; waits until the device is due. */
struct queue_permit rig_take(struct rig *r, uint64_t device, const char *id);
enum permit_answer rig_permit(struct rig *r, struct queue_permit *job);
/* rig_take() and permit, which must say go. */
struct queue_permit rig_send(struct rig *r, uint64_t device, const char *id);
enum finish_answer rig_finish(struct rig *r, const struct queue_permit *job, const char *kind);
/* x says kind, hold, stop and code; the rest is the job's. */
enum finish_answer rig_finish_as(struct rig *r, const struct queue_permit *job,
                                 struct queue_finish x);
/* The device rests for hold_ms, as it was told. */
enum finish_answer rig_finish_hold(struct rig *r, const struct queue_permit *job, const char *kind,
                                   int64_t hold_ms);
bool rig_release(struct rig *r, const struct queue_permit *job, int64_t later_ms);
bool rig_renew(struct rig *r, const struct queue_permit *job);
/* Looks for expired leases and ends those that were found before; answers[i] is for found[i] of the
 * last call.  The number of leases that are expired now. */
struct queue_reclaim *rig_reclaim(struct rig *r, unsigned p, const struct queue_expired *end,
                                  size_t n);
/* Ends the one expired lease of this job's; 'a', 'u' or 'g'. */
char rig_end_lease(struct rig *r, const struct queue_permit *job);
void rig_reassert(struct rig *r, const struct queue_permit *job, enum reassert_state state);
int64_t rig_repair(struct rig *r, uint64_t device);
/* In the generation that it has. */
int64_t rig_drop(struct rig *r, uint64_t device, const char *id, bool doubt, bool all);
/* With the code "left"; the letter of the answer, or 0. */
char rig_withdraw(struct rig *r, uint64_t device, const char *id, uint32_t gen);

/* The unread results of a partition, at most max. */
size_t rig_results(struct rig *r, unsigned p, struct queue_result *ret, size_t max);
/* Exactly one unread result, of this kind and job. */
struct queue_result rig_result(struct rig *r, unsigned p, const char *kind, const char *id);
void rig_forget(struct rig *r, unsigned p, const struct queue_result *x);
/* Reads and forgets all results. */
void rig_settle(struct rig *r, unsigned p);

/* --- what Redis holds ------------------------------------------------------------------------ */

/* The job's state word; "" when it is not known. */
const char *rig_state(struct rig *r, uint64_t device, const char *id);
/* A field of the device's hash; "" when it is missing. */
const char *rig_field(struct rig *r, uint64_t device, const char *field);
int64_t rig_field_num(struct rig *r, uint64_t device, const char *field);
/* When the device is in the ready index: its slot; else -1. */
int64_t rig_ready(struct rig *r, uint64_t device);
/* All keys of the queue as text. */
const char *rig_dump(struct rig *r);
/* Checks a device's keys against each other: one live entry an id, in flight = L and P, each with
 * its lease, membership of the ready index. */
void rig_check_device(struct rig *r, uint64_t device);

#endif
