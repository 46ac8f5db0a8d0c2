/* greeting.h -- data about languages: what is said at which time of the day, and what a recipient
 * is called whose name is none.  Pure.
 *
 *     [ms malay]                 a language and its other names
 *     name = Cik                 stands in for a name that is none
 *     neutral = Tuan/Puan        the same, for whoever wants no word that has a gender
 *     not_names = tiada, n/a     words that people write where there is no name
 *     05:00 = Selamat pagi       from this time of the day on; before the first, the last one holds
 *     12:00 = {Hi|Hello} {name}  a greeting is a template (render.h)
 *
 * A # begins a comment line.  The first line of a language is needed, and one greeting. */
#ifndef SHARED_GREETING_H
#define SHARED_GREETING_H

#include "shared/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { GREETINGS_BYTES_MAX = 262144, GREETING_TIMES_MAX = 24, GREETING_BYTES_MAX = 1024 };

struct greeting_language {
    const char *name;             /* the first in the brackets */
    const char *fallback;         /* "" when there is none */
    const char *neutral;          /* likewise; the fallback when it is not said */
    const char *const *not_names; /* NULL-ended */
    struct greeting_time {
        int minute; /* of the day */
        const char *text;
    } times[GREETING_TIMES_MAX]; /* by minute; one at least */
    size_t n_times;
};

struct greetings;

/* deploy/greetings.conf */
extern const char greetings_builtin[];

/* Reads languages; those of a later call go before those of an earlier one.  ERR_INPUT with
 * place:line.  *g is NULL before the first call; on failure it is as it was. */
MUST_USE bool greetings_read(struct greetings **g, const char *place, const char *text, size_t len,
                             struct err *e);
void greetings_free(struct greetings *g);

/* By "ms", "ms-MY", "ms_MY.UTF-8", "Malay" in any case; NULL when it is not known, or empty. */
const struct greeting_language *greetings_find(const struct greetings *g, const char *tag);

/* The names of all languages, "en, id, ms"; returns out. */
const char *greetings_names(const struct greetings *g, char *out, size_t size);

/* The template that is said at a minute of the day. */
const char *greeting_at(const struct greeting_language *l, int minute);

#endif
