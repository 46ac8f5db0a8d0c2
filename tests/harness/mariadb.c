#include "tests/harness/mariadb.h"

#include "shared/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 60000, MAX_SERVERS = 8 };

/* Small and quick: a crash of the server must lose nothing, a crash of the machine may. */
static const char *const server_options[] = {
    "--no-defaults",
    "--skip-networking",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    "--innodb-use-native-aio=0",
    "--performance-schema=0",
    "--aria-pagecache-buffer-size=1M",
    "--key-buffer-size=64K",
};
enum { OPTIONS = sizeof server_options / sizeof *server_options };

static pid_t servers[MAX_SERVERS]; /* those to be ended with this process */

static void
show_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        (void)fputs(line, stderr);
    }
    if (f) {
        (void)fclose(f);
    }
}

/* A child that runs argv with its output in the file, and that dies when we do. */
static pid_t
spawn(const char *const *argv, const char *output)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        int fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void)dup2(fd, 1);
        (void)dup2(fd, 2);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        char *path = xasprintf("%s:/usr/local/sbin:/usr/sbin", getenv("PATH"));
        (void)setenv("PATH", path, 1); /* servers are not on every user's path */
        if (getppid() == parent) {
            char **args = xcalloc(64, sizeof *args);
            for (size_t i = 0; argv[i]; i++) {
                args[i] = xstrdup(argv[i]);
            }
            (void)execvp(args[0], args);
        }
        _exit(127);
    }
    CHECK(pid > 0);
    return pid;
}

static int
wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static void
run(const char *const *argv, const char *output)
{
    if (wait_for(spawn(argv, output)) != 0) {
        show_file(output);
        t_fail(__FILE__, __LINE__, "%s failed", argv[0]);
    }
}

/* --- the template -------------------------------------------------------------------------- */

/* build/tests/ above the binary build/tests/<layer>/<name>_test; free() it. */
static char *
build_dir(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(n > 0);
    path[n] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        CHECK(slash);
        *slash = '\0';
    }
    return xstrdup(path);
}

static void
make_template(const char *template)
{
    char *part = xasprintf("%s.part", template);
    char *output = xasprintf("%s/mariadb-install.log", t_dir());
    char *datadir = xasprintf("--datadir=%s", part);
    run((const char *const[]){"rm", "-rf", part, NULL}, output);
    run((const char *const[]){"mariadb-install-db", "--no-defaults", datadir, "--skip-test-db",
                              "--auth-root-authentication-method=normal",
                              "--innodb-log-file-size=8M", geteuid() == 0 ? "--user=root" : NULL,
                              NULL},
        output);
    CHECK_INT(0, rename(part, template));
    free(datadir);
    free(output);
    free(part);
}

/* Whoever comes first makes it; the others wait.  It appears whole, by a rename. */
static char *
find_template(void)
{
    char *dir = build_dir();
    char *template = xasprintf("%s/mariadb-template", dir);
    char *lock = xasprintf("%s.lock", template);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    while (flock(fd, LOCK_EX) != 0) {
        CHECK_INT(EINTR, errno);
    }
    if (access(template, F_OK) != 0) {
        make_template(template);
    }
    (void)close(fd);
    free(lock);
    free(dir);
    return template;
}

/* --- the server ---------------------------------------------------------------------------- */

static void
end_servers(void)
{
    for (size_t i = 0; i < MAX_SERVERS; i++) {
        if (servers[i]) {
            (void)kill(servers[i], SIGKILL);
            (void)wait_for(servers[i]);
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

static bool
listens(const struct mariadb *m)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, m->socket, sizeof m->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)close(fd);
    return ok;
}

void
mariadb_restart(struct mariadb *m, const char *option)
{
    const char *argv[OPTIONS + 8] = {"mariadbd"};
    char *datadir = xasprintf("--datadir=%s/data", m->dir);
    char *socket_option = xasprintf("--socket=%s", m->socket);
    char *pid_file = xasprintf("--pid-file=%s/pid", m->dir);
    char *log = xasprintf("%s/log", m->dir);
    size_t n = 1;
    for (size_t i = 0; i < OPTIONS; i++) {
        argv[n++] = server_options[i];
    }
    argv[n++] = datadir;
    argv[n++] = socket_option;
    argv[n++] = pid_file;
    if (geteuid() == 0) {
        argv[n++] = "--user=root";
    }
    argv[n++] = option;
    m->pid = spawn(argv, log);
    remember(0, m->pid);
    int64_t until_ms = t_now_ms() + START_MS;
    while (!listens(m)) {
        bool died = waitpid(m->pid, NULL, WNOHANG) != 0;
        if (died || t_now_ms() > until_ms) {
            remember(m->pid, died ? 0 : m->pid);
            show_file(log);
            t_fail(__FILE__, __LINE__, "mariadbd does not start");
        }
        t_pause();
    }
    free(log);
    free(pid_file);
    free(socket_option);
    free(datadir);
}

void
mariadb_kill(struct mariadb *m)
{
    (void)kill(m->pid, SIGKILL);
    (void)wait_for(m->pid);
    remember(m->pid, 0);
    m->pid = 0;
    (void)unlink(m->socket);
}

char *
mariadb_url(const struct mariadb *m, const char *user, const char *database)
{
    return xasprintf("mysql://%s@/%s?socket=%s", user, database, m->socket);
}

void
mariadb_start(struct mariadb *m, const char *option)
{
    static int number;
    *m = (struct mariadb){.pid = 0};
    (void)snprintf(m->dir, sizeof m->dir, "%s/mariadb%d", t_dir(), ++number);
    (void)snprintf(m->socket, sizeof m->socket, "%s/sock", m->dir);
    CHECK_INT(0, mkdir(m->dir, 0700));
    char *data = xasprintf("%s/data", m->dir);
    char *output = xasprintf("%s/copy.log", m->dir);
    char *template = find_template();
    run((const char *const[]){"cp", "-a", "--reflink=auto", template, data, NULL}, output);
    free(template);
    free(output);
    free(data);
    mariadb_restart(m, option);

    char *url = mariadb_url(m, "root", "mysql");
    struct store *s = mariadb_open(url);
    CHECK_OK(store_execf(s, NULL, e, "CREATE DATABASE paceline DEFAULT CHARACTER SET utf8mb4"));
    store_close(s);
    free(url);
    url = mariadb_url(m, "root", "paceline");
    (void)snprintf(m->url, sizeof m->url, "%s", url);
    free(url);
}

/* --- what tests of the store repeat -------------------------------------------------------- */

struct store *
mariadb_open(const char *url)
{
    struct store *s = NULL;
    CHECK_OK(store_open(&(struct store_config){.url = url}, &s, e));
    return s;
}

int64_t
mariadb_int(struct store *s, const char *select)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, select);
    CHECK_OK(store_query(s, &q, &r, e));
    CHECK(rows_next(&r));
    int64_t value = rows_int(&r, 0);
    rows_done(&r);
    sql_done(&q);
    return value;
}
