/* A dataset: named fields with the same number of rows, from files or memory. A field's rows are
 * found by pointer arithmetic, in memory or (large files) in the file; gathering copies them and
 * converts types. */
#ifndef DLC_RUNTIME_DATA_DATASET_H
#define DLC_RUNTIME_DATA_DATASET_H

#include "runtime/data/arrays.h"

typedef struct DataOptions {
    const char *format; /* as of data_format_from_name; NULL: by name and content */
    int64_t window;     /* > 0: a file with one array of rank 1 (text, tokens) is cut in windows */
    int64_t stride;     /* between the starts of windows; 0: window */
    const char *dtype;  /* elements of a raw file: "u8" (NULL), "u16", "u32", "i32", … */
    const char *name;   /* of the field of a file that has one unnamed array; NULL: the stem */
} DataOptions;

typedef struct DataField {
    const char *name;
    DataType storage; /* how the elements lie in memory */
    PlanDType dtype;  /* what they count as: the natural type of storage; i32 for windows */
    int32_t rank;     /* of one row */
    int64_t dims[DATA_MAX_RANK]; /* of one row */
    int64_t n_rows, row_elements;
    const uint8_t *data;  /* with a view: only a place in it, to be read from the file */
    const FileView *view; /* of a large file; NULL: the data are in memory */
    int64_t row_stride; /* bytes from one row to the next; windows may overlap */
    const char *path;   /* for messages */
} DataField;

typedef struct Dataset {
    const dlc_allocator *allocator;
    DataArrays *files; /* one a file */
    int32_t n_files;
    DataField *fields;
    int32_t n_fields, capacity;
    int64_t n_rows;
} Dataset;

/* Opens `path`: one file, or several joined by commas, each optionally "name=path". In "name=path"
 * the name is given to a file's only array, or picks the array of that name. With a window the
 * fields are "tokens" and "targets" (the same, one element further), both [window] i32. Every field
 * must have rows as its first axis, as many as the others. `message` has DATA_MESSAGE_BYTES. On
 * failure *out is closed. */
dlc_status dataset_open(Dataset *out, const char *path, const DataOptions *options,
                        const dlc_allocator *allocator, char *message);
void dataset_close(Dataset *dataset); /* accepts a zeroed one */

/* An empty dataset to add fields to; dataset_add copies row-major data whose first axis is the
 * rows. */
void dataset_init(Dataset *out, const dlc_allocator *allocator);
dlc_status dataset_add(Dataset *dataset, const char *name, PlanDType dtype, int32_t rank,
                       const int64_t *dims, const void *data, char *message);

int64_t dataset_rows(const Dataset *dataset);
const DataField *dataset_field(const Dataset *dataset, const char *name); /* or NULL */
/* Whether a file has an array of the name that is no field because it cannot be read (a column of
 * texts): then `message` says where and why. */
bool dataset_unreadable(const Dataset *dataset, const char *name, char *message);

/* Names, types, shapes and contents as one number, the same wherever the files lie. Of more than 64
 * MiB as many rows as fill that, evenly spread. Reads them; message as for dataset_open. */
dlc_status dataset_hash(const Dataset *dataset, uint64_t *out, char *message);

/* Copies `count` rows, in the order of `rows`, to `target` as `dtype`. Converts as data_convert
 * does; a value that does not fit, or a row out of range, is an error that names file, field and
 * row. */
dlc_status dataset_gather_rows(const DataField *field, const int64_t *rows, int64_t count,
                               void *target, PlanDType dtype, double scale, char *message);

#endif
