/* Recorded work: the stream, with those that wait for its events, is captured into a graph, which
 * the driver launches as one. The driver ends a capture in which its rules were broken, so calls
 * that would break them do not reach it. */
#include "runtime/cuda/internal.h"

struct DeviceGraph {
    CudaGraphExec exec;
};

bool cuda_is_recorded(const CudaQueue *queue) {
    const CudaDevice *device = cuda_device_of(queue);
    return device->recording && queue->recording == device->n_recordings;
}

/* Ends a recording that is not wanted, whatever comes of it. */
void cuda_record_drop(CudaQueue *queue) {
    CudaDevice *device = cuda_device_of(queue);
    CudaGraph graph = NULL;
    if (device->driver.capture_end(queue->stream, &graph) == CUDA_SUCCESS && graph) {
        device->driver.graph_destroy(graph);
    }
    device->recording = NULL;
}

dlc_status cuda_record(DeviceQueue *base) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "already recording");
    }
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    /* Loading code is no part of a recording. */
    status = cuda_builtins_load(device);
    if (status == DLC_OK) {
        status = cuda_check(device,
                            device->driver.capture_begin(queue->stream, CUDA_CAPTURE_THREAD_LOCAL),
                            "cuStreamBeginCapture");
    }
    if (status == DLC_OK) {
        device->recording = queue;
        queue->recording = ++device->n_recordings;
    }
    status = cuda_leave(device, status);
    if (status != DLC_OK && device->recording) {
        cuda_record_drop(queue);
    }
    return status;
}

/* Ends the capture and makes *exec of it, unless exec is NULL. */
static dlc_status capture_end(CudaQueue *queue, CudaGraphExec *exec) {
    CudaDevice *device = cuda_device_of(queue);
    const CudaDriver *driver = &device->driver;
    CudaGraph graph = NULL;
    CudaResult result = driver->capture_end(queue->stream, &graph);
    device->recording = NULL;
    if (result == CUDA_STREAM_CAPTURE_UNJOINED && !exec) {
        return DLC_OK;
    }
    if (result == CUDA_STREAM_CAPTURE_UNJOINED) {
        return cuda_fail(device, DLC_ERROR_INTERNAL,
                         "the recording ends before its first queue has waited for all that a "
                         "queue which joined it was given: record an event there, wait for it on "
                         "the first queue, then end");
    }
    dlc_status status = cuda_check(device, result, "cuStreamEndCapture");
    if (status != DLC_OK) {
        return status;
    }
    if (exec) {
        status =
            cuda_check(device, driver->graph_instantiate(exec, graph, 0), "cuGraphInstantiate");
    }
    result = driver->graph_destroy(graph);
    return status != DLC_OK ? status : cuda_check(device, result, "cuGraphDestroy");
}

dlc_status cuda_record_end(DeviceQueue *base, DeviceGraph **out) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    DeviceGraph *graph = NULL;
    CudaGraphExec exec = NULL;
    if (device->recording != queue) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "nothing is being recorded");
    }
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        cuda_record_drop(queue);
        return status;
    }
    if (out) {
        graph = memory_new(&device->base.allocator, 1, sizeof(*graph));
    }
    status = capture_end(queue, graph ? &exec : NULL);
    if (status == DLC_OK && out && !graph) {
        status = cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    if (status != DLC_OK && exec) {
        device->driver.graph_exec_destroy(exec);
        exec = NULL;
    }
    status = cuda_leave(device, status);
    if (!exec) {
        memory_free(&device->base.allocator, graph);
        return status;
    }
    graph->exec = exec;
    device->n_graphs++;
    if (status != DLC_OK) {
        cuda_graph_free(&device->base, graph);
        return status;
    }
    *out = graph;
    return DLC_OK;
}

dlc_status cuda_replay(DeviceQueue *base, DeviceGraph *graph) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(device, device->driver.graph_launch(graph->exec, queue->stream),
                            "cuGraphLaunch");
        status = cuda_leave(device, status);
    }
    return status;
}

void cuda_graph_free(Device *base, DeviceGraph *graph) {
    CudaDevice *device = (CudaDevice *)base;
    if (!graph) {
        return;
    }
    if (cuda_enter_to_free(device)) {
        cuda_queues_wait(device);
        device->driver.graph_exec_destroy(graph->exec);
        device->n_graphs--;
        cuda_memory_trim(device);
        cuda_leave_freed(device);
    }
    memory_free(&base->allocator, graph);
}
