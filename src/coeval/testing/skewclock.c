/* skewclock.c: gives one process tree a wall clock and a raw clock of its own (LD_PRELOAD; 64-bit Linux, glibc).
 *
 *   shown = true + offset_ns + floor((true - since_ns) * rate_ppb / 1e9)
 *
 * CLOCK_MONOTONIC, CLOCK_BOOTTIME, sleeps, select, poll and epoll stay real. Waits that name an absolute wall time
 * (sem_timedwait, pthread_cond_timedwait, timerfd, futex, ...) are turned back into real time. Nothing can wait on
 * CLOCK_MONOTONIC_RAW, so it may have a rate of its own without any wait going wrong.
 *
 * COEVAL_SKEW_FILE names a mapped file (struct SkewFile, written by _skewed_host.py), so that a test can step or
 * re-rate the clocks of running programs. Each clock has two pieces there, and the later one holds for every reading
 * from its since_ns on: which piece made a reading depends on the reading alone, never on who was quicker.
 *
 * Build: cc -O2 -shared -fPIC -o skewclock.so skewclock.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(time_t) == 8 && sizeof(long) == 8, "skewclock.c is for 64-bit systems");

typedef struct timespec T;
typedef struct { int64_t since, offset, rate; } Piece;
typedef struct { Piece earlier, later; } Shift;
typedef struct {
  char format[8];          /* FORMAT: the layout's name and version */
  uint64_t sequence;       /* a sequence lock: odd while the writer writes */
  int64_t raw_ahead;       /* what the time namespace adds to the true raw clock */
  Shift wall, raw;
} SkewFile;
#define FORMAT "cvskew01"
#define SECOND 1000000000LL

static SkewFile unskewed;
static const volatile SkewFile *file = &unskewed;
static int (*real_clock_gettime)(clockid_t, T *);

static void *next(const char *name) {
  void *f = dlsym(RTLD_NEXT, name);
  if (!f) { fprintf(stderr, "skewclock: this C library has no %s\n", name); _exit(97); }
  return f;
}
#define REAL(name) static __typeof__(name) *real; if (!real) real = next(#name)

__attribute__((constructor)) static void start(void) {
  if (real_clock_gettime) return;
  const char *path = getenv("COEVAL_SKEW_FILE");
  if (path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat s;
    void *m = fd < 0 || fstat(fd, &s) || s.st_size < (off_t)sizeof(SkewFile)
      ? MAP_FAILED : mmap(0, sizeof(SkewFile), PROT_READ, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED) { fprintf(stderr, "skewclock: cannot map COEVAL_SKEW_FILE=%s; has its host ended?\n", path); _exit(97); }
    if (memcmp(m, FORMAT, 8)) { fprintf(stderr, "skewclock: %s is not a skew file of format %s\n", path, FORMAT); _exit(97); }
    close(fd);
    file = m;
  }
  real_clock_gettime = next("clock_gettime");
}

static int64_t ns(const T *t) { return t->tv_sec * SECOND + t->tv_nsec; }
static T ts(int64_t n) {
  T t = {n / SECOND, n % SECOND};
  if (t.tv_nsec < 0) { t.tv_nsec += SECOND; t.tv_sec--; }
  return t;
}
static Shift now_shift(const volatile Shift *from) {
  Shift s;
  uint64_t sequence;
  do {
    sequence = __atomic_load_n(&file->sequence, __ATOMIC_ACQUIRE);
    s.earlier.since = from->earlier.since; s.earlier.offset = from->earlier.offset; s.earlier.rate = from->earlier.rate;
    s.later.since = from->later.since; s.later.offset = from->later.offset; s.later.rate = from->later.rate;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
  } while ((sequence & 1) || sequence != file->sequence);
  return s;
}
/* The true reading must be taken before this is called: see the head of the file. */
static int64_t shown(const volatile Shift *from, int64_t real) {
  Shift s = now_shift(from);
  const Piece *p = real < s.later.since ? &s.earlier : &s.later;
  if (!p->rate) return real + p->offset;
  __int128 product = (__int128)(real - p->since) * p->rate, quotient = product / SECOND;
  return real + p->offset + (int64_t)(quotient - (product % SECOND < 0));
}
static T back(const T *t) {                      /* a shown wall time as real wall time, never below zero */
  Piece p = now_shift(&file->wall).later;
  int64_t n = ns(t) - p.offset;
  if (p.rate) n = p.since + (int64_t)((__int128)(n - p.since) * SECOND / (SECOND + p.rate));
  return ts(n < 0 ? 0 : n);
}
static int wall(clockid_t c) { return c == CLOCK_REALTIME || c == CLOCK_REALTIME_COARSE || c == CLOCK_TAI || c == CLOCK_REALTIME_ALARM; }
static int date(const T *t) { return t->tv_sec > 1000000000; }          /* a date, not an uptime */

int clock_gettime(clockid_t c, T *t) {
  if (!real_clock_gettime) start();
  int r = real_clock_gettime(c, t);
  if (r) return r;
  if (wall(c)) *t = ts(shown(&file->wall, ns(t)));
  else if (c == CLOCK_MONOTONIC_RAW) *t = ts(shown(&file->raw, ns(t) - file->raw_ahead));
  return 0;
}
int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
  T t;
  clock_gettime(CLOCK_REALTIME, &t);
  tv->tv_sec = t.tv_sec; tv->tv_usec = t.tv_nsec / 1000;
  if (tz) memset(tz, 0, sizeof(struct timezone));
  return 0;
}
time_t time(time_t *out) { T t; clock_gettime(CLOCK_REALTIME, &t); if (out) *out = t.tv_sec; return t.tv_sec; }
int timespec_get(T *t, int base) { if (base != TIME_UTC) return 0; clock_gettime(CLOCK_REALTIME, t); return base; }

int clock_nanosleep(clockid_t c, int flags, const T *t, T *left) {
  REAL(clock_nanosleep);
  T x = (flags & TIMER_ABSTIME) && wall(c) ? back(t) : *t;
  return real(c, flags, &x, left);
}
int sem_timedwait(sem_t *s, const T *t) { REAL(sem_timedwait); T x = back(t); return real(s, &x); }
int sem_clockwait(sem_t *s, clockid_t c, const T *t) { REAL(sem_clockwait); T x = wall(c) ? back(t) : *t; return real(s, c, &x); }
int pthread_mutex_timedlock(pthread_mutex_t *m, const T *t) { REAL(pthread_mutex_timedlock); T x = back(t); return real(m, &x); }
int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t k, const T *t) {
  REAL(pthread_cond_clockwait);
  T x = wall(k) ? back(t) : *t;
  return real(c, m, k, &x);
}
/* The same entry serves condition variables on the monotonic clock: CPython's GIL is one. */
int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const T *t) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, const T *);
  if (!real && !(real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"))) real = next("pthread_cond_timedwait");
  T x = date(t) ? back(t) : *t;
  return real(c, m, &x);
}
int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old) {
  REAL(timerfd_settime);
  struct itimerspec x = *new;
  if ((flags & TFD_TIMER_ABSTIME) && date(&x.it_value)) x.it_value = back(&x.it_value);
  return real(fd, flags, &x, old);
}
/* touch and os.utime(path) stamp the shown time. A write() is stamped by the kernel: real time. */
static const T *stamps(const T *t, T x[2]) {
  T now;
  clock_gettime(CLOCK_REALTIME, &now);
  for (int i = 0; i < 2; i++) x[i] = !t || t[i].tv_nsec == UTIME_NOW ? now : t[i];
  return x;
}
int utimensat(int dir, const char *path, const T t[2], int flags) { REAL(utimensat); T x[2]; return real(dir, path, stamps(t, x), flags); }
int futimens(int fd, const T t[2]) { REAL(futimens); T x[2]; return real(fd, stamps(t, x)); }
/* The kernel stamps packets by the true clock, so nobody gets such stamps: programs then read the shown clock themselves. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
  REAL(setsockopt);
  int stamps = name == SO_TIMESTAMP_OLD || name == SO_TIMESTAMPNS_OLD || name == SO_TIMESTAMPING_OLD
    || name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW || name == SO_TIMESTAMPING_NEW;
  if (level == SOL_SOCKET && stamps) { errno = ENOPROTOOPT; return -1; }
  return real(fd, level, name, value, size);
}
/* C++ libraries (absl) wait with a bare futex call. */
long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (!real) real = next("syscall");
  va_list v;
  long a[6];
  va_start(v, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(v, long);
  va_end(v);
  T x;
  if (number == SYS_clock_gettime) return clock_gettime(a[0], (T *)a[1]);
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) { x = back((T *)a[3]); a[3] = (long)&x; }
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
