/* The driver of the compile side: text -> front end -> passes -> lowering -> code -> plan. The one
 * place that knows every folder of it; libdlc finds it through runtime/compile_abi.h. */
#ifndef DLC_DRIVER_COMPILE_H
#define DLC_DRIVER_COMPILE_H

#include "runtime/compile_abi.h"

__attribute__((visibility("default"))) const CompileModule *dlc_compile_module_v1(void);

#endif
