/* sample: how much of an exhaustive test is run. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdlib.h>

/* Of the test's cases only each n-th is run: the SAMPLE of the environment, 1 (all) without it. Under sanitizers, which
 * make such tests several times slower, `make test` sets it; without them it runs all. */
static inline unsigned sample(void) {
  const char *text = getenv("SAMPLE");
  unsigned long n = text ? strtoul(text, NULL, 10) : 1;
  return n > 0 && n < 1000 ? (unsigned)n : 1;
}

#endif
