#include "shared/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *program;
    enum log_level level;
    bool json;
} config = {"paceline", LOG_LEVEL_INFO, false};

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

void
log_init(const char *program, enum log_level level, bool json)
{
    config.program = program;
    config.level = level;
    config.json = json;
}

void
log_set_level(enum log_level level)
{
    config.level = level;
}

bool
log_enabled(enum log_level level)
{
    return level <= config.level;
}

bool
log_level_parse(const char *word, enum log_level *ret)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

struct line {
    char text[2048];
    size_t len;
};

static void
put(struct line *l, const char *s, size_t n)
{
    size_t room = sizeof l->text - 1 - l->len;
    if (n > room) {
        n = room;
    }
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

static void
puts_(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* A quoted string in which nothing can break the line: the same escapes serve logfmt and JSON. */
static void
put_quoted(struct line *l, const char *s)
{
    puts_(l, "\"");
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        char esc[8];
        if (*p == '"' || *p == '\\') {
            esc[0] = '\\';
            esc[1] = (char)*p;
            put(l, esc, 2);
        } else if (*p < 0x20 || *p == 0x7f) {
            (void)snprintf(esc, sizeof esc, "\\u%04x", *p);
            put(l, esc, 6);
        } else {
            put(l, (const char *)p, 1);
        }
        if (l->len > sizeof l->text - 64) {
            puts_(l, "...");
            break;
        }
    }
    puts_(l, "\"");
}

static bool
is_plain(const char *s)
{
    if (!*s) {
        return false;
    }
    for (; *s; s++) {
        if (*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' || *s == 0x7f) {
            return false;
        }
    }
    return true;
}

static void
put_pair(struct line *l, const char *key, const struct log_value *v)
{
    if (config.json) {
        puts_(l, ",");
        put_quoted(l, key);
        puts_(l, ":");
    } else {
        puts_(l, " ");
        puts_(l, key);
        puts_(l, "=");
    }
    if (v->kind == LOG_INT) {
        char n[32];
        (void)snprintf(n, sizeof n, "%" PRId64, v->i);
        puts_(l, n);
    } else {
        const char *s = v->s ? v->s : "";
        if (!config.json && is_plain(s)) {
            puts_(l, s);
        } else {
            put_quoted(l, s);
        }
    }
}

void
log_event(enum log_level level, const char *event, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    struct line l = {.len = 0};
    struct timespec ts;
    struct tm tm;
    char when[40];
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(when + n, sizeof when - n, ".%03ldZ", ts.tv_nsec / 1000000);
    if (config.json) {
        puts_(&l, "{\"time\":\"");
        puts_(&l, when);
        puts_(&l, "\",\"level\":\"");
        puts_(&l, level_names[level]);
        puts_(&l, "\",\"program\":");
        put_quoted(&l, config.program);
        puts_(&l, ",\"event\":");
        put_quoted(&l, event);
    } else {
        puts_(&l, when);
        puts_(&l, " ");
        puts_(&l, level_names[level]);
        puts_(&l, " ");
        puts_(&l, config.program);
        puts_(&l, " event=");
        if (is_plain(event)) {
            puts_(&l, event);
        } else {
            put_quoted(&l, event);
        }
    }
    va_list ap;
    va_start(ap, event);
    for (const char *key; (key = va_arg(ap, const char *)) != NULL;) {
        const struct log_value *v = va_arg(ap, const struct log_value *);
        if (l.len < sizeof l.text - 256) { /* what a line has no room for is left out whole */
            put_pair(&l, key, v);
        }
    }
    va_end(ap);
    if (config.json) {
        puts_(&l, "}");
    }
    l.text[l.len++] = '\n';
    /* One write a line, so that lines of several threads and processes do not mix. */
    ssize_t written = write(STDERR_FILENO, l.text, l.len);
    (void)written;
}

const char *
log_mask_phone(const char *phone, char *buf, unsigned long size)
{
    size_t n = strlen(phone);
    (void)snprintf(buf, size, "%s", phone);
    size_t first = n > 5 ? 2 : 0, last = n > 5 ? 3 : 0;
    for (size_t i = first; i + last < n && i + 1 < size; i++) {
        buf[i] = '*';
    }
    return buf;
}
