/* flush: hands what has been sent to the kernel. Rank 1: uses state. */
#ifndef XB_FLUSH_H
#define XB_FLUSH_H

#include "state.h"

/* Flushes the connection: at once, or, inside a step, together with all others at the step's end. */
void xb_flush_soon(xb_conn *conn);
/* Flushes all connections for which xb_flush_soon was called during the step; called at its end. */
void xb_flush_all(xb_state *st);

#endif
