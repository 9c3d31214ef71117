/* Settings from the environment, the seeded generator, and the report of faults. */
#include "tests/cudasim/sim.h"

#include "tests/cudasim/results.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Settings settings;
static int64_t n_reports, n_waits;
static uint64_t random_state;

static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text && text[0] ? strtoll(text, NULL, 10) : otherwise;
}

/* CUDA_VISIBLE_DEVICES, as the driver reads it: numbers up to the first that is none. */
static void devices_shown(void) {
    const char *text = getenv("CUDA_VISIBLE_DEVICES");
    int there = settings.devices, n = 0;
    for (int i = 0; i < MAX_DEVICES; i++) {
        settings.shown[i] = i;
    }
    while (text && n < MAX_DEVICES) {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || number < 0 || number >= there) {
            break;
        }
        settings.shown[n++] = (int)number;
        text = *end == ',' ? end + 1 : "";
    }
    settings.devices = text ? n : there;
}

void settings_read(void) {
    settings.devices = (int)setting("DLC_CUDASIM_DEVICES", 1);
    settings.devices = settings.devices < 0             ? 0
                       : settings.devices > MAX_DEVICES ? MAX_DEVICES
                                                        : settings.devices;
    devices_shown();
    settings.arch = (int)setting("DLC_CUDASIM_ARCH", 90);
    settings.driver = (int)setting("DLC_CUDASIM_DRIVER", 13000);
    settings.memory = (uint64_t)setting("DLC_CUDASIM_MEMORY", 4096) << 20;
    settings.seed = (uint64_t)setting("DLC_CUDASIM_SEED", 1);
    settings.switch_every = (int)setting("DLC_CUDASIM_SWITCH", 0);
    settings.fail_call = setting("DLC_CUDASIM_FAIL_CALL", 0);
    settings.fail_result = (int)setting("DLC_CUDASIM_FAIL_RESULT", SIM_UNKNOWN);
    settings.leave_out = setting("DLC_CUDASIM_LEAVE_OUT", 0);
    n_waits = 0;
    settings.report = getenv("DLC_CUDASIM_REPORT");
    settings.fork = getenv("DLC_CUDASIM_FORK");
    settings.fork = settings.fork && settings.fork[0] ? settings.fork : NULL;
    settings.trace = setting("DLC_CUDASIM_TRACE", 0) != 0;
    const char *order = getenv("DLC_CUDASIM_ORDER");
    settings.order = order && !strcmp(order, "latest")     ? ORDER_LATEST
                     : order && !strcmp(order, "earliest") ? ORDER_EARLIEST
                                                           : ORDER_RANDOM;
    random_state = settings.seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
}

/* splitmix64 */
uint64_t sim_random(uint64_t below) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return below ? (uint64_t)(((unsigned __int128)z * below) >> 64) : z;
}

static void print(const char *before, const char *format, va_list list) {
    FILE *file = settings.report && settings.report[0] ? fopen(settings.report, "a") : stderr;
    if (!file) {
        file = stderr;
    }
    fputs(before, file);
    vfprintf(file, format, list);
    fputc('\n', file);
    if (file != stderr) {
        fclose(file);
    }
}

void report(const char *format, ...) {
    n_reports++;
    va_list list;
    va_start(list, format);
    print("cudasim: ", format, list);
    va_end(list);
}

void report_more(const char *format, ...) {
    va_list list;
    va_start(list, format);
    print("cudasim:   ", format, list);
    va_end(list);
}

bool wait_is_left_out(const char *format, ...) {
    bool left_out = ++n_waits == settings.leave_out;
    if (left_out) {
        va_list list;
        va_start(list, format);
        print("cudasim:   left out: ", format, list);
        va_end(list);
    }
    return left_out;
}

int64_t wait_count(void) {
    return n_waits;
}

int64_t report_count(void) {
    return n_reports;
}
