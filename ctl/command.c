#include "ctl/command.h"

#include "ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 64 };

/* --- help ----------------------------------------------------------------------------- */

void
command_about(const struct command *const *groups, struct buf *out)
{
    buf_adds(
        out,
        "What people type: set the database up, import leads, make and steer campaigns, look at "
        "anything.\n\nCommands (each tells more with --help):\n");
    for (; *groups; groups++) {
        const struct command *c = *groups;
        buf_addf(out, "  %s%s", c->group, c->verb ? " " : ": ");
        buf_adds(out, c->verb ? "" : c->help);
        for (; c->group && c->verb; c++) {
            buf_addf(out, "%s%s", c == *groups ? "" : "|", c->verb);
        }
        buf_adds(out, groups[1] ? "\n" : "");
    }
}

static void
put_usage(FILE *f, const struct command *c)
{
    (void)fprintf(f, "Usage: paceline %s%s%s%s%s%s\n", c->group, c->verb ? " " : "",
                  c->verb ? c->verb : "", *c->operands ? " " : "", c->operands,
                  c->flags ? " [--FLAG ...]" : "");
}

static int
show_help(const struct command *c)
{
    put_usage(stdout, c);
    printf("\n%s\n", c->help);
    if (c->flags) {
        puts("\nFlags:");
    }
    for (const struct flag *f = c->flags; f && f->name; f++) {
        const char *sample = flag_sample(f);
        printf("  --%s%s%s%s\n      %s", f->name, *sample ? "=" : "", sample,
               f->required ? "  (required)" : "", f->help);
        if (f->words && (f->type == FLAG_INT || f->type == FLAG_MS)) {
            printf(" Within %s.", f->words);
        }
        if (f->value) {
            printf(" Default: %s", f->value);
        }
        puts("");
    }
    puts("\nSettings such as --user, --json, --utc and --mysql-url: see paceline --help.\n"
         "Exit codes: 0 done; 1 refused, or something was found; 2 wrong usage, or it could not be "
         "done.");
    return CTL_OK;
}

static int
show_group(FILE *f, const struct command *group)
{
    (void)fprintf(f, "Usage: paceline %s COMMAND\n\n", group->group);
    for (const struct command *c = group; c->group; c++) {
        (void)fprintf(f, "  %s%s%s\n      %s\n", c->verb, *c->operands ? " " : "", c->operands,
                      c->help);
    }
    return f == stdout ? CTL_OK : CTL_COULD_NOT;
}

/* --- parsing -------------------------------------------------------------------------- */

static int
wrong_flag(const struct command *c, const char *name)
{
    char settings[NAMES_MAX][48];
    const char *names[NAMES_MAX + 1] = {0};
    size_t n = 0;
    for (const struct flag *f = c->flags; f && f->name && n < NAMES_MAX; f++) {
        names[n++] = f->name;
    }
    for (const struct conf_key *k = ctl_keys; k->name && n < NAMES_MAX; k++, n++) {
        (void)snprintf(settings[n], sizeof settings[n], "%s", k->name);
        for (char *p = settings[n]; *p; p++) {
            *p = *p == '_' ? '-' : *p;
        }
        names[n] = settings[n];
    }
    const char *near = flag_nearest(name, names);
    (void)fprintf(stderr, "paceline: --%s: unknown flag%s%s%s; see: paceline %s%s%s --help\n", name,
                  near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "", c->group,
                  c->verb ? " " : "", c->verb ? c->verb : "");
    return CTL_COULD_NOT;
}

/* Reads the flag argv[*i] and its value behind it. */
static int
take_flag(const struct command *c, void *values, int n, char **argv, int *i)
{
    char name[64];
    const char *arg = argv[*i] + 2, *equals = strchr(arg, '=');
    struct err e = {0};
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(arg, "="), arg);
    const struct flag *f = argv[*i][1] == '-' ? flag_find(c->flags, name) : NULL;
    if (!f) {
        return wrong_flag(c, name);
    }
    const char *text = equals ? equals + 1 : "";
    if (f->type == FLAG_BOOL && equals) {
        (void)err_set(&e, ERR_INPUT, "takes no value");
    } else if (f->type != FLAG_BOOL && !equals) {
        if (*i + 1 >= n) {
            (void)err_set(&e, ERR_INPUT, "its value is missing: --%s=%s", name, flag_sample(f));
        } else {
            text = argv[++*i];
        }
    }
    if (e.kind || !flag_set(f, text, values, &e)) {
        (void)err_wrap(&e, "--%s", f->name);
        return ctl_fail(&e);
    }
    return CTL_OK;
}

/* argv without flags becomes the operands, in place. */
static int
parse(const struct command *c, struct args *a, int n, char **argv)
{
    bool plain = false;
    for (int i = 0; i < n; i++) {
        if (!plain && strcmp(argv[i], "--") == 0) {
            plain = true;
        } else if (!plain && argv[i][0] == '-' && argv[i][1]) {
            int code = take_flag(c, a->flags, n, argv, &i);
            if (code != CTL_OK) {
                return code;
            }
        } else {
            a->operands[a->n++] = argv[i];
        }
    }
    for (const struct flag *f = c->flags; f && f->name; f++) {
        if (f->required && flag_is_unset(f, a->flags)) {
            ctl_note("--%s=%s is missing: %s", f->name, flag_sample(f), f->help);
            return CTL_COULD_NOT;
        }
    }
    if (a->n < c->min || (c->max >= 0 && a->n > c->max)) {
        ctl_note("%s", a->n < c->min ? "an argument is missing" : "there is an argument too many");
        put_usage(stderr, c);
        return CTL_COULD_NOT;
    }
    return CTL_OK;
}

static bool
asks_help(int n, char **argv)
{
    for (int i = 0; i < n && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static int
run(const struct command *c, struct ctl *ctl, int n, char **argv)
{
    if (asks_help(n, argv)) {
        return show_help(c);
    }
    struct args a = {xcalloc(1, c->flags_size + 1), xcalloc((size_t)n + 1, sizeof *a.operands), 0};
    flag_defaults(c->flags, a.flags);
    int code = parse(c, &a, n, argv);
    if (code == CTL_OK) {
        code = c->run(ctl, &a);
    }
    flag_done(c->flags, a.flags);
    free(a.flags);
    free(a.operands);
    return code;
}

/* group: in which it is none; NULL: of the whole program. */
static int
wrong_word(const char *group, const char *word, const char *const *names)
{
    const char *near = flag_nearest(word, names);
    if (near) {
        ctl_note("%s%s%s: unknown command (did you mean %s?)", group ? group : "", group ? " " : "",
                 word, near);
    } else {
        ctl_note("%s%s%s: unknown command; see: paceline %s%s--help", group ? group : "",
                 group ? " " : "", word, group ? group : "", group ? " " : "");
    }
    return CTL_COULD_NOT;
}

static int
run_verb(const struct command *group, struct ctl *ctl, int n, char **argv)
{
    const char *names[NAMES_MAX + 1] = {0};
    size_t known = 0;
    if (n == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        return show_group(n ? stdout : stderr, group);
    }
    for (const struct command *c = group; c->group && known < NAMES_MAX; c++) {
        if (strcmp(c->verb, argv[0]) == 0) {
            return run(c, ctl, n - 1, argv + 1);
        }
        names[known++] = c->verb;
    }
    return wrong_word(group->group, argv[0], names);
}

int
command_run(const struct command *const *groups, struct ctl *c, int n, char **argv)
{
    const char *names[NAMES_MAX + 1] = {0};
    if (n == 0) {
        ctl_note("say what to do; see: paceline --help");
        return CTL_COULD_NOT;
    }
    for (size_t i = 0; i < NAMES_MAX && groups[i]; i++) {
        if (strcmp(groups[i]->group, argv[0]) == 0) {
            return groups[i]->verb ? run_verb(groups[i], c, n - 1, argv + 1)
                                   : run(groups[i], c, n - 1, argv + 1);
        }
        names[i] = groups[i]->group;
    }
    return wrong_word(NULL, argv[0], names);
}
