/* Which device a session runs on, and which of a plan's images it takes there; compiles the plan
 * anew from its portable part where a named device has no image in it. */
#include "runtime/plan_file/compile.h"
#include "runtime/session/session.h"

#include "ir/base/cores.h"

#include <stdio.h>
#include <stdlib.h>

static bool has_target(const PlanFile *file, const char *device) {
    for (int32_t t = 0; t < file->n_targets; t++) {
        if (strcmp(plan_text(file, file->targets[t].target->device), device) == 0) {
            return true;
        }
    }
    return false;
}

static void ranks_close(dlc_session *session) {
    for (int32_t r = 0; r < session->n_ranks; r++) {
        rank_close(&session->ranks[r]);
    }
    session->tables = NULL;
}

dlc_status device_ranks(dlc_context *context, const char *text, char *out_device,
                        int32_t *out_ranks) {
    const char *star = text ? strrchr(text, '*') : NULL;
    size_t length = star ? (size_t)(star - text) : text ? strlen(text) : 0;
    *out_ranks = 1;
    if (length >= DEVICE_TEXT_BYTES) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "the device's name is too long");
    }
    snprintf(out_device, DEVICE_TEXT_BYTES, "%.*s", (int)length, text ? text : "");
    if (!star) {
        return DLC_OK;
    }
    char *end;
    long n = star[1] >= '0' && star[1] <= '9' ? strtol(star + 1, &end, 10) : 0;
    if (n < 1 || n > TEAM_MOST || *end != '\0' || length == 0) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                            "'%s' names no device and how many ranks of it, 1 to %d: cpu*8", text,
                            TEAM_MOST);
    }
    *out_ranks = (int32_t)n;
    return DLC_OK;
}

/* What each rank has of the threads that are asked for. */
static int threads_each(const dlc_session *session, const dlc_session_options *options) {
    int threads = options->threads;
    int32_t sharers = session->communicator ? session->communicator->n_here : session->n_ranks;
    if (sharers > 1 && !(session->communicator && threads > 0)) {
        threads = (threads > 0 ? threads : cores_usable()) / sharers;
        threads = threads > 0 ? threads : 1;
    }
    return threads;
}

/* Opens the device for each rank and loads image `number` on it. */
static dlc_status open_on(dlc_session *session, const DeviceOps *ops, const char *which,
                          const dlc_session_options *options, int32_t number) {
    DeviceOptions device_options = {.which = which,
                                    .threads = threads_each(session, options),
                                    .guarded = options->guarded != 0};
    session->tables = &session->file->targets[number];
    dlc_status status = DLC_OK;
    team_share_begin(session->team);
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
        dlc_context *context = team_context(session->team, session->context, r);
        status =
            rank_open(&session->ranks[r], context, session->file, number, ops, &device_options);
        status = team_told(session->team, r, status);
    }
    team_share_end(session->team);
    if (status != DLC_OK) {
        ranks_close(session);
    }
    return status;
}

/* Whether ranks are to share the work of a plan that is for one. */
static bool lacks_mesh(const dlc_session *session) {
    return session->needs_mesh && session->file->n_mesh == 0;
}

/* The same text but for blanks. */
static bool text_same(const char *a, const char *b) {
    while (*a || *b) {
        if (*a == ' ') {
            a++;
        } else if (*b == ' ') {
            b++;
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return true;
}

enum { MESH_TEXT_BYTES = 512 };

/* Whether the options say how the ranks of a mesh share the work. */
static bool says_how(const dlc_session_options *options) {
    return options->zero != 0 || options->exchange || options->sequence;
}

/* The mesh that the session is to have where that is not the plan's, else NULL. own: holds the
 * text where the plan's own axes are meant, whose ranks are to share the work otherwise. */
static const char *mesh_wanted(const dlc_session *session, const dlc_session_options *options,
                               char *own) {
    place_mesh_text(session->file, own, MESH_TEXT_BYTES);
    if (options->mesh) {
        return !says_how(options) && text_same(options->mesh, own) ? NULL : options->mesh;
    }
    return lacks_mesh(session)                              ? "data=*"
           : says_how(options) && session->file->n_mesh > 0 ? own
                                                            : NULL;
}

static bool needs_other(const dlc_session *session, const dlc_session_options *options) {
    char own[MESH_TEXT_BYTES];
    return mesh_wanted(session, options, own) != NULL;
}

/* Why compiling failed: the first of its errors, with its help, where the program has some. Returns
 * the length; *out is the context's error before. */
static int reason_find(const dlc_context *context, dlc_status status, const char **out) {
    const char *errors = context->diagnostics[0], *end;
    if (status != DLC_ERROR_COMPILE || !errors || !*errors) {
        return (int)strlen(*out);
    }
    *out = errors;
    for (end = strchr(errors, '\n'); end && end[1] == ' '; end = strchr(end + 1, '\n')) {
    }
    return end ? (int)(end - errors) : (int)strlen(errors);
}

/* Replaces the session's plan by one for the device, with a note; wanted NULL: on the plan's mesh.
 */
static dlc_status retarget(dlc_session *session, const DeviceOps *ops, const WantedMesh *wanted,
                           const char *why) {
    dlc_context *context = session->context;
    dlc_plan *renewed = NULL;
    const char *target = ops->target ? ops->target : ops->name;
    dlc_status status = plan_retarget(context, session->file->ir, target, wanted, 0, &renewed);
    if (status != DLC_OK) {
        const char *reason = context->error;
        int length = reason_find(context, status, &reason);
        return context_fail(context, status, "%s: %s, and compiling anew for %s failed: %.*s",
                            session->file->name, why, ops->name, length, reason);
    }
    char *name = memory_strdup(&context->allocator, session->file->name);
    if (!name) {
        plan_release(renewed);
        return context_out_of_memory(context);
    }
    memory_free(&context->allocator, renewed->file.name);
    renewed->file.name = name;
    context_log(context, DLC_LOG_INFO, "%s: compiled anew for %s: %s", name, ops->name, why);
    plan_release(session->plan);
    session->plan = renewed;
    session->file = &renewed->file;
    return DLC_OK;
}

/* The error of a device that cannot be asked or opened. */
static dlc_status device_fail(dlc_context *context, dlc_status status, const DeviceOps *ops,
                              const char *which, const char *why) {
    const char *host = device_host()->name;
    if (strcmp(ops->name, host) == 0) {
        return context_fail(context, status, "%s%s%s cannot be used: %s", ops->name,
                            *which ? ":" : "", which, why);
    }
    return context_fail(
        context, status,
        "%s%s%s cannot be used: %s; the device %s (--device %s) runs the plan without it",
        ops->name, *which ? ":" : "", which, why, host, host);
}

/* Gives the session a plan for the mesh that is asked for, or that its ranks need. */
static dlc_status mesh_make(dlc_session *session, const DeviceOps *ops,
                            const dlc_session_options *options) {
    char own[MESH_TEXT_BYTES], why[DEVICE_MESSAGE_BYTES];
    const char *mesh = mesh_wanted(session, options, own);
    if (!mesh) {
        return DLC_OK;
    }
    if (options->mesh || says_how(options)) {
        snprintf(why, sizeof(why), "the mesh %.200s%s%s%.8s%s%.8s is asked for", mesh,
                 options->zero != 0 ? " with a ZeRO level" : "",
                 options->exchange ? " with gradients sent in " : "",
                 options->exchange ? options->exchange : "",
                 options->sequence ? " with sequence " : "",
                 options->sequence ? options->sequence : "");
    } else {
        snprintf(why, sizeof(why), "%d ranks are to share the work of a plan for one",
                 (int)session->n_all);
    }
    const WantedMesh wanted = {mesh, options->zero, options->exchange, options->sequence};
    dlc_status status = retarget(session, ops, &wanted, why);
    if (status == DLC_OK && lacks_mesh(session)) {
        return context_fail(session->context, DLC_ERROR_MISMATCH,
                            "the mesh %.200s is of one rank, not of %d: data=* is of any number",
                            mesh, (int)session->n_all);
    }
    return status;
}

static dlc_status open_named(dlc_session *session, const DeviceOps *ops, const char *which,
                             const dlc_session_options *options) {
    dlc_context *context = session->context;
    char message[DEVICE_MESSAGE_BYTES] = "";
    if (ops->computes_nothing) {
        return open_on(session, ops, which, options, 0);
    }
    int32_t number;
    dlc_status status = DLC_OK;
    status = mesh_make(session, ops, options);
    if (status != DLC_OK) {
        return status;
    }
    status = plan_target_for(session->file, ops, which, &number, message);
    if (status == DLC_ERROR_UNSUPPORTED) {
        char missing[DEVICE_MESSAGE_BYTES] = "";
        status = ops->supports("", "", which, missing);
        if (status != DLC_OK) {
            return device_fail(context, status, ops, which, missing);
        }
        status =
            retarget(session, ops, NULL, message[0] ? message : "it has no code for that device");
        if (status != DLC_OK) {
            return status;
        }
        status = plan_target_for(session->file, ops, which, &number, message);
    }
    if (status == DLC_ERROR_UNSUPPORTED) {
        return context_fail(context, status, "%s: %s", session->file->name, message);
    }
    if (status != DLC_OK) {
        return device_fail(context, status, ops, which, message);
    }
    return open_on(session, ops, which, options, number);
}

/* The devices that the plan has code for, the preferred first, until one can be opened. Only a
 * machine that cannot leads to the next: whoever has a GPU wants to hear that it fails. */
static dlc_status open_best(dlc_session *session, const dlc_session_options *options) {
    dlc_context *context = session->context;
    char reasons[RANK_DESCRIPTION_BYTES / 2] = "", message[DEVICE_MESSAGE_BYTES];
    size_t at = 0;
    const DeviceOps *ops;
    for (int i = 0; (ops = device_at(i)) != NULL; i++) {
        if (ops->computes_nothing || !has_target(session->file, ops->name)) {
            continue;
        }
        int32_t number;
        dlc_status status = plan_target_for(session->file, ops, "", &number, message);
        const char *why = message;
        if (status != DLC_OK && status != DLC_ERROR_UNSUPPORTED) {
            return device_fail(context, status, ops, "", message);
        }
        if (status == DLC_OK) {
            status = needs_other(session, options) ? open_named(session, ops, "", options)
                                                   : open_on(session, ops, "", options, number);
            why = context->error;
        }
        if (status == DLC_OK) {
            char *about = session->ranks->description;
            size_t length = strlen(about);
            snprintf(about + length, RANK_DESCRIPTION_BYTES - length, "%s", reasons);
            return DLC_OK;
        }
        if (status != DLC_ERROR_UNSUPPORTED) {
            return status;
        }
        int n = snprintf(reasons + at, sizeof(reasons) - at, "; not %s: %s", ops->name, why);
        at += n > 0 && (size_t)n < sizeof(reasons) - at ? (size_t)n : 0;
    }
    const char *why =
        at > 0 ? reasons + strlen("; not ") : "it has no code for a device of this build";
    const DeviceOps *host = device_host();
    if (has_target(session->file, host->name)) {
        char kept[sizeof(reasons)];
        memcpy(kept, why, strlen(why) + 1);
        dlc_status status = retarget(session, host, NULL, kept);
        return status == DLC_OK ? open_named(session, host, "", options) : status;
    }
    return context_fail(context, DLC_ERROR_UNSUPPORTED,
                        "%s cannot run here: %s; the device %s (--device %s) has it compiled "
                        "anew for this machine's processor",
                        session->file->name, why, host->name, host->name);
}

static dlc_status device_open(dlc_session *session, const dlc_session_options *options,
                              const DeviceOps *ops) {
    const char *name = options->device ? options->device : "auto";
    if (ops) {
        return open_named(session, ops, "", options);
    }
    if (strcmp(name, "auto") == 0) {
        return open_best(session, options);
    }
    char kind[32], known[128] = "auto";
    const char *colon = strchr(name, ':');
    int length = colon ? (int)(colon - name) : (int)strlen(name);
    snprintf(kind, sizeof(kind), "%.*s", length, name);
    ops = length < (int)sizeof(kind) ? device_find(kind) : NULL;
    if (ops) {
        return open_named(session, ops, colon ? colon + 1 : "", options);
    }
    for (int i = 0; device_at(i); i++) {
        size_t at = strlen(known);
        snprintf(known + at, sizeof(known) - at, "%s%s", device_at(i + 1) ? ", " : " and ",
                 device_at(i)->name);
    }
    return context_fail(session->context, DLC_ERROR_UNSUPPORTED,
                        "unknown device '%s'; there are %s", name, known);
}

/* Replaces the session's plan by the same with training in parts, for the device that it is on. */
static dlc_status parts_compile(dlc_session *session) {
    dlc_context *context = session->context;
    const PlanTarget *target = session->tables->target;
    char name[RANK_DESCRIPTION_BYTES];
    dlc_plan *renewed = NULL;
    snprintf(name, sizeof(name), "%s:%s", plan_text(session->file, target->device),
             plan_text(session->file, target->machine));
    dlc_status status =
        plan_retarget(context, session->file->ir, name, NULL, DLC_COMPILE_ACCUMULATE, &renewed);
    if (status != DLC_OK) {
        return status;
    }
    context_log(context, DLC_LOG_INFO, "%s: compiled anew for %s: its training step in parts",
                session->file->name, name);
    ranks_close(session);
    plan_release(session->plan);
    session->plan = renewed;
    session->file = &renewed->file;
    return DLC_OK;
}

dlc_status session_ranks_open(dlc_session *session, const dlc_session_options *options,
                              const DeviceOps *ops) {
    dlc_status status = device_open(session, options, ops);
    if (status != DLC_OK || !options->accumulate || plan_setting(session->file, "parts_dim")) {
        return status;
    }
    status = parts_compile(session);
    return status == DLC_OK ? device_open(session, options, ops) : status;
}
