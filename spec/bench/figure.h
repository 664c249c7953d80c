/* figure: what the programs of `make bench` print: microseconds of CPU (user and system) for a stanza. Also for C++. */
#ifndef BENCH_FIGURE_H
#define BENCH_FIGURE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* The seconds of CPU that the process has taken so far. */
static inline double cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Prints the figure. Returns the program's exit status, 0. */
static inline int tell(double seconds, double pieces) {
  printf("%.6f\n", seconds * 1e6 / pieces);
  fflush(stdout);
  return 0;
}

/* The port of peer, crowd or tlspeer, which has started us. */
static inline unsigned short bench_port(void) {
  const char *port = getenv("BENCH_PORT");
  if (!port) {
    fprintf(stderr, "no BENCH_PORT: it is to be started by peer, crowd or tlspeer\n");
    exit(2);
  }
  return (unsigned short)atoi(port);
}

#endif
