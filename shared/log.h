/* log.h -- one line an event to stderr: logfmt (default) or JSON.
 *
 * Only programs log (main files and the rooms that act); library code returns errors.  Values from
 * outside are quoted and escaped by the log itself, so a caller may pass anything. */
#ifndef SHARED_LOG_H
#define SHARED_LOG_H

#include "shared/err.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_TRACE
};

/* program is kept.  json selects JSON lines.  Safe to call again. */
void log_init(const char *program, enum log_level level, bool json);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* "info" and the like -> level; false when the word is none. */
MUST_USE bool log_level_parse(const char *word, enum log_level *ret);

/* A key and a printf format for its value, repeated:
 *     log_event(LOG_LEVEL_WARN, "redis lost", "after_ms", LOG_I(ms), "why", LOG_S(text), NULL);
 * Values are made with the LOG_ macros below; the list ends with NULL. */
struct log_value {
    enum { LOG_INT, LOG_STR } kind;
    int64_t i;
    const char *s;
};
#define LOG_I(v) (&(struct log_value){LOG_INT, (int64_t)(v), 0})
#define LOG_S(v) (&(struct log_value){LOG_STR, 0, (v)})
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

#define log_error(...) log_event(LOG_LEVEL_ERROR, __VA_ARGS__, NULL)
#define log_warn(...)  log_event(LOG_LEVEL_WARN, __VA_ARGS__, NULL)
#define log_info(...)  log_event(LOG_LEVEL_INFO, __VA_ARGS__, NULL)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG)) {                                                        \
            log_event(LOG_LEVEL_DEBUG, __VA_ARGS__, NULL);                                         \
        }                                                                                          \
    } while (0)

/* Masks a phone number for logs: first two and last three characters of six and more stay
 * ("60*******789"). Returns buf. */
const char *log_mask_phone(const char *phone, char *buf, unsigned long size);

#endif
