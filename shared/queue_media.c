#include "shared/queue_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
key_media(const struct queue *q, struct redis_cmd *c, const char *sha256)
{
    redis_cmd_key(c, "%s:media:%s", q->prefix, sha256);
}

static void
key_wanted(const struct queue *q, struct redis_cmd *c)
{
    redis_cmd_key(c, "%s:media-wanted", q->prefix);
}

static void
key_upload(const struct queue *q, struct redis_cmd *c, const struct queue_upload *u)
{
    char *key = xasprintf("%s:upload:%s:%s:%s", q->prefix, u->sender, u->device_ref, u->sha256);
    redis_cmd_str(c, key); /* longer than other keys */
    free(key);
}

static bool
parse_look(struct call *c, const struct redis_value *v)
{
    struct queue_medium *m = c->items;
    m->left_ms = redis_int(v) > 0 ? redis_int(v) : 0;
    return redis_type(v) == REDIS_INT;
}

void
queue_media_look(struct queue *q, struct queue_medium *m, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "PTTL");
    key_media(q, &c, m->sha256);
    m->left_ms = 0;
    struct call call = call_make(q, 0, m, 0, parse_look, done, arg);
    call_send(&call, &c, false);
}

void
queue_media_put(struct queue *q, const char *sha256, const void *content, size_t n, int64_t ms,
                queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "SET");
    key_media(q, &c, sha256);
    redis_cmd_bytes(&c, content, n);
    redis_cmd_str(&c, "PX");
    redis_cmd_int(&c, ms);
    struct call call = call_make(q, 0, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, false);
}

void
queue_media_keep(struct queue *q, const char *sha256, int64_t ms, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "PEXPIRE");
    key_media(q, &c, sha256);
    redis_cmd_int(&c, ms);
    struct call call = call_make(q, 0, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, false);
}

static bool
parse_get(struct call *c, const struct redis_value *v)
{
    struct queue_content *content = c->items;
    content->there = redis_type(v) == REDIS_STR;
    if (content->there) {
        buf_add(&content->bytes, redis_str(v), redis_len(v));
    }
    return content->there || redis_type(v) == REDIS_NIL;
}

void
queue_media_get(struct queue *q, const char *sha256, struct queue_content *ret, queue_done *done,
                void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "GET");
    key_media(q, &c, sha256);
    *ret = (struct queue_content){0};
    struct call call = call_make(q, 0, ret, 0, parse_get, done, arg);
    call_send(&call, &c, false);
}

/* --- what is missing ------------------------------------------------------------------ */

static void
key_gone(const struct queue *q, struct redis_cmd *c, uint64_t user, const char *sha256)
{
    redis_cmd_key(c, "%s:media-gone:%" PRIu64 ":%s", q->prefix, user, sha256);
}

static bool
parse_gone(struct call *c, const struct redis_value *v)
{
    *(bool *)c->items = redis_int(v) != 0;
    return redis_type(v) == REDIS_INT;
}

void
queue_media_missing(struct queue *q, uint64_t user, const char *sha256, bool *ret_gone,
                    queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    char member[24 + QUEUE_SHA_SIZE];
    (void)snprintf(member, sizeof member, "%" PRIu64 "/%s", user, sha256);
    redis_cmd_plain(&c, "SADD");
    key_wanted(q, &c);
    redis_cmd_str(&c, member);
    struct call told = call_make(q, 0, NULL, 0, parse_nothing, NULL, NULL);
    call_send(&told, &c, false);
    redis_cmd_plain(&c, "EXISTS");
    key_gone(q, &c, user, sha256);
    *ret_gone = false;
    struct call asked = call_make(q, 0, ret_gone, 0, parse_gone, done, arg);
    call_send(&asked, &c, false);
}

void
queue_media_gone(struct queue *q, uint64_t user, const char *sha256, int64_t ms, queue_done *done,
                 void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "SET");
    key_gone(q, &c, user, sha256);
    redis_cmd_str(&c, "1");
    redis_cmd_str(&c, "PX");
    redis_cmd_int(&c, ms);
    struct call call = call_make(q, 0, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, false);
}

static bool
parse_wanted(struct call *c, const struct redis_value *v)
{
    struct queue_wanted *w = c->items;
    for (size_t i = 0; i < redis_len(v) && w->n < QUEUE_WANTED_MAX; i++) {
        const char *member = redis_str(redis_at(v, i)), *slash = strchr(member, '/');
        if (slash && strlen(slash + 1) == QUEUE_SHA_SIZE - 1) {
            w->items[w->n].user = str_u64(member);
            copy_text(w->items[w->n++].sha256, QUEUE_SHA_SIZE, slash + 1);
        }
    }
    return redis_type(v) == REDIS_LIST;
}

void
queue_media_wanted(struct queue *q, struct queue_wanted *ret, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "SPOP");
    key_wanted(q, &c);
    redis_cmd_int(&c, QUEUE_WANTED_MAX);
    ret->n = 0;
    struct call call = call_make(q, 0, ret, 0, parse_wanted, done, arg);
    call_send(&call, &c, false);
}

/* --- uploads -------------------------------------------------------------------------- */

static bool
parse_upload(struct call *c, const struct redis_value *v)
{
    struct queue_upload *u = c->items;
    if (redis_len(v) < sizeof u->id) {
        copy_text(u->id, sizeof u->id, redis_str(v));
    }
    return true;
}

void
queue_upload_get(struct queue *q, struct queue_upload *u, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "GET");
    key_upload(q, &c, u);
    u->id[0] = '\0';
    struct call call = call_make(q, 0, u, 0, parse_upload, done, arg);
    call_send(&call, &c, false);
}

void
queue_upload_put(struct queue *q, const struct queue_upload *u, int64_t ms, queue_done *done,
                 void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "SET");
    key_upload(q, &c, u);
    redis_cmd_str(&c, u->id);
    redis_cmd_str(&c, "PX");
    redis_cmd_int(&c, ms);
    struct call call = call_make(q, 0, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, false);
}

void
queue_upload_drop(struct queue *q, const struct queue_upload *u, queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    redis_cmd_plain(&c, "DEL");
    key_upload(q, &c, u);
    struct call call = call_make(q, 0, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, false);
}
