#include "shared/stop_words.h"
#include "tests/harness/t.h"

#include <string.h>

static struct stop_words *
read_ok(struct stop_words *w, const char *text)
{
    CHECK_OK(stop_words_read(&w, "w.conf", text, strlen(text), e));
    return w;
}

TEST(the_built_in_words_are_found_in_any_dress)
{
    static const struct {
        const char *text;
        enum stop_word want;
    } cases[] = {
        {"STOP", STOP_WORD_STOP},
        {"stop", STOP_WORD_STOP},
        {"  \tStop \n", STOP_WORD_STOP},
        {"Stop!!", STOP_WORD_STOP},
        {"\"STOP.\"", STOP_WORD_STOP},
        {"*stop*", STOP_WORD_STOP},
        {"\xc2\xa0stop\xe2\x80\x8b", STOP_WORD_STOP}, /* spaces that nobody sees */
        {"Opt   out", STOP_WORD_STOP},
        {"opt-out", STOP_WORD_STOP},
        {"UNSUBSCRIBE", STOP_WORD_STOP},
        {"Berhenti", STOP_WORD_STOP},
        {"BATAL.", STOP_WORD_STOP},
        {"unreg", STOP_WORD_STOP},
        {"Berhenti Berlangganan", STOP_WORD_STOP},
        {"START", STOP_WORD_RESUME},
        {"Mula", STOP_WORD_RESUME},
        {"mulai", STOP_WORD_RESUME},
        {"", STOP_WORD_NONE},
        {" ", STOP_WORD_NONE},
        {"...", STOP_WORD_NONE},
        {"stop it", STOP_WORD_NONE},
        {"please stop", STOP_WORD_NONE},
        {"stopp", STOP_WORD_NONE},
        {"sto p", STOP_WORD_NONE},
        {"don't stop", STOP_WORD_NONE},
        {"st\xc3\xb6p", STOP_WORD_NONE},
        {"\xff\xfe", STOP_WORD_NONE},
    };
    struct stop_words *w = read_ok(NULL, stop_words_builtin);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (stop_words_find(w, cases[i].text) != cases[i].want) {
            CHECK_STR("something else", cases[i].text);
        }
    }
    stop_words_free(w);
}

/* However long it is, only the whole counts. */
TEST(a_long_text_is_no_word_whatever_it_begins_with)
{
    struct stop_words *w = read_ok(NULL, stop_words_builtin);
    char text[2000];
    memset(text, '!', sizeof text);
    memcpy(text, "stop", 4);
    memcpy(text + sizeof text - 12, " not at all", 12);
    CHECK_INT(STOP_WORD_NONE, stop_words_find(w, text));
    memset(text + 4, ' ', sizeof text - 4);
    text[sizeof text - 1] = '\0';
    CHECK_INT(STOP_WORD_STOP, stop_words_find(w, text));
    stop_words_free(w);
}

TEST(a_file_adds_languages_and_replaces_those_that_it_names)
{
    struct stop_words *w = read_ok(NULL, stop_words_builtin);
    w = read_ok(w,
                "# ours\n\n[fr french]\nstop = arr\xc3\xaat , d\xc3\xa9sinscrire,\nresume= "
                "reprendre\r\n[en]\nstop = halt\n[ru]\nstop = \xd0\xa1\xd0\xa2\xd0\x9e\xd0\x9f\n");
    CHECK_INT(STOP_WORD_STOP, stop_words_find(w, "ARR\xc3\x8aT"));
    CHECK_INT(STOP_WORD_STOP, stop_words_find(w, "D\xc3\x89SINSCRIRE"));
    CHECK_INT(STOP_WORD_RESUME, stop_words_find(w, "Reprendre"));
    CHECK_INT(STOP_WORD_STOP, stop_words_find(w, "\xd1\x81\xd1\x82\xd0\xbe\xd0\xbf"));
    CHECK_INT(STOP_WORD_STOP, stop_words_find(w, "halt"));
    CHECK_INT(STOP_WORD_NONE, stop_words_find(w, "stop"));
    CHECK_INT(STOP_WORD_STOP, stop_words_find(w, "batal"));
    stop_words_free(w);
}

TEST(mistakes_are_told_with_their_line)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"stop = x\n", "w.conf:1: write [LANGUAGE]"},
        {"[en]\nhalt = x\n", "w.conf:2: write [LANGUAGE]"},
        {"[en]\nstop\n", "w.conf:2: write"},
        {"# x\n[]\n", "w.conf:2: a language begins"},
        {"[en\nstop = x\n", "w.conf:1: a language begins"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stop_words *w = NULL;
        struct err e = {0};
        CHECK(!stop_words_read(&w, "w.conf", cases[i].text, strlen(cases[i].text), &e));
        CHECK_INT(ERR_INPUT, e.kind);
        if (!strstr(e.text, cases[i].why)) {
            CHECK_STR(cases[i].why, e.text);
        }
        stop_words_free(w);
    }
}
