/* migrate.h -- brings the schema to the version that this binary carries (deploy/sql, embedded). */
#ifndef SHARED_MIGRATE_H
#define SHARED_MIGRATE_H

#include "shared/err.h"

struct store;

/* version is the file's number, name its name without ".sql"; the table ends with a NULL name. */
struct migration {
    int version;
    const char *name;
    const char *text;
};
extern const struct migration migrations[];

/* Called for each migration just applied. */
typedef void migrate_report(void *arg, const struct migration *m);

/* Applies what is missing, in order, under the named lock 'paceline-migrate' (waits up to 60 s for
 * another migrator), and records each in schema_migrations with a checksum.  *ret_applied counts.
 * Twice = no change.  ERR_REFUSED when a recorded migration has another checksum than this
 * binary's, when the database is newer than this binary, or when it is another program's (tables,
 * but no schema_migrations of ours); the text names the migration and the statement, or the table.
 */
MUST_USE bool migrate_run(struct store *s, migrate_report *report, void *arg, int *ret_applied,
                          struct err *e);

/* True when the database has exactly what this binary needs or more (additive for one release):
 * ERR_REFUSED with "run 'paceline migrate'" when something is missing. */
MUST_USE bool migrate_check(struct store *s, struct err *e);

#endif
