/* fuzz_job.c -- libFuzzer: any bytes through the payload's decoder; what it accepts must come back
 * the same after encoding. */
#include "shared/job.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
must_be_same(struct job_text a, struct job_text b)
{
    if (a.len != b.len || (a.len && memcmp(a.s, b.s, a.len) != 0)) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct job j, again;
    struct err e = {0};
    if (!job_decode(p, n, &j, &e)) {
        if (e.kind != ERR_INPUT) {
            abort();
        }
        return 0;
    }
    struct buf out = {0};
    job_encode(&j, &out);
    /* Headers may have been longer than they need to be, never shorter; fields that an older
     * program does not know cost a byte each, and a longer header. */
    if (out.len > n + 7 || !job_decode(out.data, out.len, &again, &e)) {
        abort();
    }
    if (j.row != again.row || j.attempt != again.attempt || j.user != again.user ||
        j.device != again.device || j.gap_min_ms != again.gap_min_ms ||
        j.gap_max_ms != again.gap_max_ms || j.batch_size != again.batch_size ||
        j.batch_pause_ms != again.batch_pause_ms || j.n_vars != again.n_vars ||
        j.contact != again.contact) {
        abort();
    }
    must_be_same(j.sender, again.sender);
    must_be_same(j.device_ref, again.device_ref);
    must_be_same(j.recipient, again.recipient);
    must_be_same(j.name, again.name);
    must_be_same(j.content, again.content);
    must_be_same(j.zone, again.zone);
    must_be_same(j.language, again.language);
    must_be_same(j.media, again.media);
    must_be_same(j.template_json, again.template_json);
    for (size_t i = 0; i < 2 * j.n_vars; i++) {
        must_be_same(j.vars[i], again.vars[i]);
    }
    buf_done(&out);
    return 0;
}
