/* Preloaded into a process, counts its writes, fsyncs, renames, truncations, new folders and removals below one
 * folder, and at the n-th kills it (SIGKILL; a write is half done by then) or lets that one and all later ones
 * fail, as on a disk that is full or has turned read-only.
 *
 * faults_arm(folder, n, error): n = 0 only counts; error is what they fail with, 0 kills. faults_count(): how many
 * there were.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static atomic_long count;
static long target;
static int error;

void faults_arm(const char *path, long n, int fails_with) {
  snprintf(folder, sizeof folder, "%s", path);
  target = n, error = fails_with;
  atomic_store(&count, 0);
}
long faults_count(void) { return atomic_load(&count); }

static int below(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }

static int below_fd(int fd) {
  char link[64], path[PATH_MAX];
  if (!folder[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return below(path);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* 0: go on; 1: this is the one to die at; -1: it fails. */
static int due(void) {
  long n = atomic_fetch_add(&count, 1) + 1;
  if (!target || n < target) return 0;
  if (error) return errno = error, -1;
  return n == target;
}

/* Renames, truncates, makes or removes a name, which a full disk still does: whether it fails; or it is killed. */
static int fails(void) {
  int fault = error == ENOSPC ? 0 : due();
  if (fault > 0) die();
  return fault < 0;
}

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITE(symbol, offset_type) \
  ssize_t symbol(int fd, const void *data, size_t size, offset_type offset) { \
    REAL(ssize_t, #symbol, int, const void *, size_t, offset_type); \
    int fault = below_fd(fd) ? due() : 0; \
    if (fault < 0) return -1; \
    if (fault) { real(fd, data, size / 2, offset); die(); } \
    return real(fd, data, size, offset); \
  }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  int fault = below_fd(fd) ? due() : 0;
  if (fault < 0) return -1;
  if (fault) { real(fd, data, size / 2); die(); }
  return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  int fault = below_fd(fd) ? due() : 0;
  if (fault < 0) return -1;
  if (fault) { real(fd, parts, number / 2); die(); }
  return real(fd, parts, number);
}

#define ON_FD(symbol) \
  int symbol(int fd) { \
    REAL(int, #symbol, int); \
    int fault = below_fd(fd) ? due() : 0; \
    if (fault > 0) die(); \
    return fault < 0 ? -1 : real(fd); \
  }
ON_FD(fsync)
ON_FD(fdatasync)

#define TRUNCATE(symbol, length_type) \
  int symbol(int fd, length_type length) { \
    REAL(int, #symbol, int, length_type); \
    return below_fd(fd) && fails() ? -1 : real(fd, length); \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define ON_PATH(symbol) \
  int symbol(const char *path) { \
    REAL(int, #symbol, const char *); \
    return below(path) && fails() ? -1 : real(path); \
  }

/* To open a file for writing is a fault of its own on a disk that has turned read-only alone. */
static int is_refused(const char *path, int flags) {
  return error == EROFS && (flags & O_ACCMODE) != O_RDONLY && below(path) && fails();
}

#define OPEN(symbol) \
  int symbol(const char *path, int flags, ...) { \
    REAL(int, #symbol, const char *, int, ...); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    return is_refused(path, flags) ? -1 : real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

ON_PATH(unlink)
ON_PATH(rmdir)

int unlinkat(int fd, const char *name, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  return (name[0] == '/' ? below(name) : below_fd(fd)) && fails() ? -1 : real(fd, name, flags);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  return below(path) && fails() ? -1 : real(path, mode);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  return below(to) && fails() ? -1 : real(from, to);
}
