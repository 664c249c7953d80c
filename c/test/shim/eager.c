/* eager: an expat without reparse deferral, out of one that has it: preloaded, it makes every parser look at what isn't complete
 * with each byte that comes, as expat did before 2.6 (and Debian's 2.5.0 before deb12u2). */
#include <dlfcn.h>
#include <expat.h>

typedef XML_Bool set_deferral(XML_Parser, XML_Bool);

static XML_Parser made_eager(XML_Parser p) {
  set_deferral *set = (set_deferral *)dlsym(RTLD_NEXT, "XML_SetReparseDeferralEnabled");
  if (p && set) set(p, XML_FALSE);
  return p;
}

XML_Parser XML_ParserCreate_MM(const XML_Char *encoding, const XML_Memory_Handling_Suite *suite, const XML_Char *sep) {
  XML_Parser (*make)(const XML_Char *, const XML_Memory_Handling_Suite *, const XML_Char *) =
      (XML_Parser(*)(const XML_Char *, const XML_Memory_Handling_Suite *, const XML_Char *))dlsym(RTLD_NEXT,
                                                                                                 "XML_ParserCreate_MM");
  return made_eager(make(encoding, suite, sep));
}

/* It has no such thing to be switched on again. */
XML_Bool XML_SetReparseDeferralEnabled(XML_Parser p, XML_Bool enabled) {
  (void)p, (void)enabled;
  return XML_FALSE;
}
