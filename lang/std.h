/* The standard library's texts, embedded at build time: what the compiler reads before the user's
 * file, in this order. */
#ifndef DLC_LANG_STD_H
#define DLC_LANG_STD_H

#include <stddef.h>

typedef struct StdFile {
    const char *name; /* "std/layers.dl" */
    const char *text; /* NUL-terminated */
    size_t length;
} StdFile;

extern const StdFile STD_FILES[];
extern const size_t STD_FILE_COUNT;

#endif
