/* has: what this system has beyond POSIX, each as 1 or 0; the modules do without what is missing. Rank 0. Compiled with -DXM_PLAIN
 * the library takes the system for one that has none of it, so that what stands in can be tested anywhere (plain_spec).
 *
 *   TIMERFD        loop: who sleeps while the clock is set learns of it when it wakes
 *   BOOTTIME       loop: ages don't grow while the machine sleeps
 *   BOOT_ID        loop: a saved session doesn't know whether the machine was started anew; its age is taken by the wall's clock
 *   SOCKET_FLAGS   loop: socket(), then fcntl()
 *   USER_TIMEOUT   sock: a connection whose peer acknowledges nothing is given up by keepalive and ack_timeout alone
 *   QUICKACK       sock: what the peer says may be acknowledged some 40 ms later
 *   GETENTROPY     rnd: OpenSSL's generator
 *   HIDDEN_MEMORY  keyring: nothing is kept for the next login, neither SCRAM's keys nor tokens
 *   SECURE_GETENV  bundle: issetugid(), or a comparison of user and group ids
 *   MEMRCHR        buf: a loop
 */
#ifndef XM_HAS_H
#define XM_HAS_H

#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#ifdef __linux__
#include <sys/timerfd.h>
#endif

#ifdef XM_PLAIN
#define XM_SYSTEM(has) 0
#else
#define XM_SYSTEM(has) (has)
#endif

#if defined __linux__ && defined TFD_TIMER_CANCEL_ON_SET
#define XM_HAS_TIMERFD XM_SYSTEM(1)
#else
#define XM_HAS_TIMERFD 0
#endif

#ifdef __linux__
#define XM_HAS_BOOT_ID XM_SYSTEM(1)
#define XM_HAS_SECURE_GETENV XM_SYSTEM(1)
#else
#define XM_HAS_BOOT_ID 0
#define XM_HAS_SECURE_GETENV 0
#endif

#if defined __APPLE__ || defined __FreeBSD__ || defined __OpenBSD__ || defined __NetBSD__ || defined __DragonFly__
#define XM_HAS_ISSETUGID XM_SYSTEM(1)
#else
#define XM_HAS_ISSETUGID 0
#endif

#ifdef CLOCK_BOOTTIME
#define XM_HAS_BOOTTIME XM_SYSTEM(1)
#else
#define XM_HAS_BOOTTIME 0
#endif

#if defined SOCK_NONBLOCK && defined SOCK_CLOEXEC
#define XM_HAS_SOCKET_FLAGS XM_SYSTEM(1)
#else
#define XM_HAS_SOCKET_FLAGS 0
#endif

#ifdef TCP_USER_TIMEOUT
#define XM_HAS_USER_TIMEOUT XM_SYSTEM(1)
#else
#define XM_HAS_USER_TIMEOUT 0
#endif

#ifdef TCP_QUICKACK
#define XM_HAS_QUICKACK XM_SYSTEM(1)
#else
#define XM_HAS_QUICKACK 0
#endif

#if defined __linux__ || defined __APPLE__ || defined __FreeBSD__ || defined __OpenBSD__ || defined __NetBSD__
#define XM_HAS_GETENTROPY XM_SYSTEM(1)
#else
#define XM_HAS_GETENTROPY 0
#endif

/* Not in a core dump (FreeBSD calls it NOCORE), and not in a child. */
#if (defined MADV_DONTDUMP || defined MADV_NOCORE) && (defined MADV_WIPEONFORK || defined INHERIT_ZERO)
#define XM_HAS_HIDDEN_MEMORY XM_SYSTEM(1)
#else
#define XM_HAS_HIDDEN_MEMORY 0
#endif

#ifdef __APPLE__
#define XM_HAS_MEMRCHR 0
#else
#define XM_HAS_MEMRCHR XM_SYSTEM(1)
#endif

/* Without either, a server that closes a connection would kill the process. */
#if !defined MSG_NOSIGNAL && !defined SO_NOSIGPIPE
#error "neither MSG_NOSIGNAL nor SO_NOSIGPIPE: this system cannot be told to raise no SIGPIPE"
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#endif
