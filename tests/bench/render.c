/* Messages a second of one core: templates of about 1,000 bytes, rendered as the worker renders
 * them, for another job each time.
 *
 *     make bench-render */
#include "shared/compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECONDS_EACH = 2, SIZE = 1000 };

static const struct {
    const char *name, *unit; /* repeated up to SIZE bytes */
} cases[] = {
    {"plain text", "Our new menu is here, and the first hundred guests drink for free. "},
    {"variables", "Hello {{name}}, from {{city|your town}} it is {{minutes|ten}} minutes to us. "},
    {"spintax", "{Hi|Hello|Hai} there, {our {new|fresh} menu|the menu} is {here|ready|out}. "},
    {"all of it",
     "{{greeting}} {{name}}, {our {new|fresh} menu|the menu} in {{city|town}} is {here|out}. "},
};

static double
seconds(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
run(struct composer *c, const char *name, const char *unit)
{
    struct render_var vars[] = {{"name", "Nur Aisyah"},   {"recipient_name", "Nur Aisyah"},
                                {"phone", "60123456789"}, {"city", "Kuala Lumpur"},
                                {"minutes", "12"},        {"time_zone", "Asia/Kuala_Lumpur"},
                                {"language", "ms"}};
    struct buf text = {0}, out = {0};
    while (text.len + strlen(unit) <= SIZE) {
        buf_adds(&text, unit);
    }
    while (text.len < SIZE) {
        buf_adds(&text, ".");
    }
    char id[40];
    struct err e = {0};
    struct compose_message m = {.template_text = text.data,
                                .template_len = text.len,
                                .job_id = id,
                                .vars = vars,
                                .n_vars = sizeof vars / sizeof *vars,
                                .zone = "UTC",
                                .language = "",
                                .now_ms = INT64_C(1795651200000)};
    double start = seconds(), took = 0;
    unsigned long n = 0, bytes = 0;
    for (; took < SECONDS_EACH; took = n % 1000 ? took : seconds() - start) {
        (void)snprintf(id, sizeof id, "c42-d17-%016lx-r0", n++);
        buf_clear(&out);
        if (!compose(c, &m, &out, NULL, &e)) {
            (void)fprintf(stderr, "%s\n", e.text);
            exit(1);
        }
        bytes += out.len;
    }
    printf("    %-12s%9.0f messages/s%8.2f us each%8lu bytes of text\n", name, (double)n / took,
           took * 1e6 / (double)n, bytes / n);
    buf_done(&text);
    buf_done(&out);
}

int
main(void)
{
    static char language[] = "ms";
    struct compose_settings s = {.default_language = language};
    struct composer *c;
    struct err e = {0};
    if (!composer_new(&s, &c, &e)) {
        (void)fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("templates of %d bytes, one core, %d s each\n", SIZE, SECONDS_EACH);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(c, cases[i].name, cases[i].unit);
    }
    composer_free(c);
    return 0;
}
