#include "shared/conf_private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 80, INDENT = 6, VALUE_COLUMN = 44 };

/* Prints words from column 0 on, wrapped and indented.  A line of the text that begins with blanks
 * keeps them, and is indented by as much again where it goes on. */
static void
wrap(FILE *f, int indent, const char *text)
{
    int column = 0, begin = indent, more = indent;
    for (bool fresh = true; *text; fresh = text[-1] == '\n') {
        int blanks = fresh ? (int)strspn(text, " ") : 0;
        if (fresh) {
            text += blanks;
            begin = indent + blanks;
            more = begin + blanks;
        }
        int n = (int)strcspn(text, " \n");
        if (column && column + 1 + n > WIDTH) {
            (void)fputs("\n", f);
            column = 0;
            begin = more;
        }
        if (n) {
            (void)fprintf(f, "%*s%.*s", column ? 1 : begin, "", n, text);
            column += (column ? 1 : begin) + n;
        }
        text += n;
        if (*text == '\n') { /* a line break in the text stays one */
            (void)fputs("\n", f);
            column = 0;
        }
        text += *text != '\0';
    }
    (void)fputs("\n", f);
}

static const char *
sample(const struct conf_key *k)
{
    switch (k->type) {
    case CONF_STR:
        return "TEXT";
    case CONF_INT:
        return "NUMBER";
    case CONF_MS:
        return "DURATION";
    case CONF_WORD:
        return k->words;
    case CONF_BOOL:
        return "yes|no";
    }
    return "";
}

static void
print_key(FILE *f, const struct conf_key *k, bool builtin)
{
    struct conf_name name = conf_spell(CONF_FROM_FLAG, k->name);
    struct buf text = {0};
    buf_adds(&text, k->help);
    if (k->flags & CONF_SECRET) {
        (void)fprintf(f, "  %s-file=FILE\n", name.text);
        buf_addf(&text, " (secret: set %s or %s_file instead)",
                 conf_spell(CONF_FROM_ENV, k->name).text, k->name);
    } else if (k->type == CONF_BOOL) {
        (void)fprintf(f, "  --%s%s\n", builtin ? "" : "[no-]", name.text + 2);
    } else {
        (void)fprintf(f, "  %s=%s\n", name.text, builtin ? "FILE" : sample(k));
    }
    bool has_default = k->value && *k->value && !(k->flags & CONF_SECRET);
    bool has_range = k->words && (k->type == CONF_INT || k->type == CONF_MS);
    if (has_default || has_range) {
        buf_addf(&text, " (%s%s%s%s%s)", has_default ? "default: " : "",
                 has_default ? k->value : "", has_default && has_range ? "; " : "",
                 has_range ? "within " : "", has_range ? k->words : "");
    }
    wrap(f, INDENT, text.data);
    buf_done(&text);
}

void
conf_print_help(FILE *f, const struct conf_key *keys, const char *program, const char *about)
{
    (void)fprintf(f, "Usage: %s [--SETTING=VALUE ...]%s\n\n", program,
                  conf_has_commands(keys) ? " COMMAND [ARGUMENT ...]" : "");
    wrap(f, 0, about);
    (void)fputs("\nFlags:\n", f);
    for (const struct conf_key *k = conf_builtin_keys; k->name; k++) {
        print_key(f, k, true);
    }
    (void)fputs("\nSettings:\n", f);
    wrap(f, 2,
         "Each has three spellings: redis_url = ... in the config file, PACELINE_REDIS_URL in the "
         "environment, --redis-url=... (or --redis-url ...) as a flag. A flag beats the "
         "environment, which beats the file. Durations: 250ms, 5s, 10m, 2h, 1d.");
    (void)fputs("\n", f);
    for (const struct conf_key *k = keys; k->name; k++) {
        if (!conf_is_pattern(k)) {
            print_key(f, k, false);
        }
    }
    (void)fputs("\nExit codes:\n"
                "  0  done, or stopped as asked\n",
                f);
    (void)fputs(conf_has_commands(keys)
                    ? "  1  refused, or something was found\n"
                      "  2  wrong flag, setting or argument, or it could not be done\n"
                    : "  1  failed; the last line on standard error says why\n"
                      "  2  wrong flag, setting or argument\n",
                f);
}

/* A value as the file reader takes it. */
static void
quote(struct buf *out, const char *value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/@,+=%?&|*()<>!~^$";
    if (*value && strspn(value, plain) == strlen(value)) {
        buf_adds(out, value);
        return;
    }
    buf_adds(out, "\"");
    for (const char *p = value; *p; p++) {
        switch (*p) {
        case '\n':
            buf_adds(out, "\\n");
            break;
        case '\t':
            buf_adds(out, "\\t");
            break;
        case '"':
        case '\\':
            buf_adds(out, "\\");
            buf_add(out, p, 1);
            break;
        default:
            buf_add(out, p, 1);
        }
    }
    buf_adds(out, "\"");
}

/* Masks the password of scheme://user:password@host; true when there was one. */
static bool
mask_url(const char *value, struct buf *out)
{
    const char *user = strstr(value, "://");
    const char *at = user ? strrchr(user, '@') : NULL; /* a password may hold / and ? too */
    const char *colon = at ? memchr(user + 3, ':', (size_t)(at - user - 3)) : NULL;
    if (!colon) {
        return false;
    }
    buf_add(out, value, (size_t)(colon + 1 - value));
    buf_adds(out, "****");
    buf_adds(out, at);
    return true;
}

static void
add_origin(struct buf *line, const struct conf *c, const struct conf_key *k,
           const struct conf_origin *o)
{
    switch (o->place) {
    case CONF_FROM_DEFAULT:
        buf_adds(line, o->text ? "default" : "not set");
        break;
    case CONF_FROM_FILE:
        buf_addf(line, "%s:%d", c->file, o->line);
        break;
    case CONF_FROM_ENV:
        buf_addf(line, "environment %s", conf_spell(CONF_FROM_ENV, k->name).text);
        break;
    case CONF_FROM_FLAG:
        buf_addf(line, "flag %s", conf_spell(CONF_FROM_FLAG, k->name).text);
        break;
    }
}

/* What is masked or not set becomes a comment: read back, it must not become a value. */
static void
print_setting(FILE *f, const struct conf *c, const struct conf_key *k)
{
    const struct conf_origin *o = &c->origins[k - c->keys];
    struct buf line = {0}, masked = {0};
    bool hidden = !o->text || (k->flags & CONF_SECRET) || mask_url(o->text, &masked);
    buf_addf(&line, "%s%s = ", hidden ? "# " : "", k->name);
    if (o->text) {
        quote(&line, masked.len ? masked.data : o->text);
    }
    do {
        buf_adds(&line, " ");
    } while (line.len < VALUE_COLUMN);
    buf_adds(&line, "# ");
    add_origin(&line, c, k, o);
    for (char *p = line.data; *p; p++) {
        *p = *p == '\n' ? '?' : *p; /* of a file's name; those of values are escaped */
    }
    (void)fprintf(f, "%s\n", line.data);
    buf_done(&line);
    buf_done(&masked);
}

void
conf_print_settings(FILE *f, const struct conf *c, const char *program, const char *section)
{
    (void)fprintf(f, "# %s %s: the settings in force\n[%s]\n", program, PACELINE_VERSION, section);
    for (const struct conf_key *k = c->keys; k->name; k++) {
        if (!conf_is_pattern(k)) {
            print_setting(f, c, k);
        }
    }
    for (size_t i = 0; i < c->n_sections; i++) {
        const struct conf_section *s = &c->sections[i];
        (void)fprintf(f, "# [%s %s] with %zu keys: %s:%d\n", s->kind, s->name, s->n_pairs, c->file,
                      s->line);
    }
}
