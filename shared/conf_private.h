/* conf_private.h -- what conf.c, conf_file.c, conf_print.c and conf_value.c share.  Nobody else
 * includes it. */
#ifndef SHARED_CONF_PRIVATE_H
#define SHARED_CONF_PRIVATE_H

#include "shared/conf.h"
#include "shared/mem.h"

enum conf_place { CONF_FROM_DEFAULT, CONF_FROM_FILE, CONF_FROM_ENV, CONF_FROM_FLAG };

struct conf_origin {
    enum conf_place place;
    int line;        /* CONF_FROM_FILE */
    bool in_section; /* CONF_FROM_FILE: the program's own section, which beats the part before it */
    char *text;      /* the value as written, **** for a secret; NULL = unset */
};

/* The flags that every program has, as a table of their own. */
struct conf_builtin {
    char *config;
    bool help, version, check_config, print_config;
};
extern const struct conf_key conf_builtin_keys[];

/* --- conf_value.c: keys and values --------------------------------------------------------------
 */

/* One name in the spelling of a place: redis_url, PACELINE_REDIS_URL, --redis-url. */
struct conf_name {
    char text[96];
};
struct conf_name conf_spell(enum conf_place place, const char *name);

/* A row such as "header_*" or "*" stands for many names and has no value of its own. */
bool conf_is_pattern(const struct conf_key *k);

/* True when the table has the row "*": the program has commands with flags of their own. */
bool conf_has_commands(const struct conf_key *keys);

/* The row of a name, or NULL.  *ret_by_file: the name is NAME_file of a secret NAME, so that its
 * value is the path of a file. */
const struct conf_key *conf_find(const struct conf_key *keys, const char *name, bool *ret_by_file);

/* The name in the table that was probably meant, or NULL. */
const char *conf_nearest(const struct conf_key *keys, const char *name);

/* "NAME: unknown key (did you mean OTHER?)", or with the advice when nothing is near. */
bool conf_unknown(const struct conf_key *keys, enum conf_place place, const char *name,
                  const char *advice, struct err *e);

/* Sets one value; by_file: text is a path.  The error says what is wrong with the value only: the
 * caller puts the place before it. */
MUST_USE bool conf_set(const struct conf_key *k, bool by_file, const char *text, void *settings,
                       struct err *e);

/* Sets what one line of the file says; *ret is its row.  The error names file, line and key. */
MUST_USE bool conf_set_pair(const struct conf_section *s, const struct conf_pair *p,
                            const struct conf_key *keys, void *settings,
                            const struct conf_key **ret, struct err *e);

/* Writes every default into memory that held nothing yet. */
MUST_USE bool conf_set_defaults(const struct conf_key *keys, void *settings, struct err *e);
void conf_free_strings(const struct conf_key *keys, void *settings);

/* --- conf_file.c: the file's grammar ------------------------------------------------------------
 */

/* The whole text of a file of at most limit bytes, without NUL bytes.  ERR_INPUT with the path. */
MUST_USE bool conf_read_text(const char *path, size_t limit, struct buf *out, struct err *e);

/* Reads a file into sections; the first one, of kind "", is what stands before any header.  A
 * section keeps path.  A header of more than two words has the second and later ones in name. */
MUST_USE bool conf_read_sections(const char *path, struct conf_section **ret, size_t *ret_n,
                                 struct err *e);
void conf_section_done(struct conf_section *s);

/* --- conf_print.c: what people read -------------------------------------------------------------
 */

void conf_print_help(FILE *f, const struct conf_key *keys, const char *program, const char *about);
/* The settings in force as a section of a config file, called section. */
void conf_print_settings(FILE *f, const struct conf *c, const char *program, const char *section);

#endif
