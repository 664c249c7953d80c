"""sasl_server: the server's side of SCRAM (RFC 5802), which remembers every secret that it has computed."""
import base64
import hashlib
import hmac
import os


class Scram:
    def __init__(self, kind, password, rounds=4096):
        """'kind' as hashlib has it; 'password' prepared."""
        self.kind, self.rounds, self.salt = kind, rounds, os.urandom(16)
        self.salted = hashlib.pbkdf2_hmac(kind, password, self.salt, rounds)
        self.client_key = self.sign(self.salted, b"Client Key")
        self.stored_key = hashlib.new(kind, self.client_key).digest()
        self.server_key = self.sign(self.salted, b"Server Key")
        self.proof = self.said = b""

    def sign(self, key, message):
        return hmac.digest(key, message, self.kind)

    def challenge(self, first):
        """'first': client-first-message. Returns server-first-message."""
        bare = first.split(b",", 2)[2]
        nonce = bare.split(b",r=")[1] + base64.b64encode(os.urandom(18))
        answer = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(self.salt), self.rounds)
        self.said = bare + b"," + answer
        return answer

    def outcome(self, final):
        """'final': client-final-message. Returns server-final-message, or None for a wrong proof."""
        without, _, proof = final.rpartition(b",p=")
        self.said += b"," + without
        signature = self.sign(self.stored_key, self.said)
        self.proof = base64.b64decode(proof)
        key = bytes(a ^ b for a, b in zip(self.proof, signature))
        if hashlib.new(self.kind, key).digest() != self.stored_key:
            return None
        return b"v=" + base64.b64encode(self.sign(self.server_key, self.said))
