/* flag.h -- a command's own flags: one table per command drives parsing, --help and the checks of
 * values; the columns of a CSV of the same things use the same table. */
#ifndef CTL_FLAG_H
#define CTL_FLAG_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The type of each in the command's struct.  Unset: NULL, false, FLAG_UNSET. */
enum flag_type {
    FLAG_BOOL,  /* bool */
    FLAG_TEXT,  /* const char *       any text */
    FLAG_WORD,  /* const char *       one of the words in `words` */
    FLAG_INT,   /* int64_t            a whole number within `words`, min..max */
    FLAG_MS,    /* int64_t            a duration within `words` */
    FLAG_TIME,  /* int64_t            FLAG_NOW, or seconds since 1970: 2026-11-22
                   10:00[:00][Z|+08:00] */
    FLAG_GAP,   /* struct flag_pair   milliseconds: 5s..15s, or one duration for both */
    FLAG_BATCH, /* struct flag_pair   20/10m: messages, milliseconds of pause; none = 0, 0 */
    FLAG_LIST, /* struct flag_list   any text, as often as it is given; several flags may share one,
                  which then keeps their order */
    FLAG_QUIET, /* struct flag_pair   22:00-07:00: minutes of the day; none = -1, -1 */
};

struct flag_pair {
    int64_t a, b;
};

struct flag_item {
    const char *flag, *text;
};
struct flag_list {
    struct flag_item *items;
    size_t n, cap;
};

#define FLAG_UNSET INT64_MIN
enum { FLAG_NOW = -1 };

struct flag {
    const char *name; /* "max-in-flight"; a list ends with NULL */
    enum flag_type type;
    size_t offset;
    const char *words; /* "hold|skip", "1..1000", or NULL */
    const char *value; /* default as text, or NULL: unset */
    const char *help;
    bool required;
};

/* Writes the defaults.  flags may be NULL. */
void flag_defaults(const struct flag *flags, void *values);

/* Frees the lists. */
void flag_done(const struct flag *flags, void *values);

/* True when there is neither a value nor a default. */
bool flag_is_unset(const struct flag *f, const void *values);

/* Reads one value; texts are kept.  ERR_INPUT says what is wrong and what is wanted, not whose
 * value it is. */
MUST_USE bool flag_set(const struct flag *f, const char *text, void *values, struct err *e);

/* The flag of this name, '_', ' ' and upper case being as good as '-' and lower case; or NULL. */
const struct flag *flag_find(const struct flag *flags, const char *name);

/* What stands for the value in help: "DURATION", "hold|skip". */
const char *flag_sample(const struct flag *f);

/* The value in its one way of writing, which flag_set() reads: 60000 ms are "1m", 90000 "90s".
 * Nothing for one that is unset, a list or a time. */
void flag_write(const struct flag *f, const void *values, struct buf *out);

/* The word that was probably meant, or NULL; the list ends with NULL. */
const char *flag_nearest(const char *word, const char *const *list);

#endif
