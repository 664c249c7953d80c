#include "bounds.h"

#include <string.h>

static const struct row {
  const char *what, *option;
} rows[] = {
    [XM_BOUND_NONE] = {"", ""},
    [XM_BOUND_STANZA] = {"bytes of a stanza", "max_stanza"},
    [XM_BOUND_START_TAG] = {"bytes of a tag", "max_start_tag"},
    [XM_BOUND_DEPTH] = {"depth of elements", "max_depth"},
    [XM_BOUND_ATTRIBUTES] = {"attributes of an element", "max_attributes"},
    [XM_BOUND_NODES] = {"elements and texts, or attributes, in a stanza", "max_nodes"},
    [XM_BOUND_NS] = {"bytes of a namespace", "max_namespace"},
    [XM_BOUND_CLARK] = {"bytes of namespaces in the names of a stanza's attributes", "max_namespace"},
};

size_t xm_bounds_most(const xm_bounds *b, xm_bound which) {
  switch (which) {
    case XM_BOUND_STANZA: return b->stanza;
    case XM_BOUND_START_TAG: return b->start_tag;
    case XM_BOUND_DEPTH: return b->depth;
    case XM_BOUND_ATTRIBUTES: return b->attributes;
    case XM_BOUND_NODES: return b->nodes;
    case XM_BOUND_NS: return b->ns;
    case XM_BOUND_CLARK: return b->ns * XM_CLARK_NAMES;
    default: return 0;
  }
}

const char *xm_bounds_what(xm_bound which) {
  return rows[which].what;
}

const char *xm_bounds_option(xm_bound which) {
  return rows[which].option;
}

bool xm_bounds_counts(bool is_stanza, const char *name, size_t n) {
  if (!is_stanza) return true;
  return !((n == 2 && memcmp(name, "to", 2) == 0) || (n == 4 && memcmp(name, "from", 4) == 0) ||
           (n == 8 && memcmp(name, "xml:lang", 8) == 0));
}
