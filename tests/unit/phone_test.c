#include "shared/phone.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

/* The number, or the error's text; borrowed until the next call. */
static const char *
normal(const char *text, const char *country)
{
    static char out[PHONE_SIZE];
    static struct err e;
    memset(out, 'x', sizeof out);
    if (phone_normalise(text, strlen(text), country, out, &e)) {
        return out;
    }
    CHECK_STR("", out);
    CHECK_INT(ERR_INPUT, e.kind);
    return e.text;
}

TEST(numbers_are_understood_as_people_write_them)
{
    static const char *const table[][3] = {
        /* text, default country, number */
        {"60123456789", NULL, "60123456789"},
        {"60123456789", "60", "60123456789"},
        {"+60123456789", NULL, "60123456789"},
        {"0060123456789", NULL, "60123456789"},
        {"0060123456789", "1", "60123456789"},
        {"+60 12-345 6789", "1", "60123456789"},
        {" (+60) 12.345.6789\r\n", NULL, "60123456789"},
        {"+60/12/3456789", NULL, "60123456789"},
        {"0123456789", "60", "60123456789"},
        {"0123456789", "+60", "60123456789"},
        {"(012) 345-6789", "60", "60123456789"},
        {"(0) 12 345 6789", "60", "60123456789"},
        {"+44 (0)20 7946 0958", NULL, "442079460958"},
        {"0044(0)20 7946 0958", "60", "442079460958"},
        {"+44 (020) 7946 0958", NULL, "4402079460958"},
        {"+60\u00a012\u00a0345\u202f6789", NULL, "60123456789"},
        {"\u202a+60\u00a012\u2011345\u20116789\u202c", NULL, "60123456789"},
        {"\ufeff60123456789\u200b", NULL, "60123456789"},
        {"\uff0b\uff16\uff10\uff11\uff12\uff0d\uff13\uff14\uff15\u3000\uff16\uff17\uff18\uff19",
         NULL, "60123456789"},
        {"\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669", "60", "60123456789"},
        {"+\u06f9\u06f8\u06f2\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7", NULL, "9821234567"},
        {"+1234567", NULL, "1234567"},
        {"+123456789012345", NULL, "123456789012345"},
        {"0123456", "1", "1123456"},
        {"1.0", "60", NULL},
        {"60.12.3456.7890", NULL, "601234567890"},
        {"60.12.345.67.0", NULL, "6012345670"},
        {"0501234567", "971", "971501234567"},
        {"120363041234567890@g.us", NULL, "120363041234567890@g.us"},
        {" 60123456789-1612345678@g.us ", "60", "60123456789-1612345678@g.us"},
        {"123456789012345-1234567890@g.us", NULL,
         "123456789012345-1234567890@g.us"}, /* 31 characters */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *got = normal(table[i][0], table[i][1]);
        if (table[i][2] ? strcmp(got, table[i][2]) != 0 : !strchr(got, ' ')) {
            t_fail(__FILE__, __LINE__, "%s gives %s", table[i][0], got);
        }
    }
}

static const char *const wrong[][3] = {
    /* text, default country, what the sentence holds */
    {"", NULL, "is empty"},
    {" - ", "60", "is empty"},
    {"+", NULL, "is empty"},
    {"0123456789", NULL, "begins with 0 and no country is known"},
    {"0123456789", "", "--country 60"},
    {"+0123456789", "60", "no country code begins with 0"},
    {"00012345678", "60", "no country code begins with 0"},
    {"60123456789x", NULL, "'x' at position 12"},
    {"tel:60123456789", NULL, "'t' at position 1"},
    {"  60 12?", NULL, "'?' at position 8"},
    {"n/a", NULL, "'n' at position 1"},
    {"60123456789 ext 4", NULL, "'e' at position 13"},
    {"12\u00e934567", NULL, "the character at byte 3"},
    {"1234567\x01", NULL, "the character at byte 8"},
    {"1234567\xff", NULL, "the character at byte 8"},
    {"1234567\xef\xbc", NULL, "the character at byte 8"},
    {"\u0bee123456", NULL, "the character at byte 1"}, /* a digit of a script that is not taken */
    {"60+123456789", NULL, "a + inside"},
    {"++60123456789", NULL, "a + inside"},
    {"6.01E+10", NULL, "6.01E+10"},
    {"6,01235E+10", "60", "format the column as text"},
    {"6e10", NULL, "shortened by a spreadsheet"},
    {"60123456789.0", NULL, "ends in \".0\""},
    {"+60123456789.0", NULL, "ends in \".0\""},
    {"6e+x", NULL, "'e' at position 2"},
    {"6e", NULL, "'e' at position 2"},
    {"60\u00ed12345678", NULL, "the character at byte 3"},
    {"60\u00a912345678", NULL, "the character at byte 3"},
    {"+123456", NULL, "has 6 digits"},
    {"012345", "6", "has 6 digits"},
    {"1234567890123456", NULL, "has 16 digits"},
    {"012345678901234", "60", "has 16 digits"},
    {"0123456789/0198765432", "60", "one number a field"},
    {"11111111111111111111111111111111111111111111111111", NULL, "has 50 digits"},
    {"0012345678901234567890123456789012345678901234567890", NULL, "has 50 digits"},
    {"60123456789@c.us", NULL, "'@' at position 12"},
    {"@g.us", NULL, "'@' at position 1"},
    {"12 34@g.us", NULL, "'@' at position 6"},
    {"12a@g.us", NULL, "'a' at position 3"},
    {"123456789012345678901234567@g.us", NULL, "group id has 32 characters"},
    {"1234567890123456789012345678@g.us", NULL, "group id has 33 characters; the longest has 31"},
    {"60123456789", "my", "not a calling code"},
    {"60123456789", "060", "not a calling code"},
    {"60123456789", "1234", "not a calling code"},
    {"60123456789", "+", "not a calling code"},
    {"60123456789", "60 ", "not a calling code"},
};

TEST(what_is_wrong_is_said)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *got = normal(wrong[i][0], wrong[i][1]);
        if (!strstr(got, wrong[i][2])) {
            t_fail(__FILE__, __LINE__, "\"%s\": %s", wrong[i][0], got);
        }
        /* the text may reach a log: no number in it, and a sentence that is complete */
        CHECK(strlen(wrong[i][0]) < 7 || strstr(wrong[i][0], "E+") || !strstr(got, wrong[i][0]));
        CHECK(strlen(got) < sizeof((struct err *)0)->text - 1);
    }
    CHECK(!phone_normalise("60123456789\0", 12, NULL, (char[PHONE_SIZE]){0}, NULL));
    CHECK(!phone_normalise(NULL, 0, NULL, (char[PHONE_SIZE]){0}, NULL));
}

/* However a number is dressed, the same digits come out. */
TEST(random_dress_does_not_change_a_number)
{
    static const char *const between[] = {"",  "",  "",       " ",      "-",      ".",     "(",
                                          ")", "/", "\u00a0", "\u202f", "\u2013", "\u200e"};
    static const char *const zeros[] = {"\uff10", "\u0660", "\u06f0"};
    for (int round = 0; round < 100000; round++) {
        char digits[16], text[256];
        size_t n = 7 + t_random() % 9, len = 0;
        bool local = n > 8 && t_random() % 3 == 0;
        for (size_t i = 0; i < n; i++) {
            bool first = i == 0 || (local && i == 2); /* no 0 after + or the country's own 0 */
            digits[i] = (char)('0' + (first ? 1 + t_random() % 9 : t_random() % 10));
        }
        digits[n] = '\0';
        char country[4] = {digits[0], digits[1], '\0'};
        static const char *const prefixes[] = {"", "+", "00"};
        len = (size_t)snprintf(text, sizeof text, "%s", local ? "0" : prefixes[t_random() % 3]);
        for (size_t i = local ? 2 : 0; i < n; i++) {
            char one[4] = {digits[i], '\0'};
            if (t_random() % 8 == 0) {
                (void)snprintf(one, sizeof one, "%s", zeros[t_random() % 3]);
                one[strlen(one) - 1] = (char)(one[strlen(one) - 1] + (digits[i] - '0'));
            }
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", one,
                                    between[t_random() % 13]);
        }
        bool damaged = strstr(text, "(0)") || (len > 2 && strcmp(text + len - 2, ".0") == 0);
        if (!damaged) {
            CHECK_STR(digits, normal(text, country));
        }
    }
}

TEST(random_bytes_give_digits_or_a_reason)
{
    static const char alphabet[] =
        "0123456789+-.()/ eE@g.us\xc2\xa0\xd9\xdb\xef\xbc\x90\xe2\x80\xff\0";
    int good = 0;
    for (int round = 0; round < 300000; round++) {
        char text[24], out[PHONE_SIZE];
        size_t len = t_random() % sizeof text;
        for (size_t i = 0; i < len; i++) {
            text[i] = alphabet[t_random() % (t_random() % 4 ? 18 : sizeof alphabet)];
        }
        char *exact = malloc(len ? len : 1); /* so that a sanitizer sees a step too far */
        CHECK(exact != NULL);
        memcpy(exact, text, len);
        struct err e = {0};
        if (phone_normalise(exact, len, "60", out, &e)) {
            size_t n = strspn(out, "0123456789");
            CHECK((!out[n] && n >= 7 && n <= 15 && out[0] != '0') || strstr(out, "@g.us"));
            good++;
        } else {
            CHECK(!out[0] && e.kind == ERR_INPUT && e.text[0]);
        }
        free(exact);
    }
    CHECK(good > 1000);
}
