/* What is posted to `paceline receipts`: whatever the bytes and the type, a plan holds only events
 * that the inbox can hold, the same bytes make the same events, and what is refused says why.  Text
 * of the body never comes back in an error. */
#include "ctl/receipts_plan.h"
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
check_text(const char *s, size_t size)
{
    size_t n = strnlen(s, size);
    expect(n < size && render_bad_utf8(s, n) == n);
}

static void
check_event(const struct receipt_event *ev)
{
    struct err e;
    char again[PHONE_SIZE];
    expect(ev->kind >= RECEIPT_SENT && ev->kind <= RECEIPT_RESUME);
    expect(*ev->provider_id);
    check_text(ev->provider_id, sizeof ev->provider_id);
    check_text(ev->device_ref, sizeof ev->device_ref);
    check_text(ev->code, sizeof ev->code);
    check_text(ev->detail, sizeof ev->detail);
    expect(!*ev->job_id || (job_id_is_good(ev->job_id) && ev->attempt > 0));
    expect(!*ev->phone || (phone_normalise(ev->phone, strlen(ev->phone), NULL, again, &e) &&
                           strcmp(again, ev->phone) == 0));
    expect(ev->at_ms == 0 || (ev->at_ms > 1000000000000 && ev->at_ms < 4102444801000));
    expect(ev->kind < RECEIPT_STOP || strcmp(ev->code, "reply") == 0 ||
           strcmp(ev->code, "preference") == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"cloudapi", "gowa", "waha", "evolution", "json"};
    static const struct receipt_shape own = {.id = "/a/0/b",
                                             .status = "/s",
                                             .words = "1=sent x=failed y=read",
                                             .callback = "/c",
                                             .phone = "/p",
                                             .at = "/t",
                                             .code = "/k",
                                             .detail = "/d"};
    static struct stop_words *words;
    struct err e = {0}, same = {0};
    struct receipts_plan p, again;
    if (!words) {
        expect(stop_words_read(&words, "w", stop_words_builtin, strlen(stop_words_builtin), &e));
    }
    if (!size) {
        return 0;
    }
    const char *type = types[data[0] % (sizeof types / sizeof *types)];
    const struct receipt_shape *s = strcmp(type, "json") == 0 ? &own : receipt_shape_of(type);
    const char *bytes = (const char *)data + 1;
    bool ok = receipts_plan(type, s, words, bytes, size - 1, &p, &e);
    expect(receipts_plan(type, s, words, bytes, size - 1, &again, &same) == ok);
    expect(p.n == again.n && p.left_out == again.left_out);
    for (size_t i = 0; i < p.n; i++) {
        check_event(&p.events[i]);
        expect(p.events[i].kind == again.events[i].kind &&
               p.events[i].at_ms == again.events[i].at_ms);
        expect(strcmp(p.events[i].provider_id, again.events[i].provider_id) == 0);
    }
    if (!ok) {
        expect(e.kind == ERR_INPUT && *e.text && p.n == 0 && strcmp(e.text, same.text) == 0);
        check_text(e.text, sizeof e.text);
    }
    receipts_plan_done(&p);
    receipts_plan_done(&again);
    return 0;
}
