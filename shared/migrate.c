/* A migration is repeatable, not atomic: MySQL and MariaDB commit each DDL statement by itself, so
 * one that died half-way has left some of its statements behind.  Therefore a migration is recorded
 * only after all its statements ran, the next run repeats it from its first statement, and a
 * statement whose work is there already (see is_done_already) counts as run.  Two things follow: a
 * migration's other statements must bear repetition (UPDATE .. WHERE, INSERT IGNORE), and the
 * database must be Paceline's own, for another program's table of the same name would pass for
 * ours.  Whose it is, schema_migrations tells: we make it before anything else, so that a database
 * which has tables but not this one, or one of other columns, is somebody else's and is refused. */
#include "shared/migrate.h"

#include "shared/mem.h"
#include "shared/store.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

static const char lock_name[] = "paceline-migrate";
enum { LOCK_WAIT_S = 60, NO_SUCH_COLUMN = 1054, NO_SUCH_TABLE = 1146 };

/* --- the text of a migration --------------------------------------------------------------- */

/* How much of the line is neither a "-- " comment nor blank at its end. */
static size_t
code_length(const char *line, size_t n)
{
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        quoted ^= line[i] == '\'';
        if (!quoted && n - i >= 2 && memcmp(line + i, "--", 2) == 0 &&
            (n - i == 2 || line[i + 2] == ' ')) {
            n = i;
        }
    }
    while (n && strchr(" \t\r", line[n - 1])) {
        n--;
    }
    return n;
}

/* Moves *text behind the next statement and puts it into q, without comments and without the ';' at
 * its last line's end.  False when there is none left; *ret_open tells of one that has no end. */
static bool
next_statement(const char **text, struct sql *q, bool *ret_open)
{
    sql_clear(q);
    for (const char *line = *text; *line; line = *text) {
        size_t all = strcspn(line, "\n"), n = code_length(line, all);
        *text = line + all + (line[all] == '\n');
        bool ends = n && line[n - 1] == ';';
        if (n && q->text.len) {
            sql_text(q, "\n");
        }
        buf_add(&q->text, line, ends ? n - 1 : n);
        if (ends) {
            return true;
        }
    }
    *ret_open = q->text.len > 0;
    return false;
}

struct checksum {
    char text[17];
};

static struct checksum
checksum_of(const struct migration *m)
{
    static const char hex[] = "0123456789abcdef";
    struct checksum sum = {{0}};
    uint64_t hash = XXH64(m->text, strlen(m->text), 0);
    for (int i = 15; i >= 0; i--, hash >>= 4) {
        sum.text[i] = hex[hash & 15];
    }
    return sum;
}

/* --- what the database has ----------------------------------------------------------------- */

static bool
query_recorded(struct store *s, struct rows *ret, struct err *e)
{
    return store_queryf(s, ret, e,
                        "SELECT version, name, checksum FROM schema_migrations ORDER BY version");
}

static const struct migration *
find(int64_t version)
{
    for (const struct migration *m = migrations; m->name; m++) {
        if (m->version == version) {
            return m;
        }
    }
    return NULL;
}

/* Marks in done[], which has the order of migrations[], what is recorded.  ERR_REFUSED when a
 * record differs from what this binary carries, or (unless newer_is_good) is unknown to it. */
static bool
compare(struct rows *r, bool newer_is_good, bool *done, struct err *e)
{
    while (rows_next(r)) {
        const char *name = rows_str(r, 1);
        const struct migration *m = find(rows_int(r, 0));
        if (m && strcmp(checksum_of(m).text, rows_str(r, 2)) != 0) {
            return err_set(e, ERR_REFUSED,
                           "migration %s was applied with another text (checksum %s, here %s): "
                           "an applied migration must not be edited, add a new one",
                           name, rows_str(r, 2), checksum_of(m).text);
        }
        if (!m && !newer_is_good) {
            return err_set(e, ERR_REFUSED,
                           "the database is newer than this binary, which does not know its "
                           "migration %s: use a newer binary",
                           name);
        }
        if (m) {
            done[m - migrations] = true;
        }
    }
    return true;
}

static bool *
new_flags(void)
{
    size_t n = 0;
    while (migrations[n].name) {
        n++;
    }
    return xcalloc(n + 1, sizeof(bool));
}

/* --- applying ------------------------------------------------------------------------------ */

static bool
is_done_already(unsigned code)
{
    switch (code) {
    case 1050: /* CREATE TABLE: exists */
    case 1060: /* ADD COLUMN: exists */
    case 1061: /* ADD KEY: exists */
    case 1091: /* DROP COLUMN or KEY: does not exist */
        return true;
    default:
        return false;
    }
}

static bool
apply(struct store *s, const struct migration *m, struct err *e)
{
    struct sql q = {0};
    const char *text = m->text;
    bool ok = true, open = false;
    for (int n = 1; ok && next_statement(&text, &q, &open); n++) {
        ok = store_exec(s, &q, NULL, NULL, e) || is_done_already(store_code(s)) ||
             err_wrap(e, "migration %s, statement %d", m->name, n);
    }
    sql_done(&q);
    if (ok && open) {
        return err_set(e, ERR_INPUT, "migration %s: its last statement has no ';' at a line's end",
                       m->name);
    }
    struct checksum sum = checksum_of(m);
    return ok && store_execf(s, NULL, e,
                             "INSERT INTO schema_migrations (version, name, checksum, applied_at) "
                             "VALUES (%d, %s, %s, UTC_TIMESTAMP(3))",
                             m->version, m->name, sum.text);
}

static bool
refuse_foreign(const char *database, const char *table, struct err *e)
{
    return err_set(
        e, ERR_REFUSED,
        "the database %.64s is another program's: its table '%.64s' is not Paceline's; "
        "give Paceline a database of its own in mysql_url, and take this one's data over "
        "with 'paceline adopt --from %.64s'",
        database, table, database);
}

/* False, with an error, when there is any table or when it cannot be told. */
static bool
is_empty(struct store *s, struct err *e)
{
    struct rows r;
    if (!store_queryf(s, &r, e,
                      "SELECT table_schema, table_name FROM information_schema.tables "
                      "WHERE table_schema = DATABASE() ORDER BY table_name LIMIT 1")) {
        return false;
    }
    bool ok = !rows_next(&r) || refuse_foreign(rows_str(&r, 0), rows_str(&r, 1), e);
    rows_done(&r);
    return ok;
}

/* schema_migrations is a common name: several frameworks keep another table under it. */
static bool
refuse_other_record(struct store *s, struct err *e)
{
    struct rows r;
    if (!store_queryf(s, &r, e, "SELECT DATABASE()")) {
        return false;
    }
    bool ok = rows_next(&r) && refuse_foreign(rows_str(&r, 0), "schema_migrations", e);
    rows_done(&r);
    return ok;
}

/* The table itself is made only where it is missing, since IF NOT EXISTS would leave a warning. */
static bool
query_or_create_recorded(struct store *s, struct rows *ret, struct err *e)
{
    if (query_recorded(s, ret, e)) {
        return true;
    }
    if (store_code(s) == NO_SUCH_COLUMN) {
        return refuse_other_record(s, e);
    }
    return store_code(s) == NO_SUCH_TABLE && is_empty(s, e) &&
           store_execf(s, NULL, e,
                       "CREATE TABLE schema_migrations (version INT NOT NULL PRIMARY KEY, "
                       "name VARCHAR(190) NOT NULL, checksum CHAR(16) NOT NULL, "
                       "applied_at DATETIME(3) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4") &&
           query_recorded(s, ret, e);
}

static bool
run_locked(struct store *s, migrate_report *report, void *arg, int *ret_applied, struct err *e)
{
    struct rows r;
    bool *done = new_flags();
    bool ok = query_or_create_recorded(s, &r, e) && compare(&r, false, done, e);
    rows_done(&r);
    for (const struct migration *m = migrations; ok && m->name; m++) {
        if (!done[m - migrations]) {
            ok = apply(s, m, e);
            *ret_applied += ok;
            if (ok && report) {
                report(arg, m);
            }
        }
    }
    free(done);
    return ok;
}

bool
migrate_run(struct store *s, migrate_report *report, void *arg, int *ret_applied, struct err *e)
{
    int ignored = 0;
    bool ours = false;
    int *applied = ret_applied ? ret_applied : &ignored;
    *applied = 0;
    if (!store_try_lock(s, lock_name, LOCK_WAIT_S, &ours, e)) {
        return false;
    }
    if (!ours) {
        return err_set(e, ERR_RETRY, "another migrator has been at work for %d s", LOCK_WAIT_S);
    }
    struct err why = {0}; /* of errors that were got over, the caller hears nothing */
    bool ok = run_locked(s, report, arg, applied, &why);
    if (!ok && e) {
        *e = why;
    }
    /* Should the connection be gone, so is the lock; the work is done or not whatever this says. */
    bool unlocked = store_unlock(s, lock_name, NULL);
    (void)unlocked;
    return ok;
}

bool
migrate_check(struct store *s, struct err *e)
{
    struct rows r;
    bool *done = new_flags();
    bool ok = query_recorded(s, &r, e);
    if (ok) {
        ok = compare(&r, true, done, e);
    } else if (store_code(s) == NO_SUCH_TABLE) {
        ok = err_set(e, ERR_REFUSED, "the database has no schema yet: run 'paceline migrate'");
    }
    rows_done(&r);
    for (const struct migration *m = migrations; ok && m->name; m++) {
        if (!done[m - migrations]) {
            ok = err_set(e, ERR_REFUSED, "the database lacks migration %s: run 'paceline migrate'",
                         m->name);
        }
    }
    free(done);
    return ok;
}
