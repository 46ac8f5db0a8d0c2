/* redis.h -- one supervised asynchronous connection to Redis ("link"), and the only user of
 * hiredis.
 *
 * A link dials, authenticates, reads the server's run id, and is then UP; it falls DOWN on any
 * loss, on a reply that does not come within the deadline, and on replies that mean that this
 * server must not be written to (READONLY) or is another one than was greeted (EPOCH another
 * server: a proxy); it dials again with backoff and jitter.  Nothing reconnects behind the caller's
 * back: every UP reports a run id that was read on this very connection.
 *
 * Each call's callback runs exactly once, never before the starting call has returned.  A lost
 * connection leaves the fate of what was under way unknown: ERR_RETRY.
 * Works on hiredis 0.14 and 1.x; uses none of its time-outs.  SIGPIPE must be ignored by the
 * program. */
#ifndef SHARED_REDIS_H
#define SHARED_REDIS_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct redis_link;
struct redis_value; /* a reply, borrowed for the length of the callback */

enum redis_type { REDIS_NIL, REDIS_INT, REDIS_STR, REDIS_LIST };
enum redis_type redis_type(const struct redis_value *v);
int64_t
redis_int(const struct redis_value *v); /* of a string too, if it is a whole number; else 0 */
const char *
redis_str(const struct redis_value *v);        /* NUL-terminated; "" for anything but a string */
size_t redis_len(const struct redis_value *v); /* bytes of a string, elements of a list, else 0 */
const struct redis_value *redis_at(const struct redis_value *v, size_t i); /* nil behind the end */

/* --- a command, built argument by argument
 * ------------------------------------------------------------ */
struct redis_cmd {
    struct buf bytes;
    size_t *ends;
    size_t n, cap;
    int script; /* index of a verb, or -1 for a plain command */
    size_t n_keys;
};
void redis_cmd_plain(struct redis_cmd *c, const char *name);
/* EVALSHA of a verb: keys first (redis_cmd_key), then the arguments. */
void redis_cmd_verb(struct redis_cmd *c, int script);
void redis_cmd_key(struct redis_cmd *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void redis_cmd_str(struct redis_cmd *c, const char *s);
void redis_cmd_bytes(struct redis_cmd *c, const void *p, size_t n);
void redis_cmd_int(struct redis_cmd *c, int64_t v);
void redis_cmd_done(struct redis_cmd *c);

/* --- the link
 * ------------------------------------------------------------------------------------------- */
struct redis_config {
    const char *url; /* redis://[[user]:password@]host[:port][/db] or unix:/path[?db=n]; kept */
    const char *password; /* overrides the URL's, or NULL */
    const char *name;     /* CLIENT SETNAME, without blanks */
    int64_t deadline_ms;  /* longest wait for any reply while something is under way */
    size_t window;        /* calls under way at most */
};

/* v is NULL exactly when e is not.  Error replies: EPOCH -> ERR_GONE; CLOSED, LOADING, OOM,
 * MISCONF, BUSY, READONLY, TRYAGAIN and the like -> ERR_RETRY; anything else -> ERR_REFUSED. */
typedef void redis_reply(void *arg, const struct redis_value *v, const struct err *e);
/* up: run_id is borrowed.  down: run_id is NULL and why says what happened (borrowed). */
typedef void redis_state(void *arg, const char *run_id, const char *why);
typedef void redis_message(void *arg, const char *payload);

/* ERR_INPUT for a malformed URL; rediss:// is refused with what to do where the library has no TLS.
 */
MUST_USE bool redis_link_new(struct ev_loop *loop, const struct redis_config *c, redis_state *state,
                             void *arg, struct redis_link **ret, struct err *e);
/* Starts dialling.  With a channel, the link is a subscriber and makes no calls. */
void redis_link_start(struct redis_link *l);
void redis_link_subscribe(struct redis_link *l, const char *channel, redis_message *on_message);
/* Closes the connection: calls under way get ERR_RETRY at once.  Then frees.  NULL is allowed. */
void redis_link_free(struct redis_link *l);

bool redis_link_up(const struct redis_link *l);
size_t redis_link_in_flight(const struct redis_link *l);
/* Why the link is down, for people; "" when it is up. */
const char *redis_link_why(const struct redis_link *l);

/* Sends a command; takes the contents of c (which is empty afterwards, also on failure).  done may
 * be NULL. False when the link is down (ERR_RETRY) or its window is full (ERR_FULL): done will not
 * be called. */
MUST_USE bool redis_call(struct redis_link *l, struct redis_cmd *c, redis_reply *done, void *arg,
                         struct err *e);

/* For programs without other business: runs the loop until nothing is under way.  Each call ends
 * within the deadline, so this does too. */
void redis_link_wait(struct redis_link *l);
/* Runs the loop until the link is UP or ms have passed; false then. */
MUST_USE bool redis_link_wait_up(struct redis_link *l, int64_t ms, struct err *e);

#endif
