#include "shared/compose.h"
#include "shared/greeting.h"
#include "shared/tz.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct greetings *
read_ok(struct greetings *g, const char *text)
{
    CHECK_OK(greetings_read(&g, "g.conf", text, strlen(text), e));
    return g;
}

static struct greetings *
builtin(void)
{
    return read_ok(NULL, greetings_builtin);
}

TEST(the_built_in_languages_greet_at_every_minute)
{
    static const char *const days[][4] = {
        {"ms", "Selamat pagi", "Selamat tengah hari", "Selamat malam"},
        {"id", "Selamat pagi", "Selamat siang", "Selamat malam"},
        {"en", "Good morning", "Good afternoon", "Good evening"},
    };
    struct greetings *g = builtin();
    char names[64];
    CHECK_STR("ms, id, en", greetings_names(g, names, sizeof names));
    for (size_t i = 0; i < 3; i++) {
        const struct greeting_language *l = greetings_find(g, days[i][0]);
        CHECK_STR(days[i][1], greeting_at(l, 8 * 60));
        CHECK_STR(days[i][2], greeting_at(l, 13 * 60));
        CHECK_STR(days[i][3], greeting_at(l, 23 * 60 + 59));
        CHECK_STR(days[i][3], greeting_at(l, 0)); /* the evening before lasts till the morning */
        CHECK(*l->fallback && *l->neutral && l->not_names[0]);
    }
    const struct greeting_language *ms = greetings_find(g, "ms");
    CHECK_STR("Selamat malam", greeting_at(ms, 5 * 60 - 1));
    CHECK_STR("Selamat pagi", greeting_at(ms, 5 * 60));
    CHECK_STR("Selamat pagi", greeting_at(ms, 12 * 60 - 1));
    CHECK_STR("Selamat petang", greeting_at(ms, 14 * 60));
    CHECK_STR("Cik", ms->fallback);
    CHECK_STR("Tuan/Puan", ms->neutral);
    greetings_free(g);
}

TEST(a_language_is_found_by_what_people_call_it)
{
    static const char *const tags[][2] = {
        {"ms", "ms"},       {"MS", "ms"},   {"ms-MY", "ms"}, {"ms_MY.UTF-8", "ms"},
        {"Malay", "ms"},    {" ms ", "ms"}, {"en_GB", "en"}, {"Bahasa-Indonesia", "id"},
        {"in", "id"},       {"", NULL},     {"fr", NULL},    {"m", NULL},
        {"mss", NULL},      {"-", NULL},    {"-ms", NULL},   {"ms ", "ms"},
        {"\xff\xfe", NULL}, {"ms\n", NULL},
    };
    struct greetings *g = builtin();
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        const struct greeting_language *l = greetings_find(g, tags[i][0]);
        CHECK_STR(tags[i][1] ? tags[i][1] : "none", l ? l->name : "none");
    }
    CHECK(!greetings_find(g, NULL));
    char long_tag[2000];
    memset(long_tag, 'm', sizeof long_tag - 1);
    long_tag[sizeof long_tag - 1] = '\0';
    CHECK(!greetings_find(g, long_tag));
    CHECK(!greetings_find(NULL, "ms"));
    greetings_free(g);
}

TEST(a_file_adds_languages_and_replaces_them_whole)
{
    struct greetings *g =
        read_ok(builtin(), "[fr]\r\n06:00 = Bonjour\r\n\r\n[en english]\nname = friend\n"
                           "# a comment\n00:00 = {Hi|Hello} # {name}\n");
    CHECK_STR("Bonjour", greeting_at(greetings_find(g, "fr-CA"), 1));
    const struct greeting_language *en = greetings_find(g, "english");
    CHECK_STR("{Hi|Hello} # {name}", greeting_at(en, 1000));
    CHECK_STR("friend", en->neutral); /* not the built-in language's */
    CHECK(!en->not_names[0]);
    CHECK_STR("Selamat pagi", greeting_at(greetings_find(g, "ms"), 600));
    greetings_free(g);
}

TEST(mistakes_are_named_with_their_line)
{
    static const char *const table[][2] = {
        {"05:00 = x", "g.conf:1: a language comes first"},
        {"\n[ms]\nname = x\n", "g.conf:2: ms: the language has no greeting"},
        {"[ms]\n[id]\n05:00 = x", "g.conf:1: ms: the language has no greeting"},
        {"[ms\n", "g.conf:1: a language begins with a line like [ms malay]"},
        {"[ms] x\n", "g.conf:1: a language begins"},
        {"[]\n", "g.conf:1: the language has no name"},
        {"[m$]\n", "g.conf:1: m$: a language's name has"},
        {"[MS]\n", "g.conf:1: MS: a language's name has"},
        {"[ms]\n05:00 = x\n[id ms]\n", "g.conf:3: ms: this language is in the file already"},
        {"[ms]\n5:00 = x", "g.conf:2: 5:00: is no time of the day"},
        {"[ms]\n24:00 = x", "g.conf:2: 24:00: is no time of the day"},
        {"[ms]\n12:60 = x", "g.conf:2: 12:60: is no time of the day"},
        {"[ms]\npagi = x", "g.conf:2: pagi: is no time of the day"},
        {"[ms]\nhello", "g.conf:2: hello: write NAME = TEXT"},
        {"[ms]\n05:00 =", "g.conf:2: 05:00: a greeting has 1 to 1024 bytes"},
        {"[ms]\n05:00 = x\n05:00 = y", "g.conf:3: 05:00: is there twice"},
        {"[ms]\nname = x\nname = y", "g.conf:3: name: is there twice"},
        {"[ms]\nneutral =\nneutral =", "g.conf:3: neutral: is there twice"},
        {"[ms]\nnot_names = a\nnot_names = b", "g.conf:3: not_names: is there twice"},
        {"[ms]\n\n05:00 = {a|b", "g.conf:3: 05:00: template 1:1 (byte 0): this { is never closed"},
        {"[ms]\n05:00 = {{greeting}} x", "g.conf:2: 05:00: a greeting cannot contain {{greeting}}"},
        {"[ms]\n05:00 = {x|{greeting}}", "g.conf:2: 05:00: a greeting cannot contain {{greeting}}"},
        {"[ms]\n05:00 = \xff", "g.conf:2: not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct greetings *g = builtin();
        struct err e = {0};
        CHECK(!greetings_read(&g, "g.conf", table[i][0], strlen(table[i][0]), &e));
        CHECK_INT(ERR_INPUT, e.kind);
        if (strncmp(e.text, table[i][1], strlen(table[i][1])) != 0) {
            t_fail(__FILE__, __LINE__, "wanted %s, got %s", table[i][1], e.text);
        }
        CHECK_STR("Selamat pagi", greeting_at(greetings_find(g, "ms"), 600)); /* as it was */
        greetings_free(g);
    }
    struct greetings *none = NULL;
    CHECK(!greetings_read(&none, "g", "[ms]\n\0", 6, NULL));
    CHECK(!none);
}

TEST(a_file_of_any_bytes_is_read_or_refused)
{
    static const char *const parts[] = {"[ms]\n", "[", "]", "=", "05:00 = a\n", "\n",   "name",
                                        "{",      "}", "|", ",", "not_names",   "12:0", "\xc3\xa9"};
    for (int i = 0; i < 20000; i++) {
        struct greetings *g = NULL;
        struct buf text = {0};
        buf_adds(&text, "");
        for (size_t n = t_random() % 20; n; n--) {
            buf_adds(&text, parts[t_random() % (sizeof parts / sizeof *parts)]);
        }
        struct err e = {0};
        bool ok = greetings_read(&g, "g", text.data, text.len, &e);
        CHECK(ok || e.kind == ERR_INPUT);
        greetings_free(g);
        buf_done(&text);
    }
}

/* --- composing ----------------------------------------------------------------------------- */

/* 2026-11-26 00:00:00 UTC */
static const int64_t midnight_ms = INT64_C(1795651200000);

static struct composer *composer;
static struct compose_choice choice;

/* The text at an hour of UTC; attributes "name", value, ..., NULL. */
static const char *
composed(int hour, const char *zone, const char *language, const char *text,
         const char *const *attributes)
{
    static struct buf out;
    static struct err e;
    struct render_var vars[8];
    size_t n = 0;
    for (; attributes && attributes[2 * n]; n++) {
        vars[n] = (struct render_var){attributes[2 * n], attributes[2 * n + 1]};
    }
    struct compose_message m = {.template_text = text,
                                .template_len = strlen(text),
                                .job_id = "job-1",
                                .vars = vars,
                                .n_vars = n,
                                .zone = zone,
                                .language = language,
                                .now_ms = midnight_ms + hour * INT64_C(3600000)};
    buf_clear(&out);
    return compose(composer, &m, &out, &choice, &e) ? out.data : e.text;
}

static void
use(const struct compose_settings *s)
{
    composer_free(composer);
    CHECK_OK(composer_new(s, &composer, e));
}

static struct compose_settings usual = {
    .greetings = NULL, .default_language = NULL, .name_fallback = NULL};

static void
use_usual(void)
{
    static char ms[] = "ms";
    usual.default_language = ms;
    use(&usual);
}

TEST(the_clock_is_the_recipients_else_the_devices)
{
    static const char *const jakarta[] = {"time_zone", "Asia/Jakarta", "language", "id", NULL};
    static const char *const tokyo[] = {"Timezone", "Asia/Tokyo", NULL};
    static const char *const wrong[] = {"time_zone", "Mars/Olympus", "lang", "tlh", NULL};
    use_usual();
    CHECK_STR("Selamat pagi!", composed(0, "Asia/Kuala_Lumpur", "", "{{greeting}}!", NULL));
    CHECK_STR("Selamat tengah hari", composed(4, "Asia/Kuala_Lumpur", "", "{greeting}", NULL));
    CHECK_STR("Asia/Kuala_Lumpur", choice.zone);
    CHECK_STR("ms", choice.language);
    CHECK_STR("Selamat siang", composed(4, "Asia/Kuala_Lumpur", "", "{greeting}", jakarta));
    CHECK_STR("Asia/Jakarta", choice.zone);
    CHECK_STR("Selamat petang", composed(6, "Asia/Kuala_Lumpur", "", "{greeting}", tokyo));
    CHECK_STR("Good evening", composed(12, "Asia/Kuala_Lumpur", "en", "{greeting}", NULL));
    CHECK_STR("Good morning", composed(12, "America/New_York", "en", "{greeting}", NULL));
    CHECK(!choice.bad_zone);
    CHECK_STR("Good evening", composed(12, "Asia/Kuala_Lumpur", "en", "{greeting}", wrong));
    CHECK_STR("Mars/Olympus", choice.bad_zone); /* told once, not for each message */
    CHECK_STR("Good evening", composed(12, "Asia/Kuala_Lumpur", "en", "{greeting}", wrong));
    CHECK(!choice.bad_zone);
    CHECK_STR("Selamat tengah hari", composed(12, "", "", "{greeting}", NULL));
    CHECK_STR("UTC", choice.zone);
    CHECK_STR("Selamat malam", composed(-48, "UTC", "", "{greeting}", NULL));
    (void)composed(12, "Asia/Kuala_Lumpur", "en", "nothing to say", NULL);
    CHECK(!choice.zone); /* not looked up */
}

TEST(only_the_greeting_follows_the_time)
{
    static const char text[] = "{a|b|c|d|e|f|g|h} {{greeting}} {a|b|c|d|e|f|g|h}";
    use_usual();
    char morning[200], evening[200];
    (void)snprintf(morning, sizeof morning, "%s", composed(8, "UTC", "", text, NULL));
    (void)snprintf(evening, sizeof evening, "%s", composed(20, "UTC", "", text, NULL));
    CHECK_STR(morning, composed(9, "UTC", "", text, NULL));
    CHECK(strstr(morning, "pagi") && strstr(evening, "malam"));
    CHECK(morning[0] == evening[0] && morning[strlen(morning) - 1] == evening[strlen(evening) - 1]);
}

TEST(a_missing_name_is_what_the_language_calls_it)
{
    static const char *const none[] = {"name", "Tiada Nama ", NULL};
    static const char *const ali[] = {"name", "Ali", NULL};
    static const char *const greeted[] = {"greeting", "Yo", NULL};
    static const char *const empty[] = {"greeting", "", NULL};
    struct compose_settings s = usual;
    use_usual();
    CHECK_STR("Hi Cik", composed(0, "", "", "Hi {name}", none));
    CHECK_STR("Hi you", composed(0, "", "", "Hi {{name|you}}", none));
    CHECK_STR("Hi Tiada Nama ",
              composed(0, "", "en", "Hi {name}", none)); /* Malay's, not English */
    CHECK_STR("Hi there", composed(0, "", "en", "Hi {name}", NULL));
    CHECK_STR("Hi Ali", composed(0, "", "", "Hi {name}", ali));
    CHECK_STR("Yo", composed(0, "", "", "{{greeting}}", greeted));
    CHECK_STR("Selamat malam", composed(0, "", "", "{{greeting}}", empty));
    s = usual;
    s.neutral_names = true;
    use(&s);
    CHECK_STR("Hi Tuan/Puan", composed(0, "", "", "Hi {name}", none));
    CHECK_STR("Hi Bapak/Ibu", composed(0, "", "id", "Hi {name}", NULL));
    static char friend[] = "friend";
    s.name_fallback = friend;
    use(&s);
    CHECK_STR("Hi friend", composed(0, "", "id", "Hi {name}", NULL));
    composer_free(composer);
    composer = NULL;
}

TEST(a_configured_file_is_read_and_its_mistakes_are_named)
{
    char path[] = "/tmp/pl-greetings-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    static const char good[] = "[xx]\n00:00 = {Hey|Hey} {name}\n";
    CHECK_INT(sizeof good - 1, write(fd, good, sizeof good - 1));
    static char xx[] = "xx", none[] = "/nowhere/at/all", zz[] = "zz";
    struct compose_settings s = {.greetings = path, .default_language = xx};
    struct err e = {0};
    use(&s);
    CHECK_STR("Hey ! Hey ", composed(0, "", "", "{{greeting}}! {greeting}", NULL));
    s.default_language = zz;
    struct composer *other;
    CHECK(!composer_new(&s, &other, &e));
    CHECK_STR("default_language: no greetings for 'zz'; there are ms, id, en, xx", e.text);
    CHECK_INT(5, write(fd, "[ms]\n", 5));
    CHECK(!composer_new(&s, &other, &e));
    CHECK(strstr(e.text, ":3: ms: the language has no greeting"));
    s.greetings = none;
    CHECK(!composer_new(&s, &other, &e));
    CHECK(strstr(e.text, "/nowhere/at/all: No such file"));
    CHECK(!other);
    (void)close(fd);
    (void)unlink(path);
    composer_free(composer);
    composer = NULL;
}

TEST(many_zones_and_hostile_ones_are_bounded_work)
{
    use_usual();
    for (int i = 0; i < 20000; i++) {
        char zone[128];
        int n = snprintf(zone, sizeof zone, "../%llx", (unsigned long long)t_random());
        memset(zone + n, 'x', sizeof zone - (size_t)n - 1);
        zone[i % 2 ? (size_t)n : sizeof zone - 1] = '\0';
        const char *attributes[] = {"time_zone", zone, NULL};
        CHECK_STR("Selamat pagi", composed(0, "Asia/Kuala_Lumpur", "", "{greeting}", attributes));
    }
    composer_free(composer);
    composer = NULL;
}
