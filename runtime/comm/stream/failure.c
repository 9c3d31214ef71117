/* Whether the communicator has ended, for whoever is in a loop; and waking who rests. */
#include "runtime/comm/stream/internal.h"

bool stream_has_failed(Stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    bool failed = stream->failure != DLC_OK;
    pthread_mutex_unlock(&stream->mutex);
    return failed;
}

void stream_wake(Stream *stream) {
    if (!stream->is_woken) {
        stream->is_woken = true;
        event_wake(stream->wake);
    }
}
