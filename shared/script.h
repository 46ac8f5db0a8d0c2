/* script.h -- the Lua verbs as the build embedded them (lua/ via lua/embed.awk). */
#ifndef SHARED_SCRIPT_H
#define SHARED_SCRIPT_H

struct script_source {
    const char *name;
    const char *text; /* prologue included */
};

/* In file name order; ends with a NULL name. */
extern const struct script_source script_sources[];

enum { SCRIPTS_MAX = 32 };

/* The verb's index in script_sources.  Aborts when there is no such verb: a mistake of ours. */
int script_index(const char *name);
int script_count(void);

#endif
