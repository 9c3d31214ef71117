/* The manifest of a plan: what it is, for readers that do not want to know the format. */
#ifndef DLC_DRIVER_MANIFEST_H
#define DLC_DRIVER_MANIFEST_H

#include "codegen/schedule/plan_write.h"
#include "ir/base/json.h"

/* JSON in the writer's arena; `text` is an empty Str used on the way and left empty. */
const char *manifest_text(PlanWriter *writer, const Module *module, Str *text);

#endif
