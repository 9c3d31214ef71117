/* Where the ranks of a training keep their journals when nobody says it, and what becomes of them.
 */
#ifndef DLC_TOOLS_JOURNALS_H
#define DLC_TOOLS_JOURNALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JOURNALS_PATH_BYTES = 4096 };

typedef struct Journals {
    const char *folder; /* NULL: none are kept */
    bool is_ours;       /* nobody asked for it: it goes when all has gone well */
    char room[JOURNALS_PATH_BYTES];
} Journals;

/* `asked`: what --journal says, or NULL; "none": none. Else "KEPT.journals", where several ranks
 * run, `kept` (the folder of checkpoints, or the file of weights; NULL: neither) lies in a folder
 * of this machine that can be written to, and the disk is not full. */
void journals_choose(Journals *journals, const char *asked, const char *kept, bool of_many);
/* After the session. All has gone well (else they stay): removes those of `count` ranks from
 * `first` on, of rank 0 what older jobs of more ranks have left too, and the folder when it is
 * empty. */
void journals_end(const Journals *journals, bool well, int64_t first, int64_t count);
/* Prints which such folders there are in the working folder, for who looks for one. */
void journals_list(void);

#endif
