# make            build lua/xmpp/core.so for Lua 5.4, http.so if libcurl is installed, and redis.so if hiredis is; with
#                 LUA=luajit, lua5.1 or lua5.3: build/$(LUA)/xmpp/core.so and so on for that Lua
# make lib        build build/lib (build/$(LUA)/lib): libxmpp.a, libxmpp.so and xmpp.h, for programs that embed Lua
# make demo       install what is missing, build, and show the library at work against a real server
# make test       the same set-up, then every test, plain and under sanitizers
# make check      every test once, without set-up or sanitizers (LUA, SO_DIR, PRELOAD: see spec/support/tap); with LUA=luajit
#                 every spec, with LUA=lua5.1 or lua5.3 the specs of the binding
# make lint       which module may include which (spec/support/arrows), the warnings of gcc and clang, luacheck
# make bench      the same set-up as make demo, then benchmarks: the speed as a ratio to raw expat, sockets and OpenSSL,
#                 beside other libraries, and how costs grow (make bench-peers installs the other libraries; make
#                 bench-results writes the tables that README and doc/performance.md show)
# make trips      count, in a capture, how often a login waits for an answer (XMPP_SERVER=ejabberd or prosody13+sasl2
#                 chooses another server)
# make torture    make every allocation and system call of a session fail, one at a time; break the connection behind
#                 every byte
# make coverage   the lines and branches of c/core that the tests execute (at least 95 % and 85 %)
# make soak       20,000 messages over connections that are cut 1,000 times, on four servers; a farm of workers whose
#                 processes are killed; memory must not grow (see spec/support/soak)
# make mutants    remove checks from the code, one at a time: some test must fail each time
# make fuzz       run the libFuzzer targets under sanitizers (FUZZ_RUNS=1000000); make test runs 5000 inputs each
# make install    install into PREFIX (/usr/local); make uninstall removes it again
# make install-lib  install libxmpp, xmpp.h and xmpp.pc, for programs that embed Lua; make uninstall-lib removes them
# make man        build/man/xmpp.1, the manual page of the command
# make reference  generate doc/reference from the comments in lua/xmpp and from doc/examples
# make doc        build/doc: the manual as HTML, with a search (make check-doc installs a browser, and tests it there)
# make newcomer   do what README.md and doc/first-steps.md say, word for word, in empty systems (RELEASES: bookworm trixie);
#                 as root
# make version    write the committed file that names the version: the rockspec of the release (see lua/xmpp/version.lua)
# make dist       build/dist: the source archive of this version, the same byte for byte for everybody, and its rockspec
# make deb        build/deb: the Debian source package of this version, and the binary packages (debian/README.source)
# make clean
#
# Variables: CC, CFLAGS, LDFLAGS, LUA (lua5.4), LUA_PC (its pkg-config name: LUA's), PKG_CONFIG, PREFIX, JOBS (3),
# BUILD (where objects go), SO (the module). Where things are installed: see "Installing" below

CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
LUA ?= lua5.4
LUA_NAME := $(notdir $(LUA))
LUA_PC ?= $(LUA_NAME)
PREFIX ?= /usr/local
BUILD ?= build
# The core's object files are the same for every Lua; those that use Lua's API are in a folder for each Lua but 5.4.
OTHER_LUA := $(filter-out lua lua5.4,$(LUA_NAME))
FOR_LUA := $(BUILD)$(OTHER_LUA:%=/%)
SO ?= $(if $(OTHER_LUA),$(FOR_LUA),lua)/xmpp/core.so
SYS = $(SO:%core.so=%sys.so)
HTTP = $(SO:%core.so=%http.so)
# What is left out if its library isn't installed; HTTP_WANTED= and REDIS_WANTED= leave it out anyway.
HTTP_WANTED ?= $(shell $(PKG_CONFIG) --exists 'libcurl >= 7.68' 2>/dev/null && echo yes)
WITH_HTTP = $(if $(HTTP_WANTED),$(HTTP))
# XMPP over WebSocket is left out if wslay isn't installed. Debian's wslay has no .pc file, so the compiler is asked.
# WSLAY_WANTED= leaves it out anyway.
WSLAY_WANTED ?= $(shell echo '\#include <wslay/wslay.h>' | $(CC) $(CFLAGS) -E -x c - >/dev/null 2>&1 && echo yes)
WSLAY_WANTED := $(WSLAY_WANTED)
REDIS = $(SO:%core.so=%redis.so)
REDIS_WANTED ?= $(shell $(PKG_CONFIG) --exists 'hiredis >= 0.14' 2>/dev/null && echo yes)
WITH_REDIS = $(if $(REDIS_WANTED),$(REDIS))
# The version is in lua/xmpp/version.lua, and nowhere else.
VERSION := $(shell sed -n 's/.*number = "\([^"]*\)".*/\1/p' lua/xmpp/version.lua)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
# Warnings of newer compilers or libraries must not prevent a user's build: only our own tests set WERROR.
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Wall -Wextra $(WERROR) -fPIC -fvisibility=hidden $(CFLAGS) \
  $(if $(WSLAY_WANTED),,-DXM_WITHOUT_WSLAY)

# V=1 prints the commands.
say = $(if $(V),,@echo "  $1  $2"; )

CORE := $(patsubst c/core/%.c,$(BUILD)/core/%.o,$(wildcard c/core/*.c))
BIND := $(patsubst c/bind/%.c,$(FOR_LUA)/bind/%.o,$(wildcard c/bind/*.c))
TESTS := $(patsubst c/test/%.c,$(BUILD)/test/%,$(wildcard c/test/t_*.c))

.PHONY: all demo test check check-sanitized lint bench fuzz install uninstall clean
all: $(SO) $(SYS) $(or $(WITH_HTTP),without-http) $(or $(WITH_REDIS),without-redis) $(if $(WSLAY_WANTED),,without-wslay)
.PHONY: without-http without-redis without-wslay
without-http: ; @echo "  no libcurl (libcurl4-openssl-dev): built without xmpp.http and xmpp.upload"
without-redis: ; @echo "  no hiredis (libhiredis-dev): built without xmpp.redis and xmpp.stream"
without-wslay: ; @echo "  no wslay (libwslay-dev): built without XMPP over WebSocket (the option url)"

# Checks, before anything is compiled, that every library is there: by pkg-config, or, for libunistring, which has no
# .pc file, by the compiler.
have-libs: ; @spec/support/have-libs '$(CC)' '$(PKG_CONFIG)' '$(LUA_PC)' '$(CFLAGS)' '$(if $(LUA_PC_CFLAGS),,$(LUA_CFLAGS))'
.PHONY: have-libs
CORE_PC := openssl expat libuv libcares libidn2
CORE_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(CORE_PC))
CORE_LIBS = $(shell $(PKG_CONFIG) --libs $(CORE_PC)) -lunistring $(if $(WSLAY_WANTED),-lwslay) -lpthread
LUA_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LUA_PC))
# Empty if LUA_CFLAGS was given on the command line, as by LuaRocks, and didn't come from pkg-config.
LUA_PC_CFLAGS := $(filter file,$(origin LUA_CFLAGS))

# The core is compiled without Lua's include path, so that it can't include Lua.
$(BUILD)/core/%.o: c/core/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(CORE_CFLAGS) -MMD -MP -c -o $@ $<

# ws.c is compiled again after wslay has been installed or removed.
WSLAY_STAMP := $(BUILD)/$(if $(WSLAY_WANTED),with,without)-wslay
$(BUILD)/core/ws.o $(BUILD)/test/t_ws: $(WSLAY_STAMP)
$(WSLAY_STAMP):
	@mkdir -p $(@D)
	@rm -f $(BUILD)/with-wslay $(BUILD)/without-wslay && touch $@

# Converting a stanza takes hundreds of calls to Lua's API: without the PLT they are a little faster.
NO_PLT := $(shell $(CC) -fno-plt -Werror -E -x c /dev/null >/dev/null 2>&1 && echo -fno-plt)
$(FOR_LUA)/bind/%.o: c/bind/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(NO_PLT) $(LUA_CFLAGS) -Ic/core -MMD -MP -c -o $@ $<

$(BUILD)/libcore.a: $(CORE)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

# The module must stay loaded: Lua 5.1 and LuaJIT unload it in lua_close, while finalizers may still call it.
SYSTEM := $(shell uname -s)
MODULE = $(if $(filter Darwin,$(SYSTEM)),-bundle -undefined dynamic_lookup,-shared -Wl,-z,nodelete)
$(SO): $(BIND) $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(MODULE) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)

# xmpp.sys, the system calls of the command xmpp: a small module that needs none of the libraries.
$(SYS): c/cmd/sys.c | have-libs
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(MODULE) $(LDFLAGS) -o $@ $<

# xmpp.http, downloads and uploads: it needs libcurl, and nothing of the core.
HTTP_SOURCES = $(wildcard c/http/*.c)
$(HTTP): $(HTTP_SOURCES) $(wildcard c/http/*.h) | have-libs
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(shell $(PKG_CONFIG) --cflags libcurl openssl) $(MODULE) $(LDFLAGS) -o $@ \
	  $(HTTP_SOURCES) $(shell $(PKG_CONFIG) --libs libcurl openssl) -lpthread

# The module that talks to Redis servers, with hiredis's parser.
REDIS_SOURCES = $(wildcard c/redis/*.c)
$(REDIS): $(REDIS_SOURCES) $(wildcard c/redis/*.h) | have-libs
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(shell $(PKG_CONFIG) --cflags hiredis openssl) $(MODULE) $(LDFLAGS) -o $@ \
	  $(REDIS_SOURCES) $(shell $(PKG_CONFIG) --libs hiredis openssl) -lpthread

# The library for programs that embed Lua: it has luaopen_xmpp, and contains the Lua files.
LIB := $(FOR_LUA)/lib
LIBS := $(LIB)/libxmpp.a $(LIB)/libxmpp.so $(LIB)/xmpp.h
# Its name where it is installed: xmpp, or xmpp-luajit and so on, so that those for several Luas may be there. What is linked
# with it asks for it by the SONAME, which changes when a program has to be compiled again.
LIB_NAME := xmpp$(OTHER_LUA:%=-%)
SONAME := lib$(LIB_NAME).so.$(MAJOR)
SHARED = $(if $(filter Darwin,$(SYSTEM)),-dynamiclib -undefined dynamic_lookup -install_name $(CLIBDIR)/$(SONAME), \
  -shared -Wl,-soname,$(SONAME) -Wl,-z,nodelete)
EMBEDDED := $(filter-out lua/xmpp/types.lua lua/xmpp/cmd/%,$(shell find lua/xmpp -name '*.lua' | LC_ALL=C sort))
EMBED := $(patsubst %,$(FOR_LUA)/embed/%.o,alloc embed lua_files)
.PHONY: lib
lib: $(LIBS)

$(FOR_LUA)/embed/lua_files.c: c/embed/lua-files $(EMBEDDED)
	@mkdir -p $(@D)
	$(call say,GEN,$@)c/embed/lua-files $(EMBEDDED) >$@.new && mv $@.new $@

$(FOR_LUA)/embed/lua_files.o: $(FOR_LUA)/embed/lua_files.c
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -Ic/embed -c -o $@ $<

$(FOR_LUA)/embed/%.o: c/embed/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) -Ic/bind -MMD -MP -c -o $@ $<

$(LIB)/libxmpp.a: $(EMBED) $(BIND) $(CORE)
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(LIB)/libxmpp.so: $(EMBED) $(BIND) $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SHARED) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)
	@rm -f $(LIB)/$(SONAME:%.$(MAJOR)=%).* && ln -s libxmpp.so $(LIB)/$(SONAME)

$(LIB)/xmpp.h: c/embed/xmpp.h lua/xmpp/version.lua
	@mkdir -p $(@D)
	$(call say,GEN,$@)sed 's/@VERSION@/$(VERSION)/' $< >$@.new && mv $@.new $@

$(BUILD)/test/%: c/test/%.c $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -Ic/core -Ic/test $(shell $(PKG_CONFIG) --cflags cmocka expat) -MMD -MP -o $@ $< $(BUILD)/libcore.a \
	  $(LDFLAGS) $(CORE_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)

# The allocator of c/embed needs Lua's header, but not Lua itself.
$(BUILD)/test/t_alloc: ALL_CFLAGS += $(LUA_CFLAGS) -Ic/embed

# For somebody who sees the library for the first time, on a machine where nothing is installed yet.
demo:
	@spec/support/install demo
	@$(MAKE) --no-print-directory all
	@spec/support/demo

# $(MAKE) is called again, since the variables above must be computed after the packages have been installed.
test:
	@spec/support/install test
	@$(MAKE) --no-print-directory -j$(JOBS) WERROR=-Werror all tests bench-programs
	@for lua in $(OTHER_LUAS); do $(MAKE) --no-print-directory -j$(JOBS) WERROR=-Werror LUA=$$lua all || exit 1; done
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory check-sanitized
	@$(MAKE) --no-print-directory check ONLY=rest
	@for lua in $(OTHER_LUAS); do $(MAKE) --no-print-directory LUA=$$lua check || exit 1; done

# `make check` runs everything with one Lua. `make test` runs what it can under sanitizers, with Lua 5.4; then, with
# ONLY=rest, what cannot run that way, and the C tests as they are compiled for users; and the specs with other Luas,
# most of them with LuaJIT.
#
# The longest specs run first, so that none of them runs alone at the end. Tests wait more than they compute, so there
# are four jobs (JOBS) for two processors.
LONGEST = $(patsubst %,spec/%_spec.lua,soak farm websocket pipelining faults plain deb embed reconnect connect hostility rock sasl game sweep \
  loop links)
SPECS := $(LONGEST) $(filter-out $(LONGEST),$(wildcard spec/*_spec.lua))
JOBS ?= 4
# Lua 5.4 runs all specs. LuaJIT runs all but those that test only the core (logins, reconnecting, sessions), whose object
# files are the same for each Lua, and those that measure memory or make allocations fail, as LuaJIT has an allocator of
# its own. The other Luas run the specs of the binding, and a few logins.
OTHER_LUAS = luajit lua5.1 lua5.3
NOT_LUAJIT = $(patsubst %,spec/%_spec.lua,account_live archive_live bench blame browser build burst certs chat_live \
  cmd_certificate cmd_live cmd_token command_live connect container deb discovery doc drain_live early expat farm \
  farm_example fast faults gateway_live hosts hostility http_faults links locale logout manual manual_live memory \
  muc_live muc_soak newcomer newer opening pipelining plain poison presence_live probe_live proxy proxy_live \
  pubsub_live reconnect reference remember roster_live sasl sasl2 sasl2_play redis_faults secrets session soak \
  starttls stream stream_intake upload_live websocket)
CORE_SPECS = $(patsubst %,spec/%_spec.lua,add archive avatar await blocking bookmark bot bytes callback caps chat \
  chat_words clock command csi disco engine escape ext finalizer form gateway hostmeta http info iq later listen loop luas \
  message muc muc_alive muc_message muc_outbox muc_owner on_open presence promise pubsub queue redis refusals register \
  reload response roster roundtrip sandbox seed serial service skipped spelling stream tap testing time upload watch who \
  xexpr)
LONGEST_C = $(patsubst %,$(BUILD)/test/%,t_tls_memory t_xml)
C_TESTS = $(filter-out $(LONGEST_C),$(TESTS)) spec/support/precis-compare spec/support/stringprep-compare
HOSTILE = spec/support/hostile/run
# The tests of parsing, run once more with expat parsing everything. (Otherwise c/core/scan parses ordinary stanzas.)
ALL_BY_EXPAT = +XM_SCAN=0
XML_TESTS = $(patsubst %,$(BUILD)/test/%,t_xml t_xml_skip t_xml_refusals t_out)
BY_EXPAT = $(addsuffix $(ALL_BY_EXPAT),$(HOSTILE) $(XML_TESTS) $(BUILD)/test/t_torture spec/roundtrip_spec.lua)
# These specs are run once more over WebSocket.
OVER_WEBSOCKET = $(if $(WSLAY_WANTED),$(patsubst %,spec/%_spec.lua+XMPP_OVER=websocket,live muc_live))
ALL_CHECKED = $(HOSTILE) $(LONGEST_C) $(SPECS) $(C_TESTS) $(BY_EXPAT) $(OVER_WEBSOCKET)
NOT_REST = $(HOSTILE) $(SANITIZED_SPECS) $(BUILD)/test/t_torture
CHECKED = $(if $(filter luajit,$(OTHER_LUA)),$(filter-out $(NOT_LUAJIT),$(SPECS)),$(if $(OTHER_LUA),$(CORE_SPECS),$(if $(filter rest,$(ONLY)),$(filter-out $(NOT_REST),$(ALL_CHECKED)),$(ALL_CHECKED))))
# When a test writes to stderr, prove reads nothing else until that test also writes to stdout: the other jobs stand
# still. So tests write to the stderr of make.
PROVE = STDERR=9 9>&2 prove --timer -j$(JOBS) --exec spec/support/tap
NEW_CERTS = rm -rf $$CERTS && env -u CERTS spec/support/certs $$CERTS
check: export ROUNDTRIP_CASES ?= $(if $(OTHER_LUA),2000,10000)
check: export CERTS = $(abspath $(BUILD))/certs
check: all bench-programs $(if $(OTHER_LUA),,tests)
	@$(NEW_CERTS)
	BUILD=$(BUILD) LUA=$(LUA) SO_DIR=$${SO_DIR:-$(SO:%/xmpp/core.so=%)} $(PROVE) $(CHECKED)

# The same under AddressSanitizer and UBSan, and 5000 executions of each fuzz target. Leaks are reported, too, since a
# spec's process closes its Lua state. The longest C tests try a sample of their cases (SAMPLE): `make check` tries them
# all.
# Left out are specs that preload a library of their own (expat, bench), that look for what a process leaves in memory
# (a sanitizer's quarantine keeps it), that build the library themselves (build, rock), and live ones that take long.
NOT_SANITIZED = $(patsubst %,spec/%_spec.lua,account_live archive_live bench browser build burst chat_live cmd_certificate cmd_live cmd_token \
  command_live container deb doc examples expat farm farm_example gateway_live manual_live memory muc_live muc_soak newcomer \
  plain presence_live probe_live proxy_live pubsub_live rock roster_live secrets upload_live)
SANITIZED_SPECS = $(filter-out $(NOT_SANITIZED),$(SPECS))
SANITIZED = $(LONGEST_C) $(SANITIZED_SPECS) $(filter-out $(LONGEST_C),$(TESTS))
SANITIZE = -O1 -g -DXM_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
check-sanitized: export CERTS = $(abspath build-san)/certs
check-sanitized: export ROUNDTRIP_CASES ?= 4000
check-sanitized: export SAMPLE ?= 5
check-sanitized:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build-san SO=build-san/lua/xmpp/core.so CFLAGS='$(SANITIZE)' \
	  WERROR=-Werror all tests
	@$(NEW_CERTS)
	@$(MAKE) --no-print-directory fuzzers
	SO_DIR=build-san/lua PRELOAD="$$($(CC) -print-file-name=libasan.so)" \
	  ASAN_OPTIONS=intercept_tls_get_addr=0 LUA=$(LUA) \
	  $(PROVE) spec/support/fuzz-short $(HOSTILE) $(SANITIZED:$(BUILD)/%=build-san/%)
.PHONY: tests
tests: $(TESTS) $(BUILD)/test/precis_dump $(BUILD)/test/stringprep_dump

# gcc and clang with more warnings than in the build; a build at -O3, where gcc finds other things; luacheck; and
# luac5.1, as the Lua files must keep to 5.1's syntax.
STRICT_CFLAGS = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only
LUA_FILES = $(shell find lua spec examples doc -name '*.lua')
lint:
	spec/support/lint-arrows
	@for cc in gcc clang; do \
	  printf '%s\n' c/core/*.c | xargs -P$(JOBS) -n8 $$cc $(STRICT_CFLAGS) -Wconversion -Wno-sign-conversion $(CORE_CFLAGS) || exit 1; \
	  for lua in lua5.4 $(OTHER_LUAS); do \
	    printf '%s\n' c/bind/*.c c/embed/*.c c/cmd/*.c | xargs -P$(JOBS) -n8 $$cc $(STRICT_CFLAGS) $$($(PKG_CONFIG) --cflags $$lua) -Ic/core -Ic/bind || exit 1; \
	    printf '%s\n' c/http/*.c | xargs -P$(JOBS) -n8 $$cc $(STRICT_CFLAGS) $$($(PKG_CONFIG) --cflags $$lua libcurl openssl) || exit 1; \
	    printf '%s\n' c/redis/*.c | xargs -P$(JOBS) -n8 $$cc $(STRICT_CFLAGS) $$($(PKG_CONFIG) --cflags $$lua hiredis openssl) || exit 1; \
	  done; \
	done
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build-lint SO=build-lint/core.so CFLAGS=-O3 WERROR=-Werror all
	luacheck -q lua spec examples doc bin/xmpp
	luac5.1 -p $(LUA_FILES) bin/xmpp

# With STRICT=1 a missed goal is a failure. spec/bench/rows.lua lists what is measured, and the other libraries. If
# LuaJIT is installed, the module for it is built as well, to be compared with Lua's.
$(BUILD)/bench/%: spec/bench/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(shell $(PKG_CONFIG) --cflags expat) -o $@ $< $(LDFLAGS) \
	  $(shell $(PKG_CONFIG) --libs expat) -lpthread

$(BUILD)/bench/tls $(BUILD)/bench/tlspeer: $(BUILD)/bench/%: spec/bench/%.c $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -Ic/core $(CORE_CFLAGS) -o $@ $< $(BUILD)/libcore.a $(LDFLAGS) $(CORE_LIBS)

$(BUILD)/bench/idle $(BUILD)/bench/crowd: $(BUILD)/bench/%: spec/bench/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(shell $(PKG_CONFIG) --cflags openssl) -o $@ $< $(LDFLAGS) \
	  $(shell $(PKG_CONFIG) --libs openssl)

$(addprefix $(BUILD)/bench/,peer crowd tlspeer): spec/bench/command.h
$(addprefix $(BUILD)/bench/,raw tls): spec/bench/figure.h

$(BUILD)/bench/%.so: spec/bench/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -shared -o $@ $<

.PHONY: trips
trips: all $(BUILD)/bench/capture
	@BUILD=$(BUILD) SO_DIR=$(SO:%/xmpp/core.so=%) $(LUA) spec/bench/trips

# Benchmark programs for other libraries, with the pkg-config names of what they need. A program is built if that is
# installed; otherwise make bench skips it. (go-xmpp needs Go and Debian's package of it.)
strophe_PC = libstrophe
iksemel_PC = iksemel
loudmouth_PC = loudmouth-1.0
gloox_PC = gloox
qxmpp_PC = qxmpp Qt5Xml Qt5Network
GOCODE = /usr/share/gocode
OTHERS := $(foreach p,strophe iksemel loudmouth gloox qxmpp,$(shell $(PKG_CONFIG) --exists '$($p_PC)' 2>/dev/null && echo $p)) \
  $(if $(wildcard $(GOCODE)/src/github.com/mattn/go-xmpp),$(shell command -v go >/dev/null && echo goxmpp))
pc = $(shell $(PKG_CONFIG) $(1) $($*_PC))

$(BUILD)/bench/%: spec/bench/others/%.c spec/bench/figure.h
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(call pc,--cflags) -o $@ $< $(LDFLAGS) $(call pc,--libs)

$(BUILD)/bench/%: spec/bench/others/%.cc spec/bench/figure.h
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) -std=c++17 -Wall -Wextra $(WERROR) -fPIC $(CFLAGS) $(call pc,--cflags) -o $@ $< $(LDFLAGS) \
	  $(call pc,--libs)

$(BUILD)/bench/%: spec/bench/others/%.go
	@mkdir -p $(@D)
	$(call say,GO,$<)GOPATH=$(GOCODE) GO111MODULE=off GOCACHE=$(abspath $(BUILD))/go-cache go build -o $@ $<

BENCHES := $(patsubst spec/bench/%.c,$(BUILD)/bench/%,$(wildcard spec/bench/*.c)) $(OTHERS:%=$(BUILD)/bench/%)
BENCHES := $(BENCHES:%/count=%/count.so)
.PHONY: bench-programs bench-peers bench-results
bench-programs: all $(BENCHES)
bench:
	@spec/support/install demo
	@$(MAKE) --no-print-directory bench-programs
	@if $(PKG_CONFIG) --exists luajit; then $(MAKE) --no-print-directory LUA=luajit all; fi
	@BUILD=$(BUILD) LUA=$(LUA) SO_DIR=$(SO:%/xmpp/core.so=%) $(LUA) spec/bench/run

# Installs the libraries that make bench compares with: Debian's packages, and xmpp.js in build/bench. Those that can't
# be installed are skipped.
bench-peers:
	@spec/support/install bench
	@mkdir -p $(BUILD)/bench
	npm install --silent --no-save --no-package-lock --prefix $(BUILD)/bench @xmpp/component@0.13.1

# Runs make bench, and puts its tables and pictures into README.md and doc/performance.md.
bench-results:
	@BENCH_OUT=spec/bench/results $(MAKE) --no-print-directory bench
	@$(LUA) spec/bench/readme.lua

# Tries every place where the connection, an allocation or a system call can fail; make check tries a sample. Takes more
# than an hour.
.PHONY: torture
torture: all $(BUILD)/test/t_torture
	TORTURE=1 LIMIT=7200 prove --exec spec/support/tap $(BUILD)/test/t_torture spec/faults_spec.lua \
	  spec/embed_spec.lua

# How much of c/core the tests execute, by gcovr; no file or line is excluded. (Not run are build_spec, which checks the
# module's symbols and doesn't expect gcov's, and bench_spec.)
COVERAGE_SPECS = $(filter-out spec/build_spec.lua spec/bench_spec.lua,$(SPECS))
GCOVR = gcovr --root . --filter c/core/
.PHONY: coverage
coverage:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build-cov SO=build-cov/lua/xmpp/core.so CFLAGS='-O0 -g --coverage' all tests
	@find build-cov -name '*.gcda' -delete
	SO_DIR=build-cov/lua LUA=$(LUA) prove --exec spec/support/tap $(patsubst $(BUILD)/%,build-cov/%,$(TESTS)) $(COVERAGE_SPECS) \
	  spec/support/hostile/run
	@$(GCOVR) --branches build-cov
	@$(GCOVR) --print-summary --fail-under-line 95 --fail-under-branch 85 build-cov

# Takes about an hour. Two of the servers are downloaded from Debian's backports (spec/support/backports).
.PHONY: soak
soak: all
	@ulimit -n $$(ulimit -Hn); LUA=$(LUA) $(LUA) spec/support/soak

.PHONY: mutants
mutants: all
	@spec/support/mutants

# The library and the fuzz targets are built with instrumentation in build-fuzz. They are linked with archives, so that
# a target can define some of the library's functions itself.
FUZZ_RUNS ?= 1000000
FUZZ_CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
FUZZERS := $(patsubst c/test/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard c/test/fuzz/*.c))
$(BUILD)/libbind.a: $(BIND)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
$(BUILD)/fuzz/%: c/test/fuzz/%.c $(BUILD)/libbind.a $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer $(LUA_CFLAGS) -Ic/core -Ic/bind -MMD -MP -o $@ $< \
	  $(BUILD)/libbind.a $(BUILD)/libcore.a $(LDFLAGS) $(CORE_LIBS) $(shell $(PKG_CONFIG) --libs $(LUA_PC))
# The same targets without libFuzzer and its instrumentation, for very many executions:
# build/drive/scan 100000000 1 c/test/corpus/*.xml
$(BUILD)/drive/%: c/test/fuzz/%.c c/test/fuzz/drive/drive.c $(BUILD)/libbind.a $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) -Ic/core -Ic/bind -Ic/test/fuzz -o $@ $(filter %.c,$^) \
	  $(BUILD)/libbind.a $(BUILD)/libcore.a $(LDFLAGS) $(CORE_LIBS) $(shell $(PKG_CONFIG) --libs $(LUA_PC))
.PHONY: fuzzers fuzzers-here
fuzzers-here: $(FUZZERS)
fuzzers:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build-fuzz CC=clang CFLAGS='$(FUZZ_CFLAGS)' fuzzers-here
fuzz:
	@FUZZ_RUNS=$(FUZZ_RUNS) JOBS=$(JOBS) spec/support/fuzz-short

# Installing. LIBDIR is for modules of Lua in C (LuaRocks calls it so), CLIBDIR for libxmpp.
LUA_VERSION = $(shell $(LUA) -e 'io.write((_VERSION:match "%d.%d"))')
LUADIR ?= $(PREFIX)/share/lua/$(LUA_VERSION)
LIBDIR ?= $(PREFIX)/lib/lua/$(LUA_VERSION)
BINDIR ?= $(PREFIX)/bin
SHAREDIR ?= $(PREFIX)/share
MANDIR ?= $(SHAREDIR)/man
BASHDIR ?= $(SHAREDIR)/bash-completion/completions
ZSHDIR ?= $(SHAREDIR)/zsh/site-functions
FISHDIR ?= $(SHAREDIR)/fish/vendor_completions.d
CLIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(CLIBDIR)/pkgconfig
MAN = $(BUILD)/man/xmpp.1
COMPLETIONS = $(addprefix $(BUILD)/man/xmpp.,bash zsh fish)
COMMAND = $(FOR_LUA)/bin/xmpp
INSTALLED = $(shell cd lua && find xmpp -name '*.lua')
.PHONY: man
man: $(MAN)

# The manual page and the shell completions are generated from the command's table of subcommands, by any Lua.
CMD_FILES = $(wildcard lua/xmpp/cmd/*.lua) lua/xmpp/version.lua
FROM_TABLE = LUA_PATH='lua/?.lua;lua/?/init.lua' $(LUA) -e
$(MAN): $(CMD_FILES)
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(FROM_TABLE) 'io.write(require "xmpp.cmd.man".page())' >$@.new && mv $@.new $@

$(COMPLETIONS): $(BUILD)/man/xmpp.%: $(CMD_FILES)
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(FROM_TABLE) 'io.write(require "xmpp.cmd.complete"["$*"](require "xmpp.cmd.spec"))' >$@.new && mv $@.new $@

# The installed command runs on the Lua that the module was built for, and has the paths of the installed files in it.
$(COMMAND): bin/xmpp FORCE
	@mkdir -p $(@D)
	@lua=$$(command -v $(LUA)) && sed -e "1s|.*|#!$$lua|" -e 's|^\(local LUA_FOLDER, MODULE_FOLDER\) = nil, nil|\1 = "$(LUADIR)", "$(LIBDIR)"|' \
	  bin/xmpp >$@.new && mv $@.new $@
.PHONY: FORCE

install: install-library $(MAN) $(COMPLETIONS) $(COMMAND)
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(MANDIR)/man1 $(BASHDIR) $(ZSHDIR) $(FISHDIR))
	install -m 755 $(COMMAND) $(DESTDIR)$(BINDIR)/xmpp
	install -m 644 $(MAN) $(DESTDIR)$(MANDIR)/man1/xmpp.1
	install -m 644 $(BUILD)/man/xmpp.bash $(DESTDIR)$(BASHDIR)/xmpp
	install -m 644 $(BUILD)/man/xmpp.zsh $(DESTDIR)$(ZSHDIR)/_xmpp
	install -m 644 $(BUILD)/man/xmpp.fish $(DESTDIR)$(FISHDIR)/xmpp.fish

# The manual. doc/reference is committed, so that it can be read in the repository; a test checks that it is up to date.
.PHONY: reference doc check-doc
reference:
	$(call say,GEN,doc/reference)$(LUA) doc/make/reference.lua

doc:
	@spec/support/install doc
	$(call say,GEN,$(BUILD)/doc/index.html)$(LUA) doc/make/html.lua $(BUILD)/doc

check-doc: all
	@spec/support/install check-doc
	SO_DIR=$(SO:%/xmpp/core.so=%) LUA=$(LUA) prove --timer --exec spec/support/tap spec/doc_spec.lua spec/browser_spec.lua spec/manual_spec.lua \
	  spec/reference_spec.lua spec/manual_live_spec.lua

# About a quarter of an hour for each release. The systems are kept in build/newcomer.
RELEASES ?= bookworm trixie
.PHONY: newcomer
newcomer:
	@spec/support/install newcomer
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) SO_DIR=$(SO:%/xmpp/core.so=%) spec/support/newcomer $(RELEASES)

# For LuaRocks, which makes a wrapper for the command itself, and looks for the manual page in the rock's doc folder.
.PHONY: install-rock install-library install-modules
install-rock: install-library $(MAN)
	install -d $(DESTDIR)$(DOCDIR)
	install -m 644 $(MAN) $(DESTDIR)$(DOCDIR)

install-library: install-modules
	@for f in $(INSTALLED); do \
	  install -d $(DESTDIR)$(LUADIR)/$${f%/*} && install -m 644 lua/$$f $(DESTDIR)$(LUADIR)/$$f || exit 1; \
	done

install-modules: all
	install -d $(DESTDIR)$(LIBDIR)/xmpp
	install -m 755 $(SO) $(SYS) $(WITH_HTTP) $(WITH_REDIS) $(DESTDIR)$(LIBDIR)/xmpp

# Removes only what make install has put there, and then the folders that are empty.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(LUADIR)/,$(INSTALLED)) $(addprefix $(DESTDIR)$(LIBDIR)/xmpp/,core.so sys.so http.so redis.so) \
	  $(addprefix $(DESTDIR),$(BINDIR)/xmpp $(MANDIR)/man1/xmpp.1 $(BASHDIR)/xmpp $(ZSHDIR)/_xmpp $(FISHDIR)/xmpp.fish)
	-@for d in $(patsubst lua/%,$(LUADIR)/%,$(shell find lua/xmpp -type d | LC_ALL=C sort -r)) $(LIBDIR)/xmpp; do \
	  rmdir $(DESTDIR)$$d 2>/dev/null || true; \
	done

# libxmpp. A program finds it by `pkg-config --cflags --libs xmpp` (xmpp-luajit and so on), and with --static what libxmpp.a
# needs.
PC = $(LIB)/$(LIB_NAME).pc
.PHONY: install-lib uninstall-lib
$(PC): FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(CLIBDIR)' 'includedir=$(INCLUDEDIR)' '' 'Name: $(LIB_NAME)' \
	  'Description: XMPP for programs that embed Lua' 'Version: $(VERSION)' 'Requires: $(LUA_PC)' \
	  'Requires.private: $(CORE_PC)' 'Libs: -L$${libdir} -l$(LIB_NAME)' \
	  'Libs.private: -lunistring $(if $(WSLAY_WANTED),-lwslay )-lpthread' 'Cflags: -I$${includedir}' >$@

install-lib: lib $(PC)
	install -d $(addprefix $(DESTDIR),$(CLIBDIR) $(INCLUDEDIR) $(PKGCONFIGDIR))
	install -m 644 $(LIB)/libxmpp.a $(DESTDIR)$(CLIBDIR)/lib$(LIB_NAME).a
	install -m 755 $(LIB)/libxmpp.so $(DESTDIR)$(CLIBDIR)/lib$(LIB_NAME).so.$(VERSION)
	ln -sf lib$(LIB_NAME).so.$(VERSION) $(DESTDIR)$(CLIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(CLIBDIR)/lib$(LIB_NAME).so
	install -m 644 $(LIB)/xmpp.h $(DESTDIR)$(INCLUDEDIR)/xmpp.h
	install -m 644 $(PC) $(DESTDIR)$(PKGCONFIGDIR)/$(LIB_NAME).pc

uninstall-lib:
	rm -f $(addprefix $(DESTDIR)$(CLIBDIR)/,$(addprefix lib$(LIB_NAME).,a so so.$(VERSION)) $(SONAME)) \
	  $(DESTDIR)$(INCLUDEDIR)/xmpp.h $(DESTDIR)$(PKGCONFIGDIR)/$(LIB_NAME).pc

# The rockspec of the release is the one of the repository, with another version and source.
ROCKSPEC = rockspec/xmpp-$(VERSION)-1.rockspec
.PHONY: version
version:
	@rm -f $(filter-out $(ROCKSPEC),$(wildcard rockspec/xmpp-[0-9]*.rockspec))
	$(call say,GEN,$(ROCKSPEC))sed -e 's|^version = .*|version = "$(VERSION)-1"|' \
	  -e 's|^source = .*|-- The archive and this file lie in one folder: "make dist" puts them there.\n&|' \
	  -e 's|"git+file://\."|"xmpp-$(VERSION).tar.gz"|' rockspec/xmpp-dev-1.rockspec >$(ROCKSPEC)

# The archive has the files that git tracks, or would add; without git, all but the results of builds.
DIST = xmpp-$(VERSION)
# The archive is reproducible: the same files give the same bytes, whoever makes it, where and when. Its time is the commit's,
# or that of the archive it is made from.
DIST_TIME := $(if $(filter dist deb,$(MAKECMDGOALS)),$(or $(SOURCE_DATE_EPOCH),\
  $(shell if [ -e .git ]; then git log -1 --format=%ct; fi),$(shell date -r Makefile +%s)))
.PHONY: dist
dist: version
	@mkdir -p $(BUILD)/dist
	@rm -rf $(BUILD)/dist/$(DIST)*
	@files=$$({ [ -e .git ] && git ls-files -co --exclude-standard || \
	    find . -type f ! -path './build*' ! -path './.git/*' ! -path '*/__pycache__/*' ! -name '*.so' ! -name '*.o' ! -name '*.rock'; } | \
	    while read -r f; do [ ! -f "$$f" ] || echo "$$f"; done) && mkdir $(BUILD)/dist/$(DIST) && \
	  echo "$$files" | tar -cf - -T - | tar -xf - -C $(BUILD)/dist/$(DIST)
	cd $(BUILD)/dist && tar --sort=name --mtime=@$(DIST_TIME) --owner=0 --group=0 --numeric-owner --format=gnu --mode=u+rw,go=rX,a-st -cf - \
	  $(DIST) | gzip -9n >$(DIST).tar.gz
	@rm -rf $(BUILD)/dist/$(DIST)
	cp $(ROCKSPEC) $(BUILD)/dist

# Debian's tools make their source package of that archive and of debian/, and build it. Whose package it is: DEBFULLNAME and
# DEBEMAIL, else debian/control's Maintainer. What this make was told is not for theirs.
DEB = $(abspath $(BUILD))/deb
.PHONY: deb
deb: dist
	@rm -rf $(DEB) && mkdir -p $(DEB)
	@cp $(BUILD)/dist/$(DIST).tar.gz $(DEB)/lua-xmpp_$(VERSION).orig.tar.gz
	@tar -xzf $(BUILD)/dist/$(DIST).tar.gz -C $(DEB)
	@cd $(DEB)/$(DIST) && debian/prepare $(VERSION) $(DIST_TIME)
	cd $(DEB)/$(DIST) && env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL dpkg-buildpackage -us -uc $(DEB_OPTIONS)

clean:
	rm -rf build build-san build-fuzz build-cov build-lint lua/xmpp/core.so lua/xmpp/sys.so lua/xmpp/http.so lua/xmpp/redis.so

-include $(wildcard $(BUILD)/*/*.d) $(if $(OTHER_LUA),$(wildcard $(FOR_LUA)/*/*.d))
