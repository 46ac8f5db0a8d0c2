/* The form sender: gateways that take a form with a device, a number and a text, and answer 200
 * with a `status`.
 *
 *     [sender whacenter]
 *     type = form
 *     profile = whacenter
 *     device_secrets = /etc/paceline/whacenter.devices
 *
 * What differs between them is data: form_profile.c.  With these gateways whoever has the device's
 * id or token has the device, so a device's sender_ref is only a name, and the file says which
 * secret belongs to it:
 *
 *     # REF = SECRET
 *     sales-1 = 0f3c...
 *
 * The secret never gets into Redis, the ledger or a log. */
#include "shared/conf.h"
#include "worker/form_profile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAN = CAN_MEDIA_URL };

struct form_settings {
    struct provider_settings common;
    int64_t profile;
    char *secret, *device_secrets;
    char *path, *number_field, *message_field, *media_field;
};

#define AT(field) offsetof(struct form_settings, field)
static const struct conf_key keys[] = {
    PROVIDER_KEYS("form", struct form_settings, NULL),
    {"profile", CONF_WORD, AT(profile), "whacenter", FORM_PROFILES, 0, "Which gateway it is."},
    {"secret", CONF_STR, AT(secret), NULL, NULL, CONF_SECRET,
     "The id or token of all devices of this section, best as env:NAME or file:PATH."},
    {"device_secrets", CONF_STR, AT(device_secrets), NULL, NULL, 0,
     "A file with a line REF = SECRET for each device, REF being its sender_ref."},
    {"path", CONF_STR, AT(path), NULL, NULL, 0, "Instead of the profile's path of a send."},
    {"number_field", CONF_STR, AT(number_field), NULL, NULL, 0,
     "Instead of the profile's field for the recipient."},
    {"message_field", CONF_STR, AT(message_field), NULL, NULL, 0,
     "Instead of the profile's field for the text."},
    {"media_field", CONF_STR, AT(media_field), NULL, NULL, 0,
     "Instead of the profile's field for a medium's URL."},
    {0},
};

struct device_secret {
    char *ref, *secret;
};

struct form {
    struct provider provider; /* first, so that it is the sender's own state, too */
    struct form_profile profile;
    struct form_settings set; /* owns the names that replace the profile's */
    struct device_secret *devices;
    size_t n_devices, cap_devices;
};

static void
settings_done(struct form_settings *s)
{
    char **const texts[] = {&s->common.type,    &s->common.url, &s->secret,
                            &s->device_secrets, &s->path,       &s->number_field,
                            &s->message_field,  &s->media_field};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
}

static void
form_close(void *self)
{
    struct form *f = self;
    provider_close(&f->provider);
    for (size_t i = 0; i < f->n_devices; i++) {
        free(f->devices[i].ref);
        free(f->devices[i].secret);
    }
    free(f->devices);
    settings_done(&f->set);
    free(f);
}

/* --- the devices' secrets -------------------------------------------------------------------- */

static int
compare_refs(const void *a, const void *b)
{
    const struct device_secret *x = a, *y = b;
    return strcmp(x->ref, y->ref);
}

static char *
trim(char *text)
{
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len && strchr(" \t\r\n", text[len - 1])) {
        text[--len] = '\0';
    }
    return text;
}

/* The text of an error never repeats the line: it may be a secret that stands in the wrong place.
 */
static bool
take_line(struct form *f, char *line, struct err *e)
{
    char *text = trim(line), *equals = strchr(text, '=');
    if (!*text || *text == '#') {
        return true;
    }
    if (!equals) {
        return err_set(e, ERR_INPUT, "a line is: REF = SECRET");
    }
    *equals = '\0';
    char *ref = trim(text), *secret = trim(equals + 1);
    if (!*ref || !*secret) {
        return err_set(e, ERR_INPUT, "a line is: REF = SECRET");
    }
    if (!provider_printable(secret, e)) {
        return false;
    }
    VEC_GROW(f->devices, f->n_devices, f->cap_devices);
    f->devices[f->n_devices++] = (struct device_secret){xstrdup(ref), xstrdup(secret)};
    return true;
}

static bool
check_twice(struct form *f, struct err *e)
{
    if (f->n_devices) {
        qsort(f->devices, f->n_devices, sizeof *f->devices, compare_refs);
    }
    for (size_t i = 1; i < f->n_devices; i++) {
        if (strcmp(f->devices[i - 1].ref, f->devices[i].ref) == 0) {
            return err_set(e, ERR_INPUT, "%s stands there twice", f->devices[i].ref);
        }
    }
    return true;
}

static bool
read_secrets(struct form *f, const char *path, struct err *e)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    int n = 0;
    bool ok = file || err_set(e, ERR_INPUT, "%s: %s", path, strerror(errno));
    while (ok && getline(&line, &size, file) >= 0) {
        n++;
        ok = take_line(f, line, e) || err_wrap(e, "%s:%d", path, n);
    }
    if (ok && ferror(file)) {
        ok = err_set(e, ERR_INPUT, "%s: %s", path, strerror(errno));
    }
    if (file) {
        (void)fclose(file);
    }
    free(line);
    return ok && (check_twice(f, e) || err_wrap(e, "%s", path));
}

/* NULL when the device has none. */
static const char *
secret_of(const struct form *f, const char *device_ref)
{
    if (!f->set.device_secrets) {
        return f->provider.secret;
    }
    char *ref = xstrdup(device_ref ? device_ref : "");
    const struct device_secret key = {.ref = ref},
                               *found = f->n_devices ? bsearch(&key, f->devices, f->n_devices,
                                                               sizeof *f->devices, compare_refs)
                                                     : NULL;
    free(ref);
    return found ? found->secret : NULL;
}

/* --- opening --------------------------------------------------------------------------------- */

static bool
check_names(const struct conf_section *section, const struct form_settings *s, struct err *e)
{
    const struct {
        const char *key, *value;
    } names[] = {{"number_field", s->number_field},
                 {"message_field", s->message_field},
                 {"media_field", s->media_field}};
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *v = names[i].value;
        if (v && (!*v || v[strspn(v, plain)])) {
            (void)err_set(e, ERR_INPUT,
                          "a field's name has letters, digits, \"_\", \"-\" and \".\"");
            return sender_at_key(section, names[i].key, e);
        }
    }
    if (s->path && (*s->path != '/' || strpbrk(s->path, " ?#"))) {
        (void)err_set(e, ERR_INPUT, "a path begins with \"/\" and has no query");
        return sender_at_key(section, "path", e);
    }
    return true;
}

/* The profile's names, with the settings' in their place. */
static void
take_names(struct form *f)
{
    struct form_profile *p = &f->profile;
    const struct form_settings *s = &f->set;
    *p = *form_profile_at((size_t)s->profile);
    p->text_path = s->path ? s->path : p->text_path;
    p->number = s->number_field ? s->number_field : p->number;
    p->message = s->message_field ? s->message_field : p->message;
    p->caption = s->message_field ? s->message_field : p->caption;
    for (size_t i = 0; i < sizeof p->media / sizeof *p->media; i++) {
        p->media_paths[i] = s->path ? s->path : p->media_paths[i];
        p->media[i] = s->media_field ? s->media_field : p->media[i];
    }
}

static bool
open_secrets(struct form *f, const struct conf_section *section, struct err *e)
{
    struct form_settings *s = &f->set;
    if (!s->secret == !s->device_secrets) {
        (void)err_set(e, ERR_INPUT,
                      "needed is either secret = env:NAME or file:PATH, for all "
                      "devices, or device_secrets = PATH with a line for each");
        return sender_at_key(section, s->secret ? "secret" : "device_secrets", e);
    }
    if (s->secret && (!*s->secret || !provider_printable(s->secret, e))) {
        if (!*s->secret) {
            (void)err_set(e, ERR_INPUT, "empty");
        }
        return sender_at_key(section, "secret", e);
    }
    return s->secret || read_secrets(f, s->device_secrets, e) ||
           sender_at_key(section, "device_secrets", e);
}

static bool
form_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    if (!section) {
        return err_set(e, ERR_INPUT, "form needs a section: [sender NAME] with its profile");
    }
    struct form *f = xcalloc(1, sizeof *f);
    struct form_settings *s = &f->set;
    bool ok = conf_section_apply(section, keys, s, e) && check_names(section, s, e);
    if (ok) {
        take_names(f);
        f->provider.table = f->profile.table;
        if (!s->common.url && f->profile.url) {
            s->common.url = xstrdup(f->profile.url);
        }
        ok = open_secrets(f, section, e);
    }
    if (ok) {
        char *secret = s->secret;
        s->secret = NULL;
        ok = provider_open(&f->provider, loop, section, &s->common, NULL, NULL, secret, NULL, e);
    }
    if (!ok) {
        form_close(f);
        return false;
    }
    *ret = f;
    return true;
}

/* --- requests -------------------------------------------------------------------------------- */

#define NO_SECRET "no secret is known for the device's sender_ref; see device_secrets"

static void
add_field(struct provider_call *c, const char *name, const char *value)
{
    if (name && value) {
        provider_body_field(&c->body, name, value, strlen(value));
    }
}

static void
add_secret(struct provider_call *c, const struct form_profile *p, const char *secret)
{
    c->secret = secret;
    if (p->secret_header) {
        c->headers[0] = (struct http_header){p->secret_header, secret};
    }
}

static void
make_message(struct provider_call *c, const struct form_profile *p, const struct message *m)
{
    const struct media *media = m->media;
    for (size_t i = 0; i < sizeof p->fixed / sizeof *p->fixed && p->fixed[i][0]; i++) {
        add_field(c, p->fixed[i][0], p->fixed[i][1]);
    }
    add_field(c, p->number, m->recipient);
    const char *words = media ? p->caption : p->message;
    if (m->text_len && words) {
        provider_body_field(&c->body, words, m->text, m->text_len);
    }
    if (media) {
        add_field(c, p->media[media->kind], media->url);
        add_field(c, p->filename, media->filename);
    }
}

static void
form_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct form *f = self;
    const struct form_profile *p = &f->profile;
    const char *secret = secret_of(f, m->device_ref);
    if (!secret) {
        provider_refuse(&f->provider, SCOPE_DEVICE, "bad-device", NO_SECRET, done, arg);
        return;
    }
    if (!provider_accept(&f->provider, CAN, m, done, arg)) {
        return;
    }
    struct provider_call call = {
        .path = xstrdup(m->media ? p->media_paths[m->media->kind] : p->text_path)};
    add_secret(&call, p, secret);
    add_field(&call, p->secret_field, secret);
    make_message(&call, p, m);
    provider_send(&f->provider, &call, m, done, arg);
}

static void
form_check(void *self, const char *device_ref, sender_checked *done, void *arg)
{
    struct form *f = self;
    const struct form_profile *p = &f->profile;
    const char *secret = secret_of(f, device_ref);
    if (!secret) {
        provider_refuse_check(&f->provider, NO_SECRET, done, arg);
        return;
    }
    char *head = xasprintf("%s?%s=", p->check_path, p->check_field ? p->check_field : "");
    struct provider_call call = {.method = p->check_method ? p->check_method : "GET",
                                 .path = p->check_field ? provider_path(head, secret, "")
                                                        : xstrdup(p->check_path)};
    add_secret(&call, p, secret);
    provider_check(&f->provider, &call, done, arg);
    free(head);
}

static unsigned
form_can(const void *self)
{
    (void)self;
    return CAN;
}

const struct sender sender_form = {
    .type = "form",
    .open = form_open,
    .send = form_send,
    .close = form_close,
    .limit_ms = provider_limit_ms,
    .max_chars = provider_max_chars,
    .can = form_can,
    .check = form_check,
};
