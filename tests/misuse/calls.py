#!/usr/bin/env python3
"""From dlc.h, as C: one case for every way to misuse every function that can be made by rule. calls.py dlc.h > calls.inc

A function is called with sound arguments once, with each pointer NULL in turn, with extreme whole numbers, with every struct_size
that is none, and with every member of an options struct NULL, extreme or not finite. Results are asked for in structs of an
earlier version (up to each member in turn) and of a later one: what is behind struct_size must stay, and what this version does
not know become zero. What is sound stands in VALUES, by the parameter's type and name; a parameter without a row ends the build,
so that a new function is not forgotten, as does a struct that goes in or out without struct_size and is not in CLOSED."""
import re
import sys

# "type name", or "type" for any name: the C expression of a sound argument, over the Fixture `f`.
VALUES = {
    "dlc_status status": "DLC_OK",
    "int color": "1",
    "dlc_context *": "f->context",
    "dlc_plan *": "f->plan",
    "dlc_session *": "f->session",
    "dlc_dataset *": "f->dataset",
    "dlc_communicator *": "f->communicator",
    "dlc_context *const *contexts": "&f->context",
    "const void *mpi_comm": "f->bytes",
    "size_t mpi_comm_bytes": "sizeof(int)",
    "size_t n": "1",
    "const char *text": "f->text",
    "char *text": "f->owned_text",
    "size_t length": "strlen(f->text)",
    "const char *path": "f->path",
    "const char *source_name": '"a.dl"',
    "const char *topic": '"ops"',
    "const char *name": "f->name",
    "const char *field": '"x"',
    "const char *entry": '"infer"',
    "const char *dim": '"B"',
    "size_t index": "0",
    "size_t entry": "0",
    "unsigned flags": "0",
    "const void *bytes": "f->bytes",
    "size_t n_bytes": "f->n_bytes",
    "const dlc_binding *bindings": "f->bindings",
    "size_t n_bindings": "1",
    "const DLTensor *value": "&f->tensor",
    "const DLTensor *tensor": "&f->tensor",
    "const char *const *names": "f->names",
    "const DLTensor *const *tensors": "f->tensors",
    "size_t count": "1",
    "int64_t count": "2",
    "const int64_t *rows": "f->rows",
    "void *out": "f->room",
    "size_t out_bytes": "2 * 3 * sizeof(float)",
    "dlc_metric *metrics": "f->metrics",
    "size_t capacity": "8",
    "int64_t value": "4",
    "double value": "0.5",
    "int64_t batch": "2",
    "int64_t limit_bytes": "0",
    "int64_t n_ranks": "0",
    "int64_t rank": "0",
}
# Where the sound value is another one.
OF_FUNCTION = {
    "dlc_plan_load.path": "f->plan_path",
    "dlc_compile_file.path": "f->program_path",
    "dlc_weights_load.path": "f->weights_path",
    "dlc_weights_describe.path": "f->weights_path",
    "dlc_checkpoint_load.path": "f->checkpoint_path",
    "dlc_journal_explain.folder": "f->folder",
    "dlc_dataset_open.path": "f->array_path",
    "dlc_tensor_read.path": "f->array_path",
    "dlc_plan_setting.name": '"seed"',
    "dlc_plan_axis.plan": "f->plan_of_ranks",
    "dlc_plan_exchange.plan": "f->plan_of_ranks",
    "dlc_plan_exchange.entry": '"train"',
    "dlc_plan_summarize_rank.plan": "f->plan_of_ranks",
    "dlc_plan_timeline.plan": "f->plan_of_ranks",
    "dlc_view_variable.name": '"a.weight"',
    "dlc_set_variable.name": '"a.bias"',
    "dlc_set_variable.value": "&f->bias",
    "dlc_view_output.name": '"out"',
    "dlc_take_output.name": '"out"',
    "dlc_set_counter.name": '"steps"',
    "dlc_get_counter.name": '"steps"',
    "dlc_set_scalar.name": '"lr"',
    "dlc_bench.options": "&f->bench",
    "dlc_session_bind.value": "2",
}
# Pointers that dlc.h lets be NULL; with any other the call fails, as far as it can.
OPTIONAL = {
    "*.options", "*.entry", "dlc_take_output.name", "dlc_view_output.name", "dlc_format.source_name",
    "dlc_plan_load_memory.name", "dlc_plan_summarize.entry", "dlc_train_step.out", "dlc_train.out",
}
# Structs that never get a further field, as dlc.h says.
CLOSED = {"dlc_allocator", "dlc_define", "dlc_binding", "dlc_metric"}
# dlc_train needs its options for the data.
NEEDED = {"dlc_train.options"}


def parse(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    structs = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        members = []
        for line in body.split(";"):
            line = " ".join(line.split())
            function = re.match(r".*\(\*(\w+)\)\(", line)
            if function:
                members.append(("function", function.group(1)))
                continue
            for part in filter(None, line.split(",")):
                match = re.match(r"(.*?)(\**)(\w+)(\[\w+\])?$", part.strip())
                kind = match.group(1).strip() or members[-1][0]
                members.append(((kind + " " + match.group(2)).strip(), match.group(3)))
        structs[name] = members
    functions = []
    found = re.findall(r"DLC_API\s+(?:DLC_MUST_USE\s+)?([\w\s*]+?)\s*\b(dlc_\w+)\(([^;]*?)\);", text)
    for result, name, parameters in found:
        split = [] if parameters.strip() == "void" else [" ".join(p.split()) for p in parameters.split(",")]
        typed = []
        for parameter in split:
            match = re.match(r"(.*?)(\w+)$", parameter)
            typed.append((match.group(1).strip(), match.group(2)))
        functions.append((" ".join(result.split()), name, typed))
    if len(functions) != text.count("DLC_API ") - text.count("define DLC_API "):
        sys.exit("calls.py: a declaration of dlc.h was not understood")
    return structs, functions


def check_structs(structs):
    without = {name for name, members in structs.items() if members[0][1] != "struct_size"}
    if without != CLOSED:
        sys.exit("calls.py: without struct_size and not closed, or the other way round: %s" % ", ".join(sorted(without ^ CLOSED)))


def named(function, kind, parameter):
    key = function + "." + parameter
    plain = (kind + parameter) if kind.endswith("*") else kind + " " + parameter
    base = kind.replace("const ", "") if kind.startswith("const dlc_") else kind
    for value in (OF_FUNCTION.get(key), VALUES.get(plain), VALUES.get(base)):
        if value:
            return value
    struct = re.match(r"(?:const )?(dlc_\w+) \*$", kind)
    if struct and parameter == "options":
        return "&f->" + struct.group(1)[4:]
    if parameter.startswith("out") and kind.endswith("*"):
        return "(void *)&f->" + ("info" if struct and "dlc_" in kind and not kind.endswith("**") else "given")
    sys.exit("calls.py: no sound value for the parameter '%s %s' of %s: add a row to VALUES" % (kind, parameter, function))


def main():
    structs, functions = parse(open(sys.argv[1]).read())
    check_structs(structs)
    cases = []

    def case(function, what, arguments, wanted, before="", size=None):
        result, name, _ = function
        call = "%s(%s)" % (name, ", ".join(arguments))
        body = "    %s\n" % before if before else ""
        if result == "dlc_status":
            body += "    return %s;\n" % (call if size is None else "result_kept(f, %s, %s)" % (call, size))
        elif result == "void":
            body += "    %s;\n    return DLC_OK;\n" % call
        else:
            body += "    return (void)%s, DLC_OK;\n" % call
            if "char *" in result:
                body = "    const char *text = %s;\n    return text ? (void)strlen(text), DLC_OK : DLC_OK;\n" % call
        number = len(cases)
        print("static dlc_status case_%d(Fixture *f) {\n    (void)f;\n%s}\n" % (number, body))
        cases.append((name + ": " + what, number, wanted))

    for function in functions:
        result, name, parameters = function
        status = result == "dlc_status"
        sound = [named(name, kind, parameter) for kind, parameter in parameters]
        out = [i for i, (kind, parameter) in enumerate(parameters) if kind.endswith("*") and parameter == "out"]
        sizes = "FILL_INFO(f, %s);" % parameters[out[0]][0].split()[0] if out and parameters[out[0]][0].split()[0] in structs \
            and structs[parameters[out[0]][0].split()[0]][0][1] == "struct_size" else ""
        case(function, "as meant", sound, "ANY", sizes)
        for i, (kind, parameter) in enumerate(parameters):
            if kind.endswith("*"):
                key, any_key = name + "." + parameter, "*." + parameter
                optional = (key in OPTIONAL or any_key in OPTIONAL) and key not in NEEDED
                with_null = sound[:i] + ["NULL"] + sound[i + 1:]
                case(function, parameter + " NULL", with_null, "ANY" if optional or not status else "REFUSED", sizes)
            elif kind in ("int64_t", "int", "unsigned", "double"):
                extremes = {"int64_t": ("INT64_MIN", "-1", "INT64_MAX"), "int": ("INT_MIN", "INT_MAX"), "unsigned": ("~0u",),
                            "double": ("(double)NAN", "(double)INFINITY", "-1e300")}[kind]
                for extreme in extremes:
                    case(function, "%s %s" % (parameter, extreme), sound[:i] + [extreme] + sound[i + 1:], "REFUSED" if kind == "unsigned" else "ANY", sizes)
            elif kind == "size_t" and parameter in ("index", "entry"):
                case(function, parameter + " beyond", sound[:i] + ["SIZE_MAX"] + sound[i + 1:], "REFUSED", sizes)
        for i, (kind, parameter) in enumerate(parameters):
            struct = re.match(r"(?:const )?(dlc_\w+) \*$", kind)
            members = structs.get(struct.group(1)) if struct else None
            if not members or members[0][1] != "struct_size":
                continue
            padded = sound[:i] + ["(void *)f->padded"] + sound[i + 1:]
            source = sound[i] if parameter == "options" else "&f->info"
            fill = "%s memcpy(f->padded, %s, sizeof(%s)); " % (sizes, source, struct.group(1))
            is_result = parameter != "options"
            for size, wanted in (("0", "REFUSED"), ("1", "REFUSED"), ("3", "REFUSED"), ("sizeof(size_t) - 1", "REFUSED"), ("sizeof(size_t)", "ANY"),
                                 ("sizeof(%s) - 8" % struct.group(1), "ANY"), ("sizeof(%s) + 1" % struct.group(1), "REFUSED"),
                                 ("sizeof(%s) + 64" % struct.group(1), "ANY"), ("(size_t)1 << 20", "REFUSED"), ("SIZE_MAX", "REFUSED")):
                case(function, "%s->struct_size %s" % (parameter, size), padded, wanted,
                     fill + "padded_size(f, %s, sizeof(%s), 0);" % (size, struct.group(1)))
            for _, member in members[1:] if is_result else []:
                size = "offsetof(%s, %s) / 8 * 8" % (struct.group(1), member)
                case(function, "%s of a version before its %s" % (parameter, member), padded, "DONE",
                     fill + "result_expect(f, %s);" % size, "sizeof(%s)" % struct.group(1))
            if is_result:
                size = "sizeof(%s) + 64" % struct.group(1)
                case(function, "%s of a later version" % parameter, padded, "DONE",
                     fill + "result_expect(f, %s);" % size, "sizeof(%s)" % struct.group(1))
            if parameter == "options":
                case(function, "options of a later version", padded, "REFUSED",
                     fill + "padded_size(f, sizeof(%s) + 64, sizeof(%s), 1);" % (struct.group(1), struct.group(1)))
            for member_kind, member in members[1:] if parameter == "options" else []:
                values = ["NULL"] if "*" in member_kind or member_kind == "function" else \
                    {"int64_t": ["INT64_MIN", "-1", "INT64_MAX", "INT64_MAX / 2"], "int": ["INT_MIN", "-1", "INT_MAX"],
                     "double": ["(double)NAN", "(double)INFINITY", "-1.0", "1e300"], "unsigned": ["~0u"]}.get(member_kind, [])
                for value in values:
                    case(function, "options.%s %s" % (member, value), padded, "REFUSED" if (member_kind == "unsigned" or value == "(double)NAN") else "ANY",
                         fill + "SET_MEMBER(f, %s, %s, %s);" % (struct.group(1), member, value))
    print("static const struct {\n    const char *what;\n    dlc_status (*call)(Fixture *f);\n    Wanted wanted;\n} cases[] = {")
    for what, number, wanted in cases:
        print('    {"%s", case_%d, %s},' % (what, number, wanted))
    print("};")
    print("enum { N_FUNCTIONS = %d };" % len(functions))


main()
