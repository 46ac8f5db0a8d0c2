/* What definitions rest on: values that are written as they are read, JSON with line and column,
 * places. */
#include "ctl/define.h"
#include "ctl/flag.h"
#include "tests/harness/t.h"

#include <stdlib.h>
#include <string.h>

struct values {
    int64_t ms, n;
    struct flag_pair gap, batch, quiet;
    const char *text, *word;
    struct flag_list list;
    bool yes;
};
#define FLAG(name) offsetof(struct values, name)
static const struct flag flags[] = {
    {"ms", FLAG_MS, FLAG(ms), "0s..3650d", NULL, NULL, false},
    {"n", FLAG_INT, FLAG(n), "1..10", NULL, NULL, false},
    {"gap", FLAG_GAP, FLAG(gap), NULL, NULL, NULL, false},
    {"batch", FLAG_BATCH, FLAG(batch), NULL, NULL, NULL, false},
    {"quiet", FLAG_QUIET, FLAG(quiet), NULL, NULL, NULL, false},
    {"text", FLAG_TEXT, FLAG(text), NULL, NULL, NULL, false},
    {"word", FLAG_WORD, FLAG(word), "yes|no", NULL, NULL, false},
    {"step", FLAG_LIST, FLAG(list), NULL, NULL, NULL, false},
    {"step-file", FLAG_LIST, FLAG(list), NULL, NULL, NULL, false},
    {"yes", FLAG_BOOL, FLAG(yes), NULL, NULL, NULL, false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};
static const char *const all[] = {"ms", "n", "gap", "batch", "text", "word", NULL};
static const char *const none[] = {NULL};

/* Reads a value and writes it back. */
static void
check_written(const char *name, const char *text, const char *want)
{
    struct values v;
    struct buf out = {0};
    const struct flag *f = flag_find(flags, name);
    flag_defaults(flags, &v);
    CHECK(flag_is_unset(f, &v));
    CHECK(flag_set(f, text, &v, NULL));
    CHECK(!flag_is_unset(f, &v));
    flag_write(f, &v, &out);
    CHECK_STR(want, out.data);
    CHECK(flag_set(f, out.data, &v, NULL)); /* and it is read again */
    buf_done(&out);
}

TEST(values_have_one_way_of_writing)
{
    static const char *const cases[][3] = {{"ms", "0s", "0s"},
                                           {"ms", "60s", "1m"},
                                           {"ms", "90s", "90s"},
                                           {"ms", "1500ms", "1500ms"},
                                           {"ms", "24h", "1d"},
                                           {"ms", "36h", "36h"},
                                           {"n", "10", "10"},
                                           {"gap", "5s", "5s"},
                                           {"gap", "5s..5000ms", "5s"},
                                           {"gap", "0s..1m", "0s..1m"},
                                           {"batch", "20/600s", "20/10m"},
                                           {"batch", "none", "none"},
                                           {"batch", "1/0s", "1/0s"},
                                           {"quiet", "22:00-07:30", "22:00-07:30"},
                                           {"quiet", "none", "none"},
                                           {"text", "a b", "a b"},
                                           {"word", "no", "no"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_written(cases[i][0], cases[i][1], cases[i][2]);
    }
}

TEST(repeated_flags_keep_their_order)
{
    struct values v;
    flag_defaults(flags, &v);
    CHECK(flag_is_unset(flag_find(flags, "step"), &v));
    for (int i = 0; i < 40; i++) {
        CHECK(
            flag_set(flag_find(flags, i % 2 ? "step-file" : "step"), i % 2 ? "b" : "a", &v, NULL));
    }
    CHECK_INT(40, (int64_t)v.list.n);
    for (size_t i = 0; i < v.list.n; i++) {
        CHECK_STR(i % 2 ? "step-file" : "step", v.list.items[i].flag);
        CHECK_STR(i % 2 ? "b" : "a", v.list.items[i].text);
    }
    flag_done(flags, &v);
    CHECK_INT(0, (int64_t)v.list.n);
}

TEST(json_mistakes_have_line_and_column)
{
    static const char *const cases[][2] = {{"", "1:1: "},
                                           {" \n\t", "1:1: "},
                                           {"{", "1:1: "},
                                           {"{\n \"a\": 1,\n}", "3:1: "},
                                           {"{\"a\": 1} x", "1:10: "},
                                           {"{\"a\": 1,\n\"a\": 2}", "2:3: duplicate"},
                                           {"{\"a\": \"\\u0000\"}", "1:"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct doc *d;
        struct err e = {0};
        CHECK(!doc_parse(cases[i][0], strlen(cases[i][0]), &d, &e));
        CHECK(!d);
        CHECK_INT(ERR_INPUT, e.kind);
        if (strncmp(e.text, cases[i][1], strlen(cases[i][1])) != 0) {
            CHECK_STR(cases[i][1], e.text);
        }
    }
}

TEST(members_keep_the_order_of_the_text)
{
    static const char text[] = "{\"z\": 1, \"a\": 2, \"m\": 1.5}";
    struct doc *d;
    CHECK(doc_parse(text, strlen(text), &d, NULL));
    CHECK_STR("z", doc_key(d, 0));
    CHECK_STR("a", doc_key(d, 1));
    CHECK_STR("m", doc_key(d, 2));
    CHECK(!doc_key(d, 3));
    CHECK_INT(DOC_REAL, doc_type(doc_get(d, "m")));
    doc_free(d);
}

/* Reads a document's members; the error's text, or "". */
static const char *
read_members(const char *text, const char *path, struct values *v, struct doc **ret)
{
    static struct err e;
    e = (struct err){0};
    flag_defaults(flags, v);
    CHECK(doc_parse(text, strlen(text), ret, &e));
    bool ok = define_members(*ret, path, flags, all, none, v, &e);
    CHECK(ok == !e.kind);
    return e.text;
}

TEST(members_are_read_and_put_back)
{
    static const char text[] = "{\"ms\":\"90m\",\"n\":7,\"gap\":\"1s..2s\",\"batch\":\"none\","
                               "\"text\":\"\xc3\xa4\",\"word\":true}";
    struct values v;
    struct doc *d, *back = doc_object();
    struct buf out = {0};
    CHECK_STR("", read_members(text, "", &v, &d));
    define_put(flags, all, &v, back);
    doc_write(back, &out);
    CHECK_STR(text, out.data);
    CHECK_INT(5400000, v.ms);
    buf_done(&out);
    doc_free(back);
    doc_free(d);
}

TEST(a_wrong_member_is_named)
{
    static const char *const cases[][3] = {
        {"{\"ms\": 5}", "", "ms: has to be a duration"},
        {"{\"n\": \"5\"}", "a[1]", "a[1].n: has to be a whole number"},
        {"{\"n\": 11}", "", "n: 11 is not within 1..10"},
        {"{\"n\": 1.0}", "", "n: has to be a whole number"},
        {"{\"word\": \"yes\"}", "", "word: has to be true or false"},
        {"{\"text\": []}", "x", "x.text: has to be text"},
        {"{\"tex\": \"\"}", "x", "x.tex: unknown member (did you mean text?)"},
        {"{\"quiet\": \"none\"}", "", "quiet: unknown member; there are ms, n, gap"},
        {"{\"step\": \"x\"}", "", "step: unknown member"},
        {"[]", "x", "x: has to be an object"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        struct doc *d;
        const char *got = read_members(cases[i][0], cases[i][1], &v, &d);
        if (strncmp(got, cases[i][2], strlen(cases[i][2])) != 0) {
            CHECK_STR(cases[i][2], got);
        }
        doc_free(d);
    }
}

TEST(a_member_that_is_null_is_missing)
{
    struct values v;
    struct doc *d;
    CHECK_STR("", read_members("{\"ms\": null, \"n\": null}", "", &v, &d));
    CHECK_INT(FLAG_UNSET, v.ms);
    CHECK_INT(FLAG_UNSET, v.n);
    doc_free(d);
}

TEST(places)
{
    char place[DEFINE_PLACE];
    CHECK_STR("max_lateness", define_place(true, "max_lateness", place));
    CHECK_STR("--max-lateness", define_place(false, "max_lateness", place));
    CHECK_STR("schedule.end_date", define_place(true, "schedule.end_date", place));
    CHECK_STR("--end-date", define_place(false, "schedule.end_date", place));
}
