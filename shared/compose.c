#include "shared/compose.h"

#include "shared/greeting.h"
#include "shared/tz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

/* Zones come from leads' attributes too: what is kept of them, found or not, is bounded. */
enum { ZONES = 64, ZONE_BYTES = 64, DAY_MINUTES = 1440 };

struct zone {
    char name[ZONE_BYTES];
    struct tz *tz; /* NULL: there is none */
};

struct composer {
    const struct compose_settings *s;
    struct greetings *greetings;
    const struct greeting_language *usual;
    struct zone zones[ZONES];
};

/* --- settings ------------------------------------------------------------------------------ */

static bool
read_file(const char *path, struct buf *out, struct err *e)
{
    char block[4096];
    size_t n;
    FILE *f = fopen(path, "re");
    if (!f) {
        return err_set(e, ERR_INPUT, "greetings: %.200s: %s", path, strerror(errno));
    }
    while (out->len <= GREETINGS_BYTES_MAX && (n = fread(block, 1, sizeof block, f)) > 0) {
        buf_add(out, block, n);
    }
    bool ok = !ferror(f) || err_set(e, ERR_INPUT, "greetings: %.200s: %s", path, strerror(errno));
    (void)fclose(f);
    return ok;
}

static bool
read_greetings(struct composer *c, struct err *e)
{
    struct buf text = {0};
    const char *path = c->s->greetings;
    bool ok = greetings_read(&c->greetings, "deploy/greetings.conf", greetings_builtin,
                             strlen(greetings_builtin), e);
    if (ok && path && *path) {
        buf_adds(&text, "");
        ok = read_file(path, &text, e) &&
             greetings_read(&c->greetings, path, text.data, text.len, e);
    }
    buf_done(&text);
    return ok;
}

bool
composer_new(const struct compose_settings *s, struct composer **ret, struct err *e)
{
    struct composer *c = xcalloc(1, sizeof *c);
    char names[128];
    c->s = s;
    bool ok = read_greetings(c, e);
    c->usual = ok ? greetings_find(c->greetings, s->default_language) : NULL;
    if (ok && !c->usual) {
        ok = err_set(e, ERR_INPUT, "default_language: no greetings for '%.40s'; there are %s",
                     s->default_language, greetings_names(c->greetings, names, sizeof names));
    }
    if (!ok) {
        composer_free(c);
        c = NULL;
    }
    *ret = c;
    return ok;
}

void
composer_free(struct composer *c)
{
    for (size_t i = 0; c && i < ZONES; i++) {
        tz_free(c->zones[i].tz);
    }
    greetings_free(c ? c->greetings : NULL);
    free(c);
}

/* --- whose language, whose clock ----------------------------------------------------------- */

/* The first value that is not empty of an attribute by either name. */
static const char *
attribute(const struct compose_message *m, const char *name, const char *other)
{
    for (size_t i = 0; i < m->n_vars; i++) {
        const struct render_var *v = &m->vars[i];
        if (v->value && *v->value &&
            (strcasecmp(v->name, name) == 0 || strcasecmp(v->name, other) == 0)) {
            return v->value;
        }
    }
    return NULL;
}

static const struct greeting_language *
find_language(const struct composer *c, const struct compose_message *m)
{
    const struct greeting_language *l =
        greetings_find(c->greetings, attribute(m, "language", "lang"));
    l = l ? l : greetings_find(c->greetings, m->language);
    return l ? l : c->usual;
}

/* NULL when there is no such zone. */
static const struct zone *
find_zone(struct composer *c, const char *name, struct compose_choice *choice)
{
    size_t n = name ? strlen(name) : 0;
    if (!n || n >= ZONE_BYTES) {
        return NULL;
    }
    struct zone *z = &c->zones[XXH64(name, n, 0) % ZONES];
    if (strcmp(z->name, name) != 0) {
        tz_free(z->tz);
        memcpy(z->name, name, n + 1);
        if (!tz_load(name, &z->tz, &choice->bad_zone_error)) {
            choice->bad_zone = z->name;
        }
    }
    return z->tz ? z : NULL;
}

static int
local_minute(struct composer *c, const struct compose_message *m, struct compose_choice *choice)
{
    const struct zone *z = find_zone(c, attribute(m, "time_zone", "timezone"), choice);
    z = z ? z : find_zone(c, m->zone, choice);
    int64_t now_s = m->now_ms / 1000;
    int64_t minute = (now_s + (z ? tz_offset_at(z->tz, now_s) : 0)) / 60 % DAY_MINUTES;
    choice->zone = z ? z->name : "UTC";
    return (int)(minute < 0 ? minute + DAY_MINUTES : minute);
}

static const char *
name_fallback(const struct composer *c, const struct greeting_language *l)
{
    const char *own = c->s->name_fallback;
    return own && *own ? own : c->s->neutral_names ? l->neutral : l->fallback;
}

bool
compose(struct composer *c, const struct compose_message *m, struct buf *out,
        struct compose_choice *ret, struct err *e)
{
    struct compose_choice choice = {0};
    const struct greeting_language *l = find_language(c, m);
    bool greets = m->template_len && memmem(m->template_text, m->template_len, "greeting", 8);
    choice.language = l->name;
    struct render_input in = {
        .template_text = m->template_text,
        .template_len = m->template_len,
        .job_id = m->job_id,
        .vars = m->vars,
        .n_vars = m->n_vars,
        .name_fallback = name_fallback(c, l),
        .not_names = l->not_names,
        .greeting = greets ? greeting_at(l, local_minute(c, m, &choice)) : NULL,
    };
    bool ok = render(&in, out, e);
    if (ret) {
        *ret = choice;
    }
    return ok;
}

bool
compose_widths(const struct composer *c, struct render_width ret[COMPOSE_WIDTHS], struct err *e)
{
    const struct greeting_language *l = c->usual;
    const char *fallback = name_fallback(c, l);
    size_t n = render_chars(fallback, strlen(fallback));
    ret[0] = (struct render_width){"name", n, n};
    ret[1] = (struct render_width){"recipient_name", n, n};
    ret[2] = (struct render_width){"greeting", SIZE_MAX, 0};
    for (size_t i = 0; i < l->n_times; i++) {
        struct render_facts f;
        bool ok = render_facts(l->times[i].text, strlen(l->times[i].text), ret, 2, &f, e);
        ret[2].shortest = f.shortest < ret[2].shortest ? f.shortest : ret[2].shortest;
        ret[2].longest = f.longest > ret[2].longest ? f.longest : ret[2].longest;
        render_facts_done(&f);
        if (!ok) {
            return false;
        }
    }
    return true;
}
