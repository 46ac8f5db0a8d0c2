/* Bytes as a data: URL, as a medium's and a template's JSON, as a link, and as a content: nothing
 * is read beyond its end, and what is accepted comes back the same. */
#include "shared/approved.h"
#include "shared/media.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void
check_data_url(const char *text, size_t n)
{
    struct buf out = {0};
    struct err e = {0};
    char mime[MEDIA_MIME_SIZE];
    buf_adds(&out, "x");
    if (media_data_url(text, n, 1000, &out, mime, &e)) {
        expect(out.len <= 1001 && out.len <= n && strchr(mime, '/') && *out.data == 'x');
    } else {
        expect(e.kind == ERR_INPUT && strncmp(e.text, "data: URL", 9) == 0 && out.len == 1);
    }
    buf_done(&out);
}

static void
check_media(const char *text, size_t n)
{
    struct media_ref m, again;
    struct err e = {0};
    struct buf out = {0};
    if (!media_parse(text, n, true, &m, &e)) {
        expect(e.kind == ERR_INPUT && strncmp(e.text, "media", 5) == 0);
        return;
    }
    expect(media_parse(text, n, false, &again, NULL));
    media_write(&m, &out);
    expect(media_parse(out.data, out.len, true, &again, NULL));
    expect(m.kind == again.kind && m.size == again.size && strcmp(m.url, again.url) == 0 &&
           strcmp(m.sha256, again.sha256) == 0 && strcmp(m.mime, again.mime) == 0 &&
           strcmp(m.filename, again.filename) == 0);
    buf_done(&out);
}

static void
check_template(const char *text, size_t n)
{
    struct approved a;
    struct err e = {0};
    if (approved_parse(text, n, true, &a, &e)) {
        expect(a.name && a.language);
        for (size_t i = 0; i < a.n_body; i++) {
            expect(approved_value_check(a.body[i].text, strlen(a.body[i].text), NULL));
        }
    } else {
        expect(e.kind == ERR_INPUT && strncmp(e.text, "template", 8) == 0 && !a.document);
    }
    approved_done(&a);
    if (approved_parse(text, n, false, &a, NULL)) {
        approved_done(&a);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char mime[MEDIA_MIME_SIZE];
    char *text = xmalloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    check_data_url((const char *)data, size);
    check_media((const char *)data, size);
    check_template((const char *)data, size);
    expect(!media_url_check(text, NULL) || strncasecmp(text, "http", 4) == 0);
    (void)media_filename_is_good(text);
    for (int k = 0; k < MEDIA_KINDS; k++) {
        if (media_type((enum media_kind)k, "", text, data, size, mime, NULL)) {
            expect(media_kind_takes((enum media_kind)k, mime));
        }
    }
    free(text);
    return 0;
}
