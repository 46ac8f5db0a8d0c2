#include "shared/http_listen.h"

#include "shared/mem.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool
is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return false; /* connecting to a plain file is refused too, and it is not ours to delete */
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    const void *address = a;
    bool refused = connect(fd, address, sizeof *a) < 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

static bool
listen_unix(const char *path, int backlog, struct http_listener *ret, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const void *address = &a;
    if (*path != '/' || strlen(path) >= sizeof a.sun_path) {
        return err_set(e, ERR_INPUT, "unix:%s: not an absolute path of at most %zu bytes", path,
                       sizeof a.sun_path - 1);
    }
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && bind(fd, address, sizeof a) == 0;
    if (fd >= 0 && !ok && errno == EADDRINUSE) {
        bool stale = is_stale(&a);
        errno = EADDRINUSE;
        ok = stale && unlink(path) == 0 && bind(fd, address, sizeof a) == 0;
    }
    if (!ok || listen(fd, backlog) < 0 || lstat(path, &ret->made) < 0) {
        (void)err_set(e, ERR_REFUSED, "unix:%s: %s", path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    ret->path = xstrdup(path);
    ret->fd = fd;
    return true;
}

/* Binds one address; -1 with errno when that fails. */
static int
listen_at(const struct addrinfo *a, int backlog)
{
    const int yes = 1, no = 0;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (a->ai_family == AF_INET6) { /* [::] serves IPv4 too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Splits "host:port", "[v6]:port" or ":port"; host is "" for any address. */
static bool
split_address(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (!colon || n >= size || (!bracketed && memchr(text, ':', n))) {
        return false;
    }
    (void)snprintf(host, size, "%.*s", (int)(bracketed ? n - 2 : n), text + bracketed);
    *ret_port = colon + 1;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits && digits <= 5 && !colon[1 + digits] && atoi(colon + 1) <= 65535;
}

static bool
listen_tcp(const char *text, int backlog, int *ret, struct err *e)
{
    static const int any_families[] = {AF_INET6, AF_INET}, all_families[] = {AF_UNSPEC};
    char host[256];
    const char *port;
    if (!split_address(text, host, sizeof host, &port)) {
        return err_set(e, ERR_INPUT, "%s: malformed address (write host:port, :port or unix:/path)",
                       text);
    }
    const int *families = *host ? all_families : any_families;
    for (size_t i = 0; i < (*host ? 1u : 2u); i++) {
        struct addrinfo hints = {.ai_family = families[i],
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        struct addrinfo *list;
        int error = getaddrinfo(*host ? host : NULL, port, &hints, &list);
        if (error) {
            (void)err_set(e, ERR_REFUSED, "%s: %s", text, gai_strerror(error));
            continue;
        }
        *ret = -1;
        for (const struct addrinfo *a = list; a && *ret < 0; a = a->ai_next) {
            *ret = listen_at(a, backlog);
        }
        error = errno;
        freeaddrinfo(list);
        if (*ret >= 0) {
            return true;
        }
        (void)err_set(e, ERR_REFUSED, "%s: %s", text, strerror(error));
    }
    return false;
}

bool
http_listen(const char *address, int backlog, struct http_listener *ret, struct err *e)
{
    *ret = (struct http_listener){.fd = -1};
    return strncmp(address, "unix:", 5) == 0 ? listen_unix(address + 5, backlog, ret, e)
                                             : listen_tcp(address, backlog, &ret->fd, e);
}

void
http_listen_unlink(struct http_listener *l)
{
    struct stat st;
    if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->made.st_dev &&
        st.st_ino == l->made.st_ino) {
        (void)unlink(l->path);
    }
    free(l->path);
    l->path = NULL;
}

void
http_listen_name(const struct http_listener *l, char *out, size_t size)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    void *any = &a;
    char host[64], port[8];
    if (l->path) {
        (void)snprintf(out, size, "unix:%s", l->path);
    } else if (getsockname(l->fd, any, &n) == 0 &&
               getnameinfo(any, n, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        (void)snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    } else {
        (void)snprintf(out, size, "?");
    }
}
