/* redis.c -- the supervised link.  Rules that hiredis 0.14 asks for (each was a use-after-free
 * otherwise): a context is never freed or re-dialled inside its connect or disconnect callback,
 * only from a timer; a link that gives a context up clears its data pointer first, so that late
 * callbacks find no link; calls know their link by their own request.  link_down() is the only way
 * down.
 *
 * Over 500 lines because all that touches hiredis is here: its replies, the commands given to it,
 * and the link. */
#include "shared/redis.h"

#include "shared/backoff.h"
#include "shared/clock.h"
#include "shared/script.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>
#include <hiredis/adapters/libev.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

/* The retry cap is below the reapers' `confirm`: after an outage a worker renews its leases before
 * a reaper ends them. */
enum { STEADY_MS = 5000, RETRY_CAP_MS = 1000 };
enum link_state { LINK_IDLE, LINK_DOWN, LINK_DIALING, LINK_GREETING, LINK_UP };

struct request {
    struct redis_link *link;
    struct redis_cmd cmd; /* kept for the NOSCRIPT repeat */
    redis_reply *done;
    void *arg;
    bool healed;
};

struct redis_link {
    struct ev_loop *loop;
    redisAsyncContext *ac;
    enum link_state state;
    redis_state *on_state;
    void *arg;
    char *host, *unix_path, *user, *password, *name;
    int port, db;
    int64_t deadline_ms;
    size_t window, in_flight;
    ev_timer retry, deadline;
    unsigned attempts;
    int64_t up_since_ms; /* a link that falls soon after it came up goes on with longer waits */
    bool give_up;        /* the deadline timer shall drop the connection */
    const char *channel;
    redis_message *on_message;
    char run_id[41];
    char why[160];
    char shas[SCRIPTS_MAX][41];
    int scripts_loading;
};

/* --- replies
 * ------------------------------------------------------------------------------------------- */

static const redisReply nil_reply = {.type = REDIS_REPLY_NIL};

static const redisReply *
raw(const struct redis_value *v)
{
    return (const redisReply *)(const void *)v;
}

static const struct redis_value *
value(const redisReply *r)
{
    return (const struct redis_value *)(const void *)r;
}

enum redis_type
redis_type(const struct redis_value *v)
{
    switch (raw(v)->type) {
    case REDIS_REPLY_INTEGER:
        return REDIS_INT;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        return REDIS_STR;
    case REDIS_REPLY_ARRAY:
        return REDIS_LIST;
    default:
        return REDIS_NIL;
    }
}

int64_t
redis_int(const struct redis_value *v)
{
    if (redis_type(v) == REDIS_INT) {
        return raw(v)->integer;
    }
    char *end;
    int64_t n = strtoll(redis_str(v), &end, 10);
    return *end ? 0 : n;
}

const char *
redis_str(const struct redis_value *v)
{
    return redis_type(v) == REDIS_STR ? raw(v)->str : "";
}

size_t
redis_len(const struct redis_value *v)
{
    switch (redis_type(v)) {
    case REDIS_STR:
        return (size_t)raw(v)->len;
    case REDIS_LIST:
        return raw(v)->elements;
    case REDIS_NIL:
    case REDIS_INT:
        break;
    }
    return 0;
}

const struct redis_value *
redis_at(const struct redis_value *v, size_t i)
{
    if (redis_type(v) != REDIS_LIST || i >= raw(v)->elements) {
        return value(&nil_reply);
    }
    return value(raw(v)->element[i]);
}

/* --- commands
 * ------------------------------------------------------------------------------------------ */

static void
arg_end(struct redis_cmd *c)
{
    VEC_GROW(c->ends, c->n, c->cap);
    c->ends[c->n++] = c->bytes.len;
}

void
redis_cmd_bytes(struct redis_cmd *c, const void *p, size_t n)
{
    buf_add(&c->bytes, p, n);
    arg_end(c);
}

void
redis_cmd_str(struct redis_cmd *c, const char *s)
{
    redis_cmd_bytes(c, s, strlen(s));
}

void
redis_cmd_int(struct redis_cmd *c, int64_t v)
{
    buf_addi(&c->bytes, v);
    arg_end(c);
}

void
redis_cmd_plain(struct redis_cmd *c, const char *name)
{
    c->bytes.len = 0;
    c->n = 0;
    c->script = -1;
    redis_cmd_str(c, name);
    c->n_keys = c->n;
}

/* EVALSHA, sha and number of keys are filled in when the call is sent. */
void
redis_cmd_verb(struct redis_cmd *c, int script)
{
    c->bytes.len = 0;
    c->n = 0;
    c->script = script;
    c->n_keys = 0;
}

void
redis_cmd_key(struct redis_cmd *c, const char *fmt, ...)
{
    assert(c->n == c->n_keys); /* keys come before arguments */
    char key[160];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(key, sizeof key, fmt, ap);
    va_end(ap);
    assert(n > 0 && (size_t)n < sizeof key);
    redis_cmd_bytes(c, key, (size_t)n);
    c->n_keys++;
}

void
redis_cmd_done(struct redis_cmd *c)
{
    buf_done(&c->bytes);
    free(c->ends);
    *c = (struct redis_cmd){.script = -1};
}

/* --- configuration
 * ------------------------------------------------------------------------------------- */

static bool
parse_db(const char *text, int *ret, struct err *e)
{
    char *end;
    long db = strtol(text, &end, 10);
    if (!*text || *end || db < 0 || db > 1000000) {
        return err_set(e, ERR_INPUT, "redis_url: the database is no number from 0 to 1000000");
    }
    *ret = (int)db;
    return true;
}

static bool
parse_tcp(struct redis_link *l, const char *rest, struct err *e)
{
    char *copy = xstrdup(rest), *at = strrchr(copy, '@'), *host = copy;
    if (at) {
        *at = '\0';
        host = at + 1;
        char *colon = strchr(copy, ':');
        if (colon) {
            *colon = '\0';
            l->password = xstrdup(colon + 1);
        }
        l->user = *copy ? xstrdup(copy) : NULL;
    }
    bool ok = true;
    char *slash = strchr(host, '/');
    if (slash) {
        *slash = '\0';
        ok = !slash[1] || parse_db(slash + 1, &l->db, e);
    }
    char *colon = strrchr(host, ':');
    l->port = 6379;
    if (ok && colon) {
        char *end;
        long port = strtol(colon + 1, &end, 10);
        *colon = '\0';
        l->port = (int)port;
        if (*end || port < 1 || port > 65535) {
            ok = err_set(e, ERR_INPUT, "redis_url: the port is no number from 1 to 65535");
        }
    }
    l->host = xstrdup(*host ? host : "127.0.0.1");
    free(copy);
    return ok;
}

/* Errors do not show the URL: it may hold the password. */
static bool
parse_url(struct redis_link *l, const char *url, struct err *e)
{
    if (strncmp(url, "redis://", 8) == 0) {
        return parse_tcp(l, url + 8, e);
    }
    if (strncmp(url, "unix:", 5) == 0) {
        const char *path = url + 5;
        path += strncmp(path, "//", 2) == 0 ? 2 : 0;
        const char *q = strchr(path, '?');
        l->unix_path = q ? xstrndup(path, (size_t)(q - path)) : xstrdup(path);
        if (!*l->unix_path) {
            return err_set(e, ERR_INPUT, "redis_url: unix: names no socket");
        }
        if (q && strncmp(q, "?db=", 4) == 0) {
            return parse_db(q + 4, &l->db, e);
        }
        return !q ||
               err_set(e, ERR_INPUT, "redis_url: only ?db=N is known behind the socket's path");
    }
    if (strncmp(url, "rediss://", 9) == 0) {
        return err_set(
            e, ERR_INPUT,
            "redis_url: rediss:// (TLS) is not built in; use a local TLS proxy such as stunnel "
            "and redis:// to it");
    }
    return err_set(e, ERR_INPUT, "redis_url: write redis://host:port/db or unix:/path");
}

/* --- states
 * -------------------------------------------------------------------------------------------- */

static void dial(struct redis_link *l);

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static void
link_down(struct redis_link *l, const char *why)
{
    bool was_up = l->state == LINK_UP;
    l->state = LINK_DOWN;
    l->ac = NULL;
    l->give_up = false;
    if (why != l->why) { /* drop_soon() has noted it already */
        (void)snprintf(l->why, sizeof l->why, "%s", why);
    }
    ev_timer_stop(l->loop, &l->deadline);
    ev_timer_stop(l->loop, &l->retry);
    bool steady = clock_mono_ms() - l->up_since_ms > STEADY_MS;
    if (was_up && (steady || starts_with(l->why, "EPOCH"))) {
        l->attempts = 0;
    }
    double wait = (double)backoff_ms(l->attempts, 100, RETRY_CAP_MS, random_u64()) / 1000.0;
    if (l->attempts < 16) {
        l->attempts++;
    }
    ev_now_update(l->loop);
    ev_timer_set(&l->retry, wait, 0.);
    ev_timer_start(l->loop, &l->retry);
    if (was_up && l->on_state) {
        l->on_state(l->arg, NULL, l->why);
    }
}

/* From a timer or from outside hiredis only. */
static void
link_kill(struct redis_link *l, const char *why)
{
    redisAsyncContext *ac = l->ac;
    if (ac) {
        ac->data = NULL;
        link_down(l, why);
        redisAsyncFree(ac); /* calls under way get their NULL now */
    }
}

static void
on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    struct redis_link *l = w->data;
    link_kill(l, l->give_up ? l->why : "no reply within the deadline");
}

/* Time since the last progress while anything is under way. */
static void
deadline_again(struct redis_link *l)
{
    if (l->give_up) {
        return;
    }
    if (l->in_flight == 0 && l->state == LINK_UP) {
        ev_timer_stop(l->loop, &l->deadline);
    } else {
        l->deadline.repeat = (double)l->deadline_ms / 1000.0;
        ev_timer_again(l->loop, &l->deadline);
    }
}

/* Asks the deadline timer to drop the connection: we may be inside a hiredis callback. */
static void
drop_soon(struct redis_link *l, const char *why)
{
    if (l->ac && !l->give_up) {
        (void)snprintf(l->why, sizeof l->why, "%s", why);
        l->give_up = true;
        ev_timer_stop(l->loop, &l->deadline);
        ev_timer_set(&l->deadline, 0., 0.);
        ev_timer_start(l->loop, &l->deadline);
    }
}

static enum err_kind
reply_kind(const char *text)
{
    static const char *const passing[] = {"CLOSED",
                                          "LOADING",
                                          "MASTERDOWN",
                                          "READONLY",
                                          "OOM",
                                          "MISCONF",
                                          "BUSY",
                                          "TRYAGAIN",
                                          "CLUSTERDOWN",
                                          "NOREPLICAS",
                                          "NOSCRIPT",
                                          "UNKILLABLE",
                                          "ERR max number of clients",
                                          "-OOM",
                                          "ERR OOM"};
    if (starts_with(text, "EPOCH")) {
        return ERR_GONE;
    }
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (starts_with(text, passing[i])) {
            return ERR_RETRY;
        }
    }
    return ERR_REFUSED;
}

static void
request_free(struct request *r)
{
    redis_cmd_done(&r->cmd);
    free(r);
}

static bool send_request(struct redis_link *l, struct request *r);

static void
on_reply(redisAsyncContext *ac, void *reply, void *priv)
{
    struct request *r = priv;
    struct redis_link *l = r->link;
    const redisReply *v = reply;
    if (ac->data) {
        deadline_again(l);
    }
    if (v && v->type == REDIS_REPLY_ERROR && starts_with(v->str, "NOSCRIPT") && !r->healed &&
        ac->data) {
        r->healed = true; /* once more as EVAL, which also puts the script back into the cache */
        if (send_request(l, r)) {
            return;
        }
    }
    l->in_flight--;
    if (ac->data) {
        deadline_again(l);
    }
    if (r->done) {
        struct err e = {0};
        if (!v) {
            (void)err_set(&e, ERR_RETRY, "the connection to Redis was lost (%.120s)", l->why);
        } else if (v->type == REDIS_REPLY_ERROR) {
            (void)err_set(&e, reply_kind(v->str), "%.250s", v->str);
        }
        r->done(r->arg, e.kind ? NULL : value(v), e.kind ? &e : NULL);
    }
    if (v && v->type == REDIS_REPLY_ERROR &&
        (starts_with(v->str, "READONLY") || starts_with(v->str, "MASTERDOWN") ||
         starts_with(v->str, "LOADING") || starts_with(v->str, "EPOCH another server"))) {
        drop_soon(l, v->str);
    }
    request_free(r);
}

/* Gives the arguments to hiredis.  False when it refuses (the callback will not come). */
static bool
send_request(struct redis_link *l, struct request *r)
{
    const struct redis_cmd *c = &r->cmd;
    size_t head = c->script >= 0 ? 3 : 0, n = head + c->n;
    const char *stack_argv[64];
    size_t stack_len[64] = {0};
    const char **argv = n <= 64 ? stack_argv : xmalloc(n * sizeof *argv);
    size_t *len = n <= 64 ? stack_len : xmalloc(n * sizeof *len);
    char n_keys[24];
    if (head) {
        argv[0] = r->healed ? "EVAL" : "EVALSHA";
        argv[1] = r->healed ? script_sources[c->script].text : l->shas[c->script];
        (void)snprintf(n_keys, sizeof n_keys, "%zu", c->n_keys);
        argv[2] = n_keys;
        for (size_t i = 0; i < 3; i++) {
            len[i] = strlen(argv[i]);
        }
    }
    size_t start = 0;
    for (size_t i = 0; i < c->n; i++) {
        argv[head + i] = c->bytes.data + start;
        len[head + i] = c->ends[i] - start;
        start = c->ends[i];
    }
    int rc = redisAsyncCommandArgv(l->ac, on_reply, r, (int)n, argv, len);
    if (argv != stack_argv) {
        free(argv);
        free(len);
    }
    return rc == REDIS_OK;
}

bool
redis_call(struct redis_link *l, struct redis_cmd *c, redis_reply *done, void *arg, struct err *e)
{
    if (l->state != LINK_UP || l->give_up) {
        redis_cmd_done(c);
        return err_set(e, ERR_RETRY, "Redis is not connected (%.150s)", l->why);
    }
    if (l->in_flight >= l->window) {
        redis_cmd_done(c);
        return err_set(e, ERR_FULL, "%zu calls to Redis are under way already", l->in_flight);
    }
    struct request *r = xcalloc(1, sizeof *r);
    *r = (struct request){.link = l, .cmd = *c, .done = done, .arg = arg};
    *c = (struct redis_cmd){.script = -1};
    if (!send_request(l, r)) {
        request_free(r);
        return err_set(e, ERR_RETRY, "the connection to Redis is closing");
    }
    l->in_flight++;
    if (l->in_flight == 1) {
        ev_now_update(
            l->loop); /* the caller may have blocked for long: the deadline counts from now */
        deadline_again(l);
    }
    return true;
}

/* --- greeting: what a fresh connection is told before anybody may use it
 * ----------------------------------- */

static void
on_greeting(redisAsyncContext *ac, void *reply, void *priv)
{
    (void)priv;
    struct redis_link *l = ac->data;
    const redisReply *v = reply;
    if (l && v && v->type == REDIS_REPLY_ERROR) {
        drop_soon(l, v->str);
    }
}

static void
on_script(redisAsyncContext *ac, void *reply, void *priv)
{
    struct redis_link *l = ac->data;
    const redisReply *v = reply;
    char *sha = priv;
    if (!l || !v) {
        return;
    }
    if (v->type != REDIS_REPLY_STRING || v->len != 40) {
        drop_soon(l, v->type == REDIS_REPLY_ERROR ? v->str : "SCRIPT LOAD answered no SHA");
        return;
    }
    memcpy(sha, v->str, 41);
    l->scripts_loading--;
}

static void
on_info(redisAsyncContext *ac, void *reply, void *priv)
{
    (void)priv;
    struct redis_link *l = ac->data;
    const redisReply *v = reply;
    if (!l || !v) {
        return;
    }
    const char *at = v->type == REDIS_REPLY_STRING ? strstr(v->str, "run_id:") : NULL;
    if (!at || strspn(at + 7, "0123456789abcdef") != 40 || l->scripts_loading) {
        drop_soon(l, v->type == REDIS_REPLY_ERROR ? v->str : "INFO named no run id");
        return;
    }
    if (l->give_up) {
        return;
    }
    memcpy(l->run_id, at + 7, 40);
    l->state = LINK_UP;
    l->why[0] = '\0';
    l->up_since_ms = clock_mono_ms();
    deadline_again(l);
    if (l->on_state) {
        l->on_state(l->arg, l->run_id, "");
    }
}

static void
on_subscription(redisAsyncContext *ac, void *reply, void *priv)
{
    (void)priv;
    struct redis_link *l = ac->data;
    const redisReply *v = reply;
    if (!l || !v || v->type != REDIS_REPLY_ARRAY || v->elements < 3) {
        return;
    }
    if (l->state == LINK_GREETING) {
        l->state = LINK_UP;
        l->up_since_ms = clock_mono_ms();
        ev_timer_stop(l->loop, &l->deadline);
    }
    if (v->element[2]->type == REDIS_REPLY_STRING && v->element[0]->len == 7) {
        l->on_message(l->arg, v->element[2]->str);
    }
}

static void
greet(struct redis_link *l)
{
    redisAsyncContext *ac = l->ac;
    if (l->password && l->user) {
        (void)redisAsyncCommand(ac, on_greeting, NULL, "AUTH %s %s", l->user, l->password);
    } else if (l->password) {
        (void)redisAsyncCommand(ac, on_greeting, NULL, "AUTH %s", l->password);
    }
    if (l->db) {
        (void)redisAsyncCommand(ac, on_greeting, NULL, "SELECT %d", l->db);
    }
    (void)redisAsyncCommand(ac, on_greeting, NULL, "CLIENT SETNAME %s", l->name);
    if (l->channel) {
        (void)redisAsyncCommand(ac, on_subscription, NULL, "SUBSCRIBE %s", l->channel);
        return;
    }
    l->scripts_loading = script_count();
    for (int i = 0; i < script_count(); i++) {
        (void)redisAsyncCommand(ac, on_script, l->shas[i], "SCRIPT LOAD %s",
                                script_sources[i].text);
    }
    (void)redisAsyncCommand(ac, on_info, NULL, "INFO server");
}

static void
on_connect(const redisAsyncContext *ac, int status)
{
    struct redis_link *l = ac->data;
    if (!l) {
        return;
    }
    if (status != REDIS_OK) {
        link_down(l, ac->c.errstr[0] ? ac->c.errstr : "cannot connect");
        return; /* hiredis frees the context */
    }
    l->state = LINK_GREETING;
    greet(l);
}

static void
on_disconnect(const redisAsyncContext *ac, int status)
{
    struct redis_link *l = ac->data;
    if (l) {
        link_down(l, status == REDIS_OK
                         ? "the connection was closed"
                         : (ac->errstr && *ac->errstr ? ac->errstr : "the connection broke"));
    }
}

static void
dial(struct redis_link *l)
{
    redisAsyncContext *ac =
        l->unix_path ? redisAsyncConnectUnix(l->unix_path) : redisAsyncConnect(l->host, l->port);
    l->state = LINK_DIALING;
    if (!ac || ac->err) {
        char why[128];
        (void)snprintf(why, sizeof why, "%s", ac && ac->errstr ? ac->errstr : "cannot connect");
        if (ac) {
            redisAsyncFree(ac);
        }
        link_down(l, why);
        return;
    }
    ac->data = l;
    l->ac = ac;
    (void)redisLibevAttach(l->loop, ac);
    (void)redisAsyncSetConnectCallback(ac, on_connect);
    (void)redisAsyncSetDisconnectCallback(ac, on_disconnect);
    if (!l->unix_path) {
        (void)redisEnableKeepAlive(&ac->c);
    }
    l->deadline.repeat = (double)l->deadline_ms / 1000.0;
    ev_timer_again(l->loop, &l->deadline);
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    dial(w->data);
}

/* --- life
 * ---------------------------------------------------------------------------------------------- */

bool
redis_link_new(struct ev_loop *loop, const struct redis_config *c, redis_state *state, void *arg,
               struct redis_link **ret, struct err *e)
{
    struct redis_link *l = xcalloc(1, sizeof *l);
    l->loop = loop;
    l->on_state = state;
    l->arg = arg;
    l->deadline_ms = c->deadline_ms;
    l->window = c->window;
    l->name = xstrdup(c->name);
    (void)snprintf(l->why, sizeof l->why, "not connected yet");
    ev_timer_init(&l->retry, on_retry, 0., 0.);
    ev_timer_init(&l->deadline, on_deadline, 0., 0.);
    l->retry.data = l;
    l->deadline.data = l;
    if (!parse_url(l, c->url, e)) {
        redis_link_free(l);
        return false;
    }
    if (c->password && *c->password) {
        free(l->password);
        l->password = xstrdup(c->password);
    }
    *ret = l;
    return true;
}

void
redis_link_start(struct redis_link *l)
{
    dial(l);
}

void
redis_link_subscribe(struct redis_link *l, const char *channel, redis_message *on_message)
{
    l->channel = channel;
    l->on_message = on_message;
    dial(l);
}

void
redis_link_free(struct redis_link *l)
{
    if (!l) {
        return;
    }
    l->on_state = NULL;
    link_kill(l, "closed by us");
    ev_timer_stop(l->loop, &l->retry);
    ev_timer_stop(l->loop, &l->deadline);
    free(l->host);
    free(l->unix_path);
    free(l->user);
    free(l->password);
    free(l->name);
    free(l);
}

bool
redis_link_up(const struct redis_link *l)
{
    return l->state == LINK_UP && !l->give_up;
}

size_t
redis_link_in_flight(const struct redis_link *l)
{
    return l->in_flight;
}

const char *
redis_link_why(const struct redis_link *l)
{
    return l->why;
}

void
redis_link_wait(struct redis_link *l)
{
    while (l->in_flight > 0) {
        (void)ev_run(l->loop, EVRUN_ONCE);
    }
}

static void
on_wait_over(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)w, (void)revents;
}

bool
redis_link_wait_up(struct redis_link *l, int64_t ms, struct err *e)
{
    int64_t until = clock_mono_ms() + ms;
    ev_timer tick;
    ev_timer_init(&tick, on_wait_over, 0.05, 0.05); /* the loop wakes to look at the clock */
    ev_timer_start(l->loop, &tick);
    while (!redis_link_up(l) && clock_mono_ms() < until) {
        (void)ev_run(l->loop, EVRUN_ONCE);
    }
    ev_timer_stop(l->loop, &tick);
    return redis_link_up(l) || err_set(e, ERR_RETRY, "Redis cannot be reached: %.200s", l->why);
}
