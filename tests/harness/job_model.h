/* job_model.h -- what Redis ought to hold: the contracts of the verbs once more, as a model in C
 * without streams, leases or indexes.  Pure.
 *
 * The storm drives Redis and the model side by side and compares every answer and every state. */
#ifndef TESTS_JOB_MODEL_H
#define TESTS_JOB_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_JOBS = 60, MODEL_DEVICES = 5, MODEL_RESULTS = 4096 };

struct model_job {
    char id[16];
    size_t device, source; /* indexes */
    char letter;           /* S W L P D R U, or '.': not known */
    uint32_t gen;
    uint64_t token;
    char kind[12];
    uint64_t order; /* place in its device's stream */
};

struct model_result {
    char kind[12];
    size_t job;
    uint32_t gen;
    uint64_t token;
    bool late;
};

struct model {
    struct model_job jobs[MODEL_JOBS];
    struct {
        int64_t in_flight, max_in_flight, gap_ms;
        uint64_t token;
        bool paused;
    } devices[MODEL_DEVICES];
    char stopped[4]; /* of each source: 0, 'p'aused, 'c'ancelled */
    uint64_t order;
    struct model_result results[MODEL_RESULTS]; /* written and not read yet */
    size_t n_results;
};

/* Each does what the verb does and returns its answer. */
char model_stage(struct model *m, size_t job, uint32_t gen);
char model_activate(struct model *m, size_t job, uint32_t gen);
/* The jobs that a claim must give, in order; ret has room for MODEL_JOBS. */
size_t model_claim(struct model *m, size_t device, size_t room, size_t *ret);
/* Jobs of stopped sources that a claim may settle; it was seen to have settled this one. */
void model_set_aside(struct model *m, size_t job);
/* "go" and "wait" are a matter of the clock: late tells which one it was.  Answers by their first
 * letters: g s(tale) x (stopped) p w. */
char model_permit(struct model *m, size_t job, uint32_t gen, uint64_t token, bool too_early);
/* o d l s */
char model_finish(struct model *m, size_t job, uint32_t gen, uint64_t token, const char *kind);
bool model_release(struct model *m, size_t job, uint32_t gen, uint64_t token);
/* a u g */
char model_reclaim(struct model *m, size_t job);
void model_forget(struct model *m, const struct model_result *x);
/* The letter afterwards, 0 = not known. */
char model_unstage(struct model *m, size_t job, uint32_t gen);
/* T S P D R U N as the verb, 0 = not known. */
char model_withdraw(struct model *m, size_t job, uint32_t gen);
bool model_holds(const struct model *m, size_t job, uint32_t gen, uint64_t token);

#endif
