#include "producer/dispatch_refuse.h"
#include "tests/harness/t.h"

static const struct claimed_row good = {.job_id = "c1-d2-0123456789abcdef-r0",
                                        .phone = "60123456789",
                                        .user = 1,
                                        .device_user = 1,
                                        .source_user = 1,
                                        .has_text = true};

static enum refusal
with(void (*change)(struct claimed_row *))
{
    struct claimed_row r = good;
    change(&r);
    return refuse_plan(&r);
}

static void
none(struct claimed_row *r)
{
    (void)r;
}
static void
direct(struct claimed_row *r)
{
    r->source_user = 0;
}
static void
group(struct claimed_row *r)
{
    r->phone = "120363041234567890@g.us";
}
static void
their_device(struct claimed_row *r)
{
    r->device_user = 2;
}
static void
their_source(struct claimed_row *r)
{
    r->source_user = 2;
}
static void
id(struct claimed_row *r)
{
    r->job_id = "a b";
}
static void
phone(struct claimed_row *r)
{
    r->phone = "+60 12";
}
static void
national(struct claimed_row *r)
{
    r->phone = "0123456789";
}
static void
text(struct claimed_row *r)
{
    r->has_text = false;
}
static void
out(struct claimed_row *r)
{
    r->opted_out = true;
}
static void
left(struct claimed_row *r)
{
    r->sequence = true, r->contact = "left";
}
static void
active(struct claimed_row *r)
{
    r->sequence = true, r->contact = "active";
}
static void
finished(struct claimed_row *r)
{
    r->sequence = true, r->contact = "finished";
}
static void
gone(struct claimed_row *r)
{
    r->sequence = true, r->lead_gone = true;
}
static void
gone_from_campaign(struct claimed_row *r)
{
    r->lead_gone = true;
}
static void
theirs_and_out(struct claimed_row *r)
{
    r->device_user = 2, r->opted_out = true;
}

TEST(each_row_that_must_not_go_out_is_refused_for_its_reason)
{
    static const struct {
        void (*change)(struct claimed_row *);
        enum refusal want;
    } cases[] = {
        {none, REFUSE_NOT},
        {direct, REFUSE_NOT},
        {group, REFUSE_NOT},
        {their_device, REFUSE_ISOLATION},
        {their_source, REFUSE_ISOLATION},
        {id, REFUSE_ID},
        {phone, REFUSE_PHONE},
        {national, REFUSE_PHONE},
        {text, REFUSE_TEXT},
        {out, REFUSE_OPTED_OUT},
        {left, REFUSE_LEFT},
        {active, REFUSE_NOT},
        {finished, REFUSE_NOT}, /* a retry of its last message */
        {gone, REFUSE_LEAD_GONE},
        {gone_from_campaign, REFUSE_NOT}, /* a campaign's audience is a snapshot */
        {theirs_and_out, REFUSE_ISOLATION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(cases[i].want, with(cases[i].change));
    }
}
