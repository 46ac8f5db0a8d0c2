#include "ctl/receipts_plan.h"

#include "ctl/receipts_value.h"
#include "shared/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* Where they come from: docs/receipts.md. */
static const struct {
    const char *type;
    struct receipt_shape shape;
} shapes[] = {
    {"cloudapi", {0}},
    {"json", {0}},
    {"gowa",
     {.event = "/event",
      .receipt_event = "message.ack",
      .message_event = "message",
      .id = "/payload/ids",
      .status = "/payload/receipt_type",
      .words = "delivered=delivered read=read played=read",
      .phone = "/payload/chat_id",
      .device = "/device_id",
      .at = "/timestamp",
      .message_id = "/payload/id",
      .from = "/payload/from",
      .text = "/payload/body",
      .mine = "/payload/is_from_me",
      .message_at = "/payload/timestamp"}},
    {"waha",
     {.event = "/event",
      .receipt_event = "message.ack",
      .message_event = "message",
      .id = "/payload/id",
      .status = "/payload/ack",
      .words = "-1=failed 1=sent 2=delivered 3=read 4=read",
      .phone = "/payload/to",
      .device = "/session",
      .at = "/timestamp",
      .message_id = "/payload/id",
      .from = "/payload/from",
      .text = "/payload/body",
      .mine = "/payload/fromMe",
      .message_at = "/payload/timestamp"}},
    {"evolution",
     {.event = "/event",
      .receipt_event = "messages.update",
      .message_event = "messages.upsert",
      .id = "/data/keyId",
      .status = "/data/status",
      .words = "ERROR=failed SERVER_ACK=sent DELIVERY_ACK=delivered READ=read PLAYED=read",
      .phone = "/data/remoteJid",
      .device = "/instance",
      .at = "/date_time",
      .message_id = "/data/key/id",
      .from = "/data/key/remoteJid",
      .text = "/data/message/conversation",
      .mine = "/data/key/fromMe",
      .message_at = "/data/messageTimestamp"}},
};

const struct receipt_shape *
receipt_shape_of(const char *type)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].type, type) == 0) {
            return &shapes[i].shape;
        }
    }
    return NULL;
}

/* --- values --------------------------------------------------------------------------- */

/* Text or number as text; "" for anything else. */
static const char *
word_of(const json_t *v, char number[32])
{
    if (json_is_string(v)) {
        return json_string_value(v);
    }
    if (json_is_integer(v)) {
        (void)snprintf(number, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return number;
    }
    if (json_is_real(v) && json_real_value(v) > -1e15 && json_real_value(v) < 1e15) {
        (void)snprintf(number, 32, "%.0f", json_real_value(v));
        return number;
    }
    return json_is_true(v) ? "true" : "";
}

static int64_t
time_of(const json_t *v)
{
    char number[32];
    return receipt_time_ms(word_of(v, number));
}

static const char *
text_at(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* --- events --------------------------------------------------------------------------- */

/* An id that does not fit cannot be a message's of ours. */
static bool
take_id(const char *text, struct receipt_event *ev)
{
    if (!*text || strlen(text) >= sizeof ev->provider_id) {
        return false;
    }
    receipt_copy(ev->provider_id, sizeof ev->provider_id, text);
    return true;
}

static void
add(struct receipts_plan *p, const struct receipt_event *ev)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 8;
        p->events = xrealloc(p->events, p->cap * sizeof *p->events);
    }
    p->events[p->n++] = *ev;
}

/* "words" names it, "1=sent 2=delivered". */
static bool
kind_named(const char *words, const char *status, enum receipt_kind *ret)
{
    size_t n = strlen(status);
    for (const char *p = words; n && p && *p;) {
        size_t all = strcspn(p, " ");
        if (all > n && strncmp(p, status, n) == 0 && p[n] == '=') {
            char word[16];
            (void)snprintf(word, sizeof word, "%.*s", (int)(all - n - 1), p + n + 1);
            *ret = receipt_kind_parse(word);
            return *ret >= RECEIPT_SENT && *ret <= RECEIPT_READ;
        }
        p += all + strspn(p + all, " ");
    }
    return false;
}

/* What somebody answered; only stop words are kept. */
static bool
take_answer(const struct stop_words *words, const char *text, struct receipt_event *ev)
{
    enum stop_word w = stop_words_find(words, text);
    if (!w) {
        return false;
    }
    ev->kind = w == STOP_WORD_STOP ? RECEIPT_STOP : RECEIPT_RESUME;
    receipt_copy(ev->code, sizeof ev->code, "reply");
    receipt_copy(ev->detail, sizeof ev->detail, text);
    return true;
}

/* --- cloudapi ------------------------------------------------------------------------- */

/* https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks: errors[0] says why. */
static void
take_failure(const json_t *status, struct receipt_event *ev)
{
    const json_t *error = json_array_get(json_object_get(status, "errors"), 0);
    char number[32];
    const char *text = text_at(json_object_get(error, "error_data"), "details");
    text = *text ? text : text_at(error, "message");
    text = *text ? text : text_at(error, "title");
    receipt_copy(ev->code, sizeof ev->code, word_of(json_object_get(error, "code"), number));
    receipt_copy(ev->detail, sizeof ev->detail, text);
}

static void
take_status(struct receipts_plan *p, const json_t *status, const char *device)
{
    static const char words[] = "sent=sent delivered=delivered read=read played=read failed=failed";
    struct receipt_event ev = {.at_ms = time_of(json_object_get(status, "timestamp"))};
    if (!take_id(text_at(status, "id"), &ev) ||
        !kind_named(words, text_at(status, "status"), &ev.kind)) {
        p->left_out++;
        return;
    }
    receipt_copy(ev.device_ref, sizeof ev.device_ref, device);
    receipt_phone(text_at(status, "recipient_id"), ev.phone);
    receipt_callback(text_at(status, "biz_opaque_callback_data"), &ev);
    if (ev.kind == RECEIPT_FAILED) {
        take_failure(status, &ev);
    }
    add(p, &ev);
}

static void
take_message(struct receipts_plan *p, const json_t *m, const char *device,
             const struct stop_words *words)
{
    const json_t *interactive = json_object_get(m, "interactive"),
                 *button = json_object_get(m, "button"),
                 *reply = json_object_get(interactive, "button_reply");
    const char *texts[] = {text_at(json_object_get(m, "text"), "body"), text_at(button, "text"),
                           text_at(button, "payload"), text_at(reply, "title"),
                           text_at(reply, "id")};
    struct receipt_event ev = {.at_ms = time_of(json_object_get(m, "timestamp"))};
    bool found = take_id(text_at(m, "id"), &ev), said = false;
    for (size_t i = 0; found && !said && i < sizeof texts / sizeof *texts; i++) {
        said = take_answer(words, texts[i], &ev);
    }
    if (!said) {
        p->left_out++;
        return;
    }
    receipt_copy(ev.device_ref, sizeof ev.device_ref, device);
    receipt_phone(text_at(m, "from"), ev.phone);
    add(p, &ev);
}

/* WhatsApp's own switch for marketing messages; it names no message, so its key is made up. */
static void
take_preference(struct receipts_plan *p, const json_t *v, const char *device)
{
    const char *value = text_at(v, "value"), *category = text_at(v, "category");
    char number[32], id[RECEIPT_ID_SIZE];
    bool stop = strcmp(value, "stop") == 0;
    struct receipt_event ev = {.kind = stop ? RECEIPT_STOP : RECEIPT_RESUME,
                               .at_ms = time_of(json_object_get(v, "timestamp"))};
    if ((!stop && strcmp(value, "resume") != 0) ||
        (*category && strncmp(category, "marketing", strlen("marketing")) != 0)) {
        p->left_out++;
        return;
    }
    (void)snprintf(id, sizeof id, "preference:%.60s:%.60s:%.30s",
                   *text_at(v, "wa_id") ? text_at(v, "wa_id") : text_at(v, "user_id"), device,
                   word_of(json_object_get(v, "timestamp"), number));
    receipt_copy(ev.provider_id, sizeof ev.provider_id, id);
    receipt_copy(ev.device_ref, sizeof ev.device_ref, device);
    receipt_phone(text_at(v, "wa_id"), ev.phone);
    receipt_copy(ev.code, sizeof ev.code, "preference");
    receipt_copy(ev.detail, sizeof ev.detail, text_at(v, "detail"));
    add(p, &ev);
}

static void
take_change(struct receipts_plan *p, const json_t *value, const struct stop_words *words)
{
    const char *device = text_at(json_object_get(value, "metadata"), "phone_number_id");
    const json_t *list[] = {json_object_get(value, "statuses"), json_object_get(value, "messages"),
                            json_object_get(value, "user_preferences")};
    size_t i;
    json_t *v;
    bool any = false;
    json_array_foreach((json_t *)(uintptr_t)list[0], i, v)
    {
        take_status(p, v, device);
        any = true;
    }
    json_array_foreach((json_t *)(uintptr_t)list[1], i, v)
    {
        take_message(p, v, device, words);
        any = true;
    }
    json_array_foreach((json_t *)(uintptr_t)list[2], i, v)
    {
        take_preference(p, v, device);
        any = true;
    }
    p->left_out += !any;
}

static bool
plan_cloudapi(const json_t *root, const struct stop_words *words, struct receipts_plan *p,
              struct err *e)
{
    json_t *entries = json_object_get(root, "entry"), *entry, *change;
    size_t i, k;
    if (!json_is_array(entries)) {
        return err_set(e, ERR_INPUT, "entry: a list is wanted");
    }
    json_array_foreach(entries, i, entry)
    {
        json_array_foreach(json_object_get(entry, "changes"), k, change)
        {
            take_change(p, json_object_get(change, "value"), words);
        }
    }
    return true;
}

/* --- tables --------------------------------------------------------------------------- */

/* RFC 6901; NULL when there is nothing. */
static const json_t *
at(const json_t *v, const char *pointer)
{
    char key[256];
    while (v && pointer && *pointer == '/') {
        size_t n = strcspn(++pointer, "/"), k = 0;
        for (size_t i = 0; i < n && k < sizeof key - 1; i++) {
            bool escaped = pointer[i] == '~' && i + 1 < n;
            key[k++] = (char)(!escaped ? pointer[i] : pointer[++i] == '0' ? '~' : '/');
        }
        key[k] = '\0';
        pointer += n;
        v = json_is_array(v) ? json_array_get(v, strtoul(key, NULL, 10)) : json_object_get(v, key);
    }
    return pointer ? v : NULL;
}

static bool
is(const json_t *root, const struct receipt_shape *s, const char *event)
{
    char number[32];
    return !s->event || (event && strcmp(word_of(at(root, s->event), number), event) == 0);
}

static void
plan_receipt(const json_t *root, const struct receipt_shape *s, struct receipts_plan *p)
{
    char number[32];
    struct receipt_event ev = {.at_ms = time_of(at(root, s->at))};
    const json_t *ids = at(root, s->id);
    size_t n = json_is_array(ids) ? json_array_size(ids) : 1;
    if (!kind_named(s->words, word_of(at(root, s->status), number), &ev.kind)) {
        p->left_out++;
        return;
    }
    receipt_copy(ev.device_ref, sizeof ev.device_ref, word_of(at(root, s->device), number));
    receipt_phone(word_of(at(root, s->phone), number), ev.phone);
    receipt_callback(word_of(at(root, s->callback), number), &ev);
    if (ev.kind == RECEIPT_FAILED) {
        receipt_copy(ev.code, sizeof ev.code, word_of(at(root, s->code), number));
        receipt_copy(ev.detail, sizeof ev.detail, word_of(at(root, s->detail), number));
    }
    for (size_t i = 0; i < n; i++) {
        if (take_id(word_of(json_is_array(ids) ? json_array_get(ids, i) : ids, number), &ev)) {
            add(p, &ev);
        } else {
            p->left_out++;
        }
    }
}

static void
plan_message(const json_t *root, const struct receipt_shape *s, const struct stop_words *words,
             struct receipts_plan *p)
{
    char number[32];
    struct receipt_event ev = {.at_ms = time_of(at(root, s->message_at))};
    if (json_is_true(at(root, s->mine)) ||
        !take_id(word_of(at(root, s->message_id), number), &ev) ||
        !take_answer(words, word_of(at(root, s->text), number), &ev)) {
        p->left_out++;
        return;
    }
    receipt_copy(ev.device_ref, sizeof ev.device_ref, word_of(at(root, s->device), number));
    receipt_phone(word_of(at(root, s->from), number), ev.phone);
    add(p, &ev);
}

bool
receipt_shape_check(const struct receipt_shape *s, struct err *e)
{
    const struct {
        const char *name, *pointer;
    } all[] = {{"event", s->event},   {"id", s->id},
               {"status", s->status}, {"callback", s->callback},
               {"phone", s->phone},   {"device", s->device},
               {"at", s->at},         {"code", s->code},
               {"detail", s->detail}, {"message_id", s->message_id},
               {"from", s->from},     {"text", s->text},
               {"mine", s->mine},     {"message_at", s->message_at}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].pointer && *all[i].pointer && *all[i].pointer != '/') {
            return err_set(e, ERR_INPUT, "%s: a JSON pointer begins with \"/\"", all[i].name);
        }
    }
    if (!s->id || !s->status || !s->words) {
        return err_set(e, ERR_INPUT,
                       "id, status and words are needed: where a receipt has its "
                       "message's id and its status, and what that means");
    }
    return true;
}

bool
receipts_plan(const char *type, const struct receipt_shape *shape, const struct stop_words *words,
              const char *bytes, size_t len, struct receipts_plan *ret, struct err *e)
{
    json_error_t error;
    *ret = (struct receipts_plan){0};
    json_t *root = json_loadb(bytes, len, JSON_ALLOW_NUL, &error);
    if (!root) {
        /* Without the text that it stands near, which may be somebody's. */
        const char *near = strstr(error.text, " near ");
        return err_set(e, ERR_INPUT, "line %d, column %d: %.*s", error.line, error.column,
                       near ? (int)(near - error.text) : 100, error.text);
    }
    bool ok = json_is_object(root) || err_set(e, ERR_INPUT, "an object is wanted");
    if (ok && strcmp(type, "cloudapi") == 0) {
        ok = plan_cloudapi(root, words, ret, e);
    } else if (ok && is(root, shape, shape->receipt_event)) {
        plan_receipt(root, shape, ret);
    } else if (ok && shape->message_event && is(root, shape, shape->message_event)) {
        plan_message(root, shape, words, ret);
    } else if (ok) {
        ret->left_out++;
    }
    json_decref(root);
    return ok;
}

void
receipts_plan_done(struct receipts_plan *p)
{
    free(p->events);
    *p = (struct receipts_plan){0};
}
