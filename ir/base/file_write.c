/* Writing files (file.h). A plain file is replaced by a rename, so that a crash leaves the old one
 * or the new one; what cannot be replaced without harm (a device, a pipe, a file with further
 * names, one whose owner would change) is written where it stands. */
#include "ir/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* Short, so that it fits wherever the name of the file to be written does. */
#define TEMPORARY_PREFIX ".dlc-tmp-"

enum { TEMPORARY_BYTES = 64, MOST_LINKS = 40 };

typedef struct Content {
    const void *const *parts;
    const size_t *lengths;
    int n_parts;
} Content;

/* Where the bytes are to go. */
typedef struct Target {
    char path[PATH_MAX]; /* without a link in its last component, where `in_place` is false */
    const char *name;    /* its last component */
    int folder;          /* which holds `name`; -1: none */
    bool in_place;
    bool exists;
    struct stat info;
} Target;

int file_lock(int fd) {
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

static void file_lock_wait(int fd) {
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {
    }
}

bool file_is_stdout(const char *path) {
    return strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0;
}

/* The end of a long path tells more than its beginning, and the reason must have room. */
dlc_status file_fail(char *message, const char *what, const char *path, int error) {
    enum { SHOWN = 300 };
    size_t length = strlen(path);
    char reason[128];
    snprintf(message, FILE_MESSAGE_BYTES, "cannot %s '%s%s': %s", what, length > SHOWN ? "…" : "",
             length > SHOWN ? path + length - SHOWN : path,
             strerror_r(error, reason, sizeof(reason)));
    return error == ENOMEM ? DLC_ERROR_OUT_OF_MEMORY : DLC_ERROR_IO;
}

/* -- Each of these returns 0 or an errno -- */

static int write_all(int fd, const uint8_t *data, size_t length) {
    while (length) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            data += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

static int content_write(int fd, const Content *content) {
    int error = 0;
    for (int i = 0; i < content->n_parts && !error; i++) {
        error = write_all(fd, content->parts[i], content->lengths[i]);
    }
    return error;
}

/* Pipes and devices have nothing to sync. */
static int sync_file(int fd) {
    return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS ? 0 : errno;
}

static int close_file(int fd, int error) {
    return close(fd) != 0 && !error ? errno : error;
}

int file_write_at(int fd, const void *data, size_t length, uint64_t at) {
    const uint8_t *from = data;
    while (length) {
        ssize_t n = pwrite(fd, from, length, (off_t)at);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            from += n;
            at += (uint64_t)n;
            length -= (size_t)n;
        }
    }
    return 0;
}

int file_sync(int fd) {
    return sync_file(fd);
}

/* Takes the room of `size` bytes where the file system can. */
static int room_take(int fd, uint64_t size) {
    if (size > (uint64_t)INT64_MAX) {
        return EFBIG;
    }
    if (size == 0 || fallocate(fd, 0, 0, (off_t)size) == 0) {
        return 0;
    }
    bool cannot = errno == EOPNOTSUPP || errno == ENOSYS;
    return !cannot || ftruncate(fd, (off_t)size) != 0 ? errno : 0;
}

int file_create_sized(int folder, const char *name, uint64_t size, int *out) {
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return errno;
    }
    int error = room_take(fd, size);
    *out = error ? -1 : fd;
    if (error) {
        close(fd);
    }
    return error;
}

int file_create(int folder, const char *name, const void *const *parts, const size_t *lengths,
                int n_parts) {
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return errno;
    }
    Content content = {parts, lengths, n_parts};
    int error = content_write(fd, &content);
    error = error ? error : sync_file(fd);
    return close_file(fd, error);
}

/* -- Finding the place -- */

/* The folder of `path`, also one that may be passed through but not listed. */
static int folder_open(const char *path, const char *name) {
    char folder[PATH_MAX];
    size_t length = (size_t)(name - path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    const char *at = length ? folder : ".";
    int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 && errno == EACCES ? open(at, O_PATH | O_DIRECTORY | O_CLOEXEC) : fd;
}

static const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Links of /proc lead to open files, whose names need not exist. */
static bool is_magic_link(int folder) {
    struct statfs system;
    return fstatfs(folder, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/* Replaces the target's path by what the link at it says. */
static int link_follow(Target *target) {
    char text[PATH_MAX];
    ssize_t n = readlinkat(target->folder, target->name, text, sizeof(text));
    size_t kept = n > 0 && text[0] == '/' ? 0 : (size_t)(target->name - target->path);
    if (n < 0) {
        return errno;
    }
    if ((size_t)n + kept >= sizeof(target->path)) {
        return ENAMETOOLONG;
    }
    memcpy(target->path + kept, text, (size_t)n);
    target->path[kept + (size_t)n] = '\0';
    return 0;
}

static void target_close(Target *target) {
    if (target->folder >= 0) {
        close(target->folder);
    }
    target->folder = -1;
}

/* Follows links to what is there, or to the name that is to be. */
static int target_find(const char *path, Target *target) {
    target->folder = -1;
    if (strlen(path) >= sizeof(target->path)) {
        return ENAMETOOLONG;
    }
    strcpy(target->path, path);
    for (int links = 0; links <= MOST_LINKS; links++) {
        target_close(target);
        target->name = last_component(target->path);
        target->folder = folder_open(target->path, target->name);
        if (target->folder < 0) {
            return errno;
        }
        if (target->name[0] == '\0') {
            return EISDIR;
        }
        target->exists =
            fstatat(target->folder, target->name, &target->info, AT_SYMLINK_NOFOLLOW) == 0;
        if (!target->exists) {
            return errno == ENOENT ? 0 : errno;
        }
        if (!S_ISLNK(target->info.st_mode)) {
            target->in_place = !S_ISREG(target->info.st_mode) || target->info.st_nlink > 1;
            return S_ISDIR(target->info.st_mode) ? EISDIR : 0;
        }
        if (is_magic_link(target->folder)) {
            target->in_place = true;
            return 0;
        }
        int error = link_follow(target);
        if (error) {
            return error;
        }
    }
    return ELOOP;
}

/* -- Writing where the file stands -- */

static int content_room(int fd, const Content *content) {
    off_t total = 0;
    for (int i = 0; i < content->n_parts; i++) {
        total += (off_t)content->lengths[i];
    }
    /* A disk that is too full is met before the old bytes are gone. */
    bool full = total > 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, total) != 0 &&
                (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
    return full ? errno : 0;
}

static int write_in_place(const Target *target, const Content *content) {
    int fd = openat(target->folder, target->name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    struct stat info;
    if (fd < 0) {
        return errno;
    }
    int error = fstat(fd, &info) == 0 ? 0 : errno;
    bool regular = !error && S_ISREG(info.st_mode);
    if (regular) {
        error = content_room(fd, content);
    }
    error = error ? error : content_write(fd, content);
    if (!error && regular && ftruncate(fd, lseek(fd, 0, SEEK_CUR)) != 0) {
        error = errno;
    }
    error = error ? error : sync_file(fd);
    return close_file(fd, error);
}

/* -- Replacing -- */

/* Removes what killed runs left in the folder: a live one holds its file locked until the rename.
 */
static void temporaries_sweep(int folder) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    for (const struct dirent *item; (item = readdir(list)) != NULL;) {
        const char *name = item->d_name;
        size_t n_prefix = sizeof(TEMPORARY_PREFIX) - 1;
        if (strncmp(name, TEMPORARY_PREFIX, n_prefix) != 0 ||
            strspn(name + n_prefix, "0123456789-") != strlen(name + n_prefix)) {
            continue;
        }
        int left = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat opened, named;
        if (left >= 0 && file_lock(left) == 0 && fstat(left, &opened) == 0 &&
            S_ISREG(opened.st_mode) && fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            opened.st_ino == named.st_ino && opened.st_dev == named.st_dev) {
            unlinkat(folder, name, 0);
        }
        if (left >= 0) {
            close(left);
        }
    }
    closedir(list);
}

uint32_t file_token(void) {
    uint32_t token;
    if (getrandom(&token, sizeof(token), GRND_NONBLOCK) != (ssize_t)sizeof(token)) {
        struct timespec now = {0};
        clock_gettime(CLOCK_REALTIME, &now);
        token = (uint32_t)now.tv_nsec ^ (uint32_t)now.tv_sec << 12 ^ (uint32_t)getpid();
    }
    return token;
}

/* A new file in the folder, locked; its name in `name`. */
static int temporary_create(int folder, mode_t mode, char name[TEMPORARY_BYTES], int *out) {
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        snprintf(name, TEMPORARY_BYTES, TEMPORARY_PREFIX "%ld-%" PRIu32, (long)getpid(),
                 file_token());
        int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno == EEXIST) {
            continue;
        }
        if (fd < 0) {
            return errno;
        }
        /* Between its birth and the lock another writer may have taken it for a dead one's. */
        struct stat info;
        file_lock_wait(fd);
        if (fstat(fd, &info) == 0 && info.st_nlink > 0) {
            *out = fd;
            return 0;
        }
        close(fd);
    }
    return EEXIST;
}

/* Owner and mode of the file that is replaced; false where they cannot be kept. */
static bool likeness_keep(int fd, const struct stat *old) {
    struct stat now;
    if (fstat(fd, &now) != 0) {
        return false;
    }
    if ((now.st_uid != old->st_uid || now.st_gid != old->st_gid) &&
        fchown(fd, old->st_uid, old->st_gid) != 0) {
        return false;
    }
    return (now.st_mode & 07777) == (old->st_mode & 07777) || fchmod(fd, old->st_mode & 07777) == 0;
}

/* Whether an existing file that cannot be replaced may still be written: no right to its folder, a
 * mount point, a folder where only owners rename. */
static bool may_write_in_place(const Target *target, int error) {
    return target->exists &&
           (error == EACCES || error == EPERM || error == EBUSY || error == EROFS);
}

/* *in_place, here and below: nothing was done, and the file is to be written where it stands. */
static int replace_begin(const Target *target, char name[TEMPORARY_BYTES], int *out,
                         bool *in_place) {
    if (target->exists && faccessat(target->folder, target->name, W_OK, AT_EACCESS) != 0) {
        return errno;
    }
    temporaries_sweep(target->folder);
    mode_t mode = target->exists ? target->info.st_mode & 0666 : 0666;
    int error = temporary_create(target->folder, mode, name, out);
    if (error) {
        *in_place = may_write_in_place(target, error);
        return error;
    }
    if (target->exists && !likeness_keep(*out, &target->info)) {
        *in_place = true;
        unlinkat(target->folder, name, 0);
        return close_file(*out, 0);
    }
    return 0;
}

/* error: what writing the new file came to. */
static int replace_end(const Target *target, const char *name, int fd, int error, bool *in_place) {
    error = error ? error : sync_file(fd);
    if (!error && renameat(target->folder, name, target->folder, target->name) != 0) {
        error = errno;
        *in_place = may_write_in_place(target, error);
    }
    if (error || *in_place) {
        unlinkat(target->folder, name, 0);
    }
    /* The lock goes with the name, not before it. */
    error = close_file(fd, error);
    if (!error && !*in_place) {
        (void)sync_file(
            target->folder); /* some file systems refuse; the file is whole either way */
    }
    return error;
}

static int replace(const Target *target, const Content *content, bool *in_place) {
    char name[TEMPORARY_BYTES];
    int fd = -1;
    int error = replace_begin(target, name, &fd, in_place);
    return error || *in_place ? error
                              : replace_end(target, name, fd, content_write(fd, content), in_place);
}

dlc_status file_write(const char *path, const void *const *parts, const size_t *lengths,
                      int n_parts, char *message) {
    Content content = {parts, lengths, n_parts};
    if (file_is_stdout(path)) {
        int error = content_write(STDOUT_FILENO, &content);
        return error ? file_fail(message, "write", path, error) : DLC_OK;
    }
    Target *target = calloc(1, sizeof(*target));
    if (!target) {
        return file_fail(message, "write", path, ENOMEM);
    }
    int error = target_find(path, target);
    if (!error) {
        bool in_place = target->in_place;
        error = in_place ? 0 : replace(target, &content, &in_place);
        error = in_place ? write_in_place(target, &content) : error;
    }
    target_close(target);
    free(target);
    return error ? file_fail(message, "write", path, error) : DLC_OK;
}

/* -- Several writers -- */

struct FileMaking {
    Target target;
    char name[TEMPORARY_BYTES], path[PATH_MAX + TEMPORARY_BYTES];
    int fd;
};

dlc_status file_making_begin(const char *path, uint64_t size, FileMaking **out, char *message) {
    FileMaking *making = calloc(1, sizeof(*making));
    bool in_place = false;
    *out = NULL;
    if (!making) {
        return file_fail(message, "write", path, ENOMEM);
    }
    Target *target = &making->target;
    target->folder = -1;
    in_place = file_is_stdout(path);
    int error = in_place ? 0 : target_find(path, target);
    in_place = in_place || (!error && target->in_place);
    if (!error && !in_place) {
        error = replace_begin(target, making->name, &making->fd, &in_place);
        error = in_place ? 0 : error;
        if (!error && !in_place) {
            error = room_take(making->fd, size);
            error = error ? replace_end(target, making->name, making->fd, error, &in_place) : 0;
        }
    }
    if (error || in_place) {
        target_close(target);
        free(making);
        return error ? file_fail(message, "write", path, error) : DLC_OK;
    }
    snprintf(making->path, sizeof(making->path), "%.*s%s", (int)(target->name - target->path),
             target->path, making->name);
    *out = making;
    return DLC_OK;
}

int file_making_fd(const FileMaking *making) {
    return making->fd;
}

const char *file_making_path(const FileMaking *making) {
    return making->path;
}

dlc_status file_making_end(FileMaking *making, const char *path, bool keep, bool *in_place,
                           char *message) {
    Target *target = &making->target;
    *in_place = false;
    int error = replace_end(target, making->name, making->fd, keep ? 0 : ECANCELED, in_place);
    target_close(target);
    free(making);
    return error && keep && !*in_place ? file_fail(message, "write", path, error) : DLC_OK;
}

/* -- Streams -- */

FILE *file_stream_open(const char *path, char *message) {
    bool is_stdout = file_is_stdout(path);
    int fd = is_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                       : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    FILE *stream = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!stream) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        file_fail(message, "write", path, error);
    }
    return stream;
}

dlc_status file_stream_close(FILE *stream, const char *path, char *message) {
    errno = 0;
    bool good = fflush(stream) == 0 && !ferror(stream);
    int error = good ? 0 : errno;
    if (fclose(stream) != 0 && good) {
        good = false;
        error = errno;
    }
    if (!good && error == 0) { /* the stream does not keep the reason */
        snprintf(message, FILE_MESSAGE_BYTES, "'%.300s' is not whole: a write failed", path);
        return DLC_ERROR_IO;
    }
    return good ? DLC_OK : file_fail(message, "write", path, error);
}
