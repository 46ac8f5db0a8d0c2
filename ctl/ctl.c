#include "ctl/ctl.h"

#include "shared/log.h"
#include "shared/migrate.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>

enum { REDIS_WAIT_MS = 3000, REDIS_DEADLINE_MS = 5000, REDIS_WINDOW = 8192, DUPLICATE = 1062 };

#define SETTING(name) offsetof(struct ctl, name)

const struct conf_key ctl_keys[] = {
    {"user", CONF_STR, SETTING(user), "default", NULL, 0,
     "Whose devices, leads and campaigns: nobody else's are seen or touched."},
    {"default_time_zone", CONF_STR, SETTING(default_time_zone), "Asia/Kuala_Lumpur", NULL, 0,
     "The zone of a recurring message that names none, as an IANA name."},
    COMPOSE_KEYS(struct ctl),
    {"json", CONF_BOOL, SETTING(json), NULL, NULL, 0, "Print JSON instead of tables."},
    {"utc", CONF_BOOL, SETTING(utc), NULL, NULL, 0,
     "Show times in UTC instead of the zone of this terminal."},
    {"mysql_url", CONF_STR, SETTING(mysql_url), "mysql://paceline@127.0.0.1/paceline", NULL, 0,
     "MySQL or MariaDB: mysql://user@host[:port]/database[?socket=/path]."},
    {"mysql_password", CONF_STR, SETTING(mysql_password), NULL, NULL, CONF_SECRET,
     "MySQL's password."},
    {"redis_url", CONF_STR, SETTING(redis_url), "redis://127.0.0.1:6379", NULL, 0,
     "Redis: redis://host[:port][/db] or unix:/path."},
    {"redis_password", CONF_STR, SETTING(redis_password), NULL, NULL, CONF_SECRET,
     "Redis' password."},
    {"partitions", CONF_INT, SETTING(partitions), "64", "1..1024", 0,
     "Partitions of the queue, the same in every program; fixed at first start."},
    {"prefix", CONF_STR, SETTING(prefix), "pl", NULL, 0, "What every key in Redis begins with."},
    {"inlet_user", CONF_STR, SETTING(inlet_user), "listmonk", NULL, 0,
     "Who may post to `paceline inlet`: the user name of HTTP Basic authentication."},
    {"inlet_password", CONF_STR, SETTING(inlet_password), NULL, NULL, CONF_SECRET,
     "That user's password."},
    {"stop_words", CONF_STR, SETTING(stop_words), NULL, NULL, 0,
     "A file of words by which recipients opt out, besides those that `paceline receipts` "
     "carries."},
    {"media_max", CONF_INT, SETTING(media_max), "16777216", "1..536870912", 0,
     "Bytes of a stored medium, whatever its kind: Redis and workers hold it in memory."},
    {"media_image_max", CONF_INT, SETTING(media_image_max), "5242880", "1..536870912", 0,
     "Bytes of an image; WhatsApp's limit."},
    {"media_video_max", CONF_INT, SETTING(media_video_max), "16777216", "1..536870912", 0,
     "Bytes of a video; WhatsApp's limit."},
    {"media_audio_max", CONF_INT, SETTING(media_audio_max), "16777216", "1..536870912", 0,
     "Bytes of an audio; WhatsApp's limit."},
    {"media_document_max", CONF_INT, SETTING(media_document_max), "104857600", "1..536870912", 0,
     "Bytes of a document; WhatsApp's limit."},
    {"media_timeout", CONF_MS, SETTING(media_timeout), "10m", "1s..1d", 0,
     "The longest that a medium's download may take."},
    {"media_allow_private", CONF_BOOL, SETTING(media_allow_private), NULL, NULL, 0,
     "Whether media may be downloaded from private, loopback and link-local addresses."},
    {"log_level", CONF_WORD, SETTING(log_level), "warn", "error|warn|info|debug|trace", 0,
     "What is logged to standard error."},
    {"log_format", CONF_WORD, SETTING(log_format), "logfmt", "logfmt|json", 0,
     "How it is written."},
    {"*", CONF_STR, 0, NULL, NULL, 0, NULL},
    {NULL, CONF_STR, 0, NULL, NULL, 0, NULL},
};

void
ctl_start(struct ctl *c)
{
    log_init("paceline", (enum log_level)c->log_level, c->log_format == 1);
    c->out = (struct output){.json = c->json, .utc = c->utc};
    output_init();
}

void
ctl_stop(struct ctl *c)
{
    queue_close(c->queue);
    if (c->loop) {
        ev_loop_destroy(c->loop);
    }
    store_close(c->store);
}

/* --- MySQL ---------------------------------------------------------------------------- */

bool
ctl_connect(struct ctl *c, struct err *e)
{
    struct store_config config = {.url = c->mysql_url, .password = c->mysql_password};
    if (!c->store && !store_open(&config, &c->store, e)) {
        return false;
    }
    return store_ping(c->store, e);
}

bool
ctl_store(struct ctl *c, struct err *e)
{
    return c->store ? store_ping(c->store, e) : ctl_connect(c, e) && migrate_check(c->store, e);
}

/* One id, or 0 when there is no row. */
static bool
query_user(struct ctl *c, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e, "SELECT id FROM users WHERE name = %s", c->user)) {
        return false;
    }
    c->user_id = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return true;
}

bool
ctl_user(struct ctl *c, bool create, struct err *e)
{
    if (!ctl_store(c, e) || !query_user(c, e)) {
        return false;
    }
    if (c->user_id || (!create && strcmp(c->user, "default") == 0)) {
        return true;
    }
    if (!create) {
        return err_set(e, ERR_GONE,
                       "there is no user '%.190s'; a user appears with its first device: "
                       "paceline --user NAME device add ...",
                       c->user);
    }
    if (!*c->user || strlen(c->user) > 190) {
        return err_set(e, ERR_INPUT, "--user: a name has 1 to 190 bytes");
    }
    if (!store_execf(c->store, NULL, e,
                     "INSERT INTO users (name, created_at) VALUES (%s, UTC_TIMESTAMP(3))",
                     c->user) &&
        store_code(c->store) != DUPLICATE) { /* somebody else was quicker: as well */
        return false;
    }
    return query_user(c, e);
}

/* --- Redis ---------------------------------------------------------------------------- */

bool
ctl_queue(struct ctl *c, struct err *e)
{
    if (c->redis_error.kind) {
        *e = c->redis_error;
        return false;
    }
    if (c->queue) {
        return true;
    }
    struct queue_config config = {
        .redis = {.url = c->redis_url,
                  .password = c->redis_password,
                  .name = "paceline",
                  .deadline_ms = REDIS_DEADLINE_MS,
                  .window = REDIS_WINDOW},
        .prefix = c->prefix,
        .partitions = c->partitions,
    };
    c->loop = c->loop ? c->loop : ev_loop_new(EVFLAG_AUTO);
    if (!c->loop) {
        return err_set(e, ERR_RETRY, "no event loop: %s", strerror(errno));
    }
    if (!queue_open(c->loop, &config, NULL, &c->queue, &c->redis_error) ||
        !queue_wait_ready(c->queue, REDIS_WAIT_MS, &c->redis_error)) {
        *e = c->redis_error;
        queue_close(c->queue);
        c->queue = NULL;
        return false;
    }
    return true;
}

void
ctl_queue_drop(struct ctl *c)
{
    queue_close(c->queue);
    c->queue = NULL;
    c->redis_error = (struct err){0};
}

void
ctl_asked(void *arg, const struct err *e)
{
    struct err *first = arg;
    if (e && !first->kind) {
        *first = *e;
    }
}

/* --- what people name ----------------------------------------------------------------- */

bool
ctl_parse_id(const char *text, uint64_t *ret)
{
    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return !*end && errno == 0;
}

/* by_name and by_id are SELECT id, name ... AND name = / AND id = , without their last word. */
static bool
find(struct ctl *c, const char *by_name, const char *by_id, const char *text, struct found *ret,
     struct err *e)
{
    struct sql q = {0};
    struct rows r;
    uint64_t id = 0;
    ret->id = 0;
    for (int i = 0; i < 2 && !ret->id; i++) {
        if (i == 1 && !ctl_parse_id(text, &id)) {
            break;
        }
        sql_clear(&q);
        sql_text(&q, i == 0 ? by_name : by_id);
        if (i == 0) {
            sql_str(&q, text);
        } else {
            sql_uint(&q, id);
        }
        sql_text(&q, " AND user_id = ");
        sql_uint(&q, c->user_id);
        if (!store_query(c->store, &q, &r, e)) {
            sql_done(&q);
            return false;
        }
        if (rows_next(&r)) {
            ret->id = rows_uint(&r, 0);
            (void)snprintf(ret->name, sizeof ret->name, "%s", rows_str(&r, 1));
        }
        rows_done(&r);
    }
    sql_done(&q);
    return true;
}

static bool
no_such(const struct ctl *c, const char *what, const char *text, const char *group, struct err *e)
{
    return err_set(e, ERR_GONE, "user '%.60s' has no %s '%.100s'; see: paceline %s list", c->user,
                   what, text, group);
}

bool
ctl_find_device(struct ctl *c, const char *text, struct found *ret, struct err *e)
{
    return find(c, "SELECT id, name FROM devices WHERE name = ",
                "SELECT id, name FROM devices WHERE id = ", text, ret, e) &&
           (ret->id || no_such(c, "device", text, "device", e));
}

const char *
ctl_source_noun(enum source_kind kind)
{
    return kind == SOURCE_RECURRING ? "recurring message" : sources[kind].kind;
}

bool
ctl_find_source(struct ctl *c, enum source_kind kind, const char *text, struct found *ret,
                struct err *e)
{
    static const char *const by_name[SOURCE_TABLES] = {
        [SOURCE_CAMPAIGN] = "SELECT id, name FROM campaigns WHERE name = ",
        [SOURCE_SEQUENCE] = "SELECT id, name FROM sequences WHERE name = ",
        [SOURCE_RECURRING] = "SELECT id, name FROM recurring_messages WHERE name = ",
    };
    static const char *const by_id[SOURCE_TABLES] = {
        [SOURCE_CAMPAIGN] = "SELECT id, name FROM campaigns WHERE id = ",
        [SOURCE_SEQUENCE] = "SELECT id, name FROM sequences WHERE id = ",
        [SOURCE_RECURRING] = "SELECT id, name FROM recurring_messages WHERE id = ",
    };
    return find(c, by_name[kind], by_id[kind], text, ret, e) &&
           (ret->id || no_such(c, ctl_source_noun(kind), text, sources[kind].kind, e));
}

/* --- how a command ends --------------------------------------------------------------- */

int
ctl_fail(const struct err *e)
{
    (void)fprintf(stderr, "paceline: %s\n", e->text);
    return e->kind == ERR_GONE ? CTL_FAILED : CTL_COULD_NOT;
}

__attribute__((format(printf, 1, 0))) static void
put_line(const char *fmt, va_list ap)
{
    (void)fputs("paceline: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputs("\n", stderr);
}

int
ctl_refuse(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_line(fmt, ap);
    va_end(ap);
    return CTL_FAILED;
}

void
ctl_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_line(fmt, ap);
    va_end(ap);
}
