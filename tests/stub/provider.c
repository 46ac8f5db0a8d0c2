/* provider.c -- a provider that is not one: answers messages, or fails to, as it is told, and keeps
 * a ledger of what it received.  See README.md. */
#include "shared/log.h"
#include "tests/stub/server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: provider-stub --listen unix:/PATH|A.B.C.D:PORT [options]\n"
    "  --port-file FILE   write the port (or unix:/PATH) here when ready\n"
    "  --ledger FILE      append a line here for every request received\n"
    "  --rule RULE        SELECTOR=ACTION[:ARG]; may be repeated, the first that matches decides\n"
    "  --seed N           of the generator behind the selector p; default: from the clock\n"
    "  --log-level WORD   error, warn, info, debug, trace\n"
    "  --print-stats      write the statistics to stdout at exit\n"
    "  --help\n";

struct options {
    const char *listen, *port_file, *ledger;
    uint64_t seed;
    enum log_level level;
    bool print_stats, help;
    struct rules *rules;
};

enum option_id {
    OPT_LISTEN,
    OPT_PORT_FILE,
    OPT_LEDGER,
    OPT_RULE,
    OPT_SEED,
    OPT_LEVEL,
    OPT_STATS,
    OPT_HELP
};

static bool
set_option(struct options *o, int option, const char *value, struct err *e)
{
    char *end = NULL;
    switch ((enum option_id)option) {
    case OPT_LISTEN:
        o->listen = value;
        return true;
    case OPT_PORT_FILE:
        o->port_file = value;
        return true;
    case OPT_LEDGER:
        o->ledger = value;
        return true;
    case OPT_RULE:
        return rules_add(o->rules, value, strlen(value), e) || err_wrap(e, "--rule %s", value);
    case OPT_SEED:
        o->seed = strtoull(value, &end, 10);
        return (*value >= '0' && *value <= '9' && !*end) ||
               err_set(e, ERR_INPUT, "--seed takes a number");
    case OPT_LEVEL:
        return log_level_parse(value, &o->level) ||
               err_set(e, ERR_INPUT, "--log-level %s is no level", value);
    case OPT_STATS:
        o->print_stats = true;
        return true;
    case OPT_HELP:
        o->help = true;
        return true;
    }
    return err_set(e, ERR_INPUT, "unknown option; try --help");
}

static bool
read_options(struct options *o, int argc, char **argv, struct err *e)
{
    static const struct option names[] = {
        {"listen", required_argument, NULL, OPT_LISTEN},
        {"port-file", required_argument, NULL, OPT_PORT_FILE},
        {"ledger", required_argument, NULL, OPT_LEDGER},
        {"rule", required_argument, NULL, OPT_RULE},
        {"seed", required_argument, NULL, OPT_SEED},
        {"log-level", required_argument, NULL, OPT_LEVEL},
        {"print-stats", no_argument, NULL, OPT_STATS},
        {"help", no_argument, NULL, OPT_HELP},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (!set_option(o, option, optarg, e)) {
            return false;
        }
    }
    if (optind < argc) {
        return err_set(e, ERR_INPUT, "unexpected argument %s", argv[optind]);
    }
    return o->help || o->listen || err_set(e, ERR_INPUT, "--listen is missing; try --help");
}

/* Whoever sees the file sees all of it: it is written aside and renamed. */
static bool
write_port_file(const char *path, const char *address, struct err *e)
{
    char *part = xasprintf("%s.part", path);
    FILE *f = fopen(part, "we");
    bool ok = f && fprintf(f, "%s\n", address) > 0;
    ok = f && fclose(f) == 0 && ok && rename(part, path) == 0;
    if (!ok) {
        (void)err_set(e, ERR_RETRY, "cannot write %s: %s", path, strerror(errno));
    }
    free(part);
    return ok;
}

/* As many connections as the system allows. */
static void
raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    /* A closed connection and a full file are errors of a call, not the end of the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

static void
on_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)w;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static bool
say_ready(const struct options *o, const struct server *s, struct err *e)
{
    if (o->port_file && !write_port_file(o->port_file, s->address, e)) {
        return false;
    }
    log_info("listening", "address", LOG_S(s->address), "ledger",
             LOG_S(o->ledger ? o->ledger : "none"), "rules", LOG_I(rules_count(o->rules)), "seed",
             LOG_I(o->seed));
    (void)printf("%s\n", s->address);
    (void)fflush(stdout);
    return true;
}

static void
print_stats(const struct server *s)
{
    struct buf text = {0};
    server_stats(s, &text);
    (void)printf("%s\n", text.data);
    (void)fflush(stdout);
    buf_done(&text);
}

static bool
serve(struct options *o, struct err *e)
{
    struct server s = {.rules = o->rules, .random = o->seed};
    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
    if (!loop) {
        return err_set(e, ERR_RETRY, "no event loop");
    }
    ev_signal stop[2];
    ev_signal_init(&stop[0], on_signal, SIGTERM);
    ev_signal_init(&stop[1], on_signal, SIGINT);
    ev_signal_start(loop, &stop[0]);
    ev_signal_start(loop, &stop[1]);
    bool ok = ledger_open(o->ledger, &s.ledger, &s.serial, e) &&
              server_open(&s, loop, o->listen, e) && say_ready(o, &s, e);
    if (ok) {
        ev_run(loop, 0);
    }
    if (s.loop) {
        server_close(&s);
    }
    if (ok && o->port_file) {
        (void)unlink(o->port_file);
    }
    if (ok && o->print_stats) {
        print_stats(&s);
    }
    server_free(&s);
    ledger_close(s.ledger);
    o->rules = s.rules;
    ev_loop_destroy(loop);
    return ok;
}

int
main(int argc, char **argv)
{
    struct err e = {0};
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    struct options o = {.level = LOG_LEVEL_INFO,
                        .seed = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
                        .rules = rules_new()};
    bool ok = read_options(&o, argc, argv, &e);
    log_init("provider-stub", o.level, false);
    if (ok && o.help) {
        (void)fputs(usage, stdout);
    } else if (ok) {
        raise_limits();
        ok = serve(&o, &e);
    }
    if (!ok) {
        log_error("provider-stub failed", "why", LOG_S(e.text));
    }
    rules_free(o.rules);
    return ok ? 0 : e.kind == ERR_INPUT ? 2 : 1;
}
