/* CUDA's driver library without a GPU, as strict as it can be: what is enqueued runs when the stream is
 * waited for, copies must lie within live allocations of the right side, and every handle is counted.
 * Settings come from the environment: FAKE_GPUS, FAKE_INTEGRATED, FAKE_NO_CAPTURE. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*kernel)(void *);
typedef struct { int kind; char *to; const char *from; size_t size; kernel run; void *argument; } work;
typedef struct { work *items; int count; } queue;
typedef struct { queue waiting, captured; int capturing; } stream;
typedef struct { int happened; float at; } event;
enum { TO_GPU, TO_HOST, KERNEL, RECORD };
/* Milliseconds that each takes on the GPU's clock. */
static const float duration[] = {3, 1, 5, 0};
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
       NOT_READY = 600, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900 };

/* Live allocations: side 0 is the GPU's, 1 the host's. */
#define MOST 4096
static struct { char *start; size_t size; int side; } allocations[MOST];
static atomic_int handles, retained;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int depth;
static int next_failure;
static float now;

static int setting(const char *name) { const char *v = getenv(name); return v ? atoi(v) : 0; }

int fake_live(void) {
    int found = handles;
    for (int i = 0; i < MOST; i++) found += allocations[i].start != NULL;
    return found;
}
int fake_capturing(stream *s) { return s->capturing; }
int fake_depth(void) { return depth; }
int fake_retained(void) { return retained; }
/* Of the GPU's memory. */
void fake_fail_next_allocation(void) { next_failure = 1; }

static int allocate(char **place, size_t size, int side) {
    if (!depth) return INVALID_CONTEXT;
    if (next_failure && side == 0) { next_failure = 0; return OUT_OF_MEMORY; }
    int code = OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && code; i++)
        if (!allocations[i].start) {
            allocations[i].start = *place = malloc(size);
            memset(*place, 0xEE, size);
            allocations[i].size = size;
            allocations[i].side = side;
            code = OK;
        }
    pthread_mutex_unlock(&lock);
    return code;
}
static int release(char *place, int side) {
    int code = INVALID_VALUE;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && code; i++)
        if (allocations[i].start == place && allocations[i].side == side && place) {
            free(place);
            allocations[i].start = NULL;
            code = OK;
        }
    pthread_mutex_unlock(&lock);
    return code;
}
static int within(const char *place, size_t size, int side) {
    for (int i = 0; i < MOST; i++)
        if (allocations[i].start && allocations[i].side == side && place >= allocations[i].start &&
            place + size <= allocations[i].start + allocations[i].size)
            return 1;
    return 0;
}
static int enqueue(stream *s, work item) {
    if (!depth) return INVALID_CONTEXT;
    queue *q = s->capturing ? &s->captured : &s->waiting;
    q->items = realloc(q->items, (q->count + 1) * sizeof(work));
    q->items[q->count++] = item;
    return OK;
}

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : setting("FAKE_GPUS") ? OK : NO_DEVICE; }
int cuGetErrorString(int code, const char **text) {
    *text = code == OUT_OF_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected"
          : code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
          : code == CAPTURE_UNSUPPORTED ? "operation not permitted when stream is capturing" : NULL;
    return *text ? OK : INVALID_VALUE;
}
int cuDriverGetVersion(int *version) { *version = 13010; return OK; }
int cuDeviceGetCount(int *count) { *count = setting("FAKE_GPUS"); return OK; }
int cuDeviceGet(int *device, int number) { *device = 7; return number ? INVALID_VALUE : OK; }
int cuDeviceGetName(char *name, int size, int device) {
    if (device != 7 || size < 16) return INVALID_VALUE;
    strcpy(name, "Fake GPU");
    return OK;
}
int cuDeviceGetAttribute(int *value, int number, int device) {
    if (device != 7) return INVALID_VALUE;
    *value = number == 75 ? 8 : number == 76 ? 9 : number == 19 ? 1 : number == 18 ? setting("FAKE_INTEGRATED") : -1;
    return *value < 0 ? INVALID_VALUE : OK;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device != 7) return INVALID_VALUE;
    retained++;
    *context = &retained;
    return OK;
}
int cuCtxPushCurrent_v2(void *context) { if (context != &retained) return INVALID_CONTEXT; depth++; return OK; }
int cuCtxPopCurrent_v2(void **context) { if (!depth) return INVALID_CONTEXT; depth--; *context = &retained; return OK; }

int cuMemAlloc_v2(uint64_t *place, size_t size) { return allocate((char **)place, size, 0); }
int cuMemFree_v2(uint64_t place) { return release((char *)place, 0); }
int cuMemHostAlloc(void **place, size_t size, unsigned flags) {
    return flags & ~3u ? INVALID_VALUE : allocate((char **)place, size, 1);
}
int cuMemFreeHost(void *place) { return release(place, 1); }
int cuMemHostGetDevicePointer_v2(uint64_t *place, void *host, unsigned flags) {
    if (flags || !setting("FAKE_INTEGRATED") || !within(host, 1, 1)) return INVALID_VALUE;
    *place = (uint64_t)(uintptr_t)host;
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, stream *s) {
    if (!within((char *)to, size, 0) || !within(from, size, 1)) return INVALID_VALUE;
    return enqueue(s, (work){TO_GPU, (char *)to, from, size, NULL, NULL});
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, stream *s) {
    if (!within(to, size, 1) || !within((char *)from, size, 0)) return INVALID_VALUE;
    return enqueue(s, (work){TO_HOST, to, (char *)from, size, NULL, NULL});
}

int cuStreamCreate(stream **s, unsigned flags) {
    if (flags != 1 || !depth) return INVALID_VALUE;
    *s = calloc(1, sizeof(stream));
    handles++;
    return OK;
}
static int perform(work item) {
    now += duration[item.kind];
    if (item.kind == TO_GPU || item.kind == TO_HOST) memcpy(item.to, item.from, item.size);
    if (item.kind == KERNEL) {
        if (!within(item.to, 1, 0) && !within(item.to, 1, 1)) return ILLEGAL_ADDRESS;
        item.run(item.argument);
    }
    if (item.kind == RECORD) { ((event *)item.argument)->happened = 1; ((event *)item.argument)->at = now; }
    return OK;
}
int cuStreamSynchronize(stream *s) {
    if (s->capturing) return CAPTURE_UNSUPPORTED;
    int code = OK;
    for (int i = 0; i < s->waiting.count && !code; i++) code = perform(s->waiting.items[i]);
    s->waiting.count = 0;
    return code;
}
int cuStreamDestroy_v2(stream *s) {
    cuStreamSynchronize(s);
    free(s->waiting.items);
    free(s->captured.items);
    free(s);
    handles--;
    return OK;
}
int cuStreamBeginCapture_v2(stream *s, int mode) {
    if (mode != 1 || s->capturing) return INVALID_VALUE;
    s->capturing = 1;
    return OK;
}
int cuStreamEndCapture(stream *s, queue **graph) {
    if (!s->capturing) return INVALID_VALUE;
    s->capturing = 0;
    *graph = calloc(1, sizeof(queue));
    **graph = s->captured;
    memset(&s->captured, 0, sizeof(queue));
    handles++;
    if (setting("FAKE_NO_CAPTURE")) { free(*graph); *graph = NULL; handles--; return CAPTURE_UNSUPPORTED; }
    return OK;
}
int cuGraphInstantiateWithFlags(queue **executable, queue *graph, uint64_t flags) {
    if (!graph || flags) return INVALID_VALUE;
    *executable = calloc(1, sizeof(queue));
    (*executable)->items = malloc((graph->count + 1) * sizeof(work));
    memcpy((*executable)->items, graph->items, graph->count * sizeof(work));
    (*executable)->count = graph->count;
    handles++;
    return OK;
}
static int destroy(queue *graph) {
    if (!graph) return INVALID_HANDLE;
    free(graph->items);
    free(graph);
    handles--;
    return OK;
}
int cuGraphDestroy(queue *graph) { return destroy(graph); }
int cuGraphExecDestroy(queue *graph) { return destroy(graph); }
int cuGraphLaunch(queue *graph, stream *s) {
    for (int i = 0; i < graph->count; i++) enqueue(s, graph->items[i]);
    return OK;
}
/* What a library's kernel launch is: `run` writes to `to` when its turn comes. */
int fake_launch(stream *s, void *to, kernel run, void *argument) {
    return enqueue(s, (work){KERNEL, to, NULL, 0, run, argument});
}

int cuEventCreate(event **e, unsigned flags) {
    if (flags || !depth) return INVALID_VALUE;
    *e = calloc(1, sizeof(event));
    handles++;
    return OK;
}
int cuEventRecord(event *e, stream *s) { e->happened = 0; return enqueue(s, (work){RECORD, NULL, NULL, 0, NULL, e}); }
int cuEventElapsedTime(float *ms, event *start, event *end) {
    if (!start->happened || !end->happened) return NOT_READY;
    *ms = end->at - start->at;
    return OK;
}
int cuEventDestroy_v2(event *e) { free(e); handles--; return OK; }
