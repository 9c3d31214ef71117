/* Reading files, whole or by parts, and writing them: every file of ours goes through here. Both
 * sides; explicit status, message text for the caller to pass on. */
#ifndef DLC_IR_BASE_FILE_H
#define DLC_IR_BASE_FILE_H

#include "dlc/dlc.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { FILE_MESSAGE_BYTES = 512 };

/* Files are never mapped: another process may cut a mapped file, and then its pages kill ours. */
typedef struct FileView {
    const uint8_t *data;
    size_t size;
    void *memory;     /* what file_view_close releases */
    int kind;         /* how it was obtained; private */
    int fd;           /* partial views only */
    uint8_t *present; /* partial views: which blocks of `data` were read */
} FileView;

/* Reads a file. On failure fills `message` (FILE_MESSAGE_BYTES) with "cannot open 'x': No such file
 * or directory". Of what does not say its size, a character device may give 64 MiB, a pipe half of
 * the machine's memory. */
dlc_status file_view_open(const char *path, FileView *out, char *message);
/* Reads a file of at most `most` bytes into memory, so that it may shrink or change afterwards;
 * also devices and pipes, which need not end: "cannot read 'x': it is larger than 16 MiB". */
dlc_status file_read_bounded(const char *path, size_t most, FileView *out, char *message);
/* The same, but of a regular file above `most` bytes nothing is read yet: `data` is zero until
 * file_view_need asks for it. */
dlc_status file_view_open_partly(const char *path, size_t most, FileView *out, char *message);
bool file_view_is_partial(const FileView *view);
/* Brings bytes [at, at + size) of the file, cut to its size, into `data`. DLC_ERROR_IO when the
 * file has become shorter; nothing to do for a view that was read whole. */
dlc_status file_view_need(FileView *view, const char *path, size_t at, size_t size, char *message);
/* Reads those bytes of a partial view, all of them within the file, to `to`; keeps nothing. Any
 * number of threads at once. */
dlc_status file_view_read(const FileView *view, const char *path, size_t at, size_t size, void *to,
                          char *message);
void file_view_close(FileView *view); /* accepts a zeroed view */

/* Fills `message` with "cannot WHAT 'path': reason" of an errno; DLC_ERROR_IO, or OUT_OF_MEMORY. */
dlc_status file_fail(char *message, const char *what, const char *path, int error);

/* Writes the parts, one after another, as the file's whole content, and syncs it.
 * "-" and "/dev/stdout": standard output. Links are followed. A plain file is replaced by a rename,
 * with its owner and mode: a crash leaves the old one or the new one, and what a killed writer left
 * in the folder (".dlc-tmp-…") is removed. Written where it stands: what is no plain file (a
 * device, a pipe); a file with further names (hard links), which all see the new bytes; one whose
 * owner cannot be kept, or whose folder may not be written. */
dlc_status file_write(const char *path, const void *const *parts, const size_t *lengths,
                      int n_parts, char *message);
bool file_is_stdout(const char *path);

/* A file that several write at once, each its own bytes, and that replaces what stands at its path
 * when all have. Its room on the disk is taken first, so that a disk that is full is met before
 * anything is written. */
typedef struct FileMaking FileMaking;
/* *out NULL, and DLC_OK: it can only be written where it stands, by file_write. */
dlc_status file_making_begin(const char *path, uint64_t size, FileMaking **out, char *message);
int file_making_fd(const FileMaking *making); /* open for reading and writing */
/* Where others open it meanwhile; relative if the file's path is. */
const char *file_making_path(const FileMaking *making);
/* Syncs it and lets it take its name, or (not `keep`) removes it, as any failure does. *in_place:
 * it could not take its name, and is to be written by file_write. Ends `making`. */
dlc_status file_making_end(FileMaking *making, const char *path, bool keep, bool *in_place,
                           char *message);

/* A file that is written bit by bit (logs, traces): begins empty, "-" and links as above. Closing
 * tells of every write that failed before. */
FILE *file_stream_open(const char *path, char *message); /* NULL: see message */
dlc_status file_stream_close(FILE *stream, const char *path, char *message);

/* -- For folders that are written as a whole. 0, or an errno -- */

/* Creates `name` in the open folder, synced. EEXIST: there is one. */
int file_create(int folder, const char *name, const void *const *parts, const size_t *lengths,
                int n_parts);
/* The same of a file of `size` bytes, whose room is taken; *out: open for reading and writing. */
int file_create_sized(int folder, const char *name, uint64_t size, int *out);
/* All the bytes at that offset. */
int file_write_at(int fd, const void *data, size_t length, uint64_t at);
/* A number that no other file's name has, here or on another machine, but by rare chance. */
uint32_t file_token(void);
/* Until they are on the disk; what cannot be synced (a pipe) is no error. */
int file_sync(int fd);
/* An exclusive lock that ends with the descriptor, so also with the process. EWOULDBLOCK: another
 * has it. */
int file_lock(int fd);

#endif
