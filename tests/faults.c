/* Preloaded into a process, counts its writes, fsyncs, renames, truncations, new folders and removals below one
 * folder, and at the n-th kills it (SIGKILL; a write is half done by then) or lets that one and all later writes
 * fail as on a full disk.
 *
 * faults_arm(folder, n, full): n = 0 only counts. faults_count(): how many there were.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
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
static int full;

void faults_arm(const char *path, long n, int disk_is_full) {
  snprintf(folder, sizeof folder, "%s", path);
  target = n, full = disk_is_full;
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

/* 0: go on; 1: this is the one to die at; -1: the disk is full. */
static int due(void) {
  long n = atomic_fetch_add(&count, 1) + 1;
  if (!target || n < target) return 0;
  if (full) return errno = ENOSPC, -1;
  return n == target;
}

/* For what a full disk still does: rename, truncate, make and remove names. */
static int dies(void) { return !full && due() > 0; }

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
    if (below_fd(fd) && dies()) die(); \
    return real(fd, length); \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define ON_PATH(symbol) \
  int symbol(const char *path) { \
    REAL(int, #symbol, const char *); \
    if (below(path) && dies()) die(); \
    return real(path); \
  }
ON_PATH(unlink)
ON_PATH(rmdir)

int unlinkat(int fd, const char *name, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  if ((name[0] == '/' ? below(name) : below_fd(fd)) && dies()) die();
  return real(fd, name, flags);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  if (below(path) && dies()) die();
  return real(path, mode);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (below(to) && dies()) die();
  return real(from, to);
}
