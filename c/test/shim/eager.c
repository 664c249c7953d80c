/* eager: an expat without reparse deferral, out of one that has it: preloaded, it makes every parser look at what isn't complete
 * with each byte that comes, as expat did before 2.6 (and Debian's 2.5.0 before deb12u2). */
#include <dlfcn.h>
#include <expat.h>

typedef XML_Parser make_parser(const XML_Char *, const XML_Memory_Handling_Suite *, const XML_Char *);
typedef XML_Bool set_deferral(XML_Parser, XML_Bool);

/* expat's own. It may have been loaded with a module, where RTLD_NEXT doesn't look. */
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

/* It has no such thing to be switched on again. */
XML_Bool XML_SetReparseDeferralEnabled(XML_Parser p, XML_Bool enabled) {
  (void)p, (void)enabled;
  return XML_FALSE;
}
