/* conf_case.h -- what the tests of the configuration share: a program's table and conf_load with
 * its output taken. */
#ifndef TESTS_CONF_CASE_H
#define TESTS_CONF_CASE_H

#include "shared/conf.h"
#include "shared/mem.h"
#include "tests/harness/t.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct settings {
    char *redis_url, *redis_password, *note;
    int64_t redis_window, grace, log_format;
    bool follow;
};
static const struct conf_key keys[] = {
    {"redis_url", CONF_STR, offsetof(struct settings, redis_url), "redis://127.0.0.1:6379", NULL, 0,
     "Where Redis is."},
    {"redis_password", CONF_STR, offsetof(struct settings, redis_password), NULL, NULL, CONF_SECRET,
     "What Redis asks for."},
    {"note", CONF_STR, offsetof(struct settings, note), NULL, NULL, 0, "Any text."},
    {"redis_window", CONF_INT, offsetof(struct settings, redis_window), "50", "1..10000", 0,
     "How many jobs a device may have in its stream, as a number of jobs, so that the text is "
     "long."},
    {"grace", CONF_MS, offsetof(struct settings, grace), "5s", "100ms..1d", 0, "How long to wait."},
    {"log_format", CONF_WORD, offsetof(struct settings, log_format), "logfmt", "logfmt|json", 0,
     "How lines look."},
    {"follow", CONF_BOOL, offsetof(struct settings, follow), "no", NULL, 0, "Whether to follow."},
    {NULL, CONF_STR, 0, NULL, NULL, 0, NULL},
};

static struct settings s;
static struct conf c;
static char out[16384], err[4096]; /* what the last load() printed */
static const char *const sender_kind[] = {"sender", NULL};
static const char *const *kinds = sender_kind;
static const char *program = "paceline-worker";
static const struct conf_key *table = keys;
static bool (*check_sections)(struct conf *, struct err *);

/* A copy that lives as long as argv must, which is longer than any test needs it. */
static char *
arg(const char *text)
{
    static char copies[16][256];
    static unsigned turn;
    char *p = copies[turn++ % 16];
    (void)snprintf(p, sizeof copies[0], "%s", text);
    return p;
}

struct path {
    char text[160];
};

static struct path
path_of(const char *name)
{
    struct path p;
    (void)snprintf(p.text, sizeof p.text, "%s/%s", t_dir(), name);
    return p;
}

static const char *
write_bytes(const char *name, const void *data, size_t n)
{
    const char *path = arg(path_of(name).text);
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
    return path;
}

static const char *
write_file(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

static void
take_output(const char *name, char *into, size_t size)
{
    FILE *f = fopen(path_of(name).text, "r");
    CHECK(f != NULL);
    size_t n = fread(into, 1, size - 1, f);
    into[n] = '\0';
    (void)fclose(f);
}

static int
redirect(int fd, const char *name)
{
    int saved = dup(fd), to = open(path_of(name).text, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    CHECK(saved >= 0 && to >= 0 && dup2(to, fd) == fd);
    (void)close(to);
    return saved;
}

static void
restore(int fd, int saved)
{
    CHECK(dup2(saved, fd) == fd);
    (void)close(saved);
}

/* Loads with up to 7 arguments, the output taken. */
static enum conf_result
load_list(char **args)
{
    char *argv[9] = {(char *)(uintptr_t)program};
    int argc = 1;
    for (; args[argc - 1]; argc++) {
        argv[argc] = args[argc - 1];
    }
    (void)fflush(NULL);
    int saved_out = redirect(STDOUT_FILENO, "out"), saved_err = redirect(STDERR_FILENO, "err");
    memset(&s, 0x5a, sizeof s); /* conf_load must not read what was there */
    enum conf_result r =
        conf_load(&c, table, &s, program, "Does what it does.", kinds, check_sections, argc, argv);
    (void)fflush(NULL);
    restore(STDOUT_FILENO, saved_out);
    restore(STDERR_FILENO, saved_err);
    take_output("out", out, sizeof out);
    take_output("err", err, sizeof err);
    return r;
}
/* The arguments live as long as the enclosing block, as argv does. */
#define LOAD(...) load_list((char *[]){__VA_ARGS__, NULL})

static enum conf_result
load_text(const char *text)
{
    return LOAD(arg("--config"), arg(write_file("paceline.conf", text)));
}

static void
check_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        t_fail(__FILE__, __LINE__, "no \"%s\" in:\n%s", part, text);
    }
}

#endif
