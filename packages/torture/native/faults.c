/*
 * A library that is loaded into the daemon before libc. It makes one call on the data file fail, and delays others. A mapped
 * file says which calls and how; src/kinds/fault-plan.ts writes it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault { NONE, FAIL, FULL, SHORT, DROP, LOSE };
enum call { WRITE = 1, META, GROW, SYNC, OPEN, TRUNCATE, COPY, CALLS };

struct plan {
  _Atomic uint32_t fault;
  uint32_t at;      /* the number of the call, from 1 */
  uint32_t only;    /* the kind of call that fails, or 0 for any */
  uint32_t lasting; /* whether all later calls of that kind fail too */
  _Atomic uint32_t seen;
  _Atomic uint32_t hit; /* the kind of the first call that failed */
  _Atomic uint32_t delay_ms[CALLS]; /* how long each kind of call waits before it does its work */
  _Atomic uint32_t begun[CALLS];    /* how many calls of each kind have begun */
};

static struct plan *plan;

__attribute__((constructor)) static void load(void) {
  const char *path = getenv("TORTURE_FAULTS");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) plan = mapped;
  close(fd);
}

static int is_data(const char *path) {
  const char *name = strrchr(path, '/');
  return strcmp(name ? name + 1 : path, "data.mdb") == 0;
}

static int is_data_file(int fd) {
  char link[32], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_data(path);
}

static void delay(enum call call) {
  atomic_fetch_add(&plan->begun[call], 1);
  uint32_t ms = atomic_load(&plan->delay_ms[call]);
  if (ms) usleep(1000 * ms);
}

/* Delays this call, and returns its fault. */
static enum fault meet(enum call call) {
  delay(call);
  uint32_t fault = atomic_load(&plan->fault);
  uint32_t number = atomic_fetch_add(&plan->seen, 1) + 1;
  if (fault == NONE || number < plan->at || (plan->only && call != plan->only)) return NONE;
  uint32_t none = 0;
  return atomic_compare_exchange_strong(&plan->hit, &none, call) || plan->lasting ? fault : NONE;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILURE(fault) (errno = (fault) == FULL ? ENOSPC : EIO, -1)

/* LMDB writes meta pages with O_DSYNC, and its other pages begin with their number. The daemon writes zeros to grow the file. */
static enum call kind(int fd, const void *bytes, size_t count) {
  static const char zeros[16];
  if (fcntl(fd, F_GETFL) & O_DSYNC) return META;
  return count >= sizeof zeros && memcmp(bytes, zeros, sizeof zeros) == 0 ? GROW : WRITE;
}

static ssize_t write_at(ssize_t (*real)(int, const void *, size_t, off64_t), int fd, const void *bytes, size_t count,
                        off64_t at) {
  enum fault fault = plan && is_data_file(fd) ? meet(kind(fd, bytes, count)) : NONE;
  if (fault == FAIL || fault == FULL) return FAILURE(fault);
  if (fault == LOSE) return count;
  return real(fd, bytes, fault == SHORT ? (count + 1) / 2 : count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  return write_at(REAL(pwrite64), fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  return write_at(REAL(pwrite64), fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  enum fault fault = plan && count > 0 && is_data_file(fd) ? meet(kind(fd, parts[0].iov_base, parts[0].iov_len)) : NONE;
  if (fault == FAIL || fault == FULL) return FAILURE(fault);
  if (fault == LOSE) {
    ssize_t bytes = 0;
    for (int part = 0; part < count; part++) bytes += parts[part].iov_len;
    return bytes;
  }
  return REAL(writev)(fd, parts, fault == SHORT ? (count + 1) / 2 : count);
}

static int flush(int (*real)(int), int fd) {
  enum fault fault = plan && is_data_file(fd) ? meet(SYNC) : NONE;
  if (fault == DROP) return 0;
  return fault == NONE || fault == LOSE ? real(fd) : FAILURE(fault);
}

int fdatasync(int fd) { return flush(REAL(fdatasync), fd); }

int fsync(int fd) { return flush(REAL(fsync), fd); }

static int truncate_file(int (*real)(int, off64_t), int fd, off64_t bytes) {
  if (plan && is_data_file(fd)) delay(TRUNCATE);
  return real(fd, bytes);
}

int ftruncate64(int fd, off64_t bytes) { return truncate_file(REAL(ftruncate64), fd, bytes); }

int ftruncate(int fd, off_t bytes) { return truncate_file(REAL(ftruncate64), fd, bytes); }

/* Only LMDB's copy for a backup is written with it: to a file of the same name in another folder. */
ssize_t write(int fd, const void *bytes, size_t count) {
  if (plan && fd > 2 && atomic_load(&plan->delay_ms[COPY]) && is_data_file(fd)) delay(COPY);
  return REAL(write)(fd, bytes, count);
}

static int open_file(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
  enum fault fault = plan && is_data(path) ? meet(OPEN) : NONE;
  return fault == NONE || fault >= DROP ? real(path, flags, mode) : FAILURE(fault);
}

#define MODE(last) \
  mode_t mode = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list rest; \
    va_start(rest, last); \
    mode = va_arg(rest, mode_t); \
    va_end(rest); \
  }

int open(const char *path, int flags, ...) {
  MODE(flags)
  return open_file(REAL(open), path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE(flags)
  return open_file(REAL(open64), path, flags, mode);
}
