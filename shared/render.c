#include "shared/render.h"

#include "shared/phone.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

/* A template is parsed into a flat list of pieces, in which each group knows where its options
 * begin. Writing the text is then one walk forwards that jumps over the options not chosen: no
 * recursion, and no byte is looked at more often than a fixed number of times. */
enum piece_kind {
    TEXT,     /* literal bytes */
    VARIABLE, /* {{name}}: from, len are the name's */
    BARE,     /* {name}: a variable when it is known, else literal */
    OPEN,     /* { of a spintax */
    NEXT,     /* | of a spintax */
    CLOSE,    /* } of a spintax */
};

struct piece {
    enum piece_kind kind;
    uint32_t from, len; /* in the template */
    uint32_t options;   /* OPEN; VARIABLE: 1 when a default was given, whose pieces follow */
    uint32_t next; /* OPEN, NEXT: the piece that ends this option.  VARIABLE: behind its default */
    uint32_t partner; /* OPEN: its CLOSE.  NEXT: its OPEN */
};

struct parser {
    const char *text;
    size_t len, pos;
    struct piece *pieces;
    size_t n, cap, n_variables;
    struct {
        size_t open, last; /* the pieces of the group's { and of its latest { or | */
        bool doubled;      /* written {{ */
    } stack[RENDER_DEPTH_MAX];
    size_t depth;
    struct err *e;
};

static const char help_name[] =
    "a variable is {{name|default}}, its name letters, digits and _, 64 at most, no digit first";
static const char help_double[] = "this {{ is not closed by }} (a default is plain text, no "
                                  "spintax); write \\{ for a literal brace";
static const char help_open[] = "this { is never closed; write \\{ for a literal brace";
static const char help_depth[] = "braces nest deeper than 16; write \\{ for a literal brace";
static const char help_close[] = "this } has no { before it; write \\} or \\{ for a literal brace";

static bool
fail_at(const struct parser *p, size_t pos, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < pos; i++) {
        if (p->text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)p->text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return err_set(p->e, ERR_INPUT, "template %zu:%zu (byte %zu): %s", line, column, pos, what);
}

static struct piece *
add_piece(struct parser *p, enum piece_kind kind, size_t from, size_t len)
{
    VEC_GROW(p->pieces, p->n, p->cap);
    struct piece *piece = &p->pieces[p->n++];
    *piece = (struct piece){.kind = kind, .from = (uint32_t)from, .len = (uint32_t)len};
    return piece;
}

static void
add_text(struct parser *p, size_t from, size_t end)
{
    if (end > from) {
        (void)add_piece(p, TEXT, from, end - from);
    }
}

static bool
is_escape(const struct parser *p, size_t pos)
{
    return p->text[pos] == '\\' && pos + 1 < p->len && strchr("{}|\\", p->text[pos + 1]);
}

/* The length of the variable name at pos, 0 for none. */
static size_t
name_at(const struct parser *p, size_t pos)
{
    static const char allowed[] = "0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = 0;
    while (pos + n < p->len && memchr(allowed, p->text[pos + n], sizeof allowed - 1)) {
        n++;
    }
    return n && n <= 64 && (p->text[pos] < '0' || p->text[pos] > '9') ? n : 0;
}

/* The next brace, or | where it counts, that is not escaped; p->len for none. */
static size_t
next_brace(const struct parser *p, size_t pos, bool bars)
{
    for (; pos < p->len; pos++) {
        char c = p->text[pos];
        if (c == '{' || c == '}' || (c == '|' && bars)) {
            break;
        }
        pos += is_escape(p, pos);
    }
    return pos;
}

static void
add_literal(struct parser *p, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++) {
        if (is_escape(p, i)) {
            add_text(p, from, i);
            from = ++i;
        }
    }
    add_text(p, from, end);
}

/* The variable {{...}} at pos, whose }} is at end. */
static bool
parse_variable(struct parser *p, size_t end)
{
    size_t from = p->pos + 2;
    from += strspn(p->text + from, " ");
    size_t len = name_at(p, from);
    size_t after = from + len + strspn(p->text + from + len, " ");
    if (!len || (after < end && p->text[after] != '|')) {
        return fail_at(p, len ? after : from, help_name);
    }
    size_t variable = p->n;
    add_piece(p, VARIABLE, from, len)->options = after < end;
    add_literal(p, after + 1, end);
    p->pieces[variable].next = (uint32_t)p->n;
    p->n_variables++;
    p->pos = end + 2;
    return true;
}

static bool
parse_open(struct parser *p)
{
    bool doubled = p->pos + 1 < p->len && p->text[p->pos + 1] == '{';
    if (doubled) { /* a variable, if the next brace is }} */
        size_t end = next_brace(p, p->pos + 2, false);
        if (end + 1 < p->len && p->text[end] == '}' && p->text[end + 1] == '}') {
            return parse_variable(p, end);
        }
    }
    size_t name = name_at(p, p->pos + 1);
    if (name && p->pos + 1 + name < p->len && p->text[p->pos + 1 + name] == '}') {
        (void)add_piece(p, BARE, p->pos + 1, name);
        p->n_variables++;
        p->pos += name + 2;
        return true;
    }
    if (p->depth == RENDER_DEPTH_MAX) {
        return fail_at(p, p->pos, help_depth);
    }
    p->stack[p->depth].open = p->stack[p->depth].last = p->n;
    p->stack[p->depth].doubled = doubled;
    p->depth++;
    add_piece(p, OPEN, p->pos, 1)->options = 1;
    p->pos++;
    return true;
}

static void
parse_next(struct parser *p)
{
    size_t open = p->stack[p->depth - 1].open;
    p->pieces[p->stack[p->depth - 1].last].next = (uint32_t)p->n;
    p->stack[p->depth - 1].last = p->n;
    p->pieces[open].options++;
    add_piece(p, NEXT, p->pos, 1)->partner = (uint32_t)open;
    p->pos++;
}

static bool
parse_close(struct parser *p)
{
    if (!p->depth) {
        return fail_at(p, p->pos, help_close);
    }
    p->depth--;
    size_t open = p->stack[p->depth].open;
    if (p->pieces[open].options > 1) {
        p->pieces[p->stack[p->depth].last].next = (uint32_t)p->n;
        p->pieces[open].partner = (uint32_t)p->n;
        (void)add_piece(p, CLOSE, p->pos, 1);
    } else if (p->stack[p->depth].doubled) {
        return fail_at(p, p->pieces[open].from, help_double);
    } else {
        p->pieces[open].kind = TEXT;
        (void)add_piece(p, TEXT, p->pos, 1);
    }
    p->pos++;
    return true;
}

static bool
check_bytes(const struct parser *p)
{
    if (p->len > RENDER_TEMPLATE_MAX) {
        return err_set(p->e, ERR_INPUT,
                       "template: %zu bytes are more than the %d allowed; shorten it", p->len,
                       RENDER_TEMPLATE_MAX);
    }
    size_t bad = render_bad_utf8(p->text, p->len);
    if (bad < p->len) {
        return fail_at(p, bad, "not valid UTF-8; save the text as UTF-8");
    }
    size_t nul = p->len ? strnlen(p->text, p->len) : 0;
    return nul == p->len || fail_at(p, nul, "a NUL byte; remove it");
}

static bool
parse(struct parser *p)
{
    if (!check_bytes(p)) {
        return false;
    }
    for (;;) {
        size_t end = next_brace(p, p->pos, p->depth > 0);
        add_literal(p, p->pos, end);
        p->pos = end;
        if (end == p->len) {
            break;
        }
        if (p->depth && p->text[end] == '|') {
            parse_next(p);
        } else if (p->text[end] == '{' ? !parse_open(p) : !parse_close(p)) {
            return false;
        }
    }
    const char *help = p->stack[0].doubled ? help_double : help_open;
    return !p->depth || fail_at(p, p->pieces[p->stack[0].open].from, help);
}

bool
render_check(const char *text, size_t len, struct err *e)
{
    struct parser p = {.text = text, .len = len, .e = e};
    bool ok = parse(&p);
    free(p.pieces);
    return ok;
}

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

/* Looked for once: a long value that is no name would otherwise cost its length at each use. */
static const char *
recipient_name(const struct writer *w)
{
    static const char *const spellings[] = {"name", "recipient_name"};
    for (size_t i = 0; i < 2; i++) {
        const struct render_var *v = find_var(w, spellings[i], strlen(spellings[i]));
        if (v && !render_is_no_name(v->value)) {
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

/* Sets *next to where to go on: a default behind the variable is written when there is no value. */
static bool
put_variable(struct writer *w, const struct piece *piece, size_t *next)
{
    const char *name = w->parsed->text + piece->from;
    const char *value = NULL;
    bool is_name = piece->len == 4 && memcmp(name, "name", 4) == 0;
    if (is_name || (piece->len == 14 && memcmp(name, "recipient_name", 14) == 0)) {
        value = !w->name && !piece->options ? w->in->name_fallback : w->name;
    } else {
        const struct render_var *v = find_var(w, name, piece->len);
        if (!v && piece->kind == BARE) {
            return put(w, name - 1, (size_t)piece->len + 2);
        }
        value = v ? v->value : NULL;
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
    uint64_t hash = XXH64(w->in->job_id, strlen(w->in->job_id), pieces[open].from);
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
    bool ok = parse(&p);
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
    free(w.sorted);
    free(p.pieces);
    return ok;
}

size_t
render_bad_utf8(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0, more; i < len; i += more + 1) {
        uint64_t eight = UINT64_MAX;
        if (len - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
        }
        if (!(eight & 0x8080808080808080u)) {
            more = sizeof eight - 1;
            continue;
        }
        unsigned char c = s[i];
        more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if ((more && c < 0xc2) || c > 0xf4 || len - i <= more) {
            return i;
        }
        /* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        for (size_t k = 1; k <= more; k++, low = 0x80, high = 0xbf) {
            if (s[i + k] < low || s[i + k] > high) {
                return i;
            }
        }
    }
    return len;
}

/* Behind leading digits, punctuation and spaces. */
static const char *
skip_no_letters(const char *s)
{
    for (size_t n;; s += n) {
        const unsigned char *u = (const unsigned char *)s;
        bool none = phone_char(s, strnlen(s, 4), &n) || (n && u[0] < 0x80 && !isalpha(u[0]));
        bool latin = n == 2 && u[0] == 0xc2 && u[1] != 0xaa && u[1] != 0xb5 && u[1] != 0xba;
        bool general = n == 3 && u[0] == 0xe2 && (u[1] | 1) == 0x81; /* U+2000..U+207F */
        if (!none && !latin && !general) {
            return s;
        }
    }
}

bool
render_is_no_name(const char *name)
{
    const char *s = name ? skip_no_letters(name) : "";
    if (strncasecmp(s, "null", 4) == 0) {
        s = skip_no_letters(s + 4);
    } else if (strncasecmp(s, "undefined", 9) == 0) {
        s = skip_no_letters(s + 9);
    }
    return !*s;
}
