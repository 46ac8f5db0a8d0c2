/* What the senders of known providers ask for media, templates, uploads and looks at devices, byte
 * by byte. */
#include "tests/unit/provider_calls.h"

#include <fcntl.h>
#include <unistd.h>

/* The last request as it came; its body may hold anything. */
struct heard {
    struct buf head, body;
    const char *answer;
    int status;
};

static void
hear(void *arg, const struct peer_request *rq, struct peer_reply *r)
{
    struct heard *h = arg;
    buf_clear(&h->head);
    buf_clear(&h->body);
    buf_adds(&h->head, rq->head);
    buf_add(&h->body, rq->body, rq->body_len);
    buf_adds(&h->body, "");
    peer_answer(r, h->status ? h->status : 200, h->answer ? h->answer : "{}");
}

static struct peer *
peer_that_hears(struct heard *h)
{
    return peer_start(&(struct peer_options){.script = hear, .arg = h});
}

static void
heard_done(struct heard *h)
{
    buf_done(&h->head);
    buf_done(&h->body);
}

static void
check_asked(const struct heard *h, const char *line, const char *body)
{
    CHECK(strncmp(h->head.data, line, strlen(line)) == 0);
    CHECK_STR(body, h->body.data ? h->body.data : "");
}

static struct message
media_message(const struct media *m, const char *text)
{
    struct message msg = message_of(text);
    msg.device_ref = "1065";
    msg.media = m;
    return msg;
}

static const struct media by_url[] = {
    {.kind = MEDIA_IMAGE, .url = "https://a.example/x.jpg", .mime = "image/jpeg"},
    {.kind = MEDIA_VIDEO, .url = "https://a.example/x.mp4"},
    {.kind = MEDIA_AUDIO, .url = "https://a.example/x.ogg"},
    {.kind = MEDIA_DOCUMENT, .url = "https://a.example/x.pdf", .filename = "price list.pdf"}};

static const unsigned char bytes[] = {0, 255, '\r', '\n', '-', '-', 0, 'x'};
static const struct media by_bytes = {.kind = MEDIA_DOCUMENT,
                                      .bytes = bytes,
                                      .len = sizeof bytes,
                                      .mime = "application/pdf",
                                      .filename = "a \"b\"\r\n\xc3\xa9.pdf"};

/* One send, and what was asked for it. */
static void
check_send(int kind, const struct message *m, const char *line, const char *body)
{
    struct heard h = {0};
    struct peer *p = peer_that_hears(&h);
    void *self = open_kind(&kinds[kind], p, "60s");
    (void)deliver_message(kinds[kind].sender, self, m);
    CHECK_INT(1, peer_requests(p));
    check_asked(&h, line, body);
    end_sender(kinds[kind].sender, self, p);
    heard_done(&h);
}

/* --- cloudapi -------------------------------------------------------------------------------- */

#define TO_SITI                                                                                    \
    "{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":"                \
    "\"60123456789\","

TEST(cloudapi_sends_media_by_link_and_by_id)
{
    static const char *const want[] = {
        TO_SITI "\"type\":\"image\",\"image\":{\"link\":\"https://a.example/x.jpg\","
                "\"caption\":\"Hi\"}}",
        TO_SITI "\"type\":\"video\",\"video\":{\"link\":\"https://a.example/x.mp4\","
                "\"caption\":\"Hi\"}}",
        TO_SITI "\"type\":\"audio\",\"audio\":{\"link\":\"https://a.example/x.ogg\"}}",
        TO_SITI "\"type\":\"document\",\"document\":{\"link\":\"https://a.example/x.pdf\","
                "\"caption\":\"Hi\",\"filename\":\"price list.pdf\"}}"};
    for (size_t i = 0; i < 4; i++) {
        struct message m = media_message(&by_url[i], by_url[i].kind == MEDIA_AUDIO ? "" : "Hi");
        check_send(CLOUDAPI, &m, "POST /v23.0/1065/messages HTTP/1.1\r\n", want[i]);
    }
    const struct media by_id = {.kind = MEDIA_IMAGE, .id = "4490709327384033"};
    struct message m = media_message(&by_id, "");
    check_send(CLOUDAPI, &m, "POST /v23.0/1065/messages HTTP/1.1\r\n",
               TO_SITI "\"type\":\"image\",\"image\":{\"id\":\"4490709327384033\"}}");
}

static const struct template_value positional[] = {{NULL, "Siti"}, {NULL, "10%"}};
static const struct template_value named[] = {{"first_name", "Siti \"S\""}};
static const struct template_button buttons[] = {{0, false, "STOP"}, {1, true, "c7"}};

TEST(cloudapi_sends_templates_with_all_their_parts)
{
    struct message_template t = {.name = "promo",
                                 .language = "ms",
                                 .header = "Hello",
                                 .body = positional,
                                 .n_body = 2,
                                 .buttons = buttons,
                                 .n_buttons = 2};
    struct message m = media_message(NULL, "");
    m.template = &t;
    check_send(CLOUDAPI, &m, "POST /v23.0/1065/messages HTTP/1.1\r\n",
               TO_SITI
               "\"type\":\"template\",\"template\":{\"name\":\"promo\",\"language\":{\"policy\":"
               "\"deterministic\",\"code\":\"ms\"},\"components\":[{\"type\":\"header\","
               "\"parameters\":[{\"type\":\"text\",\"text\":\"Hello\"}]},{\"type\":\"body\","
               "\"parameters\":[{\"type\":\"text\",\"text\":\"Siti\"},{\"type\":\"text\",\"text\":"
               "\"10%\"}]},{\"type\":\"button\",\"sub_type\":\"quick_reply\",\"index\":\"0\","
               "\"parameters\":[{\"type\":\"payload\",\"payload\":\"STOP\"}]},{\"type\":\"button\","
               "\"sub_type\":\"url\",\"index\":\"1\",\"parameters\":[{\"type\":\"text\",\"text\":"
               "\"c7\"}]}]},\"biz_opaque_callback_data\":\"c:7:1:1\"}");
    t = (struct message_template){.name = "promo", .language = "en_US", .body = named, .n_body = 1};
    m.media = &by_url[3];
    check_send(CLOUDAPI, &m, "POST /v23.0/1065/messages HTTP/1.1\r\n",
               TO_SITI
               "\"type\":\"template\",\"template\":{\"name\":\"promo\",\"language\":{\"policy\":"
               "\"deterministic\",\"code\":\"en_US\"},\"components\":[{\"type\":\"header\","
               "\"parameters\":[{\"type\":\"document\",\"document\":{\"link\":"
               "\"https://a.example/x.pdf\",\"filename\":\"price list.pdf\"}}]},{\"type\":\"body\","
               "\"parameters\":[{\"type\":\"text\",\"parameter_name\":\"first_name\",\"text\":"
               "\"Siti \\\"S\\\"\"}]}]},\"biz_opaque_callback_data\":\"c:7:1:1\"}");
    t = (struct message_template){.name = "hello_world", .language = "en"};
    m.media = NULL;
    check_send(CLOUDAPI, &m, "POST /v23.0/1065/messages HTTP/1.1\r\n",
               TO_SITI "\"type\":\"template\",\"template\":{\"name\":\"hello_world\",\"language\":"
                       "{\"policy\":\"deterministic\",\"code\":\"en\"}},"
                       "\"biz_opaque_callback_data\":\"c:7:1:1\"}");
}

TEST(marketing_messages_is_another_path_and_has_no_callback_data)
{
    const struct message_template t = {.name = "hello_world", .language = "en"};
    struct heard h = {0};
    struct peer *p = peer_that_hears(&h);
    struct conf_section s = section_of("type", "cloudapi", "url", peer_url(p), "allow_private",
                                       "yes", "token", "x", "marketing_messages", "yes", NULL);
    void *self = open_sender(&sender_cloudapi, &s);
    struct message m = media_message(NULL, "");
    m.template = &t;
    (void)deliver_message(&sender_cloudapi, self, &m);
    check_asked(&h, "POST /v23.0/1065/marketing_messages HTTP/1.1\r\n",
                TO_SITI "\"type\":\"template\",\"template\":{\"name\":\"hello_world\",\"language\":"
                        "{\"policy\":\"deterministic\",\"code\":\"en\"}}}");
    m = media_message(NULL, "Hi");
    (void)deliver_message(&sender_cloudapi, self, &m);
    CHECK(strstr(h.head.data, "/1065/messages HTTP/1.1\r\n"));
    end_sender(&sender_cloudapi, self, p);
    heard_done(&h);
}

/* --- multipart ------------------------------------------------------------------------------- */

/* The body with its boundary, which is another one each time, written as B. */
static char *
with_known_boundary(const struct heard *h, size_t *ret_len)
{
    const char *at = strstr(h->head.data, "\r\nContent-Type: multipart/form-data; boundary=");
    CHECK(at != NULL);
    char boundary[33];
    (void)snprintf(boundary, sizeof boundary, "%s",
                   at + strlen("\r\nContent-Type: multipart/form-data; boundary="));
    CHECK_INT(32, (long)strspn(boundary, "0123456789abcdef"));
    struct buf b = {0};
    for (size_t i = 0; i < h->body.len;) {
        bool here = h->body.len - i >= 32 && memcmp(h->body.data + i, boundary, 32) == 0;
        buf_add(&b, here ? "B" : h->body.data + i, 1);
        i += here ? 32 : 1;
    }
    buf_adds(&b, "");
    *ret_len = b.len;
    return b.data;
}

static void
check_multipart(const struct heard *h, const char *want, size_t len)
{
    size_t got_len;
    char *got = with_known_boundary(h, &got_len);
    CHECK_INT((long)len, (long)got_len);
    CHECK(memcmp(want, got, len) == 0);
    free(got);
}

#define PART(name, value)                                                                          \
    "--B\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
/* RFC 7578 with WHATWG's escapes; the content holds NUL, CR LF and "--". */
#define FILE_PART(name)                                                                            \
    "--B\r\nContent-Disposition: form-data; name=\"" name                                          \
    "\"; filename=\"a %22b%22%0D%0A\xc3\xa9.pdf\"\r\nContent-Type: application/pdf\r\n\r\n"        \
    "\0\377\r\n--\0x\r\n--B--\r\n"

TEST(an_upload_is_multipart_and_keeps_for_less_than_30_days)
{
    static const char want[] =
        PART("messaging_product", "whatsapp") PART("type", "application/pdf") FILE_PART("file");
    struct heard h = {.answer = "{\"id\":\"4490709327384033\"}"};
    struct peer *p = peer_that_hears(&h);
    void *self = open_kind(&kinds[CLOUDAPI], p, "60s");
    struct upload_report r = upload(&sender_cloudapi, self, "1065", &by_bytes);
    check_outcome(&r.o, OUTCOME_SENT, SCOPE_MESSAGE, "200");
    CHECK_STR("4490709327384033", r.o.provider_id);
    CHECK(r.keep_ms > (int64_t)20 * 86400000 && r.keep_ms < (int64_t)30 * 86400000);
    CHECK(strncmp(h.head.data, "POST /v23.0/1065/media HTTP/1.1\r\n", 33) == 0);
    CHECK(strstr(h.head.data, "\r\nAuthorization: Bearer s3cret-Token\r\n"));
    check_multipart(&h, want, sizeof want - 1);
    end_sender(&sender_cloudapi, self, p);
    heard_done(&h);
}

TEST(what_an_upload_comes_to_is_never_unknown)
{
    static const struct {
        int status;
        const char *answer, *code;
        enum outcome_class class;
        enum outcome_scope scope;
        bool stop;
    } cases[] = {
        {200, "{\"id\":[]}", "200-unidentified", OUTCOME_RETRY, SCOPE_MESSAGE, false},
        {200, "<html>", "200-unidentified", OUTCOME_RETRY, SCOPE_MESSAGE, false},
        {504, "", "504", OUTCOME_RETRY, SCOPE_MESSAGE, false},
        {400, "{\"error\":{\"code\":100}}", "100", OUTCOME_REJECTED, SCOPE_TEMPLATE, true},
        {400, "{\"error\":{\"code\":131053}}", "131053", OUTCOME_REJECTED, SCOPE_TEMPLATE, true},
        {401, "{\"error\":{\"code\":190}}", "190", OUTCOME_REJECTED, SCOPE_ENDPOINT, false},
        {429, "{\"error\":{\"code\":4}}", "4", OUTCOME_RETRY, SCOPE_ACCOUNT, false},
    };
    struct heard h = {0};
    struct peer *p = peer_that_hears(&h);
    void *self = open_kind(&kinds[CLOUDAPI], p, "60s");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        h.status = cases[i].status;
        h.answer = cases[i].answer;
        struct upload_report r = upload(&sender_cloudapi, self, "1065", &by_bytes);
        check_outcome(&r.o, cases[i].class, cases[i].scope, cases[i].code);
        CHECK(r.o.stop == cases[i].stop && r.keep_ms == 0 && !r.o.provider_id[0]);
    }
    struct upload_report r = upload(&sender_cloudapi, self, "../me", &by_bytes);
    check_outcome(&r.o, OUTCOME_REJECTED, SCOPE_DEVICE, "bad-device");
    end_sender(&sender_cloudapi, self, p);
    heard_done(&h);
}

TEST(gowa_sends_media_as_multipart)
{
    static const char *const paths[] = {"image", "video", "audio", "file"};
    struct heard h = {0};
    struct peer *p = peer_that_hears(&h);
    void *self = open_kind(&kinds[GOWA], p, "60s");
    for (size_t i = 0; i < 4; i++) {
        bool audio = by_url[i].kind == MEDIA_AUDIO;
        struct message m = media_message(&by_url[i], audio ? "" : "Hi\r\n--x");
        (void)deliver_message(&sender_gowa, self, &m);
        char line[64], want[512];
        (void)snprintf(line, sizeof line, "POST /send/%s HTTP/1.1\r\n", paths[i]);
        CHECK(strncmp(h.head.data, line, strlen(line)) == 0);
        CHECK(strstr(h.head.data, "\r\nX-Device-Id: 1065\r\n"));
        (void)snprintf(
            want, sizeof want,
            PART("phone", "60123456789@s.whatsapp.net") "%s"
                                                        "--B\r\nContent-Disposition: form-data; "
                                                        "name=\"%s_url\"\r\n\r\n%s\r\n--B--\r\n",
            audio ? "" : PART("caption", "Hi\r\n--x"), paths[i], by_url[i].url);
        check_multipart(&h, want, strlen(want));
    }
    static const char file[] = PART("phone", "60123456789@s.whatsapp.net") FILE_PART("file");
    struct message m = media_message(&by_bytes, "");
    (void)deliver_message(&sender_gowa, self, &m);
    check_multipart(&h, file, sizeof file - 1);
    end_sender(&sender_gowa, self, p);
    heard_done(&h);
}

TEST(a_file_of_no_name_gets_one_that_fits)
{
    static const struct {
        struct media m;
        const char *want;
    } cases[] = {{{.kind = MEDIA_IMAGE, .mime = "image/png"}, "image.png"},
                 {{.kind = MEDIA_AUDIO, .mime = "audio/ogg"}, "audio.ogg"},
                 {{.kind = MEDIA_DOCUMENT, .mime = "application/x-new"}, "document"},
                 {{.kind = MEDIA_VIDEO}, "video"},
                 {{.kind = MEDIA_VIDEO, .filename = "a.avi"}, "a.avi"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_STR(cases[i].want, provider_media_name(&cases[i].m));
    }
}

/* --- waha, evolution ------------------------------------------------------------------------- */

TEST(waha_sends_texts_and_media)
{
#define CHAT "{\"session\":\"1065\",\"chatId\":\"60123456789@c.us\","
    struct message m = media_message(NULL, "Hi");
    check_send(WAHA, &m, "POST /api/sendText HTTP/1.1\r\n", CHAT "\"text\":\"Hi\"}");
    m.device_ref = "";
    check_send(WAHA, &m, "POST /api/sendText HTTP/1.1\r\n",
               "{\"session\":\"default\",\"chatId\":\"60123456789@c.us\",\"text\":\"Hi\"}");
    m = media_message(&by_url[0], "Hi");
    check_send(WAHA, &m, "POST /api/sendImage HTTP/1.1\r\n",
               CHAT "\"file\":{\"mimetype\":\"image/jpeg\",\"filename\":\"image.jpg\",\"url\":"
                    "\"https://a.example/x.jpg\"},\"caption\":\"Hi\"}");
    m = media_message(&by_url[1], "");
    check_send(WAHA, &m, "POST /api/sendVideo HTTP/1.1\r\n",
               CHAT "\"file\":{\"filename\":\"video\",\"url\":\"https://a.example/x.mp4\"}}");
    m = media_message(&by_url[2], "");
    check_send(WAHA, &m, "POST /api/sendVoice HTTP/1.1\r\n",
               CHAT "\"file\":{\"filename\":\"audio\",\"url\":\"https://a.example/x.ogg\"}}");
    m = media_message(&by_bytes, "");
    check_send(WAHA, &m, "POST /api/sendFile HTTP/1.1\r\n",
               CHAT "\"file\":{\"mimetype\":\"application/pdf\",\"filename\":\"a "
                    "\\\"b\\\"\\r\\n\xc3\xa9.pdf\",\"data\":\"AP8NCi0tAHg=\"}}");
}

TEST(evolution_sends_texts_and_media_and_never_a_delay)
{
    struct message m = media_message(NULL, "Hi");
    m.device_ref = "caf\xc3\xa9 1";
    check_send(EVOLUTION, &m, "POST /message/sendText/caf%C3%A9%201 HTTP/1.1\r\n",
               "{\"number\":\"60123456789\",\"text\":\"Hi\",\"delay\":0}");
    m = media_message(&by_url[3], "Hi");
    check_send(
        EVOLUTION, &m, "POST /message/sendMedia/1065 HTTP/1.1\r\n",
        "{\"number\":\"60123456789\",\"mediatype\":\"document\",\"caption\":\"Hi\","
        "\"fileName\":\"price list.pdf\",\"media\":\"https://a.example/x.pdf\",\"delay\":0}");
    m = media_message(&by_bytes, "");
    check_send(EVOLUTION, &m, "POST /message/sendMedia/1065 HTTP/1.1\r\n",
               "{\"number\":\"60123456789\",\"mediatype\":\"document\",\"mimetype\":"
               "\"application/pdf\",\"fileName\":\"a \\\"b\\\"\\r\\n\xc3\xa9.pdf\",\"media\":"
               "\"AP8NCi0tAHg=\",\"delay\":0}");
}

TEST(keys_go_into_the_header_that_each_gateway_reads)
{
    static const struct {
        int kind;
        const char *header;
    } cases[] = {{WAHA, "\r\nX-Api-Key: s3cret-Token\r\n"},
                 {EVOLUTION, "\r\napikey: s3cret-Token\r\n"},
                 {FONNTE, "\r\nAuthorization: s3cret-Token\r\n"},
                 {WABLAS, "\r\nAuthorization: s3cret-Token\r\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heard h = {0};
        struct peer *p = peer_that_hears(&h);
        void *self = open_kind(&kinds[cases[i].kind], p, "60s");
        (void)deliver_at(kinds[cases[i].kind].sender, self, 1);
        CHECK(strstr(h.head.data, cases[i].header));
        (void)look(kinds[cases[i].kind].sender, self, "1065");
        CHECK(strstr(h.head.data, cases[i].header));
        end_sender(kinds[cases[i].kind].sender, self, p);
        heard_done(&h);
    }
}

/* --- form ------------------------------------------------------------------------------------ */

TEST(forms_have_the_fields_of_their_profile)
{
    struct message m = media_message(NULL, "Hi & b\xc3\xa9");
    check_send(WHACENTER, &m, "POST /api/send HTTP/1.1\r\n",
               "device_id=s3cret-Token&number=60123456789&message=Hi+%26+b%C3%A9");
    check_send(FONNTE, &m, "POST /send HTTP/1.1\r\n",
               "countryCode=0&connectOnly=true&target=60123456789&message=Hi+%26+b%C3%A9");
    check_send(WABLAS, &m, "POST /api/send-message HTTP/1.1\r\n",
               "phone=60123456789&message=Hi+%26+b%C3%A9");
    m = media_message(&by_url[3], "Hi");
    check_send(WHACENTER, &m, "POST /api/send HTTP/1.1\r\n",
               "device_id=s3cret-Token&number=60123456789&message=Hi&"
               "file=https%3A%2F%2Fa.example%2Fx.pdf");
    check_send(FONNTE, &m, "POST /send HTTP/1.1\r\n",
               "countryCode=0&connectOnly=true&target=60123456789&message=Hi&"
               "url=https%3A%2F%2Fa.example%2Fx.pdf&filename=price+list.pdf");
    check_send(WABLAS, &m, "POST /api/send-document HTTP/1.1\r\n",
               "phone=60123456789&caption=Hi&document=https%3A%2F%2Fa.example%2Fx.pdf");
    m = media_message(&by_url[2], "");
    check_send(WABLAS, &m, "POST /api/send-audio HTTP/1.1\r\n",
               "phone=60123456789&audio=https%3A%2F%2Fa.example%2Fx.ogg");
}

/* A file of secrets; the caller frees its path. */
static char *
secrets_file(const char *text)
{
    char *path = xasprintf("%s/devices", t_dir());
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
    return path;
}

TEST(each_device_of_a_form_has_a_secret_of_its_own)
{
    char *path = secrets_file("# REF = SECRET\n\n sales-1 = s3cret=A== \nsales-2=s3cretB");
    struct heard h = {.answer = "{\"status\":false,\"message\":\"no such device s3cret=A==!\"}"};
    struct peer *p = peer_that_hears(&h);
    struct conf_section s =
        section_of("type", "form", "url", peer_url(p), "allow_private", "yes", "device_secrets",
                   path, "number_field", "to", "message_field", "body", "path", "/v2/send", NULL);
    void *self = open_sender(&sender_form, &s);
    struct message m = message_of("Hi");
    m.device_ref = "sales-1";
    struct outcome o = deliver_message(&sender_form, self, &m);
    CHECK_STR("HTTP 200: no such device ***!", o.text);
    check_asked(&h, "POST /v2/send HTTP/1.1\r\n",
                "device_id=s3cret%3DA%3D%3D&to=60123456789&body=Hi");
    m.device_ref = "sales-2";
    (void)deliver_message(&sender_form, self, &m);
    check_asked(&h, "POST /v2/send HTTP/1.1\r\n", "device_id=s3cretB&to=60123456789&body=Hi");
    (void)look(&sender_form, self, "sales-1");
    check_asked(&h, "GET /api/statusDevice?device_id=s3cret%3DA%3D%3D HTTP/1.1\r\n", "");
    m.device_ref = "sales-3";
    o = deliver_message(&sender_form, self, &m);
    check_outcome(&o, OUTCOME_REJECTED, SCOPE_DEVICE, "bad-device");
    CHECK_INT(DEVICE_UNKNOWN, look(&sender_form, self, "sales-3").state);
    CHECK_INT(3, peer_requests(p));
    end_sender(&sender_form, self, p);
    heard_done(&h);
    free(path);
}

static void
check_form_refused(const char *want, struct conf_section s)
{
    void *self = NULL;
    struct err e = {0};
    bool ok = sender_form.open(ev_default_loop(0), &s, &self, &e);
    if (ok || e.kind != ERR_INPUT || !strstr(e.text, want) || strstr(e.text, "s3cret")) {
        t_fail(__FILE__, __LINE__, "%s, not %s", ok ? "accepted" : e.text, want);
    }
}

TEST(mistakes_in_a_form_section_have_file_line_and_key)
{
    check_form_refused("f.conf:10: device_secrets: needed", section_of("type", "form", NULL));
    check_form_refused("f.conf:11: secret: needed",
                       section_of("secret", "s3cret", "device_secrets", "/x", NULL));
    check_form_refused("f.conf:11: secret: empty", section_of("secret", "", NULL));
    check_form_refused("f.conf:11: secret: a control", section_of("secret", "s3cret\nx", NULL));
    check_form_refused("f.conf:11: device_secrets: /not/there: No such file",
                       section_of("device_secrets", "/not/there", NULL));
    check_form_refused("f.conf:11: profile: ", section_of("profile", "other", NULL));
    check_form_refused("f.conf:10: url: missing",
                       section_of("profile", "wablas", "secret", "s3cret", NULL));
    check_form_refused("f.conf:12: number_field: a field",
                       section_of("secret", "s3cret", "number_field", "a&b", NULL));
    check_form_refused("f.conf:12: path: a path",
                       section_of("secret", "s3cret", "path", "x", NULL));
    static const struct {
        const char *text, *want;
    } files[] = {{"a = s3cret\ns3cret\n", "/devices:2: a line is: REF = SECRET"},
                 {"= s3cret\n", "/devices:1: a line is"},
                 {"a =\n", "/devices:1: a line is"},
                 {"a = s3cret\nb = x\na = s3cret", "/devices: a stands there twice"},
                 {"a = s3cret\x01", "/devices:1: a control character"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = secrets_file(files[i].text);
        check_form_refused(files[i].want, section_of("device_secrets", path, NULL));
        free(path);
    }
    struct err e;
    void *self;
    CHECK(!sender_form.open(ev_default_loop(0), NULL, &self, &e));
    CHECK(sender_by_type("form") == &sender_form);
}

/* --- looks, and what is beyond a sender ------------------------------------------------------ */

TEST(a_look_asks_for_the_device_itself)
{
    static const struct {
        int kind;
        const char *ref, *line;
    } cases[] = {
        {CLOUDAPI, "1065", "GET /v23.0/1065?fields=status,quality_rating HTTP/1.1\r\n"},
        {GOWA, "caf\xc3\xa9/1", "GET /devices/caf%C3%A9%2F1/status HTTP/1.1\r\n"},
        {GOWA, "", "GET /app/status HTTP/1.1\r\n"},
        {WAHA, "a b", "GET /api/sessions/a%20b HTTP/1.1\r\n"},
        {WAHA, "", "GET /api/sessions/default HTTP/1.1\r\n"},
        {EVOLUTION, "a?b", "GET /instance/connectionState/a%3Fb HTTP/1.1\r\n"},
        {WHACENTER, "x", "GET /api/statusDevice?device_id=s3cret-Token HTTP/1.1\r\n"},
        {FONNTE, "x", "POST /device HTTP/1.1\r\n"},
        {WABLAS, "x", "GET /api/device/info?token=s3cret-Token HTTP/1.1\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heard h = {0};
        struct peer *p = peer_that_hears(&h);
        void *self = open_kind(&kinds[cases[i].kind], p, "60s");
        (void)look(kinds[cases[i].kind].sender, self, cases[i].ref);
        check_asked(&h, cases[i].line, "");
        end_sender(kinds[cases[i].kind].sender, self, p);
        heard_done(&h);
    }
}

TEST(a_reference_that_is_no_device_asks_for_nothing)
{
    static const struct {
        int kind;
        const char *ref;
    } cases[] = {{CLOUDAPI, "../me"}, {CLOUDAPI, ""},  {CLOUDAPI, NULL}, {GOWA, ".."},
                 {WAHA, "."},         {EVOLUTION, ""}, {EVOLUTION, ".."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heard h = {0};
        struct peer *p = peer_that_hears(&h);
        void *self = open_kind(&kinds[cases[i].kind], p, "60s");
        struct check_report r = look(kinds[cases[i].kind].sender, self, cases[i].ref);
        CHECK_INT(DEVICE_UNKNOWN, r.state);
        CHECK_INT(0, peer_requests(p));
        end_sender(kinds[cases[i].kind].sender, self, p);
        heard_done(&h);
    }
}

TEST(what_is_beyond_a_sender_stops_the_source_and_asks_for_nothing)
{
    static const struct media by_id = {.kind = MEDIA_IMAGE, .id = "1"};
    static const struct message_template t = {.name = "x", .language = "en"};
    static const struct {
        const struct media *media;
        bool template;
        const char *text;
        unsigned needs; /* one of these */
    } cases[] = {{&by_url[0], false, "", CAN_MEDIA_URL},
                 {&by_bytes, false, "", CAN_MEDIA_BYTES},
                 {&by_id, false, "", CAN_UPLOAD},
                 {NULL, true, "", CAN_TEMPLATE},
                 {&by_url[2], false, "an audio with a text", 0}};
    for (size_t k = 0; k < N_KINDS; k++) {
        struct heard h = {0};
        struct peer *p = peer_that_hears(&h);
        void *self = open_kind(&kinds[k], p, "60s");
        unsigned can = kinds[k].sender->can(self);
        CHECK(!(can & CAN_UPLOAD) == !kinds[k].sender->upload);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct message m = media_message(cases[i].media, cases[i].text);
            m.template = cases[i].template ? &t : NULL;
            if (!(can & cases[i].needs)) {
                struct outcome o = deliver_message(kinds[k].sender, self, &m);
                check_outcome(&o, OUTCOME_REJECTED, SCOPE_TEMPLATE, "unsupported");
                CHECK(o.stop && *o.text);
            }
        }
        CHECK_INT(0, peer_requests(p));
        end_sender(kinds[k].sender, self, p);
        heard_done(&h);
    }
}

TEST(closing_reports_uploads_and_looks_once)
{
    struct peer_reply silence = {.then = PEER_HOLD};
    struct peer *p = peer_start(&(struct peer_options){.script = say, .arg = &silence});
    void *self = open_kind(&kinds[CLOUDAPI], p, "60s");
    struct upload_report up = {0}, bad_up = {0};
    struct check_report check = {0}, bad_check = {0};
    sender_cloudapi.upload(self, "1065", &by_bytes, on_upload, &up);
    sender_cloudapi.check(self, "1065", on_check, &check);
    while (peer_requests(p) < 2) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    sender_cloudapi.upload(self, "x", &by_bytes, on_upload, &bad_up);
    sender_cloudapi.check(self, "x", on_check, &bad_check);
    end_sender(&sender_cloudapi, self, p);
    CHECK(up.times == 1 && check.times == 1 && bad_up.times == 1 && bad_check.times == 1);
    CHECK_INT(OUTCOME_RETRY, up.o.class);
    CHECK_INT(DEVICE_UNKNOWN, check.state);
    CHECK_STR("bad-device", bad_up.o.code);
}
