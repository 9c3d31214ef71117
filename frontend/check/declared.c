/* The parameters and state that bodies declare. */
#include "frontend/check/check.h"

#include <string.h>

const char *check_path_text(Elaborator *el, const AstPath *path, bool *out_whole) {
    const char *text = "";
    *out_whole = false;
    for (int32_t i = 0; i < path->count; i++) {
        const AstPathPart *part = &path->items[i];
        const char *dot = i > 0 ? "." : "";
        if (part->kind == AST_PATH_NAME) {
            text = arena_format(el->arena, "%s%s%s", text, dot, part->name);
        } else if (part->kind == AST_PATH_INT) {
            text = arena_format(el->arena, "%s%s%lld", text, dot, (long long)part->integer);
        } else if (part->kind == AST_PATH_STRING) {
            const AstStringParts *string = &part->expr->as.string;
            for (int32_t k = 0; k < string->count; k++) {
                if (string->items[k].expr) {
                    return text;
                }
                text = arena_format(el->arena, "%s%s%s", text, k == 0 ? dot : "",
                                    string->items[k].text);
            }
        } else {
            return text;
        }
    }
    *out_whole = true;
    return text;
}

static bool declares(const AstStmt *stmt) {
    return stmt->kind == AST_STMT_PARAM || stmt->kind == AST_STMT_STATE ||
           stmt->kind == AST_STMT_CACHE;
}

static void note_declared(Check *check, const AstStmt *stmt) {
    Elaborator *el = check->el;
    const AstPath *path = &stmt->as.declare.path;
    bool whole = false;
    const char *text = check_path_text(el, path, &whole);
    if (!whole) {
        VEC_PUSH(el->arena, &check->open_paths, text);
        return;
    }
    map_set(&check->declared, text, (void *)stmt);
    const char *dot = strchr(text, '.');
    const char *root = dot ? arena_strndup(el->arena, text, (size_t)(dot - text)) : text;
    if (!map_has(&check->declared, root)) {
        map_set(&check->declared, root, (void *)stmt);
    }
}

void check_note_declared(Check *check, const AstStmts *stmts) {
    for (int32_t i = 0; i < stmts->count; i++) {
        const AstStmt *stmt = stmts->items[i];
        if (declares(stmt)) {
            note_declared(check, stmt);
        } else if (stmt->kind == AST_STMT_FOR) {
            check_note_declared(check, &stmt->as.for_.body);
        } else if (stmt->kind == AST_STMT_IF) {
            check_note_declared(check, &stmt->as.if_.then);
            check_note_declared(check, &stmt->as.if_.otherwise);
        } else if (stmt->kind == AST_STMT_SCAN) {
            check_note_declared(check, &stmt->as.scan.body);
        } else if (stmt->kind == AST_STMT_WHILE) {
            check_note_declared(check, &stmt->as.while_.body);
        }
    }
}

static void note_env(Check *all, const Env *env) {
    for (int space = NAMES_FN; space < NAME_SPACES; space++) {
        for (size_t i = 0; i < env->own[space].count; i++) {
            const Global *global = env->own[space].entries[i].value;
            check_note_declared(all, &global->decl->as.fn.body);
        }
    }
}

bool check_declared_elsewhere(Check *check, const char *name) {
    Elaborator *el = check->el;
    if (check->persists->arena == NULL) {
        Check all = {.el = el};
        map_init(&all.declared, el->arena);
        note_env(&all, el->library);
        for (size_t i = 0; i < el->sources.count; i++) {
            note_env(&all, el->sources.entries[i].value);
        }
        for (size_t i = 0; i < el->entries.count; i++) {
            check_note_declared(&all, &el->entries.items[i]->as.fn.body);
        }
        if (el->model) {
            check_note_declared(&all, &el->model->as.fn.body);
        }
        *check->persists = all.declared;
    }
    return map_has(check->persists, name);
}
