/* The constants of runtime/cuda/cudnn_names.def are those of cuDNN's header. Compiled by the test
 * "cudnn names" where a header is installed. */
#include <cudnn_graph.h>

#define X(name, value) _Static_assert((int)CUDNN_##name == (value), #name);
#include "runtime/cuda/cudnn_names.def"
#undef X

int main(void) {
    return 0;
}
