#include "ctl/receipts_conf.h"

#include "shared/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AT(member) offsetof(struct receipts_section, member)
#define POINTER(name, member, help)                                                                \
    {                                                                                              \
        name, CONF_STR, AT(given.member), NULL, NULL, 0, help                                      \
    }

static const struct conf_key keys[] = {
    {"type", CONF_STR, AT(type), NULL, NULL, 0, "cloudapi, gowa, waha, evolution or json"},
    {"user", CONF_STR, AT(user), NULL, NULL, 0, "whose messages; without it --user's"},
    {"secret", CONF_STR, AT(secret), NULL, NULL, CONF_SECRET,
     "what the provider signs with: Meta's app secret"},
    {"secret_2", CONF_STR, AT(secret_2), NULL, NULL, CONF_SECRET,
     "one more that is good, while it is being changed"},
    {"secret_3", CONF_STR, AT(secret_3), NULL, NULL, CONF_SECRET, "and one more"},
    {"verify_token", CONF_STR, AT(verify_token), NULL, NULL, CONF_SECRET,
     "cloudapi: what Meta's handshake has to bring along"},
    {"signature", CONF_WORD, AT(signature), NULL, "default|hmac-sha256|hmac-sha512|token|none", 0,
     "how it is signed; none only where nobody else can reach the server"},
    {"signature_header", CONF_STR, AT(header), NULL, NULL, 0, "the header that has the signature"},
    {"signature_encoding", CONF_WORD, AT(encoding), "hex", "hex|base64", 0, "how it is written"},
    {"signature_prefix", CONF_STR, AT(prefix), NULL, NULL, 0, "what stands before it"},
    POINTER("event", event, "pointer to what tells bodies apart"),
    POINTER("receipt_event", receipt_event, "what it says of a receipt"),
    POINTER("message_event", message_event, "what it says of an answer"),
    POINTER("id", id, "pointer to the message's id, or to a list of ids"),
    POINTER("status", status, "pointer to the receipt's status"),
    POINTER("words", words, "what a status means: \"DELIVERED=delivered SEEN=read\""),
    POINTER("callback", callback, "pointer to JOB:ATTEMPT, where the provider gives it back"),
    POINTER("phone", phone, "pointer to the recipient"),
    POINTER("device", device, "pointer to the sender's instance or number"),
    POINTER("at", at, "pointer to the time of a receipt"),
    POINTER("code", code, "pointer to the code of a failure"),
    POINTER("detail", detail, "pointer to its text"),
    POINTER("message_id", message_id, "pointer to an answer's id"),
    POINTER("from", from, "pointer to who answers"),
    POINTER("text", text, "pointer to the answer"),
    POINTER("mine", mine, "pointer to true where it is no answer, but sent by the account"),
    POINTER("message_at", message_at, "pointer to the time of an answer"),
    {0},
};

/* How a type signs, unless its section says otherwise. */
static const struct {
    const char *type, *header, *prefix;
    enum receipts_signature signature;
} usual[] = {
    {"cloudapi", "X-Hub-Signature-256", "sha256=", RECEIPTS_SHA256},
    {"gowa", "X-Hub-Signature-256", "sha256=", RECEIPTS_SHA256},
    {"waha", "X-Webhook-Hmac", NULL, RECEIPTS_SHA512},
    {"evolution", "Authorization", "Bearer ", RECEIPTS_TOKEN},
    {"json", "X-Signature-256", "sha256=", RECEIPTS_SHA256},
};

static bool
fail(const struct conf_section *s, struct err *e, const char *why)
{
    return err_set(e, ERR_INPUT, "%s:%d: [receipts %.64s] %s", s->file, s->line, s->name, why);
}

/* The table of the type, and over it what the section says. */
static void
lay_over(struct receipt_shape *shape, const struct receipt_shape *given)
{
    const char **to = (const char **)shape;
    const char *const *from = (const char *const *)given;
    for (size_t i = 0; i < sizeof *shape / sizeof *to; i++) {
        to[i] = from[i] ? from[i] : to[i];
    }
}

static bool
take_signature(struct receipts_section *r, const struct conf_section *s, struct err *e)
{
    enum { DEFAULT, FIRST };
    struct receipts_key *k = &r->key;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (strcmp(usual[i].type, r->type) == 0) {
            k->signature = r->signature == DEFAULT
                               ? usual[i].signature
                               : (enum receipts_signature)(r->signature - FIRST);
            k->prefix = r->prefix ? r->prefix : r->header ? NULL : usual[i].prefix;
            r->header = r->header ? r->header : xstrdup(usual[i].header);
        }
    }
    k->encoding = (enum receipts_encoding)r->encoding;
    const char *const secrets[RECEIPTS_SECRETS] = {r->secret, r->secret_2, r->secret_3};
    for (size_t i = 0; i < RECEIPTS_SECRETS; i++) {
        k->secrets[i] = secrets[i] && *secrets[i] ? secrets[i] : NULL;
    }
    return k->secrets[0] || k->signature == RECEIPTS_UNSIGNED ||
           fail(s, e,
                "needs a secret: what the provider signs with, as env:NAME or file:PATH; or "
                "signature = none, where nobody but the provider can reach the server");
}

static bool
take_header(struct receipts_conf *c, struct receipts_section *r, const struct conf_section *s,
            struct err *e)
{
    size_t i = 0;
    while (c->headers[i] && strcasecmp(c->headers[i], r->header) != 0) {
        i++;
    }
    if (i == RECEIPTS_HEADERS) {
        return fail(s, e, "one signature_header too many: at most 8 of them");
    }
    c->headers[i] = r->header;
    r->header_at = i;
    return true;
}

static bool
is_name(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n && n <= 64 && !name[n];
}

static bool
read_section(struct receipts_conf *c, const struct conf_section *s, struct err *e)
{
    struct receipts_section *r = &c->sections[c->n++];
    if (!conf_section_apply(s, keys, r, e)) {
        return false;
    }
    r->name = s->name;
    const struct receipt_shape *shape = r->type ? receipt_shape_of(r->type) : NULL;
    if (!is_name(s->name)) {
        return fail(s, e, "is part of a path: its name has 1 to 64 of A-Z a-z 0-9 _ -");
    }
    if (!shape) {
        return fail(s, e, "needs type = cloudapi, gowa, waha, evolution or json");
    }
    bool cloudapi = strcmp(r->type, "cloudapi") == 0;
    const struct receipt_shape none = {0};
    if (cloudapi && memcmp(&r->given, &none, sizeof none) != 0) {
        return fail(s, e, "has a pointer that cloudapi does not take: its shape is known");
    }
    r->shape = *shape;
    lay_over(&r->shape, &r->given);
    r->weak = !cloudapi && !r->shape.callback;
    struct err why = {0};
    if (!cloudapi && !receipt_shape_check(&r->shape, &why)) {
        return fail(s, e, why.text);
    }
    return take_signature(r, s, e) && take_header(c, r, s, e);
}

bool
receipts_conf_read(const struct conf *c, struct receipts_conf *ret, struct err *e)
{
    *ret = (struct receipts_conf){.sections =
                                      xcalloc(c->n_sections + 1, sizeof(struct receipts_section))};
    for (size_t i = 0; i < c->n_sections; i++) {
        if (strcmp(c->sections[i].kind, "receipts") == 0 &&
            !read_section(ret, &c->sections[i], e)) {
            return false;
        }
    }
    return true;
}

void
receipts_conf_done(struct receipts_conf *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct receipts_section *s = &r->sections[i];
        char **given = (char **)&s->given;
        char *owned[] = {s->type,   s->user,     s->verify_token, s->header,
                         s->secret, s->secret_2, s->secret_3,     s->prefix};
        for (size_t k = 0; k < sizeof owned / sizeof *owned; k++) {
            free(owned[k]);
        }
        for (size_t k = 0; k < sizeof s->given / sizeof *given; k++) {
            free(given[k]);
        }
    }
    free(r->sections);
    *r = (struct receipts_conf){0};
}

bool
receipts_conf_check(struct conf *c, struct err *e)
{
    struct receipts_conf r;
    bool ok = receipts_conf_read(c, &r, e);
    receipts_conf_done(&r);
    return ok;
}
