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
