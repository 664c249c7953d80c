# make            build lua/xmpp/core.so for Lua 5.4, and http.so where libcurl is, redis.so where hiredis is; LUA=luajit,
#                 lua5.1, lua5.3: build/$(LUA)/xmpp/core.so for that one
# make lib        build/lib (build/$(LUA)/lib): libxmpp.a, libxmpp.so and xmpp.h, for programs that embed that Lua
# make demo       install what is missing, build, and show the library at work against a real server
# make test       the same set-up, then every test, plain and under sanitizers
# make check      every test once, without set-up or sanitizers (LUA, SO_DIR, PRELOAD: see spec/support/tap); with LUA=luajit
#                 every spec, with LUA=lua5.1 or lua5.3 the specs of the binding
# make lint       the arrows between the rooms, the warnings of gcc and clang, luacheck
# make bench      the same set-up as make demo, then ratios measured side by side with raw expat, sockets and OpenSSL, and
#                 other libraries; growth (make bench-peers installs those; make bench-results writes what README shows)
# make trips      how often a login waits for an answer, counted by a capture (XMPP_SERVER=ejabberd, prosody13+sasl2: another server)
# make torture    fail every allocation and system call of a session, and the wire behind every byte, one at a time
# make coverage   lines and branches of c/core that the tests run through (at least 95 % and 85 %)
# make soak       20,000 messages under 1,000 cuts on four servers; a farm of workers that are killed; flat memory (see
#                 spec/support/soak)
# make mutants    take checks out, one at a time: some test must fail
# make fuzz       libFuzzer targets under sanitizers (FUZZ_RUNS=1000000); make test has 5000 of each
# make install    PREFIX=/usr/local; make uninstall takes it away again
# make man        build/man/xmpp.1, the manual of the command
# make reference  doc/reference, made anew from the comments in lua/xmpp and from doc/examples
# make doc        build/doc, the manual as HTML, with a search (make check-doc installs a browser, and looks at it)
# make dist       build/dist: the archive of this version, and the rockspec that names it
# make clean
#
# Variables: CC, CFLAGS, LDFLAGS, LUA (lua5.4), LUA_PC (its pkg-config name: LUA's), PKG_CONFIG, PREFIX, JOBS (3),
# BUILD (where objects go), SO (the module)

CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
LUA ?= lua5.4
LUA_NAME := $(notdir $(LUA))
LUA_PC ?= $(LUA_NAME)
PREFIX ?= /usr/local
BUILD ?= build
# The core is the same for every Lua; what knows Lua is kept apart for each of the others.
OTHER_LUA := $(filter-out lua lua5.4,$(LUA_NAME))
FOR_LUA := $(BUILD)$(OTHER_LUA:%=/%)
SO ?= $(if $(OTHER_LUA),$(FOR_LUA),lua)/xmpp/core.so
SYS = $(SO:%core.so=%sys.so)
HTTP = $(SO:%core.so=%http.so)
# The parts that are left out where their library isn't there; HTTP_WANTED= and REDIS_WANTED= leave them out anyway.
HTTP_WANTED ?= $(shell $(PKG_CONFIG) --exists 'libcurl >= 7.68' 2>/dev/null && echo yes)
WITH_HTTP = $(if $(HTTP_WANTED),$(HTTP))
# The same for XMPP over WebSocket and wslay, which has no .pc file in Debian: the compiler is asked. WSLAY_WANTED= leaves it out.
WSLAY_WANTED ?= $(shell echo '\#include <wslay/wslay.h>' | $(CC) $(CFLAGS) -E -x c - >/dev/null 2>&1 && echo yes)
WSLAY_WANTED := $(WSLAY_WANTED)
REDIS = $(SO:%core.so=%redis.so)
REDIS_WANTED ?= $(shell $(PKG_CONFIG) --exists 'hiredis >= 0.14' 2>/dev/null && echo yes)
WITH_REDIS = $(if $(REDIS_WANTED),$(REDIS))
# A warning of a compiler or a library that is newer than we are is no reason to have nothing: WERROR is for our own tests.
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Wall -Wextra $(WERROR) -fPIC -fvisibility=hidden $(CFLAGS) \
  $(if $(WSLAY_WANTED),,-DXM_WITHOUT_WSLAY)

# V=1 shows the commands.
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

# Every library by pkg-config; libunistring has no .pc file, so the compiler is asked. First line wins the blame.
have-libs: ; @spec/support/have-libs '$(CC)' '$(PKG_CONFIG)' '$(LUA_PC)' '$(CFLAGS)' '$(if $(LUA_PC_CFLAGS),,$(LUA_CFLAGS))'
.PHONY: have-libs
CORE_PC := openssl expat libuv libcares libidn2
CORE_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(CORE_PC))
CORE_LIBS = $(shell $(PKG_CONFIG) --libs $(CORE_PC)) -lunistring $(if $(WSLAY_WANTED),-lwslay) -lpthread
LUA_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LUA_PC))
# Did these come from pkg-config? A rock is built with LuaRocks's own.
LUA_PC_CFLAGS := $(filter file,$(origin LUA_CFLAGS))

# The core is compiled without Lua's include path: the compiler keeps the first arrow.
$(BUILD)/core/%.o: c/core/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(CORE_CFLAGS) -MMD -MP -c -o $@ $<

# Built again when the library has come, or gone.
WSLAY_STAMP := $(BUILD)/$(if $(WSLAY_WANTED),with,without)-wslay
$(BUILD)/core/ws.o $(BUILD)/test/t_ws: $(WSLAY_STAMP)
$(WSLAY_STAMP):
	@mkdir -p $(@D)
	@rm -f $(BUILD)/with-wslay $(BUILD)/without-wslay && touch $@

# A stanza is hundreds of calls of Lua's functions, none of which is to go by a detour.
NO_PLT := $(shell $(CC) -fno-plt -Werror -E -x c /dev/null >/dev/null 2>&1 && echo -fno-plt)
$(FOR_LUA)/bind/%.o: c/bind/%.c | have-libs
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(NO_PLT) $(LUA_CFLAGS) -Ic/core -MMD -MP -c -o $@ $<

$(BUILD)/libcore.a: $(CORE)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

# It stays in the process: Lua 5.1 and LuaJIT unload it at lua_close, while finalizers may still call it.
NODELETE = -Wl,-z,nodelete
$(SO): $(BIND) $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) -shared $(NODELETE) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)

# What the command asks the system for: small, and without the libraries.
$(SYS): c/cmd/sys.c | have-libs
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) -shared $(NODELETE) $(LDFLAGS) -o $@ $<

# What fetches and uploads: libcurl's, and without the rest.
HTTP_SOURCES = $(wildcard c/http/*.c)
$(HTTP): $(HTTP_SOURCES) $(wildcard c/http/*.h) | have-libs
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(shell $(PKG_CONFIG) --cflags libcurl openssl) -shared $(NODELETE) $(LDFLAGS) -o $@ \
	  $(HTTP_SOURCES) $(shell $(PKG_CONFIG) --libs libcurl openssl) -lpthread

# What asks a Redis server: hiredis's, and without the rest.
REDIS_SOURCES = $(wildcard c/redis/*.c)
$(REDIS): $(REDIS_SOURCES) $(wildcard c/redis/*.h) | have-libs
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(shell $(PKG_CONFIG) --cflags hiredis openssl) -shared $(NODELETE) $(LDFLAGS) -o $@ \
	  $(REDIS_SOURCES) $(shell $(PKG_CONFIG) --libs hiredis openssl) -lpthread

# For programs that embed Lua: with luaopen_xmpp, and the Lua files in it.
LIB := $(FOR_LUA)/lib
LIBS := $(LIB)/libxmpp.a $(LIB)/libxmpp.so $(LIB)/xmpp.h
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

# What is linked with it asks for it by this name, wherever it lay.
$(LIB)/libxmpp.so: $(EMBED) $(BIND) $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) -shared -Wl,-soname,libxmpp.so $(NODELETE) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)

$(LIB)/xmpp.h: c/embed/xmpp.h
	@mkdir -p $(@D)
	@cp $< $@

$(BUILD)/test/%: c/test/%.c $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -Ic/core -Ic/test $(shell $(PKG_CONFIG) --cflags cmocka expat) -MMD -MP -o $@ $< $(BUILD)/libcore.a \
	  $(LDFLAGS) $(CORE_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)

# What c/embed has that needs no Lua, but its header.
$(BUILD)/test/t_alloc: ALL_CFLAGS += $(LUA_CFLAGS) -Ic/embed

# For a person who sees it for the first time, and for a machine that has nothing.
demo:
	@spec/support/install demo
	@$(MAKE) --no-print-directory all
	@spec/support/demo

# $(MAKE) again: what the set-up installs must be there when the variables above are computed.
test:
	@spec/support/install test
	@$(MAKE) --no-print-directory -j$(JOBS) WERROR=-Werror all tests bench-programs
	@for lua in $(OTHER_LUAS); do $(MAKE) --no-print-directory -j$(JOBS) WERROR=-Werror LUA=$$lua all || exit 1; done
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory check-sanitized
	@$(MAKE) --no-print-directory check
	@for lua in $(OTHER_LUAS); do $(MAKE) --no-print-directory LUA=$$lua check || exit 1; done

# The longest first, so that none of them is alone at the end. They wait more than they work: three on two processors.
LONGEST = $(patsubst %,spec/%_spec.lua,soak farm websocket pipelining faults embed reconnect connect hostility rock sasl game sweep \
  loop links)
SPECS := $(LONGEST) $(filter-out $(LONGEST),$(wildcard spec/*_spec.lua))
JOBS ?= 3
# For 5.4 everything. The core's object files are the same whatever the Lua, so LuaJIT is spared what tries only them, and
# what weighs memory or makes it fail, as it has an allocator of its own; for the others what the binding does, and logging in.
OTHER_LUAS = luajit lua5.1 lua5.3
NOT_LUAJIT = $(patsubst %,spec/%_spec.lua,account_live archive_live bench browser build burst certs chat_live cmd_certificate \
  cmd_live cmd_token command_live discovery doc early expat farm farm_example faults gateway_live hosts hostility http_faults links logout manual manual_live \
  memory muc_live muc_soak newer pipelining poison presence_live probe_live proxy_live pubsub_live reference remember roster_live sasl \
  redis_faults secrets soak starttls upload_live websocket)
CORE_SPECS = $(patsubst %,spec/%_spec.lua,add archive avatar await blocking bookmark bot bytes callback caps chat \
  chat_words clock command csi disco engine escape ext finalizer form gateway hostmeta http info iq later listen loop luas \
  message muc muc_alive muc_message muc_outbox muc_owner on_open presence promise pubsub queue redis refusals register \
  reload response roster roundtrip sandbox seed serial service skipped spelling stream tap testing time upload watch who \
  xexpr)
LONGEST_C = $(patsubst %,$(BUILD)/test/%,t_tls_memory t_xml)
C_TESTS = $(filter-out $(LONGEST_C),$(TESTS)) spec/support/precis-compare spec/support/stringprep-compare
HOSTILE = spec/support/hostile/run
# What xml reads, once more with all of it left to expat. (Else xml reads by itself what is ordinary.)
ALL_BY_EXPAT = +XM_SCAN=0
XML_TESTS = $(patsubst %,$(BUILD)/test/%,t_xml t_xml_skip t_xml_refusals t_out)
BY_EXPAT = $(addsuffix $(ALL_BY_EXPAT),$(HOSTILE) $(XML_TESTS) $(BUILD)/test/t_torture spec/roundtrip_spec.lua)
# Once more, over WebSocket.
OVER_WEBSOCKET = $(if $(WSLAY_WANTED),$(patsubst %,spec/%_spec.lua+XMPP_OVER=websocket,live muc_live))
CHECKED = $(if $(filter luajit,$(OTHER_LUA)),$(filter-out $(NOT_LUAJIT),$(SPECS)),$(if $(OTHER_LUA),$(CORE_SPECS),$(HOSTILE) $(LONGEST_C) $(SPECS) $(C_TESTS) $(BY_EXPAT) $(OVER_WEBSOCKET)))
NEW_CERTS = rm -rf $$CERTS && env -u CERTS spec/support/certs $$CERTS
check: export ROUNDTRIP_CASES ?= $(if $(OTHER_LUA),2000,10000)
check: export CERTS = $(abspath $(BUILD))/certs
check: all bench-programs $(if $(OTHER_LUA),,tests)
	@$(NEW_CERTS)
	BUILD=$(BUILD) LUA=$(LUA) SO_DIR=$${SO_DIR:-$(SO:%/xmpp/core.so=%)} prove --timer -j$(JOBS) --exec spec/support/tap $(CHECKED)

# The same under AddressSanitizer and UBSan, and 5000 executions of each fuzz target. Leaks are looked for, too: a spec's
# process closes its Lua state.
# (A shim is preloaded by expat_spec. What a process leaves in memory can't be asked here: a sanitizer's own stacks and
# quarantine keep more of it. The programs of make bench preload a library of their own; rock and build
NOT_SANITIZED = $(patsubst %,spec/%_spec.lua,account_live bench browser build burst chat_live cmd_certificate cmd_live cmd_token \
  command_live doc expat farm farm_example manual_live memory muc_live muc_soak presence_live proxy_live pubsub_live rock roster_live secrets upload_live)
SANITIZED = $(LONGEST_C) $(filter-out $(NOT_SANITIZED),$(SPECS)) $(filter-out $(LONGEST_C),$(TESTS)) $(XML_TESTS:%=%$(ALL_BY_EXPAT))
SANITIZE = -O1 -g -DXM_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
check-sanitized: export CERTS = $(abspath build-san)/certs
check-sanitized: export ROUNDTRIP_CASES ?= 4000
check-sanitized:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build-san SO=build-san/lua/xmpp/core.so CFLAGS='$(SANITIZE)' \
	  WERROR=-Werror all tests
	@$(NEW_CERTS)
	@$(MAKE) --no-print-directory fuzzers
	SO_DIR=build-san/lua PRELOAD="$$($(CC) -print-file-name=libasan.so)" \
	  ASAN_OPTIONS=intercept_tls_get_addr=0 LUA=$(LUA) \
	  prove --timer -j$(JOBS) --exec spec/support/tap spec/support/fuzz-short $(HOSTILE) $(SANITIZED:$(BUILD)/%=build-san/%)
.PHONY: tests
tests: $(TESTS) $(BUILD)/test/precis_dump $(BUILD)/test/stringprep_dump

# gcc and clang with more warnings than the build has, gcc's at -O3 as well, which sees other things; and what keeps the Lua
# files within 5.1's syntax.
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
	luacheck -q . bin/xmpp
	luac5.1 -p $(LUA_FILES) bin/xmpp

# STRICT=1: a missed goal is a failure. What others there are to be measured beside: see spec/bench/rows.lua, and bench-peers.
# LuaJIT's own module is built where LuaJIT is, as its parser is measured beside Lua's.
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

# Other libraries' parts, by the names that pkg-config has for what they need: a part is built where that is found, and make bench
# passes it over where it isn't. (go-xmpp: where Go and Debian's package of it are.)
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

# What can be measured beside the library: Debian's packages, installed as by make test, and xmpp.js put into build/bench. What
# of it isn't there is passed over.
bench-peers:
	@spec/support/install bench
	@mkdir -p $(BUILD)/bench
	npm install --silent --no-save --no-package-lock --prefix $(BUILD)/bench @xmpp/component@0.13.1

# make bench, whose tables and pictures become the ones that the README shows.
bench-results:
	@BENCH_OUT=spec/bench/results $(MAKE) --no-print-directory bench
	@$(LUA) spec/bench/readme.lua

# Every place where the wire, an allocation or a system call can fail, not a sample: more than an hour.
.PHONY: torture
torture: all $(BUILD)/test/t_torture
	TORTURE=1 LIMIT=7200 prove --exec spec/support/tap $(BUILD)/test/t_torture spec/faults_spec.lua \
	  spec/embed_spec.lua

# How much of c/core the tests run through, by gcovr; nothing is left out of it. (Left out of the tests: the spec of the
# build, which wants a module with nothing in it but ours, and of make bench.)
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

# About an hour. Two of the servers are fetched from the release's backports (spec/support/backports).
.PHONY: soak
soak: all
	@ulimit -n $$(ulimit -Hn); LUA=$(LUA) $(LUA) spec/support/soak

.PHONY: mutants
mutants: all
	@spec/support/mutants

# The library and the targets, instrumented, in build-fuzz. A target takes from the archives only what it doesn't play itself.
FUZZ_RUNS ?= 1000000
FUZZ_CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
FUZZERS := $(patsubst c/test/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard c/test/fuzz/*.c))
$(BUILD)/libbind.a: $(BIND)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
$(BUILD)/fuzz/%: c/test/fuzz/%.c $(BUILD)/libbind.a $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer $(LUA_CFLAGS) -Ic/core -Ic/bind -MMD -MP -o $@ $< \
	  $(BUILD)/libbind.a $(BUILD)/libcore.a $(LDFLAGS) $(CORE_LIBS) $(shell $(PKG_CONFIG) --libs $(LUA_PC))
# The same targets without libFuzzer and its measuring, for 10^8 executions: build/drive/scan 100000000 1 c/test/corpus/*.xml
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

LUA_VERSION = $(shell $(LUA) -e 'io.write((_VERSION:match "%d.%d"))')
LUADIR ?= $(PREFIX)/share/lua/$(LUA_VERSION)
LIBDIR ?= $(PREFIX)/lib/lua/$(LUA_VERSION)
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
SHAREDIR ?= $(PREFIX)/share
MAN = $(BUILD)/man/xmpp.1
COMPLETIONS = $(addprefix $(BUILD)/man/xmpp.,bash zsh fish)
COMMAND = $(FOR_LUA)/bin/xmpp
COMPLETED = bash-completion/completions/xmpp zsh/site-functions/_xmpp fish/vendor_completions.d/xmpp.fish
INSTALLED = $(shell cd lua && find xmpp -name '*.lua')
.PHONY: man
man: $(MAN)

# The manual and the completions are made from the command's own table; any Lua will do.
CMD_FILES = $(wildcard lua/xmpp/cmd/*.lua)
FROM_TABLE = LUA_PATH='lua/?.lua;lua/?/init.lua' $(LUA) -e
$(MAN): $(CMD_FILES)
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(FROM_TABLE) 'io.write(require "xmpp.cmd.man".page())' >$@.new && mv $@.new $@

$(COMPLETIONS): $(BUILD)/man/xmpp.%: $(CMD_FILES)
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(FROM_TABLE) 'io.write(require "xmpp.cmd.complete"["$*"](require "xmpp.cmd.spec"))' >$@.new && mv $@.new $@

# It runs on the Lua that the module was built for, and knows where its files will be.
$(COMMAND): bin/xmpp FORCE
	@mkdir -p $(@D)
	@lua=$$(command -v $(LUA)) && sed -e "1s|.*|#!$$lua|" -e 's|^\(local LUA_FOLDER, MODULE_FOLDER\) = nil, nil|\1 = "$(LUADIR)", "$(LIBDIR)"|' \
	  bin/xmpp >$@.new && mv $@.new $@
.PHONY: FORCE

install: install-library $(MAN) $(COMPLETIONS) $(COMMAND)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(dir $(addprefix $(DESTDIR)$(SHAREDIR)/,$(COMPLETED)))
	install -m 755 $(COMMAND) $(DESTDIR)$(BINDIR)/xmpp
	install -m 644 $(MAN) $(DESTDIR)$(MANDIR)/man1/xmpp.1
	install -m 644 $(BUILD)/man/xmpp.bash $(DESTDIR)$(SHAREDIR)/bash-completion/completions/xmpp
	install -m 644 $(BUILD)/man/xmpp.zsh $(DESTDIR)$(SHAREDIR)/zsh/site-functions/_xmpp
	install -m 644 $(BUILD)/man/xmpp.fish $(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/xmpp.fish

# The manual. Its reference is committed, so that it can be read where the repository is; a test compares.
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

# A rock's command is wrapped by LuaRocks, and its manual lies where `luarocks doc` looks.
.PHONY: install-rock install-library
install-rock: install-library $(MAN)
	install -d $(DESTDIR)$(DOCDIR)
	install -m 644 $(MAN) $(DESTDIR)$(DOCDIR)

install-library: all
	@for f in $(INSTALLED); do \
	  install -d $(DESTDIR)$(LUADIR)/$${f%/*} && install -m 644 lua/$$f $(DESTDIR)$(LUADIR)/$$f || exit 1; \
	done
	install -d $(DESTDIR)$(LIBDIR)/xmpp
	install -m 755 $(SO) $(SYS) $(WITH_HTTP) $(WITH_REDIS) $(DESTDIR)$(LIBDIR)/xmpp

# What somebody else has put there stays, and so do its folders.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(LUADIR)/,$(INSTALLED)) $(addprefix $(DESTDIR)$(LIBDIR)/xmpp/,core.so sys.so http.so redis.so) \
	  $(DESTDIR)$(BINDIR)/xmpp $(DESTDIR)$(MANDIR)/man1/xmpp.1 $(addprefix $(DESTDIR)$(SHAREDIR)/,$(COMPLETED))
	-@for d in $(patsubst lua/%,$(LUADIR)/%,$(shell find lua/xmpp -type d | LC_ALL=C sort -r)) $(LIBDIR)/xmpp; do \
	  rmdir $(DESTDIR)$$d 2>/dev/null || true; \
	done

# What git knows, or would; without git, all there is.
VERSION = $(shell sed -n 's/^ *_VERSION = "xmpp \(.*\)",$$/\1/p' lua/xmpp/init.lua)
DIST = xmpp-$(VERSION)
# The same files make the same archive, whoever makes it and when.
DIST_TIME = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
.PHONY: dist
dist:
	@mkdir -p $(BUILD)/dist
	@rm -rf $(BUILD)/dist/$(DIST)*
	@mkdir $(BUILD)/dist/$(DIST)
	@{ git ls-files -co --exclude-standard 2>/dev/null || \
	  find . -type f ! -path './build*' ! -path './.git*' ! -name '*.so' ! -name '*.rock'; } | \
	  while read -r f; do [ ! -f "$$f" ] || echo "$$f"; done | tar -cf - -T - | tar -xf - -C $(BUILD)/dist/$(DIST)
	cd $(BUILD)/dist && tar --sort=name --mtime=@$(DIST_TIME) --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw -cf - \
	  $(DIST) | gzip -9n >$(DIST).tar.gz
	@rm -rf $(BUILD)/dist/$(DIST)
	cp rockspec/$(DIST)-1.rockspec $(BUILD)/dist

clean:
	rm -rf build build-san build-fuzz build-cov build-lint lua/xmpp/core.so lua/xmpp/http.so lua/xmpp/redis.so

-include $(wildcard $(BUILD)/*/*.d) $(if $(OTHER_LUA),$(wildcard $(FOR_LUA)/*/*.d))
