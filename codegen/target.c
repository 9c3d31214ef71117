/* What every backend's image shares. */
#include "codegen/target.h"
#include "ir/base/memory.h"
#include <string.h>

void target_image_finish(TargetImage *image, const dlc_allocator *allocator) {
    void *parts[2] = {image->bytes, image->entries};
    for (int i = 0; i < 2; i++) {
        raw_free(allocator, parts[i]);
    }
    memset(image, 0, sizeof(*image));
}
