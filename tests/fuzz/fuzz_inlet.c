/* What somebody posts to the inlet: whatever the bytes, a plan holds only rows that may be written,
 * and the same bytes make the same rows; what is refused says why. */
#include "ctl/inlet_plan.h"
#include "shared/render.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void
check_row(const struct inlet_row *row)
{
    expect(row->label && render_bad_utf8(row->label, strlen(row->label)) == strlen(row->label));
    expect(render_bad_utf8(row->name, strlen(row->name)) == strlen(row->name));
    expect(strlen(row->name) <= (size_t)190 * 4 && row->device_id == 0);
    expect(job_id_is_good(row->job_id) && strlen(row->job_id) == 35);
    if (row->fate == INLET_WRITE) {
        struct err e;
        char again[PHONE_SIZE];
        expect(row->planned && !*row->why);
        expect(phone_normalise(row->phone, strlen(row->phone), NULL, again, &e));
        expect(strcmp(again, row->phone) == 0);
    } else {
        expect(!row->planned && *row->why);
    }
}

static void
check_plan(const struct inlet_plan *p, const struct inlet_plan *again)
{
    struct buf text = {0};
    struct render_input in = {
        .template_text = p->content.data, .template_len = p->content.len, .job_id = "x"};
    expect(p->n >= 1 && p->n <= INLET_RECIPIENTS_MAX && p->n == again->n);
    expect(p->content.len >= 1 && p->content.len <= INLET_CONTENT_MAX);
    /* Nothing in it is syntax: without its escapes it is what is sent. */
    expect(render(&in, &text, NULL));
    size_t k = 0;
    for (size_t i = 0; i < p->content.len; i++, k++) {
        i += p->content.data[i] == '\\';
        expect(k < text.len && text.data[k] == p->content.data[i]);
    }
    expect(k == text.len);
    buf_done(&text);
    for (size_t i = 0; i < p->n; i++) {
        check_row(&p->rows[i]);
        expect(strcmp(p->rows[i].job_id, again->rows[i].job_id) == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inlet_settings s = {1, "60", "phone"};
    struct inlet_plan p, again;
    struct err e = {0}, same = {0};
    bool ok = inlet_plan(&s, (const char *)data, size, &p, &e);
    expect(inlet_plan(&s, (const char *)data, size, &again, &same) == ok);
    if (ok) {
        check_plan(&p, &again);
    } else {
        expect((e.kind == ERR_INPUT || e.kind == ERR_REFUSED || e.kind == ERR_FULL) && *e.text);
        expect(strcmp(e.text, same.text) == 0);
    }
    inlet_plan_done(&p);
    inlet_plan_done(&again);
    return 0;
}
