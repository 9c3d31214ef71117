/* Rings of bytes between two processes (ring.h). What is written is told in pieces, so that the
 * reader copies while the writer does. A side says that it sleeps and looks once more; the other
 * tells and then looks whether it sleeps: as all these are in one order, one of both sees the
 * other. */
#include "runtime/comm/memory/ring.h"

#include <string.h>

enum { PIECE = 32 * 1024 };

_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "a power of two");
_Static_assert(sizeof(RingWords) == RING_WORDS_BYTES, "as said");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "between processes");

Ring ring_at(void *memory) {
    return (Ring){.words = memory, .bytes = (uint8_t *)memory + RING_WORDS_BYTES};
}

/* Bytes that lie in it, as the writer or the reader sees it; more than RING_BYTES: nonsense. */
static uint64_t filled(Ring *ring, bool writes, bool looks) {
    if (looks) {
        ring->seen = atomic_load(writes ? &ring->words->read : &ring->words->written);
    }
    return writes ? ring->moved - ring->seen : ring->seen - ring->moved;
}

/* Up to `bytes` at the side's place, which may go round the end. */
static void copy(Ring *ring, uint8_t *memory, uint64_t bytes, bool writes) {
    uint64_t at = ring->moved & (RING_BYTES - 1);
    uint64_t first = bytes < RING_BYTES - at ? bytes : RING_BYTES - at;
    if (writes) {
        memcpy(ring->bytes + at, memory, first);
        memcpy(ring->bytes, memory + first, bytes - first);
    } else {
        memcpy(memory, ring->bytes + at, first);
        memcpy(memory + first, ring->bytes, bytes - first);
    }
    ring->moved += bytes;
}

/* Bytes that can be moved now; UINT64_MAX: nonsense. */
static uint64_t available(Ring *ring, bool writes, uint64_t wanted) {
    uint64_t inside = filled(ring, writes, false);
    uint64_t can = writes ? RING_BYTES - inside : inside;
    if (inside <= RING_BYTES && can < wanted) {
        inside = filled(ring, writes, true);
        can = writes ? RING_BYTES - inside : inside;
    }
    return inside <= RING_BYTES ? can : UINT64_MAX;
}

static int64_t move(Ring *ring, const struct iovec *runs, int n, bool writes) {
    _Atomic(uint64_t) *told = writes ? &ring->words->written : &ring->words->read;
    uint64_t began = ring->moved, last = began;
    for (int i = 0; i < n; i++) {
        for (uint64_t at = 0; at < runs[i].iov_len;) {
            uint64_t rest = runs[i].iov_len - at, wanted = rest < PIECE ? rest : PIECE;
            uint64_t can = available(ring, writes, wanted);
            if (can == UINT64_MAX) {
                return -1;
            }
            if (can == 0) {
                i = n - 1;
                break;
            }
            wanted = can < wanted ? can : wanted;
            copy(ring, (uint8_t *)runs[i].iov_base + at, wanted, writes);
            at += wanted;
            if (ring->moved - last >= PIECE) {
                atomic_store_explicit(told, ring->moved, memory_order_release);
                last = ring->moved;
            }
        }
    }
    if (ring->moved != began) {
        atomic_store(told, ring->moved);
    }
    return (int64_t)(ring->moved - began);
}

int64_t ring_write(Ring *ring, const struct iovec *runs, int n) {
    return move(ring, runs, n, true);
}

int64_t ring_read(Ring *ring, const struct iovec *runs, int n) {
    return move(ring, runs, n, false);
}

bool ring_has_room(Ring *ring) {
    uint64_t inside = filled(ring, true, true);
    return inside <= RING_BYTES / 2 || inside > RING_BYTES;
}

bool ring_has_bytes(Ring *ring) {
    return filled(ring, false, true) != 0;
}

void ring_writer_sleeps(Ring *ring, bool sleeps) {
    atomic_store(&ring->words->writer_sleeps, sleeps);
}

void ring_reader_sleeps(Ring *ring, bool sleeps) {
    atomic_store(&ring->words->reader_sleeps, sleeps);
}

bool ring_wakes_reader(Ring *ring) {
    return atomic_load(&ring->words->reader_sleeps) != 0 &&
           atomic_exchange(&ring->words->reader_sleeps, 0) != 0;
}

bool ring_wakes_writer(Ring *ring) {
    return atomic_load(&ring->words->writer_sleeps) != 0 &&
           filled(ring, false, true) <= RING_BYTES / 2 &&
           atomic_exchange(&ring->words->writer_sleeps, 0) != 0;
}
