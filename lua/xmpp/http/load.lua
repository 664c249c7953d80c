-- load: loads the C module for libcurl, xmpp/http.so.

return require "xmpp.beside"("xmpp.http", "libcurl", "no xmpp/http.so: it is built where libcurl is (apt-get "
  .. "install libcurl4-openssl-dev, dnf install libcurl-devel, brew install curl), then `make` or `luarocks install "
  .. "xmpp` again")
