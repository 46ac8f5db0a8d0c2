#include "reaper/receipt_plan.h"

static bool
is_under_way(const struct receipt_row *row)
{
    return row->status == ROW_QUEUED || row->status == ROW_PROCESSING;
}

static struct receipt_action
went_out(const struct receipt_row *row, const struct receipt *r, struct receipt_action a)
{
    a.raise = r->kind > row->receipt;
    if (row->status == ROW_SENT && !row->assumed) {
        return a;
    }
    a.evidence = true;
    a.status = ROW_SENT;
    a.attempt = r->attempt > a.attempt ? r->attempt : a.attempt ? a.attempt : 1;
    /* Of one that is under way again the attempt before stays counted as unknown: what is sent now
     * is the price of that. */
    a.unknowns -= !is_under_way(row) && a.unknowns > 0;
    a.take_back = is_under_way(row);
    return a;
}

static struct receipt_action
did_not(const struct receipt_row *row, const struct receipt *r, struct receipt_action a)
{
    bool open = row->status == ROW_UNKNOWN || row->assumed;
    bool final = row->status == ROW_SENT || row->status == ROW_FAILED || row->status == ROW_SKIPPED;
    if (row->status == ROW_SENT && r->other_id) {
        return a;
    }
    if (final && !open) {
        a.raise = r->kind > row->receipt;
        return a;
    }
    a.evidence = open || row->unknowns > 0;
    a.unknowns -= a.unknowns > 0;
    if (open && a.unknowns == 0) {
        a.status = ROW_FAILED;
        a.raise = r->kind > row->receipt;
    }
    return a;
}

struct receipt_action
receipt_plan(const struct receipt_row *row, const struct receipt *r)
{
    struct receipt_action a = {
        .status = row->status, .attempt = row->attempt, .unknowns = row->unknowns};
    if (is_under_way(row) && r->attempt > row->attempt && r->age_ms < RECEIPT_RESULT_MS) {
        a.wait = true;
        return a;
    }
    return r->kind == RECEIPT_FAILED ? did_not(row, r, a) : went_out(row, r, a);
}
