#include "tests/unit/conf_case.h"

TEST(printed_settings_are_a_file_that_gives_the_same_settings)
{
    CHECK(setenv("PACELINE_GRACE", "90s", 1) == 0);
    CHECK(setenv("PACELINE_REDIS_PASSWORD", "hunter2", 1) == 0);
    const char *path = write_file("p.conf", "redis_window = 77\n[sender x]\ntoken = hunter2\n");
    char *note = arg("--note= # a \"b\" \\ \n\tend ");
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--print-config"), arg("--config"), arg(path), note));
    CHECK_STR("", err);
    CHECK(!strstr(out, "hunter2"));
    check_has(out, "redis_url = redis://127.0.0.1:6379");
    check_has(out, "# default\n");
    check_has(out, "p.conf:1\n");
    check_has(out, "# environment PACELINE_GRACE\n");
    check_has(out, "# flag --note\n");
    check_has(out, "# redis_password = ****");
    check_has(out, "# [sender x] with 1 keys");
    CHECK(unsetenv("PACELINE_GRACE") == 0 && unsetenv("PACELINE_REDIS_PASSWORD") == 0);
    char printed[sizeof out];
    memcpy(printed, out, sizeof out);
    CHECK_INT(CONF_RUN, load_text(printed));
    CHECK_STR(note + 7, s.note);
    CHECK_INT(90000, s.grace);
    CHECK_INT(77, s.redis_window);
    CHECK(s.redis_password == NULL && !s.follow);
    conf_done(&c);
    program = "paceline-reaper"; /* another program skips it as a whole */
    CHECK_INT(CONF_RUN, load_text(printed));
    CHECK(s.note == NULL);
    conf_done(&c);
}

TEST(any_text_survives_printing_and_reading)
{
    for (int round = 0; round < 300; round++) {
        static const char letters[] = "ab \t\n\r\"\\#;=[]'\x01\x7f\xc3\xa9";
        char flag[64] = "--note=", want[64];
        size_t n = 7 + t_random() % 12;
        for (size_t i = 7; i < n; i++) {
            flag[i] = letters[t_random() % (sizeof letters - 1)];
        }
        flag[n] = '\0';
        memcpy(want, flag + 7, sizeof want - 7);
        CHECK_INT(CONF_EXIT_OK, LOAD(arg("--print-config"), flag));
        char printed[sizeof out];
        memcpy(printed, out, sizeof out);
        CHECK_INT(CONF_RUN, load_text(printed));
        CHECK_STR(want, s.note);
        conf_done(&c);
    }
}

TEST(passwords_in_urls_are_not_printed)
{
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--print-config"), arg("--redis-url=redis://u:hun/t@r2@h/0")));
    CHECK(!strstr(out, "hun") && !strstr(out, "r2"));
    check_has(out, "# redis_url = redis://u:****@h/0");
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--print-config"), arg("--redis-url=redis://u@h:1/0")));
    check_has(out, "\nredis_url = redis://u@h:1/0 ");
}

TEST(help_tells_every_setting_within_80_columns)
{
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--help")));
    CHECK_STR("", err);
    check_has(out, "Usage: paceline-worker [--SETTING=VALUE ...]\n\nDoes what it does.\n");
    for (const struct conf_key *k = keys; k->name; k++) {
        char start[24];
        (void)snprintf(start, sizeof start, "%.20s", k->help);
        check_has(out, start);
    }
    check_has(out, "--redis-window=NUMBER\n");
    check_has(out, "(default: 50; within 1..10000)\n");
    check_has(out, "--[no-]follow\n");
    check_has(out, "--redis-password-file=FILE\n");
    check_has(out, "--log-format=logfmt|json\n");
    check_has(out, "Exit codes:");
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
        CHECK(strlen(line) <= 80);
    }
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("-h"), arg("--config=/nonexistent")));
}

TEST(version_is_one_line)
{
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--version")));
    CHECK_STR("paceline-worker " PACELINE_VERSION "\n", out);
}

static bool
refuse_sections(struct conf *of, struct err *e)
{
    CHECK_INT(1, of->n_sections);
    return err_set(e, ERR_INPUT, "%s:%d: no", of->sections[0].file, of->sections[0].line);
}

TEST(a_check_reports_good_and_bad_configurations)
{
    CHECK(setenv("PACELINE_REDIS_WINDWO", "1", 1) == 0 && setenv("PACELINE_FAULT_X", "1", 1) == 0);
    CHECK(setenv("PACELINE_OTHER_PROGRAMS", "1", 1) == 0);
    const char *path = write_file("g.conf", "[sender x]\n");
    CHECK_INT(CONF_EXIT_OK, LOAD(arg("--check-config"), arg("--config"), arg(path)));
    check_has(out, "paceline-worker: the configuration is good: ");
    CHECK_STR("paceline-worker: note: PACELINE_REDIS_WINDWO is unknown here (did you mean "
              "PACELINE_REDIS_WINDOW?)\n",
              err);
    check_sections = refuse_sections;
    CHECK_INT(CONF_EXIT_USAGE, LOAD(arg("--check-config"), arg("--config"), arg(path)));
    CHECK_STR("", out);
    check_has(err, "g.conf:1: no\n");
}
