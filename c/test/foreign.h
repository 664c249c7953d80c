/* foreign: runs the process in another locale, as a program's user may have set it. The locale is compiled by the test,
 * since a machine need not have it (it needs Debian's packages libc-bin and locales). */
#ifndef XM_TEST_FOREIGN_H
#define XM_TEST_FOREIGN_H

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs some of the headers above */
#include <cmocka.h>

/* Switches to the locale `name`, such as "tr_TR". */
static inline void go_abroad(const char *name) {
  char folder[] = "/tmp/locale-XXXXXX", command[160], full[32];
  assert_non_null(mkdtemp(folder));
  snprintf(full, sizeof full, "%s.UTF-8", name);
  snprintf(command, sizeof command, "localedef -i %s -f UTF-8 %s/%s", name, folder, full);
  assert_int_equal(system(command), 0);
  assert_int_equal(setenv("LOCPATH", folder, 1), 0);
  assert_non_null(setlocale(LC_ALL, full));
  snprintf(command, sizeof command, "rm -r %s", folder);
  assert_int_equal(system(command), 0);
}

static inline void come_home(void) {
  assert_non_null(setlocale(LC_ALL, "C"));
}

#endif
