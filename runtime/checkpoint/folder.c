/* A run's folder: opened and locked, its steps listed, leftovers and old steps removed. Everything
 * under a name that begins with a dot is unfinished, and garbage once its writer is gone. */
#include "runtime/border.h"
#include "runtime/checkpoint/checkpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct StepList {
    const dlc_allocator *allocator;
    int64_t *items;
    int64_t count, capacity;
} StepList;

dlc_status checkpoint_folder_fail(const CheckpointFolder *folder, const char *what,
                                  const char *name, int error) {
    char path[4096], message[FILE_MESSAGE_BYTES];
    snprintf(path, sizeof(path), "%s%s%s", folder->path, name[0] ? "/" : "", name);
    dlc_status status = file_fail(message, what, path, error);
    return context_fail(folder->context, status, "%s", message);
}

void checkpoint_step_name(int64_t step, const char *pattern, char out[CHECKPOINT_NAME_BYTES]) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRId64, step);
    snprintf(out, CHECKPOINT_NAME_BYTES, pattern, digits);
}

/* "step-40": 40; else -1. */
static int64_t step_of(const char *name) {
    if (strncmp(name, "step-", 5) != 0 || strspn(name + 5, "0123456789") != strlen(name + 5) ||
        name[5] == '\0' || (name[5] == '0' && name[6] != '\0') || strlen(name + 5) > 18) {
        return -1;
    }
    return strtoll(name + 5, NULL, 10);
}

/* Calls for every name in the folder until one gives an errno; a second handle, so that reading
 * starts at the beginning. */
static int names_each(int folder, int (*visit)(void *user, int folder, const char *name),
                      void *user) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    int error = list ? 0 : errno;
    if (!list && fd >= 0) {
        close(fd);
    }
    while (list && !error) {
        errno = 0;
        const struct dirent *item = readdir(list);
        if (!item) {
            error = errno;
            break;
        }
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) {
            error = visit(user, folder, item->d_name);
        }
    }
    if (list) {
        closedir(list);
    }
    return error;
}

/* -- Removing -- */

static int file_remove(void *user, int folder, const char *name) {
    (void)user;
    return unlinkat(folder, name, 0) == 0 || errno == ENOENT ? 0 : errno;
}

/* A folder of files. */
int checkpoint_tree_remove(int folder, const char *name) {
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOTDIR || errno == ELOOP ? file_remove(NULL, folder, name)
               : errno == ENOENT                  ? 0
                                                  : errno;
    }
    int error = names_each(fd, file_remove, NULL);
    close(fd);
    return !error && unlinkat(folder, name, AT_REMOVEDIR) != 0 ? errno : error;
}

static int leftover_remove(void *user, int folder, const char *name) {
    (void)user;
    const char *dot = name[0] == '.' ? strrchr(name + 1, '.') : NULL;
    if (!dot || strncmp(name, ".step-", 6) != 0 ||
        (strcmp(dot, ".tmp") != 0 && strcmp(dot, ".old") != 0)) {
        return 0;
    }
    return checkpoint_tree_remove(folder, name);
}

/* Half removed it must not look like a checkpoint. */
int checkpoint_step_remove(int folder, int64_t step) {
    char name[CHECKPOINT_NAME_BYTES], aside[CHECKPOINT_NAME_BYTES];
    if (step < 0) {
        return file_remove(NULL, folder, CHECKPOINT_OLD_FILE);
    }
    checkpoint_step_name(step, "step-%s", name);
    checkpoint_step_name(step, ".step-%s.old", aside);
    int error = checkpoint_tree_remove(folder, aside);
    if (!error && renameat(folder, name, folder, aside) != 0) {
        error = errno == ENOENT ? 0 : errno;
    }
    return error ? error : checkpoint_tree_remove(folder, aside);
}

/* -- The folder -- */

static void parent_sync(const char *path) {
    char parent[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof(parent)) {
        return;
    }
    memcpy(parent, path, length);
    parent[length] = '\0';
    int fd = open(slash ? (length ? parent : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

int checkpoint_clean(const CheckpointFolder *folder) {
    return names_each(folder->fd, leftover_remove, NULL);
}

dlc_status checkpoint_folder_open(CheckpointFolder *folder, dlc_context *context,
                                  const char *path) {
    *folder = (CheckpointFolder){context, path, -1};
    if (mkdir(path, 0777) == 0) {
        parent_sync(path);
    } else if (errno != EEXIST) {
        return checkpoint_folder_fail(folder, "make folder", "", errno);
    }
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) {
        return checkpoint_folder_fail(folder, "open folder", "", errno);
    }
    int error = file_lock(folder->fd);
    if (error == EWOULDBLOCK) {
        checkpoint_folder_close(folder);
        return context_fail(context, DLC_ERROR_LIMIT,
                            "'%s' is in use: another run writes its checkpoints there; wait for "
                            "its end, or take another folder",
                            path);
    }
    if (error) {
        context_log(context, DLC_LOG_WARNING,
                    "'%s' cannot be locked on this file system: see that no other run writes there",
                    path);
    }
    error = checkpoint_clean(folder);
    if (error) {
        checkpoint_folder_close(folder);
        return checkpoint_folder_fail(folder, "clear folder", "", error);
    }
    return DLC_OK;
}

void checkpoint_folder_close(CheckpointFolder *folder) {
    if (folder->fd >= 0) {
        close(folder->fd);
    }
    folder->fd = -1;
}

static int step_add(void *user, int folder, const char *name) {
    StepList *list = user;
    (void)folder;
    int64_t step = step_of(name);
    if (step < 0 && strcmp(name, CHECKPOINT_OLD_FILE) != 0) {
        return 0;
    }
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 16;
        int64_t *items = memory_new(list->allocator, (size_t)capacity, sizeof(*items));
        if (!items) {
            return ENOMEM;
        }
        if (list->count > 0) {
            memcpy(items, list->items, (size_t)list->count * sizeof(*items));
        }
        memory_free(list->allocator, list->items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = step;
    return 0;
}

static int later_first(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

static int steps_list(const CheckpointFolder *folder, StepList *list) {
    int error = names_each(folder->fd, step_add, list);
    if (error) {
        memory_free(list->allocator, list->items);
        list->items = NULL;
    } else if (list->count > 1) {
        qsort(list->items, (size_t)list->count, sizeof(*list->items), later_first);
    }
    return error;
}

dlc_status checkpoint_steps(const CheckpointFolder *folder, int64_t **out, int64_t *out_count) {
    StepList list = {.allocator = &folder->context->allocator};
    int error = steps_list(folder, &list);
    if (error) {
        return checkpoint_folder_fail(folder, "read folder", "", error);
    }
    *out = list.items;
    *out_count = list.count;
    return DLC_OK;
}

int checkpoint_prune(const CheckpointFolder *folder, int64_t step, bool keep_later) {
    StepList list = {.allocator = &memory_malloc};
    int error = steps_list(folder, &list);
    bool has_earlier = false;
    for (int64_t i = 0; i < list.count && !error; i++) {
        int64_t other = list.items[i];
        bool keep = other == step || (other > step ? keep_later : !has_earlier);
        has_earlier = has_earlier || other < step;
        error = keep ? 0 : checkpoint_step_remove(folder->fd, other);
    }
    memory_free(list.allocator, list.items);
    return error;
}

dlc_status checkpoint_remove_all(CheckpointFolder *folder) {
    int64_t *steps = NULL, count = 0;
    dlc_status status = checkpoint_steps(folder, &steps, &count);
    for (int64_t i = count; i-- > 0 && status == DLC_OK;) {
        int error = checkpoint_step_remove(folder->fd, steps[i]);
        status = error ? checkpoint_folder_fail(folder, "remove an old checkpoint in", "", error)
                       : DLC_OK;
    }
    memory_free(&folder->context->allocator, steps);
    return status;
}
