/* drive: runs a fuzz target without libFuzzer, many more times: inputs are random, coverage isn't measured, and no
 * input is kept. Linked with a target (make build/drive/TARGET):
 *
 *   drive RUNS SEED [FILE...]
 *
 * Without files all inputs are scripts of random bytes. With files, one input in four is one of these with a few bytes
 * altered. The same seed gives the same inputs. An input on which a target aborts is written to drive-SEED-NUMBER. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "fuzz.h"

enum { MOST = 4096 };

static struct {
  uint8_t bytes[MOST];
  size_t n;
  unsigned long long seed, number;
} in;

typedef struct sample {
  uint8_t bytes[MOST];
  size_t n;
} sample;

static sample *samples;
static unsigned n_samples;

static uint64_t state;

static uint32_t draw(uint32_t n) { /* splitmix64 */
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

/* Mostly small bytes, which make ordinary things in a script; how many are large differs. */
static void make_script(void) {
  static const uint32_t wilder[] = {1, 8, 8, 8, 8, 40, 40, 256};
  uint32_t wild = draw(wilder[draw(8)]), most = draw(8) ? 100 : 600, i;
  in.n = 8 + draw(draw(3) ? 40 : most);
  for (i = 0; i < in.n; i++) in.bytes[i] = (uint8_t)(draw(256) < wild ? draw(256) : draw(0xA0));
  in.bytes[0] = (uint8_t)(draw(256) | 1);
  if (draw(2)) in.bytes[1] = (uint8_t)draw(256);
  in.bytes[2] = (uint8_t)draw(256);
}

static void insert(size_t at, const uint8_t *s, size_t n) {
  if (n > MOST - in.n) n = MOST - in.n;
  memmove(in.bytes + at + n, in.bytes + at, in.n - at);
  memcpy(in.bytes + at, s, n);
  in.n += n;
}

static void take_out(size_t at, size_t n) {
  if (n > in.n - at) n = in.n - at;
  memmove(in.bytes + at, in.bytes + at + n, in.n - at - n);
  in.n -= n;
}

static void alter(void) {
  const sample *other = &samples[draw(n_samples)];
  uint8_t some[64];
  size_t at = draw((uint32_t)in.n + 1), n = 1 + draw(draw(2) ? 4 : 60), from;
  if (n > in.n - at) n = in.n - at;
  memcpy(some, in.bytes + at, n);
  switch (draw(6)) {
    case 0: take_out(at, n); break;
    case 1: insert(at, some, n); break;
    case 2: insert(draw((uint32_t)in.n + 1), some, n); break;
    case 3:
      from = draw((uint32_t)other->n + 1);
      insert(at, other->bytes + from, other->n - from < n ? other->n - from : n);
      break;
    case 4:
      if (at < in.n) in.bytes[at] ^= (uint8_t)(1u << draw(8));
      break;
    default:
      if (at < in.n) in.bytes[at] = (uint8_t)draw(256);
  }
}

static void make_like_sample(void) {
  const sample *s = &samples[draw(n_samples)];
  uint32_t times = draw(5);
  memcpy(in.bytes, s->bytes, s->n);
  in.n = s->n;
  while (times-- > 0) alter();
}

static void load(const char *path) {
  int fd = open(path, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, samples[n_samples].bytes, MOST);
  MUST(n >= 0);
  samples[n_samples++].n = (size_t)n;
  close(fd);
}

static void keep_input(int sig) {
  char name[80];
  int fd;
  snprintf(name, sizeof name, "drive-%llu-%llu", in.seed, in.number);
  fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (fd < 0 || write(fd, in.bytes, in.n) != (ssize_t)in.n) _exit(2);
  signal(sig, SIG_DFL);
  raise(sig);
}

int main(int argc, char **argv) {
  unsigned long long runs = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
  int i;
  if (runs == 0) return fprintf(stderr, "usage: drive RUNS SEED [FILE...]\n"), 2;
  in.seed = strtoull(argv[2], NULL, 10);
  samples = calloc((size_t)argc, sizeof *samples);
  MUST(samples);
  for (i = 3; i < argc; i++) load(argv[i]);
  signal(SIGABRT, keep_input);
  signal(SIGSEGV, keep_input);
  for (in.number = 0; in.number < runs; in.number++) {
    state = in.seed << 40 ^ in.number;
    if (n_samples && draw(4) == 0) make_like_sample();
    else make_script();
    LLVMFuzzerTestOneInput(in.bytes, in.n);
  }
  printf("%llu runs of seed %llu\n", runs, in.seed);
  free(samples);
  return 0;
}
