/* failing_off: ends what failing.h began. */
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef strdup
