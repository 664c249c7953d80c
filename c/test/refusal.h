/* Checks a refusal by sasl, mech or scram: each must be of the layer SASL, not worth a retry, and in printable
 * ASCII. */
#ifndef XM_TEST_REFUSAL_H
#define XM_TEST_REFUSAL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

static inline void check_form(const xm_err *e, const char *condition) {
  const char *p;
  assert_string_equal(e->condition, condition);
  assert_int_equal(e->layer, XM_LAYER_SASL);
  assert_false(e->retry);
  assert_true(strlen(e->text) > 20 && strlen(e->text) < sizeof e->text - 1);
  for (p = e->text; *p; p++) assert_true(*p >= ' ' && *p <= '~');
}

#endif
