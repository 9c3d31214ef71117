/* Fuzzes the plan loader and the executor. The input's checksums are made right first, so that the
 * fuzzer gets past them; what loads is described and laid out, and each of its entries is run on a
 * device that computes nothing, every value in memory of its own, so that an address outside is
 * seen. Seeds are made by make_plans.c and dlc (scripts/fuzz.sh). */
#include "dlc/dlc.h"
#include "runtime/device.h"
#include "runtime/session/session.h"
#include "tests/fuzz/fuzz_accepted.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reseal(uint8_t *bytes, size_t size) {
    if (size < sizeof(PlanHeader)) {
        return;
    }
    PlanHeader *header = (PlanHeader *)bytes;
    memcpy(header->magic, PLAN_MAGIC, sizeof(header->magic));
    header->version = PLAN_VERSION;
    header->file_bytes = size;
    size_t room = (size - sizeof(*header)) / sizeof(PlanSection);
    size_t n = header->n_sections < room ? header->n_sections : room;
    PlanSection *sections = (PlanSection *)(bytes + sizeof(*header));
    for (size_t i = 0; i < n; i++) {
        if (sections[i].offset <= size && sections[i].size <= size - sections[i].offset &&
            sections[i].offset >= sizeof(*header) + n * sizeof(*sections)) {
            sections[i].crc =
                (uint32_t)crc32(0, bytes + sections[i].offset, (uInt)sections[i].size);
        }
    }
    header->table_crc = 0;
    header->table_crc = (uint32_t)crc32(0, bytes, (uInt)(sizeof(*header) + n * sizeof(*sections)));
}

/* A hostile plan may ask for any amount of memory; here it does not get more than this. */
typedef struct Budget {
    size_t left;
} Budget;

static void *budget_alloc(void *user, size_t bytes) {
    Budget *budget = user;
    if (bytes > budget->left) {
        return NULL;
    }
    budget->left -= bytes;
    return malloc(bytes);
}

static void budget_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static void describe(dlc_context *context, dlc_plan *plan) {
    char *text;
    if (dlc_plan_describe(plan, &text) == DLC_OK) {
        dlc_text_free(context, text);
    }
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        dlc_entry_summary summary = {.struct_size = sizeof(summary)};
        dlc_tensor_info tensor = {.struct_size = sizeof(tensor)};
        if (dlc_plan_entry(plan, i, &entry) != DLC_OK) {
            continue;
        }
        (void)!dlc_plan_summarize(plan, entry.name, NULL, 0, &summary);
        for (size_t t = 0; t < entry.n_tensors && t < 100; t++) {
            (void)!dlc_plan_entry_tensor(plan, i, t, &tensor);
        }
    }
}

/* -- Running. A loop of a hostile plan may turn for ever, as any program may: after so many pieces
 * of work the device fails. */
enum { MOST_WORK = 3000, MOST_ELEMENTS = 1 << 16 };

static int work_left;

static dlc_status counted(dlc_status status) {
    return --work_left < 0 ? DLC_ERROR_LIMIT : status;
}

static dlc_status counted_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                               const uint8_t *if_set) {
    return counted(device_null.copy(queue, to, from, bytes, if_set));
}

static dlc_status counted_fill(DeviceQueue *queue, void *to, int byte, size_t bytes) {
    return counted(device_null.fill(queue, to, byte, bytes));
}

static dlc_status counted_set(DeviceQueue *queue, int32_t *to, int32_t value) {
    return counted(device_null.set_i32(queue, to, value));
}

static dlc_status counted_read(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    return counted(device_null.read(queue, to, from, bytes));
}

/* A kernel may touch the first byte of each of its buffers, and whatever it is told. */
static dlc_status counted_launch(DeviceQueue *queue, DeviceModule *module,
                                 const DeviceLaunch *launch) {
    int64_t sum = launch->tiles;
    for (int32_t i = 0; i < launch->n_sizes; i++) {
        sum ^= launch->sizes[i];
    }
    for (int32_t i = 0; i < launch->n_buffers; i++) {
        sum ^= launch->buffers[i] == NULL;
    }
    volatile int64_t seen = sum;
    (void)seen;
    return counted(device_null.launch(queue, module, launch));
}

static dlc_status counted_finish(DeviceQueue *queue, KernelFault *fault) {
    return counted(device_null.finish(queue, fault));
}

static void set_input(dlc_session *session, const char *entry, dlc_tensor_info *info) {
    int64_t elements = 1;
    for (int32_t i = 0; i < info->rank; i++) {
        info->dims[i] = info->dims[i] < 0 ? 3 : info->dims[i];
        if (info->dims[i] > MOST_ELEMENTS / (elements ? elements : 1)) {
            return;
        }
        elements *= info->dims[i];
    }
    size_t bytes = (size_t)elements * (info->dtype.bits + 7u) / 8;
    void *zeros = calloc(bytes + 1, 1);
    DLTensor tensor = {zeros, {kDLCPU, 0}, info->rank, info->dtype, info->dims, NULL, 0};
    if (zeros) {
        (void)!dlc_set_input(session, entry, info->name, &tensor);
    }
    free(zeros);
}

static void look_at(dlc_session *session, const dlc_entry_info *entry, size_t at) {
    const dlc_plan *plan = dlc_session_plan(session);
    const DLTensor *view;
    dlc_metric metrics[8];
    dlc_memory memory = {.struct_size = sizeof(memory)};
    size_t count;
    (void)!dlc_metrics(session, entry->name, metrics, 8, &count);
    (void)!dlc_session_memory(session, entry->name, &memory);
    for (size_t t = 0; t < entry->n_tensors && t < 100; t++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_entry_tensor(plan, at, t, &info) != DLC_OK) {
            continue;
        }
        bool is_output = info.role == DLC_ROLE_OUTPUT;
        dlc_status status = is_output ? dlc_view_output(session, entry->name, info.name, &view)
                                      : dlc_view_variable(session, info.name, &view);
        uint8_t last = 0;
        int64_t bytes = status == DLC_OK ? (view->dtype.bits + 7) / 8 : 0;
        for (int32_t i = 0; status == DLC_OK && i < view->ndim; i++) {
            bytes *= view->shape[i];
        }
        if (bytes > 0) {
            memcpy(&last, (const uint8_t *)view->data + bytes - 1, 1);
        }
    }
}

static void drop_log(void *user, dlc_log_level level, const char *text) {
    (void)user;
    (void)level;
    (void)text;
}

static void run(dlc_plan *plan, uint32_t draw) {
    DeviceOps ops = device_null;
    ops.copy = counted_copy;
    ops.fill = counted_fill;
    ops.set_i32 = counted_set;
    ops.read = counted_read;
    ops.launch = counted_launch;
    ops.finish = counted_finish;
    work_left = MOST_WORK;
    dlc_session_options options = {.struct_size = sizeof(options),
                                   .guarded = draw % 4 != 0,
                                   .poison = (int)(draw / 4 % 3),
                                   .no_libraries = 1};
    dlc_session *session = NULL;
    if (session_create_on(plan, &options, &ops, 1, &session) != DLC_OK) {
        return;
    }
    for (size_t i = 0; i < dlc_plan_entry_count(plan) && i < 8; i++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        dlc_tensor_info tensor = {.struct_size = sizeof(tensor)};
        work_left = MOST_WORK;
        if (dlc_plan_entry(plan, i, &entry) != DLC_OK) {
            continue;
        }
        for (size_t t = 0; t < entry.n_tensors && t < 100; t++) {
            if (dlc_plan_entry_tensor(plan, i, t, &tensor) == DLC_OK &&
                tensor.role == DLC_ROLE_INPUT) {
                set_input(session, entry.name, &tensor);
            }
        }
        (void)!dlc_run(session, entry.name);
        look_at(session, &entry, i);
    }
    dlc_session_destroy(session);
}

/* The sections of a plan that still has a table; NULL: not one. */
static PlanSection *sections_of(uint8_t *data, size_t size, size_t *out_count) {
    if (size < sizeof(PlanHeader)) {
        return NULL;
    }
    size_t room = (size - sizeof(PlanHeader)) / sizeof(PlanSection);
    size_t n = ((PlanHeader *)data)->n_sections;
    *out_count = n < room ? n : room;
    return *out_count ? (PlanSection *)(data + sizeof(PlanHeader)) : NULL;
}

/* Most mutants are plans with a number or two of a record changed, which is where bytes changed
 * at random seldom get to; the others are libFuzzer's own. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    static const int32_t EXTREMES[] = {0, 1, 2, -1, 16, 17, 64, 1 << 20, INT32_MAX, INT32_MIN};
    size_t n_sections = 0;
    size = fuzz_start(data, size, max_size, seed);
    PlanSection *sections = sections_of(data, size, &n_sections);
    if (!sections || seed % 4 == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    seed /= 4;
    for (int changes = 1 + (int)(seed % 3); changes > 0; changes--) {
        seed = seed * 1664525u + 1013904223u;
        const PlanSection *section = &sections[(seed >> 8) % n_sections];
        if (section->offset > size || section->size > size - section->offset ||
            section->size < sizeof(int32_t)) {
            continue;
        }
        size_t words = section->size / sizeof(int32_t);
        seed = seed * 1664525u + 1013904223u;
        uint8_t *at = data + section->offset + (seed >> 4) % words * sizeof(int32_t);
        seed = seed * 1664525u + 1013904223u;
        unsigned draw = (seed >> 16) % 16;
        const uint8_t *other = data + section->offset + (seed >> 20) % words * sizeof(int32_t);
        uint32_t word; /* sections of a hostile table begin anywhere */
        memcpy(&word, draw < 13 ? at : other, sizeof(word));
        word = draw < 10 ? (uint32_t)EXTREMES[draw] : draw < 13 ? word + 1u : word;
        memcpy(at, &word, sizeof(word));
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Budget budget = {64 << 20};
    dlc_allocator allocator = {budget_alloc, budget_free, &budget};
    dlc_context_options options = {
        .struct_size = sizeof(options), .allocator = &allocator, .log = drop_log};
    dlc_context *context = NULL;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy || dlc_context_create(&options, &context) != DLC_OK) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, size);
    reseal(copy, size);
    dlc_plan *plan = NULL;
    bool accepted = dlc_plan_load_memory(context, copy, size, "fuzz", 0, &plan) == DLC_OK;
    fuzz_note(data, size, accepted);
    if (accepted) {
        describe(context, plan);
        run(plan, (uint32_t)crc32(0, data, (uInt)size));
        dlc_plan_destroy(plan);
    }
    dlc_context_destroy(context);
    free(copy);
    return 0;
}
