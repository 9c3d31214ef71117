/* safetensors: named tensors in one file (github.com/huggingface/safetensors): u64 length of a JSON
 * header, the header, the data. Weights and checkpoints are such files. */
#ifndef DLC_RUNTIME_DATA_SAFETENSORS_H
#define DLC_RUNTIME_DATA_SAFETENSORS_H

#include "dlc/dlc.h"
#include "ir/base/file.h"
#include "ir/base/str.h"
#include "runtime/data/data_type.h"

enum { SAFETENSORS_MAX_RANK = 16, SAFETENSORS_MESSAGE_BYTES = 512 };

typedef struct SafetensorsEntry {
    const char *name;
    DataType type;
    int32_t rank;
    int64_t dims[SAFETENSORS_MAX_RANK];
    int64_t n_elements;
    const uint8_t *data; /* row-major, any alignment */
    size_t bytes;
} SafetensorsEntry;

typedef struct SafetensorsPair {
    const char *key, *value;
} SafetensorsPair;

/* An opened file: entries in the order of their data, metadata in the order of the header. Data lie
 * in memory (or the given bytes) until safetensors_close. */
typedef struct Safetensors {
    const dlc_allocator *allocator;
    SafetensorsEntry *entries;
    int32_t n_entries;
    SafetensorsPair *metadata;
    int32_t n_metadata;
    int32_t *by_name; /* entries sorted by name, for safetensors_find */
    char *texts;
    FileView view;
} Safetensors;

/* Checks everything: the header is strict JSON, names are unique, sizes match shape and type, the
 * tensors tile the data without hole or overlap. `message` (SAFETENSORS_MESSAGE_BYTES) names file
 * and offset. On failure *out is closed. */
dlc_status safetensors_open(Safetensors *out, const char *path, const dlc_allocator *allocator,
                            char *message);
/* The same on bytes that outlive *out; `path` is for messages. */
dlc_status safetensors_parse(Safetensors *out, const uint8_t *bytes, size_t size, const char *path,
                             const dlc_allocator *allocator, char *message);
/* As safetensors_open, but of a large file no more than the header is read: the data of its entries
 * are to be read by safetensors_read_bytes, and bools among them are not checked. */
dlc_status safetensors_open_partly(Safetensors *out, const char *path,
                                   const dlc_allocator *allocator, char *message);
/* Bytes [at, at + size) of the entry's data, all within them; `path`: the file's, for messages. Any
 * number of threads. */
dlc_status safetensors_read_bytes(const Safetensors *file, const char *path,
                                  const SafetensorsEntry *entry, size_t at, size_t size, void *to,
                                  char *message);
void safetensors_close(Safetensors *file); /* accepts a zeroed or closed one */
const SafetensorsEntry *safetensors_find(const Safetensors *file, const char *name);
const char *safetensors_metadata(const Safetensors *file, const char *key); /* or NULL */
/* Adds a text out of a file with '?' for what could steer the terminal that shows it. */
void safetensors_add_text(Str *out, const char *text, size_t length);

/* A file's bytes in pieces: header and tensors, lent until safetensors_parts_free. */
typedef struct SafetensorsParts {
    const dlc_allocator *allocator;
    const void **parts;
    size_t *lengths;
    int n_parts;
    Str header;
    uint8_t header_length[8];
} SafetensorsParts;

/* Lays out the tensors in the given order (type, rank, dims and data are read). The data start at a
 * multiple of 8. Same input, same bytes. `path` is for messages. *out stays where it is. */
dlc_status safetensors_parts(SafetensorsParts *out, const char *path,
                             const SafetensorsEntry *entries, int32_t n_entries,
                             const SafetensorsPair *metadata, int32_t n_metadata,
                             const dlc_allocator *allocator, char *message);
void safetensors_parts_free(SafetensorsParts *parts);
/* Writes such a file (file_write). */
dlc_status safetensors_write(const char *path, const SafetensorsEntry *entries, int32_t n_entries,
                             const SafetensorsPair *metadata, int32_t n_metadata,
                             const dlc_allocator *allocator, char *message);

#endif
