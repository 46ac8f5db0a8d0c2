#include "tests/harness/t.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct t_case *cases;
static char dir[128];
static uint64_t seed, state;

enum { TEST_SECONDS = 120 };

void
t_register(struct t_case *c)
{
    struct t_case **p = &cases;
    while (*p) {
        p = &(*p)->next;
    }
    *p = c;
}

void
t_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "    %s:%d: ", file, line);
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, " (seed %llu)\n", (unsigned long long)seed);
    va_end(ap);
    exit(1);
}

void
t_check_int(const char *file, int line, const char *what, int64_t want, int64_t got)
{
    if (want != got) {
        t_fail(file, line, "%s is %lld, not %lld", what, (long long)got, (long long)want);
    }
}

void
t_check_str(const char *file, int line, const char *what, const char *want, const char *got)
{
    if (!want || !got || strcmp(want, got) != 0) {
        t_fail(file, line, "%s is \"%s\", not \"%s\"", what, got ? got : "(null)",
               want ? want : "(null)");
    }
}

const char *
t_dir(void)
{
    return dir;
}

uint64_t
t_random(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t
t_now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
t_pause(void)
{
    (void)nanosleep(&(struct timespec){0, 2000000}, NULL); /* the polling step of T_WAIT */
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static bool
run_one(const struct t_case *c)
{
    (void)snprintf(dir, sizeof dir, "/tmp/paceline-test.XXXXXX");
    if (!mkdtemp(dir)) {
        perror("mkdtemp");
        exit(2);
    }
    char out[160];
    (void)snprintf(out, sizeof out, "%s/output", dir);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        int fd = open(out, O_CREAT | O_WRONLY | O_APPEND, 0600);
        (void)dup2(fd, 1);
        (void)dup2(fd, 2);
        (void)close(fd);
        (void)alarm(TEST_SECONDS);
        c->run();
        exit(0); /* not _exit: leak checkers run at exit */
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    (void)kill(-pid, SIGKILL);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ok) {
        printf("not ok %s (%s)\n", c->name, c->file);
        FILE *f = fopen(out, "r");
        char line[1024];
        while (f && fgets(line, sizeof line, f)) {
            (void)fputs(line, stdout);
        }
        if (f) {
            (void)fclose(f);
        }
        if (WIFSIGNALED(status)) {
            printf("    ended by signal %d\n", WTERMSIG(status));
        }
    }
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return ok;
}

int
main(int argc, char **argv)
{
    const char *s = getenv("T_SEED");
    seed = s ? strtoull(s, NULL, 10) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
    int passed = 0, failed = 0;
    for (const struct t_case *c = cases; c; c = c->next) {
        if (argc > 1 && !strstr(c->name, argv[1])) {
            continue;
        }
        state = seed;
        if (run_one(c)) {
            passed++;
        } else {
            failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
