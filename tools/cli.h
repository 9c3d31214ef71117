/* Command lines for dlc and dlrun: options described by a table, which parses and prints the help.
 */
#ifndef DLC_TOOLS_CLI_H
#define DLC_TOOLS_CLI_H

#include "dlc/dlc.h"
#include <stdbool.h>
#include <stdio.h>

typedef enum CliKind {
    CLI_FLAG,   /* bool, set to true */
    CLI_CHOICE, /* const char *: "" for the name alone, else what follows "=" */
    CLI_TEXT,   /* const char * */
    CLI_INT,    /* int64_t, at least `minimum` */
    CLI_NUMBER, /* double */
    CLI_LIST    /* CliList, appended in order */
} CliKind;

enum { CLI_LIST_MAX = 64 };

typedef struct CliList {
    const char *items[CLI_LIST_MAX];
    size_t count;
} CliList;

typedef struct CliOption {
    const char *name;  /* "--steps" */
    const char *brief; /* "-D", or NULL */
    CliKind kind;
    size_t at; /* of its value in the struct that its table is for: offsetof */
    int64_t minimum;
    const char *value; /* how the help calls the value: "N" */
    const char *help;
} CliOption;

/* A table of options and the struct that they fill in. */
typedef struct CliGroup {
    const CliOption *options;
    size_t n_options;
    void *values;
} CliGroup;

enum { CLI_GROUPS = 5 };

typedef struct CliCommand {
    const char *program; /* "dlrun train": begins every message */
    const char *usage;   /* "dlrun train PLAN [options]" */
    const char *about;
    CliGroup groups[CLI_GROUPS]; /* as the help lists them; the rest zeroed */
} CliCommand;

/* Parses "--name value", "--name=value", "-Xvalue", "-X value"; what is left goes to positional (at
 * most `capacity`). Prints help and returns 0 on --help, prints a message and returns 2 on a
 * mistake; -1: go on. */
int cli_parse(const CliCommand *command, int argc, char **argv, const char **positional,
              size_t capacity, size_t *out_count);
void cli_help(const CliCommand *command, FILE *to);
/* "dlrun train: message"; returns 2, the exit status of a wrong command line. */
int cli_wrong(const CliCommand *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Splits "name=value" at the first '='; false if there is none or the name is empty. The name is
 * copied to `name` (capacity bytes), the value lent. */
bool cli_split(const char *text, char *name, size_t capacity, const char **out_value);
/* "name=integer" items as bindings; false after a message. Names point into static-sized storage in
 * `names`. */
typedef struct CliBindings {
    dlc_binding items[CLI_LIST_MAX];
    char names[CLI_LIST_MAX][64];
    size_t count;
} CliBindings;
bool cli_bindings(const CliCommand *command, const CliList *list, CliBindings *out);
/* Whether a file can be written there later, so that a long run need not find out at its end: the
 * folder exists and may be written, and what stands at the path is no folder. Else prints "program:
 * cannot write 'path': reason" and returns 1. */
int cli_writable(const CliCommand *command, const char *path);
/* Which of several processes speaks. */
typedef struct CliVoice {
    int64_t rank, ranks;
    /* Whether no other process has said this text; NULL: unknown. */
    bool (*is_first)(void *user, const char *text);
    void *user;
} CliVoice;
/* Of several processes that do the same work rank 0 speaks: what others note, or find wrong with
 * the command line, is not printed, and of their errors only what no other rank says. Once, at the
 * beginning. */
void cli_speak_as(CliVoice voice);
/* Prints "program: what: the context's last error" and returns 1. */
int cli_failed(const CliCommand *command, const dlc_context *context, dlc_status status);
/* Whether the file descriptor is a terminal that takes escape sequences (TERM is set, and not
 * "dumb"), and whether its user wants colours on it (NO_COLOR is empty; see no-color.org). */
bool cli_steers(int descriptor);
bool cli_colors(int descriptor);
/* nan without its sign, which printf would show. */
double cli_unsigned_nan(double value);
/* 1234567 as "1.23 M" and the like, into `text` of at least 32 bytes; returns text. */
const char *cli_amount(double value, const char *unit, char *text);
const char *cli_bytes(double value, char *text);      /* KiB, MiB, GiB */
const char *cli_duration(double seconds, char *text); /* "1:02:03", "4.2 s" */
/* Quoted and escaped as JSON wants it; what is no UTF-8 becomes U+FFFD. */
void cli_json_text(const char *text, FILE *to);
/* Every number in our JSON that may have a fraction; nan and infinities are null. */
void cli_json_number(double value, FILE *to);

/* Standard output as a file's name: "-" or "/dev/stdout"; NULL is none. */
bool cli_is_stdout(const char *path);
/* A log, written line by line; "-" is standard output. `append`: after the last whole line there
 * is. NULL after a message. */
FILE *cli_log_open(const CliCommand *command, const char *path, bool append);
/* Returns `code`, or 1 after a message when `code` is 0 and a write to it ever failed. */
int cli_log_close(const CliCommand *command, FILE *log, const char *path, int code);
/* First and last thing of each program: no file gets the number of a standard stream that is closed
 * …; and what went to standard output arrived, else a message and 1 in place of 0. */
void cli_begin(void);
int cli_end(const char *program, int code);
/* A log hook that writes to standard error. */
void cli_log(void *user, dlc_log_level level, const char *text);

#endif
