/* has: which features beyond POSIX this system has, each as 1 or 0. Other modules do without those that are missing. Rank 0:
 * uses no other module. With -DXM_PLAIN the library is compiled as if none were there, so that what replaces them can be
 * tested on any system (plain_spec). Without
 *
 *   TIMERFD        loop: a process that sleeps while the clock is set notices when it wakes
 *   BOOTTIME       loop: ages don't grow while the machine is suspended
 *   BOOT_ID        loop: a saved session can't tell whether the machine was rebooted; its age is taken from the wall clock
 *   SOCKET_FLAGS   loop: socket() is followed by fcntl()
 *   USER_TIMEOUT   sock: a dead connection is only noticed by keepalive and ack_timeout
 *   QUICKACK       sock: acknowledgements to the peer may be delayed by some 40 ms
 *   GETENTROPY     rnd: OpenSSL's generator is used
 *   HIDDEN_MEMORY  keyring: nothing is kept for the next login, neither SCRAM's keys nor tokens
 *   SECURE_GETENV  bundle: issetugid() is used, or user and group ids are compared
 *   MEMRCHR        buf: a loop is used
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
