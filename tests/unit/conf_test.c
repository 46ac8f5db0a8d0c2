#include "tests/unit/conf_case.h"

/* The file is refused with this text behind the folder's name. */
static void
check_refused(const char *text, const char *why)
{
    CHECK_INT(CONF_EXIT_USAGE, load_text(text));
    CHECK_STR("", out);
    check_has(err, why);
    CHECK(strncmp(err, "paceline-", 9) == 0 && strchr(err, '\n') == err + strlen(err) - 1);
    CHECK(c.sections == NULL && s.redis_url == NULL);
}

TEST(defaults_hold_when_nothing_is_said)
{
    CHECK_INT(CONF_RUN, LOAD(NULL));
    CHECK_STR("redis://127.0.0.1:6379", s.redis_url);
    CHECK(s.redis_password == NULL && s.note == NULL && !s.follow);
    CHECK_INT(50, s.redis_window);
    CHECK_INT(5000, s.grace);
    CHECK_INT(0, s.log_format);
    CHECK(c.file == NULL && c.n_rest == 0);
    conf_done(&c);
    CHECK(s.redis_url == NULL);
    conf_done(&c);
}

TEST(flag_beats_environment_beats_file_beats_default)
{
    const char *path = write_file("f", "redis_window = 1\ngrace = 1s\nnote = file\n");
    CHECK(setenv("PACELINE_CONFIG", path, 1) == 0);
    CHECK(setenv("PACELINE_GRACE", "2m", 1) == 0 && setenv("PACELINE_NOTE", "env", 1) == 0);
    CHECK_INT(CONF_RUN, LOAD(arg("--note=flag")));
    CHECK_STR("flag", s.note);
    CHECK_INT(120000, s.grace);
    CHECK_INT(1, s.redis_window);
    CHECK_INT(0, s.log_format);
    CHECK_STR(path, c.file);
    conf_done(&c);
}

TEST(a_config_flag_beats_the_config_variable)
{
    CHECK(setenv("PACELINE_CONFIG", "/nonexistent", 1) == 0);
    CHECK_INT(CONF_RUN, load_text("redis_window = 7"));
    CHECK_INT(7, s.redis_window);
    conf_done(&c);
    CHECK_INT(CONF_EXIT_USAGE, LOAD(NULL));
    check_has(err, "/nonexistent: No such file");
}

TEST(every_spelling_of_a_flag_is_read)
{
    CHECK_INT(CONF_RUN, LOAD(arg("--redis_window"), arg("9"), arg("first"), arg("--follow"),
                             arg("--grace=1h"), arg("--log-format=json")));
    CHECK_INT(9, s.redis_window);
    CHECK(s.follow);
    CHECK_INT(3600000, s.grace);
    CHECK_INT(1, s.log_format);
    CHECK_INT(1, c.n_rest);
    CHECK_STR("first", c.rest[0]);
    conf_done(&c);
    CHECK_INT(CONF_RUN, LOAD(arg("--follow"), arg("--no-follow"), arg("-"), arg("--"), arg("-x"),
                             arg("--grace=1"), arg("--")));
    CHECK(!s.follow);
    CHECK_INT(5000, s.grace);
    CHECK_INT(4, c.n_rest);
    CHECK_STR("-", c.rest[0]);
    CHECK_STR("-x", c.rest[1]);
    CHECK_STR("--", c.rest[3]);
    conf_done(&c);
    CHECK_INT(CONF_RUN, LOAD(arg("--follow=off"), arg("--note="), arg("--redis-url=a=b")));
    CHECK(!s.follow);
    CHECK_STR("", s.note);
    CHECK_STR("a=b", s.redis_url);
    conf_done(&c);
}

TEST(bad_flags_are_refused_with_a_cure)
{
    static const struct {
        const char *flag, *why;
    } cases[] = {
        {"--redis-windw=5", "--redis-windw: unknown flag (did you mean --redis-window?)"},
        {"--noet=x", "--noet: unknown flag (did you mean --note?)"},
        {"--wholly-other", "--wholly-other: unknown flag (see --help)"},
        {"--pirnt-config", "(did you mean --print-config?)"},
        {"--redis-window=0", "--redis-window: 0 is not within 1..10000"},
        {"--redis-window=10001", "10001 is not within 1..10000"},
        {"--redis-window=ten", "--redis-window: ten is no whole number"},
        {"--redis-window= 5", "is no whole number"},
        {"--redis-window=99999999999999999999", "is no whole number"},
        {"--redis-window", "--redis-window: its value is missing"},
        {"--redis-window=", "--redis-window: an empty value is no whole number"},
        {"--grace=5 s", "is no duration (write 250ms"},
        {"--grace=2d", "2d is not within 100ms..1d"},
        {"--log-format=xml", "--log-format: xml is none of logfmt|json"},
        {"--log-format=log", "log is none of"},
        {"--follow=maybe", "--follow: maybe is neither yes nor no"},
        {"--no-grace", "--no-grace: unknown flag"},
        {"--no-follow=yes", "unknown flag"},
        {"-x", "-x: unknown flag"},
        {"--redis-password=hunter2", "set PACELINE_REDIS_PASSWORD, or name a file with "
                                     "--redis-password-file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(CONF_EXIT_USAGE, LOAD(arg(cases[i].flag)));
        check_has(err, cases[i].why);
        CHECK(!strstr(err, "hunter2"));
    }
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--note"), arg("--follow")));
    check_has(err, "--note: its value is missing");
}

TEST(an_error_keeps_control_characters_off_the_terminal)
{
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--redis-window=\x1b[31m\r")));
    CHECK(!strchr(err, '\x1b') && !strchr(err, '\r'));
    check_has(err, "?[31m?");
}

TEST(values_are_quoted_escaped_and_commented)
{
    CHECK_INT(CONF_RUN, load_text("\xef\xbb\xbf; a comment\r\n"
                                  "  # another\n\n"
                                  "redis_url=redis://h/0#db   # the rest is comment\n"
                                  "note = \" a \\\"b\\\" \\\\ \\n\\t# ; \" ; comment\r\n"
                                  "\tredis_window\t=\t12\t\n"
                                  "follow = TRUE"));
    CHECK_STR("redis://h/0#db", s.redis_url);
    CHECK_STR(" a \"b\" \\ \n\t# ; ", s.note);
    CHECK_INT(12, s.redis_window);
    CHECK(s.follow);
    conf_done(&c);
    CHECK_INT(CONF_RUN, load_text("note = two  words\\n \"x\" \n"));
    CHECK_STR("two  words\\n \"x\"", s.note);
    conf_done(&c);
    CHECK_INT(CONF_RUN, load_text("note = # only a comment\n"));
    CHECK_STR("", s.note);
    conf_done(&c);
}

TEST(malformed_files_are_refused_with_their_line)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"\nredis_windw = 5", "conf:2: redis_windw: unknown key (did you mean redis_window?)"},
        {"database_url = x", "conf:1: database_url: unknown key (what only some programs know"},
        {"redis_window = 0", "conf:1: redis_window: 0 is not within 1..10000"},
        {"redis_window = 5\nredis_window = 5", "conf:2: redis_window: already set in line 1"},
        {"[worker]\ngrace = 1s\n[reaper worker]\ngrace = 2s", "conf:4: grace: already set in line"},
        {"redis_window", "conf:1: neither a comment nor"},
        {"= 5", "conf:1: neither a comment nor"},
        {"no te = 5", "conf:1: neither a comment nor"},
        {"note = \"x", "conf:1: the closing quote is missing"},
        {"note = \"x\\", "conf:1: unknown escape"},
        {"note = \"\\q\"", "conf:1: unknown escape"},
        {"note = \"x\" y", "conf:1: text behind the closing quote"},
        {"[", "conf:1: malformed section header"},
        {"[]", "conf:1: malformed section header"},
        {"[worker", "conf:1: malformed section header"},
        {"[worker] x", "conf:1: malformed section header"},
        {"[wörker]", "conf:1: malformed section header"},
        {"[sendr x]", "conf:1: [sendr]: unknown kind of section (known: [sender NAME]"},
        {"[sender]", "conf:1: a section of this kind has one name: [sender NAME]"},
        {"[sender a b]", "conf:1: a section of this kind has one name"},
        {"[sender a]\n[sender a]", "conf:2: [sender a] stands in line 1 already"},
        {"[reaper gateway]", "conf:1: gateway is no program"},
        {"config = other", "conf:1: config: unknown key"},
        {"redis_password = env:NO_SUCH_NAME", "redis_password: NO_SUCH_NAME is not in the env"},
        {"redis_password = file:/nonexistent", "redis_password: /nonexistent: No such file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_refused(cases[i].text, cases[i].why);
    }
}

TEST(sizes_are_bounded)
{
    struct buf b = {0};
    buf_adds(&b, "[sender a]\n");
    for (int i = 0; i < 1001; i++) {
        buf_addf(&b, "k%d = 1\n", i);
    }
    check_refused(b.data, "conf:1002: too many keys");
    buf_clear(&b);
    for (int i = 0; i < 1001; i++) {
        buf_addf(&b, "[sender s%d]\n", i);
    }
    check_refused(b.data, "conf:1001: too many sections");
    buf_clear(&b);
    while (b.len <= 1 << 20) {
        buf_adds(&b, "# one comment after the other, until it is too much of a good thing\n");
    }
    check_refused(b.data, "longer than 1048576 bytes");
    buf_done(&b);
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--config"), arg(write_bytes("z", "note = a\0b", 10))));
    check_has(err, "NUL byte");
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--config"), arg(t_dir())));
    check_has(err, "Is a directory");
}

TEST(program_sections_are_for_their_programs)
{
    static const char text[] = "grace = 1s\n"
                               "[producer]\nunknown_to_the_worker = 1\n"
                               "[worker]\ngrace = 2s\n"
                               "[reaper worker]\nredis_window = 3\n"
                               "[paceline]\nnote = ctl\n"
                               "[sender x]\nurl = http://127.0.0.1\nheader_X-Key = a\n";
    CHECK_INT(CONF_RUN, load_text(text));
    CHECK_INT(2000, s.grace);
    CHECK_INT(3, s.redis_window);
    CHECK(s.note == NULL);
    CHECK_INT(1, c.n_sections);
    conf_done(&c);
    kinds = NULL;
    program = "paceline";
    CHECK_INT(CONF_RUN, load_text(text));
    CHECK_INT(1000, s.grace);
    CHECK_INT(50, s.redis_window);
    CHECK_STR("ctl", s.note);
    CHECK_INT(0, c.n_sections);
    conf_done(&c);
    program = "paceline-producer";
    check_refused(text, "conf:3: unknown_to_the_worker: unknown key");
}

TEST(secrets_come_from_environment_and_files)
{
    const char *path = write_file("secret", "hush\n\n");
    CHECK(setenv("PACELINE_REDIS_PASSWORD_FILE", path, 1) == 0);
    CHECK_INT(CONF_RUN, LOAD(NULL));
    CHECK_STR("hush\n", s.redis_password);
    conf_done(&c);
    CHECK(setenv("PACELINE_REDIS_PASSWORD", "x", 1) == 0);
    CHECK_INT(CONF_EXIT_USAGE, LOAD(NULL));
    check_has(err, "PACELINE_REDIS_PASSWORD and PACELINE_REDIS_PASSWORD_FILE are both set");
    CHECK(unsetenv("PACELINE_REDIS_PASSWORD_FILE") == 0);
    CHECK_INT(CONF_RUN, LOAD(NULL));
    CHECK_STR("x", s.redis_password);
    conf_done(&c);
    CHECK_INT(CONF_RUN, LOAD(arg("--redis-password-file"), arg(path)));
    CHECK_STR("hush\n", s.redis_password);
    conf_done(&c);
    CHECK(unsetenv("PACELINE_REDIS_PASSWORD") == 0 && setenv("ELSEWHERE", "there", 1) == 0);
    CHECK_INT(CONF_RUN, load_text("redis_password = env:ELSEWHERE\nnote = env:ELSEWHERE"));
    CHECK_STR("there", s.redis_password);
    CHECK_STR("env:ELSEWHERE", s.note);
    conf_done(&c);
    (void)setenv("PACELINE_NOTE_FILE", "/nonexistent", 1); /* no secret, so not read */
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--redis-password-file=/nonexistent")));
    check_has(err, "--redis-password-file: /nonexistent: No such file");
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--note-file=/nonexistent")));
    check_has(err, "--note-file: unknown flag");
}

TEST(commands_get_their_own_flags)
{
    struct conf_key with[sizeof keys / sizeof *keys + 1];
    memcpy(with, keys, sizeof keys);
    with[sizeof keys / sizeof *keys] = with[sizeof keys / sizeof *keys - 1];
    with[sizeof keys / sizeof *keys - 1].name = "*";
    table = with;
    CHECK_INT(CONF_RUN, LOAD(arg("--follow"), arg("leads"), arg("--device"), arg("d-1"),
                             arg("--grace=1s"), arg("--help"), arg("-n")));
    CHECK(s.follow);
    CHECK_INT(1000, s.grace);
    CHECK_INT(5, c.n_rest);
    CHECK_STR("--device", c.rest[1]);
    CHECK_STR("d-1", c.rest[2]);
    CHECK_STR("--help", c.rest[3]);
    CHECK_STR("-n", c.rest[4]);
    conf_done(&c);
    CHECK_INT(CONF_RUN, LOAD(arg("leads"), arg("--"), arg("--follow")));
    CHECK(!s.follow);
    CHECK_INT(3, c.n_rest);
    conf_done(&c);
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--device"), arg("leads")));
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("leads"), arg("--grace=no")));
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("leads"), arg("--redis-password=x")));
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--help"), arg("leads")));
    check_has(out, "COMMAND [ARGUMENT ...]");
}

/* --- sections
 * ------------------------------------------------------------------------------------- */

struct gateway {
    char *type, *url, *token;
    int64_t timeout;
};
static const struct conf_key gateway_keys[] = {
    {"type", CONF_STR, offsetof(struct gateway, type), NULL, NULL, 0, "Kind of sender."},
    {"url", CONF_STR, offsetof(struct gateway, url), "http://127.0.0.1", NULL, 0, "Where."},
    {"token", CONF_STR, offsetof(struct gateway, token), NULL, NULL, CONF_SECRET, "Secret."},
    {"timeout", CONF_MS, offsetof(struct gateway, timeout), "10s", "1s..60s", 0, "How long."},
    {"header_*", CONF_STR, 0, NULL, NULL, 0, "A header."},
    {NULL, CONF_STR, 0, NULL, NULL, 0, NULL},
};

TEST(a_section_fills_its_owners_settings)
{
    struct gateway g;
    memset(&g, 0x5a, sizeof g);
    (void)setenv("GATEWAY_TOKEN", "t0ken", 1);
    CHECK_INT(CONF_RUN, load_text("[sender gateway]\ntype = webhook\ntoken = env:GATEWAY_TOKEN\n"
                                  "header_X-Api-Key = k\nheader_X = l\ntimeout = 3s\n"));
    CHECK_STR("sender", c.sections[0].kind);
    CHECK_STR("gateway", c.sections[0].name);
    CHECK_STR("header_X-Api-Key", c.sections[0].pairs[2].key);
    CHECK_INT(4, c.sections[0].pairs[2].line);
    CHECK_OK(conf_section_apply(&c.sections[0], gateway_keys, &g, e));
    CHECK_STR("webhook", g.type);
    CHECK_STR("http://127.0.0.1", g.url);
    CHECK_STR("t0ken", g.token);
    CHECK_INT(3000, g.timeout);
    conf_done(&c);
    CHECK_STR("t0ken", g.token); /* the owner's */
    free(g.type);
    free(g.url);
    free(g.token);
}

TEST(a_bad_section_is_refused_and_leaves_nothing_to_free)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[sender a]\nurl = x\ntimout = 3s\n",
         "conf:3: timout: unknown key (did you mean timeout?"},
        {"[sender a]\ntimeout = 0\n", "conf:2: timeout: 0 is not within 1s..60s"},
        {"[sender a]\nheader = x\n", "conf:2: header: unknown key"},
        {"[sender a]\ntoken = file:/nonexistent\n", "conf:2: token: /nonexistent: No such"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gateway g;
        struct err e = {0};
        CHECK_INT(CONF_RUN, load_text(cases[i].text));
        CHECK(!conf_section_apply(&c.sections[0], gateway_keys, &g, &e));
        CHECK_INT(ERR_INPUT, e.kind);
        check_has(e.text, cases[i].why);
        CHECK(!g.type && !g.url && !g.token);
        conf_done(&c);
    }
}

TEST(durations_are_read_exactly)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"0", 0},        {"250ms", 250},   {"5s", 5000}, {"10m", 600000},
        {"2h", 7200000}, {"1d", 86400000}, {"007", 7},   {"106751991167d", 9223372036828800000}};
    static const char *const bad[] = {"",
                                      "ms",
                                      "-1",
                                      "+1",
                                      "1.5s",
                                      "1 s",
                                      "1w",
                                      "1S",
                                      " 1",
                                      "1s ",
                                      "s1",
                                      "1ss",
                                      "0x1",
                                      "--",
                                      "1e3",
                                      "106751991168d",
                                      "99999999999999999999"};
    int64_t v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(conf_parse_ms(good[i].text, &v));
        CHECK_INT(good[i].ms, v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (conf_parse_ms(bad[i], &v)) {
            t_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
        }
    }
}

/* Whatever the bytes, the answer is settings or an error that names the file. */
TEST(damaged_files_never_crash)
{
    static const char text[] = "redis_window = 5\n[worker]\nnote = \"a\\n\\\"b\" # c\n"
                               "[sender gateway]\nurl = x\n[reaper producer]\nk=v\n";
    for (int round = 0; round < 2000; round++) {
        char damaged[sizeof text];
        memcpy(damaged, text, sizeof text);
        for (uint64_t n = 1 + t_random() % 4; n; n--) {
            static const char letters[] = "\n\"\\[]=# a\xff";
            damaged[t_random() % (sizeof text - 1)] = letters[t_random() % sizeof letters];
        }
        const char *path = write_bytes("d.conf", damaged, t_random() % sizeof text);
        if (LOAD(arg("--config"), arg(path)) == CONF_RUN) {
            conf_done(&c);
        } else {
            check_has(err, path);
        }
    }
}
