#include "producer/sequence_plan.h"

static const double rate_min = 100;

bool
chain_has(const struct chain *c, uint64_t sequence)
{
    for (size_t i = 0; i < c->n_links; i++) {
        if (c->links[i].sequence == sequence) {
            return true;
        }
    }
    return false;
}

void
sequence_plan_times(struct chain *c)
{
    int64_t start = c->n_links ? c->links[0].start_after_s : 0;
    for (size_t i = 0; i < c->n_links; i++) {
        const struct chain_link *l = &c->links[i];
        int64_t last = start;
        for (size_t k = l->first; k < l->first + l->n; k++) {
            struct chain_step *s = &c->steps[k];
            s->at_s = (s->from_start ? start : last) + s->delay_s;
            last = s->at_s;
        }
        start = last + l->next_after_s;
    }
}

size_t
sequence_plan_batch(const struct chain *c, size_t wanted)
{
    size_t fit = c->n_steps ? ENROL_ROWS_MAX / c->n_steps : wanted;
    return fit < 1 ? 1 : fit < wanted ? fit : wanted;
}

void
sequence_plan_lead(const struct chain *c, const struct known_contact *known, bool again,
                   bool *links, unsigned *ret_rotation)
{
    bool active = false;
    unsigned highest = 0;
    for (size_t i = 0; i < c->n_links; i++) {
        active = active || known[i].active;
        highest = known[i].any && known[i].rotation > highest ? known[i].rotation : highest;
    }
    bool once_more = again && known[0].any && !active;
    bool enters = !known[0].any || once_more;
    *ret_rotation = once_more ? highest + 1 : 0;
    for (size_t i = 0; i < c->n_links; i++) {
        links[i] = enters && (once_more || !known[i].any);
    }
}

double
sequence_plan_rate(double rate, int64_t lag_ms, int64_t target_ms, double max)
{
    rate *= lag_ms > target_ms ? 0.8 : 1.25;
    return rate < rate_min ? rate_min : rate > max ? max : rate;
}
