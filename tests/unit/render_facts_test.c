/* What is said of a template without rendering it; that text passes byte for byte; and that no
 * template is much work, for whatever is made of it. */
#include "shared/render.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct render_width known[] = {{"name", 3, 3}, {"greeting", 5, 9}};

/* "choices variants shortest longest name*uses/without_default(bare) ..." */
static const char *
facts_of(const char *text)
{
    static struct buf out;
    struct render_facts f;
    struct err e = {0};
    buf_clear(&out);
    if (!render_facts(text, strlen(text), known, 2, &f, &e)) {
        buf_adds(&out, e.text);
    } else {
        buf_addf(&out, "%zu %llu %zu %zu", f.choices, (unsigned long long)f.variants, f.shortest,
                 f.longest);
        for (size_t i = 0; i < f.n_variables; i++) {
            const struct render_variable *v = &f.variables[i];
            buf_addf(&out, " %.*s*%zu/%zu%s", (int)v->len, v->name, v->uses, v->without_default,
                     v->bare ? "(bare)" : "");
        }
    }
    render_facts_done(&f);
    return out.data;
}

TEST(choices_lengths_and_variables_are_counted)
{
    static const char *const table[][2] = {
        {"", "0 1 0 0"},
        {"abc\u00e9\U0001f600", "0 1 5 5"},
        {"{a|bcd}", "1 2 1 3"},
        {"{a|bcd|}x{|yy}", "2 6 1 6"},
        {"{{a|bb} c|{d|e|f}}", "3 5 1 4"},
        {"{a|{b|{c|{d|e}}}}", "4 5 1 1"},
        {"\\{a\\|b\\}", "0 1 5 5"},
        {"{{city|Kuala}}{{city}}", "0 1 5 5 city*2/1"},
        {"{city} {{x}}", "0 1 7 7 city*1/1(bare) x*1/1"},
        {"{city}{{city}}", "0 1 6 6 city*2/2"},
        {"{name} {{name|you there}}", "0 1 13 13 name*2/1"},
        {"{recipient_name}{{recipient_name}}", "0 1 0 0 recipient_name*2/2"},
        {"{{greeting}} {x|{greeting}}", "1 2 7 19 greeting*2/2"},
        {"{b}{a}{b}{abc}{ab}", "0 1 18 18 b*2/2(bare) a*1/1(bare) abc*1/1(bare) ab*1/1(bare)"},
        {"a{b", "template 1:2 (byte 1): this { is never closed; write \\{ for a literal brace"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        CHECK_STR(table[i][1], facts_of(table[i][0]));
    }
}

TEST(variants_end_at_the_largest_number)
{
    struct buf t = {0};
    for (int i = 0; i < 63; i++) {
        buf_adds(&t, "{a|b}");
    }
    CHECK_STR("63 9223372036854775808 63 63", facts_of(t.data));
    buf_adds(&t, "{a|b}");
    CHECK_STR("64 18446744073709551615 64 64", facts_of(t.data));
    buf_adds(&t, "{a|b}");
    CHECK_STR("65 18446744073709551615 65 65", facts_of(t.data));
    buf_done(&t);
}

/* Whoever has no values gets a text within the lengths told. */
TEST(every_rendered_length_is_within_what_was_told)
{
    static const char *const parts[] = {
        "{",      "}",        "|",        "a",
        "\u20ac", "{a|b}",    "{{x|yy}}", "{x}",
        "{name}", "{{name}}", "{q|}",     " ",
        "\\{",    "{{",       "}}",       "{{Hi|Yo} {name}|{{greeting}}}"};
    size_t valid = 0;
    for (int i = 0; i < 200000; i++) {
        char text[400] = "", id[24];
        for (size_t n = t_random() % 10; n; n--) {
            strcat(text, parts[t_random() % (sizeof parts / sizeof *parts)]);
        }
        (void)snprintf(id, sizeof id, "%llx", (unsigned long long)t_random());
        struct render_facts f;
        struct buf out = {0};
        struct render_input in = {text, strlen(text), id,   NULL,
                                  0,    "Cik",        NULL, "{Hello|Good day.}"};
        bool ok = render_facts(text, strlen(text), known, 2, &f, NULL);
        CHECK_INT(ok, render(&in, &out, NULL));
        if (ok) {
            size_t n = render_chars(out.data, out.len);
            valid++;
            if (n < f.shortest || n > f.longest) {
                t_fail(__FILE__, __LINE__, "%s: %zu characters, not %zu to %zu: %s", text, n,
                       f.shortest, f.longest, out.data);
            }
        }
        render_facts_done(&f);
        buf_done(&out);
    }
    CHECK(valid > 50000);
}

/* --- bytes --------------------------------------------------------------------------------- */

static const char *const scripts[] = {
    "Selamat pagi, \u00e9t\u00e9, \u00df, na\u00efve, e\u0301",           /* composed and not */
    "\u0645\u0631\u062d\u0628\u0627 \u200f(\u200e12\u200f)\u202b.\u202c", /* right to left, with
                                                                             marks */
    "\u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0c15\u0c4d\u200c\u0c37 \u0d15\u0d4d\u200d", /* ZWNJ, ZWJ
                                                                                         */
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u200b\u0e04\u0e23\u0e31\u0e1a", /* ZWSP between words */
    "\u4f60\u597d\u3000\uff11\uff12 \u306f\u3099 \ud55c\uae00",
    "\u0410\u0430\u0412\u0435 \u03b1\u03bf", /* look like Latin letters, and stay what they are */
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd "
    "\U0001f1f2\U0001f1fe \u2764\ufe0f #\ufe0f\u20e3", /* families, skin, flags, variation */
    "\ufeffBOM \u00a0\u2028\u2029\u00ad\u2060 soft",
    "tab\tCR\r\nLF\n\x01\x1b[0m\x7f",
    "\U000e0067\U0010ffff\ufffd\ufffe",
};

TEST(text_of_any_script_passes_byte_for_byte)
{
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        const char *s = scripts[i];
        struct render_var vars[] = {{"name", s}, {"x", s}};
        struct buf t = {0}, want = {0}, out = {0};
        buf_addf(&t, "%s{{x}}{{none|%s}}{%s|%s}{name}\\{%s\\}", s, s, s, s, s);
        buf_addf(&want, "%s%s%s%s%s{%s}", s, s, s, s, s, s);
        struct render_input in = {t.data, t.len, "j",  vars,
                                  2,      s,     NULL, NULL}; /* no name: the same text */
        CHECK_OK(render(&in, &out, e));
        CHECK_INT(want.len, out.len);
        CHECK(memcmp(want.data, out.data, out.len) == 0);
        buf_done(&t);
        buf_done(&want);
        buf_done(&out);
    }
}

TEST(a_greeting_is_put_as_it_is_and_chooses_apart)
{
    size_t same = 0;
    for (int i = 0; i < 1000; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        struct buf out = {0};
        struct render_var vars[] = {{"name", "{a|b}"}};
        struct render_input in = {"{a|b}{{greeting}}{greeting}{{greeting|x}}",
                                  41,
                                  id,
                                  vars,
                                  1,
                                  "",
                                  NULL,
                                  "{a|b} {name} {greeting}"};
        CHECK_OK(render(&in, &out, e));
        char one = out.data[1];
        char want[100];
        (void)snprintf(want, sizeof want,
                       "%c%c {a|b} {greeting}%c {a|b} {greeting}%c {a|b} {greeting}", out.data[0],
                       one, one, one);
        CHECK_STR(want, out.data);
        same += out.data[0] == one;
        buf_done(&out);
    }
    CHECK(same > 400 && same < 600);
    struct buf out = {0};
    struct err why = {0};
    buf_adds(&out, "before");
    struct render_input in = {"x{greeting}", 11, "j", NULL, 0, "", NULL, "{a|"};
    CHECK(!render(&in, &out, &why));
    CHECK_STR("before", out.data);
    CHECK_STR(
        "the greeting: template 1:1 (byte 0): this { is never closed; write \\{ for a literal "
        "brace",
        why.text);
    in.greeting = NULL; /* a variable like any other, which is not there */
    CHECK_OK(render(&in, &out, e));
    CHECK_STR("beforex{greeting}", out.data);
    buf_done(&out);
}

/* --- bounded work -------------------------------------------------------------------------- */

static long
ms_since(clock_t start)
{
    return (clock() - start) / (CLOCKS_PER_SEC / 1000);
}

static void
repeat(struct buf *b, const char *text, size_t n)
{
    for (; n; n--) {
        buf_adds(b, text);
    }
}

/* Measured: 5 ms at most.  A square of the size would take seconds. */
static void
check_work(const struct buf *t, bool valid, const char *says)
{
    struct render_facts f;
    struct buf out = {0};
    struct err e = {0};
    clock_t start = clock();
    bool ok = render_facts(t->data, t->len, known, 2, &f, &e);
    CHECK_INT(valid, ok);
    CHECK(ok || strstr(e.text, says));
    struct render_input in = {t->data, t->len, "j", NULL, 0, "Cik", NULL, "{Hello|Good day.}"};
    CHECK_INT(valid, render(&in, &out, NULL));
    CHECK_INT(valid, render_check(t->data, t->len, NULL));
    if (ms_since(start) > 300) {
        t_fail(__FILE__, __LINE__, "%.20s...: %ld ms", t->data, ms_since(start));
    }
    render_facts_done(&f);
    buf_done(&out);
}

TEST(ten_thousand_nested_braces_are_refused_at_once)
{
    struct buf t = {0};
    repeat(&t, "{a|", 10000);
    repeat(&t, "}", 10000);
    check_work(&t, false, "template 1:49 (byte 48): braces nest deeper than 16");
    buf_clear(&t);
    repeat(&t, "{", 10000);
    check_work(&t, false, "braces nest deeper than 16");
    buf_clear(&t);
    repeat(&t, "}", 10000);
    check_work(&t, false, "this } has no { before it");
    buf_done(&t);
}

TEST(sixty_four_kibibytes_of_braces_are_little_work)
{
    struct buf t = {0};
    repeat(&t, "{}", RENDER_TEMPLATE_MAX / 2);
    check_work(&t, true, NULL);
    buf_clear(&t);
    repeat(&t, "{|}", RENDER_TEMPLATE_MAX / 3);
    check_work(&t, true, NULL);
    buf_clear(&t);
    repeat(&t, "{{", RENDER_TEMPLATE_MAX / 2);
    check_work(&t, false, "braces nest deeper than 16");
    buf_clear(&t);
    repeat(&t, "{a|{b|{c|d}}}", RENDER_TEMPLATE_MAX / 13);
    check_work(&t, true, NULL);
    buf_done(&t);
}

TEST(ten_thousand_variables_are_little_work)
{
    struct buf t = {0};
    for (int i = 0; t.len < RENDER_TEMPLATE_MAX - 8; i++) {
        buf_addf(&t, "{v%x}", i);
    }
    check_work(&t, true, NULL);
    struct render_facts f;
    CHECK_OK(render_facts(t.data, t.len, known, 2, &f, e));
    CHECK(f.n_variables > 9000);
    render_facts_done(&f);
    buf_clear(&t);
    repeat(&t, "{name}", 10000);
    check_work(&t, true, NULL);
    buf_clear(&t);
    repeat(&t, "{greeting}", RENDER_TEMPLATE_MAX / 17);
    check_work(&t, true, NULL);
    buf_done(&t);
}

TEST(addresses_are_no_names)
{
    static const char *const none[] = {"60123456789@s.whatsapp.net", "+60123456789@c.us",
                                       "60123456789:12@s.whatsapp.net", "120363041234567890@g.us"};
    static const char *const names[] = {"ali@example.com", "12@x", "60123456789x@c.us",
                                        "Ali 60123456789@c.us"};
    for (size_t i = 0; i < 4; i++) {
        CHECK(render_is_no_name(none[i]));
        CHECK(!render_is_no_name(names[i]));
    }
}
