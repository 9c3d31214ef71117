/* A device that takes every call and computes nothing: for tests of the executor, and as a
 * beginning for a new device. */
#ifndef DLC_RUNTIME_NULL_DEVICE_H
#define DLC_RUNTIME_NULL_DEVICE_H

#include "runtime/device.h"

extern const DeviceOps device_null;

#endif
