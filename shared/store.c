/* Over 500 lines because it is the one door to the client library: URL, connection, results and
 * transactions share their static parts, and nothing of mysql.h may show in a header. */
#include "shared/store.h"

#include "shared/backoff.h"
#include "shared/clock.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mysql.h>

enum {
    REDIAL_MIN_MS = 100,
    REDIAL_BASE_MS = 200, /* of each delay a half at least is waited */
    REDIAL_MAX_MS = 2000,
    CONNECT_DEFAULT_MS = 5000,
    QUERY_DEFAULT_MS = 30000,
    LOCK_WAIT_MAX_S = 5,
    DEADLOCK_REPEATS = 5,
    DEADLOCK_PAUSE_MS = 10,
    DEADLOCK_PAUSE_MAX_MS = 1000,
    TEXT_HEAD = 80, /* how much of a statement an error shows */
};

/* Where the transaction stands.  Behind a failure the server has rolled back, or we have: further
 * statements of the same body must not run outside of any transaction, so they are refused until
 * store_transact() begins another one. */
enum transaction { TX_NONE, TX_OPEN, TX_REPEAT, TX_GONE };

struct store {
    char *user, *password, *host, *database, *socket; /* socket, or host and port */
    unsigned port;
    char *time_zone;
    unsigned connect_s, query_s, lock_wait_s;
    int force_dialect;
    MYSQL *db; /* NULL while there is no connection */
    bool dialled, skip_locked;
    enum transaction tx;
    unsigned code;
    struct err why;        /* why there is no connection */
    unsigned failed_dials; /* in a row */
    int64_t redial_at_ms;
    struct store_stats stats;
};

/* --- once a process ----------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int trace_fd = -1;

static void
init(void)
{
    (void)mysql_library_init(0, NULL, NULL);
    const char *path = getenv("PACELINE_SQL_TRACE");
    if (path && *path) {
        trace_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    }
}

static void
trace(const struct sql *q)
{
    if (trace_fd < 0) {
        return;
    }
    struct buf line = {0};
    buf_add(&line, q->text.data, q->text.len);
    for (size_t i = 0; i < line.len; i++) {
        if (strchr("\n\r\t", line.data[i])) {
            line.data[i] = ' ';
        }
    }
    buf_adds(&line, "\n");
    ssize_t n = write(trace_fd, line.data, line.len);
    (void)n;
    buf_done(&line);
}

/* --- the URL ------------------------------------------------------------------------ */

/* Undoes %XX.  Returns NULL when there is a malformed one, or %00. */
static char *
decode(const char *p, size_t n)
{
    char *out = xmalloc(n + 1);
    size_t len = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        char c = p[i];
        if (c == '%') {
            ok =
                n - i > 2 && isxdigit((unsigned char)p[i + 1]) && isxdigit((unsigned char)p[i + 2]);
            c = ok ? (char)strtol((char[3]){p[i + 1], p[i + 2], 0}, NULL, 16) : '\0';
            i += 2;
        }
        ok = ok && c;
        out[len++] = c;
    }
    out[len] = '\0';
    if (!ok) {
        free(out);
        return NULL;
    }
    return out;
}

/* host, host:port, [address] or [address]:port, or nothing */
static bool
parse_host(struct store *s, const char *p, const char *end, struct err *e)
{
    const char *close = *p == '[' ? memchr(p, ']', (size_t)(end - p)) : NULL;
    const char *colon = memchr(close ? close : p, ':', (size_t)(end - (close ? close : p)));
    const char *host_end = close ? close : colon ? colon : end;
    if (close && close + 1 != (colon ? colon : end)) {
        return err_set(e, ERR_INPUT, "mysql_url: something stands between ']' and the port");
    }
    p += close != NULL;
    s->host = decode(p, (size_t)(host_end - p));
    if (!colon) {
        s->port = 3306;
        return true;
    }
    for (p = colon + 1; p < end && isdigit((unsigned char)*p) && s->port < 65536; p++) {
        s->port = s->port * 10 + (unsigned)(*p - '0');
    }
    if (p < end || s->port == 0 || s->port > 65535) {
        return err_set(e, ERR_INPUT, "mysql_url: the port is not a number from 1 to 65535");
    }
    return true;
}

/* The texts never show any of the URL, for it holds a password. */
static bool
parse_url(struct store *s, const char *url, struct err *e)
{
    static const char form[] = "mysql://user[:password]@host[:port]/database[?socket=/path]";
    static const char scheme[] = "mysql://", option[] = "?socket=";
    if (!url || strncmp(url, scheme, sizeof scheme - 1) != 0) {
        return err_set(e, ERR_INPUT, "mysql_url: does not look like %s", form);
    }
    const char *user = url + sizeof scheme - 1;
    const char *slash = user + strcspn(user, "/?");
    const char *at = memrchr(user, '@', (size_t)(slash - user));
    if (*slash != '/' || !at || at == user || *user == ':') {
        return err_set(e, ERR_INPUT, "mysql_url: no %s; does not look like %s",
                       *slash == '/' ? "user" : "database", form);
    }
    const char *colon = memchr(user, ':', (size_t)(at - user));
    s->user = decode(user, (size_t)((colon ? colon : at) - user));
    s->password = colon ? decode(colon + 1, (size_t)(at - colon - 1)) : xstrdup("");
    if (!parse_host(s, at + 1, slash, e)) {
        return false;
    }
    const char *query = slash + strcspn(slash, "?");
    bool has_socket = strncmp(query, option, sizeof option - 1) == 0;
    s->database = decode(slash + 1, (size_t)(query - slash - 1));
    if (has_socket) {
        query += sizeof option - 1;
        s->socket = decode(query, strlen(query));
    } else if (*query) {
        return err_set(e, ERR_INPUT, "mysql_url: the only option is ?socket=/path");
    }
    if (!s->user || !s->password || !s->host || !s->database || (has_socket && !s->socket)) {
        return err_set(e, ERR_INPUT, "mysql_url: a '%%' is not followed by two hex digits");
    }
    if (!*s->database || strchr(s->database, '/')) {
        return err_set(e, ERR_INPUT, "mysql_url: want one database name behind the host");
    }
    if (has_socket ? !*s->socket || (*s->host && strcmp(s->host, "localhost") != 0) : !*s->host) {
        return err_set(e, ERR_INPUT, "mysql_url: want either a host or ?socket=/path");
    }
    return true;
}

static unsigned
seconds(int ms, int otherwise, unsigned least)
{
    unsigned s = ((unsigned)(ms > 0 ? ms : otherwise) + 999) / 1000;
    return s > least ? s : least;
}

bool
store_open(const struct store_config *c, struct store **ret, struct err *e)
{
    (void)pthread_once(&once, init);
    struct store *s = xcalloc(1, sizeof *s);
    if (!parse_url(s, c->url, e)) {
        store_close(s);
        return false;
    }
    if (c->password) {
        free(s->password);
        s->password = xstrdup(c->password);
    }
    s->time_zone = xstrdup(c->time_zone ? c->time_zone : "+00:00");
    s->connect_s = seconds(c->connect_timeout_ms, CONNECT_DEFAULT_MS, 1);
    /* Waiting for a lock must end before the client gives the connection up. */
    s->query_s = seconds(c->query_timeout_ms, QUERY_DEFAULT_MS, 2);
    s->lock_wait_s = s->query_s / 2 < LOCK_WAIT_MAX_S ? s->query_s / 2 : LOCK_WAIT_MAX_S;
    s->force_dialect = c->force_dialect;
    *ret = s;
    return true;
}

static void
hang_up(struct store *s)
{
    if (s->db) {
        mysql_close(s->db);
        s->db = NULL;
    }
}

void
store_close(struct store *s)
{
    if (s) {
        hang_up(s);
        char *const texts[] = {s->user, s->password, s->host, s->database, s->socket, s->time_zone};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            free(texts[i]);
        }
        free(s);
    }
}

/* --- failures ----------------------------------------------------------------------- */

static bool
is_lock_trouble(unsigned code)
{
    return code == 1213 || code == 1205; /* deadlock, lock wait time-out */
}

/* The connection is dead, or leads to a server that will not take writes: hang up, and dial again,
 * perhaps to the new primary.  2000 to 2999 are the client library's own. */
static bool
is_loss(unsigned code)
{
    switch (code) {
    case 1053: /* shutdown in progress */
    case 1158: /* 1158 to 1161: reading or writing packets */
    case 1159:
    case 1160:
    case 1161:
    case 1290: /* --read-only */
    case 1792: /* read-only transaction */
    case 1836: /* read-only mode */
    case 1927: /* connection was killed */
    case 4031: /* disconnected for being idle */
        return true;
    default:
        return code >= 2000 && code < 3000;
    }
}

static bool
is_retry(unsigned code)
{
    switch (code) {
    case 3:    /* error writing file */
    case 1021: /* disk full */
    case 1040: /* too many connections */
    case 1047: /* a cluster node that is not ready */
    case 1114: /* table full */
    case 1129: /* host blocked for its many errors */
    case 1203: /* too many connections of this user */
    case 1226: /* resource limit of this user */
    case 1317: /* query was killed */
    case 1969: /* statement time limit, MariaDB */
    case 3024: /* the same, MySQL */
        return true;
    default:
        return is_loss(code) || is_lock_trouble(code);
    }
}

/* The length of the first bytes of text, at most max, without cutting a character. */
static int
head_length(const char *text, size_t len, size_t max)
{
    if (len > max) {
        for (len = max; len && ((unsigned char)text[len] & 0xc0) == 0x80; len--) {
        }
    }
    return (int)len;
}

/* What the last call on the connection has failed of, as an error.  Always returns false. */
static bool
fail(struct store *s, const struct sql *q, struct err *e)
{
    s->code = mysql_errno(s->db);
    s->stats.errors++;
    s->stats.deadlocks += is_lock_trouble(s->code);
    const char *text = mysql_error(s->db), *statement = q->text.data ? q->text.data : "";
    char head[TEXT_HEAD + 1] = {0};
    int n = head_length(statement, q->text.len, TEXT_HEAD);
    for (int i = 0; i < n; i++) {
        head[i] = (unsigned char)statement[i] < ' ' ? ' ' : statement[i];
    }
    struct err why = {0};
    (void)err_set(&why, is_retry(s->code) ? ERR_RETRY : ERR_REFUSED, "mysql: %.*s (%u) in: %s%s",
                  head_length(text, strlen(text), 180), text, s->code, head,
                  q->text.len > TEXT_HEAD ? ".." : "");
    if (is_loss(s->code)) {
        s->why = why;
        hang_up(s);
    }
    if (s->tx == TX_OPEN && why.kind == ERR_RETRY) {
        s->tx = is_lock_trouble(s->code) ? TX_REPEAT : TX_GONE;
        /* A lock time-out undoes only its statement; we undo the rest, and if we cannot, the server
         * does so when the connection ends. */
        if (s->db && mysql_rollback(s->db)) {
            hang_up(s);
        }
    }
    if (e) {
        *e = why;
    }
    return false;
}

/* --- connections -------------------------------------------------------------------- */

/* One statement on the open connection.  *ret, which may be NULL, gets the buffered rows, or NULL
 * for a statement that gives none; the caller frees them. */
static bool
ask(struct store *s, const struct sql *q, MYSQL_RES **ret, struct err *e)
{
    trace(q);
    s->code = 0;
    s->stats.statements++;
    int64_t from_us = clock_mono_us();
    MYSQL_RES *res = NULL;
    bool ok = mysql_real_query(s->db, q->text.data, (unsigned long)q->text.len) == 0;
    if (ok) {
        res = mysql_store_result(s->db);
        ok = res || mysql_errno(s->db) == 0;
    }
    s->stats.busy_us += (uint64_t)(clock_mono_us() - from_us);
    if (ret) {
        *ret = res;
    } else if (res) {
        mysql_free_result(res);
    }
    return ok || fail(s, q, e);
}

static bool
askf(struct store *s, MYSQL_RES **ret, struct err *e, const char *fmt, ...)
{
    struct sql q = {0};
    va_list ap;
    va_start(ap, fmt);
    sql_addv(&q, fmt, ap);
    va_end(ap);
    bool ok = ask(s, &q, ret, e);
    sql_done(&q);
    return ok;
}

/* "5.7.44-log", "8.0.36", "10.11.6-MariaDB"; "5.5.5-10.5.22-MariaDB" is said to please old clients.
 */
static bool
knows_skip_locked(const char *version)
{
    bool maria = strstr(version, "MariaDB") != NULL;
    if (maria && strncmp(version, "5.5.5-", 6) == 0) {
        version += 6;
    }
    unsigned long number = 0;
    for (int i = 0; i < 3; i++) {
        char *end;
        number = number * 100 + strtoul(version, &end, 10);
        version = *end == '.' ? end + 1 : "0";
    }
    return number >= (maria ? 100600 : 80001);
}

/* Sets the session up, on each new connection. */
static bool
greet(struct store *s, struct err *e)
{
    MYSQL_RES *res = NULL;
    /* The mode comes first, for our quoting rests on it. */
    if (!askf(s, NULL, e,
              "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
              "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'") ||
        !askf(s, NULL, e, "SET NAMES utf8mb4") ||
        !askf(s, NULL, e, "SET SESSION time_zone=%s, innodb_lock_wait_timeout=%u, autocommit=1",
              s->time_zone, s->lock_wait_s) ||
        !askf(s, NULL, e, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED") ||
        !askf(s, &res, e, "SELECT VERSION(), @@SESSION.sql_mode LIKE '%%NO_BACKSLASH_ESCAPES%%'")) {
        return false;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    bool ok = row && row[0] && row[1] && *row[1] == '0';
    s->skip_locked = ok && knows_skip_locked(row[0]);
    mysql_free_result(res);
    return ok || err_set(e, ERR_REFUSED,
                         "mysql: something between us and the server sets NO_BACKSLASH_ESCAPES");
}

static bool
refuse_dial(struct store *s, struct err *e)
{
    s->code = mysql_errno(s->db);
    s->stats.errors++;
    const char *text = mysql_error(s->db), *cure = "";
    enum err_kind kind = is_retry(s->code) ? ERR_RETRY : ERR_REFUSED;
    switch (s->code) {
    case 1044: /* no right to the database */
    case 1045: /* no such user, or another password */
    case 1698: /* the same, for a user who has no password */
        cure = "; check the user and password in mysql_url";
        break;
    case 1049:
        cure = "; create the database or fix mysql_url";
        break;
    case 1251: /* a server or client too old for the other's way to log in */
    case 2059:
    case 2061:
        kind = ERR_REFUSED;
        cure = "; the client library cannot log this user in";
        break;
    default:
        break;
    }
    return err_set(e, kind, "mysql at %.60s: %.*s (%u)%s", s->socket ? s->socket : s->host,
                   head_length(text, strlen(text), 180), text, s->code, cure);
}

/* One attempt to connect, without any waiting between attempts: see dial(). */
static bool
dial_now(struct store *s, struct err *e)
{
    s->db = mysql_init(NULL);
    if (!s->db) {
        return err_set(e, ERR_RETRY, "mysql: no memory for a connection");
    }
    /* With a host we mean TCP; the library would take "localhost" for a socket of its own choice.
     * Its own reconnect is off by default everywhere, and the type of that option differs. */
    unsigned protocol = s->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP, no = 0;
    (void)mysql_options(s->db, MYSQL_OPT_PROTOCOL, &protocol);
    (void)mysql_options(s->db, MYSQL_OPT_LOCAL_INFILE, &no); /* no server gets our files */
    (void)mysql_options(s->db, MYSQL_OPT_CONNECT_TIMEOUT, &s->connect_s);
    (void)mysql_options(s->db, MYSQL_OPT_READ_TIMEOUT, &s->query_s);
    (void)mysql_options(s->db, MYSQL_OPT_WRITE_TIMEOUT, &s->query_s);
    (void)mysql_options(s->db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    bool ok = mysql_real_connect(s->db, s->socket ? NULL : s->host, s->user, s->password,
                                 s->database, s->socket ? 0 : s->port, s->socket, 0);
    ok = ok ? greet(s, e) : refuse_dial(s, e);
    if (!ok) {
        hang_up(s);
    }
    return ok;
}

/* Makes sure of a connection.  Dials at most every 100 ms, and less and less often, down to every 2
 * s, while that fails; a call in between fails at once for the same reason as the one before it. */
static bool
dial(struct store *s, struct err *e)
{
    if (s->db) {
        return true;
    }
    bool ok = false;
    if (clock_mono_ms() >= s->redial_at_ms) {
        ok = dial_now(s, &s->why);
        int64_t gap_ms =
            ok ? REDIAL_MIN_MS
               : backoff_ms(s->failed_dials, REDIAL_BASE_MS, REDIAL_MAX_MS, random_u64());
        s->redial_at_ms = clock_mono_ms() + gap_ms;
        s->failed_dials = ok ? 0 : s->failed_dials + 1;
        s->stats.reconnects += ok && s->dialled;
        s->dialled = s->dialled || ok;
    }
    if (!ok && e) {
        *e = s->why;
    }
    return ok;
}

bool
store_ping(struct store *s, struct err *e)
{
    return store_execf(s, NULL, e, "DO 1");
}

bool
store_has_skip_locked(struct store *s, bool *ret, struct err *e)
{
    if (s->force_dialect == 0 && !dial(s, e)) {
        return false;
    }
    *ret = s->force_dialect == 0 ? s->skip_locked : s->force_dialect == 2;
    return true;
}

/* --- running statements ------------------------------------------------------------- */

static void
pause_before_repeat(unsigned i)
{
    int64_t ms = backoff_ms(i, DEADLOCK_PAUSE_MS, DEADLOCK_PAUSE_MAX_MS, random_u64());
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool
run(struct store *s, const struct sql *q, MYSQL_RES **ret, struct err *e)
{
    if (s->tx == TX_REPEAT || s->tx == TX_GONE) {
        return err_set(e, ERR_RETRY, "mysql: the transaction is gone after an earlier failure");
    }
    if (!dial(s, e)) {
        return false;
    }
    /* A statement of its own that lost a deadlock has changed nothing and is simply asked again. */
    for (unsigned i = 0; !ask(s, q, ret, e); i++) {
        if (s->tx != TX_NONE || s->code != 1213 || i == DEADLOCK_REPEATS) {
            return false;
        }
        pause_before_repeat(i);
    }
    return true;
}

bool
store_exec(struct store *s, const struct sql *q, uint64_t *ret_affected, uint64_t *ret_insert_id,
           struct err *e)
{
    if (!run(s, q, NULL, e)) {
        return false;
    }
    s->stats.warnings += mysql_warning_count(s->db);
    if (ret_affected) {
        *ret_affected = mysql_affected_rows(s->db);
    }
    if (ret_insert_id) {
        *ret_insert_id = mysql_insert_id(s->db);
    }
    return true;
}

bool
store_execf(struct store *s, uint64_t *ret_affected, struct err *e, const char *fmt, ...)
{
    struct sql q = {0};
    va_list ap;
    va_start(ap, fmt);
    sql_addv(&q, fmt, ap);
    va_end(ap);
    bool ok = store_exec(s, &q, ret_affected, NULL, e);
    sql_done(&q);
    return ok;
}

bool
store_query(struct store *s, const struct sql *q, struct rows *ret, struct err *e)
{
    *ret = (struct rows){0};
    MYSQL_RES *res = NULL;
    if (!run(s, q, &res, e)) {
        return false;
    }
    assert(res && "store_query is for statements that give rows");
    ret->res = res;
    ret->count = mysql_num_rows(res);
    return true;
}

bool
store_queryf(struct store *s, struct rows *ret, struct err *e, const char *fmt, ...)
{
    struct sql q = {0};
    va_list ap;
    va_start(ap, fmt);
    sql_addv(&q, fmt, ap);
    va_end(ap);
    bool ok = store_query(s, &q, ret, e);
    sql_done(&q);
    return ok;
}

bool
rows_next(struct rows *r)
{
    r->field = r->res ? mysql_fetch_row(r->res) : NULL;
    r->length = r->field ? mysql_fetch_lengths(r->res) : NULL;
    return r->field != NULL;
}

void
rows_done(struct rows *r)
{
    if (r->res) {
        mysql_free_result(r->res);
    }
    *r = (struct rows){0};
}

static const char *
cell(const struct rows *r, unsigned column)
{
    assert(r->field && column < mysql_num_fields(r->res));
    return r->field[column];
}

int64_t
rows_int(const struct rows *r, unsigned column)
{
    const char *text = cell(r, column);
    return text ? strtoll(text, NULL, 10) : 0;
}

uint64_t
rows_uint(const struct rows *r, unsigned column)
{
    const char *text = cell(r, column);
    return text ? strtoull(text, NULL, 10) : 0;
}

const char *
rows_str(const struct rows *r, unsigned column)
{
    const char *text = cell(r, column);
    return text ? text : "";
}

/* --- transactions and locks --------------------------------------------------------- */

static bool
transact_once(struct store *s, store_body *body, void *arg, bool *ret_repeat, struct err *e)
{
    *ret_repeat = false;
    if (!store_execf(s, NULL, e, "START TRANSACTION")) {
        return false;
    }
    s->tx = TX_OPEN;
    bool ok = body(s, arg, e) && store_execf(s, NULL, e, "COMMIT");
    if (s->tx == TX_OPEN && !ok && mysql_rollback(s->db)) {
        hang_up(s);
    }
    *ret_repeat = s->tx == TX_REPEAT;
    s->tx = TX_NONE;
    return ok;
}

bool
store_transact(struct store *s, store_body *body, void *arg, struct err *e)
{
    assert(s->tx == TX_NONE && "transactions do not nest");
    bool repeat = false;
    for (unsigned i = 0;; i++) {
        if (transact_once(s, body, arg, &repeat, e)) {
            return true;
        }
        if (!repeat || i == DEADLOCK_REPEATS) {
            return false;
        }
        pause_before_repeat(i);
    }
}

bool
store_try_lock(struct store *s, const char *name, int wait_s, bool *ret, struct err *e)
{
    int64_t until_ms = clock_mono_ms() + 1000 * (int64_t)wait_s;
    for (;;) {
        /* In steps, each of them shorter than the time-out of a query. */
        int64_t step_s = (until_ms - clock_mono_ms() + 999) / 1000;
        step_s = step_s < 0 ? 0 : step_s > s->lock_wait_s ? s->lock_wait_s : step_s;
        struct rows r;
        if (!store_queryf(s, &r, e, "SELECT GET_LOCK(%s, %" PRId64 ")", name, step_s)) {
            return false;
        }
        bool answered = rows_next(&r) && r.field[0];
        *ret = answered && rows_int(&r, 0) == 1;
        rows_done(&r);
        if (!answered) {
            return err_set(e, ERR_RETRY, "mysql: waiting for the lock '%s' was cut off", name);
        }
        if (*ret || clock_mono_ms() >= until_ms) {
            return true;
        }
    }
}

bool
store_unlock(struct store *s, const char *name, struct err *e)
{
    struct rows r;
    if (!store_queryf(s, &r, e, "SELECT RELEASE_LOCK(%s)", name)) {
        return false;
    }
    bool ours = rows_next(&r) && rows_int(&r, 0) == 1;
    rows_done(&r);
    return ours || err_set(e, ERR_GONE, "mysql: the lock '%s' is not ours", name);
}

unsigned
store_code(const struct store *s)
{
    return s->code;
}

const struct store_stats *
store_stats(const struct store *s)
{
    return &s->stats;
}
