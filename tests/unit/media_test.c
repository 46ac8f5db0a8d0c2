#include "shared/approved.h"
#include "shared/media.h"
#include "tests/harness/t.h"
#include "worker/media_plan.h"
#include "worker/pace.h"

#include <stdio.h>
#include <string.h>

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void
wrong(bool ok, const struct err *e, const char *says, const char *of)
{
    if (ok || e->kind != ERR_INPUT || !strstr(e->text, says)) {
        t_fail(__FILE__, __LINE__, "%.100s: %s \"%s\", wanted \"%s\"", of,
               ok ? "taken" : "refused:", e->text, says);
    }
}

/* --- JSON ------------------------------------------------------------------------------------ */

TEST(a_medium_is_read_and_written_alike)
{
    static const char *const good[] = {
        "{\"type\":\"image\",\"url\":\"https://a.example/a.jpg\"}",
        "{\"type\":\"video\",\"url\":\"http://a.example:8080/?b=%20#c\"}",
        "{\"type\":\"document\",\"sha256\":\"" SHA
        "\",\"mime\":\"application/pdf\",\"size\":7,\"filename\":\"a b.pdf\"}",
        "{\"type\":\"audio\",\"sha256\":\"" SHA "\"}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct media_ref m;
        struct buf out = {0};
        CHECK_OK(media_parse(good[i], strlen(good[i]), true, &m, e));
        media_write(&m, &out);
        CHECK_STR(good[i], out.data);
        buf_done(&out);
    }
}

TEST(what_is_no_medium_is_refused_with_its_member)
{
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "no JSON"},
        {"[]", "has to be an object"},
        {"{}", "media.type: "},
        {"{\"type\":\"gif\",\"url\":\"https://a.example\"}", "media.type: "},
        {"{\"type\":\"image\"}", "either url or sha256"},
        {"{\"type\":\"image\",\"url\":\"https://a.example\",\"url\":\"x\"}", "no JSON"},
        {"{\"type\":\"image\",\"url\":7}", "media.url: has to be text"},
        {"{\"type\":\"image\",\"url\":\"https://a\\u0000b\"}", "media"},
        {"{\"type\":\"image\",\"sha256\":\"ABC\"}", "64 hex digits"},
        {"{\"type\":\"image\",\"sha256\":\"" SHA "0\"}", "has 65 bytes"},
        {"{\"type\":\"image\",\"sha256\":\"" SHA "\",\"size\":-1}", "media.size: "},
        {"{\"type\":\"image\",\"sha256\":\"" SHA "\",\"filename\":\"../a\"}", "media.filename: "},
        {"{\"type\":\"image\",\"url\":\"https://a.example\",\"x\":1}", "media.x: unknown member"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct media_ref m;
        struct err e = {0};
        wrong(media_parse(bad[i].json, strlen(bad[i].json), true, &m, &e), &e, bad[i].says,
              bad[i].json);
    }
    static const char later[] = "{\"type\":\"image\",\"url\":\"https://a.example\",\"x\":1}";
    struct media_ref m;
    CHECK_OK(media_parse(later, strlen(later), false, &m, e)); /* of a newer producer */
}

TEST(links_are_public_and_hold_no_secret)
{
    static const char *const good[] = {"https://shop.example/a.jpg",
                                       "HTTP://8.8.8.8:80/a",
                                       "https://[2001:4860:4860::8888]/",
                                       "https://b\xc3\xbc"
                                       "cher.example/\xc3\xbc",
                                       "https://a.example?x=@:/",
                                       "http://a.example#b"};
    static const struct {
        const char *url, *says;
    } bad[] = {
        {"", "begins with http"},
        {"ftp://a.example", "begins with http"},
        {"https://", "no host"},
        {"https:///a", "no host"},
        {"https://:80/", "no host"},
        {"https://a.example:8x/", "no port"},
        {"https://u:p@a.example/", "user name or password"},
        {"https://u@a.example/", "user name or password"},
        {"https://a.example/a b", "character 20"},
        {"https://a.example/\xff", "not UTF-8"},
        {"http://127.0.0.1/", "private"},
        {"http://127.1/", "private"},
        {"http://0x7f.1/", "private"},
        {"http://2130706433/", "private"},
        {"http://017700000001/", "private"},
        {"http://10.1.2.3/", "private"},
        {"http://169.254.169.254/", "private"},
        {"http://[::1]/", "private"},
        {"http://[::ffff:10.0.0.1]/", "private"},
        {"http://[fe80::1%25lo]/", "private"},
        {"http://localhost/", "private"},
        {"http://LOCALHOST.:80/", "private"},
        {"http://a.localhost/", "private"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_OK(media_url_check(good[i], e));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        wrong(media_url_check(bad[i].url, &e), &e, bad[i].says, bad[i].url);
    }
}

/* --- types ----------------------------------------------------------------------------------- */

#define BYTES(s) s, sizeof s - 1

TEST(the_bytes_tell_the_type_and_what_is_said_only_what_they_leave_open)
{
    static const char jpeg[] = "\xff\xd8\xff\xe0\0\x10JFIF", png[] = "\x89PNG\r\n\x1a\n....",
                      webp[] = "RIFF\1\2\3\4WEBPVP8 ", wave[] = "RIFF\1\2\3\4WAVEfmt ",
                      mp4[] = "\0\0\0\x20"
                              "ftypisom....",
                      m4a[] = "\0\0\0\x20"
                              "ftypM4A ....",
                      gp[] = "\0\0\0\x20"
                             "ftyp3gp4....",
                      mp3[] = "ID3\4....", raw[] = "\xff\xfb\x90\x44....", aac[] = "\xff\xf1\x50",
                      ogg[] = "OggS....", pdf[] = "%PDF-1.4", zip[] = "PK\3\4....",
                      ole[] = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", text[] = "a,b\n1,2\n",
                      html[] = " \n<!DOCTYPE html>", zeros[] = "\0\0\0\0";
#define DOCX "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    static const struct {
        enum media_kind kind;
        const char *said, *name, *bytes;
        size_t n;
        const char *mime; /* NULL: refused */
    } cases[] = {
        {MEDIA_IMAGE, "", "", BYTES(jpeg), "image/jpeg"},
        {MEDIA_IMAGE, "text/html", "a.exe", BYTES(jpeg), "image/jpeg"},
        {MEDIA_IMAGE, "", "", BYTES(png), "image/png"},
        {MEDIA_IMAGE, "", "", BYTES(webp), "image/webp"},
        {MEDIA_IMAGE, "image/jpeg", "a.jpg", BYTES(pdf), NULL},
        {MEDIA_IMAGE, "image/gif", "a.gif", BYTES("GIF89a...."), NULL},
        {MEDIA_IMAGE, "image/jpeg", "a.jpg", BYTES(zeros), NULL},
        {MEDIA_IMAGE, "image/jpeg", "a.jpg", BYTES(html), NULL},
        {MEDIA_VIDEO, "", "", BYTES(mp4), "video/mp4"},
        {MEDIA_VIDEO, "", "", BYTES(gp), "video/3gpp"},
        {MEDIA_VIDEO, "", "", BYTES(m4a), NULL},
        {MEDIA_AUDIO, "", "", BYTES(m4a), "audio/mp4"},
        {MEDIA_AUDIO, "audio/mp4; x=y", "", BYTES(mp4), "audio/mp4"},
        {MEDIA_AUDIO, "", "a.m4a", BYTES(mp4), "audio/mp4"},
        {MEDIA_AUDIO, "", "", BYTES(mp4), NULL},
        {MEDIA_AUDIO, "", "", BYTES(mp3), "audio/mpeg"},
        {MEDIA_AUDIO, "", "", BYTES(raw), "audio/mpeg"},
        {MEDIA_AUDIO, "", "", BYTES(aac), "audio/aac"},
        {MEDIA_AUDIO, "", "", BYTES(ogg), "audio/ogg"},
        {MEDIA_AUDIO, "", "", BYTES(wave), NULL},
        {MEDIA_DOCUMENT, "", "", BYTES(pdf), "application/pdf"},
        {MEDIA_DOCUMENT, DOCX, "", BYTES(zip), DOCX},
        {MEDIA_DOCUMENT, "application/octet-stream", "https://a/b.DOCX?c=d.pdf", BYTES(zip), DOCX},
        {MEDIA_DOCUMENT, "application/pdf", "a.pdf", BYTES(zip), NULL},
        {MEDIA_DOCUMENT, "application/zip", "a.zip", BYTES(zip), NULL},
        {MEDIA_DOCUMENT, "", "a.doc", BYTES(ole), "application/msword"},
        {MEDIA_DOCUMENT, "", "a.docx", BYTES(ole), NULL},
        {MEDIA_DOCUMENT, "", "", BYTES(text), "text/plain"},
        {MEDIA_DOCUMENT, "Text/CSV;charset=utf-8", "", BYTES(text), "text/csv"},
        {MEDIA_DOCUMENT, "", "a.csv", BYTES(text), "text/csv"},
        {MEDIA_DOCUMENT, "application/pdf", "a.pdf", BYTES(text), "text/plain"},
        {MEDIA_DOCUMENT, "text/plain", "a.txt", BYTES(zeros), NULL},
        {MEDIA_DOCUMENT, "", "", BYTES(html), NULL},
        {MEDIA_DOCUMENT, "", "", "", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char mime[MEDIA_MIME_SIZE] = "";
        struct err e = {0};
        bool ok = media_type(cases[i].kind, cases[i].said, cases[i].name, cases[i].bytes,
                             cases[i].n, mime, &e);
        if (ok != (cases[i].mime != NULL) || (ok && strcmp(cases[i].mime, mime) != 0)) {
            t_fail(__FILE__, __LINE__, "case %zu: %s %s", i, ok ? mime : "refused", e.text);
        }
        CHECK(ok || strstr(e.text, "has to be one of"));
    }
}

TEST(no_first_bytes_are_read_beyond_their_end)
{
    for (int i = 0; i < 20000; i++) {
        size_t n = t_random() % 24;
        char *exact = xmalloc(n), mime[MEDIA_MIME_SIZE];
        for (size_t k = 0; k < n; k++) {
            exact[k] = "\xff\xd8\xf1\xfb\x90RIFFWEBPftypID3<h\0"[t_random() % 21];
        }
        (void)media_sniff(exact, n);
        for (int kind = 0; kind < MEDIA_KINDS; kind++) {
            bool ok = media_type((enum media_kind)kind, "", "", exact, n, mime, NULL);
            CHECK(!ok || media_kind_takes((enum media_kind)kind, mime));
        }
        free(exact);
    }
}

TEST(a_name_tells_a_kind)
{
    enum media_kind k;
    CHECK(media_kind_by_name("/a.b/c.JPG", &k) && k == MEDIA_IMAGE);
    CHECK(media_kind_by_name("https://a.example/b.mp4?c=d.jpg", &k) && k == MEDIA_VIDEO);
    CHECK(media_kind_by_name("a.tar.pdf", &k) && k == MEDIA_DOCUMENT);
    CHECK(!media_kind_by_name("jpg", &k) && !media_kind_by_name("a.jpg/b", &k));
    CHECK(!media_kind_by_name("", &k) && !media_kind_by_name("a.", &k));
}

/* --- data: URLs ------------------------------------------------------------------------------ */

TEST(data_urls_are_read)
{
    static const struct {
        const char *url, *mime, *content;
        size_t n;
    } cases[] = {
        {"data:image/png;base64,iVBORw==", "image/png", BYTES("\x89PNG")},
        {"data:image/png;base64,iVBORw%3D%3d", "image/png", BYTES("\x89PNG")},
        {"DATA:IMAGE/PNG;BASE64,QQ==", "image/png", BYTES("A")},
        {"data:;base64,", "text/plain", BYTES("")},
        {"data:,", "text/plain", BYTES("")},
        {"data:,A%20brief%20note", "text/plain", BYTES("A brief note")},
        {"data:text/plain;charset=iso-8859-7,%be%fg", NULL, NULL, 0},
        {"data:text/plain;charset=iso-8859-7,%be%ff", "text/plain", BYTES("\xbe\xff")},
        {"data:text/csv;charset=utf-8;base64,YSxi", "text/csv", BYTES("a,b")},
        {"data:application/x+y-z.1,a,b", "application/x+y-z.1", BYTES("a,b")},
        {"data:,+%2B%00", "text/plain", BYTES("++\0")},
        {"data:;base64,Pj4%2fPw==", "text/plain", BYTES(">>\?\?")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        char mime[MEDIA_MIME_SIZE];
        const char *url = cases[i].url;
        buf_adds(&out, "x");
        if (!cases[i].mime) {
            CHECK(!media_data_url(url, strlen(url), 100, &out, mime, NULL));
            CHECK_STR("x", out.data);
        } else {
            CHECK_OK(media_data_url(url, strlen(url), 100, &out, mime, e));
            CHECK_STR(cases[i].mime, mime);
            CHECK_INT(cases[i].n + 1, out.len);
            CHECK(memcmp(out.data + 1, cases[i].content, cases[i].n) == 0);
        }
        buf_done(&out);
    }
}

TEST(mistakes_in_data_urls_are_named_with_their_place)
{
    static const struct {
        const char *url, *says;
    } cases[] = {
        {"", "character 1: it has to begin with data:"},
        {"http://a", "character 1: "},
        {"data:image/png;base64", "character 22: there is no comma"},
        {"data:image;base64,QQ==", "character 6: a media type"},
        {"data:/png,x", "character 6: a media type"},
        {"data:im age/png,x", "character 6: a media type"},
        {"data:image/png;,x", "character 16: a parameter"},
        {"data:image/png;charset,x", "character 16: a parameter"},
        {"data:image/png;base64;a=b,x", "character 16: a parameter"},
        {"data:;base64,QQ=", "character 17: the last group of base64 is not full"},
        {"data:;base64,QQ", "character 16: the last group"},
        {"data:;base64,Q", "character 15: the last group"},
        {"data:;base64,QQ===", "character 18: nothing may follow the padding"},
        {"data:;base64,QQ==QQ==", "character 18: nothing may follow the padding"},
        {"data:;base64,=", "character 14: there is no group"},
        {"data:;base64,QUJD=", "character 18: there is no group"},
        {"data:;base64,QR==", "bits that belong to no byte"},
        {"data:;base64,QUF=", "bits that belong to no byte"},
        {"data:;base64,A-_A", "character 15: this is base64url"},
        {"data:;base64,AA*A", "character 16: it is not in the alphabet"},
        {"data:;base64,AA A", "character 16: it has to be percent-encoded"},
        {"data:;base64,AA\nA", "character 16: it has to be percent-encoded"},
        {"data:,a b", "character 8: it has to be percent-encoded"},
        {"data:,a%4", "character 8: % has to be followed"},
        {"data:,a%", "character 8: % has to be followed"},
        {"data:,%zz", "character 7: % has to be followed"},
        {"data:,\xc3\xa9", "character 7: it has to be percent-encoded"},
        {"data:,#", "character 7: it has to be percent-encoded"},
        {"data:,12345678901", "more than 10 bytes"},
        {"data:;base64,QUJDREVGR0hJSktM", "more than 10 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        char mime[MEDIA_MIME_SIZE];
        struct err e = {0};
        wrong(media_data_url(cases[i].url, strlen(cases[i].url), 10, &out, mime, &e), &e,
              cases[i].says, cases[i].url);
        CHECK_INT(0, out.len);
        buf_done(&out);
    }
}

TEST(a_nul_is_no_character_of_a_media_type)
{
    static const char url[] = "data:h\0a/l,x";
    struct buf out = {0};
    char mime[MEDIA_MIME_SIZE];
    struct err e = {0};
    wrong(media_data_url(url, sizeof url - 1, 10, &out, mime, &e), &e, "character 6: a media type",
          "NUL");
}

/* By an encoder that shares nothing with the decoder. */
TEST(any_bytes_come_back_from_base64_and_from_percent)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int round = 0; round < 3000; round++) {
        unsigned char bytes[64];
        size_t n = t_random() % sizeof bytes;
        struct buf a = {0}, b = {0}, out = {0};
        char mime[MEDIA_MIME_SIZE];
        buf_adds(&a, "data:;base64,");
        buf_adds(&b, "data:,");
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (unsigned char)t_random();
            buf_addf(&b, "%%%02x", bytes[i]);
        }
        for (size_t bit = 0; bit < 8 * n; bit += 6) {
            unsigned v = 0;
            for (size_t k = bit; k < bit + 6; k++) {
                v = v << 1 | (k < 8 * n ? bytes[k / 8] >> (7 - k % 8) & 1u : 0);
            }
            buf_add(&a, &set[v], 1);
        }
        buf_adds(&a, n % 3 == 1 ? "==" : n % 3 == 2 ? "=" : "");
        CHECK_OK(media_data_url(a.data, a.len, 100, &out, mime, e));
        CHECK_OK(media_data_url(b.data, b.len, 100, &out, mime, e));
        CHECK_INT(2 * n, out.len);
        CHECK(!n || (memcmp(out.data, bytes, n) == 0 && memcmp(out.data + n, bytes, n) == 0));
        buf_done(&a);
        buf_done(&b);
        buf_done(&out);
    }
}

/* --- templates ------------------------------------------------------------------------------- */

TEST(a_template_is_read)
{
    static const char json[] =
        "{\"name\":\"promo_1\",\"language\":\"en_US\",\"header\":\"For {{name}}\","
        "\"body\":{\"first_name\":\"{{name|Cik}}\",\"b\":\"x\"},"
        "\"buttons\":[{\"index\":1,\"type\":\"url\",\"value\":\"?a\"},"
        "{\"index\":0,\"type\":\"quick_reply\",\"value\":\"stop\"}]}";
    struct approved a;
    CHECK_OK(approved_parse(json, strlen(json), true, &a, e));
    CHECK_STR("promo_1", a.name);
    CHECK_STR("en_US", a.language);
    CHECK_STR("For {{name}}", a.header);
    CHECK_INT(2, a.n_body);
    CHECK_STR("first_name", a.body[0].name);
    CHECK_STR("{{name|Cik}}", a.body[0].text);
    CHECK_INT(2, a.n_buttons);
    CHECK(a.buttons[0].index == 1 && a.buttons[0].url && !a.buttons[1].url);
    approved_done(&a);
    static const char list[] = "{\"name\":\"p\",\"language\":\"ms\",\"body\":[\"a\"]}";
    CHECK_OK(approved_parse(list, strlen(list), true, &a, e));
    CHECK(!a.body[0].name && !a.header && a.n_buttons == 0);
    approved_done(&a);
}

TEST(values_have_no_line_ends_tabs_or_many_blanks)
{
    CHECK_OK(approved_value_check("a    b", 6, e));
    CHECK_OK(approved_value_check("", 0, e));
    CHECK(!approved_value_check("a     b", 7, NULL));
    CHECK(!approved_value_check("a\nb", 3, NULL) && !approved_value_check("\r", 1, NULL));
    CHECK(!approved_value_check("a\t", 2, NULL));
}

/* --- how a medium reaches the provider ------------------------------------------------------- */

TEST(a_medium_goes_the_way_that_the_sender_has)
{
    static const struct {
        bool link;
        unsigned can;
        enum media_way way;
        const char *says;
    } cases[] = {
        {true, CAN_MEDIA_URL, WAY_URL, ""},
        {true, CAN_MEDIA_URL | CAN_MEDIA_BYTES | CAN_UPLOAD, WAY_URL, ""},
        {true, CAN_MEDIA_BYTES, WAY_NONE, "without link:"},
        {true, CAN_UPLOAD, WAY_NONE, "without link:"},
        {true, CAN_TEMPLATE, WAY_NONE, "none at all"},
        {false, CAN_UPLOAD | CAN_MEDIA_BYTES | CAN_MEDIA_URL, WAY_UPLOAD, ""},
        {false, CAN_MEDIA_BYTES | CAN_MEDIA_URL, WAY_BYTES, ""},
        {false, CAN_MEDIA_URL, WAY_NONE, "link:https"},
        {false, 0, WAY_NONE, "none at all"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct media_ref m = {.kind = MEDIA_IMAGE};
        char why[200];
        (void)snprintf(cases[i].link ? m.url : m.sha256, MEDIA_SHA_SIZE, "%s",
                       cases[i].link ? "https://a.example/a" : SHA);
        CHECK_INT(cases[i].way, media_plan_way(&m, cases[i].can, why));
        CHECK(cases[i].way == WAY_NONE ? strstr(why, cases[i].says) != NULL : !*why);
    }
}

TEST(an_id_is_suspected_only_by_what_was_refused_for_it)
{
    static const struct {
        enum outcome_class class;
        const char *code;
        bool refused;
    } cases[] = {{OUTCOME_REJECTED, "131053", true},  {OUTCOME_REJECTED, "131052", true},
                 {OUTCOME_RETRY, "131052", true},     {OUTCOME_REJECTED, "100", true},
                 {OUTCOME_REJECTED, "131026", false}, {OUTCOME_SENT, "100", false},
                 {OUTCOME_UNKNOWN, "131053", false},  {OUTCOME_NOT_SENT, "100", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o = {.class = cases[i].class};
        (void)snprintf(o.code, sizeof o.code, "%s", cases[i].code);
        CHECK_INT(cases[i].refused, media_plan_id_refused(&o));
        o.scope = SCOPE_DEVICE;
        CHECK(!media_plan_id_refused(&o));
    }
}

TEST(a_failed_upload_charges_no_attempt_and_holds_what_it_is_about)
{
    for (int class = OUTCOME_SENT; class <= OUTCOME_NOT_SENT; class ++) {
        for (int scope = SCOPE_MESSAGE; scope <= SCOPE_ENDPOINT; scope++) {
            struct outcome o = {.class = (enum outcome_class) class,
                                .scope = (enum outcome_scope)scope,
                                .retry_after_ms = 7,
                                .provider_id = "id"};
            media_plan_upload_failed(&o);
            const char *kind = pace_verdict(&o, true).kind;
            CHECK(strcmp(kind, "deferred") == 0 ||
                  (class == OUTCOME_REJECTED &&
                   (strcmp(kind, "failed") == 0 || strcmp(kind, "returned") == 0)));
            CHECK(scope == (int)o.scope && o.retry_after_ms == 7 && !*o.provider_id);
        }
    }
}

TEST(a_refused_id_makes_the_message_come_again_and_stops_nothing)
{
    struct outcome o = {
        .class = OUTCOME_REJECTED, .scope = SCOPE_TEMPLATE, .stop = true, .stop_after = 3};
    media_plan_retry(&o);
    CHECK_STR("retry", pace_verdict(&o, true).kind);
    CHECK(!o.stop && !o.stop_after && o.scope == SCOPE_MESSAGE);
}
