"""Proofs that somebody owns a session that is taken up again (10.3)."""

from device import PROTO, mac
from make_common import ORIGIN, Vector, some


def proof_of(secret: bytes, handshake_hash: bytes, of: str) -> bytes:
    """`handshake_hash` is that of the new handshake, `secret` comes from the session's first."""
    return mac(secret, PROTO + (b" resume d" if of == "device" else b" resume h") + handshake_hash, 16)


def resume() -> Vector:
    secret, other = some("resume secret"), some("another session's resume secret")
    new, newer = some("hash of a new handshake"), some("hash of another handshake")

    def state(about: str, of: str, proof: bytes, handshake_hash: bytes = new) -> Vector:
        given = {"resume_secret": secret.hex(), "handshake_hash": handshake_hash.hex(), "from": of}
        return {"about": about} | given | {"proof": proof.hex()}

    vectors = []
    for of in ("device", "host"):
        vectors.append(state("a session that comes back", of, proof_of(secret, new, of)))
        vectors.append(state("once more, in another handshake", of, proof_of(secret, newer, of), newer))
    invalid = []
    for of, peer in (("device", "host"), ("host", "device")):
        right = proof_of(secret, new, of)
        wrong = [
            ("one bit of the proof", right[:-1] + bytes([right[-1] ^ 1])),
            ("no proof", bytes(16)),
            ("the peer's own proof, sent back", proof_of(secret, new, peer)),
            ("the proof of an earlier attachment", proof_of(secret, newer, of)),
            ("the proof of another session", proof_of(other, new, of)),
        ]
        invalid += [state(about, of, proof) | {"error": "proof"} for about, proof in wrong]
    return {"origin": ORIGIN, "vectors": vectors, "invalid": invalid}
