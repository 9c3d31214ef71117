/* A build tool: writes the standard library's files as a C table (lang/std.h).
 *     embed OUTPUT.c FILE.dl … */
#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int write_text(FILE *out, const char *path, int index, long *out_length) {
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return 1;
    }
    fprintf(out, "static const char text_%d[] = {", index);
    long length = 0;
    for (int c = getc(in); c != EOF; c = getc(in)) {
        fprintf(out, "%s%d,", length % 24 == 0 ? "\n    " : "", c < 128 ? c : c - 256);
        length++;
    }
    fprintf(out, "\n    0};\n");
    *out_length = length;
    return fclose(in) != 0;
}

int main(int argc, char **argv) {
    enum { MAX_FILES = 64 };
    long lengths[MAX_FILES];
    if (argc < 2 || argc - 2 > MAX_FILES) {
        fprintf(stderr, "usage: embed OUTPUT.c FILE.dl …\n");
        return 2;
    }
    FILE *out = fopen(argv[1], "w");
    if (!out) {
        perror(argv[1]);
        return 1;
    }
    fprintf(out, "/* Made by lang/embed.c from lang/std. */\n#include \"lang/std.h\"\n\n");
    for (int i = 2; i < argc; i++) {
        if (write_text(out, argv[i], i - 2, &lengths[i - 2])) {
            fclose(out);
            return 1;
        }
    }
    fprintf(out, "\nconst StdFile STD_FILES[] = {\n");
    for (int i = 2; i < argc; i++) {
        fprintf(out, "    {\"std/%s\", text_%d, %ld},\n", base_name(argv[i]), i - 2,
                lengths[i - 2]);
    }
    fprintf(out, "};\nconst size_t STD_FILE_COUNT = %d;\n", argc - 2);
    return fclose(out) != 0;
}
