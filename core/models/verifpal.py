"""Writes a Verifpal model for a handshake of handshakes.json and an attacker of attackers.json.

Each end walks the token sequence of the table, exactly as the code does: mix_hash is HASH over what there was and what
is new, mix_key is HKDF with the chaining key as salt. Values of the device end in d, those of the host in h.
"""
import re

SECRETS = {
    "host key": ("Host", "skh"),
    "device key": ("Device", "skd"),
    "psk": ("Host", "psk"),
    "device ephemeral": ("Device", "ed"),
    "host ephemeral": ("Host", "eh"),
    "KEM key": ("Device", "e1"),
    "KEM coins": ("Host", "r1"),
}
# Drawn during the run: a leak "before" comes right after the draw.
FRESH = ("device ephemeral", "host ephemeral", "KEM key", "KEM coins")

QUERIES = {
    "secret of device": "confidentiality? md",
    "secret of host": "confidentiality? mh",
    "device root": "confidentiality? device_root_d",
    "host to device": "authentication? Host -> Device: yp",
    "device to host": "authentication? Device -> Host: c0",
    "answer to device": "authentication? Host -> Device: a0",
    "fresh reply": "freshness? yp",
    "fresh confirmation": "freshness? c0",
    "device is done": "confidentiality? doned",
    "host is done": "confidentiality? doneh",
    "device's public key": "confidentiality? pkd",
    "host's public key": "confidentiality? pkh",
}


def constant(label):
    """A label of the table as a name of Verifpal."""
    return "l_" + re.sub(r"\W+", "_", label.strip())


class End:
    """One end's symmetric state (Noise 5.2)."""

    def __init__(self, device, pairs):
        self.device, self.pairs = device, pairs
        self.side = "d" if device else "h"
        self.lines, self.count = [], 0
        # How this end knows the public keys.
        self.pkh, self.pkd = "pkh", "pkd"
        # The name is hashed to make the first h, which is also the first chaining key.
        self.ck, self.key, self.nonce = "name", None, 0
        self.h = None

    def begin(self, prologue):
        """What is hashed first. All that is constant in the prologue stands in `name`, which the table sets per row."""
        self.pending = ["name", *["chan" for part in prologue if part == "channel"], self.pkh]

    def line(self, text):
        self.lines.append("\t" + text)

    def mix_hash(self, value):
        self.pending.append(value)

    def hash(self):
        """The transcript hash; what was mixed in since the last one is hashed at once."""
        while self.pending:
            self.count += 1
            parts = ([self.h] if self.h else []) + self.pending[: 4 if self.h else 5]
            self.pending = self.pending[len(parts) - bool(self.h):]
            self.h = f"h{self.count}{self.side}"
            self.line(f"{self.h} = HASH({', '.join(parts)})")
        return self.h

    def mix_key(self, value, hashed=False):
        self.count += 1
        ck, self.key = f"ck{self.count}{self.side}", f"k{self.count}{self.side}"
        middle = f"t{self.count}{self.side}, " if hashed else ""
        self.line(f"{ck}, {middle}{self.key} = HKDF({self.ck}, {value}, nil)")
        self.ck, self.nonce = ck, 0
        if hashed:
            self.mix_hash(f"t{self.count}{self.side}")

    def seal(self, wire, text):
        ad = self.hash()
        self.line(f"{wire} = AEAD_ENC({self.key}, n{self.nonce}, {text}, {ad})")
        self.after(wire)

    def open(self, wire, text):
        ad = self.hash()
        self.line(f"{text} = AEAD_DEC({self.key}, n{self.nonce}, {wire}, {ad})?")
        self.after(wire)

    def after(self, wire):
        self.nonce += 1
        self.mix_hash(wire)

    def token(self, message, token):
        """One token of message 1 (device to host) or 2. Returns what goes on the wire."""
        writes = self.device == (message == 1)
        if token == "psk":
            self.mix_key("psk", hashed=True)
        elif token == "e":
            wire = "ge" if message == 1 else "gf"
            if writes:
                self.line(f"{wire} = PUBKEY(e{self.side})")
            self.mix_hash(wire)
            self.mix_key(wire)
            return wire
        elif token in ("es", "ss", "ee", "se"):
            # First letter: the device's key, second: the host's.
            peer_device = "ge" if token[0] == "e" else "pkd_seen"
            peer_host = "gf" if token[1] == "e" else self.pkh
            mine = {"e": f"e{self.side}", "s": f"sk{self.side}"}
            if self.device:
                self.mix_key(f"DH_KEX({peer_host}, {mine[token[0]]})")
            else:
                self.mix_key(f"DH_KEX({peer_device}, {mine[token[1]]})")
        elif token == "e1":
            if writes:
                self.line("g1 = PUBKEY(e1)")
                self.seal("x1", "g1")
            else:
                self.open("x1", "g1_seen")
            return "x1"
        elif token == "ekem1":
            if writes:
                self.line("shared_h, text = KEM_ENCAP(g1_seen, r1)")
                self.seal("y1", "text")
            else:
                self.open("y1", "text_seen")
                self.line("shared_d = KEM_DECAP(e1, text_seen)")
            self.mix_key(f"shared_{self.side}")
            return "y1"
        elif token == "s":
            if writes:
                self.seal("xs", "pkd")
            else:
                self.open("xs", "pkd_seen")
                if not self.pairs:
                    # The host finds the device's record by its key.
                    self.line(f"_ = ASSERT(pkd_seen, {self.pkd})?")
            return "xs"
        elif token == "params":
            wire = "xp" if message == 1 else "yp"
            if writes:
                self.seal(wire, f"params_{self.side}")
            else:
                self.open(wire, f"got_{wire}")
                self.line(f"_ = HASH(got_{wire})")
            return wire
        else:
            raise ValueError(f"no token {token!r}")
        return None

    def split(self, labels, exports):
        """Protocol 7: k1 || k2 and h give M, each direction's secret is its label's."""
        s, h = self.side, self.hash()
        self.line(f"split1{s}, split2{s} = HKDF({self.ck}, nil, nil)")
        self.line(f"master{s} = HKDF({h}, CONCAT(split1{s}, split2{s}), nil)")
        for key, label in [("d2h", labels["device_to_host"]), ("h2d", labels["host_to_device"])]:
            self.line(f"{key}{s} = HKDF(master{s}, nil, {constant(label)})")
        for name in exports:
            self.line(f"{name}_{s} = HKDF(master{s}, nil, {constant(labels[name])})")


def block(name, lines):
    return [f"principal {name}[", *lines, "]"]


def leaks(names):
    return [line for name in names for line in block(SECRETS[name][0], [f"\tleaks {SECRETS[name][1]}"])]


def model(table, handshake, attacker, queries, title):
    """The text of one model."""
    first, second = handshake["tokens"]
    labels, exports = table["labels"], handshake["exports"]
    pairs, hybrid = handshake["mode"] == 1, "e1" in first
    before, after = attacker.get("before", []), attacker.get("after", [])
    device, host = End(True, pairs), End(False, pairs)
    out = [f"// {line}" for line in title] + [f"// {handshake['noise']}", "attacker[active]", ""]

    public = ["name", "params_d", "params_h", "n0", "n1", "rec"]
    public += [constant(label) for label in [labels["device_to_host"], labels["host_to_device"], *map(labels.get, exports)]]
    public += [] if attacker.get("names the channel", False) else ["chan"]
    hidden = attacker.get("keys are hidden", False)
    private = "psk, light" if hidden else "psk"
    for name, end in [("Host", host), ("Device", device)]:
        s = end.side
        lines = [f"\tknows public {', '.join(public)}", f"\tknows private sk{s}, {private}", f"\tpk{s} = PUBKEY(sk{s})"]
        out += block(name, lines + ([f"\tcard{s} = AEAD_ENC(light, n{int(s == 'd')}, pk{s}, nil)"] if hidden else []))
    out += leaks(n for n in before if n not in FRESH)
    # The host's key comes with the QR code or the record; when connecting, the device's is in the host's record.
    if hidden:
        out += ["Host -> Device: [cardh]"] + ([] if pairs else ["Device -> Host: [cardd]"])
        device.pkh, host.pkd = "pkh_card", "pkd_card"
        device.line("pkh_card = AEAD_DEC(light, n0, cardh, nil)?")
        if not pairs:
            host.line("pkd_card = AEAD_DEC(light, n1, cardd, nil)?")
    else:
        out += ["Host -> Device: [pkh]"] + ([] if pairs else ["Device -> Host: [pkd]"])
    if attacker.get("names the channel", False):
        # To each end as it likes. Elsewhere the id is one public value, which is much less to search.
        out += [*block("Relay", ["\tgenerates chan"]), "Relay -> Device: chan", "Relay -> Host: chan"]
    device.begin(table["prologue"])
    host.begin(table["prologue"])

    def draw(end, names):
        end.line("generates " + ", ".join(SECRETS[name][1] for name in names))
        for name in names:
            if name in before:
                end.line(f"leaks {SECRETS[name][1]}")

    draw(device, ["device ephemeral"] + ["KEM key"] * hybrid)
    wires = [w for t in first if (w := device.token(1, t))]
    out += block("Device", device.lines)
    out += [f"Device -> Host: {', '.join(wires)}"]
    device.lines = []

    draw(host, ["host ephemeral"] + ["KEM coins"] * hybrid)
    for t in first:
        host.token(1, t)
    wires = [w for t in second if (w := host.token(2, t))]
    host.split(labels, exports)
    out += block("Host", host.lines)
    out += [f"Host -> Device: {', '.join(wires)}"]
    host.lines = []

    for t in second:
        device.token(2, t)
    device.split(labels, exports)
    device.line("generates md")
    device.line("c0 = AEAD_ENC(d2hd, n0, md, rec)")
    out += block("Device", device.lines) + ["Device -> Host: c0"]
    done = ["\tgenerates done{0}", "\tleaks done{0}"] if "device is done" in queries else []
    out += block("Host", ["\tgot_md = AEAD_DEC(d2hh, n0, c0, rec)?", "\t_ = HASH(got_md)", *[d.format("h") for d in done],
                          "\tgenerates mh", "\ta0 = AEAD_ENC(h2dh, n0, mh, rec)"])
    out += ["Host -> Device: a0"]
    out += block("Device", ["\tgot_mh = AEAD_DEC(h2dd, n0, a0, rec)?", "\t_ = HASH(got_mh)", *[d.format("d") for d in done]])
    if after:
        out += ["phase[1]"] + leaks(after)
    out += ["queries["] + [f"\t{QUERIES[q]}" for q in queries] + ["]"]
    return prune("\n".join(out) + "\n")


def prune(text):
    """Names a key `_` that the next mix_key replaces before it was used: fewer terms to search."""
    for key in set(re.findall(r"\bk\d+[dh]\b", text)):
        if len(re.findall(rf"\b{key}\b", text)) == 1:
            text = re.sub(rf"\b{key}\b", "_", text)
    return text
