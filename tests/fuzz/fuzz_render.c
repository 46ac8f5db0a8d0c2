/* A template, and behind NUL bytes the job id, a name, another value, the name fallback, a greeting
 * and a word that is no name: what render_check() lets pass is rendered, always alike, as valid
 * UTF-8; what it refuses is not.
 *
 *   clang -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_render.c \
 *       shared/render*.c shared/phone.c shared/mem.c shared/err.c -lxxhash */
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

/* The next NUL-terminated part of the input. */
static const char *
part(const char **at, const char *end)
{
    const char *start = *at;
    *at = start < end ? start + strlen(start) + 1 : end;
    return start < end ? start : "";
}

/* Text with its special characters escaped renders as itself. */
static void
check_escaped(const struct buf *text)
{
    struct buf escaped = {0}, out = {0};
    for (size_t i = 0; i < text->len; i++) {
        if (strchr("{}|\\", text->data[i])) {
            buf_adds(&escaped, "\\");
        }
        buf_add(&escaped, text->data + i, 1);
    }
    struct render_input in = {
        .template_text = escaped.data, .template_len = escaped.len, .job_id = ""};
    if (escaped.len <= RENDER_TEMPLATE_MAX) {
        expect(render(&in, &out, NULL));
        expect(out.len == text->len &&
               memcmp(out.data, text->data ? text->data : "", out.len) == 0);
    }
    buf_done(&escaped);
    buf_done(&out);
}

/* What is told of a template agrees with what is made of it for somebody who has no values. */
static void
check_facts(const char *text, size_t len, const char *job_id, bool checked)
{
    struct render_facts f;
    struct buf out = {0};
    bool ok = render_facts(text, len, NULL, 0, &f, NULL);
    expect(ok == checked && f.shortest <= f.longest);
    struct render_input in = {.template_text = text, .template_len = len, .job_id = job_id};
    if (ok && render(&in, &out, NULL)) {
        size_t n = render_chars(out.data, out.len);
        expect(n >= f.shortest && n <= f.longest);
    }
    render_facts_done(&f);
    buf_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = xmalloc(size + 1);
    memcpy(copy, data, size);
    copy[size] = '\0';
    const char *at = copy, *end = copy + size;
    const char *template_text = part(&at, end);
    size_t len = strlen(template_text);
    char *exact = xmalloc(len); /* not NUL-terminated */
    for (size_t i = 0; i < len; i++) {
        exact[i] = template_text[i];
    }
    struct render_input in = {
        .template_text = exact, .template_len = len, .job_id = part(&at, end)};
    struct render_var vars[] = {{"name", part(&at, end)}, {"x", part(&at, end)}, {"none", NULL}};
    in.vars = vars;
    in.n_vars = 3;
    in.name_fallback = part(&at, end);
    in.greeting = part(&at, end);
    const char *const words[] = {part(&at, end), NULL};
    in.not_names = words;

    struct buf out = {0}, again = {0};
    struct err e = {0}, check = {0};
    buf_adds(&out, "before");
    bool checked = render_check(exact, len, &check);
    check_facts(exact, len, in.job_id, checked);
    if (render(&in, &out, &e)) {
        expect(checked && render_bad_utf8(out.data, out.len) == out.len &&
               out.len <= 6 + RENDER_TEXT_MAX);
        expect(render(&in, &again, NULL) && again.len == out.len - 6);
        expect(memcmp(again.data, out.data + 6, again.len) == 0);
        check_escaped(&again);
    } else {
        expect(e.kind == ERR_INPUT && strcmp(out.data, "before") == 0 && out.len == 6);
        expect(checked
                   ? !check.text[0] && (strstr(e.text, "value of") || strstr(e.text, "longer") ||
                                        !strncmp(e.text, "the greeting: ", 14))
                   : !strcmp(e.text, check.text));
    }
    expect(!memchr(data, 0, size) || !render_check((const char *)data, size, NULL));
    (void)render_is_no_name(vars[0].value);
    buf_done(&out);
    buf_done(&again);
    free(exact);
    free(copy);
    return 0;
}
