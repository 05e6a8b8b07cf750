"""Records and changes of keys (7, 8). Every record is sealed by libsodium and by OpenSSL, which have to agree."""

import struct

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

import codec
from device import Failed, aead_seal, expand, padme, record_key
from make_common import ORIGIN, Vector, some, with_errors


def quarter(s: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFFFFFF
        mixed = s[z] ^ s[x]
        s[z] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF


def hchacha(key: bytes, prefix: bytes) -> bytes:
    """HChaCha20 of draft-irtf-cfrg-xchacha, 2.2."""
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + prefix))
    for _ in range(10):
        for i in range(4):
            quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *s[:4], *s[12:])


def secret_at(secret: bytes, epoch: int) -> bytes:
    for _ in range(epoch):
        secret = expand(secret, "next")
    return secret


def seal(secret: bytes, epoch: int, counter: int, plaintext: bytes) -> bytes:
    """A record under the `secret` of epoch 0, by two libraries."""
    key, prefix = record_key(secret_at(secret, epoch))
    number = struct.pack("<Q", counter)
    head = b"\x10" + epoch.to_bytes(3, "little") + number
    sealed = aead_seal(plaintext, head, prefix + number, key)
    other = ChaCha20Poly1305(hchacha(key, prefix)).encrypt(bytes(4) + number, plaintext, head)
    if sealed != other:
        raise Failed("the two libraries seal differently")
    return head + sealed


SECRETS = {d: some(f"secret {d}") for d in ("d2h", "h2d")}
CREDIT = codec.emit_frame("SESSION_CREDIT", {"limit": "131072"})
PING = codec.emit_frame("PING", {"number": "7"})


def stream(data: bytes, offset: int = 0, fin: bool = False) -> bytes:
    return codec.emit_frame("STREAM", {"fin": fin, "id": 0, "offset": str(offset), "data": data.hex()})


def padded(plaintext: bytes) -> bytes:
    return plaintext.ljust(padme(len(plaintext)), b"\0")


def state(about: str, d: str, epoch: int, counter: int, max_record: int = 16384) -> Vector:
    return {
        "about": about,
        "direction": d,
        "secret": SECRETS[d].hex(),
        "epoch": epoch,
        "counter": str(counter),
        "max_record": max_record,
    }


def records() -> Vector:
    def good(about: str, d: str, epoch: int, counter: int, plaintext: bytes, max_record: int = 16384) -> Vector:
        record = seal(SECRETS[d], epoch, counter, plaintext)
        return state(about, d, epoch, counter, max_record) | {"plaintext": plaintext.hex(), "record": record.hex()}

    def framed(about: str, d: str, counter: int, *frames: bytes) -> Vector:
        vector = good(about, d, 0, counter, padded(b"".join(frames)))
        return vector | {"frames": [frame.hex() for frame in frames]}

    def bad(
        about: str, counter: int, record: bytes, *errors: str, d: str = "d2h", epoch: int = 0, max_record: int = 16384
    ) -> Vector:
        return with_errors(state(about, d, epoch, counter, max_record) | {"record": record.hex()}, errors)

    def changed(record: bytes, place: int) -> bytes:
        data = bytearray(record)
        data[place] ^= 1
        return bytes(data)

    key, text = SECRETS["d2h"], padded(PING + CREDIT)
    next_one = seal(key, 0, 3, text)
    vectors = [
        good("nothing inside", "d2h", 0, 0, b""),
        good("nothing inside", "h2d", 0, 0, b""),
        good("one byte of padding", "d2h", 0, 1, b"\0"),
        good("the longest", "h2d", 0, 2, stream(some("longest", 16384 - 16))),
        good("the longest for a receiver that takes 1024", "d2h", 0, 2, stream(some("short", 1024 - 16)), 1024),
        good("a later counter", "d2h", 0, 300, text),
        good("a later epoch", "h2d", 2, 5, text),
        good("an epoch of two bytes", "d2h", 300, 301, text),
        good("a counter of three bytes", "h2d", 1, 70000, text),
        framed("one frame, padded to 64", "d2h", 0, PING),
        framed("padding alone", "h2d", 0),
        framed("several frames, padded to 112", "d2h", 1, PING, stream(b""), stream(some("data", 60)), CREDIT),
        framed("no room for padding", "h2d", 1, stream(some("data", 64 - 16))),
    ]
    zeros = bytes(20)
    invalid = [
        bad("the last bit of the tag is wrong", 3, changed(next_one, -1), "decrypt"),
        bad("the first bit of the tag is wrong", 3, changed(next_one, -16), "decrypt"),
        bad("a bit of the ciphertext is wrong", 3, changed(next_one, 12), "decrypt"),
        bad("no ciphertext left before the tag", 3, next_one[:12] + next_one[-16:], "decrypt"),
        bad("one byte more in the ciphertext", 3, next_one + b"\0", "decrypt"),
        bad("all zero behind the header", 3, next_one[:12] + bytes(80), "decrypt"),
        bad("of the other direction", 3, seal(SECRETS["h2d"], 0, 3, text), "decrypt"),
        bad("of another channel", 3, seal(some("another channel"), 0, 3, text), "decrypt"),
        bad(
            "the header says the next, the keys are of counter 4",
            3,
            next_one[:12] + seal(key, 0, 4, text)[12:],
            "decrypt",
        ),
        bad(
            "sealed under the next epoch's keys, named as this one's",
            3,
            next_one[:12] + seal(key, 1, 3, text)[12:],
            "decrypt",
        ),
        bad("the one before, again", 3, seal(key, 0, 2, text), "order"),
        bad("the first, again", 3, seal(key, 0, 0, text), "order"),
        bad("one was lost", 3, seal(key, 0, 4, text), "order"),
        bad("the highest counter of 16 bits", 3, seal(key, 0, 65535, text), "order"),
        bad("only the counter's high half differs", 3, next_one[:8] + b"\1" + next_one[9:], "epoch", "order"),
        bad("an epoch was left out", 3, seal(key, 2, 3, text), "epoch"),
        bad("an epoch of the past", 3, seal(key, 0, 3, text), "epoch", epoch=1),
        bad("an epoch far ahead", 3, changed(next_one, 3), "epoch"),
        bad("another type", 3, b"\x11" + next_one[1:], "type"),
        bad("a handshake message's type", 3, b"\x01" + next_one[1:], "type"),
        bad("nothing at all", 3, b"", "length", "type"),
        bad("a header alone", 3, next_one[:12], "length"),
        bad("one byte too short for header and tag", 3, next_one[:27], "length"),
        bad("one byte longer than a record may be", 0, seal(key, 0, 0, bytes(16385)), "length"),
        bad("one byte longer than was announced", 0, seal(key, 0, 0, bytes(1025)), "length", max_record=1024),
        bad("padding that ends with a one", 0, seal(key, 0, 0, PING + zeros + b"\1"), "malformed"),
        bad("padding that hides a frame", 0, seal(key, 0, 0, PING + b"\0" + PING), "malformed"),
        bad("padding alone that is not zero", 0, seal(key, 0, 0, bytes(63) + b"\x80"), "malformed"),
        bad("a frame of an unknown type", 0, seal(key, 0, 0, b"\x7f" + zeros), "malformed"),
        bad("a frame that would go on in the next record", 0, seal(key, 0, 0, PING + PING[:5]), "malformed"),
        bad("a good frame before a bad one", 0, seal(key, 0, 0, PING + b"\x27\0\0"), "malformed"),
    ]
    return {"origin": ORIGIN, "vectors": vectors, "invalid": invalid}


def rekey() -> Vector:
    def schedule(secret: bytes, epoch: int) -> Vector:
        secret = secret_at(secret, epoch)
        key, prefix = record_key(secret)
        return {
            "epoch": epoch,
            "secret": secret.hex(),
            "key": key.hex(),
            "nonce_prefix": prefix.hex(),
            "subkey": hchacha(key, prefix).hex(),
        }

    def boundary(about: str, d: str, epoch: int, counter: int, of: int, number: int, plaintext: bytes) -> Vector:
        record = seal(SECRETS[d], of, number, plaintext)
        after = {"next_epoch": of, "next_counter": str(number + 1)}
        return state(about, d, epoch, counter) | {"record": record.hex(), "plaintext": plaintext.hex()} | after

    def bad(about: str, epoch: int, counter: int, of: int, number: int, *errors: str, tag: int = 0) -> Vector:
        record = bytearray(seal(SECRETS["d2h"], of, number, padded(PING)))
        record[-1] ^= tag
        return with_errors(state(about, "d2h", epoch, counter) | {"record": bytes(record).hex()}, errors)

    def move(about: str, epoch: int, first: int, sealed: int, size: int, age: int, moves: bool) -> Vector:
        vector: Vector = {"about": about, "epoch": epoch, "first": str(first), "counter": str(first + sealed)}
        vector |= {"bytes": str(size), "age": age}
        if moves and epoch == (1 << 24) - 1:
            return vector | {"error": "exhausted"}
        return vector | {"next_epoch": epoch + moves, "next_counter": vector["counter"]}

    chains = [
        {"direction": d, "secret": secret.hex(), "epochs": [schedule(secret, n) for n in (0, 1, 2, 3, 255, 256, 1000)]}
        for d, secret in SECRETS.items()
    ]
    text, most, high = padded(PING + CREDIT), 1 << 20, (1 << 44) - 1
    vectors = [
        boundary("the next of the same epoch", "d2h", 0, 4, 0, 4, text),
        boundary("the first of the next epoch", "d2h", 0, 4, 1, 4, text),
        boundary("the first of the next epoch, the other way", "h2d", 0, 9, 1, 9, text),
        boundary("an epoch that ends before its first record", "d2h", 0, 0, 1, 0, text),
        boundary("an epoch after one record of the last", "d2h", 1, 3, 2, 3, text),
        boundary("the second of an epoch", "d2h", 1, 5, 1, 5, text),
        boundary("nothing inside, at a change", "h2d", 2, 6, 3, 6, b""),
        boundary("from one byte of epoch to two", "d2h", 255, 256, 256, 256, text),
        boundary("the last that epoch 0 can have", "d2h", 0, most - 1, 0, most - 1, text),
        boundary("after all that epoch 0 can have", "d2h", 0, most, 1, most, text),
    ]
    invalid = [
        bad("one epoch was left out", 0, 4, 2, 4, "epoch"),
        bad("from epoch 1 to 3", 1, 2, 3, 2, "epoch"),
        bad("the last of the epoch was held back", 0, 4, 1, 5, "order"),
        bad("the last two of the epoch were held back", 0, 4, 1, 6, "order"),
        bad("the next epoch begins at 0", 0, 4, 1, 0, "order"),
        bad("the next epoch begins with a number that was used", 0, 4, 1, 3, "order"),
        bad("the next number, in the epoch before", 1, 4, 0, 4, "epoch"),
        bad("back to the epoch before", 1, 4, 0, 2, "epoch"),
        bad("back to the first epoch", 2, 3, 0, 0, "epoch"),
        bad("the same epoch's first, again", 1, 4, 1, 3, "order"),
        bad("the first of the next epoch with a wrong tag", 0, 4, 1, 4, "decrypt", tag=1),
        bad("more than epoch 0 can have", 0, most, 0, most, "epoch"),
        bad("far more than epoch 0 can have", 0, 4, 0, most, "epoch", "order"),
        bad("far more than epoch 1 can have", 0, 4, 1, 2 * most, "epoch", "order"),
        bad("the highest counter that any epoch can have", 0, 4, 0, high, "epoch", "order"),
        bad("the highest counter", 0, 4, 0, (1 << 64) - 1, "epoch", "order"),
    ]
    moves = [
        move("the beginning", 0, 0, 0, 0, 0, False),
        move("within all limits", 0, 0, 1000, 64000, 599, False),
        move("the last record of an epoch", 0, 0, most - 1, 1 << 26, 10, False),
        move("2^20 records", 0, 0, most, 1 << 26, 10, True),
        move("the last byte is not reached", 0, 0, 70000, (1 << 30) - 1, 10, False),
        move("2^30 bytes", 0, 0, 70000, 1 << 30, 10, True),
        move("600 seconds", 0, 0, 1, 92, 600, True),
        move("600 seconds in which nothing was sent", 0, 0, 0, 0, 600, True),
        move("a later epoch within its limits", 3, 8, 2, 184, 599, False),
        move("a later epoch of 600 seconds", 3, 8, 2, 184, 600, True),
        move("the last record of a later epoch", 1, 1000, most - 1, 1 << 26, 10, False),
        move("2^20 records of a later epoch", 1, 1000, most, 1 << 26, 10, True),
        move("the last epoch within its limits", (1 << 24) - 1, high - 6, 7, 700, 10, False),
        move("the last epoch is used up", (1 << 24) - 1, high + 1 - most, most, 1 << 26, 10, True),
    ]
    return {"origin": ORIGIN, "chains": chains, "vectors": vectors, "invalid": invalid, "moves": moves}
