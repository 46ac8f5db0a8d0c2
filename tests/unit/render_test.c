#include "shared/render.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <xxhash.h>

static const struct render_var ali[] = {
    {"name", "Ali"},           {"phone", "60123456789"}, {"city", "Kuala Lumpur"}, {"empty", ""},
    {"braces", "{a|b} {{c}}"}, {"_x1", "under"},         {"city", "second"},       {"none", NULL},
};
enum { ALI = sizeof ali / sizeof *ali };

/* The rendered text, or the error's; borrowed until the next call. */
static const char *
text_of(const char *template_text, size_t len, const char *job_id, const char *fallback)
{
    static struct buf out;
    static struct err e;
    buf_clear(&out);
    struct render_input in = {template_text, len, job_id, ali, ALI, fallback, NULL, NULL};
    return render(&in, &out, &e) ? out.data : e.text;
}

static const char *
plain(const char *template_text)
{
    return text_of(template_text, strlen(template_text), "job-1", "Cik");
}

TEST(variables_are_substituted)
{
    static const char *const table[][2] = {
        {"", ""},
        {"{name} {recipient_name} {{recipient_name}}", "Ali Ali Ali"},
        {"{{ name }},{{  city|x }}", "Ali,Kuala Lumpur"},
        {"{{city}} {city}", "Kuala Lumpur Kuala Lumpur"}, /* the first of two counts */
        {"{{missing}}|{{missing|}}|{{missing|there}}", "||there"},
        {"{{empty|there}}{{empty}}{empty}", "there"},
        {"{{none|there}}{none}{{_x1}}", "thereunder"},
        {"{{missing| kept }}", " kept "},
        {"{{missing|a|b}}{{missing|\\}}}", "a|b}"},
        {"{{missing|\\{\\}\\|\\\\\\n}}", "{}|\\\\n"},
        {"{{city|\\}}}", "Kuala Lumpur"},
        {"{{missing|line\nline}}", "line\nline"},
        {"{{braces}} {braces}", "{a|b} {{c}} {a|b} {{c}}"},
        {"{missing} {cit} {cityy} {City}", "{missing} {cit} {cityy} {City}"},
        {"{} { } { name} {two words} {1} {a-b} {\\|}", "{} { } { name} {two words} {1} {a-b} {|}"},
        {"a|b ||", "a|b ||"},
        {"\\{name\\} \\| \\\\ \\n \\x \\", "{name} | \\ \\n \\x \\"},
        {"{say \\\\{name}}", "{say \\Ali}"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        CHECK_STR(table[i][1], plain(table[i][0]));
    }
}

TEST(a_name_that_is_no_name_falls_back)
{
    static const char *const table[][3] = {
        /* name, template, text */
        {"", "Hi {name}", "Hi Cik"},
        {"+60 12-345", "Hi {{name}}", "Hi Cik"},
        {"NULL", "Hi {{name|friend}}", "Hi friend"},
        {"...", "Hi {{name|}}!", "Hi !"},
        {"12", "Hi {recipient_name}", "Hi Cik"},
        {"Siti", "Hi {{recipient_name|friend}}", "Hi Siti"},
        {" Nur ", "Hi {name}", "Hi  Nur "},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct render_var v = {"name", table[i][0]};
        struct render_input in = {table[i][1], strlen(table[i][1]), "j", &v, 1, "Cik", NULL, NULL};
        struct buf out = {0};
        CHECK_OK(render(&in, &out, e));
        CHECK_STR(table[i][2], out.data);
        buf_done(&out);
    }
    CHECK_STR("Hi Ali", text_of("Hi {name}", 9, "j", NULL));
    struct render_input none = {"Hi {name}{{name}}", 17, "j", NULL, 0, NULL, NULL, NULL};
    struct buf out = {0};
    CHECK_OK(render(&none, &out, e));
    CHECK_STR("Hi ", out.data);
    struct render_var other[] = {{"name", "-"}, {"recipient_name", "Mei"}};
    none = (struct render_input){"{name}", 6, "j", other, 2, "Cik", NULL, NULL};
    CHECK_OK(render(&none, &out, e));
    CHECK_STR("Hi Mei", out.data); /* appended */
    buf_done(&out);
}

TEST(a_name_is_told_from_what_is_none)
{
    /* each between bars */
    static const char no_names[] =
        " |+60 12-345 6789|(03) 1234|...|-_-|null| Null. |UNDEFINED|(null)|\u00a0|\u2026|#1|\t\n|"
        "\u200e12|\uff11\uff12|\u0660\u0661 \u06f9|\u00bf?|\ufeff|\u2013";
    static const char names[] = "A|Ali|O'Neil|nullo|Undefined "
                                "Behaviour|\u674e|\u0639\u0644\u064a|4ever|\u00ba|\U0001f600|\xc2|"
                                "\xe2\x80|Dr. 3|null null";
    CHECK(render_is_no_name(NULL));
    CHECK(render_is_no_name(""));
    char text[sizeof no_names + sizeof names], *s = text;
    memcpy(text, no_names, sizeof no_names);
    for (char *word; (word = strsep(&s, "|")) != NULL;) {
        CHECK_STR(word, render_is_no_name(word) ? word : "a name");
    }
    s = memcpy(text, names, sizeof names);
    for (char *word; (word = strsep(&s, "|")) != NULL;) {
        CHECK_STR(word, render_is_no_name(word) ? "no name" : word);
    }
}

/* Texts like these went out under these job ids: every build on every host must choose the same. */
TEST(choices_are_the_same_everywhere_and_for_ever)
{
    static const char *const ids[] = {"c42-d17-0123456789abcdef-r0", "c42-d17-fedcba9876543210-r0",
                                      "1", "2"};
    static const char *const texts[] = {"Hello . 4", "Hello . 8", "Hi e. 7", "Hi b, d. 6"};
    const char *t = "{Hi|Hello|Hai} {{a|b}, {c|d}|e|{f|{g|}}|}. {1|2|3|4|5|6|7|8|9}";
    for (size_t i = 0; i < 4; i++) {
        CHECK_STR(texts[i], text_of(t, strlen(t), ids[i], NULL));
    }
}

TEST(spintax_nests_and_holds_variables)
{
    static const struct {
        const char *template_text, *options[8];
    } table[] = {
        {"{a|b}", {"a", "b"}},
        {"{|x|}", {"", "x"}},
        {"{{a|b} c|d}", {"a c", "b c", "d"}},
        {"{{{a|b}|c}|d}", {"a", "b", "c", "d"}},
        {"{{a|b}|{c|d}}", {"a", "b", "c", "d"}},
        {"{x|{{city|y}}}", {"x", "Kuala Lumpur"}},
        {"{{{name}}|{name}|{braces}|{unknown}}", {"Ali", "{a|b} {{c}}", "{unknown}"}},
        {"{\\{|\\||\\}}", {"{", "|", "}"}},
        {"{a {b} c|d}", {"a {b} c", "d"}},
        {"{{Hi|Hello}|{{Hi|Bye}}}", {"Hi", "Hello", "Bye"}}, /* the second is a variable */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        unsigned seen = 0, all = 0;
        for (size_t k = 0; k < 8 && table[i].options[k]; k++) {
            all |= 1u << k;
        }
        for (int job = 0; job < 400; job++) {
            char id[16];
            (void)snprintf(id, sizeof id, "j%d", job);
            const char *text =
                text_of(table[i].template_text, strlen(table[i].template_text), id, "Cik");
            size_t k = 0;
            while (k < 8 && table[i].options[k] && strcmp(text, table[i].options[k]) != 0) {
                k++;
            }
            if (k == 8 || !table[i].options[k]) {
                t_fail(__FILE__, __LINE__, "%s gave \"%s\"", table[i].template_text, text);
            }
            seen |= 1u << k;
        }
        CHECK_INT(all, seen);
    }
}

TEST(mistakes_are_named_with_their_place_and_cure)
{
    static const char *const table[][3] = {
        /* template, place, what the sentence holds */
        {"{", "1:1 (byte 0)", "write \\{ for a literal brace"},
        {"}", "1:1 (byte 0)", "write \\} or \\{ for a literal brace"},
        {"Hi {name", "1:4 (byte 3)", "never closed"},
        {"Hi name}", "1:8 (byte 7)", "no { before it"},
        {"a\n\u00e9\u00e9 }", "2:4 (byte 7)", "no { before it"},
        {"x {a|{b|c}", "1:3 (byte 2)", "never closed"},
        {"{a|{{b|c}", "1:1 (byte 0)", "never closed"},
        {"{{name", "1:1 (byte 0)", "{{ is not closed by }}"},
        {"\n{{name|x} hi", "2:1 (byte 1)", "{{ is not closed by }}"},
        {"{{name|{a|b}}}", "1:1 (byte 0)", "no spintax"},
        {"{{{name}}}", "1:1 (byte 0)", "{{ is not closed by }}"},
        {"{{}}", "1:3 (byte 2)", "{{name|default}}"},
        {"{{|x}}", "1:3 (byte 2)", "{{name|default}}"},
        {"{{1a}}", "1:3 (byte 2)", "no digit first"},
        {"{{ caf\u00e9}}", "1:7 (byte 6)", "letters, digits and _"},
        {"{{a}}}", "1:6 (byte 5)", "no { before it"},
        {"ab\xff", "1:3 (byte 2)", "not valid UTF-8"},
        {"\\{}", "1:3 (byte 2)", "no { before it"},
        {"{{a|\\}}", "1:1 (byte 0)", "{{ is not closed by }}"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct err e = {0};
        CHECK(!render_check(table[i][0], strlen(table[i][0]), &e));
        CHECK_INT(ERR_INPUT, e.kind);
        if (!strstr(e.text, table[i][1]) || !strstr(e.text, table[i][2])) {
            t_fail(__FILE__, __LINE__, "%s: %s", table[i][0], e.text);
        }
        CHECK_STR(e.text, plain(table[i][0]));
    }
    struct err e = {0};
    CHECK(!render_check("a\0b", 3, &e));
    CHECK(strstr(e.text, "1:2 (byte 1): a NUL byte"));
}

TEST(names_and_nesting_have_their_limits)
{
    char t[128] = "";
    for (int n = 64; n <= 65; n++) {
        (void)snprintf(t, sizeof t, "{{%0*d}}", n, 0);
        memset(t + 2, 'n', (size_t)n);
        CHECK_INT(n == 64, render_check(t, strlen(t), NULL));
    }
    for (int depth = 1; depth <= 17; depth++) {
        size_t n = 0;
        for (int i = 0; i < depth; i++) {
            n += (size_t)snprintf(t + n, sizeof t - n, "{a|");
        }
        n += (size_t)snprintf(t + n, sizeof t - n, "{name}{{name}}"); /* no nesting */
        for (int i = 0; i < depth; i++) {
            n += (size_t)snprintf(t + n, sizeof t - n, "}");
        }
        struct err e = {0};
        CHECK_INT(depth <= 16, render_check(t, n, &e));
        CHECK(depth <= 16 || strstr(e.text, "1:49 (byte 48): braces nest deeper than 16"));
    }
}

TEST(a_failed_rendering_leaves_the_buffer_as_it_was)
{
    static char big[RENDER_TEXT_MAX + 2];
    memset(big, 'x', sizeof big - 1);
    struct render_var vars[] = {{"name", "Ali"}, {"big", big}, {"bad", "ab\xed\xa0\x80"}};
    static const char *const templates[] = {"kept? {", "{{big}}", "{{name}} {bad}"};
    static const char *const errors[] = {"never closed", "longer than 65536",
                                         "value of {{bad}} is not valid UTF-8"};
    struct buf out = {0};
    buf_adds(&out, "before");
    for (size_t i = 0; i < 3; i++) {
        struct render_input in = {templates[i], strlen(templates[i]), "j", vars, 3, NULL, NULL, NULL};
        struct err e = {0};
        CHECK(!render(&in, &out, &e));
        CHECK_INT(ERR_INPUT, e.kind);
        CHECK_STR("before", out.data);
        CHECK_INT(6, out.len);
        if (!strstr(e.text, errors[i])) {
            t_fail(__FILE__, __LINE__, "%s: %s", templates[i], e.text);
        }
    }
    big[RENDER_TEXT_MAX] = '\0'; /* exactly the limit, behind text of others */
    struct render_input in = {"{big}", 5, "j", vars, 3, NULL, NULL, NULL};
    CHECK_OK(render(&in, &out, e));
    CHECK_INT(6 + RENDER_TEXT_MAX, out.len);
    in = (struct render_input){"{big}.", 6, "j", vars, 3, NULL, NULL, NULL};
    CHECK(!render(&in, &out, NULL));
    in = (struct render_input){"{bad|x}", 7, "j", vars, 3, NULL, NULL, NULL}; /* not a variable: spintax */
    CHECK_OK(render(&in, &out, e));
    buf_done(&out);
}

static double
chi_square(const int *counts, int n, double want)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += (counts[i] - want) * (counts[i] - want) / want;
    }
    return sum;
}

TEST(choices_are_spread_evenly)
{
    enum { JOBS = 100000 };
    int first[10] = {0}, second[10] = {0}, pairs[100] = {0};
    const char *t = "{0|1|2|3|4|5|6|7|8|9}{0|1|2|3|4|5|6|7|8|9}";
    for (int job = 0; job < JOBS; job++) {
        char id[40];
        (void)snprintf(id, sizeof id, "c42-d17-%016x-r0", (unsigned)job);
        const char *text = text_of(t, strlen(t), id, NULL);
        first[text[0] - '0']++;
        second[text[1] - '0']++;
        pairs[atoi(text)]++;
    }
    /* The ids are fixed, so is the outcome.  The 99.9 % points for 9 and 99 degrees of freedom: */
    CHECK(chi_square(first, 10, 1e4) < 27.9);
    CHECK(chi_square(second, 10, 1e4) < 27.9);
    CHECK(chi_square(pairs, 100, 1e3) < 148.2);
}

TEST(utf8_is_what_rfc_3629_says)
{
    static const char good[] =
        "|a|\u07ff|\u0800|\xed\x9f\xbf|\xee\x80\x80|\uffff|\U00010000|\U0010ffff";
    static const char bad[] =
        "\x80|\xbf|\xc0\x80|\xc1\xbf|\xc2|\xc2 |\xe0\x9f\xbf|\xed\xa0\x80|\xe2\x82|\xe2\x82 |"
        "\xf0\x8f\xbf\xbf|\xf4\x90\x80\x80|\xf5\x80\x80\x80|\xf0\x9f\x98|\xf0\x9f\x98 |\xff";
    CHECK_INT(0, render_bad_utf8("\u20ac", 2));
    for (int before = 0; before < 20; before++) {
        char text[64], good_words[sizeof good], bad_words[sizeof bad];
        memcpy(good_words, good, sizeof good);
        for (char *s = good_words, *word; (word = strsep(&s, "|")) != NULL;) {
            (void)snprintf(text, sizeof text, "%.*s%s%d", before, "aaaaaaaaaaaaaaaaaaaa", word,
                           before);
            CHECK_INT(strlen(text), render_bad_utf8(text, strlen(text)));
        }
        memcpy(bad_words, bad, sizeof bad);
        for (char *s = bad_words, *word; (word = strsep(&s, "|")) != NULL;) {
            (void)snprintf(text, sizeof text, "%.*s%s", before, "aaaaaaaaaaaaaaaaaaaa", word);
            CHECK_INT(before, render_bad_utf8(text, strlen(text)));
        }
    }
}

/* A model that knows the answer: it writes a template and, beside it, the text that must come. */
struct model {
    struct buf t, want;
    char job[32];
};

static void
both(struct model *m, const char *written, const char *text, bool live)
{
    buf_adds(&m->t, written);
    if (live) {
        buf_adds(&m->want, text);
    }
}

static void
model_text(struct model *m, bool live)
{
    static const char *const pieces[] = {"a", "Z9", " ",  "\n",  "\u00e9", "{",
                                         "}", "|",  "\\", "\\n", "!",      "name"};
    for (uint64_t n = t_random() % 4; n; n--) {
        const char *piece = pieces[t_random() % (sizeof pieces / sizeof *pieces)];
        buf_adds(&m->t, strchr("{}|\\", *piece) && !piece[1] ? "\\" : "");
        both(m, piece, piece, live);
    }
}

static void
model_variable(struct model *m, bool live)
{
    static const char *const names[] = {"name",  "recipient_name", "city",
                                        "empty", "braces",         "missing"};
    static const char *const values[] = {"Ali", "Ali", "Kuala Lumpur", "", "{a|b} {{c}}", ""};
    uint64_t i = t_random() % 6;
    char written[64];
    if (t_random() % 2) {
        (void)snprintf(written, sizeof written, "{%s}", names[i]);
        both(m, written, i == 5 ? written : values[i], live);
        return;
    }
    bool spaces = t_random() % 2;
    (void)snprintf(written, sizeof written, spaces ? "{{  %s " : "{{%s", names[i]);
    both(m, written, values[i], live);
    if (t_random() % 2) {
        buf_adds(&m->t, "|");
        model_text(m, live && !*values[i]);
    }
    buf_adds(&m->t, "}}");
}

static void
model_sequence(struct model *m, bool live, int depth)
{
    for (uint64_t n = t_random() % (depth > 2 ? 3 : 4); n; n--) {
        uint64_t kind = t_random() % 8;
        if (kind < 3) {
            model_text(m, live);
        } else if (kind < 5) {
            model_variable(m, live);
        } else if (kind == 5 && depth < RENDER_DEPTH_MAX) {
            both(m, "{- ", "{- ",
                 live); /* braces without a bar are literal, what they hold is not */
            model_sequence(m, live, depth + 1);
            both(m, "}", "}", live);
        } else if (kind > 5 && depth < RENDER_DEPTH_MAX) {
            uint64_t options = 2 + t_random() % 4;
            uint64_t chosen = XXH64(m->job, strlen(m->job), m->t.len) % options;
            for (uint64_t i = 0; i < options; i++) {
                buf_adds(&m->t, i ? "|" : "{");
                model_sequence(m, live && i == chosen, depth + 1);
            }
            buf_adds(&m->t, "}");
        }
    }
    if (!depth && t_random() % 4 == 0) {
        both(m, "|", "|", live);
    }
}

TEST(random_templates_render_as_the_model_says)
{
    struct model m = {.job = ""};
    size_t longest = 0;
    for (int i = 0; i < 100000; i++) {
        buf_clear(&m.t);
        buf_clear(&m.want);
        buf_adds(&m.t, "");
        buf_adds(&m.want, "");
        (void)snprintf(m.job, sizeof m.job, "j%llx", (unsigned long long)(t_random() >> 20));
        while (m.t.len < 40 && t_random() % 8) {
            model_sequence(&m, true, 0);
        }
        longest = m.t.len > longest ? m.t.len : longest;
        if (m.t.len > RENDER_TEMPLATE_MAX) {
            continue;
        }
        const char *got = text_of(m.t.data, m.t.len, m.job, "Cik");
        if (strcmp(got, m.want.data) != 0) {
            t_fail(__FILE__, __LINE__, "job %s: %.300s\ngave   %.300s\nwanted %.300s", m.job,
                   m.t.data, got, m.want.data);
        }
        CHECK_OK(render_check(m.t.data, m.t.len, e));
        CHECK_STR(m.want.data, text_of(m.t.data, m.t.len, m.job, "Cik"));
    }
    CHECK(longest > 300); /* the generator is not a dull one */
    buf_done(&m.t);
    buf_done(&m.want);
}

TEST(escaped_text_comes_back_as_it_was)
{
    static const char alphabet[] = "{}|\\ab \n";
    for (int i = 0; i < 100000; i++) {
        char text[33], escaped[65];
        size_t n = t_random() % 32, to = 0;
        for (size_t k = 0; k < n; k++) {
            text[k] = alphabet[t_random() % (sizeof alphabet - 1)];
            if (strchr("{}|\\", text[k])) {
                escaped[to++] = '\\';
            }
            escaped[to++] = text[k];
        }
        text[n] = '\0';
        CHECK_STR(text, text_of(escaped, to, "j", "Cik"));
    }
}

TEST(no_template_takes_long)
{
    enum { VARS = 20000 };
    static const char *const parts[] = {"{",    "{{",    "{{{{a", "}",        "|",     "{|",
                                        "{a|b", "{{a|b", "{{a}}", "{a}",      "{a|b}", "{{a|b}|c}",
                                        "\\{",  "\\",    "{}",    "{{name}}", "\u20ac"};
    static const char *const frames[][2] = {
        {"", ""}, {"{", "}"}, {"{x|", "}"}, {"{{a|", "}}"}, {"{{", "}"}};
    static struct render_var vars[VARS];
    static char names[VARS][16], dots[RENDER_TEXT_MAX + 1];
    memset(dots, '.', sizeof dots - 1);
    for (int i = 0; i < VARS; i++) {
        (void)snprintf(names[i], sizeof names[i], "b%d", i);
        vars[i] = (struct render_var){names[i], "x"};
    }
    vars[VARS / 2] = (struct render_var){"name", dots}; /* as long as it is no name */
    for (size_t i = 0; i < sizeof parts / sizeof *parts * 5; i++) {
        const char *const *frame = frames[i % 5];
        struct buf t = {0}, out = {0};
        buf_adds(&t, frame[0]);
        while (t.len + strlen(parts[i / 5]) + 2 <= RENDER_TEMPLATE_MAX) {
            buf_adds(&t, parts[i / 5]);
        }
        buf_adds(&t, frame[1]);
        struct render_input in = {t.data, t.len, "j", vars, VARS, NULL, NULL, NULL};
        clock_t start = clock();
        bool ok = render(&in, &out, NULL);
        CHECK(ok || !out.len);
        long ms = (clock() - start) / (CLOCKS_PER_SEC / 1000);
        if (ms > 300) { /* measured: up to 20; a square of the size would take seconds */
            t_fail(__FILE__, __LINE__, "%s%s...%s: %ld ms", frame[0], parts[i / 5], frame[1], ms);
        }
        buf_done(&t);
        buf_done(&out);
    }
}

TEST(many_variables_are_found_as_few_are)
{
    enum { VARS = 500, NAMES = 400 };
    static struct render_var vars[VARS];
    static char names[VARS][8], values[VARS][8];
    static int first[NAMES]; /* of the name, from 1 */
    struct buf t = {0}, out = {0}, want = {0};
    for (int i = 0; i < VARS; i++) {
        int name = (int)(t_random() % NAMES);
        (void)snprintf(names[i], sizeof names[i], "v%d", name);
        (void)snprintf(values[i], sizeof values[i], "%d", i + 1);
        vars[i] = (struct render_var){names[i], values[i]};
        first[name] = first[name] ? first[name] : i + 1;
    }
    for (int i = 0; i < NAMES; i++) {
        buf_addf(&t, "{{v%d|0}} ", i);
        buf_addf(&want, "%d ", first[i]);
    }
    struct render_input in = {t.data, t.len, "j", vars, VARS, NULL, NULL, NULL};
    CHECK_OK(render(&in, &out, e));
    CHECK_STR(want.data, out.data);
    buf_done(&t);
    buf_done(&out);
    buf_done(&want);
}
