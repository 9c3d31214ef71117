/* Binding arguments to parameters: matching names, checking element types and shapes, and solving
 * the sizes that a signature leaves open. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

/* -- matching */

static int32_t param_index(const AstParams *params, const char *name) {
    for (int32_t i = 0; i < params->count; i++) {
        if (params->items[i].name.text == name) {
            return i;
        }
    }
    return -1;
}

static void unknown_argument(Elaborator *el, const AstDecl *decl, const Arg *arg, Place place) {
    const AstParams *params = &decl->as.fn.params;
    Map names;
    map_init(&names, el->arena);
    for (int32_t i = 0; i < params->count; i++) {
        map_set(&names, params->items[i].name.text, &names);
    }
    const char *near = map_suggest(&names, arg->name);
    Diag *diag = EL_REPORT(el, ARG_UNKNOWN, place, decl->name.text, arg->name);
    elaborate_note(el, diag, decl->name.place, "'%s' is declared here", decl->name.text);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
        return;
    }
    const char *list = "";
    for (int32_t i = 0; i < params->count; i++) {
        list = arena_format(el->arena, "%s%s%s", list, i ? ", " : "", params->items[i].name.text);
    }
    elaborate_help(el, diag, "its parameters: %s", list);
}

/* slots[i]: the argument for parameter i, or NULL. */
static bool match_given(Elaborator *el, const AstDecl *decl, Args args, Place place, Arg **slots) {
    const AstParams *params = &decl->as.fn.params;
    int32_t position = 0;
    for (int32_t i = 0; i < args.count; i++) {
        Arg *arg = &args.items[i];
        int32_t index = arg->name ? param_index(params, arg->name) : position++;
        if (arg->name && index < 0) {
            unknown_argument(el, decl, arg, arg->name_place.source ? arg->name_place : place);
            return false;
        }
        if (index >= params->count) {
            int32_t given = 0;
            for (int32_t k = 0; k < args.count; k++) {
                given += args.items[k].name == NULL;
            }
            Diag *diag = EL_REPORT(el, ARG_TOO_MANY, arg->place, decl->name.text,
                                   (int)params->count, (int)given);
            elaborate_note(el, diag, decl->name.place, "'%s' is declared here", decl->name.text);
            return false;
        }
        if (slots[index]) {
            Diag *diag = EL_REPORT(el, ARG_TWICE, arg->place, params->items[index].name.text);
            elaborate_note(el, diag, slots[index]->place, "first given here");
            return false;
        }
        slots[index] = arg;
    }
    return true;
}

static bool match_args(Elaborator *el, const AstDecl *decl, Args args, Place place, Arg **slots) {
    const AstParams *params = &decl->as.fn.params;
    if (!match_given(el, decl, args, place, slots)) {
        return false;
    }
    for (int32_t i = 0; i < params->count; i++) {
        if (slots[i] == NULL && params->items[i].fallback == NULL) {
            Diag *diag =
                EL_REPORT(el, ARG_MISSING, place, decl->name.text, params->items[i].name.text);
            elaborate_note(el, diag, params->items[i].place, "the parameter is declared here");
            return false;
        }
    }
    return true;
}

bool arguments_fit(Elaborator *el, const AstDecl *decl, Args args, Place place, bool partial) {
    int32_t count = decl->as.fn.params.count;
    Arg **slots = ARENA_ARRAY(el->arena, Arg *, count > 0 ? count : 1);
    return partial ? match_given(el, decl, args, place, slots)
                   : match_args(el, decl, args, place, slots);
}

bool bind_params(Elaborator *el, const AstDecl *decl, Args args, CallSite site) {
    const AstParams *params = &decl->as.fn.params;
    Arg **slots = ARENA_ARRAY(el->arena, Arg *, params->count > 0 ? params->count : 1);
    if (!match_args(el, decl, args, site.place, slots)) {
        return false;
    }
    for (int32_t i = 0; i < params->count; i++) {
        const AstParam *param = &params->items[i];
        bool wants_fn = param->type && param->type->kind == AST_TYPE_FN;
        Val value = slots[i]   ? slots[i]->value
                    : wants_fn ? elaborate_fn_argument(el, param->fallback)
                               : elaborate_expr(el, param->fallback);
        Place place = slots[i] ? slots[i]->place : param->place;
        /* `x = none` stands for an argument left out, whatever the type. */
        bool absent = value.kind == VAL_NONE && param->fallback != NULL;
        if (param->type && !absent) {
            value =
                bind_typed(el, param->type, param->name.text, param->place, value, place, params);
        }
        if (val_is_error(value)) {
            return false;
        }
        scope_define(el, el->scope, param->name.text, value, param->name.place);
    }
    for (int32_t i = 0; i < params->count; i++) {
        const AstParam *param = &params->items[i];
        Binding *binding = scope_find(el->scope, param->name.text, true);
        Place place = slots[i] ? slots[i]->place : param->place;
        bool tensor = binding->value.kind == VAL_TENSOR;
        if (param->type && param->type->kind == AST_TYPE_TENSOR && tensor &&
            (!check_typed(el, param->type, param->name.text, &binding->value, place) ||
             !rest_fill(el, param->type, &binding->value, place))) {
            return false;
        }
    }
    return true;
}

/* -- element types */

typedef enum Element {
    ELEMENT_EXACT,
    ELEMENT_FLOAT,
    ELEMENT_INT,
    ELEMENT_ANY,
    ELEMENT_BAD
} Element;

static Element element_of(Elaborator *el, const AstType *type, DType *out) {
    if (type->element == NULL) {
        *out = elaborate_float(el);
        return ELEMENT_EXACT;
    }
    if (dtype_from_name(type->element, out)) {
        return ELEMENT_EXACT;
    }
    if (strcmp(type->element, "float") == 0) {
        return ELEMENT_FLOAT;
    }
    if (strcmp(type->element, "int") == 0) {
        return ELEMENT_INT;
    }
    if (strcmp(type->element, "any") == 0) {
        return ELEMENT_ANY;
    }
    Map names;
    map_init(&names, el->arena);
    for (int i = 0; i < DT_COUNT; i++) {
        map_set(&names, dtype_name((DType)i), &names);
    }
    map_set(&names, "float", &names);
    map_set(&names, "int", &names);
    map_set(&names, "any", &names);
    const char *near = map_suggest(&names, type->element);
    Diag *diag = EL_REPORT(el, DTYPE_UNKNOWN, type->element_place, type->element);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    } else {
        elaborate_help(el, diag, "there are: f64 f32 f16 bf16 i64 i32 i8 u8 bool");
    }
    return ELEMENT_BAD;
}

bool type_element_known(Elaborator *el, const AstType *type) {
    DType dtype = DT_F32;
    return element_of(el, type, &dtype) != ELEMENT_BAD;
}

static bool fits_element(Element element, DType wanted, DType have) {
    switch (element) {
    case ELEMENT_EXACT:
        return have == wanted;
    case ELEMENT_FLOAT:
        return dtype_is_float(have);
    case ELEMENT_INT:
        return dtype_is_integer(have);
    default:
        return element == ELEMENT_ANY;
    }
}

/* Converts a weak value to what the type wants; false when that is not allowed. */
static bool adapt_weak(Elaborator *el, Element element, DType wanted, Val *value, Place place) {
    DType have = value->as.tensor->type.dtype;
    DType to = element == ELEMENT_EXACT ? wanted : elaborate_float(el);
    bool stays_weak = element != ELEMENT_EXACT;
    if (element == ELEMENT_INT || have == DT_BOOL || element == ELEMENT_BAD) {
        return false;
    }
    if (dtype_is_float(have) && !dtype_is_float(to)) {
        return false;
    }
    if (to == DT_BOOL) {
        return false;
    }
    Value *converted = elaborate_as(el, *value, to, place);
    if (converted == NULL) {
        return false;
    }
    Place from = value->place;
    *value = val_tensor(converted, stays_weak, from);
    return true;
}

static const char *element_text(Elaborator *el, Element element, DType dtype) {
    switch (element) {
    case ELEMENT_EXACT:
        return dtype_name(dtype);
    case ELEMENT_FLOAT:
        return "floats";
    case ELEMENT_INT:
        return "integers";
    default:
        (void)el;
        return "anything";
    }
}

/* -- shapes */

static Val bind_scalar(Elaborator *el, const AstType *type, const char *name, Val value,
                       Place place) {
    const char *element = type->element ? type->element : "any";
    const char *wanted = NULL;
    if (strcmp(element, "any") == 0) {
        return value;
    }
    if (strcmp(element, "int") == 0) {
        if (value.kind == VAL_INT || value.kind == VAL_SIZE) {
            return value;
        }
        wanted = "an integer known when compiling";
    } else if (strcmp(element, "float") == 0) {
        if (!number_exact(el, value, place)) {
            return val_error();
        }
        if (value.kind == VAL_INT) {
            Val converted = val_float((double)value.as.i, value.place);
            return converted;
        }
        if (value.kind == VAL_FLOAT) {
            return value;
        }
        bool scalar =
            value.kind == VAL_SIZE || (value.kind == VAL_TENSOR && value.as.tensor->type.rank == 0);
        DType dtype = DT_F32;
        bool weak = false;
        if (scalar) {
            return common_dtype(el, &value, 1, USE_FLOAT, name, place, &dtype, &weak)
                       ? val_tensor(elaborate_as(el, value, dtype, place), weak, value.place)
                       : val_error();
        }
        wanted = "a number or a float scalar";
    } else if (strcmp(element, "bool") == 0) {
        if (value.kind == VAL_BOOL) {
            return value;
        }
        wanted = "true or false";
    } else if (strcmp(element, "str") == 0) {
        if (value.kind == VAL_STRING) {
            return value;
        }
        wanted = "a string";
    } else {
        DType dtype = DT_F32;
        if (element_of(el, type, &dtype) == ELEMENT_BAD) {
            return val_error();
        }
        return value;
    }
    if (val_stands_in(el, value)) {
        return val_error();
    }
    Diag *diag = EL_REPORT(el, ARG_TYPE, place, name, wanted, val_describe(el, value));
    elaborate_note(el, diag, type->place, "the type is declared here");
    return val_error();
}

/* Binds the sizes that stand bare and are still free; the others are check_typed's. */
static bool bind_sizes(Elaborator *el, const AstType *type, const char *name, Val value,
                       Place place, const AstParams *params) {
    Type have = value.as.tensor->type;
    bool rest = type_has_rest(type);
    int32_t fixed = type->sizes.count - (rest ? 1 : 0);
    if (rest ? have.rank < fixed : have.rank != fixed) {
        Diag *diag = EL_REPORT(el, RANK_DIFFERS, place, name, (int)have.rank,
                               type_text(el->context, have), type_source(el, type));
        elaborate_note(el, diag, type->place, "expected shape from here");
        if (value.place.source && value.place.line != place.line) {
            elaborate_note(el, diag, value.place, "the value comes from here");
        }
        return false;
    }
    for (int32_t i = 0; i < fixed; i++) {
        const AstSize *size = &type->sizes.items[i + (rest ? 1 : 0)];
        if (size->is_rest) {
            EL_REPORT(el, MISPLACED, size->place, "`...` stands first in a type");
            return false;
        }
        if (size->expr->kind != AST_NAME) {
            continue;
        }
        const char *symbol = size->expr->as.name;
        if (param_index(params, symbol) >= 0 || scope_find(el->scope, symbol, true)) {
            continue;
        }
        const Global *global = env_find(el, el->frame->env, NAMES_VALUE, symbol, size->place);
        bool constant = global && global->kind == GLOBAL_CONST;
        if (!constant) {
            Val bound = val_size(have.dims[have.rank - fixed + i], value.place);
            bound.place = value.place;
            scope_define(el, el->scope, symbol, bound, place);
        }
    }
    return true;
}

static bool is_plain_number(Val value) {
    return val_is_number(value) || value.kind == VAL_BOOL;
}

/* Numbers and lists of them become weakly typed tensors; other values stay. */
static bool number_as_tensor(Elaborator *el, Val *value, const char *name, Place place) {
    if (!is_plain_number(*value) && value->kind != VAL_LIST) {
        return true;
    }
    DType dtype = DT_F32;
    bool weak = false;
    if (!common_dtype(el, value, 1, USE_SELECT, name, place, &dtype, &weak)) {
        return false;
    }
    *value = val_tensor(elaborate_as(el, *value, dtype, place), true, place);
    return true;
}

static Val bind_tensor(Elaborator *el, const AstType *type, const char *name, Val value,
                       Place place, const AstParams *params) {
    DType wanted = DT_F32;
    Element element = element_of(el, type, &wanted);
    if (element == ELEMENT_BAD) {
        return val_error();
    }
    bool is_number = is_plain_number(value) || val_stands_in(el, value);
    bool takes_floats =
        element == ELEMENT_FLOAT || (element == ELEMENT_EXACT && dtype_is_float(wanted));
    if (takes_floats && !number_exact(el, value, place)) {
        return val_error();
    }
    if (!number_as_tensor(el, &value, name, place)) {
        return val_error();
    }
    if (value.kind != VAL_TENSOR) {
        if (!val_is_error(value)) {
            Diag *diag = EL_REPORT(el, ARG_TYPE, place, name, "a tensor", val_describe(el, value));
            elaborate_note(el, diag, type->place, "the type is declared here");
        }
        return val_error();
    }
    DType have = value.as.tensor->type.dtype;
    if (!fits_element(element, wanted, have) &&
        !(value.weak && adapt_weak(el, element, wanted, &value, place))) {
        Diag *diag =
            EL_REPORT(el, ARG_TYPE, place, name,
                      arena_format(el->arena, "a tensor of %s", element_text(el, element, wanted)),
                      arena_format(el->arena, "%s", type_text(el->context, value.as.tensor->type)));
        elaborate_note(el, diag, type->place, "the type is declared here");
        if (element != ELEMENT_INT || have != DT_BOOL) {
            elaborate_help(el, diag, "convert it: cast(x, %s)",
                           element == ELEMENT_EXACT   ? dtype_name(wanted)
                           : element == ELEMENT_FLOAT ? dtype_name(elaborate_float(el))
                                                      : "i32");
        }
        return val_error();
    }
    if (!bind_sizes(el, type, name, value, place, params)) {
        return val_error();
    }
    bool waits = is_number && type->sizes.count == 1; /* for the tensors: rest_fill */
    const char *what = arena_format(el->arena, "argument '%s'", name);
    return waits || rest_bind(el, type, name, what, &value, place) ? value : val_error();
}

Val bind_typed(Elaborator *el, const AstType *type, const char *name, Place declared, Val value,
               Place place, const AstParams *params) {
    (void)declared;
    if (val_is_error(value)) {
        return value;
    }
    switch (type->kind) {
    case AST_TYPE_BARE:
        return bind_scalar(el, type, name, value, place);
    case AST_TYPE_FN:
        if (value.kind != VAL_FN) {
            Diag *diag =
                EL_REPORT(el, ARG_TYPE, place, name, "a function", val_describe(el, value));
            elaborate_note(el, diag, type->place, "the type is declared here");
            return val_error();
        }
        return value;
    case AST_TYPE_TUPLE:
        EL_REPORT(el, MISPLACED, type->place, "a tuple type stands only as a result type");
        return val_error();
    case AST_TYPE_TENSOR:
        break;
    }
    return bind_tensor(el, type, name, value, place, params);
}

/* Checks every size of a declared shape against a tensor's; unproved ones are checked at run time
 * and the value then carries the declared sizes. */
static bool check_sizes(Elaborator *el, const AstType *type, const char *name, Val *value,
                        Place place, bool is_result) {
    Type have = value->as.tensor->type;
    bool rest = type_has_rest(type);
    int32_t fixed = type->sizes.count - (rest ? 1 : 0);
    const Size *shape[TYPE_MAX_RANK];
    copy_sizes(shape, have.dims, have.rank);
    bool differs = false;
    for (int32_t i = 0; i < fixed; i++) {
        const AstSize *size = &type->sizes.items[i + (rest ? 1 : 0)];
        int32_t axis = have.rank - fixed + i;
        Val wanted = elaborate_expr(el, size->expr);
        const Size *want = NULL;
        if (!need_size(el, wanted, "a size of a type", size->place, &want)) {
            return false;
        }
        Truth truth = size_equal(el->context, have.dims[axis], want);
        if (truth == TRUTH_YES) {
            continue;
        }
        const char *has_text = size_text(el->context, have.dims[axis]);
        const char *want_text = size_text(el->context, want);
        if (truth == TRUTH_NO) {
            Diag *diag =
                is_result ? EL_REPORT(el, RESULT_SIZE, place, name, (int)axis, has_text, want_text)
                          : EL_REPORT(el, ARG_SIZE, place, name, (int)axis, has_text, want_text);
            const char *source = expr_source(el, size->expr);
            bool plain = strcmp(source, want_text) == 0;
            if (plain) {
                elaborate_note(el, diag, size->place, "expected size from here");
            } else {
                elaborate_note(el, diag, size->place, "expected size from here: %s is %s", source,
                               want_text);
            }
            if (wanted.place.source && wanted.place.line != size->place.line) {
                elaborate_note(el, diag, wanted.place, "%s comes from here", want_text);
            }
            return false;
        }
        if (!elaborate_same_size(el, have.dims[axis], value->place, want, wanted.place, place,
                                 arena_format(el->arena, "axis %d of '%s'", (int)axis, name))) {
            return false;
        }
        shape[axis] = want;
        differs = true;
    }
    if (differs) {
        Value *same = elaborate_reshape(el, value->as.tensor, shape, have.rank, place);
        *value = val_tensor(same, value->weak, value->place);
        return same != NULL;
    }
    return true;
}

bool check_typed(Elaborator *el, const AstType *type, const char *name, Val *value, Place place) {
    return check_sizes(el, type, name, value, place, false);
}

static Val check_one_result(Elaborator *el, const AstType *type, Val value, const char *name,
                            Place place) {
    if (type->kind != AST_TYPE_TENSOR) {
        return type->kind == AST_TYPE_BARE ? bind_scalar(el, type, "result", value, place) : value;
    }
    DType wanted = DT_F32;
    Element element = element_of(el, type, &wanted);
    if (element == ELEMENT_BAD) {
        return val_error();
    }
    if (!number_as_tensor(el, &value, name, place)) {
        return val_error();
    }
    if (value.kind != VAL_TENSOR) {
        if (!val_is_error(value)) {
            Diag *diag =
                EL_REPORT(el, RESULT_TYPE, place, name, "a tensor", val_describe(el, value));
            elaborate_note(el, diag, type->place, "the result type is declared here");
        }
        return val_error();
    }
    Type have = value.as.tensor->type;
    if (!fits_element(element, wanted, have.dtype) &&
        !(value.weak && adapt_weak(el, element, wanted, &value, place))) {
        Diag *diag = EL_REPORT(el, RESULT_TYPE, place, name, element_text(el, element, wanted),
                               type_text(el->context, have));
        elaborate_note(el, diag, type->place, "the result type is declared here");
        return val_error();
    }
    bool rest = type_has_rest(type);
    int32_t fixed = type->sizes.count - (rest ? 1 : 0);
    if (rest ? have.rank < fixed : have.rank != fixed) {
        Diag *diag = EL_REPORT(el, RESULT_RANK, place, name, type_text(el->context, have),
                               type_source(el, type));
        elaborate_note(el, diag, type->place, "the result type is declared here");
        return val_error();
    }
    const char *what = arena_format(el->arena, "the result of '%s'", name);
    return check_sizes(el, type, name, &value, place, true) &&
                   rest_bind(el, type, name, what, &value, place)
               ? value
               : val_error();
}

Val check_result(Elaborator *el, const AstType *type, Val value, const char *name, Place place) {
    if (type == NULL || val_is_error(value)) {
        return value;
    }
    if (type->kind != AST_TYPE_TUPLE) {
        return check_one_result(el, type, value, name, place);
    }
    if (value.kind != VAL_TUPLE || value.as.list.count != type->types.count) {
        Diag *diag = EL_REPORT(el, RESULT_TYPE, place, name,
                               arena_format(el->arena, "a tuple of %d", (int)type->types.count),
                               val_describe(el, value));
        elaborate_note(el, diag, type->place, "the result type is declared here");
        return val_error();
    }
    Val result = val_list(el, VAL_TUPLE, value.as.list.count, value.place);
    for (int32_t i = 0; i < value.as.list.count; i++) {
        result.as.list.items[i] =
            check_one_result(el, type->types.items[i], value.as.list.items[i], name, place);
        if (val_is_error(result.as.list.items[i])) {
            return val_error();
        }
    }
    return result;
}

bool elaborate_type(Elaborator *el, const AstType *type, Type *out) {
    DType dtype = DT_F32;
    const Size *dims[TYPE_MAX_RANK];
    Element element = element_of(el, type, &dtype);
    if (element == ELEMENT_BAD) {
        return false;
    }
    if (element == ELEMENT_FLOAT) {
        dtype = elaborate_float(el);
    } else if (element != ELEMENT_EXACT) {
        Diag *diag = EL_REPORT(el, DTYPE_UNKNOWN, type->place, type->element);
        elaborate_help(el, diag,
                       "a class of types stands only in a function's parameters; say i32, f32 …");
        return false;
    }
    if (type->sizes.count > TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, type->place, (int)type->sizes.count);
        return false;
    }
    const Size *zero = size_const(el->context, 0);
    for (int32_t i = 0; i < type->sizes.count; i++) {
        const AstSize *size = &type->sizes.items[i];
        if (size->is_rest) {
            EL_REPORT(el, MISPLACED, size->place, "`...` stands only in a function's parameters");
            return false;
        }
        if (!need_size(el, elaborate_expr(el, size->expr), "a size", size->place, &dims[i])) {
            return false;
        }
        if (size_is_error(dims[i])) {
            EL_REPORT(el, OVERFLOW, size->place, "this size");
            return false;
        }
        if (size_less_equal(el->context, zero, dims[i]) == TRUTH_NO) {
            EL_REPORT(el, SIZE_SMALL, size->place, "this size", size_text(el->context, dims[i]),
                      "0");
            return false;
        }
    }
    *out = type_make(el->context, dtype, type->sizes.count, dims);
    if (size_is_error(type_bytes(el->context, *out))) {
        EL_REPORT(el, OVERFLOW, type->place, "the number of bytes of this tensor");
        return false;
    }
    return true;
}
