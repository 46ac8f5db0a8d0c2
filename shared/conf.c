#include "shared/conf_private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Section kinds that are known to the project: a program skips those that are not its own. */
static const char *const program_kinds[] = {"producer", "worker", "reaper", "paceline", NULL};
static const char *const named_kinds[] = {"sender", "receipts", NULL};

/* Variables that are read elsewhere; of other unknown ones --check-config asks whether they were
 * meant for this program. */
static const char *const other_variables[] = {"PACELINE_CONFIG", "PACELINE_FAULT",
                                              "PACELINE_SQL_TRACE", "PACELINE_TZDIR", NULL};

const struct conf_key conf_builtin_keys[] = {
    {"config", CONF_STR, offsetof(struct conf_builtin, config), NULL, NULL, 0,
     "The config file; $PACELINE_CONFIG names it too."},
    {"check_config", CONF_BOOL, offsetof(struct conf_builtin, check_config), NULL, NULL, 0,
     "Check all settings and exit."},
    {"print_config", CONF_BOOL, offsetof(struct conf_builtin, print_config), NULL, NULL, 0,
     "Print all settings and where they come from, as a config file, and exit."},
    {"help", CONF_BOOL, offsetof(struct conf_builtin, help), NULL, NULL, 0, "Print this and exit."},
    {"version", CONF_BOOL, offsetof(struct conf_builtin, version), NULL, NULL, 0,
     "Print the version and exit."},
    {NULL, CONF_STR, 0, NULL, NULL, 0, NULL},
};

struct load {
    struct conf *c;
    const char *program, *own; /* own: the program's section */
    const char *const *kinds;
    size_t section_cap;
    struct conf_builtin given;
    struct flag {
        const struct conf_key *key;
        bool by_file;
        const char *text;
    } * flags;
    size_t n_flags;
    bool has_commands;
};

static bool
is_among(const char *const *words, const char *word, size_t n)
{
    for (; words && *words; words++) {
        if (strlen(*words) == n && memcmp(*words, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static struct conf_origin *
origin_of(const struct conf *c, const struct conf_key *k)
{
    return &c->origins[k - c->keys];
}

static void
set_origin(struct conf *c, const struct conf_key *k, enum conf_place place, const char *text)
{
    struct conf_origin *o = origin_of(c, k);
    free(o->text);
    const char *kept = text && (k->flags & CONF_SECRET) ? "****" : text;
    *o = (struct conf_origin){.place = place, .text = kept ? xstrdup(kept) : NULL};
}

/* --- flags
 * ---------------------------------------------------------------------------------------- */

/* The row of a flag, and whether it is one of every program's. */
static const struct conf_key *
find_flag(const struct load *l, const char *name, bool *ret_by_file, bool *ret_builtin)
{
    const struct conf_key *k = conf_find(conf_builtin_keys, name, ret_by_file);
    *ret_builtin = k != NULL;
    return k ? k : conf_find(l->c->keys, name, ret_by_file);
}

static bool
take_flag(struct load *l, const struct flag *f, bool builtin, struct err *e)
{
    const char *name = f->key->name;
    if ((f->key->flags & CONF_SECRET) && !f->by_file) {
        return err_set(e, ERR_INPUT,
                       "%s: everybody can read the command line, so it takes no secret; "
                       "set %s, or name a file with %s-file",
                       conf_spell(CONF_FROM_FLAG, name).text, conf_spell(CONF_FROM_ENV, name).text,
                       conf_spell(CONF_FROM_FLAG, name).text);
    }
    if (builtin) {
        return conf_set(f->key, false, f->text, &l->given, e) ||
               err_wrap(e, "%s", conf_spell(CONF_FROM_FLAG, name).text);
    }
    l->flags[l->n_flags++] = *f;
    return true;
}

/* Reads the flag at argv[*i], and its value behind it.  *ret_known is false for an unknown one. */
static bool
read_flag(struct load *l, char **argv, int *i, bool *ret_known, struct err *e)
{
    const char *arg = argv[*i] + 2, *equals = strchr(arg, '=');
    char name[96];
    bool builtin;
    struct flag f = {.text = equals ? equals + 1 : NULL};
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(arg, "="), arg);
    for (char *p = name; *p; p++) {
        *p = *p == '-' ? '_' : *p;
    }
    f.key = find_flag(l, name, &f.by_file, &builtin);
    if (!f.key && !equals && strncmp(name, "no_", 3) == 0) {
        f.key = find_flag(l, name + 3, &f.by_file, &builtin);
        f.key = f.key && f.key->type == CONF_BOOL ? f.key : NULL;
        f.text = "no";
    }
    *ret_known = f.key != NULL;
    if (!f.key) {
        return conf_unknown(l->c->keys, CONF_FROM_FLAG, name, " (see --help)", e);
    }
    if (!f.text && f.key->type == CONF_BOOL) {
        f.text = "yes";
    }
    if (!f.text) {
        f.text = argv[*i + 1];
        if (!f.text || strncmp(f.text, "--", 2) == 0) {
            return err_set(e, ERR_INPUT, "--%.*s: its value is missing", (int)strcspn(arg, "="),
                           arg);
        }
        ++*i;
    }
    return take_flag(l, &f, builtin, e);
}

static bool
read_flags(struct load *l, int argc, char **argv, struct err *e)
{
    struct conf *c = l->c;
    bool plain = false;
    for (int i = 1; i < argc; i++) {
        bool command = l->has_commands && c->n_rest > 0, known = false;
        bool help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        if (plain || argv[i][0] != '-' || !argv[i][1] || (command && help)) {
            c->rest[c->n_rest++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            plain = true;
            if (command) {
                c->rest[c->n_rest++] = argv[i];
            }
        } else if (help) {
            l->given.help = true;
        } else if (argv[i][1] != '-') {
            if (!command) {
                return err_set(e, ERR_INPUT, "%s: unknown flag (see --help)", argv[i]);
            }
            c->rest[c->n_rest++] = argv[i];
        } else if (!read_flag(l, argv, &i, &known, e)) {
            if (known || !command) {
                return false;
            }
            c->rest[c->n_rest++] = argv[i];
        }
    }
    return true;
}

static bool
apply_flags(struct load *l, struct err *e)
{
    for (size_t i = 0; i < l->n_flags; i++) {
        const struct flag *f = &l->flags[i];
        if (!conf_set(f->key, f->by_file, f->text, l->c->settings, e)) {
            return err_wrap(e, "%s%s", conf_spell(CONF_FROM_FLAG, f->key->name).text,
                            f->by_file ? "-file" : "");
        }
        set_origin(l->c, f->key, CONF_FROM_FLAG, f->text);
    }
    return true;
}

/* --- environment
 * ---------------------------------------------------------------------------------- */

static bool
apply_environment(struct load *l, struct err *e)
{
    for (const struct conf_key *k = l->c->keys; k->name; k++) {
        struct conf_name name = conf_spell(CONF_FROM_ENV, k->name);
        struct conf_name file = name;
        (void)snprintf(file.text + strlen(file.text), sizeof file.text - strlen(file.text),
                       "_FILE");
        const char *value = getenv(name.text);
        const char *path = (k->flags & CONF_SECRET) ? getenv(file.text) : NULL;
        if (conf_is_pattern(k) || (!value && !path)) {
            continue;
        }
        if (value && path) {
            return err_set(e, ERR_INPUT, "%s and %s are both set: keep one", name.text, file.text);
        }
        if (!conf_set(k, path != NULL, path ? path : value, l->c->settings, e)) {
            return err_wrap(e, "%s", path ? file.text : name.text);
        }
        set_origin(l->c, k, CONF_FROM_ENV, path ? path : value);
    }
    return true;
}

/* Other programs' variables share the environment, so an unknown one is no error; but a near miss
 * is worth a line to somebody who asked for a check. */
static void
note_environment(const struct load *l)
{
    for (char **v = environ; *v; v++) {
        char name[96];
        bool by_file, other = strncmp(*v, "PACELINE_", 9) != 0;
        for (const char *const *o = other_variables; *o; o++) {
            other = other || strncmp(*v, *o, strlen(*o)) == 0;
        }
        if (other) {
            continue;
        }
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(*v + 9, "="), *v + 9);
        for (char *p = name; *p; p++) {
            *p = (char)tolower((unsigned char)*p);
        }
        const char *near =
            conf_find(l->c->keys, name, &by_file) ? NULL : conf_nearest(l->c->keys, name);
        if (near) {
            (void)fprintf(stderr, "%s: note: %s is unknown here (did you mean %s?)\n", l->program,
                          conf_spell(CONF_FROM_ENV, name).text,
                          conf_spell(CONF_FROM_ENV, near).text);
        }
    }
}

/* --- file
 * ----------------------------------------------------------------------------------------- */

static bool
apply_pairs(struct load *l, const struct conf_section *s, struct err *e)
{
    struct conf *c = l->c;
    for (size_t i = 0; i < s->n_pairs; i++) {
        const struct conf_pair *p = &s->pairs[i];
        const struct conf_key *k;
        bool in_section = *s->kind != '\0';
        if (!conf_set_pair(s, p, c->keys, c->settings, &k, e)) {
            return false;
        }
        struct conf_origin *o = origin_of(c, k);
        if (o->place == CONF_FROM_FILE && o->in_section == in_section) {
            return err_set(e, ERR_INPUT, "%s:%d: %s: already set in line %d", c->file, p->line,
                           p->key, o->line);
        }
        set_origin(c, k, CONF_FROM_FILE, p->value);
        o->line = p->line;
        o->in_section = in_section;
    }
    return true;
}

/* Keeps a [kind NAME] section of this program; takes it. */
static bool
keep_section(struct load *l, struct conf_section *s, struct err *e)
{
    struct conf *c = l->c;
    if (!*s->name || strchr(s->name, ' ')) {
        return err_set(e, ERR_INPUT, "%s:%d: a section of this kind has one name: [%s NAME]",
                       c->file, s->line, s->kind);
    }
    for (size_t i = 0; i < c->n_sections; i++) {
        if (strcmp(c->sections[i].kind, s->kind) == 0 &&
            strcmp(c->sections[i].name, s->name) == 0) {
            return err_set(e, ERR_INPUT, "%s:%d: [%s %s] stands in line %d already", c->file,
                           s->line, s->kind, s->name, c->sections[i].line);
        }
    }
    VEC_GROW(c->sections, c->n_sections, l->section_cap);
    c->sections[c->n_sections++] = *s;
    *s = (struct conf_section){.line = s->line};
    return true;
}

/* A section whose header is a list of programs: applies it if this one is among them. */
static bool
apply_program_section(struct load *l, const struct conf_section *s, struct err *e)
{
    bool ours = strcmp(s->kind, l->own) == 0;
    for (const char *w = s->name; *w;) {
        size_t n = strcspn(w, " ");
        bool own = strlen(l->own) == n && memcmp(w, l->own, n) == 0;
        if (!own && !is_among(program_kinds, w, n)) {
            return err_set(e, ERR_INPUT, "%s:%d: %.*s is no program", l->c->file, s->line, (int)n,
                           w);
        }
        ours = ours || own;
        w += n + strspn(w + n, " ");
    }
    return !ours || apply_pairs(l, s, e);
}

static bool
apply_section(struct load *l, struct conf_section *s, struct err *e)
{
    size_t n = strlen(s->kind);
    if (is_among(l->kinds, s->kind, n)) {
        return keep_section(l, s, e);
    }
    if (n == 0) {
        return apply_pairs(l, s, e);
    }
    if (strcmp(s->kind, l->own) == 0 || is_among(program_kinds, s->kind, n)) {
        return apply_program_section(l, s, e);
    }
    return is_among(named_kinds, s->kind, n) ||
           err_set(e, ERR_INPUT,
                   "%s:%d: [%s]: unknown kind of section (known: [sender NAME], [receipts NAME] "
                   "and [producer], "
                   "[worker], [reaper], [paceline])",
                   l->c->file, s->line, s->kind);
}

static bool
apply_file(struct load *l, struct err *e)
{
    const char *path = l->given.config ? l->given.config : getenv("PACELINE_CONFIG");
    struct conf_section *sections;
    size_t n;
    if (!path || !*path) {
        return true;
    }
    l->c->file = xstrdup(path);
    if (!conf_read_sections(l->c->file, &sections, &n, e)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        ok = ok && apply_section(l, &sections[i], e);
        conf_section_done(&sections[i]);
    }
    free(sections);
    return ok;
}

/* --- all together
 * ----------------------------------------------------------------------------------- */

static void
start(struct load *l, int argc)
{
    static const char prefix[] = "paceline-";
    bool has_prefix = strncmp(l->program, prefix, sizeof prefix - 1) == 0;
    l->own = l->program + (has_prefix ? sizeof prefix - 1 : 0);
    l->flags = xcalloc((size_t)argc + 1, sizeof *l->flags);
    l->c->rest = xcalloc((size_t)argc + 1, sizeof *l->c->rest);
    l->has_commands = conf_has_commands(l->c->keys);
    size_t n = 0;
    while (l->c->keys[n].name) {
        n++;
    }
    l->c->origins = xcalloc(n + 1, sizeof *l->c->origins);
    for (const struct conf_key *k = l->c->keys; k->name; k++) {
        set_origin(l->c, k, CONF_FROM_DEFAULT, k->value);
    }
}

/* What was asked for besides running, once all settings are good. */
static enum conf_result
answer(const struct load *l)
{
    if (l->given.check_config) {
        note_environment(l);
        printf("%s: the configuration is good%s%s\n", l->program, l->c->file ? ": " : "",
               l->c->file ? l->c->file : "");
    }
    if (l->given.print_config) {
        conf_print_settings(stdout, l->c, l->program, l->own);
    }
    return l->given.check_config || l->given.print_config ? CONF_EXIT_OK : CONF_RUN;
}

enum conf_result
conf_load(struct conf *c, const struct conf_key *keys, void *settings, const char *program,
          const char *about, const char *const *section_kinds,
          bool (*check_sections)(struct conf *, struct err *), int argc, char **argv)
{
    struct load l = {.c = c, .program = program, .kinds = section_kinds};
    struct err e = {0};
    enum conf_result result = CONF_EXIT_OK;
    *c = (struct conf){.keys = keys, .settings = settings};
    start(&l, argc);
    bool ok = conf_set_defaults(keys, settings, &e) && read_flags(&l, argc, argv, &e);
    if (ok && l.given.help) {
        conf_print_help(stdout, keys, program, about);
    } else if (ok && l.given.version) {
        printf("%s %s\n", program, PACELINE_VERSION);
    } else if (ok) {
        ok = apply_file(&l, &e) && apply_environment(&l, &e) && apply_flags(&l, &e) &&
             (!check_sections || check_sections(c, &e));
        result = ok ? answer(&l) : result;
    }
    if (ok && result == CONF_EXIT_OK && fflush(stdout) != 0) {
        ok = err_set(&e, ERR_INPUT, "standard output cannot be written");
    }
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", program, e.text);
        result = CONF_EXIT_USAGE;
    }
    conf_free_strings(conf_builtin_keys, &l.given);
    free(l.flags);
    if (result != CONF_RUN) {
        conf_done(c);
    }
    return result;
}

void
conf_done(struct conf *c)
{
    for (size_t i = 0; i < c->n_sections; i++) {
        conf_section_done(&c->sections[i]);
    }
    for (const struct conf_key *k = c->keys; c->origins && k->name; k++) {
        free(origin_of(c, k)->text);
    }
    if (c->keys) {
        conf_free_strings(c->keys, c->settings);
    }
    free(c->sections);
    free(c->origins);
    free(c->rest);
    free(c->file);
    *c = (struct conf){0};
}
