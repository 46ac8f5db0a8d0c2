/* t.h -- a test is a function; each runs in its own process, process group and temporary folder.
 *
 *     TEST(an_entry_acked_twice_counts_once) { CHECK_INT(1, ack()); CHECK_INT(0, ack()); }
 *
 * The binary runs all tests whose name contains an argument (all without), prints a line for each
 * failure with its output, and ends with "N passed, N failed".  A crash, a leak found by a sanitizer or a
 * time-out is a failure; the others go on. */
#ifndef TESTS_T_H
#define TESTS_T_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct t_case {
    const char *name, *file;
    void (*run)(void);
    struct t_case *next;
};
void t_register(struct t_case *c);

#define TEST(name)                                                                                 \
    static void name(void);                                                                        \
    static struct t_case name##_case = {#name, __FILE__, name, 0};                                 \
    __attribute__((constructor)) static void name##_register(void)                                 \
    {                                                                                              \
        t_register(&name##_case);                                                                  \
    }                                                                                              \
    static void name(void)

/* Fails the test on the spot. */
_Noreturn void t_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(cond) ((cond) ? (void)0 : t_fail(__FILE__, __LINE__, "CHECK(%s)", #cond))
#define CHECK_INT(want, got) t_check_int(__FILE__, __LINE__, #got, (int64_t)(want), (int64_t)(got))
#define CHECK_STR(want, got) t_check_str(__FILE__, __LINE__, #got, (want), (got))
/* For functions (.., struct err *e): prints the error's text. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        struct err e_ = {0};                                                                       \
        struct err *e = &e_;                                                                       \
        if (!(call)) {                                                                             \
            t_fail(__FILE__, __LINE__, "%s: %s", #call, e_.text);                                  \
        }                                                                                          \
    } while (0)

void t_check_int(const char *file, int line, const char *what, int64_t want, int64_t got);
void t_check_str(const char *file, int line, const char *what, const char *want, const char *got);

/* The running test's own folder, removed afterwards. */
const char *t_dir(void);
/* Seeded from T_SEED or the clock; the seed is printed with a failure. */
uint64_t t_random(void);
/* Polls until the condition holds or ms have passed; then fails. */
#define T_WAIT(cond, ms)                                                                           \
    do {                                                                                           \
        int64_t until_ = t_now_ms() + (ms);                                                        \
        while (!(cond)) {                                                                          \
            if (t_now_ms() > until_) {                                                             \
                t_fail(__FILE__, __LINE__, "waited %d ms for %s", (int)(ms), #cond);               \
            }                                                                                      \
            t_pause();                                                                             \
        }                                                                                          \
    } while (0)
int64_t t_now_ms(void);
void t_pause(void);

#endif
