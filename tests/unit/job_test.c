#include "shared/job.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

/* --- random jobs ---------------------------------------------------------------------------------
 */

static uint64_t
one_of(uint64_t n)
{
    return t_random() % n;
}

/* Numbers of every size, edges among them. */
static uint64_t
any_uint(uint64_t most)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     127,
                                     128,
                                     255,
                                     256,
                                     65535,
                                     65536,
                                     INT32_MAX,
                                     UINT32_MAX,
                                     UINT64_C(1) << 32,
                                     INT64_MAX - 1,
                                     INT64_MAX};
    uint64_t v = one_of(3) ? t_random() >> one_of(64) : edges[one_of(sizeof edges / sizeof *edges)];
    return v > most ? v % (most + 1) : v;
}

static int64_t
any_int(void)
{
    int64_t v = (int64_t)any_uint(INT64_MAX);
    return one_of(2) ? v : -v - 1;
}

/* A piece of a pool of random bytes: any bytes, mostly short, lengths around the codec's edges. */
static struct job_text
any_text(size_t most)
{
    static char pool[70000];
    static const size_t edges[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    if (!pool[0]) {
        for (size_t i = 0; i < sizeof pool; i++) {
            pool[i] = (char)(t_random() | (i == 0));
        }
    }
    size_t len = one_of(200) ? one_of(40) : edges[one_of(sizeof edges / sizeof *edges)];
    len = len > most ? most : len;
    return (struct job_text){.s = pool + one_of(sizeof pool - len + 1), .len = len};
}

static struct job
any_job(void)
{
    struct job j = {.row = any_uint(INT64_MAX),
                    .attempt = (uint32_t)any_uint(UINT32_MAX),
                    .user = any_uint(INT64_MAX),
                    .device = any_uint(INT64_MAX),
                    .sender = any_text(300),
                    .device_ref = any_text(300),
                    .recipient = any_text(300),
                    .name = any_text(300),
                    .content = any_text(65536),
                    .gap_min_ms = any_int(),
                    .gap_max_ms = any_int(),
                    .batch_size = any_int(),
                    .batch_pause_ms = any_int(),
                    .zone = any_text(60),
                    .language = any_text(30),
                    .media = any_text(300),
                    .template_json = any_text(300),
                    .n_vars = one_of(20) ? one_of(5) : one_of(JOB_VARS_MAX + 1)};
    for (size_t i = 0; i < 2 * j.n_vars; i++) {
        j.vars[i] = any_text(300);
    }
    return j;
}

static void
check_text(struct job_text want, struct job_text got)
{
    CHECK_INT(want.len, got.len);
    CHECK(want.len == 0 || memcmp(want.s, got.s, want.len) == 0);
}

static void
check_same(const struct job *want, const struct job *got)
{
    CHECK(want->row == got->row && want->attempt == got->attempt && want->user == got->user &&
          want->device == got->device);
    CHECK(want->gap_min_ms == got->gap_min_ms && want->gap_max_ms == got->gap_max_ms &&
          want->batch_size == got->batch_size && want->batch_pause_ms == got->batch_pause_ms);
    check_text(want->sender, got->sender);
    check_text(want->device_ref, got->device_ref);
    check_text(want->recipient, got->recipient);
    check_text(want->name, got->name);
    check_text(want->content, got->content);
    check_text(want->zone, got->zone);
    check_text(want->language, got->language);
    check_text(want->media, got->media);
    check_text(want->template_json, got->template_json);
    CHECK_INT(want->n_vars, got->n_vars);
    for (size_t i = 0; i < 2 * want->n_vars; i++) {
        check_text(want->vars[i], got->vars[i]);
    }
}

/* In memory of exactly this size, so that a sanitizer sees a step too far. */
static bool
decode(const char *p, size_t n, struct job *ret, struct err *e)
{
    char *exact = xmalloc(n);
    if (n) {
        memcpy(exact, p, n);
    }
    bool ok = job_decode(exact, n, ret, e);
    if (ok) { /* every text lies within the payload */
        const struct job_text *texts[] = {&ret->sender,   &ret->device_ref, &ret->recipient,
                                          &ret->name,     &ret->content,    &ret->zone,
                                          &ret->language, &ret->media,      &ret->template_json};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            CHECK(!texts[i]->len ||
                  (texts[i]->s >= exact && texts[i]->len <= (size_t)(exact + n - texts[i]->s)));
        }
        for (size_t i = 0; i < 2 * ret->n_vars; i++) {
            CHECK(ret->vars[i].s >= exact &&
                  ret->vars[i].len <= (size_t)(exact + n - ret->vars[i].s));
        }
    } else if (e) {
        CHECK_INT(ERR_INPUT, e->kind);
        CHECK(*e->text);
    }
    free(exact);
    return ok;
}

TEST(what_is_encoded_is_decoded)
{
    struct buf out = {0};
    for (int i = 0; i < 100000; i++) {
        struct job j = any_job(), got;
        buf_clear(&out);
        job_encode(&j, &out);
        if (out.len > JOB_BYTES_MAX) {
            CHECK(!job_decode(out.data, out.len, &got, NULL));
            continue;
        }
        CHECK_OK(job_decode(out.data, out.len, &got, e));
        check_same(&j, &got);
    }
    buf_done(&out);
}

TEST(encoding_appends)
{
    struct buf out = {0};
    struct job j = any_job(), got;
    buf_adds(&out, "before");
    job_encode(&j, &out);
    CHECK(memcmp(out.data, "before", 6) == 0);
    CHECK_OK(job_decode(out.data + 6, out.len - 6, &got, e));
    check_same(&j, &got);
    buf_done(&out);
}

/* --- hostile bytes
 * -------------------------------------------------------------------------------- */

static void
encode_small(struct buf *out)
{
    struct job j = {.row = 70000,
                    .attempt = 1,
                    .user = 5,
                    .device = 300,
                    .sender = {"log", 3},
                    .device_ref = {"ref", 3},
                    .recipient = {"60123456789", 11},
                    .name = {"Ada", 3},
                    .content = {"Hello {name}, a text that is longer than thirty-one bytes", 57},
                    .gap_min_ms = -1,
                    .gap_max_ms = 15000,
                    .batch_size = -1,
                    .batch_pause_ms = -200,
                    .vars = {{"name", 4}, {"Ada", 3}, {"x", 1}, {"", 0}},
                    .n_vars = 2,
                    .zone = {"Asia/Jakarta", 12},
                    .language = {"id", 2},
                    .media = {"M", 1},
                    .template_json = {"T", 1}};
    job_encode(&j, out);
}

TEST(every_truncation_is_refused)
{
    struct buf out = {0};
    struct job got;
    encode_small(&out);
    CHECK_OK(job_decode(out.data, out.len, &got, e));
    for (size_t n = 0; n < out.len; n++) {
        struct err e = {0};
        CHECK(!decode(out.data, n, &got, &e));
    }
    buf_done(&out);
}

TEST(a_byte_behind_the_end_is_refused)
{
    struct buf out = {0};
    struct job got;
    struct err e = {0};
    encode_small(&out);
    buf_add(&out, "\0", 1);
    CHECK(!decode(out.data, out.len, &got, &e));
    CHECK(strstr(e.text, "1 bytes behind its end"));
    buf_done(&out);
}

/* What encode_small() writes behind the variables: zone, language, known, media, template. */
static const char later[] = "\xac"
                            "Asia/Jakarta\xa2id\x00\xa1M\xa1T";
enum { LATER = sizeof later - 1, LATER_FIELDS = 5 };

TEST(fields_of_a_later_program_are_skipped)
{
    struct buf out = {0};
    struct job got;
    encode_small(&out);
    CHECK(memcmp(out.data, "\xdc\x00\x14", 3) == 0); /* twenty elements */
    struct buf longer = {0};
    buf_add(&longer, "\xdc\x00\x16", 3);
    buf_add(&longer, out.data + 3, out.len - 3);
    buf_add(&longer, "\xa3new\xc0", 5);
    CHECK_OK(decode(longer.data, longer.len, &got, e));
    CHECK_INT(70000, got.row);
    CHECK_INT(2, got.n_vars);
    buf_done(&longer);
    buf_done(&out);
}

TEST(a_payload_of_an_older_program_has_no_later_fields)
{
    struct buf out = {0}, older = {0};
    struct job got;
    encode_small(&out);
    buf_add(&older, "\x9f", 1);
    buf_add(&older, out.data + 3, out.len - 3 - LATER);
    CHECK_OK(decode(older.data, older.len, &got, e));
    CHECK_INT(2, got.n_vars);
    CHECK_INT(0, got.zone.len);
    CHECK_INT(0, got.language.len);
    CHECK_INT(0, got.media.len + got.template_json.len);
    buf_clear(&older);
    buf_add(&older, "\xdc\x00\x10", 3);                      /* sixteen */
    buf_add(&older, out.data + 3, out.len - 3 - LATER + 13); /* and the zone */
    CHECK_OK(decode(older.data, older.len, &got, e));
    CHECK_INT(12, got.zone.len);
    CHECK_INT(0, got.language.len);
    older.data[older.len - 13] = '\x01'; /* a number where the zone should be */
    CHECK(!decode(older.data, older.len, &got, NULL));
    buf_done(&older);
    buf_done(&out);
}

TEST(another_version_is_named)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } cases[] = {{"\x91\x02", 2, "payload version 2"},
                 {"\x91\x00", 2, "payload version 0"},
                 {"\x92\xcd\x01\x00", 4, "payload version 256"},
                 {"\x9f\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, "payload version 2"},
                 {"\x91\xff", 2, "no msgpack array that starts with a version"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct job got;
        CHECK(!decode(cases[i].bytes, cases[i].n, &got, &e));
        CHECK(strstr(e.text, cases[i].text));
    }
}

TEST(headers_that_declare_too_much_allocate_nothing)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {{"\xdd\x08\x00\x00\x00", 5},
                 {"\xdd\xff\xff\xff\xff", 5},
                 {"\xdc\xff\xff", 3},
                 {"\xdd\x08\x00\x00\x00\x01\x01\x01\x01\x01", 10},
                 {"\x9f\x01\x01\x01\x01\x01\xdb\xff\xff\xff\xff", 11},
                 {"\x9f\x01\x01\x01\x01\x01\xda\xff\xff", 9},
                 {"\x9f\x01\x01\x01\x01\x01\xd9\xff", 8},
                 {"\x9f\x01\x01\x01\x01\x01\xc4\x01x", 9},
                 {"\x9f\x01\xc0", 3},
                 {"\x9f\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 11},
                 {"\x9f\x01\xff", 3},
                 {"\x9e\x01", 2},
                 {"\x90", 1},
                 {"\x80", 1},
                 {"\xc1", 1},
                 {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct job got;
        CHECK(!decode(cases[i].bytes, cases[i].n, &got, &e));
    }
}

TEST(too_many_variables_and_odd_ones_are_refused)
{
    static const struct {
        const char *head;
        size_t n;
        int texts;
        bool ok;
    } cases[] = {{"\x92", 1, 2, true},
                 {"\x91", 1, 1, false},
                 {"\xdc\x00\x80", 3, 128, true},
                 {"\xdc\x00\x82", 3, 130, false},
                 {"\xdd\x00\x00\x00\x80", 5, 128, true}};
    struct buf out = {0};
    struct job got;
    encode_small(&out);
    size_t vars = out.len - LATER -
                  strlen("\x94\xa4name\xa3"
                         "Ada\xa1x\xa0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = {0};
        struct err e = {0};
        buf_add(&b, out.data, vars);
        buf_add(&b, cases[i].head, cases[i].n);
        for (int k = 0; k < cases[i].texts; k++) {
            buf_add(&b, "\xa1v", 2);
        }
        buf_add(&b, later, LATER);
        CHECK_INT(cases[i].ok, decode(b.data, b.len, &got, &e));
        buf_done(&b);
    }
    buf_done(&out);
}

TEST(a_payload_past_the_limit_is_refused)
{
    struct buf out = {0};
    struct err e = {0};
    struct job j = {.content = {NULL, 0}}, got;
    char *text = xcalloc(1, JOB_BYTES_MAX + 1);
    for (int over = 0; over < 2; over++) {
        j.content = (struct job_text){text, (size_t)(JOB_BYTES_MAX - 20 + over)};
        buf_clear(&out);
        job_encode(&j, &out);
        j.content.len -= out.len - JOB_BYTES_MAX - (size_t)over;
        buf_clear(&out);
        job_encode(&j, &out);
        CHECK_INT(JOB_BYTES_MAX + over, out.len);
        CHECK_INT(!over, decode(out.data, out.len, &got, &e));
    }
    CHECK(strstr(e.text, "more than"));
    free(text);
    buf_done(&out);
}

/* --- fuzz ----------------------------------------------------------------------------------------
 */

/* Whatever is accepted can be encoded and is the same again. */
static void
check_any(const char *p, size_t n)
{
    struct job j, again;
    struct buf out = {0};
    char *exact = xmalloc(n);
    memcpy(exact, p, n);
    if (job_decode(exact, n, &j, NULL)) {
        job_encode(&j, &out);
        CHECK_OK(job_decode(out.data, out.len, &again, e));
        check_same(&j, &again);
        buf_done(&out);
    }
    free(exact);
}

TEST(random_bytes_do_no_harm)
{
    char bytes[64];
    for (int i = 0; i < 1000000; i++) {
        size_t n = 1 + one_of(sizeof bytes);
        for (size_t k = 0; k < n; k++) {
            bytes[k] = (char)t_random();
        }
        if (one_of(2)) { /* past the first two checks */
            bytes[0] = (char)0x9f;
            bytes[n > 1] = 1;
        }
        check_any(bytes, n);
    }
}

TEST(damaged_payloads_do_no_harm)
{
    struct buf out = {0};
    int accepted = 0;
    for (int i = 0; i < 200000; i++) {
        buf_clear(&out);
        encode_small(&out);
        for (uint64_t k = 1 + one_of(3); k > 0; k--) {
            size_t at = one_of(out.len);
            out.data[at] =
                (char)(one_of(2) ? t_random() : (uint64_t)out.data[at] ^ (1U << one_of(8)));
        }
        struct job j;
        accepted += job_decode(out.data, out.len, &j, NULL);
        check_any(out.data, out.len);
    }
    CHECK(accepted > 0);
    buf_done(&out);
}

/* --- ids -----------------------------------------------------------------------------------------
 */

TEST(a_jobs_id_is_the_same_whoever_makes_it)
{
    char a[JOB_ID_SIZE], b[JOB_ID_SIZE];
    CHECK_STR("c42-d17-fabf7c496090d798-r0",
              job_id_campaign(42, 17, "60123456789", 0, a)); /* for ever */
    CHECK(job_id_campaign(42, 17, "60123456789", 0, b) == b);
    CHECK_STR(a, b);
    CHECK(!strstr(a, "60123456789"));
    static const struct {
        uint64_t campaign, device;
        const char *phone;
        unsigned rotation;
    } others[] = {{43, 17, "60123456789", 0},
                  {42, 18, "60123456789", 0},
                  {42, 17, "60123456780", 0},
                  {42, 17, "60123456789", 1},
                  {42, 17, "", 0}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        (void)job_id_campaign(others[i].campaign, others[i].device, others[i].phone,
                              others[i].rotation, b);
        CHECK(strcmp(a, b) != 0);
    }
}

TEST(one_phone_has_another_hash_in_another_campaign)
{
    char a[JOB_ID_SIZE], b[JOB_ID_SIZE];
    (void)job_id_campaign(1, 2, "60123456789", 0, a);
    (void)job_id_campaign(2, 2, "60123456789", 0, b);
    CHECK(strcmp(strchr(a, '-'), strchr(b, '-')) != 0);
}

TEST(the_longest_id_fits)
{
    char id[JOB_ID_SIZE];
    (void)job_id_campaign(INT64_MAX, INT64_MAX, "60123456789", 9, id);
    CHECK(strcmp(id + strlen(id) - 3, "-r9") == 0);
    CHECK(strlen(id) < sizeof id);
    CHECK(!strpbrk(id, " /{}"));
}
