#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

typedef struct range4 {
  uint32_t first;
  unsigned bits;
} range4;

/* The special-purpose IPv4 addresses (RFC 6890 2.2.2 and its registry) that no host on the Internet has. */
static const range4 closed4[] = {
    {0x00000000, 8},  /* this network */
    {0x0A000000, 8},  /* private */
    {0x64400000, 10}, /* shared address space, behind a provider's NAT */
    {0x7F000000, 8},  /* loopback */
    {0xA9FE0000, 16}, /* link-local */
    {0xAC100000, 12}, /* private */
    {0xC0000000, 24}, /* IETF protocol assignments */
    {0xC0000200, 24}, /* documentation */
    {0xC0586300, 24}, /* 6to4 relays */
    {0xC0A80000, 16}, /* private */
    {0xC6120000, 15}, /* benchmarking */
    {0xC6336400, 24}, /* documentation */
    {0xCB007100, 24}, /* documentation */
    {0xE0000000, 4},  /* multicast */
    {0xF0000000, 4},  /* reserved, and broadcast */
};

static bool is_public4(uint32_t a) {
  size_t i;
  for (i = 0; i < sizeof closed4 / sizeof *closed4; i++) {
    if ((a ^ closed4[i].first) >> (32 - closed4[i].bits) == 0) return false;
  }
  return true;
}

static uint32_t word(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

typedef struct range6 {
  unsigned char first[16];
  unsigned bytes;
  int holds4; /* offset of an IPv4 address in it; -1: it has none */
} range6;

/* Anything that isn't in one of these ranges is public only within 2000::/3, which is all that is allocated. */
static const range6 known6[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 12, 12}, /* mapped */
    {{0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0}, 12, 12}, /* NAT64, RFC 6052 */
    {{0x20, 0x02}, 2, 2},             /* 6to4 */
    {{0x20, 0x01, 0, 0}, 4, -1},      /* Teredo */
    {{0x20, 0x01, 0x0D, 0xB8}, 4, -1}, /* documentation */
};

static bool is_public6(const unsigned char a[16]) {
  size_t i;
  for (i = 0; i < sizeof known6 / sizeof *known6; i++) {
    const range6 *r = &known6[i];
    if (memcmp(a, r->first, r->bytes) == 0) return r->holds4 >= 0 && is_public4(word(a + r->holds4));
  }
  return a[0] >> 5 == 1;
}

static uint32_t figures4(const struct sockaddr *sa) {
  struct sockaddr_in in;
  memcpy(&in, sa, sizeof in);
  return ntohl(in.sin_addr.s_addr);
}

static void figures6(const struct sockaddr *sa, unsigned char out[16]) {
  struct sockaddr_in6 in;
  memcpy(&in, sa, sizeof in);
  memcpy(out, &in.sin6_addr, 16);
}

bool xh_address_is_public(const struct sockaddr *sa) {
  unsigned char a[16];
  if (sa->sa_family == AF_INET) return is_public4(figures4(sa));
  if (sa->sa_family != AF_INET6) return false;
  figures6(sa, a);
  return is_public6(a);
}

bool xh_address_is_loopback(const struct sockaddr *sa) {
  static const unsigned char one[16] = {[15] = 1};
  unsigned char a[16];
  if (sa->sa_family == AF_INET) return figures4(sa) >> 24 == 127;
  if (sa->sa_family != AF_INET6) return false;
  figures6(sa, a);
  return memcmp(a, one, 16) == 0 || (memcmp(a, known6[0].first, 12) == 0 && a[12] == 127);
}

bool xh_address_read(const char *text, struct sockaddr_storage *sa) {
  struct sockaddr_in in = {.sin_family = AF_INET};
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
  memset(sa, 0, sizeof *sa);
  if (inet_pton(AF_INET, text, &in.sin_addr) == 1) return memcpy(sa, &in, sizeof in), true;
  if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) return memcpy(sa, &in6, sizeof in6), true;
  return false;
}

bool xh_address_same(const struct sockaddr *a, const struct sockaddr *b) {
  unsigned char left[16], right[16];
  if (xh_address_is_loopback(a) && xh_address_is_loopback(b)) return true;
  if (a->sa_family != b->sa_family) return false;
  if (a->sa_family == AF_INET) return figures4(a) == figures4(b);
  if (a->sa_family != AF_INET6) return false;
  figures6(a, left);
  figures6(b, right);
  return memcmp(left, right, 16) == 0;
}
