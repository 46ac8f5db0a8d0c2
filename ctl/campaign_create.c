#include "ctl/campaign_create.h"

#include "ctl/ctl.h"
#include "shared/clock.h"
#include "shared/render.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONTENT_MAX = 65535,
    NAME_BYTES = 190,
    WORD_BYTES = 64,
    DUPLICATE = 1062,
    START_PAST_S = 600
};

#define FLAG(name) offsetof(struct campaign_create_flags, name)

const struct flag campaign_create_flags[] = {
    {"content", FLAG_TEXT, FLAG(content), NULL, NULL,
     "The message: {{name|default}}, {name}, spintax {Hi|Hello}. This or --content-file; neither "
     "is "
     "needed beside a medium or a template.",
     false},
    {"content-file", FLAG_TEXT, FLAG(content_file), "FILE", NULL,
     "The message from a file, without its last line end.", false},
    DEFINE_MESSAGE_FLAGS(struct campaign_create_flags),
    {"devices", FLAG_TEXT, FLAG(devices), "A,B,C|all", NULL,
     "Whose leads get it: names or ids, or all of the user's.", true},
    {"niche", FLAG_TEXT, FLAG(niche), NULL, NULL, "Only leads of this niche.", false},
    {"target-status", FLAG_TEXT, FLAG(target_status), NULL, NULL, "Only leads with this status.",
     false},
    {"start", FLAG_TIME, FLAG(start), NULL, NULL,
     "When to start, in UTC; without it the campaign stays a draft.", false},
    {"gap", FLAG_GAP, FLAG(gap), NULL, NULL,
     "Pause between two messages of a device, instead of the device's own.", false},
    {"batch", FLAG_BATCH, FLAG(batch), NULL, NULL,
     "A longer pause after so many, instead of the device's own.", false},
    {"max-lateness", FLAG_MS, FLAG(max_lateness), "1s..3650d", NULL,
     "A message that is later than this is skipped; without it none is too late.", false},
    {"max-attempts", FLAG_INT, FLAG(max_attempts), "1..1000", "5", "How often a message is tried.",
     false},
    {"on-unknown", FLAG_WORD, FLAG(on_unknown), "hold|resend|assume_sent", "hold",
     "When nobody can know whether a message was sent: wait for a decision, risk a second one, or "
     "count it as sent.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct create {
    struct ctl *c;
    const struct campaign_create_flags *flags;
    const char *name;
    struct buf content;
    struct define_message parts;
    struct buf devices; /* "1, 2, 3"; empty: all */
    uint64_t id, n_devices;
};

/* --- what is asked for ---------------------------------------------------------------- */

static bool
read_file(const char *path, struct buf *out, struct err *e)
{
    char block[8192];
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && out->len <= CONTENT_MAX + 1 && (n = read(fd, block, sizeof block)) > 0) {
        buf_add(out, block, (size_t)n);
    }
    int code = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (fd < 0 || n < 0) {
        return err_set(e, ERR_INPUT, "--content-file %.200s: %s", path, strerror(code));
    }
    if (out->len && out->data[out->len - 1] == '\n') {
        out->data[--out->len] = '\0';
    }
    return true;
}

static bool
read_content(struct create *k, struct err *e)
{
    const struct campaign_create_flags *f = k->flags;
    bool parts = define_message_has(&f->parts);
    if (!f->content == !f->content_file && (f->content || !parts)) {
        return err_set(e, ERR_INPUT,
                       "give the message with either --content or --content-file, or a medium or "
                       "--template instead");
    }
    if (f->content_file && !read_file(f->content_file, &k->content, e)) {
        return false;
    }
    buf_adds(&k->content, f->content ? f->content : "");
    const char *where = f->content_file ? f->content_file : "--content";
    if (!k->content.len && parts) {
        buf_adds(&k->content, "");
        return true;
    }
    if (!k->content.len) {
        return err_set(e, ERR_INPUT, "%.200s: the message is empty", where);
    }
    if (!render_check(k->content.data, k->content.len, e)) {
        return err_wrap(e, "%.200s", where);
    }
    return k->content.len <= CONTENT_MAX ||
           err_set(e, ERR_INPUT, "%.200s: the message has more than %d bytes", where, CONTENT_MAX);
}

static bool
check_words(const struct create *k, struct err *e)
{
    const char *niche = k->flags->niche ? k->flags->niche : "";
    const char *status = k->flags->target_status ? k->flags->target_status : "";
    size_t n = strlen(k->name);
    if (!n || n > NAME_BYTES || render_bad_utf8(k->name, n) < n) {
        return err_set(e, ERR_INPUT, "a campaign's name has 1 to %d bytes of UTF-8", NAME_BYTES);
    }
    if (strlen(niche) > WORD_BYTES || strlen(status) > WORD_BYTES) {
        return err_set(e, ERR_INPUT, "--niche and --target-status have at most %d bytes",
                       WORD_BYTES);
    }
    return true;
}

static bool
read_devices(struct create *k, struct err *e)
{
    struct found device;
    if (strcmp(k->flags->devices, "all") == 0) {
        return true;
    }
    for (const char *p = k->flags->devices; *p;) {
        size_t n = strcspn(p, ",");
        const char *from = p, *end = p + n;
        p = end + (*end == ',');
        while (from < end && isspace((unsigned char)*from)) {
            from++;
        }
        while (end > from && isspace((unsigned char)end[-1])) {
            end--;
        }
        if (from == end) {
            continue;
        }
        char *name = xstrndup(from, (size_t)(end - from));
        bool ok = ctl_find_device(k->c, name, &device, e);
        free(name);
        if (!ok) {
            return false;
        }
        buf_addf(&k->devices, "%s%" PRIu64, k->devices.len ? ", " : "", device.id);
    }
    return k->devices.len || err_set(e, ERR_INPUT, "--devices names no device; write A,B,C or all");
}

/* --- the rows ------------------------------------------------------------------------- */

static void
put_value(struct sql *q, const char *assign, int64_t v)
{
    if (v != FLAG_UNSET) {
        sql_text(q, assign);
        sql_int(q, v);
    }
}

static void
campaign_sql(const struct create *k, struct sql *q)
{
    const struct campaign_create_flags *f = k->flags;
    sql_addf(
        q,
        "INSERT INTO campaigns SET user_id = %" PRIu64
        ", created_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3), name = %s, niche = %s, "
        "target_status = %s, on_unknown = %s, max_attempts = %" PRId64 ", content = ",
        k->c->user_id, k->name, f->niche ? f->niche : "", f->target_status ? f->target_status : "",
        f->on_unknown, f->max_attempts);
    sql_bytes(q, k->content.data, k->content.len);
    define_message_sql(&k->parts, q);
    put_value(q, ", min_gap_ms = ", f->gap.a);
    put_value(q, ", max_gap_ms = ", f->gap.b);
    put_value(q, ", batch_size = ", f->batch.a);
    put_value(q, ", batch_pause_ms = ", f->batch.b);
    if (f->max_lateness != FLAG_UNSET) {
        put_value(q, ", max_lateness_s = ", (f->max_lateness + 999) / 1000);
    }
    if (f->start == FLAG_NOW) {
        sql_text(q, ", status = 'scheduled', scheduled_at = UTC_TIMESTAMP(3)");
    } else if (f->start != FLAG_UNSET) { /* the session's zone is UTC */
        sql_addf(q, ", status = 'scheduled', scheduled_at = FROM_UNIXTIME(%" PRId64 ")", f->start);
    }
}

static bool
insert_body(struct store *s, void *arg, struct err *e)
{
    struct create *k = arg;
    struct sql q = {0};
    campaign_sql(k, &q);
    bool ok =
        define_message_hold(s, k->c->user_id, &k->parts, e) && store_exec(s, &q, NULL, &k->id, e);
    sql_clear(&q);
    if (ok) {
        sql_addf(&q,
                 "INSERT INTO campaign_devices (campaign_id, device_id) SELECT %" PRIu64
                 ", id FROM devices WHERE user_id = %" PRIu64 " AND status <> 'removed'",
                 k->id, k->c->user_id);
        if (k->devices.len) {
            sql_text(&q, " AND id IN (");
            buf_add(&q.text, k->devices.data, k->devices.len);
            sql_text(&q, ")");
        }
        ok = store_exec(s, &q, &k->n_devices, NULL, e) &&
             (k->n_devices ||
              err_set(e, ERR_GONE,
                      "the user has no such devices: add some with paceline device add"));
    }
    sql_done(&q);
    return ok;
}

/* A wrong year would begin at once.  What is late by minutes was typed a moment ago. */
static bool
check_start(const struct create *k, struct err *e)
{
    int64_t start = k->flags->start;
    return start == FLAG_UNSET || start == FLAG_NOW ||
           start > clock_wall_ms() / 1000 - START_PAST_S ||
           err_set(e, ERR_INPUT, "--start: that time is past; write now to start at once");
}

static int
create(struct create *k)
{
    struct err e = {0};
    struct ctl *c = k->c;
    if (!check_start(k, &e) || !check_words(k, &e) || !read_content(k, &e) ||
        !ctl_user(c, false, &e) || !read_devices(k, &e) ||
        !define_message_flags(c, &k->flags->parts, k->content.len > 0, &k->parts, &e)) {
        return ctl_fail(&e);
    }
    if (!store_transact(c->store, insert_body, k, &e)) {
        return store_code(c->store) == DUPLICATE
                   ? ctl_refuse("there is a campaign '%s' already", k->name)
                   : ctl_fail(&e);
    }
    bool draft = k->flags->start == FLAG_UNSET;
    struct doc *d = doc_object();
    doc_put_id(d, "id", k->id);
    doc_put_str(d, "name", k->name);
    doc_put_str(d, "status", draft ? "draft" : "scheduled");
    doc_put_int(d, "devices", (int64_t)k->n_devices);
    output_said(&c->out, d,
                "campaign %s created with id %" PRIu64 " for %" PRIu64 " device%s; it is %s%s",
                k->name, k->id, k->n_devices, k->n_devices == 1 ? "" : "s",
                draft ? "a draft: paceline campaign start " : "scheduled", draft ? k->name : "");
    return CTL_OK;
}

int
campaign_create(struct ctl *c, const struct args *a)
{
    struct create k = {.c = c, .flags = a->flags, .name = a->operands[0]};
    int code = create(&k);
    buf_done(&k.content);
    define_message_done(&k.parts);
    buf_done(&k.devices);
    return code;
}
