/* The stand-in's ODBC driver: the SQLite ODBC driver, with a SQL Anywhere way of connecting.
 *
 * Compiled by driver.py with PYTHON, PROGRAM, HOME_VARIABLE and DRIVER (strings), and linked with that driver,
 * where unixODBC's dlsym finds every function that is not here. Connecting asks odbc.py, which logs in to the
 * engine, and then opens the engine's working files under the names of their owners, read-only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

typedef short Return;
typedef unsigned char Char;
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef struct sqlite3_stmt sqlite3_stmt;

int sqlite3_exec(sqlite3 *, const char *, void *, void *, char **);
int sqlite3_set_authorizer(sqlite3 *,
                           int (*)(void *, int, const char *, const char *, const char *, const char *), void *);
int sqlite3_create_function(sqlite3 *, const char *, int, int, void *,
                            void (*)(sqlite3_context *, int, sqlite3_value **), void *, void *);
sqlite3 *sqlite3_context_db_handle(sqlite3_context *);
int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, void (*)(void *));
int sqlite3_step(sqlite3_stmt *);
int sqlite3_finalize(sqlite3_stmt *);
const unsigned char *sqlite3_column_text(sqlite3_stmt *, int);
const unsigned char *sqlite3_value_text(sqlite3_value *);
void sqlite3_result_text(sqlite3_context *, const char *, int, void (*)(void *));

enum { OK = 0, ERROR = -1, NO_DATA = 100, ROW = 100, READ = 20, DENY = 1, UTF8 = 1 };
#define TRANSIENT ((void (*)(void *)) - 1)

/* Between SQLDriverConnect and the extension's start, which run on one thread. */
static __thread struct { const char *script; int may_read; int done; char version[16]; } now;

/* Why the last connection of a handle was refused. */
static struct { void *handle; char state[6]; int native; char text[400]; } refused[64];
static int next_refused;
static char version_told[16] = "17.00.0000";

static void *real(const char *name) {
    static void *driver;
    if (!driver) driver = dlopen(DRIVER, RTLD_NOW | RTLD_LOCAL);
    return driver ? dlsym(driver, name) : NULL;
}

/* The install folder: all of a version share this library, see driver.py. */
static const char *home(void) {
    static __thread char found[4096];
    const char *folder = getenv(HOME_VARIABLE), *odbc = getenv("ODBCSYSINI");
    if (folder) snprintf(found, sizeof found, "%s", folder);
    else snprintf(found, sizeof found, "%s/..", odbc ? odbc : ".");
    return found;
}

/* Run odbc.py: the connection string goes in by a pipe, never by an argument. */
static char *ask(const char *text, size_t length) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) return NULL;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    char *arguments[] = {PYTHON, "-I", "-S", PROGRAM, "odbc", (char *)home(), NULL};
    extern char **environ;
    pid_t child;
    int failed = posix_spawn(&child, PYTHON, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    char *answer = NULL;
    if (!failed) {
        if (write(in[1], text, length) < 0) failed = 1;
        close(in[1]);
        size_t size = 1 << 16, used = 0;
        answer = malloc(size);
        ssize_t got;
        while ((got = read(out[0], answer + used, size - used - 1)) > 0) used += (size_t)got;
        answer[used] = 0;
        waitpid(child, NULL, 0);
    } else
        close(in[1]);
    close(out[0]);
    return answer;
}

static char *line(char **rest) {
    char *start = *rest, *end = strchr(start, '\n');
    if (end) *end = 0, *rest = end + 1;
    else *rest = start + strlen(start);
    return start;
}

static Return refuse(void *handle, const char *state, int native, const char *text) {
    int at = next_refused++ % 64;
    for (int i = 0; i < 64; i++)
        if (refused[i].handle == handle) refused[i].handle = NULL;
    refused[at].handle = handle;
    refused[at].native = native;
    snprintf(refused[at].state, sizeof refused[at].state, "%s", state);
    snprintf(refused[at].text, sizeof refused[at].text, "[SAP][ODBC Driver][SQL Anywhere]%s", text);
    return ERROR;
}

Return SQLDriverConnect(void *handle, void *window, Char *in, short length, Char *out, short size, short *told,
                        unsigned short completion) {
    Return (*connect)(void *, void *, Char *, short, Char *, short, short *, unsigned short) =
        real("SQLDriverConnect");
    Dl_info self;
    if (!connect || !dladdr((void *)SQLDriverConnect, &self)) return refuse(handle, "IM004", 0, "no SQLite driver");
    char *answer = ask((char *)in, length < 0 ? strlen((char *)in) : (size_t)length), *rest = answer;
    if (!answer || !*answer) return refuse(handle, "HY000", 0, "the helper did not answer");
    Return result;
    if (!strcmp(line(&rest), "OK")) {
        now.may_read = *line(&rest) == '1';
        snprintf(version_told, sizeof version_told, "%s", line(&rest));
        now.script = rest;
        now.done = 0;
        char string[4200];
        snprintf(string, sizeof string, "Database=:memory:;StepAPI=0;BigInt=1;Timeout=60000;LoadExt=%s", self.dli_fname);
        result = connect(handle, window, (Char *)string, -3, out, size, told, completion);
        if ((result == 0 || result == 1) && !now.done) result = refuse(handle, "08001", -83, "cannot attach");
    } else {
        char *state = line(&rest), *native = line(&rest);
        result = refuse(handle, state, atoi(native), line(&rest));
    }
    free(answer);
    return result;
}

/* The SQLite driver gives one SQLSTATE for everything; SQL Anywhere's are told apart. */
static void translate(Char *state, int *native, Char *text, short size) {
    const char *found = (const char *)text, *new = NULL;
    int code = 0;
    if (!state || !text) return;
    if (strstr(found, "is prohibited") || strstr(found, "not authorized")) {
        new = "42000", code = -121;
        snprintf((char *)text, (size_t)size, "[SAP][ODBC Driver][SQL Anywhere]Permission denied: select");
    } else if (strstr(found, "no such table"))
        new = "42S02", code = -141;
    else if (strstr(found, "readonly database"))
        new = "42000", code = -757;
    else if (strstr(found, "syntax error") || strstr(found, "no such"))
        new = "42000", code = -131;
    if (!new) return;
    memcpy(state, new, 6);
    if (native) *native = code;
}

static int refusal(void *handle, Char *state, int *native, Char *text, short size, short *told) {
    for (int i = 0; i < 64; i++) {
        if (!handle || refused[i].handle != handle) continue;
        if (state) memcpy(state, refused[i].state, 6);
        if (native) *native = refused[i].native;
        if (text && size > 0) snprintf((char *)text, (size_t)size, "%s", refused[i].text);
        if (told) *told = (short)strlen(refused[i].text);
        return i;
    }
    return -1;
}

Return SQLGetDiagRec(short type, void *handle, short number, Char *state, int *native, Char *text, short size,
                     short *told) {
    if (type == 2 && refusal(handle, state, native, text, size, told) >= 0) return number == 1 ? OK : NO_DATA;
    Return (*get)(short, void *, short, Char *, int *, Char *, short, short *) = real("SQLGetDiagRec");
    Return result = get(type, handle, number, state, native, text, size, told);
    if (result == 0 || result == 1) translate(state, native, text, size);
    return result;
}

Return SQLError(void *environment, void *connection, void *statement, Char *state, int *native, Char *text,
                short size, short *told) {
    int at = statement ? -1 : refusal(connection, state, native, text, size, told);
    if (at >= 0) {
        refused[at].handle = NULL;
        return OK;
    }
    Return (*get)(void *, void *, void *, Char *, int *, Char *, short, short *) = real("SQLError");
    Return result = get(environment, connection, statement, state, native, text, size, told);
    if (result == 0 || result == 1) translate(state, native, text, size);
    return result;
}

/* A handle that connects again has no old refusal. */
Return SQLFreeHandle(short type, void *handle) {
    for (int i = 0; i < 64; i++)
        if (refused[i].handle == handle) refused[i].handle = NULL;
    Return (*release)(short, void *) = real("SQLFreeHandle");
    return release(type, handle);
}

Return SQLFreeConnect(void *handle) {
    for (int i = 0; i < 64; i++)
        if (refused[i].handle == handle) refused[i].handle = NULL;
    Return (*release)(void *) = real("SQLFreeConnect");
    return release(handle);
}

Return SQLGetInfo(void *handle, unsigned short what, void *value, short size, short *told) {
    const char *mine = what == 17 ? "SQL Anywhere" : what == 18 ? version_told : NULL;
    if (mine) {
        if (value && size > 0) snprintf(value, (size_t)size, "%s", mine);
        if (told) *told = (short)strlen(mine);
        return OK;
    }
    Return (*get)(void *, unsigned short, void *, short, short *) = real("SQLGetInfo");
    return get(handle, what, value, size, told);
}

/* The extension: loaded by the SQLite driver into the connection that it just opened. */

static int authorize(void *none, int action, const char *table, const char *column, const char *database,
                     const char *inner) {
    (void)none, (void)table, (void)column, (void)inner;
    if (action != READ || !database) return OK;
    return strcmp(database, "SYS") && strcmp(database, "main") && strcmp(database, "temp") ? DENY : OK;
}

static void property(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    sqlite3_stmt *query;
    const char *sql = "SELECT value FROM SYS.standin_property WHERE name = ?";
    if (sqlite3_prepare_v2(sqlite3_context_db_handle(context), sql, -1, &query, NULL)) return;
    sqlite3_bind_text(query, 1, (const char *)sqlite3_value_text(values[0]), -1, TRANSIENT);
    if (sqlite3_step(query) == ROW)
        sqlite3_result_text(context, (const char *)sqlite3_column_text(query, 0), -1, TRANSIENT);
    sqlite3_finalize(query);
}

int sqlite3_extension_init(sqlite3 *database, char **message, const void *functions) {
    (void)message, (void)functions;
    if (!now.script || sqlite3_exec(database, now.script, NULL, NULL, NULL)) return ERROR;
    sqlite3_create_function(database, "DB_PROPERTY", 1, UTF8, NULL, property, NULL, NULL);
    if (!now.may_read) sqlite3_set_authorizer(database, authorize, NULL);
    now.script = NULL;
    now.done = 1;
    return OK;
}
