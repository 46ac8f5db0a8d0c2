#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/template_leads.h"
#include "ctl/template_text.h"

#include <inttypes.h>
#include <string.h>

#define FLAG(name) offsetof(struct template_flags, name)
#define TEXT_FLAGS                                                                                   \
    {                                                                                                \
        "content", FLAG_TEXT, FLAG(content), NULL, NULL, "The text itself, instead of a file.",      \
        false},                                                                                      \
        {"campaign", FLAG_TEXT, FLAG(campaign), "NAME", NULL, "The text of this campaign.", false},  \
        {"sequence", FLAG_TEXT, FLAG(sequence), "NAME", NULL, "The texts of this sequence.", false}, \
    {                                                                                                \
        "limit", FLAG_INT, FLAG(limit), "0..65536", "4096",                                          \
            "Characters that the provider takes; WhatsApp: 4096 in a text, 1024 in a caption; 0 "    \
            "= any number.",                                                                         \
            false                                                                                    \
    }

static const struct flag check_flags[] = {
    TEXT_FLAGS,
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct flag render_flags[] = {
    TEXT_FLAGS,
    {"lead", FLAG_TEXT, FLAG(lead), "PHONE", NULL,
     "As this lead gets it, from each device that has it.", false},
    {"samples", FLAG_INT, FLAG(samples), "1..1000", NULL, "As the first so many leads get it.",
     false},
    {"device", FLAG_TEXT, FLAG(device), "NAME", NULL, "Only leads of this device.", false},
    {"at", FLAG_TIME, FLAG(at), NULL, NULL,
     "When it is sent, for greetings: now, or a time. Default: now.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

/* --- check ---------------------------------------------------------------------------- */

static const struct column text_columns[] = {
    {"template", "TEMPLATE", SHOW_TEXT}, {"bytes", "BYTES", SHOW_INT},
    {"choices", "CHOICES", SHOW_INT},    {"variants", "VARIANTS", SHOW_ID},
    {"shortest", "SHORTEST", SHOW_INT},  {"longest", "LONGEST", SHOW_INT},
    {"limit", "LIMIT", SHOW_INT},        {"fits", "FITS", SHOW_YES},
    {"beside", "BESIDE IT", SHOW_TEXT},  {NULL, NULL, SHOW_TEXT},
};
static const struct column variable_columns[] = {
    {"template", "TEMPLATE", SHOW_TEXT},  {"variable", "VARIABLE", SHOW_TEXT},
    {"uses", "USES", SHOW_INT},           {"without_default", "WITHOUT DEFAULT", SHOW_INT},
    {"missing", "IF MISSING", SHOW_TEXT}, {NULL, NULL, SHOW_TEXT},
};
static const struct section check_sections[] = {
    {"templates", "Lengths in characters, each variable being its default or nothing",
     text_columns},
    {"variables", "Variables", variable_columns},
    {NULL, NULL, NULL},
};

static bool
is_name(const struct render_variable *v)
{
    return (v->len == 4 && memcmp(v->name, "name", 4) == 0) ||
           (v->len == 14 && memcmp(v->name, "recipient_name", 14) == 0);
}

/* What is written for a recipient who has no value for it. */
static const char *
if_missing(const struct render_variable *v)
{
    if (!v->without_default) {
        return "its default";
    }
    if (is_name(v)) {
        return "the language's word";
    }
    if ((v->len == 8 && memcmp(v->name, "greeting", 8) == 0) ||
        (v->len == 5 && memcmp(v->name, "phone", 5) == 0)) {
        return "never missing";
    }
    return v->bare ? "{...} as it stands" : "nothing";
}

struct check {
    struct doc *templates, *variables;
    struct render_width widths[COMPOSE_WIDTHS];
    int64_t limit, exceeded;
    bool fits;
};

static bool
check_one(struct check *x, const struct template_text *t, struct err *e)
{
    struct render_facts f;
    bool ok = render_facts(t->content.data, t->content.len, x->widths, COMPOSE_WIDTHS, &f, e) ||
              err_wrap(e, "%.100s", t->label);
    int64_t limit = template_text_limit(t, x->limit);
    bool fits = !limit || f.longest <= (size_t)limit;
    if (ok) {
        struct doc *d = doc_append(x->templates);
        doc_put_str(d, "template", t->label);
        doc_put_int(d, "bytes", (int64_t)t->content.len);
        doc_put_int(d, "choices", (int64_t)f.choices);
        doc_put_id(d, "variants", f.variants);
        doc_put_int(d, "shortest", (int64_t)f.shortest);
        doc_put_int(d, "longest", (int64_t)f.longest);
        doc_put_int(d, "limit", limit);
        doc_put_bool(d, "fits", fits);
        if (t->beside) {
            doc_put_str(d, "beside", t->beside);
        }
        x->fits = x->fits && fits;
        x->exceeded = fits ? x->exceeded : limit;
    }
    for (size_t i = 0; ok && i < f.n_variables; i++) {
        const struct render_variable *v = &f.variables[i];
        struct doc *d = doc_append(x->variables);
        doc_put_str(d, "template", t->label);
        doc_put_strn(d, "variable", v->name, v->len);
        doc_put_int(d, "uses", (int64_t)v->uses);
        doc_put_int(d, "without_default", (int64_t)v->without_default);
        doc_put_str(d, "missing", if_missing(v));
    }
    render_facts_done(&f);
    return ok;
}

static int
check_all(struct ctl *c, const struct template_flags *f, const struct template_texts *texts,
          const struct composer *composer)
{
    struct err e = {0};
    struct check x = {.limit = f->limit, .fits = true};
    if (!compose_widths(composer, x.widths, &e)) {
        return ctl_fail(&e);
    }
    struct doc *document = doc_object();
    x.templates = doc_put_list(document, "templates");
    x.variables = doc_put_list(document, "variables");
    for (size_t i = 0; i < texts->n; i++) {
        if (!check_one(&x, &texts->items[i], &e)) {
            doc_free(document);
            return ctl_refuse("%s", e.text);
        }
    }
    output_report(&c->out, check_sections, document);
    return x.fits ? CTL_OK
                  : ctl_refuse("a text can become longer than %" PRId64
                               " characters: such messages fail before they are sent; shorten it",
                               x.exceeded);
}

static int
template_check(struct ctl *c, const struct args *a)
{
    struct err e = {0};
    struct template_texts texts;
    struct composer *composer = NULL;
    bool ok = template_texts_read(c, a->flags, a->n ? a->operands[0] : NULL, &texts, &e) &&
              composer_new(&c->compose, &composer, &e);
    int code = ok ? check_all(c, a->flags, &texts, composer) : ctl_fail(&e);
    composer_free(composer);
    template_texts_done(&texts);
    return code;
}

/* --- render --------------------------------------------------------------------------- */

static const struct column sample_columns[] = {
    {"template", "TEMPLATE", SHOW_TEXT}, {"job", NULL, SHOW_TEXT},
    {"phone", "PHONE", SHOW_TEXT},       {"name", "NAME", SHOW_TEXT},
    {"device", "DEVICE", SHOW_TEXT},     {"language", "LANGUAGE", SHOW_TEXT},
    {"zone", "ZONE", SHOW_TEXT},         {"characters", "CHARACTERS", SHOW_INT},
    {"error", "ERROR", SHOW_TEXT},       {"beside", "BESIDE IT", SHOW_TEXT},
    {"text", "TEXT", SHOW_TEXT},         {NULL, NULL, SHOW_TEXT},
};

static int
template_render(struct ctl *c, const struct args *a)
{
    const struct template_flags *f = a->flags;
    struct err e = {0};
    struct template_texts texts = {0};
    struct composer *composer = NULL;
    size_t bad = 0;
    if (!f->lead == (f->samples == FLAG_UNSET)) {
        ctl_note("say for whom: --lead=PHONE, or --samples=N for the first N leads");
        return CTL_COULD_NOT;
    }
    struct doc *list = doc_list();
    bool ok = template_texts_read(c, f, a->n ? a->operands[0] : NULL, &texts, &e) &&
              composer_new(&c->compose, &composer, &e) &&
              template_leads_render(c, f, &texts, composer, list, &bad, &e);
    composer_free(composer);
    template_texts_done(&texts);
    if (!ok) {
        doc_free(list);
        return ctl_fail(&e);
    }
    output_list(&c->out, sample_columns, list);
    return bad ? ctl_refuse("%zu of these texts would fail before they are sent", bad) : CTL_OK;
}

const struct command template_commands[] = {
    {"template", "check", "[FILE]", 0, 1, check_flags, sizeof(struct template_flags),
     template_check,
     "Says where a text is wrong, how long it can become, in how many ways, and what its variables "
     "need."},
    {"template", "render", "[FILE]", 0, 1, render_flags, sizeof(struct template_flags),
     template_render,
     "Shows a text as the user's own leads get it; a campaign's or sequence's as it is sent."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
