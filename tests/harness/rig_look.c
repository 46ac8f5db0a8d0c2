/* rig_look.c -- what Redis holds: looks past the queue, and checks of the keys against each other.
 */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
text_or_nothing(const char *s)
{
    return strcmp(s, "(nil)") == 0 ? "" : s;
}

const char *
rig_state(struct rig *r, uint64_t device, const char *id)
{
    unsigned p = queue_partition(r->q, device);
    return text_or_nothing(
        redis_do(&r->server, "HGET pl:{p%02u}:d:%" PRIu64 ":ids %s", p, device, id));
}

const char *
rig_field(struct rig *r, uint64_t device, const char *field)
{
    unsigned p = queue_partition(r->q, device);
    return text_or_nothing(
        redis_do(&r->server, "HGET pl:{p%02u}:d:%" PRIu64 " %s", p, device, field));
}

int64_t
rig_field_num(struct rig *r, uint64_t device, const char *field)
{
    const char *s = rig_field(r, device, field);
    return *s ? strtoll(s, NULL, 10) : 0;
}

int64_t
rig_ready(struct rig *r, uint64_t device)
{
    unsigned p = queue_partition(r->q, device);
    return redis_num(&r->server, "ZSCORE pl:{p%02u}:ready %" PRIu64, p, device);
}

const char *
rig_dump(struct rig *r)
{
    return redis_dump(&r->server, "pl:*");
}

/* The entry of a waiting or leased job must be there, and be this job's. */
static bool
check_entry(struct rig *r, uint64_t device, const struct queue_id *id)
{
    char letter, entry[40];
    unsigned long long gen;
    CHECK_INT(3, sscanf(id->state, "%c %llu %39s", &letter, &gen, entry));
    if (strcmp(entry, "-") == 0) {
        return false;
    }
    unsigned p = queue_partition(r->q, device);
    char *want = xasprintf("[%s [id %s gen %llu ", entry, id->id, gen);
    const char *got =
        redis_do(&r->server, "XRANGE pl:{p%02u}:d:%" PRIu64 ":jobs %s %s", p, device, entry, entry);
    if (strncmp(want, got, strlen(want)) != 0) {
        t_fail(__FILE__, __LINE__, "%s is \"%s\", its entry %s", id->id, id->state, got);
    }
    free(want);
    return true;
}

static void
check_ready(struct rig *r, uint64_t device, int64_t in_flight, int64_t entries)
{
    int64_t room = strtoll(rig_field(r, device, "max_in_flight"), NULL, 10);
    bool ready =
        !*rig_field(r, device, "paused") && in_flight < (room ? room : 1) && entries > in_flight;
    CHECK_INT(ready ? rig_field_num(r, device, "next") : -1, rig_ready(r, device));
}

/* How many leases the partition holds for this device. */
static int64_t
count_leases(struct rig *r, uint64_t device)
{
    unsigned p = queue_partition(r->q, device);
    char *list = xstrdup(redis_do(&r->server, "ZRANGE pl:{p%02u}:leases 0 -1", p));
    char *rest = list, *member;
    int64_t n = 0;
    while ((member = strsep(&rest, " ")) != NULL) {
        n += *member && strtoull(member, NULL, 10) == device ? 1 : 0;
    }
    free(list);
    return n;
}

void
rig_check_device(struct rig *r, uint64_t device)
{
    struct queue_ids ids = {.n = 0};
    bool live = false;
    unsigned p = queue_partition(r->q, device);
    int64_t flying = 0, entries = 0;
    CHECK_RUN(ERR_NONE, r, ids, device, &ids);
    for (size_t i = 0; i < ids.n; i++) {
        char letter = *ids.ids[i].state;
        int64_t lease = redis_num(&r->server, "ZSCORE pl:{p%02u}:leases %" PRIu64 "/%s", p, device,
                                  ids.ids[i].id);
        bool held = letter == 'L' || letter == 'P';
        live = live || held || letter == 'S' || letter == 'W';
        CHECK(strchr("SWLPDRU", letter));
        CHECK_INT(held, lease > 0);
        flying += held ? 1 : 0;
        entries += (held || letter == 'W') && check_entry(r, device, &ids.ids[i]) ? 1 : 0;
    }
    free(ids.ids);
    CHECK_INT(flying, rig_field_num(r, device, "in_flight"));
    CHECK_INT(flying, count_leases(r, device));
    CHECK_INT(entries, redis_num(&r->server, "XLEN pl:{p%02u}:d:%" PRIu64 ":jobs", p, device));
    check_ready(r, device, flying, entries);
    if (live) { /* it must be found by whoever looks for work, and keep its pace */
        CHECK_INT(1, redis_num(&r->server, "SISMEMBER pl:{p%02u}:devices %" PRIu64, p, device));
    }
    if (entries) {
        CHECK_INT(-1, redis_num(&r->server, "PTTL pl:{p%02u}:d:%" PRIu64, p, device));
    }
}
