/* Recorded work: the stream is captured into a graph, which the driver launches as one. */
#include "runtime/cuda/internal.h"

struct DeviceGraph {
    CudaGraphExec exec;
};

/* Ends a recording that is not wanted, whatever comes of it. */
void cuda_record_drop(CudaDevice *device) {
    CudaGraph graph = NULL;
    if (device->driver.capture_end(device->stream, &graph) == CUDA_SUCCESS && graph) {
        device->driver.graph_destroy(graph);
    }
    device->recording = false;
}

dlc_status cuda_record(Device *base) {
    CudaDevice *device = (CudaDevice *)base;
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
                            device->driver.capture_begin(device->stream, CUDA_CAPTURE_THREAD_LOCAL),
                            "cuStreamBeginCapture");
        device->recording = status == DLC_OK;
    }
    status = cuda_leave(device, status);
    if (status != DLC_OK && device->recording) {
        cuda_record_drop(device);
    }
    return status;
}

/* Ends the capture and makes *exec of it, unless exec is NULL. */
static dlc_status capture_end(CudaDevice *device, CudaGraphExec *exec) {
    const CudaDriver *driver = &device->driver;
    CudaGraph graph = NULL;
    dlc_status status =
        cuda_check(device, driver->capture_end(device->stream, &graph), "cuStreamEndCapture");
    device->recording = false;
    if (status != DLC_OK) {
        return status;
    }
    if (exec) {
        status =
            cuda_check(device, driver->graph_instantiate(exec, graph, 0), "cuGraphInstantiate");
    }
    CudaResult result = driver->graph_destroy(graph);
    return status != DLC_OK ? status : cuda_check(device, result, "cuGraphDestroy");
}

dlc_status cuda_record_end(Device *base, DeviceGraph **out) {
    CudaDevice *device = (CudaDevice *)base;
    DeviceGraph *graph = NULL;
    CudaGraphExec exec = NULL;
    if (!device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "nothing is being recorded");
    }
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        cuda_record_drop(device);
        return status;
    }
    if (out) {
        graph = memory_new(&base->allocator, 1, sizeof(*graph));
    }
    status = capture_end(device, graph ? &exec : NULL);
    if (status == DLC_OK && out && !graph) {
        status = cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    if (status != DLC_OK && exec) {
        device->driver.graph_exec_destroy(exec);
        exec = NULL;
    }
    status = cuda_leave(device, status);
    if (!exec) {
        memory_free(&base->allocator, graph);
        return status;
    }
    graph->exec = exec;
    device->n_graphs++;
    if (status != DLC_OK) {
        cuda_graph_free(base, graph);
        return status;
    }
    *out = graph;
    return DLC_OK;
}

dlc_status cuda_replay(Device *base, DeviceGraph *graph) {
    CudaDevice *device = (CudaDevice *)base;
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(device, device->driver.graph_launch(graph->exec, device->stream),
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
        device->driver.stream_wait(device->stream);
        device->driver.graph_exec_destroy(graph->exec);
        device->n_graphs--;
        cuda_memory_trim(device);
        cuda_leave_freed(device);
    }
    memory_free(&base->allocator, graph);
}
