/* render_private.h -- a parsed template, for the rooms of render.h only.
 *
 * render_parse.c  text -> pieces
 * render.c        pieces and a recipient -> the text
 * render_facts.c  pieces -> what can be said of all texts
 * render_words.c  UTF-8, and names that are none */
#ifndef SHARED_RENDER_PRIVATE_H
#define SHARED_RENDER_PRIVATE_H

#include "shared/render.h"

#include <stdint.h>

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

/* Fills p->pieces, which the caller frees whatever is returned; text, len and e are set. */
MUST_USE bool render_parse(struct parser *p);

/* "template LINE:COLUMN (byte N): what", ERR_INPUT; returns false. */
bool render_fail_at(const struct parser *p, size_t pos, const char *what);

#endif
