/* render.h -- a template and a recipient -> the text that is sent.
 *
 * Pure: no I/O, no clock, no random.
 *
 * Syntax
 *   {{name|default}}   a variable with a default; {name} and {recipient_name} as in older systems
 *   {a|b|c}            spintax, nesting up to 16, empty options allowed
 *   \{ \} \| \\        the character itself
 *   {x}                without "|" and no known variable: stays as it stands
 * A variable's name is [A-Za-z_][A-Za-z0-9_]{0,63}; inside {{ }} spaces around it are allowed.  The
 * default is plain text, spaces kept, and stands in for a missing or empty value; no default is an
 * empty one.  `{{` opens a variable, unless the next brace shows two spintaxes, as in
 * {{Hi|Hello} there|Good day}.
 * {{greeting}} is what the recipient's language says at this time of the day (greeting.h), unless
 * the recipient has an attribute of that name. Substituted values are never parsed again.
 * Everything else passes byte for byte. The choice of an option is a hash of (job id, position of
 * the brace), so the same job always renders the same text, on whichever host; only its greeting
 * follows the time of sending. */
#ifndef SHARED_RENDER_H
#define SHARED_RENDER_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stddef.h>
#include <stdint.h>

enum { RENDER_TEMPLATE_MAX = 65536, RENDER_TEXT_MAX = 65536, RENDER_DEPTH_MAX = 16 };

struct render_var {
    const char *name;  /* NUL-terminated */
    const char *value; /* NUL-terminated UTF-8 */
};

struct render_input {
    const char *template_text;
    size_t template_len;
    const char *job_id;
    const struct render_var *vars; /* name, phone, and whatever the lead's attributes hold */
    size_t n_vars;
    /* For `name` and `recipient_name` when empty, phone-like, punctuation or "null"; NULL means "".
     * A default in the template goes before it. */
    const char *name_fallback;
    const char *const *not_names; /* more words that are no names, NULL-ended; or NULL */
    /* A template of {{greeting}}, in which there is none; NULL: a variable like any other. */
    const char *greeting;
};

/* Appends the text to out.  ERR_INPUT with the byte position and line:column for a template that
 * render_check() would refuse, for a value to be substituted that is not UTF-8 (the text names the
 * variable), or when the text exceeds RENDER_TEXT_MAX; out is then as before.  `name` and
 * `recipient_name` are one variable with two spellings; of several vars of one name the first
 * counts. */
MUST_USE bool render(const struct render_input *in, struct buf *out, struct err *e);

/* Checks a template without rendering it: valid UTF-8, no NUL, balanced braces, depth, size, a `{{`
 * closed by `}}`.  ERR_INPUT names line:column and what to write instead. */
MUST_USE bool render_check(const char *text, size_t len, struct err *e);

/* What can be said of a template before anybody's values are known. */
struct render_variable {
    const char *name; /* in the template */
    size_t len, at;   /* at: the byte where it is first used */
    size_t uses, without_default;
    bool bare; /* only written {name}: text, for a recipient who has no such attribute */
};
struct render_facts {
    struct render_variable *variables; /* in the order of their first use */
    size_t n_variables;
    size_t choices;           /* spintax groups */
    uint64_t variants;        /* ways through them; UINT64_MAX: that or more */
    size_t shortest, longest; /* in characters; a variable has its default, or else no value */
};
/* The characters that a variable adds without a value of the recipient's. */
struct render_width {
    const char *name;
    size_t shortest, longest;
};

/* Checks like render_check() and tells more.  The caller frees with render_facts_done(), whatever
 * is returned. */
MUST_USE bool render_facts(const char *text, size_t len, const struct render_width *known,
                           size_t n_known, struct render_facts *ret, struct err *e);
void render_facts_done(struct render_facts *f);

/* True for a name that is no name: NULL, empty, only digits, punctuation and spaces (of any script
 * that phone numbers are typed in), a number with a provider's host behind it (60123456789@c.us),
 * "null" or "undefined" in any case. */
bool render_is_no_name(const char *name);

/* Characters, by UTF-8's leading bytes. */
size_t render_chars(const char *text, size_t len);

/* The position of the first byte that is not valid UTF-8 (RFC 3629), or len. */
size_t render_bad_utf8(const char *text, size_t len);

#endif
