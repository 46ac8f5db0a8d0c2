#include "ctl/media_store.h"

#include "shared/fault.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* PIECE: escaped at most twice as long, below MySQL 5.7's max_allowed_packet of 4 MB. */
enum { PIECE = 1 << 20, DUPLICATE = 1062 };

static bool
hash(const void *p, size_t n, char out[MEDIA_SHA_SIZE], struct err *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(p, n, digest, &len, EVP_sha256(), NULL) != 1 || len != 32) {
        return err_set(e, ERR_RETRY, "libcrypto cannot hash the content");
    }
    for (unsigned i = 0; i < len; i++) {
        (void)snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
    }
    return true;
}

struct adding {
    uint64_t user;
    const char *p;
    size_t n;
    const struct media_ref *m;
};

static bool
insert_pieces(struct store *s, const struct adding *a, uint64_t id, struct err *e)
{
    struct sql q = {0};
    bool ok = true;
    for (size_t i = 0; ok && i * PIECE < a->n; i++) {
        size_t left = a->n - i * PIECE;
        sql_clear(&q);
        sql_addf(&q,
                 "INSERT INTO media_pieces SET media_id = %" PRIu64 ", position = %d, content = ",
                 id, (int)i);
        sql_bytes(&q, a->p + i * PIECE, left < PIECE ? left : PIECE);
        ok = store_exec(s, &q, NULL, NULL, e);
    }
    sql_done(&q);
    return ok;
}

static bool
add_body(struct store *s, void *arg, struct err *e)
{
    const struct adding *a = arg;
    struct sql q = {0};
    uint64_t id = 0;
    sql_addf(&q,
             "INSERT INTO media SET user_id = %" PRIu64 ", sha256 = %s, mime = %s, size = %" PRId64
             ", filename = %s, created_at = UTC_TIMESTAMP(3)",
             a->user, a->m->sha256, a->m->mime, a->m->size, a->m->filename);
    bool ok = store_exec(s, &q, NULL, &id, e) && insert_pieces(s, a, id, e);
    sql_done(&q);
    if (ok) {
        FAULT("media.inserted");
    }
    return ok;
}

static bool
gone(struct err *e)
{
    return err_set(e, ERR_GONE,
                   "the user has no such content; store it with paceline media add, or name a file "
                   "or a URL");
}

static bool
find(struct ctl *c, struct media_ref *m, bool *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT mime, size FROM media WHERE user_id = %" PRIu64 " AND sha256 = %s",
                      c->user_id, m->sha256)) {
        return false;
    }
    *ret = rows_next(&r);
    if (*ret) {
        (void)snprintf(m->mime, sizeof m->mime, "%s", rows_str(&r, 0));
        m->size = rows_int(&r, 1);
    }
    rows_done(&r);
    return true;
}

/* Which type it has was decided when it came first. */
static bool
fits(const struct media_ref *m, struct err *e)
{
    return media_kind_takes(m->kind, m->mime) ||
           err_set(e, ERR_INPUT, "the content is %s, not %s", m->mime, media_kind_noun(m->kind));
}

bool
media_store_find(struct ctl *c, struct media_ref *m, struct err *e)
{
    bool there;
    return find(c, m, &there, e) && (there || gone(e)) && fits(m, e);
}

bool
media_store_add(struct ctl *c, const void *p, size_t n, struct media_ref *m, bool *ret_new,
                struct err *e)
{
    struct adding a = {c->user_id, p, n, m};
    bool there;
    m->size = (int64_t)n;
    if (!hash(p, n, m->sha256, e) || !find(c, m, &there, e)) {
        return false;
    }
    *ret_new = !there;
    if (there) {
        return fits(m, e);
    }
    if (!store_transact(c->store, add_body, &a, e) && store_code(c->store) != DUPLICATE) {
        return err_wrap(e, "storing the content");
    }
    FAULT("media.stored");
    return true;
}

bool
media_store_hold(struct store *s, uint64_t user, const char *sha256, struct err *e)
{
    struct rows r;
    if (!store_queryf(s, &r, e,
                      "SELECT id FROM media WHERE user_id = %" PRIu64
                      " AND sha256 = %s LOCK IN SHARE MODE",
                      user, sha256)) {
        return false;
    }
    bool there = rows_next(&r);
    rows_done(&r);
    return there || gone(e);
}
