#include "shared/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

/* Upper bounds of the buckets; what is above them all falls into the last one, +Inf. */
static const struct {
    int64_t us;
    const char *le; /* the same in seconds */
} bounds[METRIC_BUCKETS - 1] = {
    {1000, "0.001"}, {2000, "0.002"}, {5000, "0.005"},  {10000, "0.01"},  {20000, "0.02"},
    {50000, "0.05"}, {100000, "0.1"}, {200000, "0.2"},  {500000, "0.5"},  {1000000, "1"},
    {2000000, "2"},  {5000000, "5"},  {10000000, "10"}, {20000000, "20"}, {50000000, "50"},
};

static const char *const type_names[] = {"counter", "gauge", "histogram"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list, not of the values */
static struct metric *first;

static int64_t
get(const _Atomic int64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void
add(_Atomic int64_t *v, int64_t n)
{
    (void)atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}

static bool
ends_with_total(const char *name)
{
    size_t n = strlen(name);
    return n > 6 && strcmp(name + n - 6, "_total") == 0;
}

static const char *
labels_of(const struct metric *m)
{
    return m->labels ? m->labels : "";
}

void
metric_register(struct metric *m)
{
    assert(ends_with_total(m->name) == (m->type == METRIC_COUNTER));
    (void)pthread_mutex_lock(&lock);
    struct metric **at = &first, **after_name = NULL;
    for (; *at; at = &(*at)->next) {
        if (strcmp((*at)->name, m->name) == 0) {
            assert((*at)->type == m->type && strcmp(labels_of(*at), labels_of(m)) != 0);
            after_name = &(*at)->next;
        }
    }
    at = after_name ? after_name : at; /* series of one name stay together, whoever comes between */
    m->next = *at;
    *at = m;
    (void)pthread_mutex_unlock(&lock);
}

void
metric_add(struct metric *m, int64_t n)
{
    add(&m->value, n);
}

void
metric_set(struct metric *m, int64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

void
metric_observe_us(struct metric *m, int64_t us)
{
    size_t i = 0;
    us = us < 0 ? 0 : us;
    while (i < METRIC_BUCKETS - 1 && us > bounds[i].us) {
        i++;
    }
    add(&m->bucket[i], 1);
    add(&m->sum_us, us);
    add(&m->value, 1);
}

static void
print_head(struct buf *out, const struct metric *m)
{
    buf_addf(out, "# HELP %s ", m->name);
    for (const char *p = m->help; *p; p++) {
        switch (*p) {
        case '\n':
            buf_adds(out, "\\n");
            break;
        case '\\':
            buf_adds(out, "\\\\");
            break;
        default:
            buf_add(out, p, 1);
        }
    }
    buf_addf(out, "\n# TYPE %s %s\n", m->name, type_names[m->type]);
}

/* "name_suffix{labels} ", without braces when there are no labels. */
static void
print_series(struct buf *out, const struct metric *m, const char *suffix)
{
    buf_addf(out, *labels_of(m) ? "%s%s{%s} " : "%s%s%s ", m->name, suffix, labels_of(m));
}

/* The count is taken from the buckets, so that it equals the last of them even while others
 * observe. */
static void
print_histogram(struct buf *out, const struct metric *m)
{
    int64_t count = 0, sum_us = get(&m->sum_us);
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        count += get(&m->bucket[i]);
        buf_addf(out, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", m->name, labels_of(m),
                 *labels_of(m) ? "," : "", i < METRIC_BUCKETS - 1 ? bounds[i].le : "+Inf", count);
    }
    print_series(out, m, "_sum");
    buf_addf(out, "%" PRId64 ".%06d\n", sum_us / 1000000, (int)(sum_us % 1000000));
    print_series(out, m, "_count");
    buf_addf(out, "%" PRId64 "\n", count);
}

void
metrics_print(struct buf *out)
{
    (void)pthread_mutex_lock(&lock);
    const char *name = "";
    for (const struct metric *m = first; m; m = m->next) {
        if (strcmp(m->name, name) != 0) {
            name = m->name;
            print_head(out, m);
        }
        if (m->type == METRIC_HISTOGRAM) {
            print_histogram(out, m);
        } else {
            print_series(out, m, "");
            buf_addf(out, "%" PRId64 "\n", get(&m->value));
        }
    }
    (void)pthread_mutex_unlock(&lock);
}
