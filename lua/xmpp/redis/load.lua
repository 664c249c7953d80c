-- load: the module of C that knows hiredis, xmpp/redis.so.

return require "xmpp.beside"("xmpp.redis", "hiredis", "no xmpp/redis.so: it is built where hiredis is (apt-get install "
  .. "libhiredis-dev, dnf install hiredis-devel, brew install hiredis), then `make` or `luarocks install xmpp` again")
