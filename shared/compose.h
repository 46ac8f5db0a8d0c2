/* compose.h -- one message's text, with the language and the clock of its recipient: what the
 * worker sends, and what `paceline template render` shows.
 *
 * Language: the attribute `language` or `lang`, else the device's, else the setting's; one that the
 * greetings do not know counts as none.  Zone: the attribute `time_zone` or `timezone`, else the
 * device's, else UTC; likewise. */
#ifndef SHARED_COMPOSE_H
#define SHARED_COMPOSE_H

#include "shared/err.h"
#include "shared/mem.h"
#include "shared/render.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct compose_settings {
    char *greetings;        /* path of a file (greeting.h) beside the built-in ones, or "" */
    char *default_language; /* of who has none */
    char *name_fallback;    /* for all languages, or "": each one's own */
    bool neutral_names;     /* their neutral ones */
};

#define COMPOSE_OFFSET(settings, member)                                                           \
    (offsetof(settings, compose) + offsetof(struct compose_settings, member))
/* Rows of a conf table; the program's settings struct has a `struct compose_settings compose`. */
#define COMPOSE_KEYS(settings)                                                                     \
    {"greetings",                                                                                  \
     CONF_STR,                                                                                     \
     COMPOSE_OFFSET(settings, greetings),                                                          \
     "",                                                                                           \
     NULL,                                                                                         \
     0,                                                                                            \
     "file of greetings that adds languages to the built-in ones, or replaces them"},              \
        {"default_language",                                                                       \
         CONF_STR,                                                                                 \
         COMPOSE_OFFSET(settings, default_language),                                               \
         "ms",                                                                                     \
         NULL,                                                                                     \
         0,                                                                                        \
         "language of greetings where neither recipient nor device has one"},                      \
        {"name_fallback",                                                                          \
         CONF_STR,                                                                                 \
         COMPOSE_OFFSET(settings, name_fallback),                                                  \
         "",                                                                                       \
         NULL,                                                                                     \
         0,                                                                                        \
         "what a recipient without a usable name is called; empty: what the language says"},       \
    {                                                                                              \
        "neutral_names", CONF_BOOL, COMPOSE_OFFSET(settings, neutral_names), NULL, NULL, 0,        \
            "whether a language's neutral word stands in for a missing name"                       \
    }

struct composer;

/* ERR_INPUT with file:line for mistakes in the file, or for a setting that fits no language.
 * The settings must outlive it; it belongs to one thread. */
MUST_USE bool composer_new(const struct compose_settings *s, struct composer **ret, struct err *e);
void composer_free(struct composer *c);

struct compose_message {
    const char *template_text;
    size_t template_len;
    const char *job_id;
    const struct render_var *vars;
    size_t n_vars;
    const char *zone, *language; /* the device's, "" for none */
    int64_t now_ms;              /* the time of sending */
};

/* What was chosen; the texts live as long as the composer and the message. */
struct compose_choice {
    const char *language; /* "ms" */
    const char *zone;     /* NULL: no greeting was needed */
    const char *bad_zone; /* one that was looked up in vain just now, or NULL */
    struct err bad_zone_error;
};

/* Appends the text; fails as render() does.  ret may be NULL. */
MUST_USE bool compose(struct composer *c, const struct compose_message *m, struct buf *out,
                      struct compose_choice *ret, struct err *e);

/* The widths of name, recipient_name and greeting in the setting's language, for render_facts(). */
enum { COMPOSE_WIDTHS = 3 };
MUST_USE bool compose_widths(const struct composer *c, struct render_width ret[COMPOSE_WIDTHS],
                             struct err *e);

#endif
