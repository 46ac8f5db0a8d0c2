#include "ctl/sequence_def.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAG(name) offsetof(struct sequence_def, name)
#define STEP(name, words, help)                                                                    \
    {                                                                                              \
        name, FLAG_LIST, FLAG(step_texts), words, NULL, help, false                                \
    }

const struct flag sequence_flags[] = {
    {"file", FLAG_TEXT, FLAG(file), "DEF.json", NULL,
     "The whole definition as JSON, - for the standard input; see docs/definitions.md.", false},
    {"devices", FLAG_TEXT, FLAG(devices), "A,B,C|all", NULL,
     "Whose leads can be enrolled: names or ids, or all of the user's, later ones too.", false},
    {"step", FLAG_LIST, FLAG(step_texts), "DELAY:TEXT", NULL,
     "A message, so long after the one before: 0s:Hi {{name}}. As often as there are steps.",
     false},
    {"step-file", FLAG_LIST, FLAG(step_texts), "DELAY:FILE", NULL,
     "The same with the text from a file, without its last line end.", false},
    STEP("image", MEDIA_SOURCE,
         "A picture for the --step in front, whose text is its caption, or empty: 0s:. link:URL is "
         "passed on as a link; all else is stored."),
    STEP("video", MEDIA_SOURCE, "A film instead."),
    STEP("audio", MEDIA_SOURCE, "A sound instead, without a text."),
    STEP("document", MEDIA_SOURCE, "A document instead."),
    STEP("filename", NULL, "The document's name as recipients see it."),
    STEP(
        "template", "NAME|JSON",
        "A template that the provider has approved, for the --step in front, whose text is empty."),
    STEP("template-language", "CODE", "Its language, like ms or en_US."),
    STEP("template-header", NULL, "Its header's parameter; a medium is one by itself."),
    STEP("template-param", NULL, "Its body's next parameter. As often as there are parameters."),
    STEP("template-named", "NAME=TEXT", "A parameter by name, where the template has named ones."),
    STEP("template-button", "INDEX:url|quick_reply:TEXT",
         "A button's parameter; the first button is 0."),
    {"trigger", FLAG_TEXT, FLAG(trigger), "WORD", NULL,
     "Leads whose trigger becomes this word are enrolled.", false},
    {"start-after", FLAG_MS, FLAG(start_after), "0s..3650d", NULL,
     "From enrolment to the start. Default: 5m.", false},
    {"next", FLAG_TEXT, FLAG(next), "NAME", NULL, "The sequence that follows this one.", false},
    {"next-after", FLAG_MS, FLAG(next_after), "0s..3650d", NULL,
     "From the last step to the start of the next sequence. Default: 1d.", false},
    DEFINE_PACE_FLAGS(struct sequence_def),
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const char *const simple_members[] = {"trigger",      "start_after",  "gap",        "batch",
                                             "max_lateness", "max_attempts", "on_unknown", NULL};
static const char *const other_members[] = {"name", "devices", "steps", "next", NULL};
static const char *const none[] = {NULL};

static const struct flag step_flags[] = {
    {"content", FLAG_TEXT, offsetof(struct step_def, content), NULL, NULL, NULL, false},
    {"delay", FLAG_MS, offsetof(struct step_def, delay), "0s..3650d", NULL, NULL, false},
    {"from", FLAG_WORD, offsetof(struct step_def, from), "previous|enrolment", NULL, NULL, false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};
static const char *const step_members[] = {"content", "delay", "from", NULL};
static const char *const step_others[] = {"media", "template", NULL};

/* Of the flags behind a step; the table's own names are those of the step's struct. */
static const struct flag part_flags[] = {
    DEFINE_MESSAGE_FLAGS(struct step_def),
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct next_def {
    const char *sequence;
    int64_t after;
};
static const struct flag next_flags[] = {
    {"sequence", FLAG_TEXT, offsetof(struct next_def, sequence), NULL, NULL, NULL, false},
    {"after", FLAG_MS, offsetof(struct next_def, after), "0s..3650d", NULL, NULL, false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};
static const char *const next_members[] = {"sequence", "after", NULL};

const char *
sequence_def_place(const struct sequence_def *d, const char *member, char out[DEFINE_PLACE])
{
    return define_place(d->json, member, out);
}

/* "steps[2].delay", or "--step 3". */
static const char *
step_place(const struct sequence_def *d, size_t i, const char *member, char out[DEFINE_PLACE])
{
    if (d->json) {
        (void)snprintf(out, DEFINE_PLACE, "steps[%zu].%s", i, member);
    } else {
        (void)snprintf(out, DEFINE_PLACE, "--%s %zu", d->steps[i].item->flag, i + 1);
    }
    return out;
}

/* --- from flags ----------------------------------------------------------------------- */

static bool
read_step_text(struct sequence_def *d, size_t i, struct err *e)
{
    struct step_def *step = &d->steps[i];
    const struct flag_item *item = step->item;
    const char *colon = strchr(item->text, ':');
    char delay[32] = "";
    if (colon && (size_t)(colon - item->text) < sizeof delay) {
        (void)snprintf(delay, sizeof delay, "%.*s", (int)(colon - item->text), item->text);
    }
    if (!*delay) {
        return err_set(e, ERR_INPUT, "write DELAY:%s, like 1d:%s",
                       strcmp(item->flag, "step") == 0 ? "TEXT" : "FILE",
                       strcmp(item->flag, "step") == 0 ? "Hello {{name}}" : "second.txt");
    }
    if (!flag_set(&step_flags[1], delay, step, e)) {
        return false;
    }
    step->content = colon + 1;
    if (strcmp(item->flag, "step-file") == 0) {
        struct buf *text = &d->texts[i];
        if (!define_file(colon + 1, DEFINE_CONTENT + 1, text, e)) {
            return false;
        }
        text->len -= text->len && text->data[text->len - 1] == '\n';
        buf_add(text, "", 1);
        step->content = text->data;
        if (strlen(text->data) + 1 < text->len) {
            return err_set(e, ERR_INPUT, "%.200s: the file holds a NUL byte; write plain text",
                           colon + 1);
        }
    }
    return true;
}

static bool
is_step(const struct flag_item *item)
{
    return strcmp(item->flag, "step") == 0 || strcmp(item->flag, "step-file") == 0;
}

/* A flag that belongs to the step in front of it, once. */
static bool
read_part(struct step_def *step, const struct flag_item *item, struct err *e)
{
    const struct flag *f = flag_find(part_flags, item->flag);
    if (!step) {
        return err_set(e, ERR_INPUT, "--%s: stands behind the --step that it belongs to",
                       item->flag);
    }
    if (f->type != FLAG_LIST && !flag_is_unset(f, step)) {
        return err_set(e, ERR_INPUT, "--%s: is given twice for one step", item->flag);
    }
    return flag_set(f, item->text, step, e);
}

/* Counts the steps, then gives each its flags. */
static bool
split_steps(struct sequence_def *d, struct err *e)
{
    const struct flag_list *list = &d->step_texts;
    for (size_t i = 0; i < list->n; i++) {
        d->n += is_step(&list->items[i]);
    }
    d->steps = xcalloc(d->n, sizeof *d->steps);
    d->texts = xcalloc(d->n, sizeof *d->texts);
    struct step_def *step = NULL;
    for (size_t i = 0; i < list->n; i++) {
        if (is_step(&list->items[i])) {
            step = step ? step + 1 : d->steps;
            flag_defaults(step_flags, step);
            step->item = &list->items[i];
        } else if (!read_part(step, &list->items[i], e)) {
            return false;
        }
    }
    return d->n || err_set(e, ERR_INPUT,
                           "--step=DELAY:TEXT is missing; or give the whole definition with "
                           "--file");
}

static bool
read_flags(struct sequence_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    if (!d->devices || !d->step_texts.n) {
        return err_set(e, ERR_INPUT, "%s is missing; or give the whole definition with --file",
                       d->devices ? "--step=DELAY:TEXT" : "--devices=A,B,C|all");
    }
    if (d->next_after != FLAG_UNSET && !d->next) {
        return err_set(e, ERR_INPUT, "--next-after: there is no --next that it could be of");
    }
    if (!split_steps(d, e)) {
        return false;
    }
    for (size_t i = 0; i < d->n; i++) {
        if (!read_step_text(d, i, e)) {
            return err_wrap(e, "%s", step_place(d, i, "content", place));
        }
    }
    return true;
}

/* --- from JSON ------------------------------------------------------------------------ */

static bool
read_step(struct sequence_def *d, const struct doc *v, size_t i, struct err *e)
{
    char path[DEFINE_PLACE];
    struct step_def *step = &d->steps[i];
    (void)snprintf(path, sizeof path, "steps[%zu]", i);
    flag_defaults(step_flags, step);
    step->doc = v;
    if (doc_get(v, "content_file")) {
        return err_set(e, ERR_INPUT,
                       "%s.content_file: is for the command line (--step-file); write the text as "
                       "content",
                       path);
    }
    if (!define_members(v, path, step_flags, step_members, step_others, step, e)) {
        return false;
    }
    if (!step->content && define_message_in(v)) {
        step->content = "";
    }
    if (!step->content) {
        return err_set(e, ERR_INPUT, "%s.content: is missing; a step is a message", path);
    }
    return step->delay != FLAG_UNSET || i == 0 ||
           err_set(e, ERR_INPUT,
                   "%s.delay: is missing; without it the message would go out with the one before",
                   path);
}

static bool
read_next(struct sequence_def *d, const struct doc *v, struct err *e)
{
    struct next_def next;
    flag_defaults(next_flags, &next);
    if (!v || doc_type(v) == DOC_NULL) {
        return true;
    }
    if (!define_members(v, "next", next_flags, next_members, none, &next, e)) {
        return false;
    }
    d->next = next.sequence;
    d->next_after = next.after;
    return d->next || err_set(e, ERR_INPUT, "next.sequence: is missing; name the sequence");
}

static bool
read_doc(struct sequence_def *d, struct err *e)
{
    const struct doc *name = doc_get(d->doc, "name"), *steps = doc_get(d->doc, "steps");
    if (!define_members(d->doc, "", sequence_flags, simple_members, other_members, d, e)) {
        return false;
    }
    if (!d->name && doc_type(name) != DOC_STR) {
        return err_set(e, ERR_INPUT, "name: %s", name ? "has to be text in quotes" : "is missing");
    }
    d->name = d->name ? d->name : doc_str(name);
    if (doc_type(steps) != DOC_LIST || !doc_len(steps)) {
        return err_set(e, ERR_INPUT, "steps: %s",
                       !steps ? "is missing; a sequence has at least one step"
                       : doc_type(steps) == DOC_LIST
                           ? "the list is empty; a sequence has at least one step"
                           : "has to be a list of objects");
    }
    d->n = doc_len(steps);
    d->steps = xcalloc(d->n, sizeof *d->steps);
    for (size_t i = 0; i < d->n; i++) {
        if (!read_step(d, doc_at(steps, i), i, e)) {
            return false;
        }
    }
    return read_next(d, doc_get(d->doc, "next"), e);
}

/* --- checks that both share ----------------------------------------------------------- */

static bool
check_steps(struct sequence_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    int64_t at = 0;
    if (d->n > SEQUENCE_MESSAGES_MAX) {
        return err_set(e, ERR_INPUT, "%s: %zu steps; a sequence has at most %d",
                       define_place(d->json, d->json ? "steps" : "step", place), d->n,
                       SEQUENCE_MESSAGES_MAX);
    }
    for (size_t i = 0; i < d->n; i++) {
        struct step_def *step = &d->steps[i];
        step->from = step->from ? step->from : "previous";
        step->delay = step->delay == FLAG_UNSET ? 0 : step->delay;
        (void)step_place(d, i, "delay", place);
        if (!define_seconds(place, step->delay, e)) {
            return false;
        }
        if (strcmp(step->from, "enrolment") == 0 && step->delay < at) {
            return err_set(e, ERR_INPUT,
                           "%s: %" PRId64 "s from enrolment is before the step in front of it, "
                           "which goes out at %" PRId64 "s; put the steps in their order",
                           place, step->delay / 1000, at / 1000);
        }
        at = strcmp(step->from, "enrolment") == 0 ? step->delay : at + step->delay;
        if (!define_message_content(
                step_place(d, i, "content", place), step->content, strlen(step->content),
                define_message_has(&step->parts) || define_message_in(step->doc), e)) {
            return false;
        }
    }
    return true;
}

static bool
check(struct sequence_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    d->start_after = d->start_after == FLAG_UNSET ? 300000 : d->start_after;
    d->next_after = d->next_after == FLAG_UNSET ? 86400000 : d->next_after;
    if (!define_name(d->json ? "name" : "NAME", d->name, "sequence", e) ||
        !define_word(define_place(d->json, "trigger", place), d->trigger, e)) {
        return false;
    }
    if (d->trigger && !*d->trigger) {
        return err_set(e, ERR_INPUT, "%s: is empty; leave it out, or write a word", place);
    }
    if (d->next && strcmp(d->next, d->name) == 0) {
        return err_set(e, ERR_INPUT, "%s: %s -> %s: a sequence cannot follow itself",
                       define_place(d->json, d->json ? "next.sequence" : "next", place), d->name,
                       d->name);
    }
    return define_seconds(define_place(d->json, "start_after", place), d->start_after, e) &&
           define_seconds(define_place(d->json, d->json ? "next.after" : "next_after", place),
                          d->next_after, e) &&
           check_steps(d, e) && define_pace_check(d->json, &d->pace, e);
}

static bool
read_form(const char *name, struct sequence_def *d, struct err *e)
{
    static const char *const beside[] = {"file", NULL};
    d->name = name;
    if (!d->file) {
        return name ? read_flags(d, e)
                    : err_set(e, ERR_INPUT, "give the sequence a name: sequence create NAME ...");
    }
    d->json = true;
    return define_alone(sequence_flags, beside, d, e) && define_load(d->file, &d->doc, e);
}

/* Behind all other checks, for it stores. */
static bool
read_parts(struct ctl *c, struct sequence_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    for (size_t i = 0; i < d->n; i++) {
        struct step_def *step = &d->steps[i];
        bool text = *step->content != '\0';
        (void)snprintf(place, sizeof place, "steps[%zu]", i);
        if (d->json && !define_message_doc(c, step->doc, place, text, &step->message, e)) {
            return false;
        }
        if (!d->json && !define_message_flags(c, &step->parts, text, &step->message, e)) {
            return err_wrap(e, "%s", step_place(d, i, "content", place));
        }
    }
    return true;
}

bool
sequence_def_read(struct ctl *c, const char *name, struct sequence_def *d, struct err *e)
{
    if (!read_form(name, d, e)) {
        return false;
    }
    if ((d->json && !read_doc(d, e)) || !check(d, e) ||
        !define_devices(c, d->devices, doc_get(d->doc, "devices"), &d->on, e) ||
        !read_parts(c, d, e)) {
        return d->json ? err_wrap(e, "%.100s", define_file_name(d->file)) : false;
    }
    return true;
}

void
sequence_def_done(struct sequence_def *d)
{
    for (size_t i = 0; d->texts && i < d->n; i++) {
        buf_done(&d->texts[i]);
    }
    for (size_t i = 0; d->steps && i < d->n; i++) {
        free(d->steps[i].parts.template_values.items);
        define_message_done(&d->steps[i].message);
    }
    free(d->texts);
    free(d->steps);
    define_devices_done(&d->on);
    doc_free(d->doc);
}
