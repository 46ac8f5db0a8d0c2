#include "shared/render_private.h"

#include <stdlib.h>
#include <string.h>

/* One open spintax, or the text around all of them. */
struct level {
    size_t shortest, longest; /* of the option in hand */
    uint64_t variants;
    size_t least, most; /* of the options before it */
    uint64_t sum;
};

struct walk {
    const struct parser *parsed;
    const struct render_width *known;
    size_t n_known;
    struct level levels[RENDER_DEPTH_MAX + 1];
    size_t depth;
    size_t cap;
    struct render_facts *facts;
};

static uint64_t
times(uint64_t a, uint64_t b)
{
    return a && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

static uint64_t
plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void
add_chars(struct walk *w, size_t shortest, size_t longest)
{
    w->levels[w->depth].shortest += shortest;
    w->levels[w->depth].longest += longest;
}

static void
end_option(struct level *l)
{
    l->least = l->sum && l->least < l->shortest ? l->least : l->shortest;
    l->most = l->most > l->longest ? l->most : l->longest;
    l->sum = plus(l->sum, l->variants);
    l->shortest = l->longest = 0;
    l->variants = 1;
}

static void
end_group(struct walk *w)
{
    struct level *l = &w->levels[w->depth--];
    end_option(l);
    add_chars(w, l->least, l->most);
    w->levels[w->depth].variants = times(w->levels[w->depth].variants, l->sum);
}

static const struct render_width *
find_width(const struct walk *w, const char *name, size_t len)
{
    for (size_t i = 0; i < w->n_known; i++) {
        if (strlen(w->known[i].name) == len && memcmp(w->known[i].name, name, len) == 0) {
            return &w->known[i];
        }
    }
    return NULL;
}

/* These are variables in single braces too, whoever the recipient is. */
static bool
is_name(const char *name, size_t len)
{
    return (len == 4 && memcmp(name, "name", 4) == 0) ||
           (len == 14 && memcmp(name, "recipient_name", 14) == 0);
}

/* Returns where to go on. */
static size_t
add_variable(struct walk *w, size_t i)
{
    const struct piece *piece = &w->parsed->pieces[i];
    struct render_facts *f = w->facts;
    const char *name = w->parsed->text + piece->from;
    const struct render_width *known = find_width(w, name, piece->len);
    bool bare = piece->kind == BARE && !known && !is_name(name, piece->len);
    bool has_default = piece->options > 0;
    VEC_GROW(f->variables, f->n_variables, w->cap);
    f->variables[f->n_variables++] =
        (struct render_variable){name, piece->len, piece->from, 1, has_default ? 0 : 1, bare};
    if (has_default) {
        size_t n = 0;
        for (i++; i < piece->next; i++) {
            n +=
                render_chars(w->parsed->text + w->parsed->pieces[i].from, w->parsed->pieces[i].len);
        }
        add_chars(w, n, n);
        return i;
    }
    if (known) {
        add_chars(w, known->shortest, known->longest);
    } else if (bare) {
        add_chars(w, piece->len + 2, piece->len + 2);
    }
    return i + 1;
}

static void
walk(struct walk *w)
{
    w->levels[0].variants = 1;
    for (size_t i = 0; i < w->parsed->n;) {
        const struct piece *piece = &w->parsed->pieces[i];
        size_t n = 0;
        switch (piece->kind) {
        case TEXT:
            n = render_chars(w->parsed->text + piece->from, piece->len);
            add_chars(w, n, n);
            break;
        case VARIABLE:
        case BARE:
            i = add_variable(w, i);
            continue;
        case OPEN:
            w->facts->choices++;
            w->levels[++w->depth] = (struct level){.variants = 1};
            break;
        case NEXT:
            end_option(&w->levels[w->depth]);
            break;
        case CLOSE:
            end_group(w);
            break;
        }
        i++;
    }
}

static int
compare_names(const void *a, const void *b)
{
    const struct render_variable *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);
    order = order ? order : (x->len > y->len) - (x->len < y->len);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int
compare_places(const void *a, const void *b)
{
    const struct render_variable *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Each name once, with the sum of its uses. */
static void
merge(struct render_facts *f)
{
    size_t n = 0;
    if (!f->n_variables) {
        return;
    }
    qsort(f->variables, f->n_variables, sizeof *f->variables, compare_names);
    for (size_t i = 1; i < f->n_variables; i++) {
        struct render_variable *last = &f->variables[n], *v = &f->variables[i];
        if (last->len == v->len && memcmp(last->name, v->name, v->len) == 0) {
            last->uses++;
            last->without_default += v->without_default;
            last->bare = last->bare && v->bare;
        } else {
            f->variables[++n] = *v;
        }
    }
    f->n_variables = n + 1;
    qsort(f->variables, f->n_variables, sizeof *f->variables, compare_places);
}

bool
render_facts(const char *text, size_t len, const struct render_width *known, size_t n_known,
             struct render_facts *ret, struct err *e)
{
    struct parser p = {.text = text, .len = len, .e = e};
    struct walk w = {.parsed = &p, .known = known, .n_known = n_known, .facts = ret};
    *ret = (struct render_facts){0};
    bool ok = render_parse(&p);
    if (ok) {
        walk(&w);
        merge(ret);
        ret->variants = w.levels[0].variants;
        ret->shortest = w.levels[0].shortest;
        ret->longest = w.levels[0].longest;
    }
    free(p.pieces);
    return ok;
}

void
render_facts_done(struct render_facts *f)
{
    free(f->variables);
    *f = (struct render_facts){0};
}
