#include "shared/render_private.h"

#include <stdlib.h>
#include <string.h>

static const char help_name[] =
    "a variable is {{name|default}}, its name letters, digits and _, 64 at most, no digit first";
static const char help_double[] = "this {{ is not closed by }} (a default is plain text, no "
                                  "spintax); write \\{ for a literal brace";
static const char help_open[] = "this { is never closed; write \\{ for a literal brace";
static const char help_depth[] = "braces nest deeper than 16; write \\{ for a literal brace";
static const char help_close[] = "this } has no { before it; write \\} or \\{ for a literal brace";

bool
render_fail_at(const struct parser *p, size_t pos, const char *what)
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
        return render_fail_at(p, len ? after : from, help_name);
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
        return render_fail_at(p, p->pos, help_depth);
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
        return render_fail_at(p, p->pos, help_close);
    }
    p->depth--;
    size_t open = p->stack[p->depth].open;
    if (p->pieces[open].options > 1) {
        p->pieces[p->stack[p->depth].last].next = (uint32_t)p->n;
        p->pieces[open].partner = (uint32_t)p->n;
        (void)add_piece(p, CLOSE, p->pos, 1);
    } else if (p->stack[p->depth].doubled) {
        return render_fail_at(p, p->pieces[open].from, help_double);
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
        return render_fail_at(p, bad, "not valid UTF-8; save the text as UTF-8");
    }
    size_t nul = p->len ? strnlen(p->text, p->len) : 0;
    return nul == p->len || render_fail_at(p, nul, "a NUL byte; remove it");
}

bool
render_parse(struct parser *p)
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
    return !p->depth || render_fail_at(p, p->pieces[p->stack[0].open].from, help);
}

bool
render_check(const char *text, size_t len, struct err *e)
{
    struct parser p = {.text = text, .len = len, .e = e};
    bool ok = render_parse(&p);
    free(p.pieces);
    return ok;
}
