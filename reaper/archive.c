#include "shared/archive.h"

#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/log.h"

#include <inttypes.h>

/* Of our time at most a twentieth: a slice, and then a rest of 20 times what it took. */
enum { SLICE_MS = 50, SHARE = 20, TROUBLE_MS = 60000 };

static int64_t
seconds(int64_t ms)
{
    return ms ? (ms + 999) / 1000 : ARCHIVE_NEVER;
}

static bool
has_retention(const struct reaper *r)
{
    bool any = false;
    for (int i = 0; i < ARCHIVE_STATUSES; i++) {
        any = any || r->s->retention[i];
    }
    return any;
}

static bool
begin(struct reaper *r, struct err *e)
{
    struct archive_rules rules = {.direct_s = seconds(r->s->retention_direct)};
    for (int i = 0; i < ARCHIVE_STATUSES; i++) {
        rules.after_s[i] = seconds(r->s->retention[i]);
    }
    return archive_open(r->db, &rules, &r->archive, e);
}

static void
note(const struct archive_seen *seen)
{
    for (int i = 0; i < ARCHIVE_STATUSES; i++) {
        metric_add(&reaper_metrics[M_ARCHIVED_SENT + i], (int64_t)seen->moved[i]);
    }
    if (seen->n_twins) {
        log_warn("archive_has_twin", "message", LOG_I(seen->twins[0]), "rows", LOG_I(seen->n_twins),
                 "see", LOG_S("paceline audit duplicates"));
    }
}

/* What the server refuses (a column that the archive lacks, say) must not stop the other steps. */
static bool
trouble(struct reaper *r, struct err *e)
{
    archive_close(r->archive);
    r->archive = NULL;
    r->next_archive = clock_mono_ms() + TROUBLE_MS;
    if (e->kind == ERR_RETRY) {
        return err_wrap(e, "archive");
    }
    log_error("archive_refused", "why", LOG_S(e->text));
    *e = (struct err){0};
    return true;
}

bool
archive_pass(struct reaper *r, struct err *e)
{
    int64_t began = clock_mono_ms();
    struct archive_seen seen = {0};
    if (began < r->next_archive || !has_retention(r)) {
        return true;
    }
    if (!r->archive && !begin(r, e)) {
        return trouble(r, e);
    }
    do {
        if (!archive_step(r->archive, false, &seen, e)) {
            return trouble(r, e);
        }
        note(&seen);
    } while (!seen.done && clock_mono_ms() - began < SLICE_MS && !program_stopping);
    if (seen.done) {
        archive_close(r->archive);
        r->archive = NULL;
    }
    int64_t now = clock_mono_ms(), rest = SHARE * (now - began);
    r->next_archive =
        now + (seen.done && r->s->archive_interval > rest ? r->s->archive_interval : rest);
    return true;
}
