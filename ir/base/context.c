/* The compile context: arena, interned strings, sources, diagnostics (context.h). */
#include "ir/base/context.h"

void context_init(Context *context, const dlc_allocator *allocator, Boundary *boundary) {
    *context = (Context){.allocator = allocator, .boundary = boundary};
    boundary->bytes = 0;
    boundary->limit = NULL;
    boundary_budget(boundary, 0, 0);
    arena_init(&context->arena, allocator, boundary);
    map_init(&context->strings, &context->arena);
    diag_list_init(&context->diags, &context->arena);
    context->default_float = 1; /* DT_F32 of ir/type.h, which this floor does not see */
}

typedef struct OwnedArena {
    struct OwnedArena *next;
    Arena *arena;
} OwnedArena;

void context_own_arena(Context *context, Arena *arena) {
    OwnedArena *owned = ARENA_NEW(&context->arena, OwnedArena);
    *owned = (OwnedArena){.next = context->owned, .arena = arena};
    context->owned = owned;
}

void context_finish(Context *context) {
    for (OwnedArena *owned = context->owned; owned; owned = owned->next) {
        arena_finish(owned->arena);
    }
    arena_finish(&context->arena);
    *context = (Context){0};
}

const char *context_intern(Context *context, const char *text) {
    const char *known = map_get(&context->strings, text);
    if (known) {
        return known;
    }
    map_set(&context->strings, text, NULL);
    MapEntry *entry = &context->strings.entries[context->strings.count - 1];
    entry->value = (void *)(uintptr_t)entry->key;
    return entry->key;
}

const char *context_internf(Context *context, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = arena_vformat(&context->arena, format, args);
    va_end(args);
    return context_intern(context, text);
}

const Source *context_source(Context *context, const char *name, const char *text, size_t length,
                             bool is_library) {
    Source *source = ARENA_NEW(&context->arena, Source);
    source->name = context_intern(context, name);
    source->text = arena_strndup(&context->arena, text, length);
    source->length = length;
    source->is_library = is_library;
    return source;
}

const char *source_name(const char *file) {
    while (strncmp(file, "../", 3) == 0) { /* the build's folder lies in the tree */
        file += 3;
    }
    return file;
}

_Noreturn void internal_error(Context *context, Place place, const char *op, const char *file,
                              int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = arena_vformat(&context->arena, format, args);
    va_end(args);
    diag_report(&context->diags, DIAG_INTERNAL, place, op, text, source_name(file), line);
    boundary_leave(context->boundary, DLC_ERROR_INTERNAL);
}
