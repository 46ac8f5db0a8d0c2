#include "ctl/audit.h"

#include <inttypes.h>
#include <string.h>

enum { STATUSES = 7 };
static const char *const names[STATUSES] = {"pending", "processing", "queued", "sent",
                                            "failed",  "skipped",    "unknown"};

/* --- counts --------------------------------------------------------------------------- */

/* Of the user's own. */
static bool
for_each(struct audit *a, const char *table, bool (*each)(struct audit *, uint64_t, struct err *),
         struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id FROM ");
    sql_text(&q, table);
    sql_addf(&q, " WHERE user_id = %" PRIu64 " ORDER BY id", a->c->user_id);
    bool ok = store_query(a->c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        ok = each(a, rows_uint(&r, 0), e);
    }
    rows_done(&r);
    return ok;
}

static bool
count_device(struct audit *a, uint64_t device, struct err *e)
{
    struct rows r;
    if (!store_queryf(a->c->store, &r, e,
                      "SELECT status, COUNT(*) FROM broadcast_messages WHERE status IN ('pending', "
                      "'processing', 'queued', 'sent', 'failed', 'skipped', 'unknown') AND "
                      "device_id = %" PRIu64 " GROUP BY status",
                      device)) {
        return false;
    }
    while (rows_next(&r)) {
        for (size_t i = 0; i < STATUSES; i++) {
            if (strcmp(rows_str(&r, 0), names[i]) == 0) {
                a->counts[i] += rows_int(&r, 1);
            }
        }
    }
    rows_done(&r);
    return true;
}

/* Rows {text, text, text, text}: what it is, its total, its rows, those in the archive. */
static void
compare_totals(struct audit *a, const char *what, struct rows *r)
{
    while (rows_next(r)) {
        a->archived += rows_int(r, 3);
        if (rows_int(r, 1) != rows_int(r, 2) + rows_int(r, 3)) {
            audit_found(a, "total", 0,
                        "%s %.100s: it has %s messages, and %s rows are there, %s more in the "
                        "archive",
                        what, rows_str(r, 0), rows_str(r, 1), rows_str(r, 2), rows_str(r, 3));
        }
    }
    rows_done(r);
}

static bool
check_campaign(struct audit *a, uint64_t campaign, struct err *e)
{
    struct rows r;
    if (!store_queryf(a->c->store, &r, e,
                      "SELECT c.name, c.total, (SELECT COUNT(*) FROM broadcast_messages m WHERE "
                      "m.campaign_id = c.id), (SELECT COUNT(*) FROM broadcast_messages_archive x "
                      "WHERE x.campaign_id = c.id) FROM campaigns c WHERE c.id = %" PRIu64,
                      campaign)) {
        return false;
    }
    compare_totals(a, "campaign", &r);
    return true;
}

static bool
check_runs(struct audit *a, uint64_t rule, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            a->c->store, &r, e,
            "SELECT CONCAT(c.name, ', run of ', g.occurrence_at), g.total, (SELECT COUNT(*) FROM "
            "broadcast_messages m WHERE m.recurring_id = g.recurring_id AND m.occurrence_at = "
            "g.occurrence_at AND m.status IN ('pending', 'processing', 'queued', 'sent', 'failed', "
            "'skipped', 'unknown')), (SELECT COUNT(*) FROM broadcast_messages_archive x WHERE "
            "x.recurring_id = g.recurring_id AND x.occurrence_at = g.occurrence_at) FROM "
            "recurring_message_logs g JOIN recurring_messages c ON c.id = g.recurring_id WHERE "
            "g.recurring_id = %" PRIu64 " AND g.status IN ('running', 'finished')",
            rule)) {
        return false;
    }
    compare_totals(a, "recurring message", &r);
    return true;
}

/* Device by device, as the contacts' key has them. */
static bool
check_contacts(struct audit *a, uint64_t sequence, struct err *e)
{
    struct rows devices, r;
    if (!store_queryf(a->c->store, &devices, e,
                      "SELECT id FROM devices WHERE user_id = %" PRIu64 " ORDER BY id",
                      a->c->user_id)) {
        return false;
    }
    bool ok = true;
    while (ok && rows_next(&devices)) {
        ok = store_queryf(
            a->c->store, &r, e,
            "SELECT CONCAT(s.name, ', contact ', n.id), n.total, (SELECT COUNT(*) FROM "
            "broadcast_messages m FORCE INDEX (messages_phone) WHERE m.recipient_phone = "
            "n.recipient_phone AND m.sequence_id = "
            "n.sequence_id AND m.device_id = n.device_id AND m.rotation = n.rotation), (SELECT "
            "COUNT(*) FROM broadcast_messages_archive x WHERE x.recipient_phone = "
            "n.recipient_phone AND x.sequence_id = n.sequence_id AND x.device_id = n.device_id AND "
            "x.rotation = n.rotation) FROM sequence_contacts n JOIN sequences s ON s.id = "
            "n.sequence_id WHERE n.sequence_id = %" PRIu64 " AND n.device_id = %" PRIu64,
            sequence, rows_uint(&devices, 0));
        if (ok) {
            a->contacts += (int64_t)r.count;
            compare_totals(a, "sequence", &r);
        }
    }
    rows_done(&devices);
    return ok;
}

bool
audit_counts(struct audit *a, struct err *e)
{
    bool ok = for_each(a, "devices", count_device, e) &&
              for_each(a, "campaigns", check_campaign, e) &&
              for_each(a, "sequences", check_contacts, e) &&
              for_each(a, "recurring_messages", check_runs, e);
    for (size_t i = 0; i < STATUSES; i++) {
        audit_fact(a, names[i], a->counts[i]);
    }
    audit_fact(a, "archived", a->archived);
    audit_fact(a, "contacts in sequences", a->contacts);
    return ok;
}

/* --- standing still -------------------------------------------------------------------- */

bool
audit_sources(struct audit *a, struct err *e)
{
    static const struct {
        const char *kind, *before, *behind;
    } looks[] = {
        {"not-enrolled",
         "SELECT 0, s.name, CONCAT(COUNT(*), ' enrolments asked for since ', MIN(r.created_at), "
         "': is a producer running?') FROM sequences s JOIN sequence_requests r ON r.sequence_id = "
         "s.id AND r.created_at < UTC_TIMESTAMP(3) - INTERVAL 10 MINUTE WHERE s.status = 'active' "
         "AND s.user_id = ",
         " GROUP BY s.id, s.name"},
        {"not-counted",
         "SELECT 0, s.name, CONCAT('contact ', n.id, ' should have been looked at ', n.check_at, "
         "': is a reaper running?') FROM sequence_contacts n JOIN sequences s ON s.id = "
         "n.sequence_id WHERE n.check_at < UTC_TIMESTAMP(3) - INTERVAL 15 MINUTE AND s.user_id = ",
         ""},
        {"not-run",
         "SELECT 0, m.name, CONCAT('was due ', COALESCE(m.next_run_at, m.created_at), ': is a "
         "producer running?') FROM recurring_messages m WHERE m.status = 'active' AND "
         "(m.next_run_at < UTC_TIMESTAMP(3) - INTERVAL 5 MINUTE OR (m.next_run_at IS NULL AND "
         "m.updated_at < UTC_TIMESTAMP(3) - INTERVAL 5 MINUTE)) AND m.user_id = ",
         ""},
        {"stopped",
         "SELECT 0, c.name, CONCAT('is paused: ', c.status_reason, '; mend it, then campaign "
         "resume') "
         "FROM campaigns c WHERE c.status = 'paused' AND c.status_reason <> '' AND c.user_id = ",
         ""},
        {"stopped",
         "SELECT 0, s.name, CONCAT('is paused: ', s.status_reason, '; mend it, then sequence "
         "resume') "
         "FROM sequences s WHERE s.status = 'paused' AND s.status_reason <> '' AND s.user_id = ",
         ""},
        {"stopped",
         "SELECT 0, m.name, CONCAT('is paused: ', m.status_reason, '; mend it, then recurring "
         "resume') FROM recurring_messages m WHERE m.status = 'paused' AND m.status_reason <> '' "
         "AND m.user_id = ",
         ""},
        {"stopped",
         "SELECT 0, CONCAT('device ', d.name), CONCAT('is paused: ', d.status_reason, '; mend it, "
         "then device resume') FROM devices d WHERE d.status = 'paused' AND d.status_reason LIKE "
         "'provider said %' AND d.user_id = ",
         ""},
        {"not-expanded",
         "SELECT 0, m.name, CONCAT('its run of ', g.occurrence_at, ' has not all of its messages "
         "yet: is a producer running?') FROM recurring_message_logs g JOIN recurring_messages m ON "
         "m.id = g.recurring_id WHERE g.status = 'expanding' AND g.started_at < UTC_TIMESTAMP(3) - "
         "INTERVAL 15 MINUTE AND m.user_id = ",
         ""},
        {"unsteered",
         "SELECT 0, s.name, CONCAT('is ', s.status, ', but Redis was told ', s.steered) FROM "
         "sequences s WHERE s.updated_at < UTC_TIMESTAMP(3) - INTERVAL 10 SECOND AND s.steered <> "
         "CASE WHEN s.status = 'paused' THEN 'paused' WHEN s.status = 'cancelled' AND "
         "s.finished_at IS NULL THEN 'cancelled' ELSE 'none' END AND s.user_id = ",
         ""},
        {"unsteered",
         "SELECT 0, s.name, CONCAT('is ', s.status, ', but Redis was told ', s.steered) FROM "
         "recurring_messages s WHERE s.updated_at < UTC_TIMESTAMP(3) - INTERVAL 10 SECOND AND "
         "s.steered <> CASE WHEN s.status = 'paused' THEN 'paused' WHEN s.status = 'cancelled' AND "
         "s.finished_at IS NULL THEN 'cancelled' ELSE 'none' END AND s.user_id = ",
         ""},
    };
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        if (!audit_rows(a, looks[i].kind, looks[i].before, looks[i].behind, e)) {
            return false;
        }
    }
    return true;
}
