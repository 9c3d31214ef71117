#!/usr/bin/env python3
"""Refuses expressions of the compiler that leave to the host compiler in which order two things are made.

argument_order.py SOURCE_ROOT

C does not say in which order a call's arguments, the operands of an operator and the values of an initialiser are computed. Where
two of them append ops, nodes, instructions or strings, gcc and clang would write different plans. So one of them has to be made in
a statement of its own. A function *makes* if it writes through a parameter of a type below, calls a maker of LLVM, or calls a
function that makes; who calls whom is read from the text, by name."""
import collections
import os
import re
import sys

FOLDERS = ("ir", "frontend", "passes", "codegen", "driver")
# What is appended to, in an order that is seen in the plan.
STATE = {"Module", "Func", "Block", "Op", "Value", "Builder", "KBuild", "Emit", "Text", "Schedule", "PlanWriter", "Layout", "Driver"}
MAKER = re.compile(r"LLVM(Build|Append|Add|Position)")
APPENDER = re.compile(r"(str_add|map_set)")
# No atom, no statement: constants are interned, and the terms of a sum stand in the order of its atoms, whenever they were made.
NEUTRAL = {"k_int", "k_size", "k_constant"}
KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "do", "else", "case", "defined", "_Static_assert"}
TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\S")
NAME = re.compile(r"[A-Za-z_]\w*$")
SEQUENCED = {";", "&&", "||", "?", ":"}
OPERATORS = {"+", "-", "*", "/", "%", "<", ">", "<=", ">=", "==", "!=", "&", "|", "^", "<<", ">>", "=", "+=", "-=", "*=", "/=", "|=", "&="}


class Function:
    """A definition: the tokens of its file, and where in them its body is."""

    def __init__(self, path, name, is_static, params, words, lines, pair, begin):
        self.path, self.name, self.is_static, self.params = path, name, is_static, params
        self.words, self.lines, self.pair = words, lines, pair
        self.begin, self.end = begin + 1, pair[begin]
        body = range(self.begin, self.end)
        self.called = {words[i] for i in body if words[i + 1] == "(" and NAME.match(words[i])} - KEYWORDS
        self.makes = False


def tokens_of(path):
    """Words and their lines, without comments, strings and directives."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"/\*.*?\*/", lambda found: re.sub(r"[^\n]", " ", found.group()), text, flags=re.S)
    text = re.sub(r'"(\\.|[^"\\\n])*"', "0", text)
    text = re.sub(r"'(\\.|[^'\\\n])*'", "0", text)
    words, lines, goes_on = [], [], False
    for number, row in enumerate(text.split("\n"), 1):
        is_directive = goes_on or row.lstrip().startswith("#")
        goes_on = is_directive and row.rstrip().endswith("\\")
        if not is_directive:
            for word in TOKEN.findall(row):
                words.append(word)
                lines.append(number)
    return words, lines


def brackets(words):
    """Place of each bracket -> place of its partner."""
    pair, stack = {}, []
    for i, word in enumerate(words):
        if word in ("(", "[", "{"):
            stack.append(i)
        elif word in (")", "]", "}") and stack:
            pair[i] = stack.pop()
            pair[pair[i]] = i
    return pair


def functions_of(path, shown):
    words, lines = tokens_of(path)
    pair = brackets(words)
    i = start = 0
    while i < len(words):
        if words[i] == "{":
            opened = pair.get(i - 1) if words[i - 1] == ")" else None
            if opened and NAME.match(words[opened - 1]):
                head = words[start:opened - 1]
                yield Function(shown, words[opened - 1], "static" in head, words[opened + 1:i - 1], words, lines, pair, i)
            i = start = pair[i] + 1
            continue
        if words[i] == ";":
            start = i + 1
        i += 1


def state_params(params):
    """Names of the parameters through which the function may append."""
    names, param = set(), []
    for word in params + [","]:
        if word != ",":
            param.append(word)
            continue
        if "*" in param and "const" not in param[:param.index("*")] and param[param.index("*") - 1] in STATE:
            names.add(param[-1])
        param = []
    return names


def writes(function):
    """Whether it assigns, or pushes, through such a parameter itself."""
    words, names = function.words, state_params(function.params)
    for i in range(function.begin, function.end):
        if words[i] not in names or words[i + 1] != "->" or words[i - 1] in ("->", "."):
            continue
        at = i + 1
        while words[at] in ("->", ".", "["):
            at = function.pair[at] + 1 if words[at] == "[" else at + 2
        if words[at] in ("=", "++", "--", "+=", "-=", "|=") or words[i - 1] in ("++", "--"):
            return True
        if words[i - 1] == "&" and ("VEC_PUSH" in words[i - 8:i] or APPENDER.match(words[i - 3])):
            return True
    return False


def find_makers(functions):
    named = collections.defaultdict(list)
    for function in functions:
        named[function.name].append(function)
        function.makes = writes(function) or any(MAKER.match(name) for name in function.called)

    def named_in(function, name):
        own = [other for other in named[name] if other.path == function.path]
        return own or [other for other in named[name] if not other.is_static]

    changed = True
    while changed:
        changed = False
        for function in functions:
            if not function.makes and function.name not in NEUTRAL:
                names = function.called - NEUTRAL
                function.makes = any(other.makes for name in names for other in named_in(function, name))
                changed = changed or function.makes
    for function in functions:
        function.makes = function.makes and function.name not in NEUTRAL
    return named_in


def is_initialiser(words, pair, i):
    """Whether the brace at i opens values, not statements."""
    before = words[i - 1]
    if before == ")":
        return words[pair[i - 1] - 1] in ("=", ",", "(", "return", "&", "?", ":", "{", "[")
    return before in ("=", "{", ",")


def unordered(function, named_in):
    """Yields (line, names of the makers) for each group of which two make."""
    words, lines, pair = function.words, function.lines, function.pair
    found = []

    def makes(i):
        name = words[i]
        if name in NEUTRAL or words[i - 1] in ("->", "."):
            return False
        return bool(MAKER.match(name)) or any(other.makes for other in named_in(function, name))

    def walk(begin, end, commas_are_free):
        """Makers called between the two places; notes groups of which two operands hold some."""
        everything, operands = [], [[]]

        def close():
            with_makers = [operand for operand in operands if operand]
            if len(with_makers) > 1:
                found.append((lines[with_makers[0][0]], [words[operand[0]] for operand in with_makers]))
            operands[:] = [[]]

        i = begin
        while i < end:
            word = words[i]
            if word in ("(", "[", "{"):
                is_call = word == "(" and NAME.match(words[i - 1]) and words[i - 1] not in KEYWORDS
                is_block = word == "{" and not is_initialiser(words, pair, i)
                inner = walk(i + 1, pair[i], is_call or (word == "{" and not is_block))
                made = ([i - 1] if is_call and makes(i - 1) else []) + inner
                if is_block:
                    close()
                else:
                    operands[-1] += made
                    everything += made
                i = pair[i]
            elif word in SEQUENCED or (word == "," and not commas_are_free):
                close()
            elif word == "," or word in OPERATORS:
                operands.append([])
            i += 1
        close()
        return everything

    walk(function.begin, function.end, False)
    return found


def main():
    root = os.path.realpath(sys.argv[1])
    functions = []
    for folder in FOLDERS:
        for base, _, files in sorted(os.walk(os.path.join(root, folder))):
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    path = os.path.join(base, name)
                    functions += functions_of(path, os.path.relpath(path, root))
    named_in = find_makers(functions)
    n_makers = sum(function.makes for function in functions)
    if n_makers < 500:
        sys.exit(f"argument_order: only {n_makers} functions are seen to make something; is the text still read rightly?")
    n_found = 0
    for function in functions:
        for line, names in unordered(function, named_in):
            n_found += 1
            print(f"{function.path}:{line}: in {function.name}, {' and '.join(names)} are called in one expression, in an order that C "
                  "leaves to the compiler; plans would depend on it. Make one of them in a statement of its own.")
    print(f"{len(functions)} functions, of which {n_makers} make something; {n_found} unordered")
    sys.exit(1 if n_found else 0)


main()
