/* The messages of the parser: "expected X, found Y", what the reader probably meant, and which
 * bracket is still open. */
#include "frontend/parse/scan.h"

Place place_span(const Place *places, int count) {
    if (count == 0) {
        /* Nothing: the point after what came before. */
        Place empty = places[0];
        empty.line = empty.end_line;
        empty.column = empty.end_column;
        return empty;
    }
    Place span = {0};
    for (int i = 0; i < count; i++) {
        bool is_empty =
            places[i].line == places[i].end_line && places[i].column == places[i].end_column;
        if (!is_empty) {
            span = span.source ? place_join(span, places[i]) : places[i];
        }
    }
    return span.source ? span : places[0];
}

/* `text` fills the row's %s; NULL where the row has none. */
Diag *parse_report(Parse *parse, DiagId id, Place place, const char *text) {
    parse->file->has_errors = true;
    if (parse->context->diags.n_errors >= DIAG_MAX_ERRORS) {
        parse->stopped = true;
    }
    return diag_report(&parse->context->diags, id, place, text ? text : "");
}

void scan_report(Parse *parse, DiagId id, Place place, const char *text, const char *help) {
    if (parse->recovering) {
        return;
    }
    Diag *diag = parse_report(parse, id, place, text);
    if (help) {
        diag_help(&parse->context->diags, diag, "%s", help);
    }
}

void parse_recovered(Parse *parse) {
    parse->recovering = false;
}

static bool name_is(const char *name, const char *text) {
    return strcmp(name, text) == 0;
}

static bool names_have(const char *const *names, int count, const char *text) {
    for (int i = 0; i < count; i++) {
        if (name_is(names[i], text)) {
            return true;
        }
    }
    return false;
}

static bool in_table(const char *name, const char *const *table) {
    for (; *table; table++) {
        if (name_is(name, *table)) {
            return true;
        }
    }
    return false;
}

static const char *const operators[] = {
    "'+'", "'-'",  "'*'",  "'/'",   "'%'",  "'@'",  "'**'", "'=='", "'!='", "'<'",  "'<='",
    "'>'", "'>='", "'or'", "'and'", "'if'", "'|>'", "'('",  "'['",  "'.'",  "'as'", NULL};

static const char *const expression_starts[] = {
    "an integer", "a number", "a string", "a name", "'('",  "'['",        "an axis function", "'-'",
    "'not'",      "'true'",   "'false'",  "'over'", "'by'", "'training'", "'param'",          NULL};

static const char *const statement_starts[] = {
    "'state'",  "'cache'",     "'for'",   "'if'",    "'scan'",  "'while'",  "'return'", "'yield'",
    "'output'", "'metric'",    "'loss'",  "'check'", "'show'",  "'import'", "'const'",  "'dim'",
    "'fn'",     "'optimizer'", "'model'", "'entry'", "'train'", "'mesh'",   NULL};

static const char *const words[] = {
    "'import'", "'const'", "'dim'",   "'fn'",     "'optimizer'", "'model'",  "'entry'",
    "'train'",  "'mesh'",  "'param'", "'state'",  "'cache'",     "'for'",    "'if'",
    "'else'",   "'scan'",  "'while'", "'return'", "'yield'",     "'output'", "'metric'",
    "'loss'",   "'check'", "'show'",  "'in'",     "'along'",     "'carry'",  "'as'",
    "'shared'", "'and'",   "'or'",    "'not'",    "'true'",      "'false'",  "'training'",
    "'over'",   "'by'",    NULL};

enum { MAX_WISHES = 4 };

/* What could stand here, in few words: groups of tokens get one name each. */
typedef struct Wishes {
    const char *items[MAX_WISHES];
    int count;
    bool overflow;
} Wishes;

static void wish(Wishes *wishes, const char *text) {
    if (wishes->count < MAX_WISHES) {
        wishes->items[wishes->count++] = text;
    } else {
        wishes->overflow = true;
    }
}

static bool begins_block(int statement) {
    switch (statement) {
    case T_FOR:
    case T_IF:
    case T_WHILE:
    case T_SCAN:
    case T_FN:
    case T_MODEL:
    case T_ENTRY:
    case T_OPTIMIZER:
    case T_TRAIN:
    case '@':
    case '}':
        return true;
    default:
        return false;
    }
}

/* The tables merge states, so some tokens are named that cannot stand here after all: whether a
 * bracket or a sign of that name fits what is open. */
static bool sign_fits(const Parse *parse, const char *name, bool in_brackets, bool heads_block) {
    int statement = parse->statement, around = parse->around;
    if (name_is(name, "'}' of the interpolation")) {
        return parse->n_interpolations > 0;
    }
    if (name_is(name, "the end of the line")) {
        return !in_brackets && !heads_block;
    }
    if (name_is(name, "'}'")) {
        return around == '{' ? !heads_block : around == 'a';
    }
    if (name_is(name, "')'")) {
        return around == '(';
    }
    if (name_is(name, "']'")) {
        return around == '[';
    }
    if (name_is(name, "':'")) {
        return around == '[' || around == '(' || statement == T_PARAM || statement == T_STATE ||
               statement == T_CACHE;
    }
    if (name_is(name, "','")) {
        return in_brackets || statement == T_CONST || statement == T_MESH || statement == T_SCAN;
    }
    if (name_is(name, "'..'")) {
        return statement == T_FOR || statement == T_DIM;
    }
    if (name_is(name, "'{'")) {
        return !in_brackets && (heads_block || statement == T_MESH);
    }
    if (name_is(name, "'='")) {
        return !in_brackets &&
               (statement == T_CONST || statement == T_METRIC || statement == T_SCAN ||
                (statement == T_MESH && parse->before_previous != T_INT) || statement == T_WHILE ||
                statement == T_DIM);
    }
    return true;
}

/* The same of a word, or a number. */
static bool word_fits(const Parse *parse, const char *name) {
    int statement = parse->statement;
    if (name_is(name, "'for'")) { /* of a mesh block alone */
        return false;
    }
    if (name_is(name, "an integer")) { /* `batch N 1024` */
        return statement != T_MESH && (parse->around != '(' || parse->before_previous == '.' ||
                                       parse->before_previous == '=');
    }
    if (name_is(name, "'else'")) {
        return parse->open_ifs > 0;
    }
    if (name_is(name, "'over'")) {
        return statement == T_METRIC;
    }
    if (name_is(name, "'carry'")) {
        return statement == T_SCAN || statement == T_WHILE;
    }
    if (name_is(name, "'in'")) {
        return statement == T_FOR || statement == T_SCAN || statement == T_DIM;
    }
    return !name_is(name, "'along'") || statement == T_SCAN;
}

static bool fits_here(const Parse *parse, const char *name) {
    bool heads_block = begins_block(parse->statement) && parse->before_previous != '}';
    bool in_brackets = parse->around == '(' || parse->around == '[' || parse->around == 'a';
    return sign_fits(parse, name, in_brackets, heads_block) && word_fits(parse, name);
}

static bool is_wanted(const Parse *parse, const char *name, bool word, bool listed,
                      bool expression) {
    if (name_is(name, "a name") || name_is(name, "a character") || name_is(name, "';'") ||
        name_is(name, "'by'") || !fits_here(parse, name)) {
        return false;
    }
    if (listed && (in_table(name, statement_starts) || name_is(name, "the end of the line") ||
                   name_is(name, "the end of the file") || name_is(name, "'@'"))) {
        return false;
    }
    if ((expression || listed) && in_table(name, expression_starts)) {
        return false;
    }
    if (!expression && in_table(name, operators)) {
        return false;
    }
    return !(word && in_table(name, words));
}

static Wishes collect_wishes(const Parse *parse, const char *const *names, int count) {
    Wishes wishes = {0};
    bool expression = names_have(names, count, "an integer") &&
                      names_have(names, count, "a number") && names_have(names, count, "'('");
    bool declaration = names_have(names, count, "'model'") && names_have(names, count, "'mesh'");
    bool statement = names_have(names, count, "'scan'") && names_have(names, count, "'while'");
    bool word = declaration && statement;
    if (word) {
        wish(&wishes, expression ? "an expression" : "a name");
    } else if (declaration) {
        wish(&wishes, "a declaration (`fn`, `model`, `train`, …)");
    } else if (statement) {
        wish(&wishes, "a statement");
    } else if (expression) {
        wish(&wishes, "an expression");
    } else if (names_have(names, count, "a name")) {
        wish(&wishes, "a name");
    }
    for (int i = 0; i < count; i++) {
        if (is_wanted(parse, names[i], word, !word && (declaration || statement), expression)) {
            wish(&wishes, names[i]);
        }
    }
    if (wishes.count == 0) {
        wish(&wishes, "an operator");
    }
    return wishes;
}

static const char *join_wishes(Parse *parse, const Wishes *wishes) {
    const char *text = "";
    for (int i = 0; i < wishes->count; i++) {
        const char *joint = i == 0                                        ? ""
                            : i + 1 == wishes->count && !wishes->overflow ? " or "
                                                                          : ", ";
        text = arena_format(&parse->context->arena, "%s%s%s", text, joint, wishes->items[i]);
    }
    return text;
}

static const char *token_shown(Parse *parse, int token, Place place) {
    if (token == 0) {
        return "the end of the file";
    }
    if (token == T_NEWLINE) {
        return "the end of the line";
    }
    if (token == T_STR_BEGIN) {
        return "a string";
    }
    const char *text = parse->source->text;
    for (int32_t line = 1; line < place.line; line++) {
        text = strchr(text, '\n');
        if (!text) {
            return "this";
        }
        text++;
    }
    int length = (int)(place.end_column - place.column);
    const char *first = text + place.column - 1;
    bool is_keyword = token > 256 && token != T_NAME && *first >= 'a' && *first <= 'z';
    return arena_format(&parse->context->arena, is_keyword ? "the reserved word '%.*s'" : "'%.*s'",
                        length > 40 ? 40 : length, first);
}

typedef struct Mistake {
    int before, found;  /* tokens; -1: any */
    const char *wanted; /* must be among the expected names; NULL: any */
    const char *help;
} Mistake;

/* The first row that fits gives the help. */
static const Mistake mistakes[] = {
    {']', '=', NULL,
     "values do not change: bind the result of `update(x, v, start, axis)` instead"},
    {-1, T_STR_BEGIN, "'}' of the interpolation", "close the `{` before the end of the string"},
    {-1, T_NEWLINE, "'}' of the interpolation", "close the `{` and the string on this line"},
    {-1, '=', "'{'", "two values are compared with `==`"},
    {-1, ':', "'{'", "a block stands in braces: `{ … }`"},
    {-1, T_NEWLINE, "'{'", "the block's `{` stands on the same line"},
    {T_NEWLINE, T_ELSE, NULL, "`else` stands on the line of the closing brace: `} else {`"},
    {-1, T_IN, NULL, "`in` belongs to `for`, `scan` and `dim`; write `any(x == v)` to search"},
    {-1, '{', "'..'", "a loop counts through a range: `for i in 0..n { … }`"},
    {-1, '(', "'..'", "a loop counts through a range: `for i in 0..n { … }`"},
    {-1, T_DOTDOT, "']'", "a slice is written `a:b`; `..` alone stands for all axes between"},
    {'[', T_ELLIPSIS, NULL, "in an index, all axes between are written `..`"},
    {',', T_ELLIPSIS, NULL, "in an index, all axes between are written `..`"},
    {-1, T_AS, NULL, "`as` ends a call or a bare pipe stage: `f(x) as name`, `x |> f as name`"},
    {-1, '[', "'|>'", "put the pipe in parentheses to index its result: `(x |> f)[0]`"},
    {-1, '.', "an expression", "a number has digits on both sides of the point: `0.5`"},
    {'.', T_NEWLINE, NULL, "a number has digits on both sides of the point: `1.0`"},
    {'.', ')', NULL, "a number has digits on both sides of the point: `1.0`"},
    {'.', ',', NULL, "a number has digits on both sides of the point: `1.0`"},
    {-1, T_STORE, NULL, "to compare with a negative number put a blank between: `a < -b`"},
    {T_NEWLINE, T_PIPE, NULL, "a pipe needs a value before it"},
    {-1, '=', "'=='", "a binding is a statement of its own; two values are compared with `==`"},
    {-1, T_NEWLINE, "'->'", "an axis function is written on one line: `{b i -> i b}`"},
    {-1, '}', "'->'", "an axis function has an arrow: `{b i -> i b}`"},
    {-1, T_NEWLINE, "an expression", "the line ends before the expression does"},
    {-1, '+', "an expression", "there is no unary `+`"},
};

static const char *find_help(const Parse *parse, const char *const *names, int count,
                             bool expression) {
    int found = parse->previous, before = parse->before_previous;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        const Mistake *row = &mistakes[i];
        bool wanted = !row->wanted ||
                      (names_have(names, count, row->wanted) && fits_here(parse, row->wanted)) ||
                      (expression && name_is(row->wanted, "an expression"));
        if ((row->before < 0 || row->before == before) && row->found == found && wanted) {
            return row->help;
        }
    }
    return NULL;
}

typedef struct Habit {
    const char *word, *help;
} Habit;

/* Words of other languages at the head of a line that then does not parse. */
static const Habit habits[] = {
    {"def", "functions are declared with `fn name(args) -> type { … }`"},
    {"func", "functions are declared with `fn`"},
    {"function", "functions are declared with `fn`"},
    {"class", "a layer is a function that declares `param`: `fn name(x: float[B, I], …) { … }`"},
    {"let", "a value is bound with `name = expression` alone"},
    {"var", "a value is bound with `name = expression` alone"},
    {"elif", "write `} else if condition {`"},
    {"from", "write `import \"file.dl\"`"},
    {"lambda", "there are no anonymous functions: declare one with `fn`"},
    {"layer", "a layer is a function that declares `param`"},
    {"network", "write `model name(inputs) { … }`"},
    {"input", "inputs are the arguments of the model: `model name(x: f32[B, 10]) { … }`"},
};

static const char *habit_help(const Parse *parse, Place place) {
    const char *text = parse->source->text;
    for (int32_t line = 1; line < place.line && text; line++) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    if (!text) {
        return NULL;
    }
    text += strspn(text, " \t}");
    for (size_t i = 0; i < sizeof habits / sizeof habits[0]; i++) {
        size_t length = strlen(habits[i].word);
        if (strncmp(text, habits[i].word, length) == 0 && text[length] == ' ') {
            return habits[i].help;
        }
    }
    return NULL;
}

/* Remembers what was open, for the skipping to come, and forgets it up to the block around. */
static void note_open_brackets(Parse *parse) {
    parse->recovering = true;
    parse->error_token = parse->previous;
    parse->error_axis_depth = parse->error_paren_depth = 0;
    if (parse->previous == '{') {
        return;
    }
    while (parse->brackets.count) {
        int kind = parse->brackets.items[parse->brackets.count - 1].kind;
        if (kind == '{') {
            break;
        }
        parse->error_axis_depth += kind == 'a';
        parse->error_paren_depth += kind != 'a';
        parse->brackets.count--;
    }
}

void parse_unexpected(Parse *parse, Place place, const char *const *expected, int n_expected) {
    if (parse->stopped) {
        return;
    }
    if (parse->previous == T_BAD) {
        note_open_brackets(parse); /* the character was reported when it was read */
        return;
    }
    Wishes wishes = collect_wishes(parse, expected, n_expected);
    bool expression = wishes.count && name_is(wishes.items[0], "an expression");
    const char *found = token_shown(parse, parse->previous, place);
    DiagList *diags = &parse->context->diags;
    parse->file->has_errors = true;
    Diag *diag = diag_report(diags, DIAG_UNEXPECTED, place, join_wishes(parse, &wishes), found);
    const Bracket *open =
        parse->brackets.count ? &parse->brackets.items[parse->brackets.count - 1] : NULL;
    bool just_opened = open && parse->previous == '{' && open->kind == '{';
    if (open && !just_opened &&
        (parse->previous == 0 || (open->kind != '{' && open->place.line < place.line))) {
        diag_note(diags, diag, open->place, "this '%c' is still open",
                  open->kind == 'a' ? '{' : open->kind);
    }
    const char *help = habit_help(parse, place);
    if (!help) {
        help = find_help(parse, expected, n_expected, expression);
    }
    bool reserved = found[0] == 't' && strncmp(found, "the reserved", 12) == 0;
    if (!help && reserved && name_is(wishes.items[0], "a name")) {
        help = "choose another name: this one begins a statement or declaration";
    }
    if (help) {
        diag_help(diags, diag, "%s", help);
    }
    if (diags->n_errors >= DIAG_MAX_ERRORS) {
        parse->stopped = true;
    }
    note_open_brackets(parse);
}

/* Bison calls this only when its stack is exhausted. */
void dl_error(const Place *place, Parse *parse, const char *message) {
    (void)message;
    if (!parse->stopped) {
        parse_report(parse, DIAG_NESTING, *place, NULL);
        parse->stopped = true;
    }
}
