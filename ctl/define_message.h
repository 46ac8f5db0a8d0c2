/* define_message.h -- what a definition sends besides its text: a medium, an approved template.
 * From flags or from the members "media" and "template" into the JSON of the tables, and back. */
#ifndef CTL_DEFINE_MESSAGE_H
#define CTL_DEFINE_MESSAGE_H

#include "ctl/define.h"

struct message_flags {
    const char *image, *video, *audio, *document, *filename;
    const char *template, *template_language, *template_header;
    struct flag_list template_values; /* --template-param, -named, -button, in their order */
};

/* Rows of a table of flags for a struct with a member `parts` of this type. */
#define DEFINE_MESSAGE_FLAG(type, name, member, words, help)                                       \
    {                                                                                              \
        name, FLAG_TEXT, offsetof(type, parts.member), words, NULL, help, false                    \
    }
#define DEFINE_MESSAGE_LIST(type, name, words, help)                                               \
    {                                                                                              \
        name, FLAG_LIST, offsetof(type, parts.template_values), words, NULL, help, false           \
    }
#define DEFINE_MESSAGE_FLAGS(type)                                                                 \
    DEFINE_MESSAGE_FLAG(type, "image", image, MEDIA_SOURCE,                                        \
                        "A picture, whose caption is the text. link:URL is passed on as a link; "  \
                        "all else is stored."),                                                    \
        DEFINE_MESSAGE_FLAG(type, "video", video, MEDIA_SOURCE, "A film instead."),                \
        DEFINE_MESSAGE_FLAG(type, "audio", audio, MEDIA_SOURCE,                                    \
                            "A sound instead, without a text."),                                   \
        DEFINE_MESSAGE_FLAG(type, "document", document, MEDIA_SOURCE, "A document instead."),      \
        DEFINE_MESSAGE_FLAG(type, "filename", filename, NULL,                                      \
                            "The document's name as recipients see it."),                          \
        DEFINE_MESSAGE_FLAG(type, "template", template, "NAME|JSON",                               \
                            "A template that the provider has approved, instead of a text."),      \
        DEFINE_MESSAGE_FLAG(type, "template-language", template_language, "CODE",                  \
                            "Its language, like ms or en_US."),                                    \
        DEFINE_MESSAGE_FLAG(type, "template-header", template_header, NULL,                        \
                            "Its header's parameter; a medium is one by itself."),                 \
        DEFINE_MESSAGE_LIST(type, "template-param", NULL,                                          \
                            "Its body's next parameter. As often as there are parameters."),       \
        DEFINE_MESSAGE_LIST(type, "template-named", "NAME=TEXT",                                   \
                            "A parameter by name, where the template has named ones."),            \
        DEFINE_MESSAGE_LIST(type, "template-button", "INDEX:url|quick_reply:TEXT",                 \
                            "A button's parameter; the first button is 0.")
#define MEDIA_SOURCE "FILE|URL|data:..|link:URL|sha256:HEX"

/* The JSON of the columns; empty: NULL. */
struct define_message {
    struct buf media, template_json;
    char sha256[65]; /* of a stored medium, or "" */
};
void define_message_done(struct define_message *m);

/* Whether anything is asked for. */
bool define_message_has(const struct message_flags *f);
bool define_message_in(const struct doc *object);

/* A text that may be empty beside something else; a template has none. */
MUST_USE bool define_message_content(const char *place, const char *text, size_t len, bool others,
                                     struct err *e);

/* Each fills *ret, storing what is to be stored: so it comes last, when all else is checked.
 * has_text: there is a text, which not everything takes.  Errors begin with the flag, or with the
 * member behind path ("steps[2]", or ""). */
MUST_USE bool define_message_flags(struct ctl *c, const struct message_flags *f, bool has_text,
                                   struct define_message *ret, struct err *e);
MUST_USE bool define_message_doc(struct ctl *c, const struct doc *object, const char *path,
                                 bool has_text, struct define_message *ret, struct err *e);

/* In the transaction that saves the definition: its content stays.  Then ", media = .., template =
 * .." for the statement. */
MUST_USE bool define_message_hold(struct store *s, uint64_t user, const struct define_message *m,
                                  struct err *e);
void define_message_sql(const struct define_message *m, struct sql *q);
/* Puts the members of two columns (NULL: none) as a definition has them. */
void define_message_put(const char *media, const char *template_json, struct doc *object);
/* For people: the same members as text. */
void define_message_text(struct doc *object);
/* "image, 12345 bytes", "document price.pdf, a link", "template promo (ms)"; nothing for text
 * alone.
 */
void define_message_brief(const char *media, const char *template_json, struct buf *out);

#endif
