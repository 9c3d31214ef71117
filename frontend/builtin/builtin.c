/* The table of built-in functions, matching of their arguments, and calling them. */
#include "frontend/builtin/builtin.h"

#include <string.h>

/* scalar.def's rows (those without a name in the language are never found), then builtin.def's. */
static const Builtin builtins[] = {
#define SIGNATURE_1 "x", builtin_unary
#define SIGNATURE_2 "x, y", builtin_pair
#define SIGNATURE_3 "", NULL
#define SCALAR(name, arity, class_, result, cost, gradient, domain, slope, precision, elements,    \
               sign, identity, linear, function, ...)                                              \
    {function, SIGNATURE_##arity, OP_##name},
#include "ir/scalar.def"
#undef SCALAR
#define BUILTIN(name, handler, code, signature) {#name, signature, handler, code},
#include "frontend/builtin/builtin.def"
#undef BUILTIN
};

enum { N_BUILTINS = sizeof(builtins) / sizeof(builtins[0]) };

const Builtin *builtin_find(const char *name) {
    for (int i = 0; i < N_BUILTINS; i++) {
        if (*name && strcmp(builtins[i].name, name) == 0) {
            return &builtins[i];
        }
    }
    return NULL;
}

bool builtin_takes_axes(const Builtin *builtin) {
    return builtin->handler == builtin_shard;
}

void builtin_names(Elaborator *el, Map *out) {
    (void)el;
    for (int i = 0; i < N_BUILTINS; i++) {
        if (*builtins[i].name) {
            map_set(out, builtins[i].name, out);
        }
    }
}

/* -- signatures */

typedef struct Signature {
    const char *names[BUILTIN_MAX_PARAMS];
    bool optional[BUILTIN_MAX_PARAMS];
    int count;
    int rest; /* index of `*xs`, or -1 */
} Signature;

static Signature read_signature(Elaborator *el, const char *text) {
    Signature signature = {.rest = -1};
    while (*text && signature.count < BUILTIN_MAX_PARAMS) {
        while (*text == ' ' || *text == ',') {
            text++;
        }
        size_t length = strcspn(text, ",=");
        bool rest = *text == '*';
        int index = signature.count++;
        signature.names[index] = arena_strndup(el->arena, text + rest, length - rest);
        signature.optional[index] = text[length] == '=' || rest;
        if (rest) {
            signature.rest = index;
        }
        text += length + (text[length] == '=');
    }
    return signature;
}

static int signature_index(const Signature *signature, const char *name) {
    for (int i = 0; i < signature->count; i++) {
        if (strcmp(signature->names[i], name) == 0 && i != signature->rest) {
            return i;
        }
    }
    return -1;
}

static bool unknown_named(Elaborator *el, const Builtin *builtin, const Signature *signature,
                          const Arg *arg) {
    Map names;
    map_init(&names, el->arena);
    for (int i = 0; i < signature->count; i++) {
        map_set(&names, signature->names[i], &names);
    }
    const char *near = map_suggest(&names, arg->name);
    Place place = arg->name_place.source ? arg->name_place : arg->place;
    Diag *diag = EL_REPORT(el, ARG_UNKNOWN, place, builtin->name, arg->name);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    } else {
        elaborate_help(el, diag, "its parameters: %s", builtin->signature);
    }
    return false;
}

/* sqrt, exp …: functions that make a float of a compile-time integer. */
static bool wants_float(const BuiltinCall *call) {
    return call->builtin->handler == builtin_unary &&
           !builtin_keeps_integers((OpCode)call->builtin->code);
}

/* Gives each argument to its parameter; `partial`: others may follow. */
static bool match_call(BuiltinCall *call, Args args, bool partial) {
    Elaborator *el = call->el;
    const Builtin *builtin = call->builtin;
    Signature signature = read_signature(el, builtin->signature);
    bool filled[BUILTIN_MAX_PARAMS] = {false};
    int position = 0;
    for (int32_t i = 0; i < args.count; i++) {
        const Arg *arg = &args.items[i];
        if (arg->name == NULL && signature.rest >= 0) {
            call->rest[call->n_rest++] = *arg;
            continue;
        }
        int index = arg->name ? signature_index(&signature, arg->name) : position++;
        if (index < 0) {
            return unknown_named(el, builtin, &signature, arg);
        }
        if (index >= signature.count) {
            Diag *diag = EL_REPORT(el, ARG_TOO_MANY, arg->place, builtin->name, signature.count,
                                   (int)args.count);
            elaborate_help(el, diag, "its parameters: %s", builtin->signature);
            return false;
        }
        if (filled[index]) {
            EL_REPORT(el, ARG_TWICE, arg->place, signature.names[index]);
            return false;
        }
        filled[index] = true;
        call->args[index] = arg->value;
        call->places[index] = arg->place.source ? arg->place : call->place;
    }
    for (int i = 0; i < signature.count; i++) {
        if (!signature.optional[i] && !filled[i] && !partial) {
            Diag *diag = EL_REPORT(el, ARG_MISSING, call->place, builtin->name, signature.names[i]);
            elaborate_help(el, diag, "its parameters: %s", builtin->signature);
            return false;
        }
        if (val_is_error(call->args[i])) {
            return false;
        }
    }
    return true;
}

static BuiltinCall *call_new(Elaborator *el, const Builtin *builtin, Args args, Place place) {
    BuiltinCall *call = ARENA_NEW(el->arena, BuiltinCall);
    call->el = el;
    call->builtin = builtin;
    call->place = place;
    call->rest = ARENA_ARRAY(el->arena, Arg, args.count + 1);
    for (int i = 0; i < BUILTIN_MAX_PARAMS; i++) {
        call->args[i] = (Val){.kind = VAL_NONE};
        call->places[i] = place;
    }
    return call;
}

void builtin_arguments_fit(Elaborator *el, const Builtin *builtin, Args args, Place place,
                           bool partial) {
    match_call(call_new(el, builtin, args, place), args, partial);
}

Val call_builtin(Elaborator *el, const Builtin *builtin, Args args, Place place) {
    BuiltinCall *call = call_new(el, builtin, args, place);
    if (!match_call(call, args, false)) {
        return val_error();
    }
    for (int i = 0; i < BUILTIN_MAX_PARAMS; i++) {
        call->args[i] = val_settled(el, call->args[i]);
    }
    for (int32_t i = 0; i < call->n_rest; i++) {
        call->rest[i].value = val_settled(el, call->rest[i].value);
    }
    if (!number_exact(el, wants_float(call) ? call->args[0] : (Val){.kind = VAL_NONE}, place)) {
        return val_error();
    }
    elaborate_at(el, place);
    Val result = builtin->handler(call);
    if (result.kind == VAL_TENSOR) {
        result.place = place;
    }
    return result;
}
