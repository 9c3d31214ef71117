/* Reading and writing safetensors files (safetensors.h). */
#include "runtime/data/safetensors.h"
#include "ir/base/checked.h"
#include "ir/base/json.h"
#include "ir/base/memory.h"
#include "ir/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reference implementation's limit on the header. */
static const uint64_t max_header = 100000000;

static const struct {
    const char *name;
    DataType type;
} type_names[] = {{"F64", DATA_F64},  {"F32", DATA_F32}, {"F16", DATA_F16}, {"BF16", DATA_BF16},
                  {"I64", DATA_I64},  {"I32", DATA_I32}, {"I16", DATA_I16}, {"I8", DATA_I8},
                  {"U64", DATA_U64},  {"U32", DATA_U32}, {"U16", DATA_U16}, {"U8", DATA_U8},
                  {"BOOL", DATA_BOOL}};
enum { N_TYPE_NAMES = sizeof(type_names) / sizeof(type_names[0]) };

typedef struct Parse {
    Safetensors *file;
    const uint8_t *bytes;
    size_t size, data_start, data_bytes;
    bool is_partial; /* no more than the header is there */
    const char *path;
    char *message;
    JsonDoc json;
    char *text_end; /* in file->texts */
} Parse;

__attribute__((format(printf, 3, 4))) static dlc_status
parse_fail(const Parse *parse, size_t offset, const char *format, ...) {
    char text[260];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    utf8_blank_controls(text);
    snprintf(parse->message, SAFETENSORS_MESSAGE_BYTES, "%.210s: offset %zu: %s", parse->path,
             offset, text);
    return DLC_ERROR_FORMAT;
}

static dlc_status no_memory(const char *path, char *message) {
    snprintf(message, SAFETENSORS_MESSAGE_BYTES, "%.400s: out of memory", path);
    return DLC_ERROR_OUT_OF_MEMORY;
}

static const char *keep_text(Parse *parse, const char *text) {
    size_t length = strlen(text) + 1;
    char *copy = parse->text_end;
    memcpy(copy, text, length);
    parse->text_end += length;
    return copy;
}

static dlc_status read_shape(const Parse *parse, const JsonNode *shape, SafetensorsEntry *entry) {
    if (!shape || shape->kind != JSON_ARRAY || shape->n_children > SAFETENSORS_MAX_RANK) {
        return parse_fail(parse, 8, "tensor '%.200s': expected a shape of at most %d sizes",
                          entry->name, (int)SAFETENSORS_MAX_RANK);
    }
    int64_t count = 1;
    bool fits = true, empty = false;
    for (int32_t i = shape->first_child; i >= 0; i = parse->json.nodes[i].next) {
        const JsonNode *item = &parse->json.nodes[i];
        if (!item->is_integer || item->integer < 0) {
            return parse_fail(parse, 8, "tensor '%.200s': expected sizes that are whole and >= 0",
                              entry->name);
        }
        entry->dims[entry->rank++] = item->integer;
        empty = empty || item->integer == 0;
        fits = fits && (item->integer == 0 || checked_mul(count, item->integer, &count));
    }
    int64_t bytes = 0;
    if (!fits || !checked_mul(count, (int64_t)data_type_bytes(entry->type), &bytes)) {
        return parse_fail(parse, 8, "tensor '%.200s': the shape has more elements than can be",
                          entry->name);
    }
    entry->n_elements = empty ? 0 : count;
    entry->bytes = empty ? 0 : (size_t)bytes;
    return DLC_OK;
}

static dlc_status read_offsets(const Parse *parse, const JsonNode *offsets,
                               SafetensorsEntry *entry) {
    const JsonNode *begin = json_item(&parse->json, offsets, 0);
    const JsonNode *end = json_item(&parse->json, offsets, 1);
    if (!begin || !end || offsets->n_children != 2 || !begin->is_integer || !end->is_integer ||
        begin->integer < 0 || end->integer < begin->integer) {
        return parse_fail(parse, 8, "tensor '%.200s': expected data_offsets [begin, end]",
                          entry->name);
    }
    if ((uint64_t)end->integer > parse->data_bytes) {
        return parse_fail(parse, parse->data_start + parse->data_bytes,
                          "tensor '%.200s' ends at data offset %lld, the file has %zu data bytes",
                          entry->name, (long long)end->integer, parse->data_bytes);
    }
    if ((uint64_t)(end->integer - begin->integer) != entry->bytes) {
        return parse_fail(parse, parse->data_start + (size_t)begin->integer,
                          "tensor '%.200s': expected %zu bytes for its shape and type, found %lld",
                          entry->name, entry->bytes, (long long)(end->integer - begin->integer));
    }
    entry->data = parse->bytes + parse->data_start + begin->integer;
    return DLC_OK;
}

static dlc_status read_tensor(Parse *parse, const JsonNode *node) {
    SafetensorsEntry *entry = &parse->file->entries[parse->file->n_entries++];
    *entry = (SafetensorsEntry){.name = keep_text(parse, node->key)};
    const JsonNode *type = json_member(&parse->json, node, "dtype");
    const JsonNode *shape = json_member(&parse->json, node, "shape");
    const JsonNode *offsets = json_member(&parse->json, node, "data_offsets");
    if (!type || type->kind != JSON_STRING || !shape || !offsets || node->n_children != 3) {
        return parse_fail(parse, 8, "tensor '%.200s': expected dtype, shape and data_offsets",
                          entry->name);
    }
    int which = 0;
    while (which < N_TYPE_NAMES && strcmp(type_names[which].name, type->string) != 0) {
        which++;
    }
    if (which == N_TYPE_NAMES) {
        parse_fail(parse, 8, "tensor '%.200s': type '%.40s' is not supported", entry->name,
                   type->string);
        return DLC_ERROR_UNSUPPORTED;
    }
    entry->type = type_names[which].type;
    dlc_status status = read_shape(parse, shape, entry);
    if (status == DLC_OK) {
        status = read_offsets(parse, offsets, entry);
    }
    size_t bad;
    if (status == DLC_OK && entry->type == DATA_BOOL && !parse->is_partial &&
        !data_are_bools(entry->data, entry->bytes, &bad)) {
        status = parse_fail(parse, (size_t)(entry->data - parse->bytes) + bad,
                            "tensor '%.200s': expected bool values 0 or 1, found %u", entry->name,
                            entry->data[bad]);
    }
    return status;
}

static dlc_status read_metadata(Parse *parse, const JsonNode *node) {
    if (node->kind != JSON_OBJECT) {
        return parse_fail(parse, 8, "expected __metadata__ to be an object of texts");
    }
    Safetensors *file = parse->file;
    file->metadata = raw_alloc(file->allocator, (size_t)node->n_children * sizeof(*file->metadata));
    if (!file->metadata) {
        return no_memory(parse->path, parse->message);
    }
    for (int32_t i = node->first_child; i >= 0; i = parse->json.nodes[i].next) {
        const JsonNode *pair = &parse->json.nodes[i];
        if (pair->kind != JSON_STRING) {
            return parse_fail(parse, 8, "expected __metadata__ '%.200s' to be a text", pair->key);
        }
        SafetensorsPair *kept = &file->metadata[file->n_metadata++];
        kept->key = keep_text(parse, pair->key);
        kept->value = keep_text(parse, pair->string);
    }
    return DLC_OK;
}

static int entry_compare(const void *left, const void *right) {
    const SafetensorsEntry *a = left, *b = right;
    if (a->data != b->data) {
        return a->data < b->data ? -1 : 1;
    }
    if ((a->bytes == 0) != (b->bytes == 0)) {
        return a->bytes == 0 ? -1 : 1; /* empty ones before the one that fills the place */
    }
    return strcmp(a->name, b->name);
}

/* Sorted by place, each tensor must begin where the one before it ends. */
static dlc_status check_tiling(const Parse *parse) {
    const Safetensors *file = parse->file;
    qsort(file->entries, (size_t)file->n_entries, sizeof(SafetensorsEntry), entry_compare);
    size_t at = 0;
    for (int32_t i = 0; i < file->n_entries; i++) {
        const SafetensorsEntry *entry = &file->entries[i];
        size_t begin = (size_t)(entry->data - parse->bytes) - parse->data_start;
        if (begin != at) {
            return parse_fail(parse, parse->data_start + begin,
                              begin < at ? "tensor '%.200s' overlaps the one before it by %zu bytes"
                                         : "before tensor '%.200s' lie %zu bytes of no tensor",
                              entry->name, begin < at ? at - begin : begin - at);
        }
        at += entry->bytes;
    }
    if (at != parse->data_bytes) {
        return parse_fail(parse, parse->data_start + at,
                          "after the last tensor lie %zu bytes of no tensor",
                          parse->data_bytes - at);
    }
    return DLC_OK;
}

static int name_compare(const void *left, const void *right, void *entries) {
    const SafetensorsEntry *all = entries;
    return strcmp(all[*(const int32_t *)left].name, all[*(const int32_t *)right].name);
}

/* What the file is, where it begins as a common other one does; else what is wrong with it. */
static dlc_status foreign_fail(const Parse *parse, size_t offset, const char *problem) {
    static const char convert[] =
        "python3 -c \"import sys, torch; from safetensors.torch import save_file; "
        "save_file({k: v.contiguous().clone() for k, v in "
        "torch.load(sys.argv[1], weights_only=True).items()}, sys.argv[2])\" "
        "IN.pt OUT.safetensors";
    const uint8_t *b = parse->bytes;
    bool zip = parse->size >= 4 && memcmp(b, "PK\3\4", 4) == 0;
    bool pickle = parse->size >= 2 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5;
    if (!zip && !pickle) {
        return parse_fail(parse, offset, "%s", problem);
    }
    snprintf(parse->message, SAFETENSORS_MESSAGE_BYTES,
             "%.130s: this is %s, no safetensors file; convert it: %s", parse->path,
             zip ? "a zip archive, as PyTorch's .pt and .pth are"
                 : "a Python pickle (old .pt, .pth)",
             convert);
    return DLC_ERROR_FORMAT;
}

static dlc_status read_header(Parse *parse) {
    Safetensors *file = parse->file;
    const char *header = (const char *)parse->bytes + 8;
    size_t length = parse->data_start - 8;
    if (length == 0 || header[0] != '{') {
        return foreign_fail(parse, 8, "expected a JSON header that begins with '{'");
    }
    dlc_status status = json_parse(header, length, file->allocator, &parse->json);
    if (status == DLC_ERROR_FORMAT) {
        return parse_fail(parse, 8 + parse->json.error_offset, "JSON header: expected %s",
                          parse->json.error);
    }
    if (status != DLC_OK) {
        return no_memory(parse->path, parse->message);
    }
    const JsonNode *root = &parse->json.nodes[0];
    size_t n_children = (size_t)root->n_children;
    file->entries = raw_alloc(file->allocator, n_children * sizeof(*file->entries));
    file->by_name = raw_alloc(file->allocator, n_children * sizeof(*file->by_name));
    file->texts =
        raw_alloc(file->allocator, length + 1); /* texts are shorter than in their quotes */
    if (!file->entries || !file->by_name || !file->texts) {
        return no_memory(parse->path, parse->message);
    }
    parse->text_end = file->texts;
    for (int32_t i = root->first_child; i >= 0 && status == DLC_OK; i = parse->json.nodes[i].next) {
        const JsonNode *node = &parse->json.nodes[i];
        status = strcmp(node->key, "__metadata__") == 0 ? read_metadata(parse, node)
                                                        : read_tensor(parse, node);
    }
    if (status == DLC_OK) {
        status = check_tiling(parse);
    }
    if (status == DLC_OK) {
        for (int32_t i = 0; i < file->n_entries; i++) {
            file->by_name[i] = i;
        }
        qsort_r(file->by_name, (size_t)file->n_entries, sizeof(int32_t), name_compare,
                file->entries);
    }
    return status;
}

/* Of a view that is partial the header is read here. */
static dlc_status view_parse(Safetensors *out, FileView *view, const char *path,
                             const dlc_allocator *allocator, char *message) {
    const uint8_t *bytes = view->data;
    size_t size = view->size;
    *out = (Safetensors){.allocator = allocator};
    Parse parse = {.file = out,
                   .bytes = bytes,
                   .size = size,
                   .is_partial = file_view_is_partial(view),
                   .path = path,
                   .message = message};
    dlc_status status = file_view_need(view, path, 0, 8, message);
    if (status != DLC_OK) {
        return status;
    }
    if (size < 8) {
        return parse_fail(&parse, 0,
                          "expected the 8-byte length of a safetensors header, found "
                          "%zu bytes",
                          size);
    }
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) {
        length = length << 8 | bytes[i];
    }
    if (length > size - 8 || length > max_header) {
        char problem[96];
        snprintf(problem, sizeof(problem), "the header says %llu bytes, the file has %zu after it",
                 (unsigned long long)length, size - 8);
        return foreign_fail(&parse, 0, problem);
    }
    parse.data_start = 8 + (size_t)length;
    parse.data_bytes = size - parse.data_start;
    status = file_view_need(view, path, 8, (size_t)length, message);
    status = status == DLC_OK ? read_header(&parse) : status;
    json_free(&parse.json);
    if (status != DLC_OK) {
        safetensors_close(out);
    }
    return status;
}

dlc_status safetensors_parse(Safetensors *out, const uint8_t *bytes, size_t size, const char *path,
                             const dlc_allocator *allocator, char *message) {
    FileView view = {.data = bytes, .size = size}; /* lent: nothing to close */
    return view_parse(out, &view, path, allocator, message);
}

static dlc_status file_open(Safetensors *out, const char *path, size_t most,
                            const dlc_allocator *allocator, char *message) {
    *out = (Safetensors){.allocator = allocator};
    FileView view;
    dlc_status status = file_view_open_partly(path, most, &view, message);
    if (status != DLC_OK) {
        return status;
    }
    status = view_parse(out, &view, path, allocator, message);
    if (status == DLC_OK) {
        out->view = view;
    } else {
        file_view_close(&view);
    }
    return status;
}

dlc_status safetensors_open(Safetensors *out, const char *path, const dlc_allocator *allocator,
                            char *message) {
    return file_open(out, path, SIZE_MAX, allocator, message);
}

dlc_status safetensors_open_partly(Safetensors *out, const char *path,
                                   const dlc_allocator *allocator, char *message) {
    enum { AT_ONCE = 1 << 20 };
    return file_open(out, path, AT_ONCE, allocator, message);
}

dlc_status safetensors_read_bytes(const Safetensors *file, const char *path,
                                  const SafetensorsEntry *entry, size_t at, size_t size, void *to,
                                  char *message) {
    if (!file_view_is_partial(&file->view)) {
        memcpy(to, entry->data + at, size);
        return DLC_OK;
    }
    size_t offset = (size_t)(entry->data - file->view.data) + at;
    return file_view_read(&file->view, path, offset, size, to, message);
}

void safetensors_close(Safetensors *file) {
    raw_free(file->allocator, file->entries);
    raw_free(file->allocator, file->by_name);
    raw_free(file->allocator, file->metadata);
    raw_free(file->allocator, file->texts);
    file_view_close(&file->view);
    *file = (Safetensors){.allocator = file->allocator};
}

const SafetensorsEntry *safetensors_find(const Safetensors *file, const char *name) {
    int32_t low = 0, high = file->n_entries;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        const SafetensorsEntry *entry = &file->entries[file->by_name[middle]];
        int order = strcmp(entry->name, name);
        if (order == 0) {
            return entry;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const char *safetensors_metadata(const Safetensors *file, const char *key) {
    for (int32_t i = 0; i < file->n_metadata; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) {
            return file->metadata[i].value;
        }
    }
    return NULL;
}

void safetensors_add_text(Str *out, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        str_add_char(out, (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i]);
    }
}

/* -- Writing */

static const char *type_code(DataType type) {
    for (int i = 0; i < N_TYPE_NAMES; i++) {
        if (type_names[i].type == type) {
            return type_names[i].name;
        }
    }
    return NULL;
}

/* Writes the entry's line of the header and its size in bytes; false when it is too large. */
static bool add_tensor(Str *out, const SafetensorsEntry *entry, size_t begin, size_t *out_bytes) {
    size_t bytes = data_type_bytes(entry->type);
    json_add_string(out, entry->name);
    str_addf(out, ":{\"dtype\":\"%s\",\"shape\":[", type_code(entry->type));
    for (int32_t i = 0; i < entry->rank; i++) {
        str_addf(out, i ? ",%lld" : "%lld", (long long)entry->dims[i]);
        if (entry->dims[i] < 0 || !checked_mul_size(bytes, (size_t)entry->dims[i], &bytes)) {
            return false;
        }
    }
    size_t end;
    if (!checked_add_size(begin, bytes, &end)) {
        return false;
    }
    str_addf(out, "],\"data_offsets\":[%zu,%zu]}", begin, end);
    *out_bytes = bytes;
    return true;
}

static bool add_header(Str *out, const SafetensorsEntry *entries, int32_t n_entries,
                       const SafetensorsPair *metadata, int32_t n_metadata, size_t *sizes) {
    size_t begin = 0;
    str_add_char(out, '{');
    if (n_metadata > 0) {
        str_add(out, "\"__metadata__\":{");
        for (int32_t i = 0; i < n_metadata; i++) {
            str_add(out, i ? "," : "");
            json_add_string(out, metadata[i].key);
            str_add_char(out, ':');
            json_add_string(out, metadata[i].value);
        }
        str_add(out, n_entries > 0 ? "}," : "}");
    }
    for (int32_t i = 0; i < n_entries; i++) {
        str_add(out, i ? "," : "");
        if (!add_tensor(out, &entries[i], begin, &sizes[i])) {
            return false;
        }
        begin += sizes[i];
    }
    str_add_char(out, '}');
    while (out->length % 8 != 0 && !out->failed) {
        str_add_char(out, ' ');
    }
    return true;
}

dlc_status safetensors_parts(SafetensorsParts *out, const char *path,
                             const SafetensorsEntry *entries, int32_t n_entries,
                             const SafetensorsPair *metadata, int32_t n_metadata,
                             const dlc_allocator *allocator, char *message) {
    size_t n_parts = (size_t)n_entries + 2;
    *out = (SafetensorsParts){.allocator = allocator, .n_parts = (int)n_parts};
    str_init(&out->header, allocator);
    out->parts = raw_alloc(allocator, n_parts * sizeof(*out->parts));
    out->lengths = raw_alloc(allocator, n_parts * sizeof(*out->lengths));
    dlc_status status = DLC_OK;
    if (!out->parts || !out->lengths) {
        status = no_memory(path, message);
    } else if (!add_header(&out->header, entries, n_entries, metadata, n_metadata,
                           out->lengths + 2)) {
        snprintf(message, SAFETENSORS_MESSAGE_BYTES, "cannot write '%.400s': a tensor is too large",
                 path);
        status = DLC_ERROR_INVALID_ARGUMENT;
    } else if (out->header.failed) {
        status = no_memory(path, message);
    }
    if (status != DLC_OK) {
        safetensors_parts_free(out);
        return status;
    }
    for (int i = 0; i < 8; i++) {
        out->header_length[i] = (uint8_t)((uint64_t)out->header.length >> (8 * i));
    }
    out->parts[0] = out->header_length;
    out->lengths[0] = sizeof(out->header_length);
    out->parts[1] = out->header.text;
    out->lengths[1] = out->header.length;
    for (int32_t i = 0; i < n_entries; i++) {
        out->parts[i + 2] = entries[i].data;
    }
    return DLC_OK;
}

void safetensors_parts_free(SafetensorsParts *parts) {
    raw_free(parts->allocator, parts->parts);
    raw_free(parts->allocator, parts->lengths);
    str_finish(&parts->header);
    *parts = (SafetensorsParts){.allocator = parts->allocator};
}

dlc_status safetensors_write(const char *path, const SafetensorsEntry *entries, int32_t n_entries,
                             const SafetensorsPair *metadata, int32_t n_metadata,
                             const dlc_allocator *allocator, char *message) {
    SafetensorsParts file;
    dlc_status status = safetensors_parts(&file, path, entries, n_entries, metadata, n_metadata,
                                          allocator, message);
    if (status == DLC_OK) {
        status = file_write(path, file.parts, file.lengths, file.n_parts, message);
        safetensors_parts_free(&file);
    }
    return status;
}
