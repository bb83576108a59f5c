/* A stand-in for NVIDIA's libnvidia-ml.so.1: answers what a scene file says (tests/fakes/nvml.py writes it).
 *
 * A line is "CALL@DEVICE CODE VALUES...", or "CALL CODE VALUES..." for every device. What the scene does not mention is
 * not supported (3). CODE -1 never returns, as a call into a driver that hangs. Events are handed out once each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SCENE
#define SCENE "/dev/null"
#endif
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define TIMEOUT 10
#define MIG 100 /* handles: a GPU's number + 1; of its MIG instances, MIG + number + 1 */

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned pid; u64 bytes; unsigned gpu_instance, compute_instance; } process_t;
typedef struct { void *device; u64 type, data; unsigned gpu_instance, compute_instance; } event_t;

static char text[4096];

/* The code; the values are left in `text`. */
static int look(const char *call, void *device) {
    char wanted[64], line[4096], name[64];
    long number = (long)device - 1;
    const char *path = getenv("FAKE_NVML_SCENE");
    FILE *scene = fopen(path ? path : SCENE, "r");
    int code = NOT_SUPPORTED, found, at;
    text[0] = 0;
    if (!device) strcpy(wanted, call);
    else if (number >= MIG) snprintf(wanted, sizeof wanted, "%s@mig%ld", call, number - MIG);
    else snprintf(wanted, sizeof wanted, "%s@%ld", call, number);
    while (scene && fgets(line, sizeof line, scene)) {
        if (sscanf(line, "%63s %d %n", name, &found, &at) < 2) continue;
        if (strcmp(name, wanted) && strcmp(name, call)) continue;
        code = found;
        strcpy(text, line + at);
        text[strcspn(text, "\n")] = 0;
        if (!strcmp(name, wanted)) break;
    }
    if (scene) fclose(scene);
    while (code == -1) pause();
    return code;
}

static int number(const char *call, void *device, unsigned *into) {
    int code = look(call, device);
    *into = strtoul(text, NULL, 10);
    return code;
}

static int words(const char *call, void *device, char *into, unsigned size) {
    int code = look(call, device);
    snprintf(into, size, "%s", text);
    return code;
}

int nvmlInitWithFlags(unsigned flags) { return look("init", NULL); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "as the scene says"; }
int nvmlDeviceGetCount_v2(unsigned *count) { return number("count", NULL, count); }
int nvmlSystemGetDriverVersion(char *into, unsigned size) { return words("driver", NULL, into, size); }
int nvmlSystemGetCudaDriverVersion_v2(unsigned *version) { return number("cuda", NULL, version); }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    int code = look("capability", device);
    sscanf(text, "%d %d", major, minor);
    return code;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(long)(index + 1);
    return look("handle", *device) == NOT_SUPPORTED ? 0 : look("handle", *device);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    char own[128];
    for (long each = 1; each <= MIG + 8; each++) {
        if (!words("uuid", (void *)each, own, sizeof own) && !strcmp(own, uuid)) { *device = (void *)each; return 0; }
    }
    return NOT_FOUND;
}
int nvmlDeviceGetIndex(void *device, unsigned *index) { *index = (long)device - 1; return 0; }
int nvmlDeviceGetName(void *device, char *into, unsigned size) { return words("name", device, into, size); }
int nvmlDeviceGetUUID(void *device, char *into, unsigned size) { return words("uuid", device, into, size); }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *into) {
    int code = look("memory", device);
    sscanf(text, "%llu %llu", &into->total, &into->used);
    into->free = into->total - into->used;
    return code;
}
int nvmlDeviceGetUtilizationRates(void *device, utilization_t *into) {
    int code = look("utilization", device);
    sscanf(text, "%u %u", &into->gpu, &into->memory);
    return code;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *into) { return number("power", device, into); }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *into) { return number("power_limit", device, into); }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *into) { return number("temperature", device, into); }
int nvmlDeviceGetTotalEccErrors(void *device, int kind, int since, u64 *into) {
    int code = look(kind ? "ecc_uncorrected" : "ecc_corrected", device);
    *into = strtoull(text, NULL, 10);
    return code;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, u64 *into) {
    int code = look("throttle", device);
    *into = strtoull(text, NULL, 0);
    return code;
}
/* Pairs of process and bytes; pid 0 stands for whoever asks. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *into) {
    int code = look("processes", device), read = 0;
    unsigned room = *count, pid;
    u64 bytes;
    char *at = text;
    for (*count = 0; !code && sscanf(at, "%u %llu%n", &pid, &bytes, &read) == 2; at += read, ++*count) {
        if (into && *count < room) into[*count] = (process_t){pid ? pid : (unsigned)getpid(), bytes, 0, 0};
    }
    return code ? code : *count > room ? INSUFFICIENT_SIZE : 0;
}
int nvmlEventSetCreate(void **events) { *events = calloc(1, sizeof(long) * 2); return look("events", NULL); }
int nvmlEventSetFree(void *events) { return 0; }
int nvmlDeviceRegisterEvents(void *device, u64 types, void *events) {
    ((long *)events)[0] = (long)device;
    return look("events", NULL);
}
int nvmlEventSetWait_v2(void *events, event_t *into, unsigned milliseconds) {
    long *state = events;
    int code = look("xids", (void *)state[0]);
    char *at = text;
    if (code) return code == NOT_SUPPORTED ? TIMEOUT : code;
    for (long handed = 0; handed < state[1]; handed++) strtoul(at, &at, 10);
    if (!strtoul(at, NULL, 10)) return TIMEOUT;
    *into = (event_t){(void *)state[0], 8, strtoul(at, NULL, 10), 0, 0};
    state[1]++;
    return 0;
}
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *later) { *later = 0; return number("mig", device, now); }
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **into) {
    char own[128];
    *into = (void *)(long)(MIG + index + 1);
    return words("uuid", *into, own, sizeof own) ? NOT_FOUND : 0;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *device, void **whole) { *whole = (void *)1; return 0; }
int nvmlDeviceGetGpuInstanceId(void *device, unsigned *id) { *id = (long)device - 1 - MIG; return 0; }
int nvmlDeviceGetComputeInstanceId(void *device, unsigned *id) { *id = 0; return 0; }
