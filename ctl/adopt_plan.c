#include "ctl/adopt_plan.h"

#include "shared/tz.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* --- the older shape, under the names it goes by --------------------------------------- */

static const struct adopt_column user_columns[] = {
    {"id", "id|user_id", true, false},
    {"name", "name|username|email|full_name", false, false},
    {NULL, NULL, false, false}};

static const struct adopt_column device_columns[] = {
    {"id", "id|device_id", true, false},
    {"user_id", "user_id|owner_id", false, false},
    {"name", "device_name|name|label", false, false},
    {"phone", "phone|phone_number|device_phone|number", false, false},
    {"sender", "provider|platform|gateway", false, false},
    {"sender_ref", "instance|instance_id|session|jid|token", false, false},
    {"min_delay_seconds", "min_delay_seconds|min_delay", false, false},
    {"max_delay_seconds", "max_delay_seconds|max_delay", false, false},
    {NULL, NULL, false, false}};

static const struct adopt_column lead_columns[] = {
    {"id", "id|lead_id", true, false},
    {"user_id", "user_id|owner_id", false, false},
    {"device_id", "device_id|assigned_device_id", true, false},
    {"phone", "phone|phone_number|recipient_phone", true, false},
    {"name", "name|full_name|lead_name", false, false},
    {"niche", "niche|category", false, false},
    {"target_status", "target_status|status", false, false},
    {"trigger", "trigger|triggers|sequence_trigger", false, false},
    {NULL, NULL, false, false}};

static const struct adopt_column campaign_columns[] = {
    {"id", "id|campaign_id", true, false},
    {"user_id", "user_id|owner_id", false, false},
    {"device_id", "device_id", false, false},
    {"name", "title|name|campaign_name", false, false},
    {"niche", "niche|category", false, false},
    {"target_status", "target_status", false, false},
    {"content", "message|content|body|text", true, false},
    {"media", "image_url|media_url|image", false, false},
    {"scheduled_at", "scheduled_at|campaign_date|scheduled_date", false, true},
    {"time", "time_schedule|scheduled_time|campaign_time", false, false},
    {"status", "status", true, false},
    {"min_delay_seconds", "min_delay_seconds|min_delay", false, false},
    {"max_delay_seconds", "max_delay_seconds|max_delay", false, false},
    {NULL, NULL, false, false}};

static const struct adopt_column sequence_columns[] = {
    {"id", "id|sequence_id", true, false},
    {"user_id", "user_id|owner_id", false, false},
    {"device_id", "device_id", false, false},
    {"name", "name|title|sequence_name", false, false},
    {"trigger", "start_trigger|trigger", false, false},
    {"status", "status", false, false},
    {"min_delay_seconds", "min_delay_seconds|min_delay", false, false},
    {"max_delay_seconds", "max_delay_seconds|max_delay", false, false},
    {NULL, NULL, false, false}};

static const struct adopt_column step_columns[] = {
    {"id", "id|step_id", true, false},
    {"sequence_id", "sequence_id", true, false},
    {"day", "day|day_number|position|step_number|step_order", false, false},
    {"delay_hours", "delay_hours|trigger_delay_hours", false, false},
    {"content", "content|message|message_text|text", true, false},
    {"media", "media_url|image_url", false, false},
    {NULL, NULL, false, false}};

static const struct adopt_column message_columns[] = {
    {"id", "id|message_id", true, false},
    {"user_id", "user_id|owner_id", false, false},
    {"device_id", "device_id|sender_device_id", true, false},
    {"campaign_id", "campaign_id", false, false},
    {"sequence_id", "sequence_id", false, false},
    {"sequence_stepid", "sequence_stepid|sequence_step_id|step_id", false, false},
    {"recipient_phone", "recipient_phone|phone|recipient", true, false},
    {"recipient_name", "recipient_name|name", false, false},
    {"content", "content|message|text|body", false, false},
    {"media", "media_url|image_url", false, false},
    {"status", "status", true, false},
    {"error_message", "error_message|error|failure_reason", false, false},
    {"scheduled_at", "scheduled_at|send_at|scheduled_time", false, true},
    {"sent_at", "sent_at|delivered_at", false, true},
    {"created_at", "created_at|created", false, true},
    {NULL, NULL, false, false}};

const struct adopt_shape adopt_shapes[ADOPT_TABLES] = {
    [ADOPT_USERS] = {"users", "users|accounts", false, user_columns},
    [ADOPT_DEVICES] = {"devices", "user_devices|devices|whatsapp_devices", true, device_columns},
    [ADOPT_LEADS] = {"leads", "leads|contacts", false, lead_columns},
    [ADOPT_CAMPAIGNS] = {"campaigns", "campaigns|broadcasts", false, campaign_columns},
    [ADOPT_SEQUENCES] = {"sequences", "sequences", false, sequence_columns},
    [ADOPT_STEPS] = {"sequence_steps", "sequence_steps|sequence_messages", false, step_columns},
    [ADOPT_MESSAGES] = {"broadcast_messages", "broadcast_messages|messages|message_queue", false,
                        message_columns},
};

/* --- lists ---------------------------------------------------------------------------- */

bool
adopt_listed(const char *list, const char *key, char *out, size_t size)
{
    size_t n = strlen(key);
    for (const char *p = list ? list : ""; *p;) {
        size_t all = strcspn(p, ",");
        if (all > n && p[n] == '=' && strncasecmp(p, key, n) == 0 && all - n - 1 < size) {
            (void)snprintf(out, size, "%.*s", (int)(all - n - 1), p + n + 1);
            return true;
        }
        p += all + (p[all] == ',');
    }
    return false;
}

bool
adopt_word(const char **list, char *out, size_t size)
{
    size_t n = strcspn(*list, "|");
    if (!n) {
        return false;
    }
    (void)snprintf(out, size, "%.*s", (int)n, *list);
    *list += n + ((*list)[n] == '|');
    return true;
}

static bool
is_among(const char *word, const char *list)
{
    char one[64];
    while (adopt_word(&list, one, sizeof one)) {
        if (strcasecmp(one, word) == 0) {
            return true;
        }
    }
    return false;
}

/* --- statuses ------------------------------------------------------------------------- */

/* A time-out is no failure: nobody knows what the other side did behind it. */
static const struct {
    enum adopt_state state;
    const char *words;
} states[] = {
    {STATE_PENDING, "pending|scheduled|waiting|new"},
    {STATE_STUCK, "processing|queued|sending|in_progress"},
    {STATE_SENT, "sent|success|delivered|read|completed|done"},
    {STATE_FAILED, "failed|error|rejected"},
    {STATE_SKIPPED, "skipped|cancelled|canceled|expired"},
    {STATE_UNKNOWN, "unknown|timeout|timed_out"},
};

bool
adopt_state_parse(const char *word, const char *overrides, enum adopt_state *ret)
{
    char ours[32];
    const char *w = adopt_listed(overrides, word, ours, sizeof ours) ? ours : word;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (is_among(w, states[i].words)) {
            *ret = states[i].state;
            return true;
        }
    }
    return false;
}

const char *
adopt_source_status(enum adopt_table t, const char *word, const char *overrides)
{
    char key[80], ours[32];
    (void)snprintf(key, sizeof key, "%s.%.60s", adopt_shapes[t].name, word);
    const char *w = adopt_listed(overrides, key, ours, sizeof ours) ? ours : word;
    if (is_among(w, "cancelled|canceled|deleted|archived")) {
        return "cancelled";
    }
    if (t == ADOPT_CAMPAIGNS && is_among(w, "finished|completed|done|sent|failed")) {
        return "finished";
    }
    return is_among(w, "draft|pending|scheduled|active|inactive|running|triggered|processing|"
                       "queued|paused|ongoing|in_progress|sending|stopped|finished|completed")
               ? "paused"
               : NULL;
}

/* --- times ---------------------------------------------------------------------------- */

static int64_t
days_before(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int
fraction_ms(const char *p)
{
    int ms = 0, unit = 100;
    for (p += *p == '.'; isdigit((unsigned char)*p); p++, unit /= 10) {
        ms += (*p - '0') * unit;
    }
    return ms;
}

bool
adopt_time(const char *text, const struct tz *zone, int64_t *ret_ms, bool *ret_left_out)
{
    int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0, date = 0, minutes = 0, seconds = 0;
    *ret_left_out = false;
    int n = sscanf(text, "%4d-%2d-%2d%n", &y, &mo, &d, &date);
    if (n != 3 || y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31) {
        return false;
    }
    const char *p = text + date;
    p += strspn(p, " T");
    n = sscanf(p, "%2d:%2d%n:%2d%n", &h, &mi, &minutes, &s, &seconds);
    if ((*p && n < 2) || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 59) {
        return false;
    }
    int64_t local = days_before(y, mo, d) * 86400 + h * 3600 + mi * 60 + s;
    int64_t utc = zone ? tz_local_to_utc(zone, local) : local;
    *ret_left_out = zone && utc + tz_offset_at(zone, utc) != local;
    *ret_ms = 1000 * utc + (n == 3 ? fraction_ms(p + seconds) : 0);
    return utc >= 0;
}

char *
adopt_time_text(int64_t ms, char out[ADOPT_TIME_SIZE])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[24] = "1970-01-01 00:00:00";
    if (gmtime_r(&s, &tm)) {
        (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    }
    (void)snprintf(out, ADOPT_TIME_SIZE, "%s.%03d", text, (int)(ms % 1000));
    return out;
}

/* --- what becomes of a message -------------------------------------------------------- */

static struct adopt_verdict
decide_pending(const struct adopt_rules *rules, const struct adopt_facts *f)
{
    if (f->has_sent_at) { /* it says two things: a person has to look */
        return (struct adopt_verdict){"unknown", "sent_at"};
    }
    if (f->obstacle) {
        return (struct adopt_verdict){"skipped", f->obstacle};
    }
    if (f->scheduled_ms + rules->max_lateness_ms < rules->now_ms) {
        return (struct adopt_verdict){"skipped", "expired"};
    }
    return (struct adopt_verdict){"pending", ""};
}

struct adopt_verdict
adopt_decide(const struct adopt_rules *rules, const struct adopt_facts *f)
{
    switch (f->state) {
    case STATE_SENT:
        return (struct adopt_verdict){"sent", ""};
    case STATE_FAILED:
        return (struct adopt_verdict){"failed", ""};
    case STATE_SKIPPED:
        return (struct adopt_verdict){"skipped", ""};
    case STATE_UNKNOWN:
        return (struct adopt_verdict){"unknown", "adopted"};
    case STATE_STUCK:
        if (rules->stuck == STATE_FAILED) {
            return (struct adopt_verdict){"failed", "stuck"};
        }
        return rules->stuck == STATE_PENDING ? decide_pending(rules, f)
                                             : (struct adopt_verdict){"unknown", "stuck"};
    case STATE_PENDING:
        break;
    }
    return decide_pending(rules, f);
}

static int
strength(const char *status)
{
    static const char *const order[] = {"skipped", "failed", "pending", "unknown", "sent"};
    for (int i = 0; i < 5; i++) {
        if (strcmp(order[i], status) == 0) {
            return i;
        }
    }
    return 5; /* in the queue: nothing may touch it */
}

struct adopt_resolution
adopt_resolve(bool keep_first, const char *first, const char *later)
{
    struct adopt_resolution r = {.winner = first};
    r.later_wins = !keep_first && strength(later) > strength(first);
    const char *loser = r.later_wins ? first : later;
    r.loser = strcmp(loser, "sent") == 0 || strcmp(loser, "failed") == 0 ? loser : "skipped";
    if (r.later_wins) {
        r.winner = later;
    } else if (strcmp(first, "pending") == 0 && strength(later) > strength(first)) {
        r.winner = strcmp(later, "sent") == 0 ? "skipped" : "unknown";
    }
    return r;
}
