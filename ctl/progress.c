#include "ctl/progress.h"

#include "shared/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TTY_EVERY_MS = 100, LINE_EVERY_MS = 5000, BAR = 24 };

void
progress_start(struct progress *p, const char *what, const char *unit, int64_t total, int64_t from)
{
    int64_t now = clock_mono_ms();
    *p = (struct progress){what, unit, total, from, now, now, isatty(STDERR_FILENO) == 1, false};
}

static void
draw_bar(const struct progress *p, int percent, int64_t items, int64_t rate, int64_t left_s)
{
    static const char full[] = "########################", rest[] = "------------------------";
    int n = percent * BAR / 100;
    (void)fprintf(
        stderr, "\r%s [%.*s%.*s] %3d%%  %" PRId64 " %s  %" PRId64 "/s  ETA %" PRId64 ":%02d\x1b[K",
        p->what, n, full, BAR - n, rest, percent, items, p->unit, rate, left_s / 60,
        (int)(left_s % 60));
}

void
progress_at(struct progress *p, int64_t done, int64_t items)
{
    int64_t now = clock_mono_ms(), spent = now - p->started_ms;
    if (now - p->shown_ms < (p->tty ? TTY_EVERY_MS : LINE_EVERY_MS)) {
        return;
    }
    p->shown_ms = now;
    p->shown = true;
    int percent = p->total > 0 ? (int)(100 * done / p->total) : 100;
    percent = percent > 100 ? 100 : percent;
    int64_t fresh = done - p->from;
    int64_t left_s = fresh > 0 ? (p->total - done) * spent / fresh / 1000 : 0;
    int64_t rate = spent > 0 ? items * 1000 / spent : 0;
    if (p->tty) {
        draw_bar(p, percent, items, rate, left_s);
    } else {
        (void)fprintf(stderr, "%s: %d%%, %" PRId64 " %s, %" PRId64 "/s, %" PRId64 " s left\n",
                      p->what, percent, items, p->unit, rate, left_s);
    }
}

void
progress_clear(struct progress *p)
{
    if (p->tty && p->shown) {
        (void)fputs("\r\x1b[K", stderr);
        p->shown = false;
        p->shown_ms = 0;
    }
}
