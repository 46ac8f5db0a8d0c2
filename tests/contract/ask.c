/* Makes one sender do what lines of JSON say, and says what came of each: for the contract tests,
 * which want every kind of request and not only those of a campaign.
 *
 *     ask TYPE KEY=VALUE ... <requests
 *
 *     {"do":"send","ref":"1065","to":"60123456789","text":"Hi","media":{..},"template":{..}}
 *     {"do":"upload","ref":"1065","media":{"type":"image","text":"content","mime":"image/png"}}
 *     {"do":"check","ref":"1065"}
 *
 * media: type, then url or id or text (the content), mime, filename.  template: name, language,
 * header, body (texts, or an object of named ones), buttons ({"index","url","value"}).  Secrets are
 * env:NAME values, as in a configuration. */
#include "shared/clock.h"
#include "shared/conf.h"
#include "shared/mem.h"
#include "worker/outcome.h"
#include "worker/sender.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>
#include <jansson.h>

enum { MOST = 16 }; /* pairs, values and buttons */

static bool reported;

static void
say(json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);
    (void)puts(text);
    (void)fflush(stdout);
    free(text);
    json_decref(line);
    reported = true;
}

static json_t *
outcome_line(const struct outcome *o)
{
    json_t *line = json_object();
    (void)json_object_set_new(line, "class", json_string(outcome_class_name(o->class)));
    (void)json_object_set_new(line, "scope", json_string(outcome_scope_name(o->scope)));
    (void)json_object_set_new(line, "code", json_string(o->code));
    (void)json_object_set_new(line, "text", json_string(o->text));
    (void)json_object_set_new(line, "id", json_string(o->provider_id));
    (void)json_object_set_new(line, "stop", json_boolean(o->stop));
    return line;
}

static void
on_sent(void *arg, const struct outcome *o)
{
    (void)arg;
    say(outcome_line(o));
}

static void
on_uploaded(void *arg, const struct outcome *o, int64_t keep_ms)
{
    (void)arg;
    json_t *line = outcome_line(o);
    (void)json_object_set_new(line, "keep_ms", json_integer(keep_ms));
    say(line);
}

static void
on_checked(void *arg, enum device_state state, const char *text)
{
    static const char *const words[] = {
        [DEVICE_UNKNOWN] = "unknown", [DEVICE_ONLINE] = "online", [DEVICE_OFFLINE] = "offline"};
    (void)arg;
    json_t *line = json_object();
    (void)json_object_set_new(line, "device", json_string(words[state]));
    (void)json_object_set_new(line, "text", json_string(text));
    say(line);
}

static const char *
text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static struct media
media_of(const json_t *o)
{
    static const char *const kinds[] = {"image", "video", "audio", "document"};
    size_t kind = 0;
    while (kind < 3 && strcmp(kinds[kind], text_of(o, "type")) != 0) {
        kind++;
    }
    const json_t *content = json_object_get(o, "text");
    return (struct media){.kind = (enum media_kind)kind,
                          .url = text_of(o, "url"),
                          .id = text_of(o, "id"),
                          .bytes = json_string_value(content),
                          .len = json_string_length(content),
                          .mime = text_of(o, "mime"),
                          .filename = text_of(o, "filename")};
}

static size_t
values_of(json_t *body, struct template_value *ret)
{
    size_t n = 0;
    const char *name;
    json_t *v;
    for (; json_is_array(body) && n < json_array_size(body) && n < MOST; n++) {
        ret[n] = (struct template_value){NULL, json_string_value(json_array_get(body, n))};
    }
    json_object_foreach(body, name, v)
    {
        if (n < MOST) {
            ret[n++] = (struct template_value){name, json_string_value(v)};
        }
    }
    return n;
}

static size_t
buttons_of(const json_t *list, struct template_button *ret)
{
    size_t n = 0;
    for (; n < json_array_size(list) && n < MOST; n++) {
        const json_t *b = json_array_get(list, n);
        ret[n] =
            (struct template_button){(int)json_integer_value(json_object_get(b, "index")),
                                     json_is_true(json_object_get(b, "url")), text_of(b, "value")};
    }
    return n;
}

static void
run_until_reported(struct ev_loop *loop)
{
    while (!reported) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
}

static void
send_one(struct ev_loop *loop, const struct sender *type, void *self, const json_t *rq)
{
    const json_t *media = json_object_get(rq, "media"), *t = json_object_get(rq, "template");
    const char *text = text_of(rq, "text") ? text_of(rq, "text") : "";
    struct template_value values[MOST];
    struct template_button buttons[MOST];
    struct media medium = media ? media_of(media) : (struct media){0};
    struct message_template approved = {.name = text_of(t, "name"),
                                        .language = text_of(t, "language"),
                                        .header = text_of(t, "header"),
                                        .body = values,
                                        .n_body = values_of(json_object_get(t, "body"), values),
                                        .buttons = buttons};
    approved.n_buttons = buttons_of(json_object_get(t, "buttons"), buttons);
    const struct message m = {.job_id = "c:7:1",
                              .attempt = 1,
                              .device_id = 42,
                              .device_ref = text_of(rq, "ref"),
                              .recipient = text_of(rq, "to"),
                              .name = "Siti",
                              .text = text,
                              .text_len = strlen(text),
                              .media = media ? &medium : NULL,
                              .template = t ? &approved : NULL};
    type->send(self, &m, on_sent, NULL);
    run_until_reported(loop);
}

static void
do_one(struct ev_loop *loop, const struct sender *type, void *self, const json_t *rq)
{
    const char *what = text_of(rq, "do"), *ref = text_of(rq, "ref");
    struct media medium;
    reported = false;
    if (strcmp(what, "upload") == 0) {
        medium = media_of(json_object_get(rq, "media"));
        type->upload(self, ref, &medium, on_uploaded, NULL);
        run_until_reported(loop);
    } else if (strcmp(what, "check") == 0) {
        type->check(self, ref, on_checked, NULL);
        run_until_reported(loop);
    } else {
        send_one(loop, type, self, rq);
    }
}

static int
work(struct ev_loop *loop, const struct sender *type, void *self)
{
    char *line = NULL;
    size_t size = 0;
    int status = 0;
    while (status == 0 && getline(&line, &size, stdin) > 0) {
        json_t *rq = json_loads(line, 0, NULL);
        if (text_of(rq, "do")) {
            do_one(loop, type, self, rq);
        } else {
            (void)fprintf(stderr, "no request: %s\n", line);
            status = 2;
        }
        json_decref(rq);
    }
    free(line);
    return status;
}

int
main(int argc, char **argv)
{
    static char kind[] = "sender", name[] = "ask", file[] = "ask";
    struct conf_pair pairs[MOST];
    struct conf_section section = {.kind = kind, .name = name, .pairs = pairs, .file = file};
    const struct sender *type = argc > 1 ? sender_by_type(argv[1]) : NULL;
    struct ev_loop *loop = ev_default_loop(0);
    struct err e = {0};
    void *self = NULL;
    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 2; i < argc && section.n_pairs < MOST; i++) {
        char *value = strchr(argv[i], '=');
        if (value) {
            *value = '\0';
            pairs[section.n_pairs++] = (struct conf_pair){argv[i], value + 1, i};
        }
    }
    if (!type || !type->open(loop, &section, &self, &e)) {
        (void)fprintf(stderr, "%s\n", type ? e.text : "ask TYPE KEY=VALUE ... <requests");
        return 2;
    }
    int status = work(loop, type, self);
    type->close(self);
    return status;
}
