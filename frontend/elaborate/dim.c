/* Dims: their bounds, and the values of -D; one of a name whatever files declare it. */
#include "frontend/elaborate/elaborate.h"

static bool dim_int(Elaborator *el, const Global *global, const AstExpr *expr, const char *what,
                    int64_t *out) {
    return expr == NULL ||
           need_int(el, elaborate_constant_in(el, global->env, expr), what, expr->place, out);
}

typedef struct DimBounds {
    const Global *global;
    int64_t low, high, divisor;
} DimBounds;

static const char *bounds_text(Elaborator *el, int64_t low, int64_t high) {
    return high == INT64_MAX
               ? arena_format(el->arena, "in %lld..", (long long)low)
               : arena_format(el->arena, "in %lld..%lld", (long long)low, (long long)high);
}

static bool dim_value_fits(Elaborator *el, const Global *global, int64_t value, int64_t low,
                           int64_t high, int64_t divisor, Place place) {
    const char *why = NULL;
    if (value < low || value > high) {
        why = high == INT64_MAX ? arena_format(el->arena, "it is at least %lld", (long long)low)
                                : arena_format(el->arena, "it is %s", bounds_text(el, low, high));
    } else if (value % divisor != 0) {
        why = arena_format(el->arena, "it is a multiple of %lld", (long long)divisor);
    }
    if (why == NULL) {
        return true;
    }
    Diag *diag = EL_REPORT(el, DIM_VALUE, place, global->name,
                           arena_format(el->arena, "%lld", (long long)value), why);
    elaborate_note(el, diag, global->place, "'%s' is declared here", global->name);
    return false;
}

/* Dims of one name in several files are one: the plan knows them by name. False: not yet there. */
static bool shared_dim(Elaborator *el, Map *dims, Global *global, const DimBounds *bounds) {
    DimBounds *earlier = map_get(dims, global->name);
    if (earlier == NULL) {
        DimBounds *kept = ARENA_NEW(el->arena, DimBounds);
        *kept = *bounds;
        map_set(dims, global->name, kept);
        return false;
    }
    if (earlier->low != bounds->low || earlier->high != bounds->high ||
        earlier->divisor != bounds->divisor) {
        Diag *diag = EL_REPORT(el, NAME_TWICE, global->place, global->name);
        elaborate_note(el, diag, earlier->global->place, "first declared here, with other bounds");
        elaborate_help(el, diag, "dims of one name in several files are one dim");
        return true;
    }
    global->dim = earlier->global->dim;
    global->value = earlier->global->value;
    return true;
}

/* `fixed`: the value that -D gives, or NULL. */
static void bound_dim(Elaborator *el, Map *dims, Global *global, const AstExpr *fixed) {
    const AstDecl *decl = global->decl;
    int64_t low = 1, high = INT64_MAX, divisor = 1, nominal = 0, value = 0;
    if (!dim_int(el, global, decl->as.dim.low, "the lower bound", &low) ||
        !dim_int(el, global, decl->as.dim.high, "the upper bound", &high) ||
        !dim_int(el, global, decl->as.dim.divisor, "the divisor", &divisor) ||
        !dim_int(el, global, decl->as.dim.nominal, "the nominal value", &nominal)) {
        return;
    }
    if (divisor < 1 || low < 0 || low > high) {
        EL_REPORT(el, DIM_VALUE, decl->place, global->name,
                  divisor < 1 ? arena_format(el->arena, "a multiple of %lld", (long long)divisor)
                              : bounds_text(el, low, high),
                  divisor < 1 ? "a divisor is at least 1" : "these bounds hold nothing");
        return;
    }
    if (high - high % divisor < low) {
        EL_REPORT(el, DIM_VALUE, decl->place, global->name, bounds_text(el, low, high),
                  arena_format(el->arena, "they hold no multiple of %lld", (long long)divisor));
        return;
    }
    if (nominal > SIZE_NOMINAL_MAX) {
        EL_REPORT(el, DIM_VALUE, decl->as.dim.nominal->place, global->name,
                  arena_format(el->arena, "%lld", (long long)nominal),
                  "a nominal value is at most 2^40, 1,099,511,627,776");
        return;
    }
    if (decl->as.dim.nominal &&
        !dim_value_fits(el, global, nominal, low, high, divisor, decl->as.dim.nominal->place)) {
        return;
    }
    DimBounds bounds = {global, low, high, divisor};
    if (shared_dim(el, dims, global, &bounds)) {
        return;
    }
    if (fixed) {
        if (need_int(el, elaborate_constant_expr(el, fixed), "the value of a dim", fixed->place,
                     &value) &&
            dim_value_fits(el, global, value, low, high, divisor, fixed->place)) {
            global->value = val_int(value, global->place);
        }
        return;
    }
    global->dim =
        module_add_dim(el->module, global->name, low, high, divisor, nominal, global->place);
}

void elaborate_dim(Elaborator *el, Global *global) {
    if (global->state == GLOBAL_FRESH) {
        global->state = GLOBAL_BUSY;
        global->value = val_error();
        bound_dim(el, el->dims, global, map_get(el->dims_fixed, global->name));
        global->state = GLOBAL_DONE;
    }
}
