/* program.h -- what the long-running programs have in common: settings, name, start, end. */
#ifndef SHARED_PROGRAM_H
#define SHARED_PROGRAM_H

#include "shared/conf.h"
#include "shared/err.h"
#include "shared/queue.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct program_settings {
    char *redis_url, *redis_password, *prefix, *listen, *name;
    int64_t partitions, redis_deadline, log_level, log_format;
};

#define PROGRAM_OFFSET(settings, member)                                                           \
    (offsetof(settings, program) + offsetof(struct program_settings, member))
/* Rows of a conf table; the program's settings struct has a `struct program_settings program`. */
#define PROGRAM_KEYS(settings, log_level_default)                                                  \
    {"redis_url",                                                                                  \
     CONF_STR,                                                                                     \
     PROGRAM_OFFSET(settings, redis_url),                                                          \
     "redis://127.0.0.1:6379",                                                                     \
     NULL,                                                                                         \
     0,                                                                                            \
     "Redis: redis://[user:password@]host:port/db or unix:/path"},                                 \
        {"redis_password",                                                                         \
         CONF_STR,                                                                                 \
         PROGRAM_OFFSET(settings, redis_password),                                                 \
         NULL,                                                                                     \
         NULL,                                                                                     \
         CONF_SECRET,                                                                              \
         "password for Redis, instead of the URL's"},                                              \
        {"redis_deadline",                                                                         \
         CONF_MS,                                                                                  \
         PROGRAM_OFFSET(settings, redis_deadline),                                                 \
         "5s",                                                                                     \
         "100..600000",                                                                            \
         0,                                                                                        \
         "longest wait for an answer of Redis before the connection is given up"},                 \
        {"partitions",                                                                             \
         CONF_INT,                                                                                 \
         PROGRAM_OFFSET(settings, partitions),                                                     \
         "64",                                                                                     \
         "1..1024",                                                                                \
         0,                                                                                        \
         "partitions of the queue; fixed when Redis is first used"},                               \
        {"prefix", CONF_STR, PROGRAM_OFFSET(settings, prefix), "pl",                               \
         NULL,     0,        "first word of all keys in Redis"},                                   \
        {"log_level",                                                                              \
         CONF_WORD,                                                                                \
         PROGRAM_OFFSET(settings, log_level),                                                      \
         log_level_default,                                                                        \
         "error|warn|info|debug|trace",                                                            \
         0,                                                                                        \
         "what is logged to stderr"},                                                              \
        {"log_format",                                                                             \
         CONF_WORD,                                                                                \
         PROGRAM_OFFSET(settings, log_format),                                                     \
         "logfmt",                                                                                 \
         "logfmt|json",                                                                            \
         0,                                                                                        \
         "how log lines look"},                                                                    \
        {"listen",                                                                                 \
         CONF_STR,                                                                                 \
         PROGRAM_OFFSET(settings, listen),                                                         \
         "",                                                                                       \
         NULL,                                                                                     \
         0,                                                                                        \
         "address of /healthz, /readyz and /metrics: host:port, unix:/path, or empty for none"},   \
    {                                                                                              \
        "name", CONF_STR, PROGRAM_OFFSET(settings, name), NULL, NULL, 0,                           \
            "this program's name in the fleet, at most 40 characters; host name and pid if unset"  \
    }

/* "role/name.word/version" into out: unique for this process.  ERR_INPUT for a name with other
 * characters than letters, digits, '.', '_' and '-'. */
MUST_USE bool program_name(const char *role, const char *name, char out[QUEUE_NAME_SIZE],
                           struct err *e);

/* Logging, ignored SIGPIPE, and this program's HTTP server.  program is kept. */
struct http_server;
MUST_USE bool program_start(const char *program, const struct program_settings *s,
                            struct http_server **ret, struct err *e);

/* For queue_events.on_trouble: logs what Redis refuses for now. */
void program_on_trouble(void *arg, const char *why);

/* The queue's configuration by the settings; name as from program_name. */
struct queue_config program_queue(const struct program_settings *s, const char *name);

/* --- programs that block: MySQL statements one after another, Redis calls waited for together
 * ---------------- */

struct program_mysql {
    char *url, *password, *time_zone;
    int64_t timeout;
};
#define MYSQL_OFFSET(settings, member)                                                             \
    (offsetof(settings, mysql) + offsetof(struct program_mysql, member))
/* Rows of a conf table; the settings struct has a `struct program_mysql mysql`. */
#define PROGRAM_MYSQL_KEYS(settings)                                                               \
    {"mysql_url",                                                                                  \
     CONF_STR,                                                                                     \
     MYSQL_OFFSET(settings, url),                                                                  \
     "mysql://paceline@127.0.0.1/paceline",                                                        \
     NULL,                                                                                         \
     0,                                                                                            \
     "MySQL or MariaDB: mysql://user@host:port/database, or ...?socket=/path"},                    \
        {"mysql_password",                                                                         \
         CONF_STR,                                                                                 \
         MYSQL_OFFSET(settings, password),                                                         \
         NULL,                                                                                     \
         NULL,                                                                                     \
         CONF_SECRET,                                                                              \
         "password for MySQL, instead of the URL's"},                                              \
        {"mysql_timeout", CONF_MS, MYSQL_OFFSET(settings, timeout), "30s",                         \
         "1000..3600000", 0,       "longest wait for one statement"},                              \
    {                                                                                              \
        "db_time_zone", CONF_STR, MYSQL_OFFSET(settings, time_zone), "+00:00", NULL, 0,            \
            "the session's zone, for databases that store local times"                             \
    }

/* Opens the store and sees to it that it has our schema.  A database that is away now is waited for
 * (true); one without our schema is not. */
struct store;
MUST_USE bool program_store(const struct program_mysql *m, int dialect, struct store **ret,
                            struct err *e);

/* One turn: does what is due; *work tells whether there was anything.  False: MySQL is in the way.
 */
typedef bool program_cycle(void *arg, bool *work, struct err *e);

/* Turns until SIGTERM or until Redis refuses us for good; keeps health, readiness and the two up
 * gauges, logs each crossing once, rests after trouble (500 ms) and when there is nothing to do
 * (idle_ms).  Says good-bye to the fleet.  Returns the exit code. */
struct metric;
struct program_gauges {
    struct metric *redis_up, *mysql_up, *deadlocks, *statements;
};
int program_run(struct ev_loop *loop, struct queue *q, struct store *db, const char *name,
                int64_t idle_ms, const struct program_gauges *gauges, program_cycle *cycle,
                void *arg);

/* For queue_events.on_link of such a program: logs. */
void program_on_link(void *arg, bool up, const char *why);

/* True once in every interval; moves the mark. */
bool program_due(int64_t *next_ms, int64_t interval_ms);

/* For blocking programs: SIGTERM and SIGINT set this; the second one ends the process at once (exit
 * 1). */
extern volatile sig_atomic_t program_stopping;
void program_catch_signals(void);

#endif
