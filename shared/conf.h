/* conf.h -- one table per program drives file, environment, flags, --help, --check-config,
 * --print-config.
 *
 * Precedence: default < file < environment < flag.  One name, three spellings by rule:
 * file `redis_url = ...`, environment PACELINE_REDIS_URL, flag --redis-url=... (or --redis-url
 * ...). Unknown keys, unreadable files and bad values are refused with file:line (or the variable
 * or flag). Other PACELINE_* variables are no error, because programs share an environment;
 * --check-config asks about near misses.
 *
 * The file:
 *     # a comment, on a line of its own or behind a blank; so is ;
 *     redis_url = redis://127.0.0.1       every program that reads the file must know this key
 *     [producer reaper]                   what follows is for these programs only, and beats the
 * above database_url = "mysql://..."        in double quotes: \n \t \" \\ are escapes, # and ; are
 * text [sender gateway]                    a section with a name of its own One file serves all
 * programs.  A key before the first section is refused by a program that does not know it: it
 * belongs in a section that names its programs, so that no misspelt key goes unnoticed and no list
 * of other programs' keys is needed.  A program skips the sections of other programs and the kinds
 * it does not use, and refuses kinds that are unknown to the project. */
#ifndef SHARED_CONF_H
#define SHARED_CONF_H

#include "shared/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum conf_type {
    CONF_STR,  /* char *           any text */
    CONF_INT,  /* int64_t          a whole number within min..max */
    CONF_MS,   /* int64_t          a duration: 250ms, 5s, 10m, 2h, 1d; a bare number is milliseconds
                */
    CONF_BOOL, /* bool             yes/no, true/false, on/off, 1/0 */
    CONF_WORD, /* int64_t          one of the words in `words`, stored as its index */
};

enum conf_flags {
    /* Masked by --print-config, refused as a flag (argv is public).  In the file it may be env:NAME
     * or file:PATH; NAME_file, in all three spellings, names a file that holds it.  One newline at
     * that file's end is dropped. */
    CONF_SECRET = 1,
};

/* A last row named "*" says that the program has commands with flags of their own: unknown flags
 * behind the first plain argument, --help among them, are then passed on in conf.rest as they
 * stand. */
struct conf_key {
    const char *name; /* lower_snake_case */
    enum conf_type type;
    size_t offset;     /* into the program's settings struct */
    const char *value; /* default, as text; NULL = unset: NULL, 0, false */
    const char *words; /* CONF_WORD: "logfmt|json"; CONF_INT/CONF_MS: "min..max" or NULL */
    unsigned flags;
    const char *help; /* one sentence, unit included */
};

/* A [kind NAME] section of the file, such as [sender gateway]: keys as they stand, with their
 * lines. The owner checks them with conf_section_apply(). */
struct conf_section {
    char *kind, *name;
    int line;
    struct conf_pair {
        char *key, *value;
        int line;
    } * pairs;
    size_t n_pairs;
    const char *file;
};

struct conf {
    const struct conf_key *keys; /* ends with a NULL name */
    void *settings;
    struct conf_section *sections;
    size_t n_sections;
    char *file;
    char **rest; /* arguments that are no flags, in order; they are argv's */
    int n_rest;
    struct conf_origin
        *origins; /* private: where each value came from, for messages and --print-config */
};

enum conf_result { CONF_RUN, CONF_EXIT_OK, CONF_EXIT_USAGE };

/* Reads everything into settings (strings are owned by conf until conf_done).  Handles --help,
 * --version, --check-config and --print-config itself (prints to stdout, CONF_EXIT_OK), prints an
 * error with its place to stderr (CONF_EXIT_USAGE).  section_kinds is a NULL-ended list of the
 * section kinds the program knows, or NULL; check_sections (may be NULL) is called after loading to
 * validate them. The config file is --config FILE, else $PACELINE_CONFIG, else none.  The program's
 * own section is what follows "paceline-" in its name.  argv must outlive c.  Unless it returns
 * CONF_RUN, all is freed again. */
enum conf_result conf_load(struct conf *c, const struct conf_key *keys, void *settings,
                           const char *program, const char *about, const char *const *section_kinds,
                           bool (*check_sections)(struct conf *, struct err *), int argc,
                           char **argv);
void conf_done(struct conf *c);

/* Fills `settings` by `keys` from a section; a key ending in '*' in the table (name "header_*") is
 * not matched here: the owner reads such pairs itself.  Values may be `env:NAME` or `file:PATH` for
 * keys flagged CONF_SECRET.  ERR_INPUT with file:line.  Strings in settings are owned by the caller
 * (free); on failure they are freed and NULL. */
MUST_USE bool conf_section_apply(const struct conf_section *s, const struct conf_key *keys,
                                 void *settings, struct err *e);

/* "5s" -> 5000.  False when it is no duration. */
MUST_USE bool conf_parse_ms(const char *text, int64_t *ret);

#endif
