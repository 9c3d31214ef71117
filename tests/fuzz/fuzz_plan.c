/* Fuzzes the plan loader. The input's checksums are made right first, so that the fuzzer gets past
 * them; what loads is laid out for its default dims and described. */
#include "dlc/dlc.h"
#include "runtime/plan.h"

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

static void use(dlc_context *context, dlc_plan *plan) {
    char *text;
    if (dlc_plan_describe(plan, &text) == DLC_OK) {
        dlc_text_free(context, text);
    }
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        dlc_entry_info entry;
        dlc_entry_summary summary;
        dlc_tensor_info tensor;
        if (dlc_plan_entry(plan, i, &entry) != DLC_OK) {
            continue;
        }
        (void)!dlc_plan_summarize(plan, entry.name, NULL, 0, &summary);
        for (size_t t = 0; t < entry.n_tensors && t < 100; t++) {
            (void)!dlc_plan_entry_tensor(plan, i, t, &tensor);
        }
    }
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

/* Half of the mutants are plans with one number of a record changed, which is where bytes changed
 * at random seldom get to; the others are libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    static const int32_t EXTREMES[] = {0, 1, 2, -1, 16, 17, 64, 1 << 20, INT32_MAX, INT32_MIN};
    size_t n_sections = 0;
    PlanSection *sections = sections_of(data, size, &n_sections);
    if (!sections || seed % 2 == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    seed /= 2;
    for (int changes = 1 + (int)(seed % 3); changes > 0; changes--) {
        seed = seed * 1664525u + 1013904223u;
        const PlanSection *section = &sections[(seed >> 8) % n_sections];
        if (section->offset > size || section->size > size - section->offset ||
            section->size < sizeof(int32_t)) {
            continue;
        }
        size_t words = section->size / sizeof(int32_t);
        seed = seed * 1664525u + 1013904223u;
        int32_t *word = (int32_t *)(data + section->offset) + (seed >> 4) % words;
        seed = seed * 1664525u + 1013904223u;
        unsigned draw = (seed >> 16) % 16;
        *word = draw < 10   ? EXTREMES[draw]
                : draw < 13 ? (int32_t)((uint32_t)*word + 1u)
                            : ((int32_t *)(data + section->offset))[(seed >> 20) % words];
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Budget budget = {64 << 20};
    dlc_allocator allocator = {budget_alloc, budget_free, &budget};
    dlc_context_options options = {.struct_size = sizeof(options), .allocator = &allocator};
    dlc_context *context = NULL;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy || dlc_context_create(&options, &context) != DLC_OK) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, size);
    reseal(copy, size);
    dlc_plan *plan = NULL;
    if (dlc_plan_load_memory(context, copy, size, "fuzz", 0, &plan) == DLC_OK) {
        use(context, plan);
        dlc_plan_destroy(plan);
    }
    dlc_context_destroy(context);
    free(copy);
    return 0;
}
