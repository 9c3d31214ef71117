/* A stream of bytes from one process to another by memory that both have mapped: a ring with one
 * writer and one reader. Neither believes what the other writes there further than it can check. */
#ifndef DLC_RUNTIME_COMM_MEMORY_RING_H
#define DLC_RUNTIME_COMM_MEMORY_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* A power of two. RING_WORDS_BYTES: what lies before a ring's bytes. */
enum { RING_BYTES = 256 * 1024, RING_APART = 128, RING_WORDS_BYTES = 4 * RING_APART };

/* In the shared memory, all 0 at first; what one side writes lies apart from what the other does.
 */
typedef struct RingWords {
    _Alignas(RING_APART) _Atomic(uint64_t) written; /* bytes so far, by the writer */
    _Alignas(RING_APART) _Atomic(uint64_t) read;    /* by the reader */
    _Alignas(RING_APART) _Atomic(uint32_t) writer_sleeps;
    _Alignas(RING_APART) _Atomic(uint32_t) reader_sleeps;
} RingWords;

/* A side's own. */
typedef struct Ring {
    RingWords *words;
    uint8_t *bytes;
    uint64_t moved; /* by this side; never read back */
    uint64_t seen;  /* of the other side, when this one looked last */
} Ring;

/* memory: RING_WORDS_BYTES + RING_BYTES, at a multiple of RING_APART. */
Ring ring_at(void *memory);

/* How many bytes of the runs, which follow each other, have moved; 0: none now; -1: the other side
 * has written what cannot be, and the ring is of no use any more. */
int64_t ring_write(Ring *ring, const struct iovec *runs, int n);
int64_t ring_read(Ring *ring, const struct iovec *runs, int n);

/* Whether it is worth while to wake for (a writer: half of it is free); true where the words make
 * no sense. */
bool ring_has_room(Ring *ring);
bool ring_has_bytes(Ring *ring);

/* Before a side sleeps: says so. It then looks once more, and sleeps only if there is still
 * nothing: the other side, which has written in between, may not have seen it. */
void ring_writer_sleeps(Ring *ring, bool sleeps);
void ring_reader_sleeps(Ring *ring, bool sleeps);
/* After a side has moved bytes: whether the other one sleeps and must be woken, which is asked for
 * once. */
bool ring_wakes_reader(Ring *ring);
bool ring_wakes_writer(Ring *ring);

#endif
