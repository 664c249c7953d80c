/* span without the processor's own instructions for it. */
#define XM_SPAN_PORTABLE
#include "t_span.c"
