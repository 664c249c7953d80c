"""pki: makes the certificates that a spec describes, by the openssl command: some eighty in about two seconds.

A description is a dictionary. Defaults, in parentheses, are those of a good server certificate:
  key       ec, rsa, rsa1024, rsa-pss, ed25519 (ec); certificates with the same kind of key share one
  issuer    another certificate's name, or "self" ("root", which is always made)
  subject   "/CN=..." (its own name)
  san       OpenSSL's notation, entries after ", " (none); san_der: the extension's bytes in hex instead
  eku       extendedKeyUsage ("serverAuth"; "": no such extension)
  basic     basicConstraints ("CA:FALSE")
  extra     more extensions, as lines of OpenSSL's configuration ([])
  digest    md5, sha1 (sha256); pss: the issuer signs with RSA-PSS padding
  first, last  its validity, as 20200101000000Z (from now for a year)
  chain     names of certificates that the server sends behind it ([])
"""
import concurrent.futures
import os
import subprocess

KEYS = {"ec": ["EC", "ec_paramgen_curve:P-256"], "rsa": ["RSA", "rsa_keygen_bits:2048"],
        "rsa1024": ["RSA", "rsa_keygen_bits:1024"], "rsa-pss": ["RSA-PSS", "rsa_keygen_bits:2048"],
        "ed25519": ["ED25519"]}
ROOT = dict(key="rsa", issuer="self", basic="critical, CA:TRUE", eku="", extra=["keyUsage = critical, keyCertSign"])
DEFAULTS = dict(key="ec", issuer="root", san="", san_der="", eku="serverAuth", basic="CA:FALSE", extra=[],
                digest="sha256", pss=False, first="", last="", chain=[])
CONFIG = """[req]
distinguished_name = dn
[dn]
[ca]
default_ca = db
[db]
database = {path}.index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[extensions]
subjectKeyIdentifier = hash
{extensions}
"""


class Failed(Exception):
    """openssl has failed; the argument says why."""


def run(*words):
    done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failed("openssl %s: %s" % (" ".join(words), done.stderr))


def make_key(folder, kind):
    algorithm, *option = KEYS[kind]
    run("genpkey", "-algorithm", algorithm, "-out", os.path.join(folder, kind + ".key"),
        *(["-pkeyopt", *option] if option else []))


def extensions(c):
    lines = ["basicConstraints = " + c["basic"], *c["extra"]]
    if c["eku"]:
        lines.append("extendedKeyUsage = " + c["eku"])
    if c["san_der"]:
        lines.append("subjectAltName = DER:" + c["san_der"])
    if c["san"]:
        lines.append("subjectAltName = @names\n[names]")
        for number, entry in enumerate(c["san"].split(", ")):
            kind, _, value = entry.partition(":")
            lines.append("%s.%d = %s" % (kind, number, value))
    return "\n".join(lines)


class Folder:
    """A folder of keys and certificates. 'made' holds the descriptions, with the defaults filled in."""

    def __init__(self, path, described):
        self.path, self.made = path, {"root": dict(DEFAULTS, **ROOT)}
        self.made.update({name: dict(DEFAULTS, **c) for name, c in described.items()})

    def file(self, name, ending):
        return os.path.join(self.path, name + ending)

    def key(self, name):
        return self.file(self.made[name]["key"], ".key")

    def certify(self, name):
        c, path = self.made[name], self.file(name, "")
        with open(path + ".cnf", "w") as file:
            file.write(CONFIG.format(path=path, folder=os.path.dirname(path), extensions=extensions(c)))
        subject = ["-config", path + ".cnf", "-new", "-key", self.key(name), "-subj", c.get("subject", "/CN=" + name)]
        by = c["issuer"]
        if c["first"]:
            open(path + ".index", "w").close()
            run("req", *subject, "-out", path + ".csr")
            run("ca", "-config", path + ".cnf", "-batch", "-notext", "-in", path + ".csr", "-out", path + ".crt",
                "-cert", self.file(by, ".crt"), "-keyfile", self.key(by), "-startdate", c["first"],
                "-enddate", c["last"], "-extensions", "extensions")
            return
        signer = [] if by == "self" else ["-CA", self.file(by, ".crt"), "-CAkey", self.key(by)]
        padding = ["-sigopt", "rsa_padding_mode:pss"] if c["pss"] else []
        digest = [] if by != "self" and self.made[by]["key"] == "ed25519" else ["-" + c["digest"]]
        run("req", "-x509", "-days", "365", "-extensions", "extensions", *subject, *digest, *padding, *signer,
            "-out", path + ".crt")

    def bundle(self, name):
        """NAME.pem: what a server sends."""
        with open(self.file(name, ".pem"), "w") as out:
            for link in [name, *self.made[name]["chain"]]:
                with open(self.file(link, ".crt")) as file:
                    out.write(file.read())

    def is_issuer(self, name):
        return any(c["issuer"] == name for c in self.made.values())

    def depth(self, name):
        """The number of issuers above it."""
        by = self.made[name]["issuer"]
        return 0 if by == "self" else 1 + self.depth(by)

    def make(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda kind: make_key(self.path, kind), sorted({c["key"] for c in self.made.values()})))
            for name in sorted(filter(self.is_issuer, self.made), key=self.depth):
                self.certify(name)
            list(pool.map(self.certify, [name for name in self.made if not self.is_issuer(name)]))
        for name in self.made:
            self.bundle(name)

    def hash_links(self, name):
        """A folder with nothing but that certificate, under the name by which OpenSSL looks for it (ca_dir)."""
        folder = self.file(name, ".dir")
        os.mkdir(folder)
        told = subprocess.run(["openssl", "x509", "-in", self.file(name, ".crt"), "-noout", "-hash"],
                              capture_output=True, text=True, check=True)
        os.symlink(self.file(name, ".crt"), os.path.join(folder, told.stdout.strip() + ".0"))
        return folder
