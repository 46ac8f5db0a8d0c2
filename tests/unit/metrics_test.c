#include "shared/metrics.h"
#include "tests/harness/t.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct buf printed;

static const char *
print(void)
{
    buf_clear(&printed);
    metrics_print(&printed);
    return printed.data ? printed.data : "";
}

TEST(counters_and_gauges_are_printed_with_one_head_a_name)
{
    static struct metric sent = {.name = "x_total",
                                 .help = "How many.",
                                 .labels = "outcome=\"sent\"",
                                 .type = METRIC_COUNTER};
    static struct metric depth = {
        .name = "x_depth", .help = "A \\ and a\nbreak.", .type = METRIC_GAUGE};
    static struct metric lost = {.name = "x_total",
                                 .help = "How many.",
                                 .labels = "outcome=\"lost\"",
                                 .type = METRIC_COUNTER};
    CHECK_STR("", print());
    metric_register(&sent);
    metric_register(&depth);
    metric_register(&lost);
    metric_add(&sent, 3);
    metric_add(&sent, 4);
    metric_set(&depth, 9);
    metric_set(&depth, -2);
    CHECK_STR("# HELP x_total How many.\n"
              "# TYPE x_total counter\n"
              "x_total{outcome=\"sent\"} 7\n"
              "x_total{outcome=\"lost\"} 0\n"
              "# HELP x_depth A \\\\ and a\\nbreak.\n"
              "# TYPE x_depth gauge\n"
              "x_depth -2\n",
              print());
    buf_done(&printed);
}

TEST(a_histogram_is_cumulative_and_in_seconds)
{
    static struct metric h = {.name = "x_seconds", .help = "How long.", .type = METRIC_HISTOGRAM};
    metric_register(&h);
    metric_observe_us(&h, 0);
    metric_observe_us(&h, -5);      /* a clock's slip counts as nothing */
    metric_observe_us(&h, 1000);    /* bounds are inclusive */
    metric_observe_us(&h, 1001);    /* .. and this is just above */
    metric_observe_us(&h, 1500000); /* 1.5 s */
    metric_observe_us(&h, 50000001);
    CHECK_STR("# HELP x_seconds How long.\n"
              "# TYPE x_seconds histogram\n"
              "x_seconds_bucket{le=\"0.001\"} 3\n"
              "x_seconds_bucket{le=\"0.002\"} 4\n"
              "x_seconds_bucket{le=\"0.005\"} 4\n"
              "x_seconds_bucket{le=\"0.01\"} 4\n"
              "x_seconds_bucket{le=\"0.02\"} 4\n"
              "x_seconds_bucket{le=\"0.05\"} 4\n"
              "x_seconds_bucket{le=\"0.1\"} 4\n"
              "x_seconds_bucket{le=\"0.2\"} 4\n"
              "x_seconds_bucket{le=\"0.5\"} 4\n"
              "x_seconds_bucket{le=\"1\"} 4\n"
              "x_seconds_bucket{le=\"2\"} 5\n"
              "x_seconds_bucket{le=\"5\"} 5\n"
              "x_seconds_bucket{le=\"10\"} 5\n"
              "x_seconds_bucket{le=\"20\"} 5\n"
              "x_seconds_bucket{le=\"50\"} 5\n"
              "x_seconds_bucket{le=\"+Inf\"} 6\n"
              "x_seconds_sum 51.502002\n"
              "x_seconds_count 6\n",
              print());
    buf_done(&printed);
}

TEST(a_histograms_labels_stand_beside_le)
{
    static struct metric h = {.name = "x_seconds",
                              .help = "How long.",
                              .labels = "op=\"claim\"",
                              .type = METRIC_HISTOGRAM};
    metric_register(&h);
    metric_observe_us(&h, 7);
    CHECK(strstr(print(), "\nx_seconds_bucket{op=\"claim\",le=\"0.001\"} 1\n"));
    CHECK(strstr(printed.data, "\nx_seconds_sum{op=\"claim\"} 0.000007\n"));
    CHECK(strstr(printed.data, "\nx_seconds_count{op=\"claim\"} 1\n"));
    buf_done(&printed);
}

static struct metric shared_count = {
    .name = "x_total", .help = "How many.", .type = METRIC_COUNTER};
static struct metric shared_time = {
    .name = "x_seconds", .help = "How long.", .type = METRIC_HISTOGRAM};
static pthread_barrier_t together;
enum { ROUNDS = 200000, THREADS = 3 };

static void *
count_up(void *arg)
{
    (void)arg;
    (void)pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(&shared_count, 1);
        metric_observe_us(&shared_time, i % 60000000);
    }
    return NULL;
}

/* The number behind a series' name, as a scraper would read it. */
static long long
value_of(const char *text, const char *series)
{
    const char *p = strstr(text, series);
    long long v = -1;
    CHECK(p && sscanf(p + strlen(series), " %lld", &v) == 1);
    return v;
}

TEST(threads_lose_no_count_and_every_print_is_consistent)
{
    pthread_t threads[THREADS];
    CHECK_INT(0, pthread_barrier_init(&together, NULL, THREADS));
    metric_register(&shared_count);
    metric_register(&shared_time);
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(0, pthread_create(&threads[i], NULL, count_up, NULL));
    }
    long long before = 0;
    for (int i = 0; i < 200; i++) {
        const char *text = print();
        long long inf = value_of(text, "x_seconds_bucket{le=\"+Inf\"}");
        CHECK_INT(inf, value_of(text, "x_seconds_count"));
        CHECK(inf >= value_of(text, "x_seconds_bucket{le=\"0.02\"}"));
        CHECK(value_of(text, "\nx_total") >= before);
        before = value_of(text, "\nx_total");
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(0, pthread_join(threads[i], NULL));
    }
    CHECK_INT(ROUNDS * THREADS, value_of(print(), "\nx_total"));
    CHECK_INT(ROUNDS * THREADS, value_of(printed.data, "x_seconds_count"));
    CHECK_INT(ROUNDS * THREADS, shared_time.value);
    buf_done(&printed);
}

/* Registers both in a child process; true when that was refused by an abort. */
static bool
is_refused(struct metric *a, struct metric *b)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)close(STDERR_FILENO); /* the assertion's own words */
        (void)signal(SIGABRT, SIG_DFL);
        metric_register(a);
        metric_register(b);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

TEST(what_a_scraper_would_refuse_cannot_be_registered)
{
    static struct metric a = {.name = "x_total", .help = "How many.", .type = METRIC_COUNTER};
    static struct metric other = {.name = "y_total", .help = "How many.", .type = METRIC_COUNTER};
    static struct metric twin = {.name = "x_total", .help = "How many.", .type = METRIC_COUNTER};
    static struct metric gauge = {
        .name = "x_total", .help = "How many.", .labels = "a=\"b\"", .type = METRIC_GAUGE};
    static struct metric unnamed = {.name = "x_sent", .help = "How many.", .type = METRIC_COUNTER};
    CHECK(!is_refused(&a, &other));
    CHECK(is_refused(&a, &a));
    CHECK(is_refused(&a, &twin));
    CHECK(is_refused(&a, &gauge));
    CHECK(is_refused(&a, &unnamed));
}
