-- version: the library's version (Semantic Versioning), and the day on which it was released. This is the only place
-- that has them: what else shows a version is made from this line. `make version` writes the rockspec of the release;
-- see the Makefile for the C header, the SONAME, the pkg-config file, the archive and the Debian package, and
-- cmd/spec.lua for the manual page.
return { number = "1.0.1", date = "2026-12-01" }
