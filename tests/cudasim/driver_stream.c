/* libcuda: streams and events. */
#include "tests/cudasim/driver.h"

#include <stdlib.h>
#include <string.h>

static int64_t next_stream = 1;

EXPORT Result cuStreamCreate(void **out, unsigned flags);
Result cuStreamCreate(void **out, unsigned flags) {
    ENTER();
    Stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    stream->context = current();
    stream->number = next_stream++;
    stream->non_blocking = flags & 1;
    stream->next = current()->streams;
    current()->streams = stream;
    alive.streams++;
    *out = stream;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuStreamDestroy_v2(void *handle);
Result cuStreamDestroy_v2(void *handle) {
    bool goes = enter();
    Stream *stream = handle;
    if (!stream) {
        return leave(SIM_INVALID_HANDLE);
    }
    queue_wait_context(stream->context);
    for (Stream **at = &stream->context->streams; *at; at = &(*at)->next) {
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    }
    Result result = stream->context->broken;
    free(stream->waits);
    free(stream->capture_last.at);
    free(stream);
    alive.streams--;
    return leave(goes ? result : settings.fail_result);
}

EXPORT Result cuStreamSynchronize(void *handle);
Result cuStreamSynchronize(void *handle) {
    ENTER();
    Stream *stream = stream_of(handle);
    if (stream->capture) {
        stream->capture->is_invalid = true;
        return leave(SIM_STREAM_CAPTURE_UNSUPPORTED);
    }
    return leave(queue_host_wait(stream->context, stream->last));
}

EXPORT Result cuStreamWaitEvent(void *handle, void *event, unsigned flags);
Result cuStreamWaitEvent(void *handle, void *event, unsigned flags) {
    (void)flags;
    ENTER();
    return leave(queue_stream_wait(stream_of(handle), event));
}

EXPORT Result cuEventCreate(void **out, unsigned flags);
Result cuEventCreate(void **out, unsigned flags) {
    (void)flags;
    ENTER();
    Event *event = calloc(1, sizeof *event);
    if (!event) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    event->context = current();
    event->next = current()->events;
    current()->events = event;
    alive.events++;
    *out = event;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuEventDestroy_v2(void *handle);
Result cuEventDestroy_v2(void *handle) {
    bool goes = enter();
    Event *event = handle;
    if (!event) {
        return leave(SIM_INVALID_HANDLE);
    }
    for (Event **at = &event->context->events; *at; at = &(*at)->next) {
        if (*at == event) {
            *at = event->next;
            break;
        }
    }
    Result result = event->context->broken;
    free(event->capture_last.at);
    free(event);
    alive.events--;
    return leave(goes ? result : settings.fail_result);
}

EXPORT Result cuEventRecord(void *event, void *stream);
Result cuEventRecord(void *event, void *stream) {
    ENTER();
    return leave(queue_record(event, stream_of(stream)));
}

EXPORT Result cuEventSynchronize(void *handle);
Result cuEventSynchronize(void *handle) {
    ENTER();
    Event *event = handle;
    if (event->capture) {
        return leave(capture_host_wait(event));
    }
    return leave(queue_host_wait(current(), event->op));
}

EXPORT Result cuEventElapsedTime(float *milliseconds, void *start, void *end);
Result cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    ENTER();
    double from, to;
    bool done = queue_event_time(start, &from);
    done = queue_event_time(end, &to) && done;
    *milliseconds = (float)(1e3 * (to - from));
    return leave(done ? SIM_SUCCESS : SIM_NOT_READY);
}
