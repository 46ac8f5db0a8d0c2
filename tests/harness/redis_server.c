#include "tests/harness/redis_server.h"

#include "shared/mem.h"
#include "tests/harness/t.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

enum { START_MS = 30000, MAX_SERVERS = 8, BUS_OFFSET = 10000 };

static pid_t servers[MAX_SERVERS]; /* those to be ended with this process */

/* --- the process ----------------------------------------------------------------------------- */

static void
show_log(const struct redis_server *s)
{
    char *path = xasprintf("%s/log", s->dir);
    FILE *f = fopen(path, "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        (void)fputs(line, stderr);
    }
    if (f) {
        (void)fclose(f);
    }
    free(path);
}

static void
wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

static void
end_servers(void)
{
    for (size_t i = 0; i < MAX_SERVERS; i++) {
        if (servers[i]) {
            (void)kill(servers[i], SIGKILL);
            wait_for(servers[i]);
        }
    }
}

static void
remember(pid_t old, pid_t pid)
{
    static bool registered;
    if (!registered) {
        registered = true;
        (void)atexit(end_servers);
    }
    for (size_t i = 0; i < MAX_SERVERS; i++) {
        if (servers[i] == old) {
            servers[i] = pid;
            return;
        }
    }
    t_fail(__FILE__, __LINE__, "more than %d servers in one test", MAX_SERVERS);
}

/* Starts redis-server with its output in the log; it dies when we do. */
static pid_t
spawn(const struct redis_server *s, const char *const *argv, size_t n)
{
    char *log = xasprintf("%s/log", s->dir);
    char **args = xcalloc(n + 1, sizeof *args);
    for (size_t i = 0; i < n; i++) {
        args[i] = xstrdup(argv[i]);
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void)dup2(fd, 1);
        (void)dup2(fd, 2);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            (void)execvp(args[0], args);
        }
        _exit(127);
    }
    CHECK(pid > 0);
    for (size_t i = 0; i < n; i++) {
        free(args[i]);
    }
    free(args);
    free(log);
    return pid;
}

static redisContext *
dial(const struct redis_server *s)
{
    redisContext *c = s->port ? redisConnect("127.0.0.1", s->port) : redisConnectUnix(s->socket);
    if (c && c->err) {
        redisFree(c);
        c = NULL;
    }
    return c;
}

/* Connected, let in, and done with loading. */
static bool
answers(struct redis_server *s)
{
    redisContext *c = s->client ? s->client : dial(s);
    if (!c) {
        return false;
    }
    if (!s->client && s->password) {
        freeReplyObject(redisCommand(c, "AUTH %s", s->password));
    }
    redisReply *r = redisCommand(c, "PING");
    bool ok = r && r->type == REDIS_REPLY_STATUS;
    freeReplyObject(r);
    if (c->err) {
        redisFree(c);
        c = NULL;
    }
    s->client = c;
    return ok;
}

static size_t
add_arguments(const struct redis_server *s, const char **argv, size_t n)
{
    static const char *const usual[] = {
        "redis-server",       "--bind",     "127.0.0.1",   "--save", "",     "--databases", "16",
        "--maxmemory-policy", "noeviction", "--daemonize", "no",     "--dir"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        argv[n++] = usual[i];
    }
    argv[n++] = s->dir;
    for (size_t i = 0; s->options[i]; i++) {
        argv[n++] = s->options[i];
    }
    if (s->password) {
        argv[n++] = "--requirepass";
        argv[n++] = s->password;
    }
    return n;
}

/* False when it died at once, as with a port that somebody else has taken. */
static bool
launch(struct redis_server *s)
{
    const char *argv[48];
    char port[16];
    (void)snprintf(port, sizeof port, "%d", s->port);
    size_t n = add_arguments(s, argv, 0);
    argv[n++] = "--port";
    argv[n++] = port;
    if (s->port) {
        argv[n++] = "--cluster-enabled";
        argv[n++] = "yes";
    } else {
        argv[n++] = "--unixsocket";
        argv[n++] = s->socket;
    }
    s->pid = spawn(s, argv, n);
    remember(0, s->pid);
    int64_t until_ms = t_now_ms() + START_MS;
    while (!answers(s)) {
        if (waitpid(s->pid, NULL, WNOHANG) != 0) {
            remember(s->pid, 0);
            s->pid = 0;
            return false;
        }
        if (t_now_ms() > until_ms) {
            show_log(s);
            t_fail(__FILE__, __LINE__, "redis-server does not answer");
        }
        t_pause();
    }
    return true;
}

static void
prepare(struct redis_server *s)
{
    static int number;
    *s = (struct redis_server){.pid = 0};
    (void)signal(SIGPIPE, SIG_IGN); /* as every program does */
    (void)snprintf(s->dir, sizeof s->dir, "%.64s/redis%d", t_dir(), ++number);
    (void)snprintf(s->socket, sizeof s->socket, "%s/sock", s->dir);
    CHECK_INT(0, mkdir(s->dir, 0700));
}

void
redis_server_restart(struct redis_server *s)
{
    CHECK(!s->pid);
    if (!launch(s)) {
        show_log(s);
        t_fail(__FILE__, __LINE__, "redis-server does not start");
    }
}

void
redis_server_start(struct redis_server *s, const char *const *options, const char *password)
{
    prepare(s);
    for (size_t i = 0; options && options[i]; i++) {
        CHECK(i < REDIS_SERVER_OPTIONS);
        s->options[i] = options[i];
    }
    s->password = password;
    (void)snprintf(s->url, sizeof s->url, "unix:%s", s->socket);
    redis_server_restart(s);
}

/* A port that is free together with its cluster bus' port; somebody may still take it. */
static int
free_port(void)
{
    for (int tries = 0; tries < 100; tries++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int bus = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool ok = bind(fd, (struct sockaddr *)&a, len) == 0 &&
                  getsockname(fd, (struct sockaddr *)&a, &len) == 0;
        int port = ntohs(a.sin_port);
        a.sin_port = htons((uint16_t)(port + BUS_OFFSET));
        ok = ok && port + BUS_OFFSET <= 65535 && bind(bus, (struct sockaddr *)&a, len) == 0;
        (void)close(fd);
        (void)close(bus);
        if (ok) {
            return port;
        }
    }
    t_fail(__FILE__, __LINE__, "no free port");
}

void
redis_server_start_cluster(struct redis_server *s)
{
    prepare(s);
    for (int tries = 0; tries < 10; tries++) {
        s->port = free_port();
        if (launch(s)) {
            break;
        }
    }
    if (!s->pid) {
        show_log(s);
        t_fail(__FILE__, __LINE__, "redis-server does not start as a cluster");
    }
    (void)snprintf(s->url, sizeof s->url, "redis://127.0.0.1:%d", s->port);
    CHECK_STR("OK", redis_do(s, "CLUSTER ADDSLOTSRANGE 0 16383"));
    T_WAIT(strstr(redis_do(s, "CLUSTER INFO"), "cluster_state:ok"), START_MS);
}

void
redis_server_kill(struct redis_server *s)
{
    (void)kill(s->pid, SIGKILL);
    wait_for(s->pid);
    remember(s->pid, 0);
    s->pid = 0;
    (void)unlink(s->socket);
    redisFree(s->client);
    s->client = NULL;
}

void
redis_server_wipe(struct redis_server *s)
{
    CHECK(!s->pid);
    char *command = xasprintf("rm -rf %s/dump.rdb %s/appendonlydir", s->dir, s->dir);
    CHECK_INT(0, system(command));
    free(command);
}

void
redis_server_freeze(const struct redis_server *s)
{
    int status = 0;
    CHECK_INT(0, kill(s->pid, SIGSTOP));
    CHECK_INT(s->pid, waitpid(s->pid, &status, WUNTRACED));
}

void
redis_server_thaw(const struct redis_server *s)
{
    CHECK_INT(0, kill(s->pid, SIGCONT));
}

/* --- the client ------------------------------------------------------------------------------ */

static void
print_reply(struct buf *out, const redisReply *r, bool inner)
{
    switch (r->type) {
    case REDIS_REPLY_INTEGER:
        buf_addi(out, r->integer);
        break;
    case REDIS_REPLY_NIL:
        buf_adds(out, "(nil)");
        break;
    case REDIS_REPLY_ARRAY:
        buf_adds(out, inner ? "[" : "");
        for (size_t i = 0; i < r->elements; i++) {
            buf_adds(out, i ? " " : "");
            print_reply(out, r->element[i], true);
        }
        buf_adds(out, inner ? "]" : "");
        break;
    default:
        for (size_t i = 0; i < r->len; i++) {
            buf_add(out, r->str[i] ? &r->str[i] : "\\0", r->str[i] ? 1 : 2);
        }
        break;
    }
}

static redisReply *
ask(struct redis_server *s, const char *fmt, va_list ap)
{
    CHECK(s->client);
    redisReply *r = redisvCommand(s->client, fmt, ap);
    if (!r) {
        show_log(s);
        t_fail(__FILE__, __LINE__, "%s: %s", fmt, ((redisContext *)s->client)->errstr);
    }
    return r;
}

const char *
redis_do(struct redis_server *s, const char *fmt, ...)
{
    static struct buf texts[16];
    static unsigned turn;
    struct buf *out = &texts[turn++ % 16];
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = ask(s, fmt, ap);
    va_end(ap);
    buf_clear(out);
    buf_adds(out, "");
    print_reply(out, r, false);
    freeReplyObject(r);
    return out->data;
}

int64_t
redis_num(struct redis_server *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = ask(s, fmt, ap);
    va_end(ap);
    int64_t n = -1;
    if (r->type == REDIS_REPLY_INTEGER) {
        n = r->integer;
    } else if (r->type == REDIS_REPLY_STRING && r->len) {
        char *end;
        n = strtoll(r->str, &end, 10);
        n = *end ? -1 : n;
    }
    freeReplyObject(r);
    return n;
}

int64_t
redis_now_ms(struct redis_server *s)
{
    long long seconds = 0, us = 0;
    CHECK_INT(2, sscanf(redis_do(s, "TIME"), "%lld %lld", &seconds, &us));
    return seconds * 1000 + us / 1000;
}

/* --- dumps ----------------------------------------------------------------------------------- */

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
add_line(char ***lines, size_t *n, size_t *cap, char *line)
{
    VEC_GROW(*lines, *n, *cap);
    (*lines)[(*n)++] = line;
}

/* Groups' consumers are told by name, pending entries by entry and owner: how long they have been
 * idle is no content. */
static void
dump_stream(struct redis_server *s, const char *key, struct buf *out)
{
    buf_addf(out, "%s", redis_do(s, "XRANGE %s - +", key));
    redisReply *groups = redisCommand(s->client, "XINFO GROUPS %s", key);
    for (size_t i = 0; groups && i < groups->elements; i++) {
        const char *group = groups->element[i]->element[1]->str;
        buf_addf(out, " group %s", group);
        redisReply *p = redisCommand(s->client, "XPENDING %s %s - + 10000", key, group);
        for (size_t k = 0; p && k < p->elements; k++) {
            buf_addf(out, " %s@%s", p->element[k]->element[0]->str, p->element[k]->element[1]->str);
        }
        freeReplyObject(p);
    }
    freeReplyObject(groups);
}

static char *
dump_key(struct redis_server *s, const char *key)
{
    struct buf out = {0};
    const char *type = redis_do(s, "TYPE %s", key);
    bool limited = redis_num(s, "PTTL %s", key) >= 0;
    buf_addf(&out, "%s (%s%s): ", key, type, limited ? ", expires" : "");
    if (strcmp(type, "stream") == 0) {
        dump_stream(s, key, &out);
        return out.data;
    }
    if (strcmp(type, "zset") == 0) {
        buf_adds(&out, redis_do(s, "ZRANGE %s 0 -1 WITHSCORES", key));
        return out.data;
    }
    redisReply *r =
        redisCommand(s->client, strcmp(type, "hash") == 0 ? "HGETALL %s" : "SMEMBERS %s", key);
    size_t step = strcmp(type, "hash") == 0 ? 2 : 1, n = 0, cap = 0;
    char **lines = NULL;
    for (size_t i = 0; r && i + step <= r->elements; i += step) {
        add_line(&lines, &n, &cap,
                 xasprintf("%s=%s ", r->element[i]->str, r->element[i + step - 1]->str));
    }
    freeReplyObject(r);
    if (n) {
        qsort(lines, n, sizeof *lines, by_text);
    }
    for (size_t i = 0; i < n; i++) {
        buf_adds(&out, lines[i]);
        free(lines[i]);
    }
    free(lines);
    return out.data;
}

const char *
redis_dump(struct redis_server *s, const char *pattern)
{
    static struct buf dumps[4];
    static unsigned turn;
    struct buf *out = &dumps[turn++ % 4];
    redisReply *keys = redisCommand(s->client, "KEYS %s", pattern);
    CHECK(keys && keys->type == REDIS_REPLY_ARRAY);
    size_t n = keys->elements, k = 0, cap = 0;
    char **lines = NULL;
    for (size_t i = 0; i < n; i++) {
        add_line(&lines, &k, &cap, dump_key(s, keys->element[i]->str));
    }
    freeReplyObject(keys);
    if (n) {
        qsort(lines, n, sizeof *lines, by_text);
    }
    buf_clear(out);
    buf_adds(out, "");
    for (size_t i = 0; i < n; i++) {
        buf_addf(out, "%s\n", lines[i]);
        free(lines[i]);
    }
    free(lines);
    return out->data;
}
