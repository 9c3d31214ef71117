/* See journals.h. */
#include "tools/journals.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char ENDING[] = ".journals";

/* Whether there may be a new folder beside `path`: a rank's journal takes less than a megabyte. */
static bool has_room_beside(const char *path) {
    enum { LEAST_BYTES = 4 << 20 };
    char parent[JOURNALS_PATH_BYTES];
    struct statvfs disk;
    const char *slash = strrchr(path, '/');
    int n = slash ? snprintf(parent, sizeof(parent), "%.*s/", (int)(slash - path), path)
                  : snprintf(parent, sizeof(parent), ".");
    return n > 0 && n < (int)sizeof(parent) && access(parent, W_OK | X_OK) == 0 &&
           statvfs(parent, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize >= (uint64_t)LEAST_BYTES;
}

void journals_choose(Journals *journals, const char *asked, const char *kept, bool of_many) {
    *journals = (Journals){.folder = asked && strcmp(asked, "none") != 0 ? asked : NULL};
    size_t length = kept ? strlen(kept) : 0;
    while (length > 1 && kept[length - 1] == '/') {
        length--;
    }
    if (asked || !of_many || length == 0 || length + sizeof(ENDING) > sizeof(journals->room)) {
        return;
    }
    memcpy(journals->room, kept, length);
    memcpy(journals->room + length, ENDING, sizeof(ENDING));
    if (has_room_beside(journals->room)) {
        journals->folder = journals->room;
        journals->is_ours = true;
    }
}

/* The rank whose journal the file is by its name; -1: it is none. */
static int64_t rank_of(const char *name) {
    int64_t rank = -1;
    int length = 0;
    bool fits = sscanf(name, "rank-%" SCNd64 ".journal%n", &rank, &length) == 1;
    return fits && length > 0 && name[length] == '\0' ? rank : -1;
}

void journals_end(const Journals *journals, bool well, int64_t first, int64_t count) {
    DIR *folder = journals->is_ours && well ? opendir(journals->folder) : NULL;
    struct dirent *item;
    while (folder && (item = readdir(folder)) != NULL) {
        int64_t rank = rank_of(item->d_name);
        bool is_own = rank >= first && rank < first + count;
        if (rank >= 0 && (is_own || first == 0)) {
            (void)unlinkat(dirfd(folder), item->d_name, 0);
        }
    }
    if (folder) {
        closedir(folder);
        (void)rmdir(journals->folder); /* by the last one */
    }
}

void journals_list(void) {
    DIR *here = opendir(".");
    struct dirent *item;
    while (here && (item = readdir(here)) != NULL) {
        size_t length = strlen(item->d_name), n = sizeof(ENDING) - 1;
        if (length > n && strcmp(item->d_name + length - n, ENDING) == 0) {
            fprintf(stderr, "  dlrun explain-hang %s\n", item->d_name);
        }
    }
    if (here) {
        closedir(here);
    }
}
