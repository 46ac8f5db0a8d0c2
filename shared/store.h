/* store.h -- the one door to MySQL and MariaDB, and the only user of mysql.h.
 *
 * A store is one blocking connection, dialled when first needed and again after every loss (the
 * client library's own reconnect stays off: it would lose the transaction without a word).  Each
 * connection sets utf8mb4, time_zone '+00:00' (or db_time_zone), READ COMMITTED, strict sql_mode
 * and net time-outs. Values reach a statement only through the sql_ functions, which quote and
 * escape them. A store belongs to one thread. */
#ifndef SHARED_STORE_H
#define SHARED_STORE_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct store;

struct store_config {
    const char *url;      /* mysql://user[:password]@host[:port]/database or
                             mysql://user@/database?socket=/path ; kept */
    const char *password; /* overrides the URL's, or NULL */
    const char
        *time_zone; /* session zone, "+00:00" unless an adopted database stores local times */
    int connect_timeout_ms; /* rounded up to seconds for the client library */
    int query_timeout_ms;   /* the same, and at least 2 s; 0 for either means 5 s and 30 s */
    int force_dialect;      /* 0 by the server's version, 1 without SKIP LOCKED, 2 with it */
};

/* Never connects, so it fails only on a malformed URL (ERR_INPUT).  The caller frees with
 * store_close(). */
MUST_USE bool store_open(const struct store_config *c, struct store **ret, struct err *e);
void store_close(struct store *s);

/* Connects if need be and asks the server something.  ERR_RETRY when it cannot be reached. */
MUST_USE bool store_ping(struct store *s, struct err *e);

/* True when the server knows SELECT .. FOR UPDATE SKIP LOCKED (MariaDB 10.6+, MySQL 8.0.1+), or as
 * forced by the configuration.  Connects if need be. */
MUST_USE bool store_has_skip_locked(struct store *s, bool *ret, struct err *e);

/* --- statements: a buffer to which text and values are added -------------------------------------
 */

/* sql_text adds text as it stands (compile-time constants only); the others add one value, safely.
 * sql_str(NULL) adds NULL.  sql_addf: %s a quoted string (NULL -> NULL), %d %u numbers, with l or
 * ll, %%. */
struct sql {
    struct buf text;
};
void sql_text(struct sql *q, const char *text);
void sql_str(struct sql *q, const char *value);
void sql_bytes(struct sql *q, const void *value, size_t n);
void sql_int(struct sql *q, int64_t value);
void sql_uint(struct sql *q, uint64_t value);
void sql_addf(struct sql *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sql_addv(struct sql *q, const char *fmt, va_list ap);
void sql_clear(struct sql *q);
void sql_done(struct sql *q);

/* Runs one statement that gives no rows.  ret_affected and ret_insert_id may be NULL; affected
 * counts changed rows.  Kinds: ERR_RETRY for lost connection, deadlock, lock wait, read-only or a
 * full disk; ERR_REFUSED for anything else the server objects to.  On ERR_RETRY inside a
 * transaction the transaction is gone (rolled back) and the caller starts it again; outside one, a
 * statement that lost a deadlock has changed nothing and is repeated here, up to 5 times with
 * jitter. */
MUST_USE bool store_exec(struct store *s, const struct sql *q, uint64_t *ret_affected,
                         uint64_t *ret_insert_id, struct err *e);

/* The same for a fixed or formatted one-liner; see sql_addf for the directives. */
MUST_USE bool store_execf(struct store *s, uint64_t *ret_affected, struct err *e, const char *fmt,
                          ...) PRINTF_LIKE(4, 5);

/* Runs one SELECT and buffers its rows.  The caller calls rows_done().  On failure *ret is empty.
 */
struct rows {
    void *res;             /* the library's result */
    char **field;          /* the current row: NULL for SQL NULL, NUL-terminated otherwise */
    unsigned long *length; /* lengths of the current row's fields */
    uint64_t count;
};
MUST_USE bool store_query(struct store *s, const struct sql *q, struct rows *ret, struct err *e);
MUST_USE bool store_queryf(struct store *s, struct rows *ret, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
bool rows_next(struct rows *r);
void rows_done(struct rows *r);
int64_t rows_int(const struct rows *r, unsigned column);     /* 0 for NULL */
uint64_t rows_uint(const struct rows *r, unsigned column);   /* 0 for NULL */
const char *rows_str(const struct rows *r, unsigned column); /* "" for NULL */

/* --- transactions
 * ----------------------------------------------------------------------------------- */

/* Runs body between START TRANSACTION and COMMIT.  When body or COMMIT fails, rolls back. Deadlocks
 * and lock time-outs (1213, 1205) are repeated up to 5 times with jitter, so body must be
 * repeatable. A COMMIT whose answer was lost is reported as ERR_RETRY: the caller must be able to
 * find out from the data, or to repeat without harm. */
typedef bool store_body(struct store *s, void *arg, struct err *e);
MUST_USE bool store_transact(struct store *s, store_body *body, void *arg, struct err *e);

/* Named lock of this connection (GET_LOCK), waited for up to wait_s seconds: *ret tells whether it
 * is ours.  It is lost with the connection.  Giving back what is not ours is ERR_GONE. */
MUST_USE bool store_try_lock(struct store *s, const char *name, int wait_s, bool *ret,
                             struct err *e);
MUST_USE bool store_unlock(struct store *s, const char *name, struct err *e);

/* The server's code of the last statement or dial (1062 for a duplicate key), 0 when it went well.
 */
unsigned store_code(const struct store *s);

/* Counters since store_open, for /metrics; deadlocks counts lock time-outs too. */
struct store_stats {
    uint64_t statements, deadlocks, reconnects, warnings, errors;
    uint64_t busy_us;
};
const struct store_stats *store_stats(const struct store *s);

/* Test hook: with PACELINE_SQL_TRACE=FILE in the environment every statement is appended to FILE,
 * one a line, newlines folded, so that a test can EXPLAIN each of them. */

#endif
