/* A library to preload, by which one of the system calls that a process makes fails: the Nth of those that concern what
   is below its working directory. fail_calls.py says which. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[4096], made[1 << 17];
static int counting, count, failing, error;

/* Begin to count; the call with this number, from 0, is to fail with this error. */
void fail_call(const char *below, int number, int with)
{
    snprintf(folder, sizeof folder, "%s/", below);
    counting = 1, failing = number, error = with;
}

/* The calls so far, a line each: a name and a path. */
const char *calls_made(void)
{
    counting = 0;
    return made;
}

static int fails(const char *name, const char *path, int descriptor)
{
    char link[64], found[4096] = "";
    int before = errno;
    if (!counting)
        return 0;
    if (path == NULL && descriptor >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        long length = syscall(SYS_readlink, link, found, sizeof found - 1);
        found[length > 0 ? length : 0] = 0;
        path = found[0] == '/' ? found : NULL;
    }
    errno = before;
    int length = strlen(folder);
    if (path == NULL || !strncmp(path, "../", 3) || (path[0] == '/' && strncmp(path, folder, length)) || !path[0])
        return 0;
    if (path[0] == '/')
        path += length;
    int number = __sync_fetch_and_add(&count, 1);
    size_t used = strlen(made);
    snprintf(made + used, sizeof made - used, "%s %s\n", name, path);
    if (number != failing)
        return 0;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CALL(type, name, parameters, arguments, path, descriptor) \
    type name parameters { return fails(#name, path, descriptor) ? -1 : REAL(name) arguments; }
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; va_list rest; va_start(rest, flags); \
        if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(rest, mode_t); \
        va_end(rest); \
        return fails("open", path, -1) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); }
#define CONTROL(name) \
    int name(int descriptor, int command, ...) { \
        va_list rest; va_start(rest, command); long argument = va_arg(rest, long); va_end(rest); \
        return fails("fcntl", NULL, descriptor) ? -1 : (int)syscall(SYS_fcntl, descriptor, command, argument); }

OPEN(open)
OPEN(open64)
CONTROL(fcntl)
CONTROL(fcntl64)

/* Even where closing reports an error, the descriptor is closed. */
int close(int descriptor)
{
    int failed = fails("close", NULL, descriptor), with = errno;
    int result = syscall(SYS_close, descriptor);
    errno = failed ? with : errno;
    return failed ? -1 : result;
}

CALL(ssize_t, read, (int d, void *b, size_t n), (d, b, n), NULL, d)
CALL(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), NULL, d)
CALL(int, fsync, (int d), (d), NULL, d)
CALL(int, flock, (int d, int operation), (d, operation), NULL, d)
CALL(int, dup, (int d), (d), NULL, d)
CALL(int, fchmod, (int d, mode_t mode), (d, mode), NULL, d)
CALL(off_t, lseek, (int d, off_t offset, int whence), (d, offset, whence), NULL, d)
CALL(off64_t, lseek64, (int d, off64_t offset, int whence), (d, offset, whence), NULL, d)
CALL(int, fstat, (int d, struct stat *s), (d, s), NULL, d)
CALL(int, fstat64, (int d, struct stat64 *s), (d, s), NULL, d)
CALL(int, stat, (const char *path, struct stat *s), (path, s), path, -1)
CALL(int, stat64, (const char *path, struct stat64 *s), (path, s), path, -1)
CALL(int, lstat, (const char *path, struct stat *s), (path, s), path, -1)
CALL(int, lstat64, (const char *path, struct stat64 *s), (path, s), path, -1)
CALL(int, statx, (int d, const char *path, int flags, unsigned mask, struct statx *s), (d, path, flags, mask, s), path, -1)
CALL(ssize_t, readlink, (const char *path, char *b, size_t n), (path, b, n), path, -1)
CALL(int, rename, (const char *path, const char *to), (path, to), path, -1)
CALL(int, unlink, (const char *path), (path), path, -1)
CALL(int, rmdir, (const char *path), (path), path, -1)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), path, -1)
