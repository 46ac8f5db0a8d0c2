#include "shared/mem.h"
#include "shared/migrate.h"
#include "shared/store.h"
#include "tests/harness/mariadb.h"
#include "tests/harness/t.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static int
count_migrations(void)
{
    int n = 0;
    while (migrations[n].name) {
        n++;
    }
    return n;
}

static void
count_report(void *arg, const struct migration *m)
{
    int *n = arg;
    CHECK_STR(migrations[*n].name, m->name);
    ++*n;
}

/* Applies what is missing, which must be this many. */
static void
migrate(struct store *s, int want)
{
    int applied = -1, reported = 0;
    CHECK_OK(migrate_run(s, want ? count_report : NULL, &reported, &applied, e));
    CHECK_INT(want, applied);
    CHECK_INT(want, reported);
    CHECK_OK(migrate_check(s, e));
}

static int64_t
count_tables(struct store *s)
{
    return mariadb_int(s, "SELECT COUNT(*) FROM information_schema.tables "
                          "WHERE table_schema = DATABASE()");
}

static void
forget(struct store *s)
{
    CHECK_OK(store_execf(s, NULL, e, "DELETE FROM schema_migrations"));
}

TEST(migrating_twice_changes_nothing)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    CHECK_STORE_ERR(ERR_REFUSED, "run 'paceline migrate'", migrate_check(s, e));
    migrate(s, count_migrations());
    int64_t tables = count_tables(s);
    CHECK(tables > 8);
    CHECK_INT(0, store_stats(s)->warnings);
    CHECK_INT(count_migrations(), mariadb_int(s, "SELECT COUNT(*) FROM schema_migrations WHERE "
                                                 "applied_at > UTC_TIMESTAMP() - INTERVAL 1 HOUR"));
    migrate(s, 0);
    CHECK_OK(migrate_run(s, NULL, NULL, NULL, e));
    CHECK_INT(tables, count_tables(s));
    CHECK_INT(count_migrations(), mariadb_int(s, "SELECT COUNT(*) FROM schema_migrations"));

    /* the lock was given back */
    struct store *other = mariadb_open(m.url);
    bool ours = false;
    CHECK_OK(store_try_lock(other, "paceline-migrate", 0, &ours, e));
    CHECK(ours);
    store_close(other);
    store_close(s);
}

TEST(a_device_knows_whether_redis_was_told)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    migrate(s, count_migrations());
    CHECK_OK(store_execf(s, NULL, e,
                         "INSERT INTO devices (user_id, name, created_at, updated_at) "
                         "VALUES (1, %s, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
                         "a device"));
    CHECK_INT(1, mariadb_int(s, "SELECT unsteered FROM devices"));
    CHECK_OK(store_execf(s, NULL, e, "UPDATE devices SET steered_version = config_version"));
    CHECK_INT(0, mariadb_int(s, "SELECT unsteered FROM devices"));
    store_close(s);
}

/* Whichever of its tables a migration did not come to, the next run makes, and leaves the others
 * and what is in them alone. */
TEST(a_half_applied_migration_is_completed)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    struct rows names;
    struct sql drop = {0};
    migrate(s, count_migrations());
    int64_t tables = count_tables(s);
    CHECK_OK(
        store_execf(s, NULL, e, "INSERT INTO users (name, created_at) VALUES ('a', '2026-01-01')"));
    CHECK_OK(store_queryf(s, &names, e,
                          "SELECT table_name FROM information_schema.tables "
                          "WHERE table_schema = DATABASE() "
                          "AND table_name NOT IN ('schema_migrations', 'users')"));
    while (rows_next(&names)) {
        forget(s);
        sql_clear(&drop);
        sql_text(&drop, "DROP TABLE ");
        sql_text(&drop, rows_str(&names, 0));
        CHECK_OK(store_exec(s, &drop, NULL, NULL, e));
        CHECK_STORE_ERR(ERR_REFUSED, "lacks migration 0001_spine: run 'paceline migrate'",
                        migrate_check(s, e));
        migrate(s, count_migrations());
        CHECK_INT(tables, count_tables(s));
    }
    CHECK_INT(1, mariadb_int(s, "SELECT COUNT(*) FROM users"));
    rows_done(&names);
    sql_done(&drop);
    store_close(s);
}

TEST(a_database_of_another_program_is_refused_and_left_alone)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    int applied = -1;
    CHECK_OK(store_execf(s, NULL, e, "CREATE TABLE leads (id INT)"));
    CHECK_STORE_ERR(ERR_REFUSED, "the database paceline is another program's: its table 'leads'",
                    migrate_run(s, NULL, NULL, &applied, e));
    CHECK_STORE_ERR(ERR_REFUSED, "'paceline adopt --from paceline'",
                    migrate_run(s, NULL, NULL, &applied, e));
    CHECK_INT(0, applied);
    CHECK_INT(1, count_tables(s));
    CHECK_OK(store_execf(s, NULL, e, "DROP TABLE leads"));
    migrate(s, count_migrations());
    store_close(s);
}

/* schema_migrations as other frameworks have it. */
TEST(another_program_s_record_of_migrations_is_not_ours)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    CHECK_OK(store_execf(s, NULL, e,
                         "CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, dirty INT)"));
    CHECK_STORE_ERR(ERR_REFUSED, "its table 'schema_migrations' is not Paceline's",
                    migrate_run(s, NULL, NULL, NULL, e));
    CHECK_INT(1, count_tables(s));
    store_close(s);
}

/* Died behind its very first statement: nothing is recorded, yet the database is ours. */
TEST(a_first_migration_that_died_at_once_is_repeated)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    migrate(s, count_migrations());
    int64_t tables = count_tables(s);
    forget(s);
    CHECK_OK(store_execf(s, NULL, e, "DROP TABLE broadcast_messages, message_events, leads"));
    migrate(s, count_migrations());
    CHECK_INT(tables, count_tables(s));
    store_close(s);
}

TEST(another_checksum_is_refused)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    migrate(s, count_migrations());
    CHECK_OK(store_execf(s, NULL, e,
                         "UPDATE schema_migrations SET checksum = 'beef' WHERE version = 1"));
    int applied = -1;
    CHECK_STORE_ERR(ERR_REFUSED, "0001_spine was applied with another text (checksum beef, here ",
                    migrate_run(s, NULL, NULL, &applied, e));
    CHECK_INT(0, applied);
    CHECK_STORE_ERR(ERR_REFUSED, "0001_spine was applied with another text", migrate_check(s, e));
    store_close(s);
}

TEST(a_newer_database_serves_this_binary_but_is_not_migrated_by_it)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    migrate(s, count_migrations());
    CHECK_OK(store_execf(s, NULL, e,
                         "INSERT INTO schema_migrations (version, name, checksum, applied_at) "
                         "VALUES (9999, '9999_later', 'x', UTC_TIMESTAMP(3))"));
    int applied = -1;
    CHECK_STORE_ERR(ERR_REFUSED,
                    "newer than this binary, which does not know its migration 9999_later",
                    migrate_run(s, NULL, NULL, &applied, e));
    CHECK_INT(0, applied);
    CHECK_OK(migrate_check(s, e));
    CHECK_OK(store_execf(s, NULL, e, "DELETE FROM schema_migrations WHERE version = 1"));
    CHECK_STORE_ERR(ERR_REFUSED, "lacks migration 0001_spine", migrate_check(s, e));
    store_close(s);
}

TEST(a_failed_statement_is_named_and_nothing_recorded)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *root = mariadb_open(m.url);
    migrate(root, count_migrations());
    forget(root);
    CHECK_OK(store_execf(root, NULL, e, "DROP TABLE users"));
    CHECK_OK(store_execf(root, NULL, e, "CREATE USER plain"));
    CHECK_OK(store_execf(root, NULL, e, "GRANT SELECT, INSERT ON paceline.* TO plain"));
    char *url = mariadb_url(&m, "plain", "paceline");
    struct store *s = mariadb_open(url);
    int applied = -1;
    CHECK_STORE_ERR(ERR_REFUSED, "migration 0001_spine, statement 1: mysql: CREATE command denied",
                    migrate_run(s, NULL, NULL, &applied, e));
    CHECK_STORE_ERR(ERR_REFUSED, "in: CREATE TABLE users", migrate_run(s, NULL, NULL, &applied, e));
    CHECK_INT(0, applied);
    CHECK_INT(0, mariadb_int(root, "SELECT COUNT(*) FROM schema_migrations"));
    migrate(root, count_migrations());
    store_close(s);
    store_close(root);
    free(url);
}

/* --- several, and deaths ------------------------------------------------------------------- */

struct migrator {
    struct store *s;
    pthread_t thread;
    int applied;
    bool ok;
    struct err why;
};

static void *
migrator_main(void *arg)
{
    struct migrator *m = arg;
    m->ok = migrate_run(m->s, NULL, NULL, &m->applied, &m->why);
    return NULL;
}

static void
migrator_start(struct migrator *m, const char *url)
{
    *m = (struct migrator){.s = mariadb_open(url)};
    CHECK_INT(0, pthread_create(&m->thread, NULL, migrator_main, m));
}

static void
migrator_join(struct migrator *m)
{
    CHECK_INT(0, pthread_join(m->thread, NULL));
    store_close(m->s);
}

TEST(of_two_migrators_one_waits_and_finds_the_work_done)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    struct store *s = mariadb_open(m.url);
    struct migrator both[2];
    bool ours = false;
    CHECK_OK(store_try_lock(s, "paceline-migrate", 0, &ours, e));
    for (int i = 0; i < 2; i++) {
        migrator_start(&both[i], m.url);
    }
    T_WAIT(mariadb_int(s, "SELECT COUNT(*) FROM information_schema.processlist "
                          "WHERE info LIKE 'SELECT GET_LOCK%'") == 2,
           10000);
    CHECK_OK(store_unlock(s, "paceline-migrate", e));
    for (int i = 0; i < 2; i++) {
        migrator_join(&both[i]);
        CHECK_STR("", both[i].ok ? "" : both[i].why.text);
    }
    CHECK_INT(count_migrations(), both[0].applied + both[1].applied);
    CHECK(both[0].applied == 0 || both[1].applied == 0);
    migrate(s, 0);
    store_close(s);
}

TEST(a_server_killed_under_a_migration_is_migrated_by_the_next_run)
{
    struct mariadb m;
    mariadb_start(&m, NULL);
    for (int i = 0; i < 4; i++) {
        struct store *s = mariadb_open(m.url);
        CHECK_OK(store_execf(s, NULL, e, "DROP DATABASE paceline"));
        CHECK_OK(store_execf(s, NULL, e, "CREATE DATABASE paceline"));
        CHECK_OK(store_execf(s, NULL, e, "USE paceline"));
        struct migrator migrator;
        int64_t enough = 1 + (int64_t)(t_random() % 8);
        migrator_start(&migrator, m.url);
        T_WAIT(count_tables(s) >= enough, 10000);
        mariadb_kill(&m);
        migrator_join(&migrator);
        CHECK_STR("retry", migrator.ok ? "retry" : err_kind_name(migrator.why.kind));
        store_close(s);
        mariadb_restart(&m, NULL);
        s = mariadb_open(m.url);
        CHECK_OK(migrate_run(s, NULL, NULL, NULL, e)); /* how many, the death decides */
        migrate(s, 0);
        CHECK(count_tables(s) > 8);
        store_close(s);
    }
}
