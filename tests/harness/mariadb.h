/* mariadb.h -- a private, real MariaDB server for the running test.
 *
 * It listens on a unix socket in t_dir() only, has the empty database "paceline", and lets root in
 * without a password.  It dies with the test process, however that one ends.  Its data directory is
 * a copy of a template that is made once, beside the tests' binaries
 * (build/tests/mariadb-template). */
#ifndef TESTS_MARIADB_H
#define TESTS_MARIADB_H

#include "shared/store.h"
#include "tests/harness/t.h"

#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct mariadb {
    char dir[96], socket[108];
    char url[256]; /* of root and the database "paceline", as store_open() wants it */
    pid_t pid;     /* 0 while it is down */
};

/* Starts a new server and waits until it answers.  option is one more argument for it, such as
 * "--version=5.7.44", or NULL.  A failure fails the test and shows the server's log. */
void mariadb_start(struct mariadb *m, const char *option);

/* Ends it as a crash would (SIGKILL) and waits until it is gone. */
void mariadb_kill(struct mariadb *m);

/* Starts it again on the data it had. */
void mariadb_restart(struct mariadb *m, const char *option);

/* The URL of another user or database; free() it. */
char *mariadb_url(const struct mariadb *m, const char *user, const char *database);

/* A store with the usual settings; the caller closes it. */
struct store *mariadb_open(const char *url);

/* The one number that the SELECT gives. */
int64_t mariadb_int(struct store *s, const char *select);

/* The call, which names its error e, must fail with this kind and this piece of text. */
#define CHECK_STORE_ERR(want_kind, want_text, call)                                                \
    do {                                                                                           \
        struct err e_ = {0};                                                                       \
        struct err *e = &e_;                                                                       \
        CHECK(!(call));                                                                            \
        CHECK_STR(err_kind_name(want_kind), err_kind_name(e_.kind));                               \
        if (!strstr(e_.text, (want_text))) {                                                       \
            CHECK_STR((want_text), e_.text);                                                       \
        }                                                                                          \
    } while (0)

#endif
