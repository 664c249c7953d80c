/* span without what the processor has for it. */
#define XM_SPAN_PORTABLE
#include "t_span.c"
