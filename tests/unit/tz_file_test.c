#include "shared/mem.h"
#include "tests/unit/tz_case.h"

#include <string.h>
#include <sys/stat.h>

static void
put(struct buf *b, int64_t v, int size)
{
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) {
        char c = (char)((uint64_t)v >> shift);
        buf_add(b, &c, 1);
    }
}

struct parts {
    int isut, isstd, leap, time, type, chars; /* as the header says */
    int32_t offset[2];
    int64_t at[4];
    const char *footer; /* with its line feeds, or NULL */
    unsigned char index[4];
    unsigned char is_dst, name_at; /* of the first type */
    char version;
};
static const struct parts sound = {.version = '2',
                                   .time = 2,
                                   .type = 2,
                                   .chars = 4,
                                   .at = {-1000, 1000},
                                   .index = {1, 0},
                                   .offset = {3600, 7200},
                                   .footer = "\n\n"};

static void
put_block(struct buf *b, const struct parts *p, int size)
{
    buf_adds(b, "TZif");
    buf_add(b, &p->version, 1);
    buf_add(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    const int counts[] = {p->isut, p->isstd, p->leap, p->time, p->type, p->chars};
    for (size_t i = 0; i < 6; i++) {
        put(b, counts[i], 4);
    }
    for (int i = 0; i < p->time && i < 4; i++) {
        put(b, p->at[i], size);
    }
    for (int i = 0; i < p->time && i < 4; i++) {
        put(b, p->index[i], 1);
    }
    for (int i = 0; i < p->type && i < 2; i++) {
        put(b, p->offset[i], 4);
        put(b, i ? 0 : p->is_dst, 1);
        put(b, i ? 0 : p->name_at, 1);
    }
    for (int i = 0; i < p->chars && i < 8; i++) {
        put(b, 0, 1);
    }
    for (int i = 0; i < p->leap && i < 4; i++) {
        put(b, 78796800 + i, size);
        put(b, i + 1, 4);
    }
    for (int i = 0; i < p->isstd + p->isut && i < 4; i++) {
        put(b, 0, 1);
    }
}

static bool
parse_parts(const struct parts *p, struct tz **ret, struct err *e)
{
    struct buf b = {0};
    put_block(&b, p, 4);
    if (p->version) {
        put_block(&b, p, 8);
        buf_adds(&b, p->footer ? p->footer : "");
    }
    /* An exact copy, so that a sanitizer sees a byte read too far. */
    unsigned char *copy = xmalloc(b.len);
    memcpy(copy, b.data, b.len);
    bool ok = tz_parse(copy, b.len, ret, e);
    free(copy);
    buf_done(&b);
    return ok;
}

TEST(all_versions_of_the_format_are_read)
{
    for (int i = 0; i < 4; i++) {
        struct parts p = sound;
        struct tz *z;
        p.version = (char)(i ? '1' + i : 0);
        CHECK_OK(parse_parts(&p, &z, e));
        CHECK_INT(3600, tz_offset_at(z, -1001)); /* the first type before any transition */
        CHECK_INT(7200, tz_offset_at(z, -1000));
        CHECK_INT(7200, tz_offset_at(z, 999));
        CHECK_INT(3600, tz_offset_at(z, 1000));
        CHECK_INT(3600, tz_offset_at(z, INT64_MAX));
        tz_free(z);
    }
}

TEST(damaged_parts_are_refused)
{
    struct parts bad[19];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bad[i] = sound;
    }
    bad[0].type = 0;
    bad[1].chars = 0;
    bad[2].index[1] = 2; /* with zeros behind the types, a type if read too far */
    bad[2].chars = 8;
    bad[3].at[1] = -1000;
    bad[4].at[1] = -2000;
    bad[5].leap = 1;
    bad[6].isut = 1;
    bad[7].isstd = 1;
    bad[8].time = -1; /* sizes that add up to little if they wrap around */
    bad[8].version = 0;
    bad[9].time = 0x7fffffff;
    bad[10].type = 0x10000;
    bad[11].offset[0] = 93600;
    bad[12].offset[1] = INT32_MIN;
    bad[13].footer = NULL;
    bad[14].footer = "\nUTC0";
    bad[15].footer = "xUTC0\n";
    bad[16].offset[0] = -90000;
    bad[17].is_dst = 2;
    bad[18].name_at = 4;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tz *z = (void *)bad;
        struct err e = {0};
        if (parse_parts(&bad[i], &z, &e) || e.kind != ERR_INPUT || z) {
            t_fail(__FILE__, __LINE__, "part %zu was taken", i);
        }
    }
}

TEST(the_longest_offsets_are_read)
{
    struct parts p = sound;
    struct tz *z;
    p.offset[0] = -89999;
    p.offset[1] = 93599;
    CHECK_OK(parse_parts(&p, &z, e));
    CHECK_INT(-89999, tz_offset_at(z, 5000));
    CHECK_INT(93599, tz_offset_at(z, 0));
    CHECK_INT(-1000, tz_local_to_utc(z, -1000 + 93599));
    tz_free(z);
}

TEST(long_files_are_refused)
{
    struct buf b = {0};
    struct tz *z;
    struct parts p = sound;
    p.version = 0;
    put_block(&b, &p, 4);
    CHECK(!tz_parse((unsigned char *)b.data, 0, &z, NULL));
    while (b.len < 65536) {
        buf_add(&b, "", 1);
    }
    CHECK_OK(tz_parse((unsigned char *)b.data, 65536, &z, e));
    tz_free(z);
    buf_add(&b, "", 1);
    CHECK(!tz_parse((unsigned char *)b.data, 65537, &z, NULL));
    buf_done(&b);
}

static bool
parse_footer(const char *footer, struct tz **ret, struct err *e)
{
    struct parts p = sound;
    char *line = xasprintf("\n%s\n", footer);
    p.time = 0; /* then the footer holds at all times */
    p.footer = line;
    bool ok = parse_parts(&p, ret, e);
    free(line);
    return ok;
}

TEST(footers_agree_with_the_c_library)
{
    static const char *const footers[] = {
        "UTC0",
        "MYT-8",
        "<+0545>-5:45",
        "<-0330>+3:30:30",
        "EST5EDT,M3.2.0,M11.1.0",
        "EST5EDT4,M3.2.0/2,M11.1.0/2:00:00",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "IST-1GMT0,M10.5.0,M3.5.0/1", /* summer is standard, winter "saves" */
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "IST-2IDT,M3.4.4/26,M10.5.0",
        "CET-1CEST,J60/2,J300/3",
        "CET-1CEST,59/2,300/3",
        "AAA3BBB,J1/0,J59/24"};
    for (size_t i = 0; i < sizeof footers / sizeof *footers; i++) {
        struct tz *z;
        CHECK_OK(parse_footer(footers[i], &z, e));
        int changes = compare(footers[i], z, footers[i], 6 * hour);
        CHECK_INT(strchr(footers[i], ',') != NULL, changes > 170);
        tz_free(z);
    }
}

TEST(rules_repeat_every_400_years)
{
    const int64_t cycle = 146097 * day;
    struct tz *z;
    CHECK_OK(parse_footer("EST5EDT,M3.2.0,M11.1.0", &z, e));
    for (int round = 0; round < 20000; round++) {
        int64_t s = (int64_t)(t_random() % (uint64_t)cycle);
        int64_t other = s + cycle * ((int64_t)(t_random() % 40) - 20);
        CHECK_INT(tz_offset_at(z, s), tz_offset_at(z, other));
        CHECK_INT(tz_local_to_utc(z, s) - s, tz_local_to_utc(z, other) - other);
    }
    tz_free(z);
}

/* RFC 8536 section 3.3.1 has this form for permanent daylight saving. */
TEST(daylight_saving_may_last_all_year)
{
    struct tz *z;
    CHECK_OK(parse_footer("EST5EDT,0/0,J365/25", &z, e));
    for (int64_t s = at("2020-12-20 00:00"); s < at("2022-01-10 00:00"); s += 1800) {
        CHECK_INT(-4 * hour, tz_offset_at(z, s));
        CHECK_INT(s + 4 * hour, tz_local_to_utc(z, s));
    }
    tz_free(z);
}

TEST(malformed_footers_are_refused)
{
    static const char *const bad[] = {"X",
                                      "UTC",
                                      "UT0",
                                      "UTC25",
                                      "UTC0:60",
                                      "UTC0:00:60",
                                      "UTC0 ",
                                      "UTC-",
                                      "<UTC0",
                                      "<U>0",
                                      "<A B>0",
                                      "EST5EDT",
                                      "EST5,M3.2.0,M11.1.0",
                                      "EST5EDT,M3.2.0",
                                      "EST5EDT,M3.2.0,M11.1.0,",
                                      "EST5EDT,M13.2.0,M11.1.0",
                                      "EST5EDT,M0.2.0,M11.1.0",
                                      "EST5EDT,M3.6.0,M11.1.0",
                                      "EST5EDT,M3.0.0,M11.1.0",
                                      "EST5EDT,M3.2.7,M11.1.0",
                                      "EST5EDT,M3.2,M11.1.0",
                                      "EST5EDT,J0,J5",
                                      "EST5EDT,J366,J5",
                                      "EST5EDT,366,5",
                                      "EST5EDT,M3.2.0/168,M11.1.0",
                                      "EST5EDT,M3.2.0/,M11.1.0",
                                      "EST5EDT,M99999999999.2.0,M11.1.0",
                                      "EST55555555555EDT,M3.2.0,M11.1.0",
                                      ":America/New_York"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tz *z;
        struct err e = {0};
        if (parse_footer(bad[i], &z, &e)) {
            t_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
        }
        CHECK_INT(ERR_INPUT, e.kind);
    }
}

/* Asks a zone of unknown sanity about hard times; the answers need only come. */
static void
ask(const struct tz *z)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, 1700000000, INT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        (void)tz_offset_at(z, times[i]);
        (void)tz_local_to_utc(z, times[i]);
    }
    for (int round = 0; round < 20; round++) {
        int64_t s = (int64_t)(t_random() >> (t_random() % 64));
        (void)tz_offset_at(z, s);
        (void)tz_local_to_utc(z, -s);
    }
}

TEST(the_ends_of_time_are_no_overflow)
{
    static const char *const zones[] = {"UTC", "America/New_York", "Asia/Kuala_Lumpur"};
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        struct tz *z = load(zones[i]);
        ask(z);
        tz_free(z);
    }
}

TEST(damaged_files_never_crash)
{
    unsigned char whole[8192];
    FILE *f = fopen("/usr/share/zoneinfo/America/New_York", "r");
    CHECK(f != NULL);
    size_t n = fread(whole, 1, sizeof whole, f);
    (void)fclose(f);
    CHECK(n > 1000 && n < sizeof whole);
    int taken = 0;
    for (size_t round = 0; round < 20000; round++) {
        size_t length = round < n ? round : n; /* every cut, then changed bytes */
        unsigned char *copy = xmalloc(length);
        memcpy(copy, whole, length);
        for (size_t i = 0; round >= n && i < 1 + round % 8; i++) {
            /* Half of the changes hit what steers the reading: the headers and the footer. */
            size_t where = t_random() % 2 ? t_random() % n : n - 1 - t_random() % 24;
            where = t_random() % 4 ? where : t_random() % 44;
            copy[where] = (unsigned char)t_random();
        }
        struct tz *z;
        struct err e = {0};
        if (tz_parse(copy, length, &z, &e)) {
            taken++;
            ask(z);
            tz_free(z);
        } else {
            CHECK_INT(ERR_INPUT, e.kind);
        }
        free(copy);
    }
    CHECK(taken > 100);
}

TEST(a_folder_of_ones_own_is_searched_first)
{
    char path[200];
    struct buf b = {0};
    put_block(&b, &(struct parts){.type = 1, .chars = 4, .offset = {-4321}}, 4);
    (void)snprintf(path, sizeof path, "%s/Asia", t_dir());
    CHECK(mkdir(path, 0700) == 0);
    (void)snprintf(path, sizeof path, "%s/Asia/Tokyo", t_dir());
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(b.data, 1, b.len, f) == b.len && fclose(f) == 0);
    buf_done(&b);
    CHECK(setenv("PACELINE_TZDIR", t_dir(), 1) == 0);
    struct tz *own = load("Asia/Tokyo"), *other = load("Asia/Seoul");
    CHECK_INT(-4321, tz_offset_at(own, 0));
    CHECK_INT(32400, tz_offset_at(other, 0));
    tz_free(own);
    tz_free(other);
}
