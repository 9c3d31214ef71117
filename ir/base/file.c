/* Reading files, in one piece or block by block (file.h). */
#include "ir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum FileKind { FILE_EMPTY, FILE_READ, FILE_PARTIAL } FileKind;

enum { FILE_BLOCK = 1 << 16 };

static const uint8_t no_bytes[1] = {0};

/* Reads until the end of the file, of about `expected` bytes (0: unknown); on failure returns an
 * errno, EFBIG for more than `most` bytes. */
static int read_all(int fd, size_t expected, size_t most, uint8_t **out_data, size_t *out_size) {
    size_t size = 0, capacity = 0;
    uint8_t *data = NULL;
    for (;;) {
        if (size == capacity) {
            size_t grown = capacity ? capacity * 2 : expected ? expected + 1 : 65536;
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

/* What may be read of a file that does not say its size: a character device (/dev/zero) has no end,
 * and a pipe need not have one. Never all of the machine's memory. */
static size_t most_of(const struct stat *info, size_t asked) {
    size_t most = SIZE_MAX;
    if (S_ISCHR(info->st_mode)) {
        most = (size_t)64 << 20;
    } else if (!S_ISREG(info->st_mode)) {
        long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        most = pages > 0 && page > 0 ? (size_t)pages / 2 * (size_t)page : (size_t)1 << 30;
    }
    return asked < most ? asked : most;
}

static dlc_status read_fail(char *message, const char *path, int error, size_t most) {
    if (error != EFBIG) {
        return file_fail(message, "read", path, error);
    }
    snprintf(message, FILE_MESSAGE_BYTES, "cannot read '%s': it is larger than %zu MiB", path,
             most >> 20);
    return DLC_ERROR_LIMIT;
}

/* Address space of the file's size, which takes memory where it is read. */
static int open_partial(int fd, size_t size, FileView *out) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *present = calloc(size / FILE_BLOCK + 1, 1);
    if (memory == MAP_FAILED || !present) {
        if (memory != MAP_FAILED) {
            munmap(memory, size);
        }
        free(present);
        return ENOMEM;
    }
    *out = (FileView){memory, size, memory, FILE_PARTIAL, fd, present};
    return 0;
}

dlc_status file_view_open_partly(const char *path, size_t most, FileView *out, char *message) {
    *out = (FileView){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_fail(message, "open", path, errno);
    }
    FileView view = {.data = no_bytes, .kind = FILE_EMPTY};
    struct stat info;
    size_t limit = 0;
    int error = 0;
    if (fstat(fd, &info) != 0) {
        error = errno;
    } else if (S_ISDIR(info.st_mode)) {
        error = EISDIR;
    } else if (S_ISREG(info.st_mode) && info.st_size > 0 && (uint64_t)info.st_size > most) {
        error = open_partial(fd, (size_t)info.st_size, &view);
    } else {
        uint8_t *data = NULL;
        size_t expected = S_ISREG(info.st_mode) && info.st_size > 0 ? (size_t)info.st_size : 0;
        limit = most_of(&info, SIZE_MAX);
        error = read_all(fd, expected, limit, &data, &view.size);
        if (!error) {
            view.data = data;
            view.memory = data;
            view.kind = FILE_READ;
        }
    }
    if (view.kind != FILE_PARTIAL) {
        close(fd);
    }
    if (error) {
        return read_fail(message, path, error, limit);
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
    struct stat info;
    int error = fstat(fd, &info) != 0 ? errno : 0;
    if (!error) {
        most = most_of(&info, most);
        error = read_all(fd, 0, most, &data, &size);
    }
    close(fd);
    if (error) {
        return read_fail(message, path, error, most);
    }
    *out = (FileView){.data = data, .size = size, .memory = data, .kind = FILE_READ};
    return DLC_OK;
}

dlc_status file_view_open(const char *path, FileView *out, char *message) {
    return file_view_open_partly(path, SIZE_MAX, out, message);
}

bool file_view_is_partial(const FileView *view) {
    return view->kind == FILE_PARTIAL;
}

dlc_status file_view_read(const FileView *view, const char *path, size_t at, size_t size, void *to,
                          char *message) {
    uint8_t *target = to;
    while (size > 0) {
        ssize_t n = pread(view->fd, target, size, (off_t)at);
        if (n < 0 && errno != EINTR) {
            return file_fail(message, "read", path, errno);
        }
        if (n == 0) {
            snprintf(message, FILE_MESSAGE_BYTES,
                     "cannot read '%.300s': the file ends at offset %zu, but had %zu bytes when it "
                     "was opened",
                     path, at, view->size);
            return DLC_ERROR_IO;
        }
        if (n > 0) {
            target += n;
            at += (size_t)n;
            size -= (size_t)n;
        }
    }
    return DLC_OK;
}

dlc_status file_view_need(FileView *view, const char *path, size_t at, size_t size, char *message) {
    if (view->kind != FILE_PARTIAL || at >= view->size || size == 0) {
        return DLC_OK;
    }
    size_t end = size > view->size - at ? view->size : at + size;
    for (size_t block = at / FILE_BLOCK; block <= (end - 1) / FILE_BLOCK; block++) {
        size_t start = block * FILE_BLOCK;
        size_t bytes = view->size - start < FILE_BLOCK ? view->size - start : FILE_BLOCK;
        if (!view->present[block]) {
            dlc_status status =
                file_view_read(view, path, start, bytes, (uint8_t *)view->memory + start, message);
            if (status != DLC_OK) {
                return status;
            }
            view->present[block] = 1;
        }
    }
    return DLC_OK;
}

void file_view_close(FileView *view) {
    if (view->kind == FILE_PARTIAL) {
        munmap(view->memory, view->size);
        free(view->present);
        close(view->fd);
    } else if (view->kind == FILE_READ) {
        free(view->memory);
    }
    *view = (FileView){0};
}
