/* docs/providers.md says what the code's tables say: its tables are printed from them.  With
 * DOCS_WRITE=1 (make docs) the page is written anew instead of compared. */
#include "shared/mem.h"
#include "tests/harness/t.h"
#include "worker/pace.h"
#include "worker/provider.h"

#include <stdio.h>
#include <string.h>

#define PAGE "docs/providers.md"

/* A cell: "|" would end it. */
static void
add_cell(struct buf *b, const char *text)
{
    for (; *text; text++) {
        buf_adds(b, *text == '|' ? "\\" : "");
        buf_add(b, text, 1);
    }
    buf_adds(b, " | ");
}

static void
add_answer(struct buf *b, const struct provider_rule *r)
{
    static const char *const when[] = {[WHEN_ANY] = "",
                                       [WHEN_ID] = " with an id",
                                       [WHEN_CODE] = " with a code",
                                       [WHEN_NO_CODE] = " without a code",
                                       [WHEN_TEXT] = " with a sentence",
                                       [WHEN_ACCEPTED] = " `true`",
                                       [WHEN_REFUSED] = " `false`",
                                       [WHEN_TOLD] = " with Retry-After"};
    struct buf cell = {0};
    if (r->from) {
        buf_addf(&cell, r->to ? "%d to %d" : "%d", r->from, r->to);
    } else if (!r->code) {
        buf_adds(&cell, "any other");
    }
    if (r->code) {
        buf_addf(&cell, r->last ? "%s`%s` to `%s`" : "%s`%s`", r->from ? " " : "", r->code,
                 r->last);
    }
    if (r->text) {
        buf_addf(&cell, " \"%s\"", r->text);
    }
    buf_adds(&cell, when[r->when]);
    add_cell(b, cell.data);
    buf_done(&cell);
}

static void
add_duration(struct buf *b, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (ms % units[i].ms) {
        i++;
    }
    buf_addf(b, "%lld %s | ", (long long)(ms / units[i].ms), units[i].unit);
}

/* What becomes of the row: pace.c is asked, not described. */
static void
add_row_kind(struct buf *b, const struct verdict *v, int strikes)
{
    static const struct {
        const char *kind, *words;
    } kinds[] = {{"sent", "sent"},
                 {"failed", "failed"},
                 {"retry", "again, an attempt charged"},
                 {"deferred", "waits, none charged"},
                 {"returned", "waits until it is mended"},
                 {"unknown", "unknown"}};
    size_t i = 0;
    while (strcmp(kinds[i].kind, v->kind) != 0) {
        i++;
    }
    if (strikes) {
        buf_addf(b, "again; %s from attempt %d on | ", kinds[i].words, strikes);
    } else {
        add_cell(b, kinds[i].words);
    }
}

/* Whom an outcome delays or stops, in words. */
static const char *
scope_words(enum outcome_scope s)
{
    static const char *const words[] = {[SCOPE_MESSAGE] = "message",
                                        [SCOPE_RECIPIENT] = "recipient",
                                        [SCOPE_PAIR] = "pair",
                                        [SCOPE_DEVICE] = "device",
                                        [SCOPE_NEW_CONTACTS] = "new contacts",
                                        [SCOPE_TEMPLATE] = "source",
                                        [SCOPE_ACCOUNT] = "account",
                                        [SCOPE_ENDPOINT] = "endpoint"};
    return words[s];
}

/* What stops, or waits for how long at least. */
static void
add_action(struct buf *b, const struct outcome *o, const struct verdict *v)
{
    bool ended = o->class == OUTCOME_SENT || o->class == OUTCOME_UNKNOWN;
    int64_t ms = v->hold_ms ? v->hold_ms : o->retry_after_ms;
    if (o->stop) {
        buf_addf(b, "**%s stops** | ", scope_words(o->scope));
    } else if (o->stop_after) {
        buf_addf(b, "source stops after %d alike | ", o->stop_after);
    } else if (ms && !ended &&
               (o->scope == SCOPE_RECIPIENT || strcmp(v->kind, "failed") != 0)) {
        buf_addf(b, o->scope == SCOPE_NEW_CONTACTS ? "%s wait " : "%s waits ",
                 scope_words(o->scope));
        add_duration(b, ms);
    } else {
        buf_adds(b, "| ");
    }
}

static void
end_row(struct buf *b)
{
    while (b->len && b->data[b->len - 1] == ' ') {
        b->data[--b->len] = '\0';
    }
    buf_adds(b, "\n");
}

static void
add_scope(struct buf *b, const struct provider_rule *r)
{
    buf_adds(b, outcome_scope_name(r->scope));
    if (r->extent) {
        buf_addf(b, " (%s)", r->extent);
    }
    buf_adds(b, " | ");
}

static void
print_table(const struct provider_table *t, struct buf *b)
{
    buf_adds(b, "| answer | meaning | class | scope | the row | at the first | what to do | source "
                "|\n|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < t->n_rules; i++) {
        const struct provider_rule *r = &t->rules[i];
        const struct outcome o = {
            .class = r->class,
            .scope = r->scope,
            .retry_after_ms = r->retry_ms,
            .stop = r->stop,
            .stop_after = r->stop_after,
        };
        struct verdict v = pace_verdict(&o, true);
        buf_adds(b, "| ");
        add_answer(b, r);
        add_cell(b, r->meaning);
        add_cell(b, outcome_class_name(r->class));
        add_scope(b, r);
        add_row_kind(b, &v, r->strikes);
        add_action(b, &o, &v);
        add_cell(b, r->advice);
        add_cell(b, r->source);
        end_row(b);
    }
}

static void
print_states(const struct provider_table *t, struct buf *b)
{
    static const char *const words[] = {
        [DEVICE_UNKNOWN] = "unknown", [DEVICE_ONLINE] = "online", [DEVICE_OFFLINE] = "offline"};
    buf_adds(b, "| answer to a look | device | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < t->n_states; i++) {
        const struct provider_state *s = &t->states[i];
        buf_addf(b, s->to ? "| %d to %d" : "| %d", s->from, s->to);
        buf_addf(b, s->value ? " `%s` = `%s` | " : " `%s` = anything else | ", s->pointer,
                 s->value);
        add_cell(b, words[s->state]);
        add_cell(b, s->meaning);
        end_row(b);
    }
    buf_adds(b, "| any other, or none | unknown | a failed look is never an offline device |\n");
}

static void
print_unanswered(struct buf *b)
{
    static const struct {
        enum http_end end;
        bool started;
        const char *what;
    } cases[] = {
        {HTTP_FAILED, false,
         "no name, no connection, no TLS, too late to begin (curl 5 6 7 28 35 60)"},
        {HTTP_QUEUE_TIMEOUT, false, "no connection came free in time"},
        {HTTP_ADDRESS_REFUSED, false, "every address of the host is private"},
        {HTTP_STALE, false, "the leave to send had ended"},
        {HTTP_CLOSED, false, "the worker stopped before the first byte"},
        {HTTP_FAILED, true,
         "closed, reset, cut short, garbage, a head without end, too late (curl 1 8 18 28 52 55 "
         "56)"},
        {HTTP_RESEND_REFUSED, true, "a second writing was about to begin (also curl 65)"},
        {HTTP_CLOSED, true, "the worker stopped before the answer"},
    };
    buf_adds(b, "| without an answer | class | scope | the row | at the first |\n"
                "|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_result r = {.end = cases[i].end, .started = cases[i].started};
        struct outcome o;
        provider_classify(&gowa_table, &r, 1, NULL, &o);
        buf_adds(b, "| ");
        add_cell(b, cases[i].what);
        add_cell(b, outcome_class_name(o.class));
        add_cell(b, outcome_scope_name(o.scope));
        struct verdict v = pace_verdict(&o, true);
        add_row_kind(b, &v, 0);
        add_action(b, &o, &v);
        end_row(b);
    }
}

static char *
read_page(void)
{
    struct buf b = {0};
    char part[4096];
    FILE *f = fopen(PAGE, "r");
    if (!f) {
        t_fail(__FILE__, __LINE__, "%s is not there: run from the project's folder", PAGE);
    }
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) {
        buf_add(&b, part, n);
    }
    (void)fclose(f);
    buf_adds(&b, "");
    return b.data;
}

/* The page with what stands between the marks of `name` replaced. */
static char *
replaced(char *page, const char *name, const struct buf *table)
{
    char mark[64];
    (void)snprintf(mark, sizeof mark, "<!-- %s: printed by make docs -->\n", name);
    char *from = strstr(page, mark);
    char *to = from ? strstr(from, "<!-- end -->") : NULL;
    if (!to) {
        t_fail(__FILE__, __LINE__, "%s has no %s", PAGE, mark);
    }
    from += strlen(mark);
    char *all = xasprintf("%.*s%s%s", (int)(from - page), page, table->data, to);
    free(page);
    return all;
}

static int
first_different_line(const char *a, const char *b)
{
    int line = 1;
    for (; *a && *a == *b; a++, b++) {
        line += *a == '\n';
    }
    return line;
}

TEST(the_page_is_what_the_tables_say)
{
    char *was = read_page(), *is = xstrdup(was);
    struct buf b = {0};
    for (const struct provider_table *const *t = provider_tables; *t; t++) {
        buf_clear(&b);
        print_table(*t, &b);
        is = replaced(is, (*t)->name, &b);
        char *name = xasprintf("%s states", (*t)->name);
        buf_clear(&b);
        print_states(*t, &b);
        is = replaced(is, name, &b);
        free(name);
    }
    buf_clear(&b);
    print_unanswered(&b);
    is = replaced(is, "unanswered", &b);
    buf_done(&b);
    const char *write = getenv("DOCS_WRITE");
    if (write && *write) {
        FILE *f = fopen(PAGE, "w");
        CHECK(f && fputs(is, f) >= 0 && fclose(f) == 0);
    } else if (strcmp(was, is) != 0) {
        t_fail(__FILE__, __LINE__, "%s:%d is stale: make docs prints its tables anew", PAGE,
               first_different_line(was, is));
    }
    free(was);
    free(is);
}
