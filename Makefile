# make            build lua/xmpp/core.so for Lua 5.4
# make demo       install what is missing, build, and show the library at work against a real server
# make test       the same set-up, then every test
# make lint       the arrows between the rooms, luacheck, compiler warnings of gcc and clang
# make bench      ratios measured side by side with raw expat, OpenSSL and sockets
# make install    PREFIX=/usr/local
# make clean
#
# Variables: CC, CFLAGS, LUA (lua5.4), LUA_PC (lua5.4), PKG_CONFIG, PREFIX, BUILD (where objects go), SAN=1 (sanitizers)

CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
LUA ?= lua5.4
LUA_PC ?= lua5.4
PREFIX ?= /usr/local
BUILD ?= build
SO ?= lua/xmpp/core.so
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fPIC -fvisibility=hidden $(CFLAGS)

CORE := $(patsubst c/core/%.c,$(BUILD)/core/%.o,$(wildcard c/core/*.c))
BIND := $(patsubst c/bind/%.c,$(BUILD)/bind/%.o,$(wildcard c/bind/*.c))
TESTS := $(patsubst c/test/%.c,$(BUILD)/test/%,$(wildcard c/test/t_*.c))

.PHONY: all demo test check deps lint bench install clean fuzz
all: $(SO)

# Every library by pkg-config; libunistring has no .pc file, so the compiler is asked. First line wins the blame.
have-libs: ; @spec/support/have-libs '$(CC)' '$(PKG_CONFIG)' '$(LUA_PC)'
.PHONY: have-libs
CORE_PC := openssl expat libuv libcares libidn2
CORE_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(CORE_PC))
CORE_LIBS = $(shell $(PKG_CONFIG) --libs $(CORE_PC)) -lunistring -lpthread
LUA_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LUA_PC))

# The core is compiled without Lua's include path: the compiler keeps the first arrow.
$(BUILD)/core/%.o: c/core/%.c | have-libs
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CORE_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/bind/%.o: c/bind/%.c | have-libs
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) -Ic/core -MMD -MP -c -o $@ $<

$(BUILD)/libcore.a: $(CORE)
	rm -f $@ && ar rcs $@ $^

$(SO): $(BIND) $(BUILD)/libcore.a
	$(CC) $(CFLAGS) -shared $(LDFLAGS) -o $@ $^ $(CORE_LIBS)

$(BUILD)/test/%: c/test/%.c $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Ic/core -Ic/test $(shell $(PKG_CONFIG) --cflags cmocka expat) -MMD -MP -o $@ $< $(BUILD)/libcore.a \
	  $(LDFLAGS) $(CORE_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)

-include $(wildcard $(BUILD)/*/*.d)
