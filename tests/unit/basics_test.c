#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/mem.h"
#include "tests/harness/t.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- err
 * -------------------------------------------------------------------------------------------- */

TEST(an_error_keeps_its_kind_and_grows_by_the_left)
{
    struct err e = {0};
    CHECK(!err_set(&e, ERR_GONE, "line %d of %s", 7, "x.csv"));
    CHECK_INT(ERR_GONE, e.kind);
    CHECK_STR("line 7 of x.csv", e.text);
    CHECK(!err_wrap(&e, "device %d", 3));
    CHECK(!err_wrap(&e, "import"));
    CHECK_INT(ERR_GONE, e.kind);
    CHECK_STR("import: device 3: line 7 of x.csv", e.text);
}

TEST(an_error_may_be_unwanted)
{
    CHECK(!err_set(NULL, ERR_INPUT, "x"));
    CHECK(!err_wrap(NULL, "x"));
}

TEST(a_long_error_is_cut_not_overrun)
{
    struct {
        struct err e;
        char fence[8];
    } x = {.fence = "fence"};
    char text[1000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)err_set(&x.e, ERR_INPUT, "%s", text);
    CHECK_INT(sizeof x.e.text - 1, strlen(x.e.text));
    (void)err_wrap(&x.e, "place");
    CHECK_INT(sizeof x.e.text - 1, strlen(x.e.text));
    CHECK(strncmp(x.e.text, "place: aaa", 10) == 0);
    (void)err_wrap(&x.e, "%s", text);
    CHECK_INT(sizeof x.e.text - 1, strlen(x.e.text));
    CHECK_STR("fence", x.fence);
}

TEST(every_kind_of_error_has_a_name_of_its_own)
{
    for (int a = ERR_NONE; a <= ERR_FULL; a++) {
        CHECK(strcmp(err_kind_name((enum err_kind)a), "?") != 0);
        for (int b = ERR_NONE; b < a; b++) {
            CHECK(strcmp(err_kind_name((enum err_kind)a), err_kind_name((enum err_kind)b)) != 0);
        }
    }
    CHECK_STR("retry", err_kind_name(ERR_RETRY));
}

/* --- mem
 * -------------------------------------------------------------------------------------------- */

TEST(a_buffer_grows_and_stays_terminated)
{
    struct buf b = {0};
    char *want = xcalloc(70001, 1);
    for (size_t i = 0; i < 70000; i++) {
        want[i] = (char)('a' + i % 26);
        buf_add(&b, &want[i], 1);
        CHECK(b.len == i + 1 && b.data[b.len] == '\0' && b.cap > b.len);
    }
    CHECK_STR(want, b.data);
    buf_clear(&b);
    CHECK_INT(0, b.len);
    CHECK_STR("", b.data);
    buf_addf(&b, "%s", want);
    CHECK_STR(want, b.data);
    buf_done(&b);
    CHECK(!b.data && !b.len && !b.cap);
    buf_adds(&b, "again");
    CHECK_STR("again", b.data);
    buf_done(&b);
    free(want);
}

TEST(a_buffer_takes_bytes_numbers_and_nothing)
{
    struct buf b = {0};
    buf_clear(&b);
    CHECK(b.data == NULL);
    buf_add(&b, NULL, 0);
    CHECK_STR("", b.data);
    buf_addf(&b, "%s", "");
    CHECK_INT(0, b.len);
    buf_add(&b, "a\0b", 3);
    buf_addi(&b, INT64_MIN);
    buf_addi(&b, 0);
    CHECK_INT(24, b.len);
    CHECK(memcmp(b.data, "a\0b-92233720368547758080", 25) == 0);
    buf_done(&b);
}

TEST(room_is_reserved_before_it_is_needed)
{
    struct buf b = {0};
    buf_reserve(&b, 1000);
    char *data = b.data;
    CHECK(b.cap > 1000);
    for (int i = 0; i < 1000; i++) {
        buf_adds(&b, "x");
    }
    CHECK(b.data == data && b.len == 1000);
    buf_done(&b);
}

TEST(an_array_doubles)
{
    int *items = NULL;
    size_t n = 0, cap = 0;
    for (int i = 0; i < 1000; i++) {
        VEC_GROW(items, n, cap);
        items[n++] = i;
        CHECK(cap >= n && cap <= 2 * n + 16);
    }
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(i, items[i]);
    }
    free(items);
}

TEST(copies_are_copies)
{
    char text[] = "text";
    char *whole = xstrdup(text), *part = xstrndup(text, 2), *made = xasprintf("%d-%s", 5, text);
    text[0] = 'X';
    CHECK_STR("text", whole);
    CHECK_STR("te", part);
    CHECK_STR("5-text", made);
    free(whole);
    free(part);
    free(made);
    int *zeros = xcalloc(4, sizeof *zeros);
    CHECK(zeros[0] == 0 && zeros[3] == 0);
    free(zeros);
    void *nothing = xmalloc(0);
    CHECK(nothing != NULL);
    free(nothing);
}

static char out[16384]; /* what went to standard error */

/* Standard error goes to a file until taken() is called. */
static int
take(void)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/stderr", t_dir());
    int saved = dup(STDERR_FILENO), fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0600);
    CHECK(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO);
    (void)close(fd);
    return saved;
}

static const char *
taken(int saved)
{
    CHECK(lseek(STDERR_FILENO, 0, SEEK_SET) == 0);
    ssize_t n = read(STDERR_FILENO, out, sizeof out - 1);
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    (void)close(saved);
    CHECK(n >= 0);
    out[n] = '\0';
    return out;
}

TEST(out_of_memory_ends_the_program_with_a_line)
{
    int saved = take();
    pid_t pid = fork();
    if (pid == 0) {
        void *p = xmalloc(SIZE_MAX / 4);
        _exit(p != NULL);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    const char *said = taken(saved);
    CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
    CHECK(strstr(said, "out of memory") || strstr(said, "allocation-size-too-big"));
}

/* --- log
 * -------------------------------------------------------------------------------------------- */

/* The line of one event behind its time. */
static const char *
line(const char *event, const char *key, const char *value)
{
    int saved = take();
    log_info(event, key, LOG_S(value));
    (void)taken(saved);
    char *end = strchr(out, '\n');
    CHECK(end && end[1] == '\0');
    *end = '\0';
    char *z = strchr(out, 'Z');
    CHECK(z != NULL);
    return z + 1;
}

TEST(logfmt_quotes_what_needs_it)
{
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"plain", "plain"},
        {"a-b_c:/.,{}'", "a-b_c:/.,{}'"},
        {"", "\"\""},
        {NULL, "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\nlevel=error\r\x1b[0m\x7f", "\"line\\u000alevel=error\\u000d\\u001b[0m\\u007f\""},
        {"S\xc3\xa9lamat", "\"S\xc3\xa9lamat\""},
    };
    log_init("test", LOG_LEVEL_INFO, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[256];
        (void)snprintf(want, sizeof want, " info test event=\"two words\" key=%s", cases[i].want);
        CHECK_STR(want, line("two words", "key", cases[i].value));
    }
    CHECK_STR(" info test event=start k=v", line("start", "k", "v"));
    CHECK(strspn(out, "0123456789-:T.") == 23); /* 2026-01-01T00:00:00.000 */
}

TEST(json_escapes_what_needs_it)
{
    log_init("te\"st", LOG_LEVEL_INFO, true);
    int saved = take();
    log_warn("two\nwords", "text", LOG_S("a\"\\\x01"), "n", LOG_I(-5), "none", LOG_S(NULL));
    const char *got = taken(saved);
    CHECK(strncmp(got, "{\"time\":\"", 9) == 0);
    const char *z = strstr(got, "Z\"");
    CHECK(z != NULL);
    CHECK_STR("Z\",\"level\":\"warn\",\"program\":\"te\\\"st\",\"event\":\"two\\u000awords\","
              "\"text\":\"a\\\"\\\\\\u0001\",\"n\":-5,\"none\":\"\"}\n",
              z);
}

TEST(levels_select)
{
    enum log_level level;
    log_init("test", LOG_LEVEL_WARN, false);
    CHECK(log_enabled(LOG_LEVEL_ERROR) && log_enabled(LOG_LEVEL_WARN));
    CHECK(!log_enabled(LOG_LEVEL_INFO));
    int saved = take();
    log_error("one");
    log_warn("two");
    log_info("three");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("four", "n", LOG_I(INT64_MIN));
    log_event(LOG_LEVEL_TRACE, "five", NULL);
    const char *got = taken(saved);
    CHECK(strstr(got, " error test event=one\n") && strstr(got, " warn test event=two\n"));
    CHECK(!strstr(got, "three") && !strstr(got, "five"));
    CHECK(strstr(got, " debug test event=four n=-9223372036854775808\n"));
    CHECK(log_level_parse("trace", &level) && level == LOG_LEVEL_TRACE);
    CHECK(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
    CHECK(!log_level_parse("", &level) && !log_level_parse("INFO", &level));
    CHECK(!log_level_parse("information", &level));
}

TEST(a_long_value_is_cut_and_stays_one_line)
{
    char *text = xcalloc(100001, 1);
    memset(text, '\n', 100000);
    log_init("test", LOG_LEVEL_INFO, false);
    int saved = take();
    log_info("long", "text", LOG_S(text));
    const char *got = taken(saved);
    CHECK(strchr(got, '\n') == got + strlen(got) - 1 && strlen(got) <= 2048);
    CHECK(strstr(got, "\\u000a...\"\n"));
    free(text);
}

enum { THREADS = 4, LINES = 200 };

static void *
write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        log_info("x", "k", LOG_S(arg));
    }
    return NULL;
}

TEST(lines_of_several_threads_do_not_mix)
{
    static char values[THREADS][60];
    pthread_t threads[THREADS];
    char path[160], text[256];
    log_init("test", LOG_LEVEL_INFO, false);
    int saved = take(), n = 0;
    for (int i = 0; i < THREADS; i++) {
        memset(values[i], 'a' + i, sizeof values[i] - 1);
        CHECK_INT(0, pthread_create(&threads[i], NULL, write_lines, values[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(0, pthread_join(threads[i], NULL));
    }
    (void)taken(saved);
    (void)snprintf(path, sizeof path, "%s/stderr", t_dir());
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    for (; fgets(text, sizeof text, f); n++) {
        const char *value = strstr(text, " info test event=x k=");
        CHECK(value != NULL);
        value += 21;
        char same[2] = {*value, '\0'};
        CHECK_INT(sizeof values[0] - 1, strspn(value, same));
        CHECK_STR("\n", value + sizeof values[0] - 1);
    }
    (void)fclose(f);
    CHECK_INT(THREADS * LINES, n);
}

TEST(phones_are_masked)
{
    char b[32], small[8];
    CHECK_STR("60*******789", log_mask_phone("601123456789", b, sizeof b));
    CHECK_STR("12*456", log_mask_phone("123456", b, sizeof b));
    CHECK_STR("", log_mask_phone("", b, sizeof b));
    const char *cut = log_mask_phone("601123456789", small, sizeof small);
    CHECK(strlen(cut) == sizeof small - 1 && !strstr(cut, "1123"));
}

/* --- clock
 * ------------------------------------------------------------------------------------------ */

TEST(clocks_agree_on_their_units)
{
    int64_t us = clock_mono_us(), ms = clock_mono_ms(), later = clock_mono_us();
    CHECK(us / 1000 <= ms && ms <= later / 1000);
    time_t before = time(NULL);
    int64_t wall = clock_wall_ms();
    CHECK(wall / 1000 >= before - 1 && wall / 1000 <= time(NULL) + 1);
}
