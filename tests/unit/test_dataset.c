/* Datasets: windows of text, several files, memory, gathering rows with conversion, writing NPY,
 * shuffling. */
#include "runtime/data/dataset.h"
#include "runtime/data/shuffle.h"
#include "tests/unit/meter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
/* cmocka wants its headers above first. */
#include <cmocka.h>

static char message[DATA_MESSAGE_BYTES];

/* -- Datasets over the example data */

static const char *data_path(const char *name) {
    static char path[2][512];
    static int turn;
    const char *root = getenv("DLC_SOURCE_ROOT");
    turn = !turn;
    snprintf(path[turn], sizeof(path[turn]), "%s/examples/data/%s", root ? root : ".", name);
    return path[turn];
}

static void open_dataset(Dataset *out, const char *path, const DataOptions *options) {
    dlc_status status = dataset_open(out, path, options, NULL, message);
    if (status != DLC_OK) {
        print_error("%s\n", message);
    }
    assert_int_equal(status, DLC_OK);
}

static void test_digits(void **state) {
    (void)state;
    Dataset digits;
    open_dataset(&digits, data_path("digits_test.npz"), NULL);
    assert_int_equal(dataset_rows(&digits), 360);
    const DataField *image = dataset_field(&digits, "image"),
                    *label = dataset_field(&digits, "label");
    assert_int_equal(image->rank, 3);
    assert_int_equal(image->row_elements, 64);
    assert_int_equal(image->dtype, PLAN_F32);
    assert_int_equal(label->rank, 0);
    assert_int_equal(label->dtype, PLAN_I32);
    int64_t rows[360];
    float pixels[360 * 64];
    int32_t labels[360];
    for (int64_t i = 0; i < 360; i++) {
        rows[i] = 359 - i;
    }
    assert_int_equal(dataset_gather_rows(image, rows, 360, pixels, PLAN_F32, 0, message), DLC_OK);
    assert_int_equal(dataset_gather_rows(label, rows, 360, labels, PLAN_I32, 0, message), DLC_OK);
    double sum = 0;
    int64_t label_sum = 0;
    for (int i = 0; i < 360 * 64; i++) {
        sum += (double)pixels[i];
    }
    for (int i = 0; i < 360; i++) {
        label_sum += labels[i];
    }
    assert_true(fabs(sum - 7021.625) < 1e-3);
    assert_int_equal(label_sum, 1621);
    assert_int_equal(labels[0], 8);
    double wide[64];
    assert_int_equal(dataset_gather_rows(image, rows, 1, wide, PLAN_F64, 16, message), DLC_OK);
    assert_true(wide[10] == 16 * (double)pixels[10]);
    int8_t narrow;
    assert_int_equal(dataset_gather_rows(label, rows, 1, &narrow, PLAN_I8, 0, message), DLC_OK);
    assert_int_equal(narrow, labels[0]);
    assert_int_equal(dataset_gather_rows(image, rows, 1, labels, PLAN_I32, 0, message),
                     DLC_ERROR_MISMATCH);
    assert_non_null(strstr(message, "is not whole; the input is i32"));
    const int64_t beyond[] = {360};
    assert_int_equal(dataset_gather_rows(image, beyond, 1, pixels, PLAN_F32, 0, message),
                     DLC_ERROR_INVALID_ARGUMENT);
    assert_null(dataset_field(&digits, "images"));
    dataset_close(&digits);
    dataset_close(&digits);
    open_dataset(&digits, data_path("digits_train.npz"), NULL);
    assert_int_equal(dataset_rows(&digits), 1437);
    dataset_close(&digits);
    open_dataset(&digits, data_path("breast_cancer_train.npz"), NULL);
    assert_int_equal(dataset_field(&digits, "x")->dims[0], 30);
    dataset_close(&digits);
}

static void test_windows(void **state) {
    (void)state;
    Dataset text;
    const char *path = data_path("king_james.txt");
    DataOptions options = {.window = 128};
    open_dataset(&text, path, &options);
    assert_int_equal(dataset_rows(&text), (1100000 - 1) / 128);
    const DataField *tokens = dataset_field(&text, "tokens"),
                    *targets = dataset_field(&text, "targets");
    int32_t x[256], y[256];
    const int64_t rows[] = {5, 6};
    assert_int_equal(dataset_gather_rows(tokens, rows, 2, x, PLAN_I32, 0, message), DLC_OK);
    assert_int_equal(dataset_gather_rows(targets, rows, 2, y, PLAN_I32, 0, message), DLC_OK);
    FileView view;
    assert_int_equal(file_view_open(path, &view, message), DLC_OK);
    for (int i = 0; i < 256; i++) {
        assert_int_equal(x[i], view.data[5 * 128 + i]);
        assert_int_equal(y[i], view.data[5 * 128 + i + 1]);
    }
    file_view_close(&view);
    dataset_close(&text);
    options.stride = 1;
    open_dataset(&text, path, &options);
    assert_int_equal(dataset_rows(&text), 1100000 - 128);
    const int64_t last[] = {1100000 - 129};
    assert_int_equal(
        dataset_gather_rows(dataset_field(&text, "targets"), last, 1, y, PLAN_I32, 0, message),
        DLC_OK);
    dataset_close(&text);
    options = (DataOptions){.window = 100, .dtype = "u16"};
    open_dataset(&text, path, &options);
    assert_int_equal(dataset_rows(&text), (550000 - 1) / 100);
    dataset_close(&text);
    options = (DataOptions){.window = 1100000};
    assert_int_equal(dataset_open(&text, path, &options, NULL, message), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(message, "a window of 1100000"));
    assert_int_equal(dataset_open(&text, path, NULL, NULL, message), DLC_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, "window"));
    options = (DataOptions){.window = 8};
    assert_int_equal(dataset_open(&text, data_path("digits_test.npz"), &options, NULL, message),
                     DLC_ERROR_MISMATCH);
}

static void test_several_files(void **state) {
    (void)state;
    char folder[] = P_tmpdir "/dlc-test-XXXXXX", a[64], b[64], both[200];
    assert_non_null(mkdtemp(folder));
    snprintf(a, sizeof(a), "%s/images-idx2-ubyte.gz", folder);
    snprintf(b, sizeof(b), "%s/labels.npy", folder);
    const uint8_t idx[] = {0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 2, 3, 4, 5, 255};
    gzFile zipped = gzopen(a, "wb9");
    assert_non_null(zipped);
    assert_int_equal(gzwrite(zipped, idx, sizeof(idx)), sizeof(idx));
    assert_int_equal(gzclose(zipped), Z_OK);
    const int64_t labels[3] = {7, 8, INT64_MAX};
    const int64_t dims[] = {3};
    assert_int_equal(npy_write(b, PLAN_I64, 1, dims, labels, NULL, message), DLC_OK);
    Dataset set;
    snprintf(both, sizeof(both), "image=%s,label=%s", a, b);
    open_dataset(&set, both, NULL);
    assert_int_equal(dataset_rows(&set), 3);
    const DataField *image = dataset_field(&set, "image"), *label = dataset_field(&set, "label");
    const int64_t rows[] = {2, 0};
    float pixels[4];
    assert_int_equal(dataset_gather_rows(image, rows, 2, pixels, PLAN_F32, 1.0 / 255, message),
                     DLC_OK);
    assert_true(pixels[1] == 1.0f && fabsf(pixels[2] - 1.0f / 255) < 1e-9f);
    int32_t narrow[2];
    assert_int_equal(dataset_gather_rows(label, rows + 1, 1, narrow, PLAN_I32, 0, message), DLC_OK);
    assert_int_equal(narrow[0], 7);
    assert_int_equal(dataset_gather_rows(label, rows, 1, narrow, PLAN_I32, 0, message),
                     DLC_ERROR_MISMATCH);
    assert_non_null(strstr(message, "field 'label', row 2"));
    dataset_close(&set);
    snprintf(both, sizeof(both), "%s,%s", a, b);
    open_dataset(&set, both, NULL);
    assert_non_null(dataset_field(&set, "images-idx2-ubyte"));
    assert_non_null(dataset_field(&set, "labels"));
    dataset_close(&set);
    snprintf(both, sizeof(both), "x=%s,x=%s", a, b);
    assert_int_equal(dataset_open(&set, both, NULL, NULL, message), DLC_ERROR_MISMATCH);
    snprintf(both, sizeof(both), "%s,%s", a, data_path("digits_test.npz"));
    assert_int_equal(dataset_open(&set, both, NULL, NULL, message), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(message, "360 rows"));
    snprintf(both, sizeof(both), "label=%s", data_path("digits_test.npz"));
    open_dataset(&set, both, NULL);
    assert_int_equal(set.n_fields, 1);
    dataset_close(&set);
    snprintf(both, sizeof(both), "size=%s", data_path("digits_test.npz"));
    assert_int_equal(dataset_open(&set, both, NULL, NULL, message), DLC_ERROR_NOT_FOUND);
    DataOptions strange = {.format = "xls"};
    assert_int_equal(dataset_open(&set, a, &strange, NULL, message), DLC_ERROR_INVALID_ARGUMENT);
    assert_int_equal(dataset_open(&set, folder, NULL, NULL, message), DLC_ERROR_IO);
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    snprintf(both, sizeof(both), "image=%s,label=%s", a, b);
    for (long n = 0; status != DLC_OK; n++) {
        Meter meter = {.left = n};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        status = dataset_open(&set, both, NULL, &allocator, message);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        dataset_close(&set);
        assert_int_equal(meter.alive, 0);
    }
    assert_int_equal(unlink(a), 0);
    assert_int_equal(unlink(b), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* A comma parts files, but not the name of one that is there. */
static void test_comma(void **state) {
    (void)state;
    char folder[] = P_tmpdir "/dlc-test-XXXXXX", path[80], two[200];
    assert_non_null(mkdtemp(folder));
    static const char *const names[] = {"a,b.npy", "a.npy", "b.npy"};
    const int64_t values[3] = {7, 8, 9}, dims[] = {3};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(npy_write(path, PLAN_I64, 1, dims, values, NULL, message), DLC_OK);
    }
    Dataset set;
    snprintf(path, sizeof(path), "%s/a,b.npy", folder);
    open_dataset(&set, path, NULL);
    assert_int_equal(dataset_rows(&set), 3);
    assert_non_null(dataset_field(&set, "a,b"));
    dataset_close(&set);
    snprintf(two, sizeof(two), "%s/a.npy,%s/b.npy", folder, folder);
    open_dataset(&set, two, NULL);
    assert_true(dataset_field(&set, "a") && dataset_field(&set, "b"));
    dataset_close(&set);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void test_memory_dataset(void **state) {
    (void)state;
    Dataset set;
    dataset_init(&set, NULL);
    const float x[4] = {1, 2, 3, 4};
    const int64_t two_two[] = {2, 2}, three[] = {3};
    assert_int_equal(dataset_add(&set, "x", PLAN_F32, 2, two_two, x, message), DLC_OK);
    assert_int_equal(dataset_add(&set, "y", PLAN_F32, 1, three, x, message), DLC_ERROR_MISMATCH);
    assert_int_equal(dataset_add(&set, "z", PLAN_F32, 0, three, x, message),
                     DLC_ERROR_INVALID_ARGUMENT);
    const int64_t rows[] = {1};
    float out[2];
    assert_int_equal(
        dataset_gather_rows(dataset_field(&set, "x"), rows, 1, out, PLAN_F32, 0, message), DLC_OK);
    assert_true(out[0] == 3.0f && out[1] == 4.0f);
    dataset_close(&set);
}

static uint64_t hash_of(const char *first, const float *a, const char *second, const float *b) {
    Dataset set;
    const int64_t dims[] = {3, 2};
    dataset_init(&set, NULL);
    assert_int_equal(dataset_add(&set, first, PLAN_F32, 2, dims, a, message), DLC_OK);
    assert_int_equal(dataset_add(&set, second, PLAN_F32, 2, dims, b, message), DLC_OK);
    uint64_t hash;
    assert_int_equal(dataset_hash(&set, &hash, message), DLC_OK);
    dataset_close(&set);
    return hash;
}

/* Checkpoints are bound to it: every name and value counts, the order of fields does not. */
static void test_hash(void **state) {
    (void)state;
    const float x[6] = {1, 2, 3, 4, 5, 6}, y[6] = {0};
    const uint64_t hash = hash_of("x", x, "y", y);
    assert_true(hash == hash_of("y", y, "x", x));
    assert_true(hash != hash_of("y", x, "x", y));
    assert_true(hash != hash_of("x", x, "z", y));
    for (int i = 0; i < 6; i++) {
        float other[6];
        memcpy(other, x, sizeof(x));
        other[i] += 1e-3f;
        assert_true(hash != hash_of("x", other, "y", y));
    }
    /* Of much data a choice of rows, the first and the last among them. */
    const size_t n = (size_t)70 << 20;
    const int64_t dims[] = {(int64_t)n};
    uint8_t *many = calloc(n, 1);
    assert_non_null(many);
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++) {
        Dataset set;
        dataset_init(&set, NULL);
        many[0] = i == 1;
        many[n - 1] = i == 2;
        assert_int_equal(dataset_add(&set, "x", PLAN_U8, 1, dims, many, message), DLC_OK);
        assert_int_equal(dataset_hash(&set, &hashes[i], message), DLC_OK);
        dataset_close(&set);
    }
    free(many);
    assert_true(hashes[0] != hashes[1] && hashes[0] != hashes[2] && hashes[1] != hashes[2]);
}

static void test_npy_write(void **state) {
    (void)state;
    char folder[] = P_tmpdir "/dlc-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/x.npy", folder);
    const uint16_t values[4] = {0x3F80, 0x4000, 0xC040, 0};
    const int64_t dims[] = {2, 2};
    assert_int_equal(npy_write(path, PLAN_BF16, 2, dims, values, NULL, message), DLC_OK);
    DataArrays arrays;
    data_arrays_init(&arrays, NULL);
    assert_int_equal(data_arrays_open(&arrays, path, DATA_FORMAT_AUTO, DATA_U8, NULL, message),
                     DLC_OK);
    const float floats[4] = {1, 2, -3, 0};
    assert_string_equal(arrays.items[0].name, "x");
    assert_int_equal(arrays.items[0].type, DATA_F32);
    assert_memory_equal(arrays.items[0].data, floats, sizeof(floats));
    assert_int_equal((arrays.items[0].data - arrays.view.data) % 64, 0);
    data_arrays_finish(&arrays);
    assert_int_equal(npy_write(path, PLAN_I64, 0, NULL, "12345678", NULL, message), DLC_OK);
    assert_int_equal(data_arrays_open(&arrays, path, DATA_FORMAT_AUTO, DATA_U8, "s", message),
                     DLC_OK);
    assert_int_equal(arrays.items[0].rank, 0);
    data_arrays_finish(&arrays);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* -- Conversion and shuffling */

static void test_half(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float half = half_to_float((uint16_t)bits), bfloat = bfloat_to_float((uint16_t)bits);
        if (!isnan(half)) {
            assert_int_equal(half_from_float(half), bits);
        }
        if (!isnan(bfloat)) {
            assert_int_equal(bfloat_from_float(bfloat), bits);
        }
    }
    assert_true(half_to_float(0x3C00) == 1.0f && half_to_float(0x0001) == 0x1p-24f);
    assert_int_equal(half_from_float(65519.0f), 0x7BFF);
    assert_int_equal(half_from_float(65520.0f), 0x7C00);
    assert_int_equal(half_from_float(1.0f + 0x1p-11f), 0x3C00); /* tie to even */
    assert_int_equal(half_from_float(1.0f + 0x1p-11f + 0x1p-20f), 0x3C01);
    assert_int_equal(half_from_float(0x1p-25f), 0);
    assert_int_equal(half_from_float(0x1.8p-25f), 1);
    assert_true(isnan(half_to_float(half_from_float(NAN))));
    assert_true(isnan(bfloat_to_float(bfloat_from_float(NAN))));
    /* Numbers that are none stay so, wherever their bits are. */
    for (int bit = 0; bit < 23; bit++) {
        for (int sign = 0; sign < 2; sign++) {
            uint32_t bits = 0x7F800000u | 1u << bit | (uint32_t)sign << 31;
            float value;
            memcpy(&value, &bits, sizeof(value));
            if (!isnan(bfloat_to_float(bfloat_from_float(value))) ||
                !isnan(half_to_float(half_from_float(value)))) {
                fail_msg("nan of the bits %#x: bf16 %#x, f16 %#x", (unsigned)bits,
                         (unsigned)bfloat_from_float(value), (unsigned)half_from_float(value));
            }
        }
    }
    /* f64 to f16 rounds once: through f32 this would go up. */
    double value = 1.0 + 0x1p-11 + 0x1p-40;
    uint16_t half;
    int64_t bad;
    assert_int_equal(data_convert(&value, DATA_F64, &half, PLAN_F16, 1, 0, &bad), CONVERT_OK);
    assert_int_equal(half, 0x3C01);
    value = 1.0 + 0x1p-11 - 0x1p-40;
    assert_int_equal(data_convert(&value, DATA_F64, &half, PLAN_F16, 1, 0, &bad), CONVERT_OK);
    assert_int_equal(half, 0x3C00);
}

static void test_convert(void **state) {
    (void)state;
    int64_t bad;
    const double wide[3] = {1.5, 1e300, INFINITY};
    float narrow[3];
    assert_int_equal(data_convert(wide, DATA_F64, narrow, PLAN_F32, 3, 0, &bad), CONVERT_RANGE);
    assert_int_equal(bad, 1);
    assert_int_equal(data_convert(wide + 2, DATA_F64, narrow, PLAN_F32, 1, 0, &bad), CONVERT_OK);
    const uint32_t tokens[2] = {5, 0x80000000u};
    int32_t ints[2];
    assert_int_equal(data_convert(tokens, DATA_U32, ints, PLAN_I32, 2, 0, &bad), CONVERT_RANGE);
    assert_int_equal(bad, 1);
    const uint64_t huge[1] = {UINT64_MAX};
    int64_t longs[2];
    assert_int_equal(data_convert(huge, DATA_U64, longs, PLAN_I64, 1, 0, &bad), CONVERT_RANGE);
    const int8_t negative[2] = {-1, 1};
    uint8_t bytes[2];
    assert_int_equal(data_convert(negative, DATA_I8, longs, PLAN_I64, 2, 0, &bad), CONVERT_OK);
    assert_int_equal(longs[0], negative[0]);
    assert_int_equal(data_convert(negative, DATA_I8, bytes, PLAN_U8, 2, 0, &bad), CONVERT_RANGE);
    assert_int_equal(data_convert(negative + 1, DATA_I8, bytes, PLAN_BOOL, 1, 0, &bad), CONVERT_OK);
    assert_int_equal(data_convert(wide, DATA_F64, bytes, PLAN_BOOL, 1, 0, &bad), CONVERT_FRACTION);
    const double parts[3] = {3.0, 2.5, NAN};
    assert_int_equal(data_convert(parts, DATA_F64, longs, PLAN_I64, 1, 0, &bad), CONVERT_OK);
    assert_int_equal(longs[0], 3);
    assert_int_equal(data_convert(parts, DATA_F64, longs, PLAN_I64, 3, 0, &bad), CONVERT_FRACTION);
    assert_int_equal(bad, 1);
    assert_int_equal(data_convert(parts + 2, DATA_F64, longs, PLAN_I64, 1, 0, &bad),
                     CONVERT_FRACTION);
    for (int type = 0; type < DATA_N_TYPES; type++) {
        DataType back;
        assert_true(data_type_from_name(data_type_name((DataType)type), &back));
        assert_int_equal(back, type);
    }
}

static void test_shuffle(void **state) {
    (void)state;
    enum { N = 1000 };
    int64_t order[N], again[N], other[N];
    bool seen[N] = {false};
    shuffle_permutation(1, 0, N, order);
    shuffle_permutation(1, 0, N, again);
    assert_memory_equal(order, again, sizeof(order));
    for (int i = 0; i < N; i++) {
        assert_true(order[i] >= 0 && order[i] < N && !seen[order[i]]);
        seen[order[i]] = true;
    }
    int same_epoch = 0, same_seed = 0;
    shuffle_permutation(1, 1, N, again);
    shuffle_permutation(2, 0, N, other);
    for (int i = 0; i < N; i++) {
        same_epoch += order[i] == again[i];
        same_seed += order[i] == other[i];
    }
    assert_true(same_epoch < 10 && same_seed < 10);
    /* Part of reproducibility: these must never change. */
    const int64_t first[5] = {4, 3, 1, 0, 2};
    int64_t five[5];
    shuffle_permutation(42, 3, 5, five);
    assert_memory_equal(five, first, sizeof(first));
    shuffle_permutation(1, 1, 0, NULL);
    /* Every order of three is about equally frequent. */
    int counts[27] = {0};
    for (uint64_t seed = 0; seed < 6000; seed++) {
        shuffle_permutation(seed, 0, 3, five);
        counts[five[0] * 9 + five[1] * 3 + five[2]]++;
    }
    for (int i = 0; i < 27; i++) {
        assert_true(counts[i] == 0 || (counts[i] > 850 && counts[i] < 1150));
    }
}

/* A file too large to be read whole: rows come from the file, and one that is cut meanwhile is an
 * error. Sparse, so that it takes neither disk nor memory. */
static void test_large_file(void **state) {
    (void)state;
    char path[] = "/tmp/dlc-test-large-XXXXXX.npy";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    const int64_t n_rows = 100000, width = 1000; /* 400 MB */
    char header[128];
    int n = snprintf(header, sizeof(header), "\x93NUMPY\x01%c%c%c", 0, 118, 0);
    memset(header + 10, ' ', 118);
    n = snprintf(header + 10, 110, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
                 (int)n_rows, (int)width);
    header[10 + n] = ' ';
    header[127] = '\n';
    const float mark[2] = {3.5f, -2.0f};
    off_t data = 128, row = (off_t)width * 4;
    assert_int_equal(pwrite(fd, header, 128, 0), 128);
    assert_int_equal(ftruncate(fd, data + n_rows * row), 0);
    assert_int_equal(pwrite(fd, mark, 8, data + 70000 * row), 8);
    Dataset large;
    open_dataset(&large, path, NULL);
    assert_int_equal(dataset_rows(&large), n_rows);
    const DataField *field = &large.fields[0];
    static float values[2 * 1000];
    const int64_t rows[] = {1, 70000};
    assert_int_equal(dataset_gather_rows(field, rows, 2, values, PLAN_F32, 0, message), DLC_OK);
    assert_true(values[0] == 0 && values[width] == 3.5f && values[width + 1] == -2.0f);
    assert_int_equal(ftruncate(fd, data + 60000 * row), 0);
    assert_int_equal(dataset_gather_rows(field, rows, 1, values, PLAN_F32, 0, message), DLC_OK);
    assert_int_equal(dataset_gather_rows(field, rows + 1, 1, values, PLAN_F32, 0, message),
                     DLC_ERROR_IO);
    assert_non_null(strstr(message, "the file ends at offset"));
    dataset_close(&large);
    close(fd);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits),        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_several_files), cmocka_unit_test(test_memory_dataset),
        cmocka_unit_test(test_comma),         cmocka_unit_test(test_hash),
        cmocka_unit_test(test_npy_write),     cmocka_unit_test(test_half),
        cmocka_unit_test(test_convert),       cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_large_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
