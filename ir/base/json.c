/* JSON: the writer, and a strict recursive-descent reader into one array of nodes (json.h, RFC
 * 8259). */
#include "ir/base/json.h"
#include "ir/base/memory.h"
#include "ir/base/number.h"
#include "ir/base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX_DEPTH = 64 };

void json_add_string(Str *str, const char *text) {
    str_add_char(str, '"');
    for (const char *at = text, *end = text + strlen(text); at < end; at++) {
        unsigned char c = (unsigned char)*at;
        size_t length = utf8_length((const unsigned char *)at, (size_t)(end - at));
        if (length == 0) {
            str_add(str, "\\ufffd");
        } else if (length > 1) {
            str_add_bytes(str, at, length);
            at += length - 1;
        } else if (c == '"' || c == '\\') {
            str_add_char(str, '\\');
            str_add_char(str, *at);
        } else if (c == '\n') {
            str_add(str, "\\n");
        } else if (c == '\t') {
            str_add(str, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            str_addf(str, "\\u%04x", c);
        } else {
            str_add_char(str, *at);
        }
    }
    str_add_char(str, '"');
}

void json_add_double(Str *str, double value) {
    if (isfinite(value)) {
        str_add_double(str, value);
    } else {
        str_add(str, "null");
    }
}

typedef struct Reader {
    JsonDoc *doc;
    const char *start, *at, *end;
    char *string_end; /* in doc->strings */
    int32_t capacity;
    int depth;
    dlc_status status;
} Reader;

static bool reader_fail(Reader *reader, const char *at, const char *expected) {
    if (reader->status == DLC_OK) {
        reader->status = DLC_ERROR_FORMAT;
        reader->doc->error = expected;
        reader->doc->error_offset = (size_t)(at - reader->start);
    }
    return false;
}

static bool reader_no_memory(Reader *reader) {
    reader->status = DLC_ERROR_OUT_OF_MEMORY;
    reader->doc->error = "memory";
    return false;
}

static int32_t node_add(Reader *reader, JsonKind kind, const char *key) {
    JsonDoc *doc = reader->doc;
    if (doc->n_nodes == reader->capacity) {
        if (reader->capacity > INT32_MAX / 2) {
            reader_no_memory(reader);
            return -1;
        }
        int32_t grown = reader->capacity ? reader->capacity * 2 : 32;
        JsonNode *nodes = raw_alloc(doc->allocator, (size_t)grown * sizeof(*nodes));
        if (!nodes) {
            reader_no_memory(reader);
            return -1;
        }
        if (doc->n_nodes) {
            memcpy(nodes, doc->nodes, (size_t)doc->n_nodes * sizeof(*nodes));
        }
        raw_free(doc->allocator, doc->nodes);
        doc->nodes = nodes;
        reader->capacity = grown;
    }
    doc->nodes[doc->n_nodes] = (JsonNode){.kind = kind, .key = key, .first_child = -1, .next = -1};
    return doc->n_nodes++;
}

static void skip_space(Reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\n' || *reader->at == '\r')) {
        reader->at++;
    }
}

static bool accept(Reader *reader, char c) {
    if (reader->at < reader->end && *reader->at == c) {
        reader->at++;
        return true;
    }
    return false;
}

/* The four digits after \u. */
static bool read_hex4(Reader *reader, uint32_t *out) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        char c = reader->at < reader->end ? *reader->at : '\0';
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint32_t)(c - 'a' + 10);
        } else if (c >= 'A' && c <= 'F') {
            digit = (uint32_t)(c - 'A' + 10);
        } else {
            return reader_fail(reader, reader->at, "four hexadecimal digits");
        }
        value = value * 16 + digit;
    }
    *out = value;
    return true;
}

static void put(Reader *reader, uint32_t byte) {
    *reader->string_end++ = (char)(unsigned char)byte;
}

static void put_utf8(Reader *reader, uint32_t code) {
    if (code < 0x80) {
        put(reader, code);
    } else if (code < 0x800) {
        put(reader, 0xC0 | (code >> 6));
        put(reader, 0x80 | (code & 63));
    } else if (code < 0x10000) {
        put(reader, 0xE0 | (code >> 12));
        put(reader, 0x80 | ((code >> 6) & 63));
        put(reader, 0x80 | (code & 63));
    } else {
        put(reader, 0xF0 | (code >> 18));
        put(reader, 0x80 | ((code >> 12) & 63));
        put(reader, 0x80 | ((code >> 6) & 63));
        put(reader, 0x80 | (code & 63));
    }
}

static bool read_unicode_escape(Reader *reader) {
    const char *start = reader->at;
    uint32_t code;
    if (!read_hex4(reader, &code)) {
        return false;
    }
    if (code >= 0xD800 && code < 0xDC00) {
        uint32_t low;
        if (!accept(reader, '\\') || !accept(reader, 'u')) {
            return reader_fail(reader, start, "a low surrogate after a high one");
        }
        if (!read_hex4(reader, &low)) {
            return false;
        }
        if (low < 0xDC00 || low > 0xDFFF) {
            return reader_fail(reader, start, "a low surrogate after a high one");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
        return reader_fail(reader, start, "no lone low surrogate");
    }
    if (code == 0) {
        return reader_fail(reader, start, "no NUL in a string");
    }
    put_utf8(reader, code);
    return true;
}

static bool copy_utf8(Reader *reader) {
    const unsigned char *at = (const unsigned char *)reader->at;
    size_t length = utf8_length(at, (size_t)(reader->end - reader->at));
    if (length == 0) {
        return reader_fail(reader, reader->at, "well-formed UTF-8");
    }
    memcpy(reader->string_end, at, length);
    reader->string_end += length;
    reader->at += length;
    return true;
}

/* After the opening quote. The result lies in doc->strings, which has room: unescaped text with its
 * NUL is never longer than the quoted form. */
static const char *read_string(Reader *reader) {
    char *text = reader->string_end;
    static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    for (;;) {
        if (reader->at == reader->end) {
            reader_fail(reader, reader->at, "a closing quote");
            return NULL;
        }
        unsigned char c = (unsigned char)*reader->at;
        if (c == '"') {
            reader->at++;
            put(reader, 0);
            return text;
        }
        if (c < 0x20) {
            reader_fail(reader, reader->at, "no control character in a string");
            return NULL;
        }
        if (c != '\\') {
            if (!copy_utf8(reader)) {
                return NULL;
            }
            continue;
        }
        reader->at++;
        char escape = reader->at < reader->end ? *reader->at : '\0';
        const char *known = escape ? strchr(escapes, escape) : NULL;
        if (known) {
            reader->at++;
            put(reader, (unsigned char)values[known - escapes]);
        } else if (escape == 'u') {
            reader->at++;
            if (!read_unicode_escape(reader)) {
                return NULL;
            }
        } else {
            reader_fail(reader, reader->at, "an escape character");
            return NULL;
        }
    }
}

static bool skip_digits(Reader *reader) {
    const char *start = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        reader->at++;
    }
    return reader->at > start || reader_fail(reader, start, "a digit");
}

static bool read_number(Reader *reader, JsonNode *node) {
    const char *start = reader->at;
    bool negative = accept(reader, '-'), whole = true;
    const char *digits = reader->at;
    if (!accept(reader, '0') && !skip_digits(reader)) {
        return false;
    }
    const char *digits_end = reader->at;
    if (accept(reader, '.')) {
        whole = false;
        if (!skip_digits(reader)) {
            return false;
        }
    }
    if (accept(reader, 'e') || accept(reader, 'E')) {
        whole = false;
        if (!accept(reader, '+')) {
            accept(reader, '-');
        }
        if (!skip_digits(reader)) {
            return false;
        }
    }
    if (!number_parse(start, (size_t)(reader->at - start), &node->number)) {
        return reader_fail(reader, start, "a number of reasonable length");
    }
    int64_t value = 0; /* built negative, whose range is the larger */
    for (const char *at = digits; whole && at < digits_end; at++) {
        whole = !__builtin_mul_overflow(value, 10, &value) &&
                !__builtin_sub_overflow(value, *at - '0', &value);
    }
    if (whole && !negative) {
        whole = !__builtin_sub_overflow(0, value, &value);
    }
    node->is_integer = whole;
    node->integer = whole ? value : 0;
    return true;
}

static bool read_word(Reader *reader, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) {
        return reader_fail(reader, reader->at, "a JSON value");
    }
    reader->at += length;
    return true;
}

static int key_compare(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sorting finds two equal keys in n log n, however many members a hostile header brings. */
static bool keys_unique(Reader *reader, const JsonNode *object, const char *at) {
    if (object->n_children < 2) {
        return true;
    }
    const JsonDoc *doc = reader->doc;
    const char **keys = raw_alloc(doc->allocator, (size_t)object->n_children * sizeof(*keys));
    if (!keys) {
        return reader_no_memory(reader);
    }
    int32_t n_keys = 0;
    for (int32_t i = object->first_child; i >= 0; i = doc->nodes[i].next) {
        keys[n_keys++] = doc->nodes[i].key;
    }
    qsort(keys, (size_t)n_keys, sizeof(*keys), key_compare);
    bool unique = true;
    for (int32_t i = 1; i < n_keys && unique; i++) {
        unique = strcmp(keys[i - 1], keys[i]) != 0;
    }
    raw_free(doc->allocator, keys);
    return unique || reader_fail(reader, at, "each key only once in an object");
}

static int32_t read_value(Reader *reader, const char *key);

/* The members or items, after the opening bracket. */
static bool read_children(Reader *reader, int32_t parent, char close) {
    const char *start = reader->at - 1;
    int32_t last = -1;
    skip_space(reader);
    if (accept(reader, close)) {
        return true;
    }
    do {
        const char *key = NULL;
        skip_space(reader);
        if (close == '}') {
            if (!accept(reader, '"')) {
                return reader_fail(reader, reader->at, "a key in quotes");
            }
            key = read_string(reader);
            if (!key) {
                return false;
            }
            skip_space(reader);
            if (!accept(reader, ':')) {
                return reader_fail(reader, reader->at, "':'");
            }
        }
        int32_t child = read_value(reader, key);
        if (child < 0) {
            return false;
        }
        JsonNode *nodes = reader->doc->nodes;
        if (last < 0) {
            nodes[parent].first_child = child;
        } else {
            nodes[last].next = child;
        }
        nodes[parent].n_children++;
        last = child;
        skip_space(reader);
    } while (accept(reader, ','));
    if (!accept(reader, close)) {
        return reader_fail(reader, reader->at, close == '}' ? "',' or '}'" : "',' or ']'");
    }
    return close == ']' || keys_unique(reader, &reader->doc->nodes[parent], start);
}

/* The index of the new node, or -1. */
static int32_t read_value(Reader *reader, const char *key) {
    skip_space(reader);
    char c = reader->at < reader->end ? *reader->at : '\0';
    JsonKind kind = c == '{'                             ? JSON_OBJECT
                    : c == '['                           ? JSON_ARRAY
                    : c == '"'                           ? JSON_STRING
                    : c == '-' || (c >= '0' && c <= '9') ? JSON_NUMBER
                    : c == 't' || c == 'f'               ? JSON_BOOL
                                                         : JSON_NULL;
    int32_t index = node_add(reader, kind, key);
    if (index < 0) {
        return -1;
    }
    bool ok = true;
    if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
        if (reader->depth == JSON_MAX_DEPTH) {
            reader_fail(reader, reader->at, "at most 64 levels");
            return -1;
        }
        reader->at++;
        reader->depth++;
        ok = read_children(reader, index, kind == JSON_OBJECT ? '}' : ']');
        reader->depth--;
    } else if (kind == JSON_STRING) {
        reader->at++;
        const char *text = read_string(reader);
        reader->doc->nodes[index].string = text;
        ok = text != NULL;
    } else if (kind == JSON_NUMBER) {
        ok = read_number(reader, &reader->doc->nodes[index]);
    } else if (kind == JSON_BOOL) {
        reader->doc->nodes[index].boolean = c == 't';
        ok = read_word(reader, c == 't' ? "true" : "false");
    } else {
        ok = read_word(reader, "null");
    }
    return ok ? index : -1;
}

dlc_status json_parse(const char *text, size_t length, const dlc_allocator *allocator,
                      JsonDoc *out) {
    *out = (JsonDoc){.allocator = allocator};
    Reader reader = {.doc = out, .start = text, .at = text, .end = text + length};
    out->strings = raw_alloc(out->allocator, length + 1);
    if (!out->strings) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    reader.string_end = out->strings;
    if (read_value(&reader, NULL) >= 0) {
        skip_space(&reader);
        if (reader.at != reader.end) {
            reader_fail(&reader, reader.at, "the end of the text");
        }
    }
    if (reader.status != DLC_OK) {
        size_t offset = out->error_offset;
        const char *error = out->error;
        json_free(out);
        out->error_offset = offset;
        out->error = error;
    }
    return reader.status;
}

void json_free(JsonDoc *doc) {
    raw_free(doc->allocator, doc->nodes);
    raw_free(doc->allocator, doc->strings);
    *doc = (JsonDoc){.allocator = doc->allocator};
}

const JsonNode *json_member(const JsonDoc *doc, const JsonNode *object, const char *key) {
    if (!object || object->kind != JSON_OBJECT) {
        return NULL;
    }
    for (int32_t i = object->first_child; i >= 0; i = doc->nodes[i].next) {
        if (strcmp(doc->nodes[i].key, key) == 0) {
            return &doc->nodes[i];
        }
    }
    return NULL;
}

const JsonNode *json_item(const JsonDoc *doc, const JsonNode *array, int32_t index) {
    if (!array || array->kind != JSON_ARRAY || index < 0) {
        return NULL;
    }
    int32_t i = array->first_child;
    while (i >= 0 && index-- > 0) {
        i = doc->nodes[i].next;
    }
    return i >= 0 ? &doc->nodes[i] : NULL;
}
