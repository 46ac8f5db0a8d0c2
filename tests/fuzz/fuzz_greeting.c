/* A file of greetings, read over the built-in ones: it is refused with its line and changes
 * nothing, or every greeting in it can be rendered. */
#include "shared/greeting.h"
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const tags[] = {"ms", "id", "en", "xx", "a"};
    struct greetings *g = NULL;
    struct err e = {0};
    expect(greetings_read(&g, "builtin", greetings_builtin, strlen(greetings_builtin), NULL));
    bool ok = greetings_read(&g, "fuzz", (const char *)data, size, &e);
    expect(ok || (e.kind == ERR_INPUT && strncmp(e.text, "fuzz:", 5) == 0));
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        const struct greeting_language *l = greetings_find(g, tags[i]);
        expect(l || i > 2);
        for (int minute = 0; l && minute < 1440; minute += 97) {
            const char *text = greeting_at(l, minute);
            expect(*text && render_check(text, strlen(text), NULL));
        }
    }
    greetings_free(g);
    return 0;
}
