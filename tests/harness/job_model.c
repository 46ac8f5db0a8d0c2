#include "tests/harness/job_model.h"

#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

static bool
held(const struct model_job *j)
{
    return j->letter == 'L' || j->letter == 'P';
}

static bool
settled(const struct model_job *j)
{
    return j->letter == 'D' || j->letter == 'R' || j->letter == 'U';
}

bool
model_holds(const struct model *m, size_t job, uint32_t gen, uint64_t token)
{
    const struct model_job *j = &m->jobs[job];
    return held(j) && j->gen == gen && j->token == token;
}

static void
set_kind(char *to, const char *kind)
{
    (void)snprintf(to, sizeof((struct model_job *)0)->kind, "%s", kind);
}

static void
add_result(struct model *m, size_t job, uint32_t gen, uint64_t token, const char *kind, bool late)
{
    CHECK(m->n_results < MODEL_RESULTS);
    struct model_result *x = &m->results[m->n_results++];
    *x = (struct model_result){.job = job, .gen = gen, .token = token, .late = late};
    set_kind(x->kind, kind);
}

/* The job has an outcome. */
static void
settle(struct model *m, size_t job, uint32_t gen, uint64_t token, const char *kind, bool late)
{
    struct model_job *j = &m->jobs[job];
    bool back = strcmp(kind, "retry") == 0 || strcmp(kind, "deferred") == 0 ||
                strcmp(kind, "returned") == 0;
    j->letter = strcmp(kind, "unknown") == 0 ? 'U' : back ? 'R' : 'D';
    j->gen = gen;
    j->token = token;
    set_kind(j->kind, kind);
    add_result(m, job, gen, token, kind, late);
}

static void
land(struct model *m, const struct model_job *j)
{
    m->devices[j->device].in_flight--;
}

char
model_stage(struct model *m, size_t job, uint32_t gen)
{
    struct model_job *j = &m->jobs[job];
    if (j->letter != '.' && j->letter != 'S' && j->letter != 'R') {
        return j->letter;
    }
    j->letter = 'S';
    j->gen = gen;
    return 'S';
}

char
model_activate(struct model *m, size_t job, uint32_t gen)
{
    struct model_job *j = &m->jobs[job];
    if (j->letter == 'S' && j->gen == gen) {
        j->letter = 'W';
        j->order = ++m->order;
        return '1';
    }
    return j->letter != '.' && j->letter != 'S' && j->gen == gen ? '1' : '0';
}

/* The first waiting job of the device behind this place whose source is not stopped. */
static size_t
next_waiting(const struct model *m, size_t device, uint64_t behind)
{
    size_t best = MODEL_JOBS;
    for (size_t i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *j = &m->jobs[i];
        if (j->device == device && j->letter == 'W' && j->order > behind &&
            !m->stopped[j->source] && (best == MODEL_JOBS || j->order < m->jobs[best].order)) {
            best = i;
        }
    }
    return best;
}

size_t
model_claim(struct model *m, size_t device, size_t room, size_t *ret)
{
    int64_t free_slots = m->devices[device].max_in_flight - m->devices[device].in_flight;
    size_t n = 0, i;
    if (m->devices[device].paused || free_slots < 1) {
        return 0;
    }
    if (m->devices[device].gap_ms && free_slots > 1) {
        free_slots = 1;
    }
    while (n < room && n < (size_t)free_slots && (i = next_waiting(m, device, 0)) < MODEL_JOBS) {
        struct model_job *j = &m->jobs[i];
        j->letter = 'L';
        j->token = ++m->devices[device].token;
        m->devices[device].in_flight++;
        ret[n++] = i;
    }
    return n;
}

void
model_set_aside(struct model *m, size_t job)
{
    struct model_job *j = &m->jobs[job];
    settle(m, job, j->gen, 0, m->stopped[j->source] == 'p' ? "returned" : "skipped", false);
}

char
model_permit(struct model *m, size_t job, uint32_t gen, uint64_t token, bool too_early)
{
    struct model_job *j = &m->jobs[job];
    if (!model_holds(m, job, gen, token)) {
        return 's';
    }
    if (j->letter == 'P') {
        return 'g';
    }
    if (m->stopped[j->source]) {
        land(m, j);
        settle(m, job, gen, token, m->stopped[j->source] == 'p' ? "returned" : "skipped", false);
        return 'x';
    }
    if (m->devices[j->device].paused || too_early) {
        land(m, j);
        j->letter = 'W';
        return m->devices[j->device].paused ? 'p' : 'w';
    }
    j->letter = 'P';
    return 'g';
}

char
model_finish(struct model *m, size_t job, uint32_t gen, uint64_t token, const char *kind)
{
    struct model_job *j = &m->jobs[job];
    if (model_holds(m, job, gen, token)) {
        land(m, j);
        settle(m, job, gen, token, kind, false);
        return 'o';
    }
    if (settled(j) && j->gen == gen && j->token == token) {
        if (j->letter != 'U' || strcmp(kind, "unknown") == 0) {
            return 'd';
        }
        settle(m, job, gen, token, kind, true);
        return 'l';
    }
    if (j->letter == '.') {
        settle(m, job, gen, token, kind, true);
    } else if (strcmp(kind, "sent") == 0) {
        if (j->letter == 'P') {
            add_result(m, job, gen, token, kind, true);
        } else {
            if (j->letter == 'L') {
                land(m, j);
            }
            settle(m, job, gen, token, kind, true);
        }
    }
    return 's';
}

bool
model_release(struct model *m, size_t job, uint32_t gen, uint64_t token)
{
    struct model_job *j = &m->jobs[job];
    if (!model_holds(m, job, gen, token)) {
        return false;
    }
    land(m, j);
    j->letter = 'W';
    return true;
}

char
model_reclaim(struct model *m, size_t job)
{
    struct model_job *j = &m->jobs[job];
    if (!held(j)) {
        return 'g';
    }
    land(m, j);
    if (j->letter == 'L') {
        j->letter = 'W';
        return 'a';
    }
    settle(m, job, j->gen, j->token, "unknown", false);
    return 'u';
}

void
model_forget(struct model *m, const struct model_result *x)
{
    struct model_job *j = &m->jobs[x->job];
    if (settled(j) && j->gen == x->gen && j->token == x->token && strcmp(j->kind, x->kind) == 0) {
        j->letter = '.';
    }
}

char
model_unstage(struct model *m, size_t job, uint32_t gen)
{
    struct model_job *j = &m->jobs[job];
    if (j->letter == 'S' && j->gen <= gen) {
        j->letter = '.';
    }
    return j->letter == '.' ? 0 : j->letter;
}

char
model_withdraw(struct model *m, size_t job, uint32_t gen)
{
    struct model_job *j = &m->jobs[job];
    if (j->letter == '.') {
        return 0;
    }
    if (j->gen > gen) {
        return 'N';
    }
    if (j->letter == 'S') {
        j->letter = '.';
        return j->gen == gen ? 'S' : 0;
    }
    if (j->letter != 'W' && j->letter != 'L') {
        return j->letter;
    }
    if (j->letter == 'L') {
        land(m, j);
    }
    settle(m, job, j->gen, 0, "skipped", false);
    return 'T';
}
