/* events: writes a parser's events as text, one line for each:
 *
 *   O <{http://etherx.jabber.org/streams}stream version='1.0'></>
 *   S <{jabber:client}message xml:lang='en'><{jabber:client}body>Hi</></>
 *   K max_nodes <{jabber:client}message from='a@b'></>
 *   C
 *   E not-well-formed
 *
 * A control character or a backslash is written as \x0a. Include cmocka.h and xml.h (or xml.c) before it. */
#ifndef EVENTS_H
#define EVENTS_H

struct log {
  xm_buf text;
  size_t ends[256]; /* bytes of the stream up to each event's end */
  size_t n;         /* events, refusals not counted */
  size_t fed;
  const xm_bounds *after; /* the bounds from the header on, which skip what crosses them; NULL: the bounds don't
                             change */
};

static void log_free(struct log *l) {
  xm_buf_free(&l->text);
  *l = (struct log){.after = l->after};
}

static void show_string(xm_buf *to, const char *s) {
  char hex[8];
  for (; *s; s++) {
    snprintf(hex, sizeof hex, (unsigned char)*s < ' ' || *s == '\\' ? "\\x%02x" : "%c", (unsigned char)*s);
    xm_buf_puts(to, hex);
  }
}

static void show_record(xm_buf *to, const xm_tape *t, const xm_tape_rec *r) {
  bool end_of_tag = r->kind != XM_TAPE_CLOSE && r[1].kind != XM_TAPE_ATTR && r->kind != XM_TAPE_TEXT;
  if (r->kind == XM_TAPE_OPEN) {
    xm_buf_puts(to, "<{");
    show_string(to, xm_tape_str(t, r->text));
    xm_buf_puts(to, "}");
    show_string(to, xm_tape_str(t, r->name));
  } else if (r->kind == XM_TAPE_ATTR) {
    xm_buf_puts(to, " ");
    show_string(to, xm_tape_str(t, r->name));
    xm_buf_puts(to, "='");
    show_string(to, xm_tape_str(t, r->text));
    xm_buf_puts(to, "'");
  } else if (r->kind == XM_TAPE_TEXT) {
    show_string(to, xm_tape_str(t, r->text));
  } else {
    xm_buf_puts(to, "</>");
  }
  if (end_of_tag) xm_buf_puts(to, ">");
}

static void show_tape(xm_buf *to, const xm_tape *t) {
  uint32_t i;
  for (i = 0; i < t->n; i++) show_record(to, t, &t->recs[i]);
}

static void log_event(struct log *l, const xm_xml *x, int event, const xm_err *e) {
  static const char *const names[] = {"", "O ", "S ", "K ", "C"};
  if (event < 0) {
    xm_buf_puts(&l->text, "E ");
    xm_buf_puts(&l->text, e->condition);
  } else {
    assert_true(l->n < sizeof l->ends / sizeof *l->ends);
    l->ends[l->n++] = l->fed - xm_xml_unread(x);
    xm_buf_puts(&l->text, names[event]);
    if (event == XM_XML_SKIPPED) {
      size_t most;
      xm_buf_puts(&l->text, xm_bounds_option(xm_xml_crossed(x, &most)));
      xm_buf_putc(&l->text, ' ');
    }
    if (event != XM_XML_CLOSE) show_tape(&l->text, xm_xml_tape(x));
  }
  xm_buf_puts(&l->text, "\n");
}

/* Feeds bytes as link does; `drained`: there is nothing more to read for now. false: the stream has ended, or was
 * refused. */
static bool feed(xm_xml *x, struct log *l, const char *s, size_t n, bool drained) {
  int event = XM_XML_MORE;
  do {
    xm_err e = {0};
    if (event == XM_XML_MORE && n > 0) {
      size_t room;
      char *to = xm_xml_space(x, &room);
      if (!to) return false;
      if (room > n) room = n;
      memcpy(to, s, room);
      xm_xml_fill(x, room);
      l->fed += room;
      s += room;
      n -= room;
    }
    event = xm_xml_next(x, &e);
    if (event == XM_XML_MORE && n == 0 && drained) event = xm_xml_drained(x, &e);
    if (event != XM_XML_MORE) log_event(l, x, event, &e);
    if (event < 0 || event == XM_XML_CLOSE) return false;
    if (event == XM_XML_OPEN && l->after) xm_xml_set_bounds(x, l->after, XM_XML_SKIP);
  } while (event != XM_XML_MORE || n > 0);
  return true;
}

/* The content namespace of the stream: a component's, or a client's. */
static inline const char *content_ns(const char *s, size_t n) {
  static const char component[] = "jabber:component:accept";
  return memmem(s, n, component, sizeof component - 1) ? component : "jabber:client";
}

static inline void feed_in_pieces(struct log *l, const xm_bounds *limits, const char *s, size_t n, size_t size) {
  xm_xml *x = xm_xml_new(content_ns(s, n), limits);
  size_t at;
  assert_non_null(x);
  for (at = 0; at < n; at += size)
    if (!feed(x, l, s + at, size < n - at ? size : n - at, true)) break;
  xm_xml_free(x);
}

#endif
