#include "shared/render_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

struct by_name {
    const struct render_var *var;
};

struct writer {
    const struct render_input *in;
    const struct parser *parsed;
    struct buf *out;
    size_t start;           /* out->len at the beginning */
    struct by_name *sorted; /* the vars, when they and their uses are enough to pay for it */
    const char *name;       /* the recipient's, NULL for none */
    struct buf greeting;    /* rendered, once it is needed */
    bool is_greeting;
    struct err *e;
};

static bool
put(struct writer *w, const char *text, size_t n)
{
    if (n > RENDER_TEXT_MAX - (w->out->len - w->start)) {
        return err_set(w->e, ERR_INPUT, "the rendered text is longer than %d bytes",
                       RENDER_TEXT_MAX);
    }
    buf_add(w->out, text, n);
    return true;
}

/* Equal names stay in the order given. */
static int
compare_vars(const void *a, const void *b)
{
    const struct render_var *x = ((const struct by_name *)a)->var;
    const struct render_var *y = ((const struct by_name *)b)->var;
    int order = strcmp(x->name, y->name);
    return order ? order : (x > y) - (x < y);
}

static int
compare_name(const char *name, size_t len, const struct render_var *v)
{
    int order = strncmp(name, v->name, len);
    return order ? order : -(v->name[len] != '\0');
}

static const struct render_var *
find_var(const struct writer *w, const char *name, size_t len)
{
    size_t n = w->in->n_vars;
    size_t low = 0;
    for (size_t high = w->sorted ? n : 0; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (compare_name(name, len, w->sorted[middle].var) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < n; low = w->sorted ? n : low + 1) {
        const struct render_var *v = w->sorted ? w->sorted[low].var : &w->in->vars[low];
        if (compare_name(name, len, v) == 0) {
            return v;
        }
    }
    return NULL;
}

/* Spaces around a word do not make a name of it. */
static bool
is_listed(const char *value, const char *const *words)
{
    value += strspn(value, " \t\r\n");
    size_t n = strlen(value);
    while (n && strchr(" \t\r\n", value[n - 1])) {
        n--;
    }
    for (; words && *words; words++) {
        if (strncasecmp(value, *words, n) == 0 && !(*words)[n]) {
            return true;
        }
    }
    return false;
}

/* Looked for once: a long value that is no name would otherwise cost its length at each use. */
static const char *
recipient_name(const struct writer *w)
{
    static const char *const spellings[] = {"name", "recipient_name"};
    for (size_t i = 0; i < 2; i++) {
        const struct render_var *v = find_var(w, spellings[i], strlen(spellings[i]));
        if (v && !render_is_no_name(v->value) && !is_listed(v->value, w->in->not_names)) {
            return v->value;
        }
    }
    return NULL;
}

static bool
put_value(struct writer *w, const char *name, size_t len, const char *value)
{
    size_t n = strnlen(value, RENDER_TEXT_MAX + 1);
    size_t bad = n > RENDER_TEXT_MAX ? n : render_bad_utf8(value, n);
    if (bad < n) {
        return err_set(w->e, ERR_INPUT, "the value of {{%.*s}} is not valid UTF-8 at byte %zu",
                       (int)len, name, bad);
    }
    return put(w, value, n);
}

static bool write_pieces(struct writer *w);

/* Written once with choices of its own, then put wherever it is named. */
static bool
render_greeting(struct writer *w)
{
    const char *text = w->in->greeting;
    struct parser p = {.text = text, .len = strlen(text), .e = w->e};
    struct writer own = *w;
    own.parsed = &p;
    own.out = &w->greeting;
    own.start = 0;
    own.is_greeting = true;
    buf_adds(&w->greeting, "");
    bool ok = (render_parse(&p) && write_pieces(&own)) || err_wrap(w->e, "the greeting");
    free(p.pieces);
    return ok;
}

static bool
is_word(const char *name, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(name, word, len) == 0;
}

/* Sets *next to where to go on: a default behind the variable is written when there is no value. */
static bool
put_variable(struct writer *w, const struct piece *piece, size_t *next)
{
    const char *name = w->parsed->text + piece->from;
    const char *value = NULL;
    if (is_word(name, piece->len, "name") || is_word(name, piece->len, "recipient_name")) {
        value = !w->name && !piece->options ? w->in->name_fallback : w->name;
    } else {
        const struct render_var *v = find_var(w, name, piece->len);
        bool greets = (!v || !v->value || !*v->value) && w->in->greeting && !w->is_greeting &&
                      is_word(name, piece->len, "greeting");
        if (!v && !greets && piece->kind == BARE) {
            return put(w, name - 1, (size_t)piece->len + 2);
        }
        if (greets && !w->greeting.data && !render_greeting(w)) {
            return false;
        }
        value = greets ? w->greeting.data : v ? v->value : NULL;
    }
    if (!value || !*value) {
        return true;
    }
    *next = piece->kind == VARIABLE ? piece->next : *next;
    return put_value(w, name, piece->len, value);
}

/* The first piece of the chosen option of the spintax at open. */
static size_t
choose(const struct writer *w, size_t open)
{
    const struct piece *pieces = w->parsed->pieces;
    /* Positions of the greeting are none of the template's: the two choose apart. */
    uint64_t seed = pieces[open].from | (uint64_t)w->is_greeting << 32;
    uint64_t hash = XXH64(w->in->job_id, strlen(w->in->job_id), seed);
    size_t at = open;
    for (uint64_t skip = hash % pieces[open].options; skip; skip--) {
        at = pieces[at].next;
    }
    return at + 1;
}

static bool
write_pieces(struct writer *w)
{
    const struct piece *pieces = w->parsed->pieces;
    for (size_t i = 0, next; i < w->parsed->n; i = next) {
        const struct piece *piece = &pieces[i];
        bool ok = true;
        next = i + 1;
        switch (piece->kind) {
        case TEXT:
            ok = put(w, w->parsed->text + piece->from, piece->len);
            break;
        case VARIABLE:
        case BARE:
            ok = put_variable(w, piece, &next);
            break;
        case OPEN:
            next = choose(w, i);
            break;
        case NEXT: /* the end of the chosen option */
            next = (size_t)pieces[piece->partner].partner + 1;
            break;
        case CLOSE:
            break;
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool
render(const struct render_input *in, struct buf *out, struct err *e)
{
    struct parser p = {.text = in->template_text, .len = in->template_len, .e = e};
    struct writer w = {.in = in, .parsed = &p, .out = out, .start = out->len, .e = e};
    bool ok = render_parse(&p);
    if (ok) {
        if (in->n_vars > 8 && p.n_variables > 4096 / in->n_vars) {
            w.sorted = xmalloc(in->n_vars * sizeof *w.sorted);
            for (size_t i = 0; i < in->n_vars; i++) {
                w.sorted[i].var = &in->vars[i];
            }
            qsort(w.sorted, in->n_vars, sizeof *w.sorted, compare_vars);
        }
        w.name = recipient_name(&w);
        buf_reserve(out, p.len);
        ok = write_pieces(&w);
        out->len = ok ? out->len : w.start;
        out->data[out->len] = '\0';
    }
    buf_done(&w.greeting);
    free(w.sorted);
    free(p.pieces);
    return ok;
}
