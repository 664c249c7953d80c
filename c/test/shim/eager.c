/* eager: a library to preload that turns off expat's reparse deferral: every parser then tries to parse an incomplete
 * token again with each byte that it gets, as expat did before 2.6 (and Debian's 2.5.0 before deb12u2). */
#include <dlfcn.h>
#include <expat.h>

typedef XML_Parser make_parser(const XML_Char *, const XML_Memory_Handling_Suite *, const XML_Char *);
typedef XML_Bool set_deferral(XML_Parser, XML_Bool);

/* The function of that name in expat itself, which may have been loaded by a module, where RTLD_NEXT doesn't look. */
static void *own(const char *name) {
  void *expat = dlopen("libexpat.so.1", RTLD_NOW);
  return expat ? dlsym(expat, name) : NULL;
}

XML_Parser XML_ParserCreate_MM(const XML_Char *encoding, const XML_Memory_Handling_Suite *suite, const XML_Char *sep) {
  make_parser *make = (make_parser *)own("XML_ParserCreate_MM");
  set_deferral *set = (set_deferral *)own("XML_SetReparseDeferralEnabled");
  XML_Parser p = make(encoding, suite, sep);
  if (p && set) set(p, XML_FALSE);
  return p;
}

/* Replaces expat's function, with which a caller could turn deferral on again: does nothing, and reports failure. */
XML_Bool XML_SetReparseDeferralEnabled(XML_Parser p, XML_Bool enabled) {
  (void)p, (void)enabled;
  return XML_FALSE;
}
