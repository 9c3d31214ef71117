/* What of a file of tensors each rank writes. The file's bytes are known beforehand, and each is
 * one rank's: of a part that several ranks have, each writes a piece. */
#ifndef DLC_RUNTIME_CHECKPOINT_SHARE_H
#define DLC_RUNTIME_CHECKPOINT_SHARE_H

#include "runtime/checkpoint/weights.h"
#include "runtime/session/parts.h"

/* Bytes [first, first + count) of what a rank has of a variable. */
typedef struct SharePiece {
    int32_t rank;     /* of the session's */
    int64_t variable; /* by number */
    PartRuns *runs;
    int64_t first, count;
    uint64_t at;         /* of the whole tensor in the file */
    const uint8_t *copy; /* in Share.copy; NULL: it is read from the device when it is written */
} SharePiece;

typedef struct Share {
    dlc_session *session;
    SafetensorsParts layout; /* header and lengths of tensors */
    SharePiece *pieces;
    int64_t n_pieces;
    uint64_t bytes;     /* of the whole file */
    int64_t own_bytes;  /* of the pieces */
    bool writes_header; /* this session does */
    uint8_t *copy;      /* NULL: none was made */
} Share;

/* Of what the rank at that place, one of n_ranks, has of variable number `variable`, `bytes` bytes
 * which others may have too: those that it writes. */
RowRange share_of(const PlanFile *file, const RankPlace *place, int64_t n_ranks, int64_t variable,
                  int64_t bytes);

/* Lays out the file as weights_collect has its tensors, and finds what the session's ranks write of
 * it; gives all variables their memory. `metadata`: one pair. *out stays where it is; ended by
 * share_end, also on failure. */
dlc_status share_begin(dlc_session *session, bool everything, const SafetensorsPair *metadata,
                       Share *out);
void share_end(Share *share); /* accepts a zeroed one */
/* Copies the pieces as they are now, so that they may be written while steps go on. *done false:
 * there is no memory for it. */
dlc_status share_copy(Share *share, bool *done);
/* Writes them into the open file: 0 or an errno, and *crc, what they contribute to its checksum
 * (part_crc.h). Of copied ones any thread, and nothing of the session is used. */
dlc_status share_write(const Share *share, int fd, uint32_t *crc, int *error);

#endif
