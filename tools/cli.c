/* Command lines: table-driven parsing and the small texts that both programs print. */
#include "tools/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static CliVoice own_voice = {.ranks = 1};

void cli_speak_as(CliVoice voice) {
    own_voice = voice;
}

int cli_wrong(const CliCommand *command, const char *format, ...) {
    va_list args;
    if (own_voice.rank != 0) {
        return 2; /* rank 0 has the same command line */
    }
    va_start(args, format);
    fprintf(stderr, "%s: ", command->program);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nUsage: %s\n", command->usage);
    va_end(args);
    return 2;
}

/* Option `i` of all groups, NULL past the last, and where its value goes. */
static const CliOption *option_at(const CliCommand *command, size_t i, void **out) {
    for (size_t g = 0; g < CLI_GROUPS; g++) {
        const CliGroup *group = &command->groups[g];
        if (i < group->n_options) {
            *out = (char *)group->values + group->options[i].at;
            return &group->options[i];
        }
        i -= group->n_options;
    }
    return NULL;
}

void cli_help(const CliCommand *command, FILE *to) {
    const CliOption *option;
    void *value;
    fprintf(to, "Usage: %s\n\n%s\n\nOptions:\n", command->usage, command->about);
    for (size_t i = 0; (option = option_at(command, i, &value)) != NULL; i++) {
        char left[64];
        const char *between = !option->value ? "" : option->kind == CLI_CHOICE ? "[=" : " ";
        snprintf(left, sizeof left, "%s%s%s%s%s%s", option->brief ? option->brief : "",
                 option->brief ? ", " : "", option->name, between,
                 option->value ? option->value : "", option->kind == CLI_CHOICE ? "]" : "");
        fprintf(to, "  %-28s %s\n", left, option->help);
    }
    fprintf(to, "  %-28s %s\n", "--help", "this text");
}

/* Letters that differ, position by position, plus the difference in length: enough for a hint. */
static size_t rough_distance(const char *a, const char *b) {
    size_t distance = 0;
    while (*a && *b) {
        if (*a == *b) {
            a++;
            b++;
        } else if (a[1] && a[1] == *b) {
            a++;
            distance++;
        } else if (b[1] && b[1] == *a) {
            b++;
            distance++;
        } else {
            a++;
            b++;
            distance++;
        }
    }
    return distance + strlen(a) + strlen(b);
}

static int unknown_option(const CliCommand *command, const char *given) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(given, "="), given);
    const CliOption *option, *best = NULL;
    void *value;
    size_t best_distance = 3;
    for (size_t i = 0; (option = option_at(command, i, &value)) != NULL; i++) {
        size_t distance = rough_distance(name, option->name);
        if (distance < best_distance) {
            best_distance = distance;
            best = option;
        }
    }
    return best ? cli_wrong(command, "unknown option %s; did you mean %s?", name, best->name)
                : cli_wrong(command, "unknown option %s; see --help", name);
}

static int store_value(const CliCommand *command, const CliOption *option, const char *value,
                       void *out) {
    char *end = NULL;
    errno = 0;
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)out = true;
        return -1;
    case CLI_CHOICE:
        *(const char **)out = value ? value : "";
        return -1;
    case CLI_TEXT:
        *(const char **)out = value;
        return -1;
    case CLI_INT: {
        long long number = strtoll(value, &end, 10);
        if (errno || end == value || *end || number < option->minimum) {
            return cli_wrong(command, "%s takes a whole number of at least %lld, not '%s'",
                             option->name, (long long)option->minimum, value);
        }
        *(int64_t *)out = number;
        return -1;
    }
    case CLI_NUMBER: {
        double number = strtod(value, &end);
        if (end == value || *end || !isfinite(number)) {
            return cli_wrong(command, "%s takes a number, not '%s'", option->name, value);
        }
        *(double *)out = number;
        return -1;
    }
    case CLI_LIST: {
        CliList *list = out;
        if (list->count == CLI_LIST_MAX) {
            return cli_wrong(command, "%s is given more than %d times", option->name, CLI_LIST_MAX);
        }
        list->items[list->count++] = value;
        return -1;
    }
    }
    return -1;
}

/* The option that `text` names, its value if it holds one, and where that goes. */
static const CliOption *find_option(const CliCommand *command, const char *text,
                                    const char **out_value, void **out) {
    const CliOption *option;
    size_t length = strcspn(text, "=");
    for (size_t i = 0; (option = option_at(command, i, out)) != NULL; i++) {
        if (strlen(option->name) == length && !strncmp(option->name, text, length)) {
            *out_value = text[length] == '=' ? text + length + 1 : NULL;
            return option;
        }
        if (option->brief && text[1] != '-' && !strncmp(text, option->brief, 2)) {
            *out_value = text[2] ? text + 2 : NULL;
            return option;
        }
    }
    return NULL;
}

int cli_parse(const CliCommand *command, int argc, char **argv, const char **positional,
              size_t capacity, size_t *out_count) {
    size_t count = 0;
    bool only_positional = false;
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        if (only_positional || text[0] != '-' || text[1] == '\0') {
            if (count == capacity) {
                return cli_wrong(command, "unexpected '%s'", text);
            }
            positional[count++] = text;
            continue;
        }
        if (!strcmp(text, "--")) {
            only_positional = true;
            continue;
        }
        if (!strcmp(text, "--help") || !strcmp(text, "-h")) {
            cli_help(command, stdout);
            return 0;
        }
        const char *value = NULL;
        void *out = NULL;
        const CliOption *option = find_option(command, text, &value, &out);
        if (!option) {
            return unknown_option(command, text);
        }
        if (option->kind == CLI_FLAG && value) {
            return cli_wrong(command, "%s takes no value", option->name);
        }
        if (option->kind != CLI_FLAG && option->kind != CLI_CHOICE && !value) {
            if (i + 1 == argc) {
                return cli_wrong(command, "%s needs a value: %s", option->name, option->value);
            }
            value = argv[++i];
        }
        int status = store_value(command, option, value, out);
        if (status >= 0) {
            return status;
        }
    }
    *out_count = count;
    return -1;
}

bool cli_split(const char *text, char *name, size_t capacity, const char **out_value) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || (size_t)(equals - text) >= capacity) {
        return false;
    }
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    *out_value = equals + 1;
    return true;
}

bool cli_bindings(const CliCommand *command, const CliList *list, CliBindings *out) {
    out->count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *value = NULL;
        char *end = NULL;
        char *name = out->names[out->count];
        if (!cli_split(list->items[i], name, sizeof out->names[0], &value)) {
            cli_wrong(command, "-D takes name=number, not '%s'", list->items[i]);
            return false;
        }
        long long number = strtoll(value, &end, 10);
        if (end == value || *end || number < 0) {
            cli_wrong(command, "-D %s takes a whole number, not '%s'", name, value);
            return false;
        }
        out->items[out->count++] = (dlc_binding){.name = name, .value = number};
    }
    return true;
}

int cli_writable(const CliCommand *command, const char *path) {
    char folder[4096];
    struct stat info;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    int error = 0;
    if (cli_is_stdout(path)) {
        return 0;
    }
    if (stat(path, &info) == 0) {
        error = S_ISDIR(info.st_mode) ? EISDIR : access(path, W_OK) != 0 ? errno : 0;
    } else if (errno == ENOENT && lstat(path, &info) != 0 && length < sizeof folder) {
        /* A link without a target is followed when it is written. */
        snprintf(folder, sizeof folder, "%.*s", (int)length, slash ? path : "");
        error = access(slash ? folder : ".", W_OK | X_OK) != 0 ? errno : 0;
    } else if (errno != ENOENT) {
        error = errno;
    }
    if (error) {
        fprintf(stderr, "%s: cannot write '%s': %s\n", command->program, path, strerror(error));
    }
    return error ? 1 : 0;
}

/* What is said of another rank and by itself alike: without "rank 3 (host a): " and " (host a)". */
static void text_proper(const char *text, char *out, size_t n) {
    long long rank;
    int length = 0;
    const char *colon = sscanf(text, "rank %lld%n", &rank, &length) == 1 && text[length] == ':'
                            ? text + length
                            : NULL;
    snprintf(out, n, "%s", colon ? colon + 2 : text);
    char *host = strstr(out, " (host ");
    if (host && strchr(host, ')') == host + strlen(host) - 1) {
        *host = '\0';
    }
}

/* Whether this process is to tell an error: its own, or as the first that is left what another rank
 * ended of. */
static bool tells(dlc_status status, const char *text) {
    char proper[1024];
    long long from = -1;
    if (own_voice.ranks == 1) {
        return true;
    }
    if (own_voice.rank != 0 && (status == DLC_ERROR_FAULT || status == DLC_ERROR_NON_FINITE)) {
        return false; /* ranks agree on these */
    }
    if (own_voice.rank != 0 && strncmp(text, "ranks ", 6) == 0) {
        return false; /* as they do on what of theirs differs */
    }
    if (own_voice.rank != 0 && sscanf(text, "rank %lld", &from) == 1 && from != own_voice.rank &&
        (from != 0 || own_voice.rank != 1)) {
        return false;
    }
    text_proper(text, proper, sizeof proper);
    return !own_voice.is_first || own_voice.is_first(own_voice.user, proper);
}

int cli_failed(const CliCommand *command, const dlc_context *context, dlc_status status) {
    const char *text = context ? dlc_last_error(context) : "";
    text = text[0] ? text : dlc_status_text(status);
    if (!tells(status, text)) {
        return 1;
    }
    if (own_voice.rank != 0 && strncmp(text, "rank ", 5) != 0) {
        char host[64] = "?";
        gethostname(host, sizeof host - 1);
        fprintf(stderr, "%s: rank %lld (host %s): %s\n", command->program,
                (long long)own_voice.rank, host, text);
    } else {
        fprintf(stderr, "%s: %s\n", command->program, text);
    }
    return 1;
}

const char *cli_amount(double value, const char *unit, char *text) {
    static const char *const prefixes[] = {"", " k", " M", " G", " T", " P"};
    size_t at = 0;
    while (fabs(value) >= 1000 && at < 5) {
        value /= 1000;
        at++;
    }
    snprintf(text, 32, at == 0 ? "%.0f%s%s" : "%.2f%s%s", value,
             at == 0 && unit[0] ? " " : prefixes[at], unit);
    return text;
}

const char *cli_bytes(double value, char *text) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t at = 0;
    while (value >= 1024 && at < 4) {
        value /= 1024;
        at++;
    }
    snprintf(text, 32, at == 0 ? "%.0f %s" : "%.2f %s", value, units[at]);
    return text;
}

bool cli_steers(int descriptor) {
    const char *term = getenv("TERM");
    return isatty(descriptor) && term && *term && strcmp(term, "dumb") != 0;
}

bool cli_colors(int descriptor) {
    const char *unwanted = getenv("NO_COLOR");
    return cli_steers(descriptor) && (!unwanted || !*unwanted);
}

double cli_unsigned_nan(double value) {
    return isnan(value) ? (double)NAN : value;
}

const char *cli_duration(double seconds, char *text) {
    if (seconds == 0) {
        snprintf(text, 32, "0 s");
    } else if (seconds < 1e-3) {
        snprintf(text, 32, "%.1f us", seconds * 1e6);
    } else if (seconds < 1) {
        snprintf(text, 32, "%.2f ms", seconds * 1e3);
    } else if (seconds < 60 || !(seconds < 1e15)) { /* also what is no number of seconds */
        snprintf(text, 32, "%.1f s", seconds);
    } else {
        long long whole = (long long)seconds;
        if (whole < 3600) {
            snprintf(text, 32, "%lld:%02lld", whole / 60, whole % 60);
        } else {
            snprintf(text, 32, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
        }
    }
    return text;
}

void cli_log(void *user, dlc_log_level level, const char *text) {
    (void)user;
    char prefix[32] = "";
    if (own_voice.rank != 0) {
        if (level != DLC_LOG_WARNING) {
            return;
        }
        snprintf(prefix, sizeof prefix, "rank %lld: ", (long long)own_voice.rank);
    }
    fprintf(stderr, "%s%s%s\n", prefix, level == DLC_LOG_WARNING ? "warning: " : "", text);
}

/* Bytes of the UTF-8 sequence that begins at `text`; 0: there is none. */
static int utf8_length(const unsigned char *text) {
    static const struct {
        unsigned char low, high, second_low, second_high;
        int length;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (text[0] < rows[i].low || text[0] > rows[i].high) {
            continue;
        }
        bool good = rows[i].length == 1 ||
                    (text[1] >= rows[i].second_low && text[1] <= rows[i].second_high);
        for (int k = 2; good && k < rows[i].length; k++) {
            good = text[k] >= 0x80 && text[k] <= 0xbf;
        }
        return good ? rows[i].length : 0;
    }
    return 0;
}

void cli_json_text(const char *text, FILE *to) {
    putc('"', to);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int length = utf8_length(at);
        if (*at == '"' || *at == '\\') {
            fprintf(to, "\\%c", *at);
        } else if (*at < 0x20) {
            fprintf(to, "\\u%04x", *at);
        } else if (length == 0) {
            fputs("\\ufffd", to);
        } else {
            fwrite(at, 1, (size_t)length, to);
        }
        at += length > 0 ? length : 1;
    }
    putc('"', to);
}

void cli_json_number(double value, FILE *to) {
    if (!isfinite(value)) {
        fputs("null", to);
    } else {
        bool whole = value == trunc(value) && fabs(value) < 1e15;
        fprintf(to, whole ? "%.0f" : "%.9g", value);
    }
}

/* -- Streams -- */

bool cli_is_stdout(const char *path) {
    return path && (!strcmp(path, "-") || !strcmp(path, "/dev/stdout"));
}

/* A killed run leaves half a line at the end. */
static void half_line_drop(int fd) {
    struct stat info;
    char last = '\n';
    off_t end = fstat(fd, &info) == 0 ? info.st_size : 0;
    off_t kept = end;
    while (kept > 0 && pread(fd, &last, 1, kept - 1) == 1 && last != '\n') {
        kept--;
    }
    if (kept < end && ftruncate(fd, kept) != 0) {
        return; /* the line stays as it is */
    }
}

FILE *cli_log_open(const CliCommand *command, const char *path, bool append) {
    int fd = -1;
    if (cli_is_stdout(path)) {
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    } else {
        struct stat info;
        bool has_lines = append && stat(path, &info) == 0 && S_ISREG(info.st_mode);
        fd = open(path,
                  O_CREAT | O_CLOEXEC | O_NOCTTY | (has_lines ? O_RDWR : O_WRONLY) |
                      (append ? O_APPEND : O_TRUNC),
                  0666);
        if (fd >= 0 && has_lines) {
            half_line_drop(fd);
        }
    }
    FILE *log = fd >= 0 ? fdopen(fd, append ? "a" : "w") : NULL;
    if (!log) {
        fprintf(stderr, "%s: cannot write '%s': %s\n", command->program, path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
    }
    return log;
}

static int stream_end(const char *program, FILE *stream, const char *name, int code) {
    errno = 0;
    bool failed = fflush(stream) != 0 || ferror(stream);
    int error = errno;
    if (fclose(stream) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    if (failed) {
        fprintf(stderr, "%s: cannot write %s%s%s\n", program, name, error ? ": " : "",
                error ? strerror(error) : "");
    }
    return failed && code == 0 ? 1 : code;
}

int cli_log_close(const CliCommand *command, FILE *log, const char *path, int code) {
    char name[512];
    snprintf(name, sizeof name, "'%.400s'", path);
    return stream_end(command->program, log, name, code);
}

void cli_begin(void) {
    (void)signal(SIGXFSZ, SIG_IGN); /* a file beyond the limit of its size is a write that fails */
    for (int fd = 0; fd <= 2; fd++) {
        /* Opened the wrong way round: reading or writing it fails as it did when it was closed. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) {
            return;
        }
    }
}

int cli_end(const char *program, int code) {
    return stream_end(program, stdout, "to standard output", code);
}
