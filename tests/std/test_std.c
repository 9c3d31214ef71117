/* Every function of lang/std in small programs: values, first and second derivatives, update rules,
 * schedules.
 *   test_std [GROUP…] [--only CASE]   without arguments all groups
 *   test_std --coverage               that no function of the library is without a case */
#include "tests/std/model.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Group *const GROUPS[] = {&ACTIVATIONS, &ATTENTION, &BOXES_GROUP, &INITIALISERS,
                                      &LAYERS,      &LOSSES,    &NORMS,       &OPTIMIZERS,
                                      &POOLING,     &RECURRENT, &SCHEDULES,   &TRAINING};
enum { N_GROUPS = sizeof GROUPS / sizeof GROUPS[0] };

/* Whether some text of the tables has the name, followed by no letter. */
static bool mentioned_in(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *at = strstr(text, name); at; at = strstr(at + 1, name)) {
        bool starts = at == text || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');
        if (starts && !isalnum((unsigned char)at[length]) && at[length] != '_') {
            return true;
        }
    }
    return false;
}

static bool mentioned(const char *name) {
    for (int g = 0; g < N_GROUPS; g++) {
        for (size_t i = 0; i < GROUPS[g]->count; i++) {
            if (mentioned_in(GROUPS[g]->cases[i].body, name)) {
                return true;
            }
        }
    }
    return false;
}

/* Functions that others of the library call, and that no user needs by itself. */
static bool internal(const char *name) {
    static const char *const NAMES[] = {"number",   "progress", "update_number", "bias_correction",
                                        "fan_in",   "fan_out",  "channel_bias",  "lstm_pass",
                                        "gru_pass", "rnn_pass"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (!strcmp(NAMES[i], name)) {
            return true;
        }
    }
    return false;
}

/* Update rules and schedules have tables of their own, each entry of which bears the name. */
static int check_file(const char *path) {
    FILE *file = fopen(path, "r");
    char line[1024], name[128];
    int missing = 0;
    while (file && fgets(line, sizeof line, file)) {
        if ((sscanf(line, "fn %127[a-z0-9_]", name) == 1 ||
             sscanf(line, "optimizer %127[a-z0-9_]", name) == 1) &&
            !mentioned(name) && !internal(name)) {
            printf("FAILED no case has '%s' of %s\n", name, path);
            missing++;
        }
    }
    if (file) {
        fclose(file);
    }
    return missing;
}

static int check_coverage(void) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s/lang/std", root ? root : ".");
    DIR *directory = opendir(folder);
    int missing = directory ? 0 : 1;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && !strcmp(dot, ".dl")) {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            missing += check_file(path);
        }
    }
    if (directory) {
        closedir(directory);
    }
    return missing;
}

static int run_group(const Group *group, const char *only) {
    int failed = 0, ran = 0;
    for (size_t i = 0; i < group->count; i++) {
        const Case *one = &group->cases[i];
        if ((!only || !strcmp(only, one->name)) && one->inputs) {
            failed += !case_check(one);
            ran++;
        }
    }
    if (group->more && !only) {
        failed += !group->more();
        ran++;
    }
    printf("%s: %d of %d right\n", group->name, ran - failed, ran);
    fflush(stdout);
    return failed;
}

int main(int argc, char **argv) {
    const char *only = NULL;
    int failed = 0, chosen = 0;
    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--only")) {
            only = argv[i + 1];
        }
    }
    for (int g = 0; g < N_GROUPS; g++) {
        bool wanted = false;
        for (int i = 1; i < argc; i++) {
            wanted |= !strcmp(argv[i], GROUPS[g]->name);
        }
        if (wanted) {
            failed += run_group(GROUPS[g], only);
            chosen++;
        }
    }
    if (chosen == 0) {
        failed += only ? 0 : check_coverage();
        for (int g = 0; g < N_GROUPS && (argc < 2 || only); g++) {
            failed += run_group(GROUPS[g], only);
        }
    }
    return failed ? 1 : 0;
}
