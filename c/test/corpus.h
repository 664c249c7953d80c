/* corpus: the streams in the folder corpus/, each NAME.xml with the events that must come of it in NAME.events, in the
 * form of events.h. The .events files were written by a script that uses another binding of expat (Python's). Include
 * cmocka.h and buf.h (or buf.c) before it; load_corpus and free_corpus are a group's setup and teardown. */
#ifndef CORPUS_H
#define CORPUS_H

#include <dirent.h>

enum { FILES = 64 };

static struct stream {
  char name[64];
  xm_buf xml, events;
  size_t ends[256]; /* where each event ends, when the stream is fed in one piece */
  size_t n;
} corpus[FILES];
static int streams;

static void load(xm_buf *to, const char *dir, const char *name, const char *extension) {
  char path[1024], *at;
  FILE *f;
  size_t n;
  snprintf(path, sizeof path, "%s/%s%s", dir, name, extension);
  f = fopen(path, "rb");
  assert_non_null(f);
  do {
    at = xm_buf_reserve(to, 4096);
    n = fread(at, 1, 4096, f);
    xm_buf_commit(to, n);
  } while (n > 0);
  fclose(f);
}

/* The folder is beside this file. */
static int load_corpus(void **state) {
  char dir[512];
  struct dirent *d;
  DIR *open;
  (void)state;
  snprintf(dir, sizeof dir, "%.*scorpus", (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__);
  open = opendir(dir);
  if (!open) return -1;
  while ((d = readdir(open)) && streams < FILES) {
    struct stream *s = &corpus[streams];
    char *dot = strstr(d->d_name, ".xml");
    if (!dot) continue;
    snprintf(s->name, sizeof s->name, "%.*s", (int)(dot - d->d_name), d->d_name);
    load(&s->xml, dir, s->name, ".xml");
    load(&s->events, dir, s->name, ".events");
    streams++;
  }
  closedir(open);
  return streams >= 30 ? 0 : -1;
}

static int free_corpus(void **state) {
  (void)state;
  while (streams > 0) {
    streams--;
    xm_buf_free(&corpus[streams].xml);
    xm_buf_free(&corpus[streams].events);
  }
  return 0;
}

#endif
