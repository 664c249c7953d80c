/* cost: what a program costs from start to end: by how many milliseconds of CPU (user and system) it exceeds another
 * one, as the mean of N runs of each, alternating. Their output is discarded.
 *
 *   cost N CMD... -- OTHER... */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(2);
}

static void become(char **command) {
  int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0) die("/dev/null");
  execvp(command[0], command);
  die(command[0]);
}

static double seconds(struct timeval t) {
  return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Runs it, and returns the seconds of CPU that it took. */
static double run(char **command) {
  struct rusage used;
  int status;
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) become(command);
  if (wait4(child, &status, 0, &used) != child) die("wait4");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "cost: %s failed\n", command[0]);
    exit(2);
  }
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

int main(int argc, char **argv) {
  char **end = argv + argc, **between = argv;
  long i, n = argc > 1 ? atol(argv[1]) : 0;
  double more = 0;
  while (between < end && strcmp(*between, "--") != 0) between++;
  if (n < 1 || between < argv + 3 || between + 2 > end) return fprintf(stderr, "usage: cost N CMD... -- OTHER...\n"), 2;
  *between = NULL;
  for (i = 0; i < n; i++) more += run(argv + 2) - run(between + 1);
  printf("%.3f\n", more * 1e3 / (double)n);
  return 0;
}
