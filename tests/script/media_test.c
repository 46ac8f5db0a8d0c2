/* Contents and uploads between Redis and a sender that is none: each is asked for once, nothing
 * that is lost hangs, and memory stays within its bounds. */
#include "tests/harness/rig.h"
#include "worker/media_cache.h"
#include "worker/media_upload.h"

#include <stdio.h>
#include <string.h>

#include <ev.h>

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

static struct rig r;

/* --- a caller ----------------------------------------------------------------------------------
 */

struct got {
    int times;
    enum content_fate fate;
    struct content *content;
};

static void
on_content(void *arg, enum content_fate fate, struct content *c)
{
    struct got *g = arg;
    g->times++;
    g->fate = fate;
    g->content = c;
}

static const char *
sha(char last)
{
    static char names[16][QUEUE_SHA_SIZE];
    static int n;
    char *s = names[n++ % 16];
    (void)snprintf(s, QUEUE_SHA_SIZE, SHA "%c", last);
    return s;
}

static void
put(char last, size_t n)
{
    char *bytes = xmalloc(n);
    memset(bytes, last, n);
    CHECK_RUN(ERR_NONE, &r, media_put, sha(last), bytes, n, 60000);
    free(bytes);
}

static struct got
get(struct media_cache *m, char last, int64_t size)
{
    struct got g = {0};
    content_get(m, 7, sha(last), size, on_content, &g);
    queue_wait(r.q);
    CHECK_INT(1, g.times);
    return g;
}

static int64_t
commands(const char *name)
{
    const char *all = redis_do(&r.server, "INFO commandstats");
    char field[40];
    (void)snprintf(field, sizeof field, "cmdstat_%s:calls=", name);
    const char *at = strstr(all, field);
    return at ? strtoll(at + strlen(field), NULL, 10) : 0;
}

/* --- contents ----------------------------------------------------------------------------------
 */

TEST(a_content_is_asked_for_once_however_many_need_it)
{
    rig_start(&r);
    put('a', 5000);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct got g[50] = {{0}};
    for (int i = 0; i < 50; i++) {
        content_get(m, 7, sha('a'), 5000, on_content, &g[i]);
    }
    queue_wait(r.q);
    for (int i = 0; i < 50; i++) {
        size_t n;
        CHECK(g[i].times == 1 && g[i].fate == CONTENT_READY);
        const char *bytes = content_bytes(g[i].content, &n);
        CHECK(n == 5000 && bytes[0] == 'a' && bytes[4999] == 'a');
        content_release(g[i].content);
    }
    struct got again = {0};
    content_get(m, 7, sha('a'), 5000, on_content, &again);
    CHECK_INT(1, again.times); /* at once */
    content_release(again.content);
    CHECK_INT(1, commands("get"));
    CHECK_INT(5000, media_cache_bytes(m));
    rig_stop(&r);
    media_cache_free(m);
}

TEST(what_is_missing_is_told_and_what_is_gone_is_known)
{
    rig_start(&r);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct got g = get(m, 'a', 10);
    CHECK_INT(CONTENT_MISSING, g.fate);
    struct queue_wanted w;
    CHECK_RUN(ERR_NONE, &r, media_wanted, &w);
    CHECK_INT(1, w.n);
    CHECK_INT(7, w.items[0].user);
    CHECK_STR(sha('a'), w.items[0].sha256);
    CHECK_RUN(ERR_NONE, &r, media_wanted, &w);
    CHECK_INT(0, w.n);
    put('a', 10);
    g = get(m, 'a', 10);
    CHECK_INT(CONTENT_READY, g.fate);
    content_release(g.content);
    CHECK_RUN(ERR_NONE, &r, media_gone, 7, sha('b'), 60000);
    g = get(m, 'b', 10);
    CHECK_INT(CONTENT_GONE, g.fate);
    put('c', 10);
    g = get(m, 'c', 11); /* another content than was stored */
    CHECK_INT(CONTENT_GONE, g.fate);
    CHECK_INT(10, media_cache_bytes(m));
    rig_stop(&r);
    media_cache_free(m);
}

TEST(that_one_user_has_a_content_no_more_says_nothing_of_anothers)
{
    rig_start(&r);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct got gone = {0}, mine = {0};
    struct queue_wanted w;
    CHECK_RUN(ERR_NONE, &r, media_gone, 7, sha('b'), 60000);
    content_get(m, 7, sha('b'), 10, on_content, &gone);
    content_get(m, 8, sha('b'), 10, on_content, &mine); /* waits for the same answer */
    queue_wait(r.q);
    CHECK_INT(CONTENT_GONE, gone.fate);
    CHECK_INT(CONTENT_MISSING, mine.fate);
    content_get(m, 8, sha('b'), 10, on_content, &mine);
    queue_wait(r.q);
    CHECK_INT(CONTENT_MISSING, mine.fate);
    CHECK_RUN(ERR_NONE, &r, media_wanted, &w);
    CHECK(w.n == 2 && w.items[0].user + w.items[1].user == 7 + 8);
    rig_stop(&r);
    media_cache_free(m);
}

TEST(memory_is_bounded_and_what_is_in_hand_stays)
{
    rig_start(&r);
    put('a', 400);
    put('b', 400);
    put('c', 400);
    put('d', 5000);
    struct media_cache *m = media_cache_new(r.q, 1000);
    struct got a = get(m, 'a', 400), b = get(m, 'b', 400), c = {0}, d = {0}, again = {0};
    content_get(m, 7, sha('c'), 400, on_content, &c);
    content_get(m, 7, sha('d'), 5000, on_content, &d);
    queue_wait(r.q);
    CHECK(c.times == 0 && d.times == 0); /* both others are in hand */
    CHECK_INT(800, media_cache_bytes(m));
    content_release(a.content);
    queue_wait(r.q);
    CHECK(c.times == 1 && d.times == 0);
    content_release(c.content);
    content_release(b.content);
    queue_wait(r.q);
    CHECK(d.times == 1 && d.fate == CONTENT_READY); /* larger than all: it has the cache alone */
    CHECK_INT(5000, media_cache_bytes(m));
    content_get(m, 7, sha('a'), 400, on_content, &again);
    queue_wait(r.q);
    CHECK_INT(0, again.times);
    content_release(d.content);
    queue_wait(r.q);
    CHECK(again.times == 1 && again.fate == CONTENT_READY);
    CHECK_INT(400, media_cache_bytes(m));
    content_release(again.content);
    rig_stop(&r);
    media_cache_free(m);
}

TEST(a_redis_that_goes_answers_everybody)
{
    rig_start(&r);
    put('a', 400);
    struct media_cache *m = media_cache_new(r.q, 100);
    struct got a = {0}, b = {0};
    redis_server_freeze(&r.server);
    content_get(m, 7, sha('a'), 400, on_content, &a);
    content_get(m, 7, sha('b'), 400, on_content, &b); /* parked: the first is on its way */
    queue_close(r.q);
    r.q = NULL;
    CHECK(a.times == 1 && a.fate == CONTENT_DOWN);
    CHECK(b.times == 1 && b.fate == CONTENT_DOWN);
    redis_server_thaw(&r.server);
    rig_stop(&r);
    media_cache_free(m);
}

/* --- uploads -----------------------------------------------------------------------------------
 */

static struct provider {
    int uploads;
    struct outcome outcome;
    int64_t keep_ms;
    sender_uploaded *done;
    void *arg;
    char first;
    size_t len;
} provider;

static void
upload(void *self, const char *device_ref, const struct media *m, sender_uploaded *done, void *arg)
{
    struct provider *p = self;
    (void)device_ref;
    p->uploads++;
    p->done = done;
    p->arg = arg;
    p->first = *(const char *)m->bytes;
    p->len = m->len;
}

static const struct sender type = {.type = "double", .upload = upload};

struct answered {
    int times;
    enum upload_fate fate;
    char id[QUEUE_MEDIA_ID_SIZE], code[32];
    enum content_fate content;
};

static void
on_upload(void *arg, const struct upload_answer *a)
{
    struct answered *x = arg;
    x->times++;
    x->fate = a->fate;
    x->content = a->content;
    (void)snprintf(x->id, sizeof x->id, "%s", a->fate == UPLOAD_READY ? a->id : "");
    (void)snprintf(x->code, sizeof x->code, "%s", a->outcome ? a->outcome->code : "");
}

static void
wish(struct uploads *u, const char *ref, struct answered *x)
{
    struct media_ref m = {.kind = MEDIA_IMAGE, .mime = "image/jpeg", .size = 300};
    memcpy(m.sha256, sha('a'), sizeof m.sha256);
    struct upload_wish w = {"cloud", &type, &provider, ref, 7, &m};
    *x = (struct answered){0};
    upload_get(u, &w, on_upload, x);
}

static void
report(enum outcome_class class, const char *code, const char *id, int64_t keep_ms)
{
    struct outcome o = {.class = class};
    (void)snprintf(o.code, sizeof o.code, "%s", code);
    (void)snprintf(o.provider_id, sizeof o.provider_id, "%s", id);
    provider.done(provider.arg, &o, keep_ms);
}

TEST(one_upload_serves_everybody_and_every_worker)
{
    rig_start(&r);
    put('a', 300);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct uploads *u = uploads_new(r.q, m);
    struct answered x[20], other, later;
    for (int i = 0; i < 20; i++) {
        wish(u, "phone-1", &x[i]);
    }
    queue_wait(r.q);
    CHECK_INT(1, provider.uploads);
    CHECK(provider.first == 'a' && provider.len == 300 && x[0].times == 0);
    report(OUTCOME_SENT, "200", "id-1", 60000);
    for (int i = 0; i < 20; i++) {
        CHECK(x[i].times == 1 && x[i].fate == UPLOAD_READY);
        CHECK_STR("id-1", x[i].id);
    }
    wish(u, "phone-1", &later);
    CHECK(later.times == 1 && strcmp(later.id, "id-1") == 0);
    queue_wait(r.q);
    CHECK_STR("id-1", redis_do(&r.server, "GET pl:upload:cloud:phone-1:%s", sha('a')));
    CHECK(redis_num(&r.server, "PTTL pl:upload:cloud:phone-1:%s", sha('a')) > 50000);
    struct uploads *neighbour = uploads_new(r.q, m);
    wish(neighbour, "phone-1", &other);
    queue_wait(r.q);
    CHECK(other.times == 1 && strcmp(other.id, "id-1") == 0);
    CHECK_INT(1, provider.uploads);
    wish(u, "phone-2", &other); /* another device has ids of its own */
    queue_wait(r.q);
    CHECK_INT(2, provider.uploads);
    report(OUTCOME_SENT, "200", "id-2", 60000);
    CHECK_STR("id-2", other.id);
    rig_stop(&r);
    uploads_free(u);
    uploads_free(neighbour);
    media_cache_free(m);
}

TEST(an_upload_that_fails_tells_all_and_is_tried_again)
{
    rig_start(&r);
    put('a', 300);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct uploads *u = uploads_new(r.q, m);
    struct answered a, b;
    wish(u, "phone-1", &a);
    wish(u, "phone-1", &b);
    queue_wait(r.q);
    report(OUTCOME_RETRY, "80007", "", 0);
    CHECK(a.times == 1 && a.fate == UPLOAD_REFUSED && strcmp(a.code, "80007") == 0);
    CHECK(b.times == 1 && b.fate == UPLOAD_REFUSED);
    wish(u, "phone-1", &a);
    queue_wait(r.q);
    CHECK_INT(2, provider.uploads);
    report(OUTCOME_SENT, "200", "id-1", 60000);
    CHECK_STR("id-1", a.id);
    (void)redis_do(&r.server, "DEL pl:media:%s", sha('a'));
    struct media_cache *empty = media_cache_new(r.q, 1 << 20);
    struct uploads *neighbour = uploads_new(r.q, empty);
    queue_wait(r.q);
    (void)redis_do(&r.server, "DEL pl:upload:cloud:phone-1:%s", sha('a'));
    wish(neighbour, "phone-1", &b);
    queue_wait(r.q);
    CHECK(b.times == 1 && b.fate == UPLOAD_CONTENT && b.content == CONTENT_MISSING);
    rig_stop(&r);
    uploads_free(u);
    uploads_free(neighbour);
    media_cache_free(m);
    media_cache_free(empty);
}

TEST(a_refused_id_is_dropped_once_and_a_new_one_is_not_blamed)
{
    rig_start(&r);
    put('a', 300);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct uploads *u = uploads_new(r.q, m);
    struct answered x;
    (void)redis_do(&r.server, "SET pl:upload:cloud:phone-1:%s old-id", sha('a'));
    wish(u, "phone-1", &x);
    queue_wait(r.q);
    CHECK_STR("old-id", x.id);
    CHECK(upload_refused(u, "cloud", "phone-1", sha('a'), "old-id"));
    queue_wait(r.q);
    CHECK_INT(0, redis_num(&r.server, "EXISTS pl:upload:cloud:phone-1:%s", sha('a')));
    wish(u, "phone-1", &x);
    queue_wait(r.q);
    CHECK_INT(1, provider.uploads);
    report(OUTCOME_SENT, "200", "new-id", 60000);
    CHECK_STR("new-id", x.id);
    CHECK(upload_refused(u, "cloud", "phone-1", sha('a'), "old-id")); /* of a slower message */
    CHECK(!upload_refused(u, "cloud", "phone-1", sha('a'), "new-id"));
    queue_wait(r.q);
    CHECK_STR("new-id", redis_do(&r.server, "GET pl:upload:cloud:phone-1:%s", sha('a')));
    rig_stop(&r);
    uploads_free(u);
    media_cache_free(m);
}

TEST(many_ids_do_not_fill_the_memory)
{
    rig_start(&r);
    struct media_cache *m = media_cache_new(r.q, 1 << 20);
    struct uploads *u = uploads_new(r.q, m);
    struct answered x;
    char ref[32];
    for (int i = 0; i < 30000; i++) {
        (void)snprintf(ref, sizeof ref, "phone-%d", i);
        wish(u, ref, &x);
        if (i % 1000 == 999) {
            queue_wait(r.q);
        }
        x = (struct answered){0};
    }
    queue_wait(r.q); /* all were missing */
    CHECK_INT(0, provider.uploads);
    rig_stop(&r);
    uploads_free(u);
    media_cache_free(m);
}
