/* progress.h -- how far long work has come, on stderr: a bar with rate and time left on a terminal,
 * a plain line every few seconds otherwise. */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what, *unit; /* kept: "leads.csv", "rows" */
    int64_t total, from;     /* of the measure of the work (bytes); from: done before */
    int64_t started_ms, shown_ms;
    bool tty, shown;
};

/* Nothing is shown before the work has taken a while. */
void progress_start(struct progress *p, const char *what, const char *unit, int64_t total,
                    int64_t from);
/* done of total, in which items were dealt with since the start. */
void progress_at(struct progress *p, int64_t done, int64_t items);
/* Takes the bar away, so that something else can be printed; the next progress_at draws it again.
 */
void progress_clear(struct progress *p);

#endif
