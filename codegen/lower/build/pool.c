/* Memory of the kernel under construction: kept from one building to the next, dropped as a whole.
 */
#include "codegen/lower/build/build_impl.h"
#include <string.h>

enum { POOL_CHUNK = 1 << 18 };

/* -- pool */
void *pool_alloc(KBuild *k, size_t bytes) {
    struct KBuildPool *pool = k->lower->pool;
    bytes = (bytes + 15u) & ~(size_t)15u;
    while (pool->current && pool->current->size - pool->current->used < bytes &&
           pool->current->next) {
        pool->current = pool->current->next;
        pool->current->used = 0;
    }
    if (!pool->current || pool->current->size - pool->current->used < bytes) {
        size_t size = bytes > POOL_CHUNK ? bytes : POOL_CHUNK;
        size_t header = (sizeof(PoolChunk) + 15u) & ~(size_t)15u;
        PoolChunk *chunk = arena_alloc(k->lower->arena, header + size);
        chunk->size = size;
        if (pool->current) {
            pool->current->next = chunk;
        } else {
            pool->chunks = chunk;
        }
        pool->current = chunk;
    }
    size_t header = (sizeof(PoolChunk) + 15u) & ~(size_t)15u;
    char *memory = (char *)pool->current + header + pool->current->used;
    pool->current->used += bytes;
    memset(memory, 0, bytes);
    return memory;
}

void pool_reset(KBuild *k) {
    if (!k->lower->pool) {
        k->lower->pool = ARENA_NEW(k->lower->arena, struct KBuildPool);
    }
    k->lower->pool->current = k->lower->pool->chunks;
    if (k->lower->pool->current) {
        k->lower->pool->current->used = 0;
    }
}
