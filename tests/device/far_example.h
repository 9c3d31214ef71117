/* An example program trained by dlc_train on a device that device_find need not know, and compared.
 */
#ifndef DLC_TESTS_DEVICE_FAR_EXAMPLE_H
#define DLC_TESTS_DEVICE_FAR_EXAMPLE_H

#include "far_device.h"
#include "runtime/session/session.h"
#include "tests/models/example.h"

/* False, with run->error: it failed. On the far device *counts is what that was asked for. */
bool far_example_train(ExampleRun *run, const DeviceOps *ops, ExampleResult *result,
                       FarCounts *counts);
/* The same bits of what is left, and of the loss of each step. */
bool far_example_same(ExampleRun *run, const ExampleResult *want, const ExampleResult *got);

#endif
