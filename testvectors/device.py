"""A homing device in Python, written from core/PROTOCOL.md alone; comments cite its clauses. It shows that the document
is enough, and lets tests hold the Rust host and relay to it. One connection at a time and fixed windows: a reference to
read, not a program to rely on (Python can neither wipe secrets nor promise constant time).

    python device.py pair LINK PROFILE [--name NAME]         pair, and keep what came of it in the file PROFILE
    python device.py services PROFILE                        what the host has to offer, one JSON object per line
    python device.py get PROFILE SERVICE PATH…               fetch pages over one session, each on its own stream
    python device.py vectors                                 check this code against the files beside it
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import io
import ipaddress
import json
import os
import re
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as aead_open
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as aead_seal
from nacl.exceptions import CryptoError
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect
from websockets.typing import Subprotocol

PROTO = b"homing-1"
PAIR, CONNECT = 1, 2
STEP = 10.0  # seconds for each step before a session is open (15.2)


class Failed(Exception):
    """The conversation cannot go on; the text says why."""


class Refused(Failed):
    """Bytes that must not be accepted. `reason` is the name that section 18 gives it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused: {reason}")
        self.reason = reason


class PeerError(Failed):
    """The host broke the protocol under its own keys: it is told the code (10.4)."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Closed(Failed):
    """The host closed the session."""


# ---- Primitives (3) --------------------------------------------------------------------------------------------------


def hash32(data: bytes) -> bytes:
    return hashlib.blake2s(data).digest()


def mac(key: bytes, data: bytes, size: int) -> bytes:
    """MAC16 and MAC32."""
    return hashlib.blake2s(data, key=key, digest_size=size).digest()


def hmac32(key: bytes, data: bytes) -> bytes:
    """HMAC-BLAKE2s; also `Extract(salt, input)`."""
    return hmac.new(key, data, hashlib.blake2s).digest()


def expand(prk: bytes, label: str, ctx: bytes = b"", size: int = 32) -> bytes:
    name = PROTO + b" " + label.encode()
    info = struct.pack("<HB", size, len(name)) + name + bytes([len(ctx)]) + ctx
    return hmac32(prk, info + b"\x01")[:size]


def dh(secret: X25519PrivateKey, public: bytes) -> bytes:
    try:  # raises where the result is all-zero (3.1)
        return secret.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused("non-contributory dh") from None


def public_of(secret: X25519PrivateKey) -> bytes:
    return secret.public_key().public_bytes_raw()


def unseal(sealed: bytes, ad: bytes, nonce: bytes, key: bytes) -> bytes:
    try:
        return aead_open(sealed, ad, nonce, key)
    except CryptoError:
        raise Refused("decrypt") from None


def padme(n: int) -> int:
    """The padded length of a plaintext (8.4)."""
    if n <= 64:
        return 64
    e = n.bit_length() - 1
    mask = (1 << (e - e.bit_length())) - 1
    return (n + mask) & ~mask


# ---- Pairing ticket (5) ----------------------------------------------------------------------------------------------


@dataclass
class Ticket:
    """What a pairing link holds, and what is derived from it."""

    body: bytes
    suite: int
    flags: int
    host_key: bytes
    relay: str
    hash: bytes = field(init=False)
    psk: bytes = field(init=False)
    mac1_key: bytes = field(init=False)
    rendezvous: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.hash = hash32(PROTO + b" ticket" + self.body)
        prk = hmac32(PROTO + b" ticket", self.body[7:23])
        self.psk, self.mac1_key = expand(prk, "psk"), expand(prk, "mac1")
        self.rendezvous = expand(prk, "rendezvous", b"", 16)

    confirm = property(lambda self: bool(self.flags & 1))
    plain = property(lambda self: bool(self.flags & 4))


def parse_ticket(link: str) -> Ticket:
    """Reads a link in any of the forms of 5.2."""
    link = link.strip()
    found = re.fullmatch(r"(?:homing://pair(?:/|\?t=)|https?://[^/]+/pair#)([A-Z2-7]+)", link, re.IGNORECASE)
    if len(link) > 512 or not found:
        raise Failed("this is not a pairing link")
    text = found[1].upper()
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raise Failed("the link is cut off or damaged") from None
    if base64.b32encode(data).decode().rstrip("=") != text:  # left-over bits that are not zero
        raise Failed("the link is cut off or damaged")
    if len(data) < 60 or data[55] > 64 or len(data) != 60 + data[55]:
        raise Failed("the link has a wrong length")
    body, check = data[:-4], data[-4:]
    if not hmac.compare_digest(hash32(PROTO + b" ticket check" + body)[:4], check):
        raise Failed("the link has a typing error")
    if body[0] != 1 or body[1] not in (1, 2) or body[2] & ~7:
        raise Failed("the link is of a later version")
    relay = body[56:].decode("ascii", "replace")
    if not re.fullmatch(r"[a-z0-9\-._:\[\]]*", relay):
        raise Failed("the link names an impossible relay")
    return Ticket(body, body[1], body[2], body[23:55], relay)


def is_loopback(relay: str) -> bool:
    name = re.sub(r":\d+$", "", relay)
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


# ---- Handshake (6) ---------------------------------------------------------------------------------------------------

NAMES = {
    (1, PAIR): b"Noise_IKpsk0_25519_XChaChaPoly_BLAKE2s",
    (1, CONNECT): b"Noise_IKpsk2_25519_XChaChaPoly_BLAKE2s",
    (2, PAIR): b"Noise_IKhfs+psk0_25519+MLKEM768_XChaChaPoly_BLAKE2s",
    (2, CONNECT): b"Noise_IKhfs+psk2_25519+MLKEM768_XChaChaPoly_BLAKE2s",
}


class Noise:
    """The symmetric state of Noise rev 34 (6.1)."""

    def __init__(self, suite: int, mode: int, channel_id: bytes, bound: bytes) -> None:
        self.h = self.ck = hash32(NAMES[suite, mode])
        self.key, self.n = b"", 0
        self.mix_hash((PROTO + b" e2e").ljust(16, b"\0") + bytes([suite, mode, 0, 0]) + channel_id + bound)

    def mix_hash(self, data: bytes) -> None:
        self.h = hash32(self.h + data)

    def hkdf(self, material: bytes) -> tuple[bytes, bytes, bytes]:
        prk = hmac32(self.ck, material)
        one = hmac32(prk, b"\x01")
        two = hmac32(prk, one + b"\x02")
        return one, two, hmac32(prk, two + b"\x03")

    def mix_key(self, material: bytes) -> None:
        self.ck, self.key, _ = self.hkdf(material)
        self.n = 0

    def mix_key_and_hash(self, psk: bytes) -> None:
        self.ck, temp, self.key = self.hkdf(psk)
        self.mix_hash(temp)
        self.n = 0

    def mix_e(self, public: bytes) -> None:
        self.mix_hash(public)
        self.mix_key(public)

    def _nonce(self) -> bytes:
        self.n += 1
        return bytes(16) + struct.pack("<Q", self.n - 1)

    def encrypt(self, plaintext: bytes) -> bytes:
        sealed = aead_seal(plaintext, self.h, self._nonce(), self.key)
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        plaintext = unseal(sealed, self.h, self._nonce(), self.key)
        self.mix_hash(sealed)
        return plaintext


@dataclass(frozen=True)
class Params:
    """What a side accepts (6.3)."""

    max_record: int = 16384
    max_streams: int = 1
    session_window: int = 1 << 20
    stream_window: int = 1 << 19

    def emit(self) -> bytes:
        values = (self.max_record, self.max_streams, self.session_window, self.stream_window)
        return struct.pack("<B3sHHII", 1, bytes(3), *values)

    @classmethod
    def parse(cls, data: bytes) -> "Params":
        minor, _, *values = struct.unpack("<B3sHHII", data)
        p = cls(*values)
        ok = minor >= 1 and 1024 <= p.max_record <= 16384 and 1 <= p.max_streams <= 4096
        if not (ok and 1 << 14 <= p.session_window <= 1 << 24 and 1 << 12 <= p.stream_window <= p.session_window):
            raise Refused("params")
        return p


class Initiator:
    """The device's side: `hs1` is to be sent, `read` takes the answer."""

    def __init__(
        self, mode: int, suite: int, channel_id: bytes, bound: bytes, secret: X25519PrivateKey, host_key: bytes,
        psk: bytes, mac1_key: bytes, params: Params, *,
        ephemeral: X25519PrivateKey | None = None, kem: MLKEM768PrivateKey | None = None,
    ) -> None:
        self.mode, self.suite, self.secret, self.psk = mode, suite, secret, psk
        self.e = ephemeral or X25519PrivateKey.generate()
        self.noise = noise = Noise(suite, mode, channel_id, bound)
        noise.mix_hash(host_key)
        if mode == PAIR:
            noise.mix_key_and_hash(psk)
        out = public_of(self.e)
        noise.mix_e(out)
        noise.mix_key(dh(self.e, host_key))
        if suite == 2:
            self.kem = kem or MLKEM768PrivateKey.generate()
            out += noise.encrypt(self.kem.public_key().public_bytes_raw())
        out += noise.encrypt(public_of(secret))
        noise.mix_key(dh(secret, host_key))
        out += noise.encrypt(params.emit())
        out = bytes([1, suite, mode, 0]) + out
        self.hs1 = out + mac(mac1_key, out + channel_id, 16)

    def read(self, hs2: bytes) -> tuple[bytes, Params]:
        """Reads HS2 and gives the master secret M (7) and what the host accepts."""
        if hs2[:1] == b"\x03":
            why = {1: "it is busy", 2: "it wants another suite", 3: "it does not know this device or ticket"}
            code = hs2[1] if len(hs2) == 6 else 0
            raise Failed(f"the host refuses: {why.get(code, 'for no known reason')}")
        check_head(hs2, 2, self.suite, self.mode, 1172 if self.suite == 2 else 68)
        noise, remote = self.noise, hs2[4:36]
        noise.mix_e(remote)
        noise.mix_key(dh(self.e, remote))
        if self.suite == 2:
            noise.mix_key(self.kem.decapsulate(noise.decrypt(hs2[36:1140])))
        noise.mix_key(dh(self.secret, remote))
        if self.mode == CONNECT:
            noise.mix_key_and_hash(self.psk)
        params = Params.parse(noise.decrypt(hs2[-32:]))
        self.split = noise.hkdf(b"")[:2]
        return hmac32(noise.h, self.split[0] + self.split[1]), params


def check_head(message: bytes, kind: int, suite: int, mode: int, length: int) -> None:
    if message[:1] != bytes([kind]) or message[2:3] != bytes([mode]):
        raise Refused("type")
    if message[1] != suite:
        raise Refused("suite")
    if message[3] != 0:
        raise Refused("reserved")
    if len(message) != length:
        raise Refused("length")


def sas(master: bytes) -> str:
    """The check words of 5.6."""
    digits = f"{int.from_bytes(expand(master, 'sas', b'', 8), 'little') % 10**6:06}"
    return f"{digits[:3]} {digits[3:]}"


# ---- Records (8) -----------------------------------------------------------------------------------------------------


def record_key(secret: bytes) -> tuple[bytes, bytes]:
    return expand(secret, "key"), expand(secret, "nonce", b"", 16)


class Direction:
    """Keys and numbers of one direction."""

    def __init__(self, master: bytes, label: str, most: int = 1 << 20) -> None:
        self.secret, self.epoch, self.counter, self.most = expand(master, label), 0, 0, most
        self.key, self.prefix = record_key(self.secret)
        self.first, self.bytes, self.began = 0, 0, time.monotonic()

    def _enter(self, secret: bytes) -> None:  # the counter goes on (8.3)
        self.secret, self.epoch = secret, self.epoch + 1
        self.key, self.prefix = record_key(secret)
        self.first, self.bytes, self.began = self.counter, 0, time.monotonic()

    def seal(self, plaintext: bytes) -> bytes:
        if self.counter - self.first >= self.most or self.bytes >= 1 << 30 or time.monotonic() - self.began >= 600:
            if self.epoch == (1 << 24) - 1:
                raise Failed("this connection is used up")
            self._enter(expand(self.secret, "next"))
        head = b"\x10" + self.epoch.to_bytes(3, "little") + self.counter.to_bytes(8, "little")
        record = head + aead_seal(plaintext, head, self.prefix + head[4:], self.key)
        self.counter += 1
        self.bytes += len(record)
        return record

    def open(self, record: bytes) -> bytes:
        if record[:1] != b"\x10":
            raise Refused("type")
        if not 28 <= len(record) <= 28 + 16384:
            raise Refused("length")
        epoch, counter = int.from_bytes(record[1:4], "little"), int.from_bytes(record[4:12], "little")
        secret, key, prefix = self.secret, self.key, self.prefix
        if epoch not in (self.epoch, self.epoch + 1) or counter >= (epoch + 1) << 20:
            raise Refused("epoch")
        if counter != self.counter:
            raise Refused("order")
        if epoch != self.epoch:
            secret = expand(secret, "next")
            key, prefix = record_key(secret)
        plaintext = unseal(record[12:], record[:12], prefix + record[4:12], key)
        if epoch != self.epoch:
            self._enter(secret)
        self.counter += 1
        return plaintext


# ---- Link to the relay (12) ------------------------------------------------------------------------------------------

HELLO, DIAL, DIAL_PAIR, OPENED, DATA = 0x80, 0x85, 0x86, 0x8A, 0x8B
HOP_CREDIT, CLOSED, HOP_PING, HOP_PONG = 0x8C, 0x8D, 0x8E, 0x8F
ENDS = ["it was closed", "nobody answers at this route", "the host does not want this channel", "a limit is reached",
        "more data than credit", "the other side took too long", "a message broke the protocol",
        "the host's link ended", "denied", "the relay is about to stop", "another link took over",
        "no such ticket, or it is used up"]


class RelayClosed(Failed):
    """The relay ended the channel, with a code of 12.1."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the relay says: {ENDS[code]}")
        self.code = code


class Link:
    """A WebSocket to the relay with at most one channel."""

    WINDOW = 256 * 1024  # of what the relay may send ahead

    def __init__(self, relay: str, plain: bool) -> None:
        url = f"{'ws' if plain else 'wss'}://{relay}/homing/1"
        try:
            self.ws = connect(url, subprotocols=[Subprotocol("homing.1")], compression=None, max_size=16417, proxy=None,
                              ping_interval=None, open_timeout=STEP, close_timeout=2).__enter__()
        except (OSError, InvalidHandshake) as error:
            raise Failed(f"the relay {relay} cannot be reached: {error}") from None
        self.relay, self.opened = relay, False
        self.credit = self.processed = self.granted = self.pings = 0
        self.heard, self.probing = time.monotonic(), False
        kind, hello = self.await_message(HELLO, STEP)
        if len(hello) != 66 or hello[0] != 1:
            self.hang_up("the relay speaks another version")
        self.nonce = hello[2:34]

    def send(self, kind: int, idx: int, body: bytes) -> None:
        try:
            self.ws.send(struct.pack("<BI", kind, idx) + body)
        except ConnectionClosed:
            raise Failed("the link to the relay is lost") from None

    def open(self, kind: int, request: bytes) -> bytes:
        """Asks for a channel, gives its id."""
        self.send(kind, 1, request)
        _, body = self.await_message(OPENED, 35)
        if len(body) != 20:
            self.hang_up("the relay sent nonsense")
        self.opened, self.credit, self.granted = True, int.from_bytes(body[16:], "little"), 4096
        self._ping()
        self._grant()
        return body[:16]

    def await_message(self, wanted: int, seconds: float) -> tuple[int, bytes]:
        message = self.receive(time.monotonic() + seconds)
        if message is None:
            self.hang_up("the relay or the host takes too long")
        if message[0] != wanted:
            self.hang_up("the relay sent something out of place")
        return message

    def send_data(self, body: bytes) -> None:
        """Sends a message for which there is credit."""
        assert len(body) <= self.credit
        self.credit -= len(body)
        self.send(DATA, 1, body)

    def receive(self, deadline: float) -> tuple[int, bytes] | None:
        """The next message of the channel, or none until the deadline. The link's own are handled here."""
        while True:
            now, wake = time.monotonic(), deadline
            if self.opened:  # 12.6
                if now >= self.heard + 24:
                    self.hang_up("the relay is silent")
                if now >= self.heard + 15 and not self.probing:
                    self.probing = True
                    self._ping()
                wake = min(deadline, self.heard + (24 if self.probing else 15))
            try:
                message = self.ws.recv(timeout=max(0.0, wake - now))
            except TimeoutError:
                if time.monotonic() >= deadline:
                    return None
                continue
            except ConnectionClosed as error:
                raise Failed(f"the link to the relay is lost: {error}") from None
            if isinstance(message, str) or len(message) < 5:
                self.hang_up("the relay sent nonsense")
            self.heard, self.probing = time.monotonic(), False
            kind, idx, body = message[0], int.from_bytes(message[1:5], "little"), message[5:]
            number = int.from_bytes(body, "little")
            if kind == CLOSED and len(body) == 1 and idx <= 1 and number < len(ENDS):
                if (idx, number) == (0, 9):
                    continue  # DRAINING: a notice
                self.ws.close()
                raise RelayClosed(number)
            elif kind == HOP_PONG and idx == 0 and len(body) == 8 and 1 <= number <= self.pings:
                continue
            elif kind == HOP_PING and idx == 0 and len(body) == 8:
                self.send(HOP_PONG, 0, body)
            elif kind == HOP_CREDIT and idx == 1 and len(body) == 4 and self.opened and number:
                self.credit += number
                return kind, body
            elif kind == DATA and idx == 1 and self.opened and 1 <= len(body) <= 16412:
                self.processed += len(body)
                self._grant()
                return kind, body
            elif (kind, idx) in ((HELLO, 0), (OPENED, 1)) and not self.opened:
                return kind, body
            else:
                self.hang_up("the relay sent something out of place")

    def _grant(self) -> None:
        owed = self.processed + self.WINDOW - self.granted  # 12.5
        if owed >= self.WINDOW // 4:
            self.granted += owed
            self.send(HOP_CREDIT, 1, struct.pack("<I", owed))

    def _ping(self) -> None:
        self.pings += 1
        self.send(HOP_PING, 0, struct.pack("<Q", self.pings))

    def close(self) -> None:
        """Ends the channel, and the link with it (12.4). The host may have been first."""
        with contextlib.suppress(Failed):
            self.send(CLOSED, 1, b"\0")
        self.ws.close()

    def hang_up(self, why: str) -> NoReturn:
        self.ws.close()
        raise Failed(why)


# ---- Session (9, 10) -------------------------------------------------------------------------------------------------

PING, PONG, CLOSE, PAIR_FINISH, PAIR_PENDING, PAIR_ACCEPT, PAIR_ACK = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13
AUTH, AUTH_OK, CAP, STREAM, STREAM_CREDIT, SESSION_CREDIT = 0x18, 0x19, 0x1C, 0x20, 0x21, 0x22
STREAMS_CREDIT, RESET, STOP = 0x23, 0x24, 0x25
PROTOCOL, FLOW_CONTROL, LIMIT = 1, 2, 3
RESETS = {0: "cancelled", 1: "the host has no such service", 2: "the service does not answer", 3: "not allowed"}
CLOSES = {3: "a limit was exceeded", 4: "it took too long", 5: "this device was revoked",
          6: "another device used the ticket", 7: "the operator said no", 8: "the token is not the one on record",
          11: "the host is shutting down"}


class Reader:
    """Takes a plaintext apart."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise PeerError(PROTOCOL, "the host sent a frame that is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        length = self.number(1)
        try:
            text = self.take(length).decode() if length <= 64 else None
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise PeerError(PROTOCOL, "the host sent a text that is none")
        return "".join(c if c.isprintable() else "\ufffd" for c in text)


class Stream(io.RawIOBase):
    """One byte pipe to a service (9.3)."""

    def __init__(self, session: "Session", id: int) -> None:
        self.session, self.id = session, id
        self.unsent, self.fin_due, self.sent, self.send_over = bytearray(), False, 0, False
        self.may_send = session.peer.stream_window
        self.unread, self.received, self.read_over = bytearray(), 0, False
        self.consumed, self.granted = 0, session.params.stream_window
        self.reset_by: int | None = None

    def readable(self) -> bool:
        return True

    def send(self, data: bytes, fin: bool = False) -> None:
        """Sends all of it, as the host's credit allows. An answer may come in the meantime."""
        self.unsent += data
        self.fin_due |= fin
        self.session.flush()
        while not self.send_over and (self.unsent or self.fin_due):
            self.session.pump()

    def readinto(self, buffer: Any) -> int:
        while not self.unread and not self.read_over:
            self.session.pump()
        if not self.unread and self.reset_by is not None:
            raise Failed(f"the stream was reset: {RESETS.get(self.reset_by, self.reset_by)}")
        size = min(len(buffer), len(self.unread))
        buffer[:size] = self.unread[:size]
        del self.unread[:size]
        self.session.consume(self, size)
        return size

    def makefile(self, _mode: str) -> io.BufferedReader:
        """For `http.client`, which wants a socket."""
        return io.BufferedReader(self, 65536)


class Session:
    """A channel whose handshake is done. What is to be sent is in `due`, at most one frame of a kind and stream, so that
    the host cannot make it grow."""

    CAP = 16 << 20  # bytes held unread, all streams together

    def __init__(self, link: Link, master: bytes, params: Params, peer: Params, state: str, epoch_records: int) -> None:
        self.link, self.params, self.peer, self.state = link, params, peer, state
        self.tx, self.rx = Direction(master, "d2h", epoch_records), Direction(master, "h2d")
        self.due: dict[tuple[int, int], bytes] = {}
        self.streams: dict[int, Stream] = {}
        self.next_id, self.may_open, self.refused = 0, peer.max_streams, 0
        self.sent, self.may_send = 0, peer.session_window
        self.received = self.consumed = 0
        self.granted = params.session_window
        self.accepted: dict[str, Any] = {}
        self.capability = b""
        self.heard, self.next_ping, self.pings = time.monotonic(), float("inf"), 0
        self.deadline, self.closed = time.monotonic() + STEP, False

    def begin(self) -> None:
        """The session is open: from here on both ends ping (10.2)."""
        self.state, self.deadline, self.next_ping = "open", float("inf"), time.monotonic()

    def open_stream(self, first: bytes) -> Stream:
        """Opens a stream, once the host allows one more, and sends `first` on it."""
        while self.next_id // 2 >= self.may_open:
            self.pump()
        stream = self.streams[self.next_id] = Stream(self, self.next_id)
        self.due[STREAM, stream.id] = struct.pack("<BBIQH", STREAM, 0, stream.id, 0, 0)
        self.next_id += 2
        stream.send(first)
        return stream

    def consume(self, stream: Stream | None, size: int) -> None:
        """Counts bytes that the application took, and raises the limits where it is worth a frame (9.4)."""
        self.consumed += size
        if stream:
            stream.consumed += size
            limit = stream.consumed + self.params.stream_window
            if not stream.read_over and limit - stream.granted >= self.params.stream_window // 4:
                stream.granted = limit
                frame = struct.pack("<BIQQ", STREAM_CREDIT, stream.id, stream.received, limit)
                self.due[STREAM_CREDIT, stream.id] = frame
        limit = min(self.received + self.params.session_window, self.consumed + self.CAP)
        if limit - self.granted >= self.params.session_window // 4:
            self.granted = limit
            self.due[SESSION_CREDIT, 0] = struct.pack("<BQ", SESSION_CREDIT, limit)

    def _frames(self, room: int) -> bytes:
        """Frames that are due, as many as fit: first the small ones, then data."""
        out = bytearray()
        for key in list(self.due):
            if len(out) + len(self.due[key]) <= room:
                out += self.due.pop(key)
        for stream in list(self.streams.values()) if self.state in ("greeting", "open") else []:
            allowed = min(stream.may_send - stream.sent, self.may_send - self.sent)
            size = min(len(stream.unsent), room - len(out) - 16, allowed)
            fin = stream.fin_due and size == len(stream.unsent)
            if stream.send_over or size < 0 or (size == 0 and not fin) or (STREAM, stream.id) in self.due:
                continue
            out += struct.pack("<BBIQH", STREAM, fin, stream.id, stream.sent, size) + stream.unsent[:size]
            del stream.unsent[:size]
            stream.sent += size
            self.sent += size
            stream.send_over |= fin
            self._settle(stream)
        return bytes(out)

    def flush(self) -> None:
        """Seals and sends what is due, as far as the relay's credit goes."""
        while True:
            room = self.link.credit - 28
            most = min(self.peer.max_record, room)
            # Padding has to fit as well; so short of credit, small records wait for more of it.
            frames = self._frames(most) if most >= 64 else b""
            if not frames:
                return
            self.link.send_data(self.tx.seal(frames.ljust(min(padme(len(frames)), most), b"\0")))

    def pump(self, until: float = float("inf")) -> bool:
        """Sends what is due and handles the next message; false where none came until then."""
        now = time.monotonic()
        if now >= self.next_ping:
            self.pings, self.next_ping = self.pings + 1, now + 25
            self.due[PING, 0] = struct.pack("<BQ", PING, self.pings)
        if now >= self.heard + 50:
            self.link.hang_up("the host is silent")
        if now >= self.deadline:
            self.close(4)
            raise Failed("the host takes too long")
        self.flush()
        message = self.link.receive(min(until, self.next_ping, self.heard + 50, self.deadline))
        if message is None:
            return time.monotonic() < until
        if message[0] == DATA:
            try:
                plaintext = self.rx.open(message[1])
            except Refused:
                self.link.hang_up("a record is damaged, missing or from somebody else")
            self.heard = time.monotonic()
            try:
                self._handle_record(Reader(plaintext))
            except PeerError as error:
                self.close(error.code)
                raise
        self.flush()
        return True

    def _handle_record(self, reader: Reader) -> None:
        while reader.at < len(reader.data) and not self.closed:
            kind = reader.number(1)
            if kind == 0:
                if any(reader.data[reader.at :]):
                    raise PeerError(PROTOCOL, "the host's padding is not zero")
                return
            if kind == CLOSE:
                self._handle_close(reader.number(1), reader.number(2), reader.text())
            elif self.state == "asking" and kind == PAIR_PENDING:
                self.deadline = time.monotonic() + min(reader.number(2), 60) + STEP
            elif self.state == "asking" and kind == PAIR_ACCEPT:
                sizes = (("device_id", 8), ("token", 40), ("route_id", 16), ("capability", 45))
                self.accepted = {name: reader.take(size) for name, size in sizes} | {"host_name": reader.text()}
                self.state = "storing"
            elif self.state == "greeting" and kind == AUTH_OK and reader.take(17) == bytes(17):
                self.begin()
            elif self.state == "open":
                self._handle_open(kind, reader)
            else:
                raise PeerError(PROTOCOL, "the host sent a frame out of order")

    def _handle_open(self, kind: int, reader: Reader) -> None:
        if kind == PING:
            self.due[PONG, 0] = bytes([PONG]) + reader.take(8)
        elif kind == PONG:
            reader.take(8)
        elif kind == CAP:
            self.capability = reader.take(45)
        elif kind == SESSION_CREDIT:
            self.may_send = max(self.may_send, reader.number(8))
        elif kind == STREAMS_CREDIT:
            self.may_open = max(self.may_open, reader.number(4))
        elif kind == STREAM:
            flags, id, offset = reader.number(1), reader.number(4), reader.number(8)
            self._handle_stream(flags, id, offset, reader.take(reader.number(2)))
        elif kind in (STREAM_CREDIT, RESET, STOP):
            id = reader.number(4)
            stream = self._stream(id, kind == RESET)
            if kind == STREAM_CREDIT:
                _, limit = reader.number(8), reader.number(8)
                if stream:
                    stream.may_send = max(stream.may_send, limit)
            elif kind == STOP:
                code = reader.number(2)
                if stream and not stream.send_over:
                    stream.send_over = True
                    self.due[RESET, id] = struct.pack("<BIHQ", RESET, id, code, stream.sent)
                    self._settle(stream)
            else:
                code, final = reader.number(2), reader.number(8)
                if stream and not stream.read_over:
                    if final < stream.received:
                        raise PeerError(PROTOCOL, "the host sent a wrong final size")
                    missing = final - stream.received
                    stream.reset_by = code
                    self._count(stream, missing, fin=True)
                    self.consume(stream, missing + len(stream.unread))
                    stream.unread.clear()
        else:
            raise PeerError(PROTOCOL, f"the host sent a frame of type {kind:#x}")

    def _stream(self, id: int, opens: bool) -> Stream | None:
        """The stream of this id; none if it is over, or one of the host's own: those are refused at once (9.6)."""
        if id % 2 == 1 and opens and id == 2 * self.refused + 1:
            if self.refused == self.params.max_streams:
                raise PeerError(LIMIT, "the host opened too many streams")
            self.refused += 1
            self.due[RESET, id] = struct.pack("<BIHQ", RESET, id, 3, 0)
            self.due[STOP, id] = struct.pack("<BIH", STOP, id, 3)
        if id >= (2 * self.refused if id % 2 else self.next_id):
            raise PeerError(PROTOCOL, "the host speaks of a stream that was never opened")
        return self.streams.get(id)

    def _handle_stream(self, flags: int, id: int, offset: int, data: bytes) -> None:
        if flags & ~1:
            raise PeerError(PROTOCOL, "the host sent an unknown flag")
        stream = self._stream(id, opens=True)
        if id % 2 == 1:
            self._count(None, len(data), fin=False)
            return self.consume(None, len(data))
        if stream is None or stream.read_over or offset != stream.received:
            raise PeerError(PROTOCOL, "the host sent data out of place")
        stream.unread += data
        self._count(stream, len(data), fin=bool(flags & 1))
        self.consume(None, 0)  # the session's limit follows what is received, too

    def _count(self, stream: Stream | None, size: int, fin: bool) -> None:
        self.received += size
        over = self.received > self.granted
        if stream:
            stream.received += size
            over |= stream.received > stream.granted
            if fin and not stream.read_over:
                # A limit of zero: the end has come, and need not be said again (9.3).
                stream.read_over = True
                self.due[STREAM_CREDIT, stream.id] = struct.pack("<BIQQ", STREAM_CREDIT, stream.id, stream.received, 0)
            self._settle(stream)
        if over:
            raise PeerError(FLOW_CONTROL, "the host sent more than it may")

    def _settle(self, stream: Stream) -> None:
        if stream.send_over and stream.read_over:
            self.streams.pop(stream.id, None)

    def _handle_close(self, scope: int, code: int, text: str) -> None:
        if scope == 0 and not self.closed:
            self._say_close(0)
        self.link.close()
        raise Closed(f"the host closed the session: {CLOSES.get(code, f'code {code}')} {text}".rstrip())

    def _say_close(self, code: int) -> None:
        self.next_ping, self.closed = float("inf"), True
        self.due = {(CLOSE, 0): struct.pack("<BBHB", CLOSE, 0, code, 0)}
        self.streams.clear()
        with contextlib.suppress(Failed):  # the host may have hung up
            self.flush()

    def close(self, code: int = 0) -> None:
        """Closes the session; where nothing is wrong, waits until the host has ended the channel (10.4)."""
        self._say_close(code)
        until = time.monotonic() + STEP
        with contextlib.suppress(Failed):  # it may hang up first; all that was asked for is here
            while code == 0 and self.pump(until):
                pass
        self.link.close()


# ---- Pair and connect (19) -------------------------------------------------------------------------------------------


def store(path: Path, profile: dict[str, Any]) -> None:
    """Writes a profile durably and for its owner only."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(profile, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def run_handshake(link: Link, initiator: Initiator) -> tuple[bytes, Params]:
    link.send_data(initiator.hs1)
    until = time.monotonic() + STEP
    while (message := link.receive(until)) is not None:
        if message[0] == DATA:
            try:
                return initiator.read(message[1])
            except Failed as error:
                link.hang_up(str(error))
    link.hang_up("the host does not answer")


def pair(text: str, path: Path, name: str, epoch_records: int) -> dict[str, Any]:
    """Pairs by a link and stores the profile (19.2)."""
    ticket = parse_ticket(text)
    if not ticket.relay:
        raise Failed("the link leaves the relay to the device's default, and this device has none")
    if ticket.plain and not is_loopback(ticket.relay):
        raise Failed("the link wants a relay without TLS, which is for this machine only")
    secret, params = X25519PrivateKey.generate(), Params()
    link = Link(ticket.relay, ticket.plain)
    channel_id = link.open(DIAL_PAIR, ticket.rendezvous)
    initiator = Initiator(PAIR, ticket.suite, channel_id, ticket.hash, secret, ticket.host_key, ticket.psk,
                          ticket.mac1_key, params)
    master, peer = run_handshake(link, initiator)
    if ticket.confirm:
        print(f"Compare the check words: {sas(master)}", file=sys.stderr, flush=True)
    session = Session(link, master, params, peer, "asking", epoch_records)
    called = name.encode()[:64].decode(errors="ignore").encode()
    session.due[PAIR_FINISH, 0] = bytes([PAIR_FINISH, 1, len(called)]) + called
    while session.state == "asking":
        session.pump()
    accepted = session.accepted
    profile = {
        "relay": ticket.relay, "plain": ticket.plain, "suite": ticket.suite, "host_key": ticket.host_key.hex(),
        "device_secret": secret.private_bytes_raw().hex(), "device_root": expand(master, "device root").hex(),
        "device_id": accepted["device_id"].hex(), "token": accepted["token"].hex(),
        "route_id": accepted["route_id"].hex(), "capabilities": [accepted["capability"].hex()],
        "host_name": accepted["host_name"],
    }
    store(path, profile)
    session.due[PAIR_ACK, 0] = bytes([PAIR_ACK])
    session.begin()
    session.close()
    return profile


def dial(profile: dict[str, Any]) -> tuple[Link, bytes]:
    """Opens a channel with the newest capability that the relay takes."""
    for number, capability in enumerate(map(bytes.fromhex, profile["capabilities"])):
        link = Link(profile["relay"], profile["plain"])
        relay = profile["relay"].encode()
        proof = mac(capability[13:], PROTO + b" dial" + bytes([len(relay)]) + relay + link.nonce, 16)
        try:
            return link, link.open(DIAL, bytes.fromhex(profile["route_id"]) + capability[:13] + proof)
        except RelayClosed as closed:  # denied or not reachable: the one before may still do (10.1)
            if closed.code not in (1, 8) or number + 1 == len(profile["capabilities"]):
                raise
    raise Failed("the profile has no capability")


def connect_host(path: Path, epoch_records: int) -> Session:
    """Connects with what pairing stored, and returns when the session is open (19.3)."""
    profile = json.loads(path.read_text())
    suite, host_key, route_id = profile["suite"], bytes.fromhex(profile["host_key"]), bytes.fromhex(profile["route_id"])
    link, channel_id = dial(profile)
    params, secret = Params(), X25519PrivateKey.from_private_bytes(bytes.fromhex(profile["device_secret"]))
    psk = expand(bytes.fromhex(profile["device_root"]), "psk", bytes([suite]))
    initiator = Initiator(CONNECT, suite, channel_id, route_id + bytes(16), secret, host_key, psk,
                          hash32(PROTO + b" mac1" + host_key), params)
    master, peer = run_handshake(link, initiator)
    session = Session(link, master, params, peer, "greeting", epoch_records)
    session.due[AUTH, 0] = bytes([AUTH, 0]) + bytes.fromhex(profile["token"]) + bytes(32)
    while session.state != "open" or not session.capability:
        session.pump()
    profile["capabilities"] = [session.capability.hex(), *profile["capabilities"][:1]]
    store(path, profile)
    return session


def ask_services(session: Session) -> list[dict[str, str]]:
    stream = session.open_stream(b"\0")
    services: list[dict[str, str]] = json.loads(stream.makefile("rb").read())["services"]
    stream.send(b"", fin=True)
    return services


def fetch(session: Session, service: str, path: str, body: bytes | None) -> tuple[Stream, http.client.HTTPResponse]:
    """Asks a service for a page, over a stream of its own that is to be ended when the page is read."""
    stream = session.open_stream(bytes([len(service)]) + service.encode())
    method = "GET" if body is None else "POST"
    length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: {service}\r\n{length}Connection: close\r\n\r\n"
    stream.send(head.encode() + (body or b""))
    response = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]
    response.begin()
    return stream, response


# ---- Test vectors (18) -----------------------------------------------------------------------------------------------


def check(what: str, ours: Any, theirs: Any) -> int:
    if isinstance(ours, bytes):
        ours = ours.hex()
    if ours != theirs:
        raise Failed(f"{what}: {ours} is not {theirs}")
    return 1


def private(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def check_handshake(v: dict[str, Any]) -> Iterator[int]:
    """One handshake from the device's side. `hs1` that must be refused are for hosts: this is none."""
    mode, suite, what = (PAIR if v["mode"] == "pair" else CONNECT), v["suite"], f"suite {v['suite']} {v['mode']}: "
    given = {name: bytes.fromhex(v[name]) for name in ("prologue", "psk", "mac1_key", "hs2", "payload1")}
    host_key, seed = public_of(private(v["resp_static"])), v["kem_keygen_seed"]
    if mode == CONNECT:
        yield check(what + "mac1 key", hash32(PROTO + b" mac1" + host_key), v["mac1_key"])
        yield check(what + "psk", expand(bytes.fromhex(v["device_root"]), "psk", bytes([suite])), v["psk"])
    else:
        ticket = parse_ticket(v["ticket_uri"])
        yield check(what + "psk", ticket.psk, v["psk"]) + check(what + "mac1 key", ticket.mac1_key, v["mac1_key"])

    def initiator() -> Initiator:
        return Initiator(
            mode, suite, bytes.fromhex(v["channel_id"]), given["prologue"][36:], private(v["init_static"]), host_key,
            given["psk"], given["mac1_key"], Params.parse(given["payload1"]), ephemeral=private(v["init_ephemeral"]),
            kem=MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(seed)) if seed else None)

    device = initiator()
    yield check(what + "hs1", device.hs1, v["hs1"])
    master, peer = device.read(given["hs2"])
    yield check(what + "h", device.noise.h, v["handshake_hash"]) + check(what + "M", master, v["session_master"])
    yield check(what + "k1", device.split[0], v["split_d2h"]) + check(what + "k2", device.split[1], v["split_h2d"])
    yield check(what + "params", peer.emit(), v["payload2"]) + check(what + "sas", sas(master), v["sas"])
    for name, value in v["exports"].items():
        yield check(what + name, expand(master, name, b"", len(value) // 2), value)
    secrets = {d: [expand(master, d)] for d in ("d2h", "h2d")}
    for entry in v["key_schedule"]:
        chain = secrets[entry["direction"]]
        while len(chain) <= entry["epoch"]:
            chain.append(expand(chain[-1], "next"))
        key, prefix = record_key(chain[entry["epoch"]])
        yield check(what + "secret", chain[entry["epoch"]], entry["secret"]) + check(what + "key", key, entry["key"])
        yield check(what + "prefix", prefix, entry["nonce_prefix"])
    for r in v["records"]:
        sender = Direction(master, r["direction"], 1 << 64)
        for _ in range(r["epoch"]):
            sender._enter(expand(sender.secret, "next"))
        sender.counter = int(r["counter"])
        yield check(what + "record", sender.seal(bytes.fromhex(r["plaintext"])), r["record"])
    for bad in v["invalid"]:
        data, name = bytes.fromhex(bad["bytes"]), bad["input"]
        try:
            if name == "hs1":
                continue
            elif name == "hs2":
                initiator().read(data)
            elif name == "record d2h expecting epoch 0 counter 0":
                Direction(master, "d2h").open(data)
            else:
                raise Failed(f"{what}: what is {name}?")
        except Refused as refused:
            yield check(what + name, refused.reason, bad["error"])
        else:
            raise Failed(f"{what}: {name} should have been refused for {bad['error']}")


def check_ticket(v: dict[str, Any]) -> Iterator[int]:
    ticket = parse_ticket(v["uri"])
    yield check("ticket", [ticket.suite, ticket.flags, ticket.relay], [v["suite"], v["flags"], v["relay"]])
    for name in ("body", "hash", "psk", "mac1_key", "rendezvous"):
        yield check(f"ticket {name}", getattr(ticket, name), v[name])
    yield check("ticket host_pub", ticket.host_key, v["host_pub"])
    yield check("ticket rv_hash", hash32(PROTO + b" rendezvous" + ticket.rendezvous)[:16], v["rv_hash"])


def check_relay(v: dict[str, Any]) -> Iterator[int]:
    b = {name: bytes.fromhex(value) for name, value in v.items() if isinstance(value, str) and name != "relay"}
    relay = bytes([len(v["relay"])]) + v["relay"].encode()
    route, shared = private(v["route_sk"]), hmac32(b["nonce"], dh(private(v["route_sk"]), b["relay_eph_pub"]))
    yield check("route key", public_of(route), v["route_pub"])
    yield check("route id", hash32(PROTO + b" route" + b["route_pub"])[:16], v["route_id"])
    proof = PROTO + b" register" + relay + b["nonce"] + b["relay_eph_pub"] + b["route_pub"]
    yield check("register", mac(shared, proof, 16), v["register_mac"])
    yield check("attach", mac(shared, PROTO + b" attach" + b["channel_id"], 16), v["attach_mac"])
    capability = b["route_id"] + b["cap_id"] + struct.pack("<IB", v["cap_expiry"], v["cap_class"])
    yield check("capability", mac(b["k_cap"], PROTO + b" cap" + capability, 32), v["cap_key"])
    yield check("dial", mac(b["cap_key"], PROTO + b" dial" + relay + b["nonce"], 16), v["cap_proof"])
    yield check("token", hash32(PROTO + b" token" + b["token"]), v["token_hash"])
    yield check("keystore", b["keystore"][:6], b"HMNK\x01\x01".hex())
    yield check("keystore's length", len(b["keystore"]), 80 + int.from_bytes(b["keystore"][60:64], "little"))


def check_vectors() -> int:
    """Checks everything that can be recomputed, and gives the number of comparisons."""
    files = {name: json.loads((Path(__file__).parent / name).read_text())
             for name in ("handshake.json", "ticket.json", "padme.json", "relay_token_keystore.json")}
    done = sum(sum(check_handshake(v)) for v in files["handshake.json"]["vectors"])
    done += sum(sum(check_ticket(v)) for v in files["ticket.json"]["vectors"])
    done += sum(check(f"padme of {v['len']}", padme(v["len"]), v["padded"]) for v in files["padme.json"]["vectors"])
    return done + sum(check_relay(files["relay_token_keystore.json"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="A homing device, for tests and for reading.")
    parser.add_argument("--epoch-records", type=int, default=1 << 20, help="records before the keys change")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("pair")
    command.add_argument("link")
    command.add_argument("profile", type=Path)
    command.add_argument("--name", default="python device")
    command = commands.add_parser("services")
    command.add_argument("profile", type=Path)
    command = commands.add_parser("get")
    command.add_argument("profile", type=Path)
    command.add_argument("service")
    command.add_argument("path", nargs="+")
    command.add_argument("--body", type=Path, help="a file to POST")
    command.add_argument("--hash", action="store_true", help="print length and SHA-256 in place of the body")
    commands.add_parser("vectors")
    args = parser.parse_args()
    if args.command == "vectors":
        print(f"{check_vectors()} values agree")
    elif args.command == "pair":
        print(f"paired with {pair(args.link, args.profile, args.name, args.epoch_records)['host_name']}")
    else:
        session = connect_host(args.profile, args.epoch_records)
        if args.command == "services":
            for service in ask_services(session):
                print(json.dumps(service))
        for path in args.path if args.command == "get" else []:
            stream, response = fetch(session, args.service, path, args.body.read_bytes() if args.body else None)
            print(response.status, response.reason, flush=True)
            size, digest = 0, hashlib.sha256()
            while piece := response.read(1 << 16):
                size += len(piece)
                digest.update(piece)
                if not args.hash:
                    sys.stdout.buffer.write(piece)
            print(f"{size} {digest.hexdigest()}" if args.hash else "", flush=True)
            stream.send(b"", fin=True)
        session.close()


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"{failed}")
