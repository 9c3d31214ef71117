/* Ranks, groups and pieces (mesh.h). */
#include "ir/base/mesh.h"

#include "ir/base/checked.h"
#include <string.h>

RowRange mesh_piece(int64_t rows, int64_t ranks, int64_t rank) {
    int64_t each = rows / ranks, more = rows % ranks;
    bool has_one_more = rank < more;
    return (RowRange){.first = rank * each + (has_one_more ? rank : more),
                      .count = each + has_one_more};
}

bool mesh_ranks(const MeshShape *shape, int64_t *out) {
    int64_t ranks = 1;
    for (int32_t i = 0; i < shape->n_axes; i++) {
        if (shape->sizes[i] < 1 || !checked_mul(ranks, shape->sizes[i], &ranks) ||
            ranks > MESH_MAX_RANKS) {
            return false;
        }
    }
    *out = ranks;
    return true;
}

int64_t mesh_group_ranks(const MeshShape *shape, MeshGroup group) {
    int64_t ranks = 1;
    for (int32_t i = 0; i < shape->n_axes; i++) {
        ranks *= (group >> i & 1U) != 0 ? shape->sizes[i] : 1;
    }
    return ranks;
}

int64_t mesh_coordinate(const MeshShape *shape, MeshGroup group, int64_t rank) {
    int64_t coordinate = 0, stride = 1;
    for (int32_t i = shape->n_axes - 1; i >= 0; i--) {
        if ((group >> i & 1U) != 0) {
            coordinate += rank % shape->sizes[i] * stride;
            stride *= shape->sizes[i];
        }
        rank /= shape->sizes[i];
    }
    return coordinate;
}

int64_t mesh_member(const MeshShape *shape, MeshGroup group, int64_t rank, int64_t coordinate) {
    int64_t member = 0, stride = 1;
    for (int32_t i = shape->n_axes - 1; i >= 0; i--) {
        int64_t size = shape->sizes[i];
        bool varies = (group >> i & 1U) != 0;
        member += (varies ? coordinate : rank) % size * stride;
        coordinate /= varies ? size : 1;
        rank /= size;
        stride *= size;
    }
    return member;
}

bool mesh_dim_value(const MeshShape *shape, int64_t rank, DimSource source, MeshGroup group,
                    int64_t rows, int64_t *out) {
    int64_t ranks = mesh_group_ranks(shape, group);
    int64_t coordinate = mesh_coordinate(shape, group, rank);
    if ((source == DIM_PIECE || source == DIM_FIRST) && rows < 0) {
        return false;
    }
    switch (source) {
    case DIM_RANKS:
        *out = ranks;
        return true;
    case DIM_COORDINATE:
        *out = coordinate;
        return true;
    case DIM_PIECE:
        *out = mesh_piece(rows, ranks, coordinate).count;
        return true;
    case DIM_FIRST:
        *out = mesh_piece(rows, ranks, coordinate).first;
        return true;
    case DIM_FREE:
        break;
    }
    return false;
}

bool mesh_exchange_read(const char *word, const char **out) {
    bool is_short = strcmp(word, "bf16") == 0;
    *out = is_short ? "bf16" : NULL;
    return is_short || strcmp(word, "f32") == 0;
}
