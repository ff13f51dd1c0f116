/* A cheap child for the benchmarks.
 *
 *   child lines N [LINE_BYTES]        N lines of words to stderr, in blocks of 64 KiB
 *   child log N [LINE_BYTES]          the same with time, program and level in front, as logs have it
 *   child writes N [LINE_BYTES]       N lines to stderr, one write(2) each
 *   child paced N MICROSECONDS        N lines with a CLOCK_REALTIME stamp in ns, one each so many microseconds
 *   child spread N MILLISECONDS       N lines evenly over so much time
 *   child long N LINE_BYTES           N lines of so many bytes
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *WORDS[] = {
    "checkpoint", "complete", "wrote", "buffers", "file", "segment", "transfer", "worker", "started", "finished",
    "request", "handled", "path", "connection", "received", "from", "host", "at", "position", "record", "block", "index",
    "scan", "table", "limit", "process", "reading", "writing", "data"};

static void put(const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(2, data, size);
        if (n <= 0) exit(1);
        data += n;
        size -= (size_t)n;
    }
}

/* Line number `i`, exactly `size` bytes with its newline. */
static void make(char *out, size_t size, unsigned i, int log) {
    char line[512];
    int n = log ? snprintf(line, sizeof line, "2026-11-22 14:%02u:%02u pg_tool[4711]: info: ", i / 60 % 60, i % 60)
                : snprintf(line, sizeof line, "step %u of %u ", i, 819);
    unsigned r = i * 2654435761u;
    while ((size_t)n < size && (size_t)n < sizeof line - 16) {
        n += snprintf(line + n, sizeof line - (size_t)n, "%s ", WORDS[r % 29]);
        r = r * 1664525u + 1013904223u;
    }
    for (size_t k = 0; k + 1 < size; k++) out[k] = line[k % (size_t)n];
    out[size - 1] = '\n';
}

static void nap(long ns) {
    struct timespec t = {ns / 1000000000L, ns % 1000000000L};
    nanosleep(&t, NULL);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long count = argc > 2 ? atol(argv[2]) : 0;
    long arg = argc > 3 ? atol(argv[3]) : 80;
    if (!strcmp(what, "lines") || !strcmp(what, "log") || !strcmp(what, "writes")) {
        enum { DISTINCT = 819 };
        size_t size = (size_t)arg;
        char *block = malloc(DISTINCT * size);
        for (unsigned i = 0; i < DISTINCT; i++) make(block + i * size, size, i, !strcmp(what, "log"));
        if (!strcmp(what, "writes")) {
            for (long i = 0; i < count; i++) put(block + (size_t)(i % DISTINCT) * size, size);
        } else {
            for (; count >= DISTINCT; count -= DISTINCT) put(block, DISTINCT * size);
            put(block, (size_t)count * size);
        }
    } else if (!strcmp(what, "paced") || !strcmp(what, "spread")) {
        long pause = !strcmp(what, "paced") ? arg * 1000L : arg * 1000000L / (count ? count : 1);
        for (long i = 0; i < count; i++) {
            char line[64];
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            int n = snprintf(line, sizeof line, "%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
            put(line, (size_t)n);
            nap(pause);
        }
    } else if (!strcmp(what, "long")) {
        char *line = malloc((size_t)arg);
        memset(line, 'x', (size_t)arg);
        line[arg - 1] = '\n';
        for (long i = 0; i < count; i++) put(line, (size_t)arg);
    } else {
        return 2;
    }
    return 0;
}
