/* JSON: a writer on Str and a strict reader for manifests and safetensors headers. Both sides. */
#ifndef DLC_IR_BASE_JSON_H
#define DLC_IR_BASE_JSON_H

#include "ir/base/str.h"

/* Writer: the caller writes braces and commas; this writes one quoted, escaped string, with U+FFFD
 * for every byte that is no UTF-8. */
void json_add_string(Str *str, const char *text);
void json_add_double(Str *str, double value); /* non-finite as null */

typedef enum JsonKind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} JsonKind;

/* Nodes form one array; children of a node are linked. Freed together by json_free. */
typedef struct JsonNode {
    JsonKind kind;
    const char *key; /* of a member of an object, else NULL */
    const char *string;
    double number;
    int64_t integer; /* valid when is_integer */
    bool is_integer, boolean;
    int32_t first_child, next; /* indices; -1: none */
    int32_t n_children;
} JsonNode;

typedef struct JsonDoc {
    JsonNode *nodes; /* nodes[0] is the root */
    int32_t n_nodes;
    char *strings;
    const dlc_allocator *allocator;
    size_t error_offset; /* after a parse error: byte offset, and what was expected */
    const char *error;
} JsonDoc;

/* Parses `length` bytes (no NUL needed). Depth is limited to 64; duplicate keys are an error;
 * control characters and bad UTF-8 in strings are errors. DLC_ERROR_FORMAT: see error,
 * error_offset. */
dlc_status json_parse(const char *text, size_t length, const dlc_allocator *allocator,
                      JsonDoc *out);
void json_free(JsonDoc *doc);
const JsonNode *json_member(const JsonDoc *doc, const JsonNode *object, const char *key);
const JsonNode *json_item(const JsonDoc *doc, const JsonNode *array, int32_t index);

#endif
