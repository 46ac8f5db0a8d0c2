#include "producer/dispatch_media.h"

#include "producer/dispatch_internal.h"
#include "shared/approved.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REST_MS = 2000, GONE_MS = 60000 };

void
parts_done(struct parts *p)
{
    buf_done(&p->media);
    buf_done(&p->template_json);
    *p = (struct parts){0};
}

/* --- what is named -------------------------------------------------------------------- */

/* Its number + 1, or 0. */
static size_t
find_stored(const struct pass *x, uint64_t user, const char *sha256)
{
    for (size_t i = 0; i < x->n_stored; i++) {
        if (x->stored[i].user == user && strcmp(x->stored[i].sha256, sha256) == 0) {
            return i + 1;
        }
    }
    return 0;
}

void
media_note(struct pass *x, uint64_t user, const char *json)
{
    struct media_ref m;
    if (!json || !media_parse(json, strlen(json), true, &m, NULL) || !*m.sha256 ||
        find_stored(x, user, m.sha256)) {
        return;
    }
    VEC_GROW(x->stored, x->n_stored, x->cap_stored);
    struct stored *s = &x->stored[x->n_stored++];
    *s = (struct stored){.user = user};
    memcpy(s->sha256, m.sha256, sizeof s->sha256);
}

static void
take_stored(struct pass *x, const struct rows *r)
{
    size_t k = find_stored(x, rows_uint(r, 1), rows_str(r, 2));
    if (k) {
        struct stored *s = &x->stored[k - 1];
        s->id = rows_uint(r, 0);
        s->size = rows_int(r, 4);
        (void)snprintf(s->mime, sizeof s->mime, "%s", rows_str(r, 3));
    }
}

bool
media_look_up(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    size_t n = 0;
    for (size_t i = 0; i < x->n_stored; i++) {
        const struct stored *s = &x->stored[i];
        if (!s->looked) {
            sql_text(&q, n++ ? " OR " : "SELECT id, user_id, sha256, mime, size FROM media WHERE ");
            sql_addf(&q, "(user_id = %" PRIu64 " AND sha256 = %s)", s->user, s->sha256);
        }
    }
    bool ok = !n || store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    while (ok && n && rows_next(&r)) {
        take_stored(x, &r);
    }
    for (size_t i = 0; ok && i < x->n_stored; i++) {
        x->stored[i].looked = true;
    }
    rows_done(&r);
    return ok;
}

static bool
read_media(struct pass *x, uint64_t user, const char *json, struct parts *ret, struct err *e)
{
    struct media_ref m;
    if (!media_parse(json, strlen(json), true, &m, e)) {
        return false;
    }
    if (*m.sha256) {
        ret->stored = find_stored(x, user, m.sha256);
        const struct stored *s = ret->stored ? &x->stored[ret->stored - 1] : NULL;
        if (!s || !s->id) {
            return err_set(e, ERR_INPUT,
                           "media.sha256: the user has no such content: paceline media add");
        }
        if (!media_kind_takes(m.kind, s->mime)) {
            return err_set(e, ERR_INPUT, "media.type: the content is %s, not %s", s->mime,
                           media_kind_noun(m.kind));
        }
        m.size = s->size;
        (void)snprintf(m.mime, sizeof m.mime, "%s", s->mime);
    }
    media_write(&m, &ret->media);
    return true;
}

static bool
read_template(const char *json, struct parts *ret, struct err *e)
{
    struct approved a;
    bool ok = approved_parse(json, strlen(json), true, &a, e);
    approved_done(&a);
    buf_adds(&ret->template_json, json);
    return ok;
}

void
parts_read(struct pass *x, uint64_t user, const char *media, const char *template_json,
           struct parts *ret)
{
    struct err e = {0};
    *ret = (struct parts){.why = REFUSE_NOT};
    if ((media && !read_media(x, user, media, ret, &e)) ||
        (template_json && !read_template(template_json, ret, &e))) {
        ret->why = REFUSE_PARTS;
        (void)snprintf(ret->text, sizeof ret->text, "%.150s", e.text);
    }
}

/* --- contents in Redis ---------------------------------------------------------------- */

struct told {
    bool failed;
};

static void
on_told(void *arg, const struct err *e)
{
    struct told *t = arg;
    t->failed = e != NULL;
}

/* Piece by piece, for the server's max_allowed_packet. */
static bool
load(struct producer *p, uint64_t id, int64_t size, struct buf *out, struct err *e)
{
    struct rows r;
    buf_reserve(out, (size_t)size);
    for (int i = 0; out->len < (size_t)size; i++) {
        size_t before = out->len;
        if (!store_queryf(p->db, &r, e,
                          "SELECT content FROM media_pieces WHERE media_id = %" PRIu64
                          " AND position = %d",
                          id, i)) {
            return false;
        }
        if (rows_next(&r)) {
            buf_add(out, r.field[0], r.length[0]);
        }
        rows_done(&r);
        if (out->len == before) {
            break;
        }
    }
    return true;
}

/* *ret: Redis has taken it, or knows that nobody will bring it: of one that is broken here workers
 * are told that it is gone, so that its messages fail with that reason rather than stand for ever
 * in front of their devices' others. */
static bool
put(struct producer *p, uint64_t user, uint64_t id, const char *sha256, int64_t size, bool *ret,
    struct err *e)
{
    struct buf content = {0};
    struct told t = {0};
    *ret = false;
    if (!load(p, id, size, &content, e)) {
        buf_done(&content);
        return false;
    }
    if (content.len == (size_t)size && size) {
        queue_media_put(p->q, sha256, content.data, content.len, p->s->media_keep, on_told, &t);
        queue_wait(p->q);
        FAULT("dispatch.medium");
    } else {
        queue_media_gone(p->q, user, sha256, GONE_MS, on_told, &t);
        queue_wait(p->q);
        log_error("media_broken", "sha256", LOG_S(sha256), "size", LOG_I(size), "found",
                  LOG_I(content.len), "cure", LOG_S("remove it and add it again"));
    }
    *ret = !t.failed;
    buf_done(&content);
    return true;
}

struct look {
    struct stored *s;
    struct queue_medium m;
    struct told told;
};

static bool
put_or_keep(struct producer *p, struct look *l, struct err *e)
{
    bool taken = !l->told.failed;
    if (taken && l->m.left_ms == 0 &&
        !put(p, l->s->user, l->s->id, l->s->sha256, l->s->size, &taken, e)) {
        return false;
    }
    if (taken && l->m.left_ms && l->m.left_ms < p->s->media_keep / 2) {
        queue_media_keep(p->q, l->s->sha256, p->s->media_keep, NULL, NULL);
    }
    l->s->ready = taken;
    l->s->bad = !taken;
    return true;
}

static void
mark_needed(struct pass *x)
{
    for (size_t i = 0; i < x->n_items; i++) {
        size_t k = x->item_stored[x->items[i].order];
        if (k) {
            x->stored[k - 1].needed = true;
        }
    }
}

static void
skip_bad(struct pass *x)
{
    for (size_t i = 0; i < x->n_items; i++) {
        size_t k = x->item_stored[x->items[i].order];
        if (k && x->stored[k - 1].bad) {
            x->items[i].skip = true; /* unstaged: the row goes back */
            dispatch_rest(x->p, x->items[i].device, REST_MS);
        }
    }
}

bool
media_ensure(struct pass *x, struct err *e)
{
    if (!x->n_stored) {
        return true;
    }
    struct look *looks = xcalloc(x->n_stored, sizeof *looks);
    size_t n = 0;
    bool ok = true;
    mark_needed(x);
    for (size_t i = 0; i < x->n_stored; i++) {
        struct stored *s = &x->stored[i];
        if (s->needed && !s->ready) {
            struct look *l = &looks[n++];
            l->s = s;
            memcpy(l->m.sha256, s->sha256, sizeof l->m.sha256);
            queue_media_look(x->p->q, &l->m, on_told, &l->told);
        }
    }
    queue_wait(x->p->q);
    for (size_t i = 0; ok && i < n; i++) {
        ok = put_or_keep(x->p, &looks[i], e);
    }
    queue_wait(x->p->q);
    free(looks);
    skip_bad(x);
    return ok;
}

void
media_done(struct pass *x)
{
    free(x->stored);
}

/* --- what workers miss ---------------------------------------------------------------- */

static bool
restore_one(struct producer *p, uint64_t user, const char *sha256, struct err *e)
{
    struct rows r;
    bool taken = true;
    if (!store_queryf(p->db, &r, e,
                      "SELECT id, size FROM media WHERE user_id = %" PRIu64 " AND sha256 = %s",
                      user, sha256)) {
        return false;
    }
    bool there = rows_next(&r);
    uint64_t id = there ? rows_uint(&r, 0) : 0;
    int64_t size = there ? rows_int(&r, 1) : 0;
    rows_done(&r);
    if (there && !put(p, user, id, sha256, size, &taken, e)) {
        return false;
    }
    if (!there) {
        queue_media_gone(p->q, user, sha256, GONE_MS, NULL, NULL);
        queue_wait(p->q);
    }
    log_info("media_restored", "sha256", LOG_S(sha256), "there", LOG_I(there), "taken",
             LOG_I(taken));
    return true;
}

/* What is taken here and not put back, because this process dies, is missed and told again. */
bool
media_restore(struct producer *p, struct err *e)
{
    struct queue_wanted w;
    queue_media_wanted(p->q, &w, NULL, NULL);
    queue_wait(p->q);
    for (size_t i = 0; i < w.n; i++) {
        if (!restore_one(p, w.items[i].user, w.items[i].sha256, e)) {
            return false;
        }
    }
    return true;
}
