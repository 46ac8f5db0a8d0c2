/* redis_server.h -- private, real redis-servers for the running test, and a blocking client for
 * them.
 *
 * A server listens on a unix socket in t_dir() only, keeps nothing on disk unless asked to, and
 * never evicts.  The cluster variant is one node that owns every slot; it needs a TCP port and
 * takes a free one of 127.0.0.1.  All die with the test process, however that one ends. A failure
 * fails the test and shows the server's log. */
#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

#include "shared/err.h"

#include <stdint.h>
#include <sys/types.h>

enum { REDIS_SERVER_OPTIONS = 16 };

struct redis_server {
    char dir[96], socket[108];
    char url[128]; /* as queue_open() and redis_link_new() want it */
    int port;      /* of the cluster variant, else 0 */
    const char *options[REDIS_SERVER_OPTIONS + 1]; /* borrowed: must live as long as the server */
    const char *password;
    pid_t pid; /* 0 while it is down */
    void *client;
};

/* Starts a new, empty server and waits until it answers.  options are more arguments for it, such
 * as
 * "--appendonly", "yes", NULL; or NULL.  With a password (NULL = none) nobody gets in without. */
void redis_server_start(struct redis_server *s, const char *const *options, const char *password);
void redis_server_start_cluster(struct redis_server *s);

/* Ends it as a crash would (SIGKILL) and waits until it is gone. */
void redis_server_kill(struct redis_server *s);
/* Starts it again on what its disk has: all of it with appendonly, the last SAVE without. */
void redis_server_restart(struct redis_server *s);
/* Removes what its disk has; only while it is down. */
void redis_server_wipe(struct redis_server *s);
/* Stops it as a paused machine would, and continues it. */
void redis_server_freeze(const struct redis_server *s);
void redis_server_thaw(const struct redis_server *s);

/* Runs a command and returns the reply as text: nil is "(nil)", lists are their elements with
 * blanks between, inner ones in brackets, errors their text, and a NUL byte is \0.  Each %s is one
 * argument (only %s and whole numbers are known, without width).  The text is good for the next 15
 * calls. */
const char *redis_do(struct redis_server *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for replies that are numbers, or texts of numbers; anything else is -1. */
int64_t redis_num(struct redis_server *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Redis TIME in milliseconds. */
int64_t redis_now_ms(struct redis_server *s);

/* Every key whose name matches the pattern with all that it holds, groups and time limits (not
 * their length) included, in one text that is the same for the same contents.  Good for the next 3
 * dumps. */
const char *redis_dump(struct redis_server *s, const char *pattern);

#endif
