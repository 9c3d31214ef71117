/* What the stand-ins for vendor libraries use of the simulated driver: their work is queued in
 * streams, recorded and ordered like kernels, and every byte that they touch is checked. */
#ifndef DLC_TESTS_CUDASIM_LIBRARY_H
#define DLC_TESTS_CUDASIM_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

/* `count` runs of `bytes` at a distance of `stride` bytes. Reads are checked before the work is
 * done, writes too, and what was written counts as written afterwards. */
typedef struct SimRange {
    void *address;
    size_t bytes, count, stride;
    bool is_written;
} SimRange;

typedef struct SimOperation {
    const char *name;              /* "cuDNN convolution" */
    void (*run)(const void *data); /* may use the ranges' memory as the host's own */
    const void *data;              /* copied */
    size_t n_data;
    const SimRange *ranges; /* copied */
    int n_ranges;
} SimOperation;

/* Both return a CUresult. `stream`: a CUstream. */
int cudasimOperation(void *stream, const SimOperation *operation);
/* A call of a stand-in: counted with the driver's, so that DLC_CUDASIM_FAIL_CALL meets it; also
 * fails where no context is current or it is lost. */
int cudasimCall(void);
/* Whether the stream is being captured. */
bool cudasimIsCapturing(void *stream);

#endif
