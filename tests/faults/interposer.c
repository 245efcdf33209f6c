/* Fails one call of a process to the operating system, for the tests of faults.
 *
 * Loaded by LD_PRELOAD. Counts the calls that change or read files below FAULT_ROOT; call number FAULT_AT
 * fails with errno FAULT_ERRNO, and with FAULT_STAYS=1 all later ones that write fail, too. At the end of the
 * process the count is written to FAULT_COUNT.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static atomic_int failed;

static int below_root(const char *path) {
  const char *root = getenv("FAULT_ROOT");
  if (!root || !path) return 0;
  if (path[0] == '/') return strncmp(path, root, strlen(root)) == 0;
  char folder[PATH_MAX];
  return getcwd(folder, sizeof folder) && strncmp(folder, root, strlen(root)) == 0;
}

static int of_root(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return below_root(path);
}

static long number(const char *name) {
  const char *value = getenv(name);
  return value ? atol(value) : 0;
}

/* Whether this call is to fail; it counts. */
static int strikes(int writes) {
  int before = errno;
  long call = atomic_fetch_add(&calls, 1) + 1;
  int strike = call == number("FAULT_AT") || (writes && atomic_load(&failed) && number("FAULT_STAYS"));
  errno = before;
  if (strike) {
    atomic_store(&failed, 1);
    errno = (int)number("FAULT_ERRNO");
  }
  return strike;
}

__attribute__((destructor)) static void report(void) {
  const char *name = getenv("FAULT_COUNT");
  FILE *file = name ? fopen(name, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld %d\n", atomic_load(&calls), atomic_load(&failed));
  fclose(file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name, parameters, ...)                                  \
  int name parameters {                                              \
    mode_t mode = 0;                                                 \
    if (flags & O_CREAT) {                                           \
      va_list list;                                                  \
      va_start(list, flags);                                         \
      mode = va_arg(list, mode_t);                                   \
      va_end(list);                                                  \
    }                                                                \
    if (below_root(path) && strikes(flags & O_CREAT)) return -1;     \
    return REAL(name)(__VA_ARGS__, mode);                            \
  }

OPEN(open, (const char *path, int flags, ...), path, flags)
OPEN(open64, (const char *path, int flags, ...), path, flags)
OPEN(openat, (int folder, const char *path, int flags, ...), folder, path, flags)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, path, flags)

#define OF_FD(type, name, parameters, arguments, writes)             \
  type name parameters {                                             \
    if (of_root(fd) && strikes(writes)) return -1;                   \
    return REAL(name) arguments;                                     \
  }

OF_FD(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size), 0)
OF_FD(ssize_t, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), 0)
OF_FD(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), 0)
OF_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), 1)
OF_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), 1)
OF_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), 1)
OF_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), 1)
OF_FD(int, fsync, (int fd), (fd), 1)
OF_FD(int, fdatasync, (int fd), (fd), 1)
OF_FD(int, ftruncate, (int fd, off_t size), (fd, size), 1)
OF_FD(int, ftruncate64, (int fd, off64_t size), (fd, size), 1)

#define OF_PATH(name, parameters, arguments)                         \
  int name parameters {                                              \
    if (below_root(path) && strikes(1)) return -1;                   \
    return REAL(name) arguments;                                     \
  }

OF_PATH(rename, (const char *path, const char *to), (path, to))
OF_PATH(renameat, (int from, const char *path, int folder, const char *to), (from, path, folder, to))
OF_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
OF_PATH(unlink, (const char *path), (path))
OF_PATH(rmdir, (const char *path), (path))
