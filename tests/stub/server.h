/* server.h -- what the rooms of the provider share: its connections and the turn of its loop.
 *
 * A turn: the callbacks of the loop read and parse; what they understood waits in `pending`. Before
 * the loop sleeps again, turn_end() writes the ledger lines of all of it in one write and only then
 * releases the answers.  Nothing else writes to a connection. */
#ifndef TESTS_STUB_SERVER_H
#define TESTS_STUB_SERVER_H

#include "tests/stub/http.h"
#include "tests/stub/ledger.h"
#include "tests/stub/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

struct stats {
    uint64_t received; /* messages in the ledger */
    uint64_t answered; /* of them, answers given to the kernel completely */
    uint64_t lost;     /* messages the ledger could not take: 503 */
    uint64_t unread;   /* requests reset before their body was read */
    uint64_t bad;      /* requests that were no HTTP */
    uint64_t accepted; /* connections */
    struct verdict_count {
        char verdict[24];
        uint64_t count;
    } * verdicts;
    size_t verdict_count, verdict_cap;
};

/* Something to write on a connection once the ledger lines of this turn are written. */
struct pending {
    struct conn *conn;
    enum { PENDING_MESSAGE, PENDING_OWN, PENDING_STATS, PENDING_CONTINUE } kind;
    struct action action;
    uint64_t serial;
    size_t ledger_end;
    bool keep;
};

enum conn_state {
    CONN_OPEN,   /* reads requests and answers them */
    CONN_HELD,   /* reads no further request until what is to be written is written */
    CONN_LATE,   /* like HELD, and the answer waits for the timer */
    CONN_DRIP,   /* like HELD, and each byte waits for the timer */
    CONN_MUTE,   /* never answers again; waits for the client to go */
    CONN_DRAIN,  /* said goodbye; waits for the client to go, or for the timer */
    CONN_CLOSED, /* the socket is closed; freed at the end of the turn */
};

/* What follows when all is written. */
enum conn_end {
    END_NOT,     /* the next request */
    END_GOODBYE, /* the end of our stream; the client closes, or the timer does */
    END_CLOSE,   /* a plain close() */
    END_RESET, /* a TCP reset.  A unix socket knows none: the client sees the end of the stream, or
                * ECONNRESET when it had sent bytes that nobody read */
};

struct conn {
    struct server *server;
    enum conn_state state; /* written by set_state() in conn.c alone */
    enum conn_end ending;
    int fd;
    ev_io readable, writable;
    ev_timer timer;
    struct buf in, out;
    size_t sent;     /* of out */
    size_t gate;     /* bytes of out that may be sent by now */
    size_t drip_end; /* where in out the slow bytes end */
    size_t filler;   /* spaces to be sent behind out */
    size_t answers;  /* of messages, in out */
    size_t pending;  /* entries of this turn that name this connection */
    uint64_t requests;
    bool eof;     /* the client will send no more */
    bool blocked; /* the socket takes no more for now */
    bool in_todo;
    struct http_req req;
    struct action action; /* of the request being read */
    struct pending held;  /* what a late answer will be */
    struct conn *prev, *next, *todo_next;
};

struct server {
    struct ev_loop *loop;
    struct rules *rules;
    uint64_t random;
    struct ledger *ledger;
    bool ledger_failing;
    uint64_t serial;
    int fd;
    char *path; /* of a unix socket */
    char address[128];
    ev_io acceptable;
    ev_timer accept_again;
    bool accept_paused; /* out of file descriptors, and said so */
    ev_prepare before_sleep;
    struct conn *conns, *todo, *dead;
    size_t conn_count;
    struct pending *pending;
    size_t pending_count, pending_cap;
    struct stats stats;
};

/* server.c: listens on "unix:/path" or "A.B.C.D:port"; address says where (a path, or a port that
 * the kernel chose).  rules and ledger are set before.  server_close() is also for one that failed
 * to open; it writes what the turn has and closes all connections. */
MUST_USE bool server_open(struct server *s, struct ev_loop *loop, const char *listen,
                          struct err *e);
void server_close(struct server *s);
/* Frees what server_close() left for server_stats(); rules and ledger stay the caller's. */
void server_free(struct server *s);
void server_stats(const struct server *s, struct buf *out);
/* The connection shall be stepped before the loop sleeps. */
void server_touch(struct server *s, struct conn *c);
/* A connection gave its file descriptor back. */
void server_conn_closed(struct server *s);

/* turn.c: takes in what a connection read. */
void turn_head(struct conn *c);
void turn_request(struct conn *c);
void turn_bad(struct conn *c);
/* Writes the ledger, then the answers, until nothing is left to do without waiting. */
void turn_end(struct server *s);

/* conn.c.  conn_open() takes fd.  A closed connection stays in memory until conn_free(), which the
 * end of the turn calls. */
void conn_open(struct server *s, int fd);
void conn_close(struct conn *c);
void conn_free(struct conn *c);
/* Writes what can be written, reads on in what has arrived. */
void conn_step(struct conn *c);
/* Does what p says; takes its action. */
void conn_answer(struct conn *c, struct pending *p);
/* Nothing behind this request is read until its answer is over. */
void conn_hold(struct conn *c);

#endif
