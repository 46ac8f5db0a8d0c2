/* cmd_media.c -- contents of media, as the user's definitions name them. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/media_input.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HASH_LEAST = 6 };

/* --- add ------------------------------------------------------------------------------ */

struct add_flags {
    const char *type, *filename;
};
static const struct flag add_flags[] = {
    {"type", FLAG_WORD, offsetof(struct add_flags, type), "image|video|audio|document", NULL,
     "What kind it is, where its name does not tell.", false},
    {"filename", FLAG_TEXT, offsetof(struct add_flags, filename), NULL, NULL,
     "A document's name as recipients see it.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

/* "data:image/png;..": its type tells. */
static bool
kind_by_source(const char *source, enum media_kind *ret)
{
    char word[16];
    if (strncmp(source, "data:", 5) != 0) {
        return media_kind_by_name(source, ret);
    }
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(source + 5, "/,;"), source + 5);
    if (!media_kind_parse(word, ret)) {
        *ret = MEDIA_DOCUMENT;
    }
    return true;
}

static bool
read_flags(const struct add_flags *f, const char *source, struct media_ref *m, struct err *e)
{
    if (f->type ? !media_kind_parse(f->type, &m->kind) : !kind_by_source(source, &m->kind)) {
        return err_set(e, ERR_INPUT,
                       "its name does not tell what it is; say so with --type=image, video, audio "
                       "or document");
    }
    if (f->filename && !media_filename_is_good(f->filename)) {
        return err_set(e, ERR_INPUT, "--filename: has to be a name in one line, without / and \\");
    }
    (void)snprintf(m->filename, sizeof m->filename, "%s", f->filename ? f->filename : "");
    return (strncmp(source, "link:", 5) != 0 && strncmp(source, "sha256:", 7) != 0) ||
           err_set(e, ERR_INPUT,
                   "a file, a URL or a data: URL is wanted; there is nothing to store");
}

static int
add(struct ctl *c, const struct args *a)
{
    struct err e = {0};
    struct media_ref m = {0};
    bool fresh;
    if (!read_flags(a->flags, a->operands[0], &m, &e) || !ctl_user(c, true, &e) ||
        !media_input(c, a->operands[0], true, &m, &fresh, &e)) {
        return ctl_fail(&e);
    }
    struct doc *d = doc_object();
    doc_put_str(d, "sha256", m.sha256);
    doc_put_str(d, "type", media_kind_name(m.kind));
    doc_put_str(d, "mime", m.mime);
    doc_put_int(d, "size", m.size);
    doc_put_bool(d, "new", fresh);
    output_said(&c->out, d, "%s, %" PRId64 " bytes, %s; name it sha256:%s", m.mime, m.size,
                fresh ? "stored" : "was stored already", m.sha256);
    return CTL_OK;
}

/* --- list and show -------------------------------------------------------------------- */

static const struct column columns[] = {
    {"sha256", "SHA256", SHOW_TEXT},     {"mime", "TYPE", SHOW_TEXT},   {"size", "BYTES", SHOW_INT},
    {"filename", "FILENAME", SHOW_TEXT}, {"added", "ADDED", SHOW_TIME}, {NULL, NULL, SHOW_TEXT},
};
#define MEDIA_COLUMNS "sha256, mime, size, filename, created_at"

static int
list(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct rows r;
    if (!ctl_user(c, false, &e) ||
        !store_queryf(c->store, &r, &e,
                      "SELECT " MEDIA_COLUMNS " FROM media WHERE user_id = %" PRIu64
                      " ORDER BY sha256",
                      c->user_id)) {
        return ctl_fail(&e);
    }
    struct doc *media = output_rows(&r, columns);
    rows_done(&r);
    output_list(&c->out, columns, media);
    return CTL_OK;
}

static const struct column use_columns[] = {
    {"kind", "USED BY", SHOW_TEXT}, {"name", "NAME", SHOW_TEXT}, {"status", "STATUS", SHOW_TEXT},
    {"open", "OPEN", SHOW_YES},     {NULL, NULL, SHOW_TEXT},
};

/* The user's one content whose hash begins like that. */
static bool
find(struct ctl *c, const char *text, uint64_t *ret_id, char ret[MEDIA_SHA_SIZE], struct err *e)
{
    struct rows r;
    const char *hash = strncmp(text, "sha256:", 7) == 0 ? text + 7 : text;
    size_t n = strlen(hash);
    if (n < HASH_LEAST || n >= MEDIA_SHA_SIZE || strspn(hash, "0123456789abcdef") != n) {
        return err_set(e, ERR_INPUT, "'%.80s' is no hash; write at least its first %d hex digits",
                       hash, HASH_LEAST);
    }
    char last[MEDIA_SHA_SIZE + 1];
    (void)snprintf(last, sizeof last, "%sg", hash); /* behind all that begin with it */
    if (!store_queryf(c->store, &r, e,
                      "SELECT id, sha256 FROM media WHERE user_id = %" PRIu64
                      " AND sha256 >= %s AND sha256 < %s LIMIT 2",
                      c->user_id, hash, last)) {
        return false;
    }
    uint64_t count = r.count;
    if (count == 1 && rows_next(&r)) {
        *ret_id = rows_uint(&r, 0);
        (void)snprintf(ret, MEDIA_SHA_SIZE, "%s", rows_str(&r, 1));
    }
    rows_done(&r);
    return count == 1 ||
           (count ? err_set(e, ERR_GONE, "more than one begins with %s; write more of it", hash)
                  : err_set(e, ERR_GONE, "user '%.60s' has no medium %s; see: paceline media list",
                            c->user, hash));
}

/* What names the content, and whether messages may still go out for it. */
static void
uses_sql(uint64_t user, const char *sha256, struct sql *q)
{
    sql_addf(
        q,
        "SELECT 'campaign', name, status, status NOT IN ('finished', 'cancelled') OR n_unknown "
        "> 0 FROM campaigns WHERE user_id = %" PRIu64
        " AND LOCATE(%s, media) UNION ALL SELECT 'sequence', CONCAT(s.name, ', step ', "
        "t.position), s.status, s.status <> 'cancelled' FROM sequences s JOIN sequence_steps t "
        "ON t.sequence_id = s.id WHERE s.user_id = %" PRIu64
        " AND LOCATE(%s, t.media) UNION ALL SELECT 'recurring', name, status, finished_at IS "
        "NULL FROM recurring_messages WHERE user_id = %" PRIu64 " AND LOCATE(%s, media) ",
        user, sha256, user, sha256, user, sha256);
    sql_addf(
        q,
        "UNION ALL SELECT 'messages', CONCAT(COUNT(*), ' of their own'), m.status, 1 FROM "
        "devices d JOIN broadcast_messages m FORCE INDEX (messages_claim) ON m.device_id = "
        "d.id AND m.status IN ('pending', 'processing', 'queued', 'unknown') WHERE d.user_id = "
        "%" PRIu64 " AND m.user_id = %" PRIu64 " AND LOCATE(%s, m.media) GROUP BY m.status",
        user, user, sha256);
}

static bool
read_uses(struct ctl *c, const char *sha256, struct doc **ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    uses_sql(c->user_id, sha256, &q);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    *ret = ok ? output_rows(&r, use_columns) : NULL;
    rows_done(&r);
    return ok;
}

static int
show(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {
        {"", NULL, columns}, {"uses", "What names it:", use_columns}, {NULL, NULL, NULL}};
    struct err e = {0};
    struct rows r = {0};
    struct doc *uses = NULL;
    char sha256[MEDIA_SHA_SIZE];
    uint64_t id;
    if (!ctl_user(c, false, &e) || !find(c, a->operands[0], &id, sha256, &e) ||
        !read_uses(c, sha256, &uses, &e) ||
        !store_queryf(c->store, &r, &e, "SELECT " MEDIA_COLUMNS " FROM media WHERE id = %" PRIu64,
                      id)) {
        doc_free(uses);
        return ctl_fail(&e);
    }
    struct doc *d = doc_object();
    if (rows_next(&r)) {
        output_row(&r, 0, columns, d);
    }
    rows_done(&r);
    doc_put(d, "uses", uses);
    output_report(&c->out, sections, d);
    return CTL_OK;
}

/* --- remove --------------------------------------------------------------------------- */

struct removal {
    struct ctl *c;
    uint64_t id;
    const char *sha256;
    struct doc *uses;
    bool used;
};

/* Definitions that are being saved hold the row (media_store_hold): they are seen, or they find it
 * gone. */
static bool
remove_body(struct store *s, void *arg, struct err *e)
{
    struct removal *m = arg;
    struct rows r;
    doc_free(m->uses);
    m->uses = NULL;
    m->used = false;
    if (!store_queryf(s, &r, e, "SELECT id FROM media WHERE id = %" PRIu64 " FOR UPDATE", m->id)) {
        return false;
    }
    rows_done(&r);
    if (!read_uses(m->c, m->sha256, &m->uses, e)) {
        return false;
    }
    for (size_t i = 0; i < doc_len(m->uses); i++) {
        m->used = m->used || doc_int(doc_get(doc_at(m->uses, i), "open"));
    }
    return m->used ||
           (store_execf(s, NULL, e, "DELETE FROM media_pieces WHERE media_id = %" PRIu64, m->id) &&
            store_execf(s, NULL, e, "DELETE FROM media WHERE id = %" PRIu64, m->id));
}

static int
refuse(const struct removal *m)
{
    const struct doc *one = NULL;
    for (size_t i = 0; i < doc_len(m->uses) && !one; i++) {
        one = doc_int(doc_get(doc_at(m->uses, i), "open")) ? doc_at(m->uses, i) : NULL;
    }
    return ctl_refuse("it is still used, by %s %s (%s); see: paceline media show %.12s",
                      doc_str(doc_get(one, "kind")), doc_str(doc_get(one, "name")),
                      doc_str(doc_get(one, "status")), m->sha256);
}

static int
remove_medium(struct ctl *c, const struct args *a)
{
    struct err e = {0};
    char sha256[MEDIA_SHA_SIZE];
    struct removal m = {.c = c, .sha256 = sha256};
    if (!ctl_user(c, false, &e) || !find(c, a->operands[0], &m.id, sha256, &e) ||
        !store_transact(c->store, remove_body, &m, &e)) {
        doc_free(m.uses);
        return ctl_fail(&e);
    }
    int code = m.used ? refuse(&m) : CTL_OK;
    if (!m.used) {
        struct doc *d = doc_object();
        doc_put_str(d, "sha256", sha256);
        doc_put_bool(d, "removed", true);
        output_said(&c->out, d, "%s is removed", sha256);
    }
    doc_free(m.uses);
    return code;
}

const struct command media_commands[] = {
    {"media", "add", "FILE|URL|data:..", 1, 1, add_flags, sizeof(struct add_flags), add,
     "Stores a picture, film, sound or document, once, for campaigns and others to name."},
    {"media", "list", "", 0, 0, NULL, 0, list, "All that the user has stored."},
    {"media", "show", "HASH", 1, 1, NULL, 0, show, "One of them, and what names it."},
    {"media", "remove", "HASH", 1, 1, NULL, 0, remove_medium,
     "Removes it, unless something still needs it."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
