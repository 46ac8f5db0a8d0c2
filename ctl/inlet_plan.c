#include "ctl/inlet_plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <xxhash.h>

enum { NAME_CHARS = 190, LABEL_BYTES = 64 };

/* --- members -------------------------------------------------------------------------- */

/* Sets *ret to the text of a member, "" when it is missing or null. */
static bool
text_of(const json_t *object, const char *key, const char *where, const char **ret, struct err *e)
{
    const json_t *v = json_object_get(object, key);
    *ret = "";
    if (v && !json_is_null(v) && !json_is_string(v)) {
        return err_set(e, ERR_INPUT, "%s%s: a text is wanted", where, key);
    }
    if (json_is_string(v)) {
        *ret = json_string_value(v);
    }
    return true;
}

void
inlet_row_refuse(struct inlet_row *row, enum inlet_fate fate, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    row->fate = fate;
    (void)vsnprintf(row->why, sizeof row->why, fmt, ap);
    va_end(ap);
}

/* --- the whole message ---------------------------------------------------------------- */

/* What render.h reads as syntax becomes the characters themselves. */
static void
escape(const char *text, struct buf *out)
{
    while (*text) {
        size_t n = strcspn(text, "\\{}|");
        buf_add(out, text, n);
        text += n;
        if (*text) {
            buf_adds(out, "\\");
            buf_add(out, text++, 1);
        }
    }
}

static bool
read_content(const json_t *root, struct inlet_plan *p, struct err *e)
{
    const char *type, *body;
    if (!text_of(root, "content_type", "", &type, e) || !text_of(root, "body", "", &body, e)) {
        return false;
    }
    if (*type && strcmp(type, "plain") != 0) { /* listmonk makes HTML of Markdown before it posts */
        return err_set(e, ERR_REFUSED,
                       "content_type: '%.20s' arrives as HTML, and messages are plain text: "
                       "choose the format Plain text in listmonk",
                       type);
    }
    if (json_array_size(json_object_get(root, "attachments"))) {
        return err_set(e, ERR_REFUSED,
                       "attachments: they cannot be sent: take them off, or put a link into the "
                       "text");
    }
    escape(body, &p->content);
    if (!p->content.len) {
        return err_set(e, ERR_REFUSED, "body: it is empty");
    }
    return p->content.len <= INLET_CONTENT_MAX ||
           err_set(e, ERR_REFUSED,
                   "body: %zu bytes, its braces escaped; a message has at most %d: shorten it",
                   p->content.len, INLET_CONTENT_MAX);
}

/* --- one recipient -------------------------------------------------------------------- */

static void
hash_text(XXH3_state_t *h, const char *text)
{
    char length[24]; /* so that ("ab", "c") is not ("a", "bc") */
    int n = snprintf(length, sizeof length, "%zu:", strlen(text));
    (void)XXH3_128bits_update(h, length, (size_t)n);
    (void)XXH3_128bits_update(h, text, strlen(text));
}

static void
make_job_id(const struct inlet_settings *s, const char *campaign, const char *recipient,
            const char *body, char out[JOB_ID_SIZE])
{
    XXH3_state_t *h = XXH3_createState();
    (void)XXH3_128bits_reset_withSeed(h, s->user);
    hash_text(h, campaign);
    hash_text(h, recipient);
    hash_text(h, *campaign ? "" : body);
    XXH128_hash_t sum = XXH3_128bits_digest(h);
    (void)XXH3_freeState(h);
    (void)snprintf(out, JOB_ID_SIZE, "lm-%016" PRIx64 "%016" PRIx64, (uint64_t)sum.high64,
                   (uint64_t)sum.low64);
}

/* The first characters of a valid UTF-8 text. */
static char *
cut(const char *text, size_t chars)
{
    const char *p = text;
    for (; *p; p++) {
        if (((unsigned char)*p & 0xc0) != 0x80 && chars-- == 0) {
            break;
        }
    }
    return xstrndup(text, (size_t)(p - text));
}

/* The phone may have been typed into listmonk as a number. */
static void
take_phone(const struct inlet_settings *s, const json_t *attribs, struct inlet_row *row)
{
    const json_t *v = json_object_get(attribs, s->phone_attribute);
    char number[24];
    struct err e = {0};
    const char *text = json_string_value(v);
    if (json_is_integer(v)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        text = number;
    }
    if (!text || !*text) {
        inlet_row_refuse(row, INLET_BAD, "no phone: attribs.%.40s is %s", s->phone_attribute,
                         v && !json_is_null(v) && !text ? "no text" : "missing");
    } else if (!phone_normalise(text, strlen(text), s->country, row->phone, &e)) {
        inlet_row_refuse(row, INLET_BAD, "attribs.%.20s: %.100s", s->phone_attribute, e.text);
    }
}

static bool
read_recipient(const struct inlet_settings *s, const json_t *v, size_t at, struct inlet_row *row,
               const char **ret_uuid, struct err *e)
{
    char where[40];
    const char *email, *name, *status, *device = "";
    (void)snprintf(where, sizeof where, "recipients[%zu].", at);
    if (!json_is_object(v)) {
        return err_set(e, ERR_INPUT, "recipients[%zu]: an object is wanted", at);
    }
    const json_t *attribs = json_object_get(v, "attribs");
    if (attribs && !json_is_null(attribs) && !json_is_object(attribs)) {
        return err_set(e, ERR_INPUT, "%sattribs: an object is wanted", where);
    }
    if (!text_of(v, "uuid", where, ret_uuid, e) || !text_of(v, "email", where, &email, e) ||
        !text_of(v, "name", where, &name, e) || !text_of(v, "status", where, &status, e)) {
        return false;
    }
    const json_t *named = json_object_get(attribs, "device");
    char number[24];
    if (json_is_integer(named)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(named));
        device = number;
    } else if (json_is_string(named)) {
        device = json_string_value(named);
    }
    row->label = **ret_uuid ? cut(*ret_uuid, LABEL_BYTES)
                 : *email   ? cut(email, LABEL_BYTES)
                            : xasprintf("#%zu", at + 1);
    row->name = cut(name, NAME_CHARS);
    row->device = *device ? cut(device, NAME_CHARS) : NULL;
    if (*status && strcmp(status, "enabled") != 0) {
        inlet_row_refuse(row, INLET_SKIPPED, "its status is %.40s", status);
    } else {
        take_phone(s, attribs, row);
    }
    return true;
}

static bool
read_recipients(const struct inlet_settings *s, const json_t *root, struct inlet_plan *p,
                struct err *e)
{
    const json_t *list = json_object_get(root, "recipients"), *campaign;
    const char *campaign_uuid = "", *uuid, *body;
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0) {
        return err_set(e, ERR_INPUT, "recipients: a list of at least one is wanted");
    }
    if (n > INLET_RECIPIENTS_MAX) {
        return err_set(e, ERR_FULL,
                       "recipients: %zu in one request; at most %d: post them in parts", n,
                       INLET_RECIPIENTS_MAX);
    }
    campaign = json_object_get(root, "campaign");
    if (campaign && !json_is_null(campaign) && !json_is_object(campaign)) {
        return err_set(e, ERR_INPUT, "campaign: an object is wanted, or null");
    }
    if (!text_of(campaign, "uuid", "campaign.", &campaign_uuid, e) ||
        !text_of(root, "body", "", &body, e)) {
        return false;
    }
    p->rows = xcalloc(n, sizeof *p->rows);
    for (; p->n < n; p->n++) {
        struct inlet_row *row = &p->rows[p->n];
        if (!read_recipient(s, json_array_get(list, p->n), p->n, row, &uuid, e)) {
            return false;
        }
        row->planned = row->fate == INLET_WRITE;
        make_job_id(s, campaign_uuid, *uuid ? uuid : row->phone, body, row->job_id);
    }
    return true;
}

/* --- the request ---------------------------------------------------------------------- */

bool
inlet_plan(const struct inlet_settings *s, const char *bytes, size_t len, struct inlet_plan *ret,
           struct err *e)
{
    json_error_t why;
    *ret = (struct inlet_plan){0};
    json_t *root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        return err_set(e, ERR_INPUT, "no JSON, at %d:%d: %s", why.line, why.column, why.text);
    }
    bool ok = json_is_object(root)
                  ? read_content(root, ret, e) && read_recipients(s, root, ret, e)
                  : err_set(e, ERR_INPUT, "an object is wanted, as listmonk posts it");
    json_decref(root);
    return ok;
}

void
inlet_plan_done(struct inlet_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->rows[i].label);
        free(p->rows[i].name);
        free(p->rows[i].device);
    }
    free(p->rows);
    buf_done(&p->content);
    *p = (struct inlet_plan){0};
}
