#include "ctl/inlet_plan.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

#define RECIPIENT "{\"uuid\": \"u1\", \"name\": \"N\", \"attribs\": {\"phone\": \"012-345 6789\"}}"

static struct inlet_plan plan;

static void
make(uint64_t user, const char *json)
{
    struct inlet_settings s = {user, "60", "phone"};
    CHECK_OK(inlet_plan(&s, json, strlen(json), &plan, e));
}

/* The id of the only recipient. */
static const char *
job_id(uint64_t user, const char *json)
{
    static char id[JOB_ID_SIZE];
    make(user, json);
    CHECK_INT(1, plan.n);
    (void)snprintf(id, sizeof id, "%s", plan.rows[0].job_id);
    inlet_plan_done(&plan);
    return id;
}

/* Another version or host must give the same ids, or what it is posted again is written again. */
TEST(job_ids_stay_what_they_are)
{
    CHECK_STR(
        "lm-3c0d41adae3a04eea137e7454a95a6cc",
        job_id(1, "{\"body\": \"x\", \"campaign\": {\"uuid\": \"c1\"}, \"recipients\": [" RECIPIENT
                  "]}"));
    CHECK_STR("lm-6d4bcc21d4324f53a3923e8fd7f956a7",
              job_id(1, "{\"body\": \"x\", \"campaign\": null, \"recipients\": [" RECIPIENT "]}"));
}

TEST(job_ids_tell_users_campaigns_recipients_and_texts_apart)
{
    static const char *const posts[] = {
        "{\"body\": \"x\", \"campaign\": {\"uuid\": \"c1\"}, \"recipients\": [" RECIPIENT "]}",
        "{\"body\": \"x\", \"campaign\": {\"uuid\": \"c1u\"}, \"recipients\": [{\"uuid\": \"1\"}]}",
        "{\"body\": \"x\", \"campaign\": {\"uuid\": \"c1\"}, \"recipients\": [{\"uuid\": \"u2\"}]}",
        "{\"body\": \"x\", \"recipients\": [" RECIPIENT "]}",
        "{\"body\": \"y\", \"recipients\": [" RECIPIENT "]}",
        "{\"body\": \"x\", \"recipients\": [{\"attribs\": {\"phone\": \"60123456789\"}}]}",
        "{\"body\": \"x\", \"recipients\": [{\"attribs\": {\"phone\": 60123456780}}]}",
    };
    enum { N = sizeof posts / sizeof *posts };
    char ids[2 * N][JOB_ID_SIZE];
    for (size_t i = 0; i < 2 * (size_t)N; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "%s", job_id(1 + i / N, posts[i % N]));
        for (size_t k = 0; k < i; k++) {
            CHECK(strcmp(ids[i], ids[k]) != 0);
        }
    }
    CHECK_STR(ids[0], job_id(1, "{\"body\": \"another text\", \"campaign\": {\"uuid\": \"c1\"}, "
                                "\"recipients\": [" RECIPIENT "], \"subject\": \"s\"}"));
}

TEST(the_text_is_no_template_any_more)
{
    make(1, "{\"body\": \"{a|b} \\\\ {{x}}\", \"recipients\": [" RECIPIENT "]}");
    CHECK_STR("\\{a\\|b\\} \\\\ \\{\\{x\\}\\}", plan.content.data);
    CHECK_STR("60123456789", plan.rows[0].phone);
    CHECK_STR("u1", plan.rows[0].label);
    CHECK(plan.rows[0].planned && plan.rows[0].fate == INLET_WRITE && !plan.rows[0].device);
    inlet_plan_done(&plan);
}

TEST(each_recipient_has_a_fate_of_its_own)
{
    make(1, "{\"body\": \"x\", \"recipients\": [" RECIPIENT ", {\"email\": \"a@b\", \"status\": "
            "\"blocklisted\"}, {}, {\"attribs\": {\"phone\": \"60123456789\", \"device\": 7}}]}");
    CHECK_INT(4, plan.n);
    CHECK_INT(INLET_WRITE, plan.rows[0].fate);
    CHECK_INT(INLET_SKIPPED, plan.rows[1].fate);
    CHECK_STR("a@b", plan.rows[1].label);
    CHECK_INT(INLET_BAD, plan.rows[2].fate);
    CHECK_STR("#3", plan.rows[2].label);
    CHECK_STR("no phone: attribs.phone is missing", plan.rows[2].why);
    CHECK_STR("7", plan.rows[3].device);
    inlet_plan_done(&plan);
}
