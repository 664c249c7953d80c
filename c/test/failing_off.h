/* failing_off: restores the C library's malloc and the others after failing.h. */
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef strdup
