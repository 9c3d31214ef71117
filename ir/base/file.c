/* Reading files by mapping them (or in one piece when they cannot be mapped) and replacing files
 * atomically (file.h). */
#include "ir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum FileKind { FILE_EMPTY, FILE_MAPPED, FILE_READ } FileKind;

static const uint8_t no_bytes[1] = {0};

static dlc_status fail(char *message, const char *what, const char *path, int error) {
    char reason[128];
    snprintf(message, FILE_MESSAGE_BYTES, "cannot %s '%s': %s", what, path,
             strerror_r(error, reason, sizeof(reason)));
    return error == ENOMEM ? DLC_ERROR_OUT_OF_MEMORY : DLC_ERROR_IO;
}

/* Reads until the end of the file; on failure returns an errno. */
static int read_all(int fd, uint8_t **out_data, size_t *out_size) {
    size_t size = 0, capacity = 0;
    uint8_t *data = NULL;
    for (;;) {
        if (size == capacity) {
            size_t grown = capacity ? capacity * 2 : 65536;
            uint8_t *more = grown > capacity ? realloc(data, grown) : NULL;
            if (!more) {
                free(data);
                return ENOMEM;
            }
            data = more;
            capacity = grown;
        }
        ssize_t n = read(fd, data + size, capacity - size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            int error = errno;
            free(data);
            return error;
        }
        if (n == 0) {
            *out_data = data;
            *out_size = size;
            return 0;
        }
        size += (size_t)n;
    }
}

dlc_status file_view_open(const char *path, FileView *out, char *message) {
    *out = (FileView){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail(message, "open", path, errno);
    }
    FileView view = {.data = no_bytes, .kind = FILE_EMPTY};
    struct stat info;
    int error = 0;
    if (fstat(fd, &info) != 0) {
        error = errno;
    } else if (S_ISDIR(info.st_mode)) {
        error = EISDIR;
    } else if (S_ISREG(info.st_mode) && info.st_size > 0) {
        void *memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (memory != MAP_FAILED) {
            view = (FileView){memory, (size_t)info.st_size, memory, FILE_MAPPED};
        }
    }
    if (!error && view.kind != FILE_MAPPED) {
        uint8_t *data = NULL;
        error = read_all(fd, &data, &view.size);
        if (!error) {
            view.data = data;
            view.mapping = data;
            view.kind = FILE_READ;
        }
    }
    close(fd);
    if (error) {
        return fail(message, "read", path, error);
    }
    *out = view;
    return DLC_OK;
}

void file_view_close(FileView *view) {
    if (view->kind == FILE_MAPPED) {
        munmap(view->mapping, view->size);
    } else if (view->kind == FILE_READ) {
        free(view->mapping);
    }
    *view = (FileView){0};
}

static bool write_all(int fd, const uint8_t *data, size_t length) {
    while (length) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            data += n;
            length -= (size_t)n;
        }
    }
    return true;
}

/* A new file beside `path`; its name, for the caller to free, in *out_name. */
static int open_beside(const char *path, char **out_name) {
    size_t room = strlen(path) + 48;
    char *name = malloc(room);
    if (!name) {
        errno = ENOMEM;
        return -1;
    }
    int fd = -1;
    for (unsigned attempt = 0; attempt < 1000 && fd < 0; attempt++) {
        snprintf(name, room, "%s.tmp-%ld-%u", path, (long)getpid(), attempt);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) {
            break;
        }
    }
    if (fd < 0) {
        int error = errno;
        free(name);
        errno = error;
        return -1;
    }
    *out_name = name;
    return fd;
}

/* The rename itself reaches the disk with its folder. Some file systems refuse to sync a folder;
 * the file is whole either way, so that is no failure. */
static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

dlc_status file_write_atomic(const char *path, const void *const *parts, const size_t *lengths,
                             int n_parts, char *message) {
    char *temporary = NULL;
    int fd = open_beside(path, &temporary);
    if (fd < 0) {
        return fail(message, "write", path, errno);
    }
    int error = 0;
    for (int i = 0; i < n_parts && !error; i++) {
        if (!write_all(fd, parts[i], lengths[i])) {
            error = errno;
        }
    }
    if (!error && fsync(fd) != 0 && errno != EINVAL) {
        error = errno;
    }
    if (close(fd) != 0 && !error) {
        error = errno;
    }
    if (!error && rename(temporary, path) != 0) {
        error = errno;
    }
    dlc_status status = DLC_OK;
    if (error) {
        unlink(temporary);
        status = fail(message, "write", path, error);
    } else {
        sync_folder(path);
    }
    free(temporary);
    return status;
}
