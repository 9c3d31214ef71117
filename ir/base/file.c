/* Reading files by mapping them, or in one piece when they cannot be mapped (file.h). */
#include "ir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum FileKind { FILE_EMPTY, FILE_MAPPED, FILE_READ } FileKind;

static const uint8_t no_bytes[1] = {0};

/* Reads until the end of the file; on failure returns an errno, EFBIG for more than `most` bytes. */
static int read_all(int fd, size_t most, uint8_t **out_data, size_t *out_size) {
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
        if (size + (size_t)n > most) {
            free(data);
            return EFBIG;
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
        return file_fail(message, "open", path, errno);
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
        error = read_all(fd, SIZE_MAX, &data, &view.size);
        if (!error) {
            view.data = data;
            view.mapping = data;
            view.kind = FILE_READ;
        }
    }
    close(fd);
    if (error) {
        return file_fail(message, "read", path, error);
    }
    *out = view;
    return DLC_OK;
}

dlc_status file_read_bounded(const char *path, size_t most, FileView *out, char *message) {
    *out = (FileView){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_fail(message, "open", path, errno);
    }
    uint8_t *data = NULL;
    size_t size = 0;
    int error = read_all(fd, most, &data, &size);
    close(fd);
    if (error == EFBIG) {
        snprintf(message, FILE_MESSAGE_BYTES, "cannot read '%s': it is larger than %zu MiB", path,
                 most >> 20);
        return DLC_ERROR_LIMIT;
    }
    if (error) {
        return file_fail(message, "read", path, error);
    }
    *out = (FileView){.data = data, .size = size, .mapping = data, .kind = FILE_READ};
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
