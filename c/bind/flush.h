/* flush: what was sent leaves. Rank 1: knows state. */
#ifndef XB_FLUSH_H
#define XB_FLUSH_H

#include "state.h"

/* At once; inside a step together with the rest, at its end. */
void xb_flush_soon(xb_conn *conn);
/* That is there. */
void xb_flush_all(xb_state *st);

#endif
