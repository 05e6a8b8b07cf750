"""Writes the ProVerif models of the four handshakes: unbounded sessions, an active attacker who owns a paired device and
a host of its own, one model per handshake and per set of keys that leak before (phase 0) or after (phase 1) the run.

Each is an injective re-encoding of the Noise state; nothing is left out:
  * after EncryptAndHash the transcript is h' = T(ct): ct carries h as its associated data, so H(h, ct) and T(ct)
    determine each other in the symbolic model;
  * MixKey(ck, x) = mix(ck, x), the two HKDF outputs are ck(.) and key(.) of it; MixKeyAndHash adds hs(.);
  * the Noise name, prologue constants, channel id and responder static are one constructor init(name, chan, pks).
"""

PRE = '''set ignoreTypes = false.
type G. type exponent. type key. type kemsk. type kempk. type kemr. type node.
free c: channel.
type shared.
fun pk(exponent): G.
fun dh(exponent, G): shared.
equation forall x: exponent, y: exponent; dh(x, pk(y)) = dh(y, pk(x)).
fun k2b(key): bitstring [data, typeConverter].
(* ML-KEM as an abstract KEM *)
fun kpk(kemsk): kempk.
fun kct(kempk, kemr): bitstring.
fun kss(kempk, kemr): key.
reduc forall sk: kemsk, r: kemr; kdec(sk, kct(kpk(sk), r)) = kss(kpk(sk), r).
(* Noise symmetric state *)
const name: bitstring.
fun ck0(bitstring): node.                         (* initial chaining key *)
fun init(bitstring, bitstring, G): bitstring.     (* h after name, prologue(channel id), responder static *)
fun HE(bitstring, G): bitstring.                  (* MixHash(e) *)
fun HP(bitstring, node): bitstring.               (* MixHash(third HKDF output) in MixKeyAndHash *)
fun T(bitstring): bitstring.                      (* transcript after EncryptAndHash *)
fun mixe(node, G): node.                          (* MixKey(e) *)
fun mixd(node, shared): node.                     (* MixKey(DH output) *)
fun mixk(node, key): node.                        (* MixKey(KEM secret) / MixKeyAndHash(psk) *)
fun ky(node): key.                                (* cipher key of a node *)
fun rk_d2h(node, bitstring): key.                 (* record keys: Expand(Extract(h, Split(ck)), direction) *)
fun rk_h2d(node, bitstring): key.
fun root(node, bitstring): key.                   (* device root exported from a pairing *)
const n0, n1, rec, params_c, params_a: bitstring.
fun aead(key, bitstring, bitstring, bitstring): bitstring.     (* key, nonce, ad, plaintext *)
reduc forall k: key, n: bitstring, ad: bitstring, m: bitstring; adec(k, n, ad, aead(k, n, ad, m)) = m.
fun g2b(G): bitstring [data, typeConverter].
fun p2b(kempk): bitstring [data, typeConverter].

event DeviceAccepts(G, G, key, bitstring).
event HostResponds(G, G, key, bitstring).
event DeviceFinish(G, G, key, bitstring).
event HostConfirms(G, G, key, bitstring).
event DeviceSends(G, G, key, bitstring).
event HostSends(G, G, key, bitstring).
'''

def hs(role, psk0, psk2, hfs, pair):
    """common walk over the pattern; role is 'c' or 'a'"""
    L = []; a = L.append
    C = role == 'c'
    if C:
        a("let device(skc: exponent, pks: G, psk: key) =")
        a("  (* fresh values are drawn before any input: their names then carry no input, and the search terminates *)")
        a("  new i: sess; new mC: bitstring; let e = ephC(i) in")
        if hfs: a("  let e1 = kemC(i) in")
        a("  LEAK")
        a("  out(c, pk(e));                        (* the attacker sees the ephemeral early: stronger attacker, smaller search *)")
        a("  in(c, chan: bitstring); let pkc = pk(skc) in let E = pk(e) in")
    else:
        a("let host(sks: exponent" + (", psk: key" if pair else ", pkd: G, psk: key") + ") =")
        a("  new j: sess; new mA: bitstring; let f = ephA(j) in")
        if hfs: a("  let r1 = kemA(j) in")
        a("  LEAK")
        a("  out(c, pk(f));")
        a("  in(c, chan: bitstring); in(c, (E: G, x1: bitstring, xs: bitstring, xp: bitstring));")
        a("  let pks = pk(sks) in")
    a("  let h0 = init(name, chan, pks) in let d0 = ck0(name) in")
    h, d = "h0", "d0"
    if psk0:
        a("  let d0p = mixk(d0, psk) in let h0p = HP(h0, d0p) in"); h, d = "h0p", "d0p"
    a(f"  let h1 = HE({h}, E) in let d1 = mixe({d}, E) in")
    a("  let d2 = mixd(d1, dh(e, pks)) in" if C else "  let d2 = mixd(d1, dh(sks, E)) in")
    if C:
        if hfs:
            a("  let x1 = aead(ky(d2), n0, h1, p2b(kpk(e1))) in")
            a("  let xs = aead(ky(d2), n1, T(x1), g2b(pkc)) in")
        else:
            a("  let xs = aead(ky(d2), n0, h1, g2b(pkc)) in")
        a("  let d3 = mixd(d2, dh(skc, pks)) in")
        a("  let xp = aead(ky(d3), n0, T(xs), params_c) in")
        a("  out(c, (E, x1, xs, xp));" if hfs else "  out(c, (E, rec, xs, xp));")
        a("  in(c, (F: G, y1: bitstring, yp: bitstring));")
    else:
        if hfs:
            a("  let p2b(E1) = adec(ky(d2), n0, h1, x1) in")
            a("  let g2b(pkc) = adec(ky(d2), n1, T(x1), xs) in")
        else:
            a("  let g2b(pkc) = adec(ky(d2), n0, h1, xs) in")
        a("  let d3 = mixd(d2, dh(sks, pkc)) in")
        a("  let pc = adec(ky(d3), n0, T(xs), xp) in if pc = params_c then")
        if not pair: a("  if pkc = pkd then                                 (* the device record found by static key *)")
        a("  let F = pk(f) in")
    a("  let h4 = HE(T(xp), F) in let d4 = mixe(d3, F) in")
    a("  let d5 = mixd(d4, dh(e, F)) in" if C else "  let d5 = mixd(d4, dh(f, E)) in")
    h, d = "h4", "d5"
    if hfs:
        if C: a("  let ct = adec(ky(d5), n0, h4, y1) in let d5k = mixk(d5, kdec(e1, ct)) in")
        else: a("  let y1 = aead(ky(d5), n0, h4, kct(E1, r1)) in let d5k = mixk(d5, kss(E1, r1)) in")
        h, d = "T(y1)", "d5k"
    a(f"  let d6 = mixd({d}, dh(skc, F)) in" if C else f"  let d6 = mixd({d}, dh(f, pkc)) in")
    if psk2: a(f"  let d7 = mixk(d6, psk) in let h6 = HP({h}, d7) in")
    else:    a(f"  let d7 = d6 in let h6 = {h} in")
    if C:
        a("  let pa = adec(ky(d7), n0, h6, yp) in if pa = params_a then let h7 = T(yp) in")
        a("  event DeviceAccepts(pkc, pks, psk, h7);")
        a("  event DeviceFinish(pkc, pks, psk, h7); event DeviceSends(pkc, pks, psk, mC);")
        if pair: a("  event DeviceSends(pkc, pks, psk, k2b(root(d7, h7)));")
        a("  out(c, aead(rk_d2h(d7, h7), n0, rec, mC)).")
    else:
        a("  let yp = aead(ky(d7), n0, h6, params_a) in let h7 = T(yp) in")
        a("  event HostResponds(pkc, pks, psk, h7);")
        a("  out(c, (F, y1, yp));" if hfs else "  out(c, (F, rec, yp));")
        a("  in(c, r: bitstring); let mC = adec(rk_d2h(d7, h7), n0, rec, r) in")
        a("  event HostConfirms(pkc, pks, psk, h7);")
        a("  event HostSends(pkc, pks, psk, mA);")
        if pair: a("  event HostSends(pkc, pks, psk, k2b(root(d7, h7)));")
        a("  out(c, aead(rk_h2d(d7, h7), n0, rec, mA)).")
    return "\n".join(L)

def queries(pair, sane, qs):
    V = "pkc: G, pks: G, psk: key, h: bitstring"
    if sane:
        return (f"query {V}; event(DeviceAccepts(pkc,pks,psk,h)).\n"
                f"query {V}; event(HostConfirms(pkc,pks,psk,h)).\n")
    HON = "pk(skC),pk(skA)"
    Q = {
     'Q1': f"""(* Q1 host -> device authentication, injective, agreement on both static keys, psk and full transcript *)
query psk: key, h: bitstring; inj-event(DeviceAccepts({HON},psk,h)) ==> inj-event(HostResponds({HON},psk,h)).
""",
     'Q2': f"""(* Q2 device -> host authentication at key confirmation (first record), same agreement *)
query psk: key, h: bitstring; inj-event(HostConfirms({HON},psk,h)) ==> inj-event(DeviceFinish({HON},psk,h)).
""",
     'Q3': f"""(* Q3 secrecy, in the last phase, of what the device sent (PAIR: also of the exported device root) *)
query psk: key, m: bitstring; event(DeviceSends({HON},psk,m)) && attacker(m).
""",
     'Q4': f"""(* Q4 secrecy, in the last phase, of what the host sent after confirmation *)
query psk: key, m: bitstring; event(HostSends({HON},psk,m)) && attacker(m).
"""}
    if pair:   # in PAIR the honest psk is the ticket; agreement is with whoever holds it
        Q['Q2'] = f"""(* Q2 whoever completes a pairing with the honest ticket is the honest device *)
query pkc: G, h: bitstring; inj-event(HostConfirms(pkc,pk(skA),pskH,h)) ==> inj-event(DeviceFinish(pkc,pk(skA),pskH,h)) && pkc = pk(skC).
"""
        Q['Q4'] = f"""(* Q4 secrecy, in the last phase, of what the host sent under the honest ticket *)
query pkc: G, m: bitstring; event(HostSends(pkc,pk(skA),pskH,m)) && attacker(m).
"""
    return "".join(Q[q] for q in qs)

def main_proc(pair, p0, p1):
    def outs(names): return "".join(f"  out(c, {n});" for n in names)
    late = f"| ( phase 1; {' '.join(f'out(c, {n});' for n in p1)} 0 )" if p1 else ""
    late = late.replace("; 0 )", " )")
    # sessions whose keys are all known to the attacker can be simulated by it and are left out
    if pair:
        xd = "" if 'skA' in p0 else "  | ( new pskX: key; out(c, pskX); ! host(skA, pskX) )      (* a ticket the attacker holds *)\n"
        xa = "" if 'skC' in p0 else "  | ( new skX: exponent; new pskY: key; out(c, (skX, pskY)); ! device(skC, pk(skX), pskY) )  (* a ticket of an attacker host *)\n"
        return f"""process
  out(c, pk(skA)); out(c, pk(skC));
{outs(p0)}
  ( (! host(skA, pskH))                            (* any number of handshakes race for the honest ticket *)
  | (! device(skC, pk(skA), pskH))
{xd}{xa}  {late} )
"""
    xd = "" if 'skA' in p0 else "  | ( new skX: exponent; new pskX: key; out(c, (skX, pskX)); ! host(skA, pk(skX), pskX) )      (* the attacker's own paired device *)\n"
    xa = "" if 'skC' in p0 else "  | ( new skY: exponent; new pskY: key; out(c, (skY, pskY)); ! device(skC, pk(skY), pskY) )     (* the device is also paired with an attacker host *)\n"
    return f"""process
  out(c, pk(skA)); out(c, pk(skC));
{outs(p0)}
  ( (! host(skA, pk(skC), pskH)) | (! device(skC, pk(skA), pskH))
{xd}{xa}  {late} )
"""

def build(name, pair, hfs, pq, qs, p0, p1, note, kembroken=False, ephleak=False):
    psk0, psk2 = (True, False) if pair else (False, True)
    sane = qs == 'sane'
    s = f"(* homing {name}\n   {note} *)\n" + PRE
    s += "free skA, skC: exponent [private].     (* static keys of the honest host and the honest device *)\n"
    s += "free pskH: key [private].              (* " + ("the honest ticket secret" if pair else "their device root") + " *)\n"
    s += "(* fresh per session: private functions of a session name, so that the hints below can name them *)\n"
    s += "type sess. fun ephC(sess): exponent [private]. fun ephA(sess): exponent [private].\n"
    s += "fun kemC(sess): kemsk [private]. fun kemA(sess): kemr [private].\n"
    s += "(* hints: proved by ProVerif, not assumed *)\n"
    last = 1 if (p1 or pq) else 0
    for fn in ("ephC", "ephA"):
        s += f"not x: sess; attacker({fn}(x)) phase {0 if pq else last}.\n"
    for fn in ("kemC", "kemA"):
        s += f"not x: sess; attacker({fn}(x)) phase {last}.\n"
    for k in ("skA", "skC", "pskH"):
        if k not in p0: s += f"not attacker({k}) phase {last if k not in p1 else 0}.\n"
    s += queries(pair, sane, qs) + "\n"
    cl, ag = hs('c', psk0, psk2, hfs, pair), hs('a', psk0, psk2, hfs, pair)
    if pq:
        cl = cl.replace("  LEAK\n", "  ( (phase 1; out(c, e)) | (\n")[:-1] + " ) )."
        ag = ag.replace("  LEAK\n", "  ( (phase 1; out(c, f)) | (\n")[:-1] + " ) )."
    else:
        cl = cl.replace("  LEAK\n", ""); ag = ag.replace("  LEAK\n", "")
    s += cl + "\n\n" + ag + "\n\n" + main_proc(pair, p0, p1)
    if ephleak:
        s = s.replace("  out(c, pk(e)); ", "  out(c, e); ").replace("  out(c, pk(f));", "  out(c, f);")
        s = "\n".join(l for l in s.split("\n") if not l.startswith("not x: sess; attacker(eph"))
    if kembroken:
        s = s.replace("  out(c, pk(e)); ", "  out(c, pk(e)); out(c, e1); ").replace("  out(c, pk(f));", "  out(c, pk(f)); out(c, r1);")
        s = "\n".join(l for l in s.split("\n") if not l.startswith("not x: sess; attacker(kem"))
    says = "false" if sane or (p1[-1:] == ['pskH'] and pq and not hfs) else "true"
    return name, s, [says] * (2 if sane else len(qs))

ALL = ['Q1','Q2','Q3','Q4']

def walked(psk0, psk2, hfs):
    """The token sequences that hs() walks."""
    def tokens(*names):
        return [name for name in names if name]
    return [tokens(psk0 and "psk", "e", "es", hfs and "e1", "s", "ss", "params"),
            tokens("e", "ee", hfs and "ekem1", "se", psk2 and "psk", "params")]

def check_table(table):
    """Whether hs() walks what handshakes.json has."""
    for row in table["handshakes"]:
        pair, hfs = row["mode"] == 1, row["suite"] == 2
        if row["tokens"] != walked(pair, not pair, hfs):
            raise ValueError(f"proverif.py does not walk the tokens of {row['name']}")

def models():
    """Name, text and what ProVerif must say of every query: true or false."""
    for hfs in (False, True):
        for pair in (False, True):
            base = ("pair_" if pair else "connect_") + ("ikhfs_" if hfs else "ik_") + ("psk0" if pair else "psk2")
            yield build(base+"_0sane", pair, hfs, False, 'sane', [], [], "reachability: both queries must be FALSE")
            yield build(base+"_1fs", pair, hfs, False, ALL, [], ['skA','skC','pskH'],
                  "no compromise before; ALL long-term keys and the psk leak afterwards (forward secrecy). Expected: TRUE")
            if pair:
                yield build(base+"_2stolenqr", pair, hfs, False, ['Q1','Q3'], ['pskH','skC'], ['skA'],
                  "QR photo stolen and device key known BEFORE; host key leaks after. Nobody can pose as the host. Expected: TRUE")
            else:
                yield build(base+"_2kci_device", pair, hfs, False, ['Q1','Q3'], ['pskH','skC'], ['skA'],
                  "phone fully stolen BEFORE (static key and psk): nobody can pose as the host to it; host key leaks after. Expected: TRUE")
                yield build(base+"_3kci_host", pair, hfs, False, ['Q2','Q4'], ['pskH','skA'], ['skC'],
                  "host disk stolen BEFORE (static key and psk): nobody can pose as the device to it; device key leaks after. Expected: TRUE")
            yield build(base+"_4pskonly", pair, hfs, False, ALL, ['skA','skC'], ['pskH'],
                  "BOTH static keys known BEFORE, only the psk is secret (it leaks after). Expected: TRUE")
            yield build(base+"_5pq", pair, hfs, True, ['Q3','Q4'], [], ['skA','skC'],
                  "quantum recorder: after the run the attacker gets EVERY DH exponent, ephemerals too; psk stays secret. Expected: TRUE")
            yield build(base+"_6pq_psk", pair, hfs, True, ['Q3','Q4'], [], ['skA','skC','pskH'],
                  "quantum recorder and later theft of the psk too. Expected: " + ("TRUE (ML-KEM)" if hfs else "FALSE (this is what suite 2 is for)"))
            if hfs:
                yield build(base+"_7kembroken", pair, hfs, False, ALL, [], ['skA','skC','pskH'],
                  "ML-KEM gives nothing (its secrets and coins are public): authentication and forward secrecy must still hold. Expected: TRUE", kembroken=True)
            yield build(base+"_8activeq", pair, hfs, False, ALL, ['skA','skC'], ['pskH'] if hfs else [],
                  "ACTIVE quantum attacker: knows every DH secret, ephemerals included, DURING the run; only the psk"
                  + (" and ML-KEM are" if hfs else " is") + " left" + ("; the psk leaks afterwards" if hfs else "") + ". Expected: TRUE", ephleak=True)
