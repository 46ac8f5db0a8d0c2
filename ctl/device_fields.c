#include "ctl/device_fields.h"

#include "shared/render.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NAME_MAX_CHARS = 190,
    REF_MAX = 190,
    SENDER_MAX = 63,
    ZONE_MAX = 63,
    LANGUAGE_MAX = 31,
    ACCOUNT_MAX = 64
};

#define FIELD(name) offsetof(struct device_fields, name)

const struct flag device_flags[] = {
    {"phone", FLAG_TEXT, FIELD(phone), NULL, NULL,
     "The account's own number, for people to recognise it.", false},
    {"country", FLAG_TEXT, FIELD(country), "60", NULL,
     "Calling code for a phone that begins with 0.", false},
    {"sender", FLAG_TEXT, FIELD(sender), "NAME", NULL,
     "The sender that serves it: log, null, or a [sender NAME] of the workers' configuration. New "
     "devices: log.",
     false},
    {"sender-ref", FLAG_TEXT, FIELD(sender_ref), NULL, NULL, "What the provider calls this device.",
     false},
    {"account", FLAG_TEXT, FIELD(account), "NAME|none", NULL,
     "What the provider limits together with other devices: a business portfolio, a token. Devices "
     "of one name stop together when it is throttled or blocked. New devices: none.",
     false},
    {"gap", FLAG_GAP, FIELD(gap), NULL, NULL,
     "Pause between two messages, drawn anew each time. New devices: 5s..15s.", false},
    {"batch", FLAG_BATCH, FIELD(batch), NULL, NULL,
     "A longer pause after so many messages. New devices: none.", false},
    {"hourly-cap", FLAG_INT, FIELD(hourly_cap), "0..1000000", NULL,
     "Messages in any hour at most; 0 = no cap.", false},
    {"daily-cap", FLAG_INT, FIELD(daily_cap), "0..10000000", NULL,
     "Messages in any 24 hours at most; 0 = no cap.", false},
    {"quiet", FLAG_QUIET, FIELD(quiet), NULL, NULL,
     "Nothing is sent between these times of the device's zone.", false},
    {"zone", FLAG_TEXT, FIELD(zone), "Asia/Kuala_Lumpur", NULL,
     "The device's time zone. New devices: UTC.", false},
    {"language", FLAG_TEXT, FIELD(language), "ms", NULL,
     "The language of greetings to recipients who have none of their own, as in the file of "
     "greetings. New devices: the workers' setting default_language.",
     false},
    {"max-in-flight", FLAG_INT, FIELD(max_in_flight), "1..1000", NULL,
     "Messages on their way at the same time. New devices: 1.", false},
    {"when-offline", FLAG_WORD, FIELD(when_offline), "hold|skip", NULL,
     "While it is offline its messages wait, or are skipped. New devices: hold.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static size_t
count_chars(const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

bool
device_name_check(const char *name, struct err *e)
{
    size_t len = strlen(name);
    if (!len || render_bad_utf8(name, len) < len || count_chars(name) > NAME_MAX_CHARS) {
        return err_set(e, ERR_INPUT, "a device's name has 1 to %d characters of UTF-8",
                       NAME_MAX_CHARS);
    }
    for (const char *p = name; *p; p++) {
        if (*p == ',' || iscntrl((unsigned char)*p)) {
            return err_set(e, ERR_INPUT,
                           "a device's name holds no commas and no control characters");
        }
    }
    return true;
}

static bool
check_zone(const char *zone, struct err *e)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
    const char *dir = getenv("PACELINE_TZDIR");
    dir = dir && *dir ? dir : "/usr/share/zoneinfo";
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", dir, zone);
    bool is_name =
        *zone && strlen(zone) <= ZONE_MAX && !zone[strspn(zone, allowed)] && *zone != '/';
    if (!is_name || (access(dir, R_OK) == 0 && access(path, R_OK) != 0)) {
        return err_set(
            e, ERR_INPUT,
            "zone: '%.60s' is no time zone; write an IANA name such as Asia/Kuala_Lumpur", zone);
    }
    return true;
}

bool
device_fields_check(struct device_fields *d, struct err *e)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    if (d->phone && *d->phone &&
        !phone_normalise(d->phone, strlen(d->phone), d->country, d->digits, e)) {
        return err_wrap(e, "phone");
    }
    if (d->sender &&
        (!*d->sender || strlen(d->sender) > SENDER_MAX || d->sender[strspn(d->sender, word)])) {
        return err_set(e, ERR_INPUT, "sender: a name has 1 to %d letters, digits, '_', '-' and '.'",
                       SENDER_MAX);
    }
    size_t len = d->sender_ref ? strlen(d->sender_ref) : 0;
    if (len &&
        (render_bad_utf8(d->sender_ref, len) < len || count_chars(d->sender_ref) > REF_MAX)) {
        return err_set(e, ERR_INPUT, "sender-ref: at most %d characters of UTF-8", REF_MAX);
    }
    d->account = d->account && strcmp(d->account, "none") == 0 ? "" : d->account;
    len = d->account ? strlen(d->account) : 0;
    if (len && (len > ACCOUNT_MAX || d->account[strspn(d->account, word)])) {
        return err_set(e, ERR_INPUT,
                       "account: a name has at most %d letters, digits, '_', '-' and '.'",
                       ACCOUNT_MAX);
    }
    if (d->language &&
        (strlen(d->language) > LANGUAGE_MAX || d->language[strspn(d->language, word)])) {
        return err_set(e, ERR_INPUT, "language: a name like ms or en-GB has at most %d characters",
                       LANGUAGE_MAX);
    }
    return !d->zone || check_zone(d->zone, e);
}

static void
put_text(struct sql *q, const char *assign, const char *v)
{
    if (v) {
        sql_text(q, assign);
        sql_str(q, v);
    }
}

static void
put_int(struct sql *q, const char *assign, int64_t v)
{
    if (v != FLAG_UNSET) {
        sql_text(q, assign);
        sql_int(q, v);
    }
}

void
device_fields_sql(const struct device_fields *d, struct sql *q)
{
    put_text(q, ", phone = ", d->phone ? d->digits : NULL);
    put_text(q, ", sender = ", d->sender);
    put_text(q, ", sender_ref = ", d->sender_ref);
    put_text(q, ", account = ", d->account);
    put_text(q, ", time_zone = ", d->zone);
    put_text(q, ", language = ", d->language);
    put_text(q, ", when_offline = ", d->when_offline);
    put_int(q, ", min_gap_ms = ", d->gap.a);
    put_int(q, ", max_gap_ms = ", d->gap.b);
    put_int(q, ", batch_size = ", d->batch.a);
    put_int(q, ", batch_pause_ms = ", d->batch.b);
    put_int(q, ", quiet_from = ", d->quiet.a);
    put_int(q, ", quiet_to = ", d->quiet.b);
    put_int(q, ", hourly_cap = ", d->hourly_cap);
    put_int(q, ", daily_cap = ", d->daily_cap);
    put_int(q, ", max_in_flight = ", d->max_in_flight);
}

void
device_insert_sql(const struct device_fields *d, uint64_t user, const char *name, struct sql *q)
{
    sql_addf(q,
             "INSERT INTO devices SET user_id = %" PRIu64
             ", created_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3), name = %s",
             user, name);
    device_fields_sql(d, q);
}
