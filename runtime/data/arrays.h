/* Arrays as they stand in a data file: NPY, NPZ, CSV, IDX, safetensors, raw elements. The readers
 * check everything a header says before believing it; every message names the file and the byte
 * offset or line. Data stay in the file where it is large and its layout allows (data_arrays_need,
 * DataField.view), else in memory. */
#ifndef DLC_RUNTIME_DATA_ARRAYS_H
#define DLC_RUNTIME_DATA_ARRAYS_H

#include "dlc/dlc.h"
#include "ir/base/file.h"
#include "runtime/data/data_type.h"

enum { DATA_MAX_RANK = 16, DATA_MESSAGE_BYTES = 512 };
enum { DATA_WHOLE_BYTES = 256 << 20 }; /* larger files are read where they are asked for */

typedef struct DataArray {
    const char *name;
    DataType type;
    int32_t rank;
    int64_t dims[DATA_MAX_RANK];
    int64_t n_elements;
    const uint8_t *data; /* row-major, this machine's byte order, any alignment */
    /* CSV: where a cell is no number, "line 3: column 2 ('name'): …"; the data are then none, which
     * does not matter as long as nobody asks for them. NULL: none. */
    const char *unreadable;
} DataArray;

typedef struct DataArrays {
    const dlc_allocator *allocator;
    DataArray *items;
    int32_t n_items, capacity;
    void **owned; /* memory freed with the arrays */
    int32_t n_owned, owned_capacity;
    bool raw;      /* elements without any header: text or tokens */
    FileView view; /* of the file the data lie in, when it was opened by path */
} DataArrays;

typedef enum DataFormat {
    DATA_FORMAT_AUTO, /* by the name's ending, then by content */
    DATA_FORMAT_NPZ,
    DATA_FORMAT_NPY,
    DATA_FORMAT_CSV,
    DATA_FORMAT_IDX,
    DATA_FORMAT_SAFETENSORS,
    DATA_FORMAT_RAW,        /* elements of raw_type, one array of rank 1 */
    DATA_FORMAT_AUTO_OR_RAW /* as AUTO; RAW where neither name nor content tells */
} DataFormat;

/* "npz", "npy", "csv", "idx", "safetensors", "text"; NULL is AUTO. */
bool data_format_from_name(const char *name, DataFormat *out);
/* The i-th name that it knows; NULL behind the last. */
const char *data_format_name(int i);

/* What a reader works on. Copied freely; nothing in it is owned. */
typedef struct DataInput {
    const char *path; /* for messages */
    const char *name; /* of the array in files that hold one unnamed array */
    const uint8_t *bytes;
    size_t size;
    DataArrays *arrays;
    char *message; /* DATA_MESSAGE_BYTES */
} DataInput;

void data_arrays_init(DataArrays *arrays, const dlc_allocator *allocator);
void data_arrays_finish(DataArrays *arrays); /* accepts a zeroed one */
const DataArray *data_arrays_find(const DataArrays *arrays, const char *name);

/* Brings the data of an array of a large file into memory. */
dlc_status data_arrays_need(DataArrays *arrays, const DataArray *array, const char *path,
                            char *message);
/* Opens, reads, unpacks (gzip) and reads a file. `name` NULL: the file's name without folder and
 * endings. On failure the arrays are as after data_arrays_init. */
dlc_status data_arrays_open(DataArrays *arrays, const char *path, DataFormat format,
                            DataType raw_type, const char *name, char *message);
/* The same on bytes in memory, which must outlive the arrays. */
dlc_status data_arrays_read(const DataInput *input, DataFormat format, DataType raw_type);

/* -- The readers, each adding arrays to input->arrays. */
dlc_status npy_read(const DataInput *input);
dlc_status npz_read(const DataInput *input);
dlc_status csv_read(const DataInput *input);
dlc_status idx_read(const DataInput *input);
dlc_status raw_read(const DataInput *input, DataType type);
/* Unpacks gzip into memory owned by the arrays. */
dlc_status gzip_unpack(const DataInput *input, const uint8_t **out_bytes, size_t *out_size);
/* Writes one array as NPY 1.0, little-endian, C order, atomically; bf16 as f32. */
dlc_status npy_write(const char *path, PlanDType type, int32_t rank, const int64_t *dims,
                     const void *data, const dlc_allocator *allocator, char *message);

/* -- For readers. */
/* Bytes [at, at + size) of the input are about to be read, and may not be in memory yet. */
dlc_status data_need(const DataInput *input, size_t at, size_t size);
/* "path: offset 12: text"; DLC_ERROR_FORMAT. */
dlc_status data_fail(const DataInput *input, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
dlc_status data_fail_line(const DataInput *input, int64_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
dlc_status data_no_memory(const DataInput *input);
/* Memory freed with the arrays; NULL when there is none. */
void *data_own(DataArrays *arrays, size_t bytes);
/* A new array with its name copied; NULL when out of memory. */
DataArray *data_add(DataArrays *arrays, const char *name, size_t length);
/* Sets n_elements and *out_bytes from type and dims; false when negative or too large. */
bool data_measure(DataArray *array, size_t *out_bytes);
/* Whether another array of these has the same name. */
bool data_name_taken(const DataArrays *arrays, const DataArray *array);

#endif
