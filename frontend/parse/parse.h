/* Text to syntax tree. Reports up to 20 errors into the context's diagnostics and always returns a
 * file, whose has_errors says whether it may be elaborated. No input crashes it or keeps it long.
 */
#ifndef DLC_FRONTEND_PARSE_PARSE_H
#define DLC_FRONTEND_PARSE_PARSE_H

#include "frontend/parse/ast.h"

AstFile *frontend_parse(Context *context, const Source *source);

/* `dlc fmt` (frontend/parse/fmt.c): the file in canonical layout, comments and groups of blank
 * lines kept. False, with diagnostics in the context and `out` untouched, when the text does not
 * parse.
 */
bool frontend_format(Context *context, const Source *source, Str *out);

#endif
