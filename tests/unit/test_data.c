/* Data files: every reader on good files, on every truncation and on lying headers. */
#include "runtime/data/dataset.h"
#include "runtime/data/safetensors.h"
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

/* -- Building files in memory */

typedef struct Bytes {
    uint8_t data[8192];
    size_t size;
} Bytes;

static void put(Bytes *out, const void *data, size_t size) {
    assert_true(out->size + size <= sizeof(out->data));
    if (size) {
        memcpy(out->data + out->size, data, size);
    }
    out->size += size;
}

static void put_number(Bytes *out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        put(out, &byte, 1);
    }
}

static Bytes make_npy(int version, const char *header, const void *data, size_t size) {
    Bytes out = {.size = 0};
    const uint8_t start[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)version, 0};
    put(&out, start, 8);
    put_number(&out, strlen(header), version == 1 ? 2 : 4);
    put(&out, header, strlen(header));
    put(&out, data, size);
    return out;
}

typedef struct ZipItem {
    const char *name;
    Bytes content;
    bool deflated;
} ZipItem;

/* `skew` is added to what the directory says of the unpacked size of the first item. */
static Bytes make_zip(const ZipItem *items, int count, int64_t skew, bool zip64) {
    Bytes out = {.size = 0}, directory = {.size = 0};
    for (int i = 0; i < count; i++) {
        uint8_t packed[4096];
        uLongf packed_size = items[i].content.size;
        const uint8_t *data = items[i].content.data;
        if (items[i].deflated) {
            z_stream stream = {0};
            assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY),
                             Z_OK);
            stream.next_in = (Bytef *)(uintptr_t)data;
            stream.avail_in = (uInt)items[i].content.size;
            stream.next_out = packed;
            stream.avail_out = sizeof(packed);
            assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
            packed_size = stream.total_out;
            deflateEnd(&stream);
            data = packed;
        }
        uint64_t unpacked = items[i].content.size + (uint64_t)(i == 0 ? skew : 0);
        uint64_t crc = crc32(0, items[i].content.data, (uInt)items[i].content.size);
        size_t local = out.size, name = strlen(items[i].name);
        put_number(&out, 0x04034b50, 4);
        put_number(&out, 20, 2);
        put_number(&out, 0, 2);
        put_number(&out, items[i].deflated ? 8 : 0, 2);
        put_number(&out, 0, 4);
        put_number(&out, crc, 4);
        put_number(&out, packed_size, 4);
        put_number(&out, unpacked, 4);
        put_number(&out, name, 2);
        put_number(&out, 0, 2);
        put(&out, items[i].name, name);
        put(&out, data, packed_size);
        put_number(&directory, 0x02014b50, 4);
        put_number(&directory, 20, 2);
        put_number(&directory, 20, 2);
        put_number(&directory, 0, 2);
        put_number(&directory, items[i].deflated ? 8 : 0, 2);
        put_number(&directory, 0, 4);
        put_number(&directory, crc, 4);
        put_number(&directory, zip64 ? UINT32_MAX : packed_size, 4);
        put_number(&directory, zip64 ? UINT32_MAX : unpacked, 4);
        put_number(&directory, name, 2);
        put_number(&directory, zip64 ? 28 : 0, 2);
        put_number(&directory, 0, 2);
        put_number(&directory, 0, 8);
        put_number(&directory, zip64 ? UINT32_MAX : local, 4);
        put(&directory, items[i].name, name);
        if (zip64) {
            put_number(&directory, 1, 2);
            put_number(&directory, 24, 2);
            put_number(&directory, unpacked, 8);
            put_number(&directory, packed_size, 8);
            put_number(&directory, local, 8);
        }
    }
    size_t start = out.size;
    put(&out, directory.data, directory.size);
    if (zip64) {
        size_t end64 = out.size;
        put_number(&out, 0x06064b50, 4);
        put_number(&out, 44, 8);
        put_number(&out, 45, 2);
        put_number(&out, 45, 2);
        put_number(&out, 0, 8);
        put_number(&out, (uint64_t)count, 8);
        put_number(&out, (uint64_t)count, 8);
        put_number(&out, directory.size, 8);
        put_number(&out, start, 8);
        put_number(&out, 0x07064b50, 4);
        put_number(&out, 0, 4);
        put_number(&out, end64, 8);
        put_number(&out, 1, 4);
    }
    put_number(&out, 0x06054b50, 4);
    put_number(&out, 0, 4);
    put_number(&out, zip64 ? 0xFFFF : (uint64_t)count, 2);
    put_number(&out, zip64 ? 0xFFFF : (uint64_t)count, 2);
    put_number(&out, zip64 ? UINT32_MAX : directory.size, 4);
    put_number(&out, zip64 ? UINT32_MAX : start, 4);
    put_number(&out, 0, 2);
    return out;
}

static Bytes make_gzip(const Bytes *content) {
    Bytes out = {.size = 0};
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)content->data;
    stream.avail_in = (uInt)content->size;
    stream.next_out = out.data;
    stream.avail_out = sizeof(out.data);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.size = stream.total_out;
    deflateEnd(&stream);
    return out;
}

static Bytes make_safetensors(const char *header, size_t data_bytes) {
    Bytes out = {.size = 0};
    put_number(&out, strlen(header), 8);
    put(&out, header, strlen(header));
    for (size_t i = 0; i < data_bytes; i++) {
        put_number(&out, i & 1, 1);
    }
    return out;
}

/* -- Reading from memory. The bytes are copied to the heap, so that a sanitizer sees any overrun.
 */

static char message[DATA_MESSAGE_BYTES];

static dlc_status read_bytes(DataArrays *arrays, const uint8_t *bytes, size_t size,
                             DataFormat format) {
    uint8_t *copy = data_own(arrays, size);
    if (!copy) {
        snprintf(message, sizeof(message), "out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    if (size) {
        memcpy(copy, bytes, size);
    }
    DataInput input = {.path = "f",
                       .name = "x",
                       .bytes = copy,
                       .size = size,
                       .arrays = arrays,
                       .message = message};
    message[0] = '\0';
    return data_arrays_read(&input, format, DATA_U8);
}

static void expect_ok(DataArrays *arrays, const Bytes *file, DataFormat format) {
    data_arrays_init(arrays, NULL);
    dlc_status status = read_bytes(arrays, file->data, file->size, format);
    if (status != DLC_OK) {
        print_error("%s\n", message);
    }
    assert_int_equal(status, DLC_OK);
}

static void expect_error(const Bytes *file, DataFormat format, const char *part) {
    DataArrays arrays;
    data_arrays_init(&arrays, NULL);
    dlc_status status = read_bytes(&arrays, file->data, file->size, format);
    if (status == DLC_OK || !strstr(message, part)) {
        print_error("status %d, message '%s', expected '%s'\n", status, message, part);
    }
    assert_true(status == DLC_ERROR_FORMAT || status == DLC_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, part));
    assert_non_null(strstr(message, "f"));
    data_arrays_finish(&arrays);
}

/* Every truncation, every changed byte, every failing allocation: an error or another good reading,
 * never a crash or a leak. Truncations must be errors where `strict`. */
static void torture(const Bytes *file, DataFormat format, bool strict) {
    DataArrays arrays;
    for (size_t size = 0; size < file->size; size++) {
        data_arrays_init(&arrays, NULL);
        dlc_status status = read_bytes(&arrays, file->data, size, format);
        assert_true(status == DLC_OK || message[0]);
        assert_false(strict && status == DLC_OK);
        data_arrays_finish(&arrays);
    }
    for (size_t i = 0; i < file->size; i++) {
        static const uint8_t changes[] = {0x01, 0x80, 0xFF, 0x10};
        for (size_t j = 0; j < sizeof(changes); j++) {
            Bytes changed = *file;
            changed.data[i] ^= changes[j];
            data_arrays_init(&arrays, NULL);
            dlc_status status = read_bytes(&arrays, changed.data, changed.size, format);
            assert_true(status == DLC_OK || message[0]);
            data_arrays_finish(&arrays);
        }
    }
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (long n = 0; status != DLC_OK; n++) {
        Meter meter = {.left = n};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        data_arrays_init(&arrays, &allocator);
        status = read_bytes(&arrays, file->data, file->size, format);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        data_arrays_finish(&arrays);
        assert_int_equal(meter.alive, 0);
    }
}

/* -- NPY */

static void test_npy(void **state) {
    (void)state;
    DataArrays arrays;
    const float floats[6] = {0, 1, 2, 3, 4, 5};
    Bytes file = make_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n",
                          floats, sizeof(floats));
    expect_ok(&arrays, &file, DATA_FORMAT_AUTO);
    assert_int_equal(arrays.n_items, 1);
    assert_string_equal(arrays.items[0].name, "x");
    assert_int_equal(arrays.items[0].type, DATA_F32);
    assert_int_equal(arrays.items[0].rank, 2);
    assert_int_equal(arrays.items[0].dims[1], 3);
    assert_memory_equal(arrays.items[0].data, floats, sizeof(floats));
    data_arrays_finish(&arrays);
    torture(&file, DATA_FORMAT_NPY, true);

    file = make_npy(3, "{\"shape\":(3,2),\"fortran_order\":True,\"descr\":\"<f4\"}", floats,
                    sizeof(floats));
    expect_ok(&arrays, &file, DATA_FORMAT_NPY);
    const float transposed[6] = {0, 3, 1, 4, 2, 5};
    assert_memory_equal(arrays.items[0].data, transposed, sizeof(transposed));
    data_arrays_finish(&arrays);
    torture(&file, DATA_FORMAT_NPY, true);

    const uint8_t big[6] = {0x01, 0x02, 0xFF, 0xFE, 0, 7};
    file = make_npy(2, "{'descr': '>i2', 'fortran_order': False, 'shape': (3,)}", big, sizeof(big));
    expect_ok(&arrays, &file, DATA_FORMAT_NPY);
    const int16_t values[3] = {0x102, -2, 7};
    assert_memory_equal(arrays.items[0].data, values, sizeof(values));
    data_arrays_finish(&arrays);

    file = make_npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", "12345678", 8);
    expect_ok(&arrays, &file, DATA_FORMAT_NPY);
    assert_int_equal(arrays.items[0].rank, 0);
    assert_int_equal(arrays.items[0].n_elements, 1);
    data_arrays_finish(&arrays);

    file = make_npy(1, "{'descr': '<f8', 'fortran_order': True, 'shape': (4, 0, 5)}", "", 0);
    expect_ok(&arrays, &file, DATA_FORMAT_NPY);
    assert_int_equal(arrays.items[0].n_elements, 0);
    data_arrays_finish(&arrays);
}

/* 3-d Fortran order with byte swapping against the definition. */
static void test_npy_fortran(void **state) {
    (void)state;
    uint8_t data[24 * 4];
    for (uint32_t i = 0; i < 24; i++) {
        data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = 0;
        data[4 * i + 3] = (uint8_t)i;
    }
    Bytes file = make_npy(1, "{'descr': '>u4', 'fortran_order': True, 'shape': (2, 3, 4)}", data,
                          sizeof(data));
    DataArrays arrays;
    expect_ok(&arrays, &file, DATA_FORMAT_NPY);
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 4; k++) {
                uint32_t value;
                memcpy(&value, arrays.items[0].data + 4 * ((i * 3 + j) * 4 + k), 4);
                assert_int_equal(value, i + 2 * j + 6 * k);
            }
        }
    }
    data_arrays_finish(&arrays);
}

static void test_npy_bad(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *error;
    } rows[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 7, "expected 8 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 9, "found 9"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2)}", 8,
         "more elements"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 9)}", 0,
         "more elements"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 8,
         "too large"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, "'<c8' is not supported"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, "not supported"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4, "expected '\"'"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4, "True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, "expected a shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", 4, "expected '('"},
        {"{'descr': '<f4', 'fortran_order': False}", 4, "expected descr, fortran_order and shape"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", 4, "repeated key"},
        {"{'descr': '<f4', 'color': 1}", 4, "unknown key 'color'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4, "text after the dict"},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", 1, "bool values"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': "
         "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
         4, "at most 16"},
        {"", 4, "expected '{'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Bytes file = make_npy(1, rows[i].header, "zzzzzzzzzzzzzzzz", rows[i].data);
        expect_error(&file, DATA_FORMAT_NPY, rows[i].error);
    }
    Bytes file = make_npy(4, "{}", "", 0);
    expect_error(&file, DATA_FORMAT_NPY, "offset 6");
    file = make_npy(1, "{}", "", 0);
    file.data[8] = 200;
    expect_error(&file, DATA_FORMAT_NPY, "header says 200 bytes");
}

/* -- NPZ */

static Bytes sample_npz(bool deflated, bool zip64) {
    float floats[60];
    for (int i = 0; i < 60; i++) {
        floats[i] = (float)(i % 3);
    }
    ZipItem items[] = {
        {"image.npy",
         make_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 6)}", floats, 240),
         deflated},
        {"label.npy",
         make_npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (10,)}", "0123456789", 10),
         !deflated}};
    return make_zip(items, 2, 0, zip64);
}

static void test_npz(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        DataArrays arrays;
        Bytes file = sample_npz(i & 1, i & 2);
        expect_ok(&arrays, &file, DATA_FORMAT_AUTO);
        assert_int_equal(arrays.n_items, 2);
        const DataArray *label = data_arrays_find(&arrays, "label");
        assert_memory_equal(label->data, "0123456789", 10);
        float value;
        memcpy(&value, data_arrays_find(&arrays, "image")->data + 4 * 59, 4);
        assert_true(value == 2.0f);
        data_arrays_finish(&arrays);
        torture(&file, DATA_FORMAT_NPZ, true);
    }
}

static void test_npz_bad(void **state) {
    (void)state;
    Bytes npy = make_npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (4,)}", "abcd", 4);
    ZipItem one[] = {{"a.npy", npy, false}, {"b.npy", npy, true}};
    Bytes file = make_zip(one, 1, 5, false);
    expect_error(&file, DATA_FORMAT_NPZ, "two sizes");
    file = make_zip(one + 1, 1, 5, false);
    expect_error(&file, DATA_FORMAT_NPZ, "it is damaged");
    file = make_zip(one + 1, 1, -5, false);
    expect_error(&file, DATA_FORMAT_NPZ, "it is damaged");
    file = make_zip(one + 1, 1, 4000000000LL, false); /* must not allocate 4 GB for 60 bytes */
    expect_error(&file, DATA_FORMAT_NPZ, "cannot give");
    ZipItem twice[] = {{"a.npy", npy, false}, {"a.npy", npy, false}};
    file = make_zip(twice, 2, 0, false);
    expect_error(&file, DATA_FORMAT_NPZ, "two arrays are named 'a'");
    ZipItem text[] = {{"a.txt", npy, false}};
    file = make_zip(text, 1, 0, false);
    expect_error(&file, DATA_FORMAT_NPZ, "must end in .npy");
    /* Both directory entries point to the first local header. */
    file = make_zip(twice, 2, 0, false);
    size_t directory = 2 * (30 + 5 + npy.size);
    memset(file.data + directory + 46 + 5 + 42, 0, 4);
    expect_error(&file, DATA_FORMAT_NPZ, "overlap");
    file = make_zip(one, 1, 0, false);
    file.data[30 + 5 + npy.size - 1] ^= 1;
    expect_error(&file, DATA_FORMAT_NPZ, "checksum");
    file = make_zip(one, 1, 0, false);
    file.data[30 + 5 + npy.size + 10] = 12;
    expect_error(&file, DATA_FORMAT_NPZ, "method 12");
    file = make_zip(one, 1, 0, false);
    file.data[30 + 5 + npy.size + 8] = 1;
    expect_error(&file, DATA_FORMAT_NPZ, "encrypted");
    file = make_zip(one, 1, 0, false);
    memset(file.data + 30 + 5 + npy.size + 42, 0xEE, 4);
    expect_error(&file, DATA_FORMAT_NPZ, "where no entry is");
    npy.size--;
    ZipItem shorter[] = {{"a.npy", npy, false}};
    file = make_zip(shorter, 1, 0, false);
    expect_error(&file, DATA_FORMAT_NPZ, "f:a: offset");
}

/* -- CSV */

static Bytes make_text(const char *text) {
    Bytes out = {.size = 0};
    put(&out, text, strlen(text));
    return out;
}

static void test_csv(void **state) {
    (void)state;
    DataArrays arrays;
    Bytes file = make_text("\xEF\xBB\xBF"
                           "a, \"b \"\"q\"\"\",x[0],x[1]\r\n"
                           "1,\"2.5\",3,4\r\n-7,1e3,5,6.5\r\n+9,nan,7,8\n\n\n");
    expect_ok(&arrays, &file, DATA_FORMAT_CSV);
    assert_int_equal(arrays.n_items, 3);
    assert_int_equal(arrays.items[0].type, DATA_I64);
    assert_int_equal(arrays.items[0].dims[0], 3);
    const int64_t a[3] = {1, -7, 9};
    assert_memory_equal(arrays.items[0].data, a, sizeof(a));
    assert_string_equal(arrays.items[1].name, "b \"q\"");
    double b[3];
    memcpy(b, arrays.items[1].data, sizeof(b));
    assert_true(b[0] == 2.5 && b[1] == 1000 && isnan(b[2]));
    const double x[6] = {3, 4, 5, 6.5, 7, 8};
    assert_string_equal(arrays.items[2].name, "x");
    assert_int_equal(arrays.items[2].rank, 2);
    assert_int_equal(arrays.items[2].dims[1], 2);
    assert_memory_equal(arrays.items[2].data, x, sizeof(x));
    data_arrays_finish(&arrays);
    torture(&file, DATA_FORMAT_CSV, false);
    file =
        make_text("a,v1.5,y[0]\n9223372036854775807,9223372036854775808,1"); /* no last newline */
    expect_ok(&arrays, &file, DATA_FORMAT_CSV);
    assert_int_equal(arrays.items[0].type, DATA_I64);
    assert_int_equal(arrays.items[1].type, DATA_F64);
    assert_string_equal(arrays.items[1].name, "v1.5");
    assert_int_equal(arrays.items[2].rank, 2);
    data_arrays_finish(&arrays);
    file = make_text("a,b\n");
    expect_ok(&arrays, &file, DATA_FORMAT_CSV);
    assert_int_equal(arrays.items[0].dims[0], 0);
    data_arrays_finish(&arrays);
}

static void test_csv_bad(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "line 1"},
        {"\n1\n", "found an empty one"},
        {"a,,b\n", "found an empty one"},
        {"a,a\n1,2\n", "two columns are named 'a'"},
        {"a,b\n1,2\n3\n", "line 3: expected 2 values, found 1"},
        {"a,b\n1,2\n\n3,4\n", "line 3: expected 2 values, found 0"},
        {"a,b\n1,2,3\n", "line 2: expected 2 values, found 3"},
        {"a\n\"1\n2\n", "line 2: a quoted cell has no closing quote"},
        {"a,b\n\"1\"2,3\n", "after a quoted cell"},
        {"a,b\n1\"2,3\n", "a quote inside"},
        {"x[1]\n1\n", "must follow"},
        {"x[0],y,x[1]\n1,2,3\n", "must follow"},
        {"x[0],x[2]\n1,2\n", "must follow"},
        {"x[0],x[1],x[1]\n1,2,3\n", "must follow"},
        {"x[0],x[1],y[1]\n1,2,3\n", "must follow"},
        {"a,b\n\"x\ny\",1\n2\n", "line 4: expected 2 values, found 1"},
        {"a,b\n\"x\n\n\",1\n\"2\n", "line 5: a quoted cell has no closing quote"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Bytes file = make_text(rows[i].text);
        expect_error(&file, DATA_FORMAT_CSV, rows[i].error);
    }
}

/* A text does not keep the other columns from being read. */
static void test_csv_texts(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"a,b\n1,setosa\n", "line 2: column 2 ('b'): expected a number, found 'setosa'"},
        {"a,b\n1,\n", "line 2: column 2 ('b'): expected a number, found nothing"},
        {"a,b\n1,0x10\n", "expected a number, found '0x10'"},
        {"a,b\n1,1.2.3\n", "expected a number, found '1.2.3'"},
        {"a,b\n1,1e400\n", "expected a number, found '1e400'"},
        {"a,b\n1,2\n2,x\n3,4.5\n", "line 3: column 2 ('b')"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        DataArrays arrays;
        Bytes file = make_text(rows[i].text);
        expect_ok(&arrays, &file, DATA_FORMAT_CSV);
        assert_null(arrays.items[0].unreadable);
        int64_t first;
        memcpy(&first, arrays.items[0].data, sizeof(first));
        assert_int_equal(first, 1);
        assert_non_null(arrays.items[1].unreadable);
        assert_non_null(strstr(arrays.items[1].unreadable, rows[i].why));
        data_arrays_finish(&arrays);
    }
}

/* -- IDX */

static void test_idx(void **state) {
    (void)state;
    DataArrays arrays;
    const uint8_t bytes[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
    Bytes file = {.size = 0};
    put(&file, bytes, sizeof(bytes));
    expect_ok(&arrays, &file, DATA_FORMAT_IDX);
    assert_int_equal(arrays.items[0].rank, 3);
    assert_int_equal(arrays.items[0].dims[2], 3);
    assert_memory_equal(arrays.items[0].data, bytes + 16, 6);
    data_arrays_finish(&arrays);
    torture(&file, DATA_FORMAT_IDX, true);
    Bytes packed = make_gzip(&file);
    expect_ok(&arrays, &packed, DATA_FORMAT_IDX);
    assert_memory_equal(arrays.items[0].data, bytes + 16, 6);
    data_arrays_finish(&arrays);
    torture(&packed, DATA_FORMAT_IDX, true);
    const uint8_t floats[] = {0, 0, 13, 1, 0, 0, 0, 2, 0x3F, 0x80, 0, 0, 0xC0, 0, 0, 0};
    file.size = 0;
    put(&file, floats, sizeof(floats));
    expect_ok(&arrays, &file, DATA_FORMAT_IDX);
    const float values[2] = {1.0f, -2.0f};
    assert_memory_equal(arrays.items[0].data, values, sizeof(values));
    data_arrays_finish(&arrays);
    file.data[7] = 3;
    expect_error(&file, DATA_FORMAT_IDX, "offset 8: expected 12 bytes");
    file.data[7] = 1;
    expect_error(&file, DATA_FORMAT_IDX, "found 8");
    file.data[2] = 7;
    expect_error(&file, DATA_FORMAT_IDX, "offset 2");
    file.data[2] = 13;
    file.data[3] = 17;
    expect_error(&file, DATA_FORMAT_IDX, "rank");
    file.data[3] = 0;
    expect_error(&file, DATA_FORMAT_IDX, "rank");
    /* Each type, most significant byte first: -2, of u8 254. */
    static const struct {
        uint8_t code, width;
        DataType type;
        uint8_t bytes[8];
    } types[] = {{0x08, 1, DATA_U8, {254}},
                 {0x09, 1, DATA_I8, {0xFE}},
                 {0x0B, 2, DATA_I16, {0xFF, 0xFE}},
                 {0x0C, 4, DATA_I32, {0xFF, 0xFF, 0xFF, 0xFE}},
                 {0x0D, 4, DATA_F32, {0xC0, 0, 0, 0}},
                 {0x0E, 8, DATA_F64, {0xC0, 0, 0, 0, 0, 0, 0, 0}}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const uint8_t head[] = {0, 0, types[i].code, 1, 0, 0, 0, 1};
        file.size = 0;
        put(&file, head, sizeof(head));
        put(&file, types[i].bytes, types[i].width);
        expect_ok(&arrays, &file, DATA_FORMAT_IDX);
        assert_int_equal(arrays.items[0].type, types[i].type);
        for (int k = 0; k < types[i].width; k++) { /* turned for this machine */
            assert_int_equal(((const uint8_t *)arrays.items[0].data)[k],
                             types[i].bytes[types[i].width - 1 - k]);
        }
        data_arrays_finish(&arrays);
    }
    const uint8_t huge[] = {0,    0,    14,   3,    0xFF, 0xFF, 0xFF, 0xFF,
                            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    file.size = 0;
    put(&file, huge, sizeof(huge));
    expect_error(&file, DATA_FORMAT_IDX, "more elements");
}

/* -- safetensors */

static void test_safetensors(void **state) {
    (void)state;
    char folder[] = P_tmpdir "/dlc-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/w.safetensors", folder);
    const float weight[6] = {1, 2, 3, 4, 5, 6};
    const int64_t step[1] = {77};
    const SafetensorsEntry entries[] = {
        {.name = "z.weight",
         .type = DATA_F32,
         .rank = 2,
         .dims = {2, 3},
         .data = (const uint8_t *)weight},
        {.name = "empty",
         .type = DATA_F16,
         .rank = 2,
         .dims = {0, 4},
         .data = (const uint8_t *)weight},
        {.name = "a\"step", .type = DATA_I64, .rank = 0, .data = (const uint8_t *)step}};
    const SafetensorsPair pairs[] = {{"format", "dlc"}, {"note", "line\nbreak"}};
    assert_int_equal(safetensors_write(path, entries, 3, pairs, 2, NULL, message), DLC_OK);
    Safetensors file;
    assert_int_equal(safetensors_open(&file, path, NULL, message), DLC_OK);
    assert_int_equal(file.n_entries, 3);
    assert_string_equal(file.entries[0].name, "z.weight");
    assert_string_equal(safetensors_metadata(&file, "note"), "line\nbreak");
    assert_null(safetensors_metadata(&file, "none"));
    const SafetensorsEntry *found = safetensors_find(&file, "z.weight");
    assert_int_equal(found->dims[1], 3);
    assert_int_equal((found->data - file.view.data) % 8, 0);
    assert_memory_equal(found->data, weight, sizeof(weight));
    assert_memory_equal(safetensors_find(&file, "a\"step")->data, step, 8);
    assert_int_equal(safetensors_find(&file, "empty")->n_elements, 0);
    assert_null(safetensors_find(&file, "nothing"));
    Bytes copy = {.size = 0};
    put(&copy, file.view.data, file.view.size);
    safetensors_close(&file);
    safetensors_close(&file);
    torture(&copy, DATA_FORMAT_SAFETENSORS, true);
    /* The same input gives the same bytes. */
    assert_int_equal(safetensors_write(path, entries, 3, pairs, 2, NULL, message), DLC_OK);
    assert_int_equal(safetensors_open(&file, path, NULL, message), DLC_OK);
    assert_int_equal(file.view.size, copy.size);
    assert_memory_equal(file.view.data, copy.data, copy.size);
    safetensors_close(&file);
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (long n = 0; status != DLC_OK; n++) {
        Meter meter = {.left = n};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        status = safetensors_write(path, entries, 3, pairs, 2, &allocator, message);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        assert_int_equal(meter.alive, 0);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(safetensors_open(&file, path, NULL, message), DLC_ERROR_IO);
    assert_int_equal(rmdir(folder), 0);
}

static void test_safetensors_bad(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *error;
    } rows[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "has 4 data bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12,
         "after the last tensor lie 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
         "before tensor 'a' lie 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "'b' overlaps the one before it by 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
         "expected 12 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "sizes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,9],\"data_offsets\":[0,8]}}", 8,
         "more elements"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, "'F8_E4M3'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "key only once"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "expected dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
         "expected dtype, shape and data_offsets"},
        {"{\"a\":3}", 8, "expected dtype"},
        {"[1]", 8, "begins with '{'"},
        {"", 8, "begins with '{'"},
        {"{\"a\":}", 8, "offset 13: JSON header"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "__metadata__ 'k'"},
        {"{\"__metadata__\":[]}", 0, "object of texts"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "sizes"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Bytes file = make_safetensors(rows[i].header, rows[i].data);
        expect_error(&file, DATA_FORMAT_SAFETENSORS, rows[i].error);
    }
    Bytes file = make_safetensors("{}", 0);
    file.data[7] = 0xFF;
    expect_error(&file, DATA_FORMAT_SAFETENSORS, "offset 0: the header says");
    file = make_safetensors("{\"a\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
    file.data[file.size - 1] = 2;
    expect_error(&file, DATA_FORMAT_SAFETENSORS, "bool values");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_npy_fortran),
        cmocka_unit_test(test_npy_bad),
        cmocka_unit_test(test_npz),
        cmocka_unit_test(test_npz_bad),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_csv_bad),
        cmocka_unit_test(test_csv_texts),
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_safetensors_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
