/* Rows that ranks bring themselves. Of several sessions that meet, each is given its own rows of
 * what is cut along the axes of data, and the batch is what they have together.
 *
 * A rank computes the rows that the plan deals to it, whoever brought them, so that results do not
 * depend on who that was. Where each brings just these, none travels. */
#include "runtime/session/parts.h"
#include "runtime/session/session.h"
#include "runtime/session/tensor.h"

#include "ir/base/checked.h"

#include <inttypes.h>
#include <stdio.h>

bool session_brings(const dlc_session *session, const PlanArg *arg) {
    return session->orders.own_rows && arg->role == PLAN_ARG_INPUT && arg->type.rank > 0 &&
           place_rows_group(session->file, &arg->part) != 0;
}

/* The next argument from `*at` on of which own rows are brought; NULL: none is left. */
static const PlanArg *next_brought(const dlc_session *session, const EntryState *entry,
                                   int32_t *at) {
    for (; *at < entry->record->n_args; ++*at) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + *at];
        if (session_brings(session, arg)) {
            return arg;
        }
    }
    return NULL;
}

static const PlanArg *first_brought(const dlc_session *session, const EntryState *entry) {
    int32_t at = 0;
    return next_brought(session, entry, &at);
}

bool session_brings_any(const dlc_session *session, const EntryState *entry) {
    return session->orders.own_rows && first_brought(session, entry) != NULL;
}

/* -- Shapes -- */

/* How many rows the whole of the input has, as far as `vars` say; -1: they do not. */
static int64_t rows_known(const dlc_session *session, const PlanArg *arg, const int64_t *vars) {
    const PlanFile *file = session->file;
    PlanProgram rows = file->sizes[plan_whole(arg->type, &arg->part).first_size];
    int64_t all[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0}, known;
    memcpy(all, vars, (size_t)file->n_dims * sizeof(*all));
    return program_bound(file, rows, vars) && plan_eval(file, rows, all, &known) ? known : -1;
}

static void input_text(const dlc_session *session, const PlanArg *arg, char *out, size_t n_out) {
    snprintf(out, n_out, "input '%s'", plan_text(session->file, arg->name));
}

/* shape_bind, whose error tells the shape with the rows of all. */
static dlc_status whole_bind(dlc_session *session, const char *what, PlanType whole,
                             const int64_t *shape, const int64_t *given, int64_t *vars) {
    char own[256], error[CONTEXT_ERROR_BYTES];
    dlc_status status = shape_bind(session, what, whole, shape, whole.rank, vars);
    if (status == DLC_OK || shape[0] == given[0]) {
        return status;
    }
    memcpy(error, session->context->error, sizeof(error));
    shape_text(given, whole.rank, own, sizeof(own));
    return context_fail(session->context, status, "%.1600s; this rank's rows are %s", error, own);
}

/* The dim of the batch where no input alone says it: another axis of the same size does. */
static bool told_by_other_axis(const PlanFile *file, PlanType whole, int32_t dim, int32_t *axis) {
    for (int32_t a = 1; a < whole.rank; a++) {
        if (plan_size_dim(file, file->sizes[whole.first_size + a]) == dim) {
            *axis = a;
            return true;
        }
    }
    return false;
}

dlc_status session_input_bind(dlc_session *session, const PlanArg *arg, const int64_t *dims,
                              int64_t *vars) {
    const PlanFile *file = session->file;
    PlanType whole = plan_whole(arg->type, &arg->part);
    int64_t shape[PLAN_MAX_RANK];
    char what[320];
    input_text(session, arg, what, sizeof(what));
    if (!session_brings(session, arg)) {
        return shape_bind(session, what, whole, dims, whole.rank, vars);
    }
    memcpy(shape, dims, (size_t)whole.rank * sizeof(*shape));
    int32_t dim = plan_size_dim(file, file->sizes[whole.first_size]), axis = 0;
    int64_t known = session->all_rows >= 0 ? session->all_rows : rows_known(session, arg, vars);
    if (known >= 0) {
        shape[0] = known;
        return whole_bind(session, what, whole, shape, dims, vars);
    }
    if (dim < 0) {
        return context_fail(session->context, DLC_ERROR_UNSUPPORTED,
                            "%s: of %s, whose rows are no dim of the plan, a rank cannot bring its "
                            "own: give the whole batch (DLC_ROWS_WHOLE)",
                            what, plan_text(file, whole.text));
    }
    if (told_by_other_axis(file, whole, dim, &axis)) {
        shape[0] = dims[axis];
        return whole_bind(session, what, whole, shape, dims, vars);
    }
    /* The rank's rows say nothing of the batch but that there may be as many. */
    int64_t low = file->dims[dim].low, divisor = file->dims[dim].divisor;
    shape[0] = low > 0 ? (low + divisor - 1) / divisor * divisor : 0;
    dlc_status status = whole_bind(session, what, whole, shape, dims, vars);
    vars[dim] = -1;
    return status;
}

/* -- Places -- */

static const MeshShape *shape_of(const dlc_session *session) {
    return &session->ranks->place.shape;
}

static MeshGroup group_of(const dlc_session *session, const EntryState *entry) {
    const PlanArg *arg = session->orders.own_rows ? first_brought(session, entry) : NULL;
    return arg ? place_rows_group(session->file, &arg->part) : 0;
}

int64_t session_places(const dlc_session *session, const EntryState *entry) {
    return mesh_group_ranks(shape_of(session), group_of(session, entry));
}

int64_t session_place(const dlc_session *session, const EntryState *entry) {
    return mesh_coordinate(shape_of(session), group_of(session, entry),
                           session->ranks->place.number);
}

int64_t session_place_of(const dlc_session *session, const EntryState *entry, int32_t rank) {
    return mesh_coordinate(shape_of(session), group_of(session, entry), rank);
}

int64_t session_place_rank(const dlc_session *session, const EntryState *entry, int64_t place) {
    return mesh_member(shape_of(session), group_of(session, entry), 0, place);
}

/* Rows of the input that the place computes in a run on these dims. */
static dlc_status place_computes(dlc_session *session, const EntryState *entry, const PlanArg *arg,
                                 int64_t number, const int64_t *dims, int64_t *out) {
    const PlanFile *file = session->file;
    const RankPlace place = {*shape_of(session), session_place_rank(session, entry, number)};
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0}, part[PLAN_MAX_RANK], bytes;
    memcpy(vars, dims, (size_t)file->n_dims * sizeof(*vars));
    dlc_status status = place_dims(session->context, file, &place, vars);
    if (status == DLC_OK && !plan_shape(file, arg->type, vars, part, &bytes)) {
        status = context_fail(session->context, DLC_ERROR_MISMATCH,
                              "%s: the part of input '%s' on rank %d has no shape", file->name,
                              plan_text(file, arg->name), (int)place.number);
    }
    *out = status == DLC_OK ? part[0] : 0;
    return status;
}

dlc_status session_place_rows(dlc_session *session, const EntryState *entry, int64_t place,
                              int64_t batch, int64_t *out) {
    const PlanFile *file = session->file;
    const PlanArg *arg = session->orders.own_rows ? first_brought(session, entry) : NULL;
    int64_t dims[PLAN_MAX_DIMS];
    *out = batch;
    if (!arg) {
        return DLC_OK;
    }
    int32_t dim = plan_size_dim(file, file->sizes[plan_whole(arg->type, &arg->part).first_size]);
    memcpy(dims, session->orders.dims, (size_t)file->n_dims * sizeof(*dims));
    if (dim >= 0) {
        dims[dim] = batch;
    }
    dims_default(file, dims);
    return place_computes(session, entry, arg, place, dims, out);
}

/* -- How many rows there are -- */

/* What this rank brings: as many rows of each input. */
static dlc_status rows_own(dlc_session *session, const EntryState *entry, int64_t *out) {
    const PlanArg *first = first_brought(session, entry), *arg;
    for (int32_t at = 0; (arg = next_brought(session, entry, &at)); at++) {
        int64_t rows = entry->inputs[at].dims[0];
        *out = arg == first ? rows : *out;
        if (rows != *out) {
            return context_fail(session->context, DLC_ERROR_MISMATCH,
                                "input '%s' has %" PRId64 " rows, input '%s' %" PRId64
                                ": a rank brings as many of each",
                                plan_text(session->file, arg->name), rows,
                                plan_text(session->file, first->name), *out);
        }
        if (place_rows_group(session->file, &arg->part) !=
            place_rows_group(session->file, &first->part)) {
            return context_fail(session->context, DLC_ERROR_UNSUPPORTED,
                                "inputs '%s' and '%s' lie on other axes of the mesh: give the "
                                "whole batch (DLC_ROWS_WHOLE)",
                                plan_text(session->file, arg->name),
                                plan_text(session->file, first->name));
        }
    }
    return DLC_OK;
}

/* A batch of a fixed number of rows; the lowest rank that does not bring its piece is named. */
static dlc_status fixed_check(dlc_session *session, const EntryState *entry, const PlanArg *arg) {
    int64_t wanted = rows_known(session, arg, session->orders.dims);
    int64_t n = session_places(session, entry), place = 0, rank = 0, piece = 0;
    if (wanted < 0 || wanted == session->all_rows) {
        return DLC_OK;
    }
    for (; place < n; place++) {
        rank = session_place_rank(session, entry, place);
        piece = mesh_piece(wanted, n, place).count;
        if (session->brought[rank] != piece) {
            break;
        }
    }
    return context_fail(session->context, DLC_ERROR_MISMATCH,
                        "rank %" PRId64 " brings %" PRId64 " rows, where its part is %" PRId64
                        ": the batch of '%s' is fixed at %" PRId64
                        " rows, and all ranks bring %" PRId64,
                        rank, session->brought[rank], piece,
                        plan_text(session->file, entry->record->name), wanted, session->all_rows);
}

/* The sum; ranks that differ in other axes than data have the same rows. Every rank finds the same.
 */
static dlc_status rows_add(dlc_session *session, const EntryState *entry) {
    const PlanFile *file = session->file;
    const PlanArg *arg = first_brought(session, entry);
    MeshGroup group = group_of(session, entry);
    int64_t sum = 0;
    for (int32_t r = 0; r < session->n_all; r++) {
        int64_t place = mesh_coordinate(shape_of(session), group, r);
        int64_t first = session_place_rank(session, entry, place);
        if (session->brought[r] != session->brought[first]) {
            return context_fail(session->context, DLC_ERROR_MISMATCH,
                                "rank %d brings %" PRId64 " rows, rank %" PRId64 " %" PRId64
                                ": they compute the same rows, and bring the same",
                                (int)r, session->brought[r], first, session->brought[first]);
        }
        bool counts = r == first;
        if (counts && !checked_add(sum, session->brought[r], &sum)) {
            return context_fail(session->context, DLC_ERROR_LIMIT, "the batch is too large");
        }
    }
    session->all_rows = sum;
    int32_t dim = plan_size_dim(file, file->sizes[plan_whole(arg->type, &arg->part).first_size]);
    dlc_status status = fixed_check(session, entry, arg);
    return status == DLC_OK && dim >= 0 ? dim_check(session->context, file, dim, sum) : status;
}

dlc_status session_rows_meet(dlc_session *session, const EntryState *entry, dlc_status status) {
    int64_t own = 0;
    status = status == DLC_OK ? rows_own(session, entry, &own) : status;
    status = session_agree_rows(session, status, own);
    return status == DLC_OK ? rows_add(session, entry) : status;
}

/* -- Rows that travel -- */

/* Rows [from, to) of the batch. */
typedef struct Span {
    int64_t from, to;
} Span;

/* An input on its way to those who compute its rows. */
typedef struct Way {
    const PlanArg *arg;
    const char *name;
    int64_t row_bytes;
    const uint8_t *given; /* this rank's rows … */
    Span given_span;      /* … which are these */
    RowRange *ranges;     /* that it is to compute; [n] */
    int64_t n, n_rows;
    uint8_t *dealt; /* room for them */
    uint8_t *room;  /* and for what others send */
} Way;

/* The rows of the input that the place computes; memory_free. */
static dlc_status ranges_find(dlc_session *session, const EntryState *entry, const PlanArg *arg,
                              int64_t place_number, RowRange **out, int64_t *out_n) {
    const PlanFile *file = session->file;
    const RankPlace place = {*shape_of(session), session_place_rank(session, entry, place_number)};
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    memcpy(vars, entry->slots[0].layout->vars, (size_t)file->n_dims * sizeof(*vars));
    dlc_status status = place_dims(session->context, file, &place, vars);
    return status == DLC_OK
               ? part_rows(session->context, file, &place, vars, plan_text(file, arg->name),
                           &arg->part, session->all_rows, out, out_n)
               : status;
}

/* From the first to the last of the rows in `given` that are in none of the ranges, which are in
 * order. */
static Span missing(Span given, const RowRange *ranges, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        bool covers = ranges[i].first <= given.from;
        int64_t end = ranges[i].first + ranges[i].count;
        given.from = covers && end > given.from ? end : given.from;
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        bool covers = ranges[i].first + ranges[i].count >= given.to;
        given.to = covers && ranges[i].first < given.to ? ranges[i].first : given.to;
    }
    return (Span){given.from, given.to > given.from ? given.to : given.from};
}

/* What of the rows this rank computes. */
static void rows_keep(const Way *way, Span span, const uint8_t *rows) {
    int64_t at = 0;
    for (int64_t i = 0; i < way->n; at += way->ranges[i++].count) {
        const RowRange *range = &way->ranges[i];
        int64_t from = range->first > span.from ? range->first : span.from;
        int64_t end = range->first + range->count, to = end < span.to ? end : span.to;
        if (to > from && way->row_bytes > 0) {
            memcpy(way->dealt + (at + from - range->first) * way->row_bytes,
                   rows + (from - span.from) * way->row_bytes,
                   (size_t)((to - from) * way->row_bytes));
        }
    }
}

/* Rows that `rank` has and others compute. */
static dlc_status span_send(dlc_session *session, const Way *way, int64_t rank, Span span) {
    uint8_t *rows = way->room;
    if (span.to == span.from) {
        return DLC_OK;
    }
    if (session->ranks->place.number == rank) {
        rows =
            (uint8_t *)(uintptr_t)way->given + (span.from - way->given_span.from) * way->row_bytes;
    }
    const CommBuffer buffer = {.in = rows,
                               .out = rows,
                               .dtype = PLAN_U8,
                               .outer = 1,
                               .rows = 1,
                               .unit = (span.to - span.from) * way->row_bytes};
    const CommCall call = {.kind = COMM_BROADCAST,
                           .number = (int32_t)rank,
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = way->name};
    dlc_status status = session_call(session, &call);
    if (status == DLC_OK) {
        rows_keep(way, span, rows);
    }
    return status;
}

/* What each place has brought and does not compute; *travels: whether there is any. With `send` it
 * goes its way. */
static dlc_status input_deal(dlc_session *session, const EntryState *entry, const Way *way,
                             bool send, bool *travels) {
    int64_t n = session_places(session, entry);
    Span given = {0, 0};
    dlc_status status = DLC_OK;
    *travels = false;
    for (int64_t place = 0; place < n && status == DLC_OK; place++) {
        RowRange *ranges = NULL;
        int64_t n_ranges = 0, rank = session_place_rank(session, entry, place);
        given = (Span){given.to, given.to + session->brought[rank]};
        status = ranges_find(session, entry, way->arg, place, &ranges, &n_ranges);
        Span sent = status == DLC_OK ? missing(given, ranges, n_ranges) : (Span){0, 0};
        *travels |= sent.to > sent.from;
        memory_free(&session->context->allocator, ranges);
        if (status == DLC_OK && send) {
            status = span_send(session, way, rank, sent);
        }
    }
    return status;
}

/* memory_free way->ranges. */
static dlc_status way_begin(dlc_session *session, const EntryState *entry, int32_t at, Way *way) {
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + at];
    const Input *input = &entry->inputs[at];
    int64_t own = session_place(session, entry);
    *way = (Way){.arg = arg,
                 .name = plan_text(session->file, arg->name),
                 .row_bytes = plan_dtype_bytes(arg->type.dtype),
                 .given = input->data};
    for (int32_t a = 1; a < arg->type.rank; a++) {
        way->row_bytes *= input->dims[a]; /* of an input whose bytes have been counted */
    }
    for (int64_t place = 0; place <= own; place++) {
        int64_t rank = session_place_rank(session, entry, place);
        way->given_span = (Span){way->given_span.to, way->given_span.to + session->brought[rank]};
    }
    dlc_status status = ranges_find(session, entry, arg, own, &way->ranges, &way->n);
    for (int64_t i = 0; i < way->n; i++) {
        way->n_rows += way->ranges[i].count;
    }
    return status;
}

/* Room for the rows that this rank computes, and for those that the rank that brings most sends. */
static dlc_status way_room(dlc_session *session, Input *input, Way *way) {
    const dlc_allocator *allocator = &session->context->allocator;
    int64_t most = 0, bytes = 0, coming = 0;
    for (int32_t r = 0; r < session->n_all; r++) {
        most = session->brought[r] > most ? session->brought[r] : most;
    }
    bool fits = checked_mul(way->row_bytes, way->n_rows, &bytes) && bytes <= INT64_MAX / 4 &&
                checked_mul(way->row_bytes, most, &coming) && coming <= INT64_MAX / 4;
    if (!fits) {
        return context_fail(session->context, DLC_ERROR_LIMIT, "%s: the batch is too large",
                            way->name);
    }
    bytes = layout_round(bytes);
    if (!input->dealt_room || bytes + coming > input->dealt_bytes) {
        memory_free_aligned(allocator, input->dealt_room);
        input->dealt_bytes = bytes + coming;
        input->dealt_room = memory_new_aligned(allocator, (size_t)input->dealt_bytes);
    }
    way->dealt = input->dealt_room;
    way->room = way->dealt ? way->dealt + bytes : NULL;
    return way->dealt ? DLC_OK : context_out_of_memory(session->context);
}

dlc_status session_rows_deal(dlc_session *session, EntryState *entry) {
    dlc_status status = DLC_OK;
    for (int32_t at = 0; status == DLC_OK && next_brought(session, entry, &at); at++) {
        Input *input = &entry->inputs[at];
        Way way;
        bool travels = false;
        status = way_begin(session, entry, at, &way);
        if (status == DLC_OK) {
            status = input_deal(session, entry, &way, false, &travels);
        }
        input->dealt = NULL;
        if (status == DLC_OK && travels) {
            status = way_room(session, input, &way);
        }
        if (status == DLC_OK && travels) {
            input->dealt = way.dealt;
            rows_keep(&way, way.given_span, way.given);
            status = input_deal(session, entry, &way, true, &travels);
        }
        memory_free(&session->context->allocator, way.ranges);
    }
    return status;
}
