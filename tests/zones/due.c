/* The occurrences of rules, for comparison with other implementations: reads a rule a line,
 *
 *     freq every weekdays month_days at cron zone start month_policy gap_policy after count
 *
 * with tabs between them, and prints the first so many instants behind `after`, a line each rule,
 * or ! and why it was refused. */
#include "shared/recur.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 12 };

static void
print_rule(char *line)
{
    char *column[COLUMNS], *rest = line;
    for (int i = 0; i < COLUMNS; i++) {
        column[i] = rest ? strsep(&rest, "\t\n") : line + strlen(line);
    }
    struct recur_text t = {.freq = column[0],
                           .every = strtoll(column[1], NULL, 10),
                           .weekdays = column[2],
                           .month_days = column[3],
                           .at = column[4],
                           .cron = column[5],
                           .zone = column[6],
                           .start = column[7],
                           .month_policy = column[8],
                           .gap_policy = column[9]};
    struct recur *r;
    struct err e;
    if (!recur_parse(&t, &r, &e)) {
        (void)printf("! %s\n", e.text);
        return;
    }
    int64_t s = strtoll(column[10], NULL, 10);
    for (long left = strtol(column[11], NULL, 10); left > 0 && recur_next(r, s, &s); left--) {
        (void)printf("%" PRId64 " ", s);
    }
    (void)printf("\n");
    recur_free(r);
}

int
main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        print_rule(line);
    }
    free(line);
    return fflush(stdout) == 0 ? 0 : 1;
}
