/* clock.c -- a wall clock that goes wrong, or fast, for one process and its threads: LD_PRELOAD of the tests and
 * the demo.  PACELINE_TEST_CLOCK="offset" or "offset,rate,origin": the clock shows
 *
 *     origin + (now - origin) * rate + offset        seconds; origin in seconds since 1970
 *
 * CLOCK_MONOTONIC is left alone: time-outs and pacing keep their pace.  It calls the kernel directly, so that
 * allocators that ask for the time while they start are served too. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double offset, rate = 1, origin;

__attribute__((constructor)) static void
start(void)
{
    const char *text = getenv("PACELINE_TEST_CLOCK");
    char *end = NULL;
    if (!text) {
        return;
    }
    offset = strtod(text, &end);
    if (*end == ',') {
        rate = strtod(end + 1, &end);
    }
    if (*end == ',') {
        origin = strtod(end + 1, &end);
    }
}

int
clock_gettime(clockid_t which, struct timespec *ret)
{
    int code = (int)syscall(SYS_clock_gettime, which, ret);
    if (code == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        /* Split, since a double has no nanoseconds left beside seconds since 1970. */
        double past = ((double)ret->tv_sec - origin) + (double)ret->tv_nsec / 1e9;
        double shown = rate == 1 ? offset : past * (rate - 1) + offset;
        double whole = (double)(long long)shown;
        long long ns = ret->tv_nsec + (long long)((shown - whole) * 1e9);
        ret->tv_sec += (time_t)whole + (time_t)(ns >= 1000000000) - (time_t)(ns < 0);
        ret->tv_nsec = (long)((ns + 1000000000) % 1000000000);
    }
    return code;
}

int
gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    ret->tv_sec = now.tv_sec;
    ret->tv_usec = now.tv_nsec / 1000;
    return code;
}

time_t
time(time_t *ret)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret) {
        *ret = now.tv_sec;
    }
    return now.tv_sec;
}
