/* Whether the communicator has ended, for whoever is in a loop. */
#include "runtime/comm/stream/internal.h"

bool stream_has_failed(Stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    bool failed = stream->failure != DLC_OK;
    pthread_mutex_unlock(&stream->mutex);
    return failed;
}
