/* `dlc fmt`: canonical spacing and indentation. It works on tokens, line by line: where lines break
 * is the writer's choice, as are comments, groups of lines (one blank line at most) and columns
 * that neighbouring lines align with extra blanks. Formatting twice changes nothing more. */
#include "frontend/parse/scan.h"

#include <stdlib.h>

/* Lines of more pieces are not aligned with others, which keeps the work linear. */
enum { INDENT = 4, COMMENT_GAP = 2, MAX_ALIGNED = 200, T_COMMENT = -1 };

/* One token of the output; strings are one token with their interpolation. */
typedef struct Piece {
    int kind;
    const char *text;
    int length;
    int column;  /* in the source, from 1 */
    int gap;     /* blanks before it: what the rules say */
    int width;   /* blanks before it in the source */
    int padding; /* blanks added to align it */
    int group;   /* of aligned pieces; -1: none */
} Piece;

typedef struct Line {
    VEC(Piece) pieces;
    int indent;
    bool blank_before;
} Line;

/* What the innermost bracket is, for spacing. */
typedef enum Where {
    IN_BLOCK,
    IN_CALL,   /* `f(a=1)` */
    IN_PARAMS, /* `fn f(a: int = 1)` */
    IN_SQUARE,
    IN_AXES,       /* `{b (h d) -> …}` */
    IN_AXIS_GROUP, /* `(h d)` within */
} Where;

typedef struct Layout {
    Parse *parse;
    Arena *arena;
    VEC(Line) lines;
    VEC(char) where;      /* open brackets */
    int previous, before; /* kinds of the last two tokens */
    int previous_end;     /* source offset after the last token */
    int line_start;       /* source offset of the line being read */
    int blocks, parens;   /* open now */
    bool mesh_line;       /* `mesh a=1`: no blanks around `=` */
    bool mesh_block;      /* `{ shard (_, a) for "b" }` behind it */
    int n_groups;
} Layout;

static Where innermost(const Layout *layout) {
    return layout->where.count ? (Where)layout->where.items[layout->where.count - 1] : IN_BLOCK;
}

/* -- Spacing */

static bool ends_operand(const Layout *layout) {
    return token_ends_operand(layout->previous, layout->before);
}

/* Whether the last token began a line of a mesh block: what stands in parentheses is no call's. */
static bool ends_mesh_word(const Layout *layout) {
    const Line *line = &layout->lines.items[layout->lines.count - 1];
    return layout->mesh_block && innermost(layout) == IN_BLOCK &&
           (line->pieces.count == 1 || layout->before == ';' || layout->before == '{');
}

static int gap_of_open(const Layout *layout, int kind) {
    if (kind == '(' && (innermost(layout) == IN_AXES || innermost(layout) == IN_AXIS_GROUP)) {
        return layout->previous == '=' || layout->previous == '(' ? 0 : 1;
    }
    return ends_operand(layout) && !ends_mesh_word(layout) ? 0 : 1;
}

/* Whether the `-` or `@` just read stands before its operand alone. */
static bool previous_is_prefix(const Layout *layout) {
    if (layout->previous == '-') {
        return !token_ends_operand(layout->before, 0);
    }
    return layout->previous == '@' && (layout->before == 0 || layout->before == T_NEWLINE);
}

/* Blanks between the last token and one of `kind` on the same line. */
static int gap_before(const Layout *layout, int kind) {
    int previous = layout->previous;
    Where where = innermost(layout);
    if (previous == ',' && kind != ',' && kind != ')' && kind != ']') {
        return 1;
    }
    bool after_number = (previous == T_INT || previous == T_FLOAT) && layout->before != '.';
    if (kind == '.' && after_number) { /* `0 .5` is no number */
        return 1;
    }
    bool open_range = (kind == T_DOTDOT && previous == T_IN) || /* `dim T in ..64` */
                      (previous == T_DOTDOT && kind == '=');    /* `dim B in 0.. = 64` */
    if (open_range && layout->before != '.') {
        return 1;
    }
    if (kind == ',' || kind == ';' || kind == ')' || kind == ']' || kind == '.' ||
        previous == '.' || previous == '(' || previous == '[' || kind == T_DOTDOT ||
        previous == T_DOTDOT || previous_is_prefix(layout)) {
        return 0;
    }
    if (where == IN_AXES && (previous == '{' || kind == '}')) {
        return 0;
    }
    if (kind == ':' || (previous == T_ELLIPSIS && where == IN_SQUARE)) { /* `[...a, C]` */
        return 0;
    }
    if (previous == ':') {
        return where == IN_SQUARE ? 0 : 1;
    }
    if (kind == '=' || previous == '=') {
        bool tight =
            where == IN_CALL || where == IN_AXES || where == IN_AXIS_GROUP || layout->mesh_line;
        return tight ? 0 : 1;
    }
    if (kind == '{' && previous == '{') {
        return 1;
    }
    if (kind == '}' && previous == '{') {
        return 0;
    }
    if (kind == '(' || kind == '[') {
        return gap_of_open(layout, kind);
    }
    return 1;
}

/* -- Reading */

static Line *new_line(Layout *layout, bool blank_before) {
    Line line = {.blank_before = blank_before};
    VEC_PUSH(layout->arena, &layout->lines, line);
    return &layout->lines.items[layout->lines.count - 1];
}

static Line *last_line(Layout *layout) {
    return layout->lines.count ? &layout->lines.items[layout->lines.count - 1] : NULL;
}

static void add_piece(Layout *layout, int kind, int start, int end, int gap) {
    Line *line = last_line(layout);
    const char *text = layout->parse->source->text;
    int width = 0;
    while (width < start && (text[start - width - 1] == ' ' || text[start - width - 1] == '\t')) {
        width++;
    }
    Piece piece = {.kind = kind,
                   .text = text + start,
                   .length = end - start,
                   .column = start - layout->line_start + 1,
                   .gap = line->pieces.count ? gap : 0,
                   .width = width,
                   .group = -1};
    VEC_PUSH(layout->arena, &line->pieces, piece);
}

static int indent_now(const Layout *layout, bool continues) {
    return INDENT * (layout->blocks + (continues ? 1 : 0));
}

/* The text between two tokens: comments go out, line ends are noted. Returns the number of line
 * ends since the last token or comment. */
static int add_gap(Layout *layout, int start, int end, bool continues) {
    const char *text = layout->parse->source->text;
    int newlines = layout->lines.count ? 0 : 1;
    for (int at = start; at < end; at++) {
        if (text[at] == '\n') {
            newlines++;
            layout->line_start = at + 1;
        } else if (text[at] == '#') {
            int stop = at;
            while (stop < end && text[stop] != '\n') {
                stop++;
            }
            int trimmed = stop;
            while (trimmed > at && strchr(" \t\r\f", text[trimmed - 1])) {
                trimmed--;
            }
            if (newlines) {
                bool opens = layout->previous == '{' || layout->lines.count == 0;
                Line *line = new_line(layout, newlines > 1 && !opens);
                line->indent = indent_now(layout, continues);
            }
            add_piece(layout, T_COMMENT, at, trimmed, COMMENT_GAP);
            newlines = 0;
            at = stop - 1;
        }
    }
    return newlines;
}

static void open_bracket(Layout *layout, int kind) {
    Where where = IN_SQUARE;
    if (kind == '{') {
        where = token_ends_operand(layout->previous, layout->before) ? IN_BLOCK : IN_AXES;
        layout->mesh_block = layout->mesh_line && layout->blocks == 0;
        layout->blocks += where == IN_BLOCK;
        layout->parens += where != IN_BLOCK;
    } else {
        layout->parens++;
        if (kind == '(') {
            Where around = innermost(layout);
            bool axes = around == IN_AXES || around == IN_AXIS_GROUP;
            bool declared = layout->blocks == 0 && layout->parens == 1 &&
                            (layout->before == T_FN || layout->before == T_MODEL ||
                             layout->before == T_ENTRY || layout->before == T_OPTIMIZER);
            where = axes && layout->previous != '=' ? IN_AXIS_GROUP
                    : declared                      ? IN_PARAMS
                                                    : IN_CALL;
        }
    }
    VEC_PUSH(layout->arena, &layout->where, (char)where);
}

static void close_bracket(Layout *layout) {
    if (layout->where.count == 0) {
        return;
    }
    Where where = innermost(layout);
    layout->where.count--;
    layout->blocks -= where == IN_BLOCK;
    layout->mesh_block = layout->mesh_block && layout->blocks > 0;
    layout->parens -= where != IN_BLOCK;
}

static void add_token(Layout *layout, int kind, int start, int end) {
    bool continues = layout->parens > 0 || kind == T_PIPE ||
                     (layout->previous && token_continues_line(layout->previous, layout->before));
    int newlines = add_gap(layout, layout->previous_end, start, continues);
    bool closes = kind == '}' || kind == ')' || kind == ']';
    if (newlines) {
        bool blank = newlines > 1 && layout->previous != 0 && layout->previous != '{' && !closes &&
                     !continues;
        if (closes) {
            continues = false;
        }
        const Line *above = last_line(layout);
        bool after_comment = above && above->pieces.items[0].kind == T_COMMENT;
        blank = blank || (newlines > 1 && after_comment && !closes);
        Line *line = new_line(layout, blank);
        /* A closing brace of a block stands one level out. */
        line->indent = indent_now(layout, continues) -
                       (kind == '}' && innermost(layout) == IN_BLOCK ? INDENT : 0);
        if (!continues) {
            layout->mesh_line = kind == T_MESH && layout->blocks == 0;
            layout->before = T_NEWLINE;
            if (kind == '@') {
                layout->previous = T_NEWLINE;
            }
        }
        add_piece(layout, kind, start, end, 0);
    } else {
        add_piece(layout, kind, start, end, gap_before(layout, kind));
    }
    if (closes) {
        close_bracket(layout);
    } else if (kind == '{' || kind == '(' || kind == '[') {
        open_bracket(layout, kind);
    }
    layout->before = newlines && kind == '@' ? T_NEWLINE : layout->previous;
    layout->previous = kind;
    layout->previous_end = end;
}

/* Reads all tokens. A `;` at the end of a line goes. */
static void read_tokens(Layout *layout) {
    Parse *parse = layout->parse;
    int string_start = 0, depth = 0, semicolon_end = -1, semicolon_start = 0;
    for (;;) {
        ParseValue value;
        Place place;
        int kind = scan_raw(&value, &place, parse->scanner);
        if (kind == 0) {
            break;
        }
        int end = (int)(parse->text_start + parse->offset);
        int start = kind == T_NEWLINE ? end - 1 : end - (int)(place.end_column - place.column);
        parse->previous = kind;
        if (kind == T_STR_BEGIN && depth++ == 0) {
            string_start = start;
        } else if (kind == T_STR_END && --depth == 0) {
            start = string_start;
        }
        if (depth > 0) {
            continue;
        }
        if (kind == T_NEWLINE) {
            semicolon_end = -1;
            continue;
        }
        if (semicolon_end >= 0 && kind != '}' && kind != ';') { /* one of several does */
            add_token(layout, ';', semicolon_start, semicolon_end);
        }
        semicolon_end = -1;
        if (kind == ';') {
            semicolon_start = start;
            semicolon_end = end;
            continue;
        }
        add_token(layout, kind, start, end);
    }
    add_gap(layout, layout->previous_end, (int)parse->source->length, false);
}

/* -- Alignment */

/* What writers align: signs, comments, and what follows `:` or `=`. */
static bool may_align(const Piece *piece) {
    int before = piece[-1].kind;
    switch (piece->kind) {
    case '=':
    case T_PIPE:
    case T_STORE:
    case T_ARROW:
    case T_AS:
    case T_COMMENT:
        return true;
    default:
        return before == ':' || before == '=';
    }
}

static bool is_padded(const Piece *piece) {
    return piece->width > piece->gap && piece->width > 1;
}

static Piece *piece_at_column(Line *line, int column, int kind) {
    for (size_t i = 1; i < line->pieces.count; i++) {
        Piece *piece = &line->pieces.items[i];
        if (piece->column == column && piece->kind == kind) {
            return piece;
        }
    }
    return NULL;
}

/* Pieces of neighbouring lines that stand in one column, one of them with extra blanks before it.
 */
static void find_groups(Layout *layout) {
    for (size_t i = 0; i + 1 < layout->lines.count; i++) {
        Line *line = &layout->lines.items[i], *next = &layout->lines.items[i + 1];
        if (next->blank_before || next->indent != line->indent ||
            line->pieces.count > MAX_ALIGNED || next->pieces.count > MAX_ALIGNED) {
            continue;
        }
        for (size_t k = 1; k < line->pieces.count; k++) {
            Piece *piece = &line->pieces.items[k];
            Piece *other = piece_at_column(next, piece->column, piece->kind);
            if (!other || !may_align(piece) || !may_align(other) ||
                (!is_padded(piece) && !is_padded(other))) {
                continue;
            }
            if (piece->group < 0) {
                piece->group = layout->n_groups++;
            }
            other->group = piece->group;
        }
    }
}

static int output_column(const Line *line, const Piece *upto) {
    int column = line->indent;
    for (size_t i = 0; i < line->pieces.count; i++) {
        const Piece *piece = &line->pieces.items[i];
        column += piece->gap + piece->padding;
        if (piece == upto) {
            return column;
        }
        column += piece->length;
    }
    return column;
}

typedef struct Member {
    Line *line;
    Piece *piece;
} Member;

static int member_compare(const void *a, const void *b) {
    const Member *x = a, *y = b;
    if (x->piece->column != y->piece->column) {
        return x->piece->column < y->piece->column ? -1 : 1;
    }
    if (x->piece->group != y->piece->group) {
        return x->piece->group < y->piece->group ? -1 : 1;
    }
    return x->line < y->line ? -1 : x->line > y->line;
}

/* Left to right: each group goes to the furthest column that one of its members needs. */
static void align_groups(Layout *layout) {
    VEC(Member) members = {0};
    for (size_t i = 0; i < layout->lines.count; i++) {
        Line *line = &layout->lines.items[i];
        for (size_t k = 1; k < line->pieces.count; k++) {
            if (line->pieces.items[k].group >= 0) {
                Member member = {.line = line, .piece = &line->pieces.items[k]};
                VEC_PUSH(layout->arena, &members, member);
            }
        }
    }
    if (members.count) {
        qsort(members.items, members.count, sizeof members.items[0], member_compare);
    }
    for (size_t first = 0, end = 0; first < members.count; first = end) {
        int target = 0;
        int group = members.items[first].piece->group;
        for (end = first; end < members.count && members.items[end].piece->group == group; end++) {
            int column = output_column(members.items[end].line, members.items[end].piece);
            target = column > target ? column : target;
        }
        for (size_t i = first; i < end; i++) {
            Piece *piece = members.items[i].piece;
            piece->padding = target - output_column(members.items[i].line, piece);
        }
    }
}

/* -- Writing */

static void write_lines(const Layout *layout, Str *out) {
    for (size_t i = 0; i < layout->lines.count; i++) {
        const Line *line = &layout->lines.items[i];
        if (line->blank_before) {
            str_add_char(out, '\n');
        }
        str_addf(out, "%*s", line->indent, "");
        for (size_t k = 0; k < line->pieces.count; k++) {
            const Piece *piece = &line->pieces.items[k];
            str_addf(out, "%*s", piece->gap + piece->padding, "");
            str_add_bytes(out, piece->text, (size_t)piece->length);
        }
        str_add_char(out, '\n');
    }
}

bool frontend_format(Context *context, const Source *source, Str *out) {
    const AstFile *file = frontend_parse(context, source);
    if (file->has_errors) {
        return false;
    }
    Parse *parse = ARENA_NEW(&context->arena, Parse);
    AstFile *ignored = ARENA_NEW(&context->arena, AstFile);
    *parse = (Parse){.context = context, .source = source, .file = ignored, .line = 1, .column = 1};
    if (source->length >= 3 && memcmp(source->text, "\xEF\xBB\xBF", 3) == 0) {
        parse->text_start = 3;
    }
    scan_init(parse);
    Layout layout = {.parse = parse, .arena = &context->arena};
    layout.previous_end = (int)parse->text_start;
    read_tokens(&layout);
    find_groups(&layout);
    align_groups(&layout);
    write_lines(&layout, out);
    return true;
}
