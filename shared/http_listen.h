/* http_listen.h -- the socket that an HTTP server listens on: "unix:/path", "host:port" or ":port".
 */
#ifndef SHARED_HTTP_LISTEN_H
#define SHARED_HTTP_LISTEN_H

#include "shared/err.h"

#include <stddef.h>
#include <sys/stat.h>

struct http_listener {
    int fd;           /* the owner closes it */
    char *path;       /* of a unix socket; NULL for TCP */
    struct stat made; /* the socket as we bound it, so that we unlink no other */
};

/* Binds and listens; a unix socket that nobody listens on any more is replaced.  ERR_INPUT for a
 * malformed address, ERR_REFUSED when it cannot be bound; *ret then holds nothing. */
MUST_USE bool http_listen(const char *address, int backlog, struct http_listener *ret,
                          struct err *e);

/* Takes a unix socket's name away, so that a successor may bind it, and frees the path. */
void http_listen_unlink(struct http_listener *l);

/* The address as bound, with the port that was chosen for port 0. */
void http_listen_name(const struct http_listener *l, char *out, size_t size);

#endif
