"""A candidate for the conformance runner, on the code of `device.py` and `codec.py`: it answers one line of JSON to each.
It is a device: what only hosts and relays do it does not support. README.md says what the questions are.

    cargo run -p homing-core --example conformance -- python candidate.py
"""

import json
import struct
import sys
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import codec
from device import (
    CONNECT,
    PAIR,
    PROTO,
    Direction,
    Failed,
    Initiator,
    Params,
    Refused,
    dh,
    expand,
    hash32,
    hmac32,
    mac,
    padme,
    parse_ticket,
    public_of,
    record_key,
    sas,
)
from make_common import named
from make_guest import derive, link_of, parse_pass
from make_resume import proof_of

Question = dict[str, Any]
Answer = dict[str, Any]


class Given:
    """The inputs of a question, each by its name."""

    def __init__(self, question: Question) -> None:
        self.question = question

    def __getitem__(self, name: str) -> Any:
        return self.question[name]

    def bytes(self, name: str) -> bytes:
        return bytes.fromhex(self.question[name])

    def private(self, name: str) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.bytes(name))


# ---- Keys and records (7, 8) -----------------------------------------------------------------------------------------


class At(Direction):
    """A direction whose next record is of this epoch and counter."""

    def __init__(self, given: Given, most: int = 1 << 20) -> None:
        self.most, self.epoch, self.secret, self.counter = most, 0, given.bytes("secret"), int(given["counter"])
        for _ in range(given["epoch"]):
            self._enter(expand(self.secret, "next"))
        self.key, self.prefix = record_key(self.secret)
        self.first, self.bytes, self.began = self.counter, 0, float("inf")


def schedule(given: Given) -> Answer:
    here = At(Given(given.question | {"counter": 0}))
    return {"secret": here.secret.hex(), "key": here.key.hex(), "nonce_prefix": here.prefix.hex()}


def seal(given: Given) -> Answer:
    return {"record": At(given, most=1 << 64).seal(given.bytes("plaintext")).hex()}


def opened(given: Given) -> tuple[bytes, At]:
    here, record = At(given), given.bytes("record")
    if record[:1] == b"\x10" and len(record) > 28 + given["max_record"]:
        raise Refused("length")
    return here.open(record), here


def open_record(given: Given) -> Answer:
    plaintext, here = opened(given)
    return {"plaintext": plaintext.hex(), "next_epoch": here.epoch, "next_counter": str(here.counter)}


def split(plaintext: bytes) -> Answer:
    return {"frames": [frame.hex() for frame in codec.split_frames(plaintext)]}


def next_record(given: Given) -> Answer:
    """8.3: when a sender changes its keys."""
    epoch, counter = given["epoch"], int(given["counter"])
    if counter - int(given["first"]) >= 1 << 20 or int(given["bytes"]) >= 1 << 30 or given["age"] >= 600:
        epoch += 1
    if epoch == 1 << 24:
        raise Refused("exhausted")
    return {"next_epoch": epoch, "next_counter": str(counter)}


# ---- Handshake (6) ---------------------------------------------------------------------------------------------------


def initiator(given: Given) -> Initiator:
    seed = given["kem_keygen_seed"]
    return Initiator(
        PAIR if given["mode"] == "pair" else CONNECT,
        given["suite"],
        given.bytes("channel_id"),
        given.bytes("bound"),
        given.private("init_static"),
        given.bytes("resp_public"),
        given.bytes("psk"),
        given.bytes("mac1_key"),
        Params.parse(given.bytes("payload")),
        ephemeral=given.private("init_ephemeral"),
        kem=MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(seed)) if seed else None,
    )


def finish(given: Given) -> Answer:
    device = initiator(given)
    master, peer = device.read(given.bytes("hs2"))
    exports = {
        name: expand(master, label, b"", size).hex()
        for name, label, size in (
            ("secret_d2h", "d2h", 32),
            ("secret_h2d", "h2d", 32),
            ("resume", "resume", 32),
            ("bind", "bind", 32),
            ("session_id", "session id", 16),
            ("device_root", "device root", 32),
        )
    }
    return exports | {
        "handshake_hash": device.noise.h.hex(),
        "sas": sas(master),
        "session_master": master.hex(),
        "split_d2h": device.split[0].hex(),
        "split_h2d": device.split[1].hex(),
        "peer_payload": peer.emit().hex(),
    }


# ---- Tickets (5) -----------------------------------------------------------------------------------------------------

REFUSALS = {
    "this is not a pairing link": "form",
    "the link is cut off or damaged": "length",
    "the link has a wrong length": "length",
    "the link has a typing error": "check",
    "the link is of a later version": "version",
    "the link names an impossible relay": "relay",
}


def parse_link(given: Given) -> Answer:
    try:
        ticket = parse_ticket(given["link"])
    except Failed as failed:
        raise Refused(REFUSALS[str(failed)]) from None
    return {
        "suite": ticket.suite,
        "flags": ticket.flags,
        "expiry": int.from_bytes(ticket.body[3:7], "little"),
        "secret": ticket.body[7:23].hex(),
        "host_pub": ticket.host_key.hex(),
        "relay": ticket.relay,
        "hash": ticket.hash.hex(),
        "psk": ticket.psk.hex(),
        "mac1_key": ticket.mac1_key.hex(),
        "rendezvous": ticket.rendezvous.hex(),
    }


# ---- Frames (9.1, 12.1) ----------------------------------------------------------------------------------------------


def parse_frame(given: Given) -> Answer:
    name, fields, rest = codec.parse_frame(given.bytes("bytes"))
    codec.require(not rest)
    return {"type": name, "fields": fields}


def parse_hop(given: Given) -> Answer:
    name, idx, fields = codec.parse_hop(given.bytes("bytes"))
    return {"type": name, "idx": idx, "fields": fields}


# ---- Relay (12) ------------------------------------------------------------------------------------------------------


def shared_with(given: Given) -> bytes:
    return hmac32(given.bytes("nonce"), dh(given.private("route_secret"), given.bytes("relay_ephemeral")))


def register(given: Given) -> Answer:
    public = public_of(given.private("route_secret"))
    proof = (
        PROTO + b" register" + named(given["relay"]) + given.bytes("nonce") + given.bytes("relay_ephemeral") + public
    )
    return {
        "route_pub": public.hex(),
        "route_id": hash32(PROTO + b" route" + public)[:16].hex(),
        "mac": mac(shared_with(given), proof, 16).hex(),
    }


def dial(given: Given) -> Answer:
    key = given.bytes("capability")[13:]
    return {"proof": mac(key, PROTO + b" dial" + named(given["relay"]) + given.bytes("nonce"), 16).hex()}


def check_resume(given: Given) -> Answer:
    if proof_of(given.bytes("resume_secret"), given.bytes("handshake_hash"), given["from"]) != given.bytes("proof"):
        raise Refused("proof")
    return {"ok": True}


OPERATIONS: dict[str, Callable[[Given], Answer]] = {
    "padme": lambda given: {"padded": padme(given["len"])},
    "key.schedule": schedule,
    "record.seal": seal,
    "record.open": open_record,
    "record.read": lambda given: split(opened(given)[0]),
    "record.next": next_record,
    "handshake.start": lambda given: {"hs1": initiator(given).hs1.hex()},
    "handshake.finish": finish,
    "handshake.psk": lambda given: {
        "psk": expand(given.bytes("device_root"), "psk", struct.pack("B", given["suite"])).hex()
    },
    "handshake.mac1_key": lambda given: {"mac1_key": hash32(PROTO + b" mac1" + given.bytes("host_pub")).hex()},
    "resume.prove": lambda given: {
        "proof": proof_of(given.bytes("resume_secret"), given.bytes("handshake_hash"), given["from"]).hex()
    },
    "resume.check": check_resume,
    "ticket.parse": parse_link,
    "token.hash": lambda given: {"token_hash": hash32(PROTO + b" token" + given.bytes("token")).hex()},
    "frame.parse": parse_frame,
    "guest.derive": lambda given: derive(
        given.bytes("device_root"),
        given.bytes("device_id"),
        [bytes.fromhex(caveat) for caveat in given["caveats"]],
        given["suite"],
    ),
    "guest.parse": lambda given: parse_pass(given["link"]),
    "guest.emit": lambda given: {"link": link_of(given.question)},
    "frame.emit": lambda given: {"bytes": codec.emit_frame(given["type"], given["fields"]).hex()},
    "frame.split": lambda given: split(given.bytes("plaintext")),
    "hop.parse": parse_hop,
    "hop.emit": lambda given: {"bytes": codec.emit_hop(given["type"], given["idx"], given["fields"]).hex()},
    "relay.register": register,
    "relay.attach": lambda given: {
        "mac": mac(shared_with(given), PROTO + b" attach" + given.bytes("channel_id"), 16).hex()
    },
    "relay.dial": dial,
    "relay.directory": lambda given: {
        "blinded": hash32(PROTO + b" directory" + given.bytes("route_id"))[:16].hex()
    },
    "relay.rendezvous": lambda given: {
        "rv_hash": hash32(PROTO + b" rendezvous" + given.bytes("rendezvous"))[:16].hex()
    },
}


def answer(question: Question) -> Answer:
    operation = OPERATIONS.get(question["op"])
    if operation is None:
        return {"unsupported": True}
    try:
        return operation(Given(question))
    except Refused as refused:
        return {"error": refused.reason}


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"id": asked["id"]} | answer(asked)), flush=True)
