/* Plans from libdlc-compile. The calls open it where it is not yet open (DLC_ERROR_UNSUPPORTED:
 * there is none) and leave its diagnostics in the context. */
#ifndef DLC_RUNTIME_PLAN_FILE_COMPILE_H
#define DLC_RUNTIME_PLAN_FILE_COMPILE_H

#include "runtime/context.h"

/* `options` are whole and checked; `*out` stays where they only check the text or print a stage. */
dlc_status compile_text(dlc_context *context, const char *text, size_t length,
                        const dlc_compile_options *options, dlc_plan **out);
/* A mesh that is asked for, as dlc_compile_options has it. */
typedef struct WantedMesh {
    const char *axes; /* "data=*" */
    int zero;
    const char *exchange, *sequence;
} WantedMesh;
/* IR text -> plan for a target ("cpu:native"), on a mesh (NULL: the IR's own), with flags of
 * dlc_compile_options. */
dlc_status plan_retarget(dlc_context *context, const char *ir, const char *target,
                         const WantedMesh *wanted, unsigned flags, dlc_plan **out);
/* The program set out; what is known of a topic. Free by memory_free. */
dlc_status compile_format(dlc_context *context, const char *text, size_t length, const char *name,
                          char **out_text);
dlc_status compile_explain(dlc_context *context, const char *topic, char **out_text);

#endif
