"use strict";
// The settings page: what /api says, and nothing else. The token stays in this tab.

const $ = (id) => document.getElementById(id);
const show = (id, on) => { $(id).hidden = !on; };
let token = sessionStorage.getItem("token") || "";
let pairing = null; // { id, expires, timer }
let oldest = null;
let running = 0; // which sign-in the loops belong to

async function api(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/api${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const value = await answer.json().catch(() => ({}));
  if (answer.status === 401) { signOut(); throw new Error("Sign in again: the token is not valid any more."); }
  if (!answer.ok) {
    const reasons = (value.diagnostics || []).map((reason) => reason.message);
    throw new Error(reasons.length ? reasons.join("; ") : value.error ? value.error.message : `error ${answer.status}`);
  }
  return value;
}

function complain(error) {
  $("alert").textContent = error ? `That did not work: ${error.message}` : "";
  show("alert", Boolean(error));
}

// Runs what a button does; its mistakes are shown, and it is not pressed twice.
function on(id, event, action) {
  $(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    const button = happened.submitter || happened.currentTarget;
    button.disabled = true;
    try { complain(null); await action(happened); } catch (error) { complain(error); } finally { button.disabled = false; }
  });
}

function element(name, text, parent, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  if (parent) parent.append(made);
  return made;
}

const when = (text) => text ? new Date(text).toLocaleString() : "never";

async function refresh() {
  const [status, relay, devices, guests] = await Promise.all(
    ["/settings/relay/status", "/settings/relay", "/devices", "/guests"].map((path) => api("GET", path)));
  $("host-name").textContent = status.name;
  document.title = `homing: ${status.name}`;
  const state = !status.enabled ? "cut off" : status.reachable ? "devices can reach it" : "not reachable";
  $("state").className = status.reachable ? "good" : "bad";
  if ($("state").textContent !== state) $("state").textContent = state;
  if (document.activeElement !== $("relay-enabled")) $("relay-enabled").checked = relay.enabled;
  if (document.activeElement !== $("relay-urls")) $("relay-urls").value = relay.relays.join("\n");
  $("relay-urls").readOnly = Boolean(relay.fixed_by);
  show("relay-save", !relay.fixed_by);
  show("relay-fixed", Boolean(relay.fixed_by));
  $("relay-fixed").textContent = `Set by ${relay.fixed_by}: change them there.`;
  $("links").replaceChildren(...status.links.map((link) => {
    const line = element("li", "");
    const trip = link.last_round_trip_ms;
    element("strong", link.relay, line);
    const said = link.state === "waiting" ? "waiting; a device wakes the host" : link.state;
    const whom = link.former_route ? ", for devices that know the host's former keys" : "";
    const text = (trip == null ? said : `${said}, round trip ${trip.toFixed(1)} ms`) + whom;
    element("small", link.last_error ? `${text}: ${link.last_error}` : text, line);
    return line;
  }));
  showDevices(devices.devices, guests.guests);
}

function showDevices(devices, guests) {
  show("devices-none", devices.length === 0);
  const known = JSON.stringify([devices, guests]);
  // A list that is built anew loses the focus of whoever walks through it.
  if ($("devices").dataset.known === known) return;
  $("devices").dataset.known = known;
  $("devices").replaceChildren(...devices.map((device) => {
    const line = element("li", "");
    const about = element("div", "", line);
    element("strong", device.name, about);
    const live = device.channels > 0 ? "connected now" : `last seen ${when(device.last_seen)}`;
    element("small", `${device.platform}, paired ${when(device.paired_at)}, ${live}`, about);
    element("small", `may reach: ${device.granted}`, about);
    if (!device.followed) element("small", "has not come by the host's new keys yet", about);
    const buttons = element("div", "", line);
    const limit = element("button", "Grant", buttons, "quiet");
    limit.setAttribute("aria-label", `What ${device.name} may reach`);
    limit.addEventListener("click", () => editGrant(device));
    const rename = element("button", "Rename", buttons, "quiet");
    rename.setAttribute("aria-label", `Rename ${device.name}`);
    rename.addEventListener("click", () => change(async () => {
      const name = prompt(`What is ${device.name} to be called?`, device.name);
      if (name) await api("PATCH", `/devices/${device.id}`, { name });
    }));
    const revoke = element("button", "Revoke", buttons, "danger");
    revoke.setAttribute("aria-label", `Revoke ${device.name}`);
    revoke.addEventListener("click", () => change(async () => {
      if (confirm(`Shut ${device.name} out for good?`)) await api("DELETE", `/devices/${device.id}`);
    }));
    const own = guests.filter((guest) => guest.device === device.id);
    if (own.length) {
      const list = element("ul", "", line, "guests");
      list.setAttribute("aria-label", `Guests of ${device.name}`);
      list.append(...own.map(guestLine));
    }
    return line;
  }));
}

function guestLine(guest) {
  const line = element("li", "");
  const about = element("div", "", line);
  const name = guest.name || guest.id;
  element("strong", name, about);
  const live = guest.connected > 0 ? "connected now" : guest.last_seen ? `last seen ${when(guest.last_seen)}` : "never came";
  const end = guest.ended ? "ended" : `until ${when(guest.expires_at)}`;
  element("small", `guest, ${end}, ${live}`, about);
  if (guest.ended) return line;
  const button = element("button", "End", line, "danger");
  button.setAttribute("aria-label", `End the guest ${name}`);
  button.addEventListener("click", () => change(async () => {
    if (confirm(`End what ${name} was given, and all that it passed on?`)) await api("DELETE", `/guests/${guest.id}`);
  }));
  return line;
}

async function change(action) {
  try { complain(null); await action(); await refresh(); } catch (error) { complain(error); }
}

// Grants

let granting = null; // whose grant is in the form

const ruleText = (rule) => {
  const parts = [rule.service, rule.methods.join("+"), rule.prefix === "/" ? "" : rule.prefix];
  while (parts[parts.length - 1] === "") parts.pop();
  return parts.join(":");
};

function ruleOf(line) {
  const [service, methods = "", ...prefix] = line.split(":");
  const named = methods.split(/[+,]/).map((method) => method.trim().toUpperCase()).filter(Boolean);
  return { service: service.trim(), methods: named, prefix: prefix.join(":").trim() || "/" };
}

function editGrant(device) {
  const grant = device.grant || { rules: null };
  granting = { id: device.id, nothing: Boolean(grant.rules) && grant.rules.length === 0 };
  $("grant-title").textContent = `What ${device.name} may reach${granting.nothing ? ": nothing as long as no line is here" : ""}`;
  $("grant-rules").value = (grant.rules || []).map(ruleText).join("\n");
  $("grant-rate").value = grant.rate ? grant.rate.per_second : "";
  $("grant-burst").value = grant.rate && grant.rate.burst !== grant.rate.per_second ? grant.rate.burst : "";
  $("grant-concurrent").value = grant.concurrent || "";
  $("grant-guests").checked = grant.guests !== false;
  const end = grant.expires_at ? new Date(grant.expires_at * 1000) : null;
  $("grant-end").value = end ? new Date(end - end.getTimezoneOffset() * 60000).toISOString().slice(0, 19) : "";
  show("grant", true);
  $("grant-title").focus();
}

function closeGrant() {
  granting = null;
  show("grant", false);
}

on("grant", "submit", async () => {
  const count = (id) => $(id).value === "" ? null : Number($(id).value);
  const rules = $("grant-rules").value.split("\n").map((line) => line.trim()).filter(Boolean).map(ruleOf);
  const [perSecond, burst] = [count("grant-rate"), count("grant-burst")];
  const end = $("grant-end").value;
  await api("PUT", `/devices/${granting.id}/grant`, {
    // A device that may reach nothing is not given everything by a form that shows no line.
    rules: rules.length || granting.nothing ? rules : null,
    rate: perSecond ? { per_second: perSecond, burst: burst || perSecond } : null,
    concurrent: count("grant-concurrent"),
    expires_at: end ? Math.floor(new Date(end).getTime() / 1000) : null,
    guests: $("grant-guests").checked,
  });
  closeGrant();
  await refresh();
});
on("grant-lift", "click", async () => {
  await api("DELETE", `/devices/${granting.id}/grant`);
  closeGrant();
  await refresh();
});
on("grant-cancel", "click", closeGrant);

// Pairing

on("pair-start", "click", async () => {
  $("pair-end").textContent = "";
  const link = await api("POST", "/onboarding/qr", { auto: $("pair-auto").checked });
  pairing = { id: link.id, expires: link.expires_at };
  const picture = new DOMParser().parseFromString(link.svg, "image/svg+xml").documentElement;
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", "QR code of the pairing link");
  $("pair-code").replaceChildren(document.importNode(picture, true));
  $("pair-link").textContent = `homing pair '${link.link}'`;
  show("pair-idle", false);
  show("pair-open", true);
  $("pair-cancel").focus();
  follow(pairing);
});

async function follow(mine) {
  while (pairing === mine) {
    const left = Math.max(0, mine.expires - Math.floor(Date.now() / 1000));
    $("pair-left").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    let now;
    try { now = await api("GET", `/onboarding/${mine.id}`); } catch (error) { return endPairing(""); }
    if (pairing !== mine) return;
    if (now.state === "confirm" && $("pair-ask").hidden) {
      $("pair-who").textContent = `${now.device.name} (${now.device.platform}) asks to be let in.`;
      $("pair-check").textContent = now.check;
      $("pair-code").replaceChildren();
      show("pair-open", false);
      show("pair-ask", true);
      $("pair-yes").focus();
    } else if (now.state === "paired") {
      endPairing(`${now.device.name} was let in.`);
      return refresh().catch(complain);
    } else if (now.state === "denied") {
      return endPairing("The device was turned away, and the link is void.");
    } else if (now.state === "expired") {
      return endPairing("The link has expired.");
    }
    await pause(500);
  }
}

function endPairing(text) {
  pairing = null;
  $("pair-code").replaceChildren();
  $("pair-link").textContent = "";
  show("pair-open", false);
  show("pair-ask", false);
  show("pair-idle", true);
  $("pair-end").textContent = text;
}

on("pair-cancel", "click", async () => {
  const id = pairing && pairing.id;
  endPairing("");
  if (id) await api("DELETE", `/onboarding/${id}`);
});
on("pair-yes", "click", () => api("POST", `/onboarding/${pairing.id}/answer`, { approve: true }));
on("pair-no", "click", () => api("POST", `/onboarding/${pairing.id}/answer`, { approve: false }));

// Relay

on("relay-enabled", "change", async () => {
  await api("PUT", "/settings/relay", { enabled: $("relay-enabled").checked });
  $("relay-enabled").blur();
  await refresh();
});
on("relay-form", "submit", async () => {
  const relays = $("relay-urls").value.split("\n").map((line) => line.trim()).filter(Boolean);
  await api("PUT", "/settings/relay", { relays });
  await refresh();
});

// Audit

function entryLine(entry) {
  const line = element("li", "");
  element("time", when(entry.time), line).dateTime = entry.time;
  element("strong", entry.event, line);
  const known = ["time", "event", "seq", "chain", "after"];
  const rest = Object.entries(entry).filter(([name, value]) => !known.includes(name) && value !== null);
  if (rest.length) line.append(` ${rest.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ")}`);
  return line;
}

async function older() {
  const page = await api("GET", `/audit?limit=20${oldest === null ? "" : `&before=${oldest}`}`);
  $("audit").append(...page.entries.map(entryLine));
  oldest = page.next;
  show("audit-more", page.next !== null);
}
on("audit-more", "click", older);

async function watchAudit(mine) {
  while (running === mine) {
    try {
      const answer = await fetch("/api/audit/events", { headers: { Authorization: `Bearer ${token}` } });
      if (!answer.ok) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || running !== mine) break;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          const data = part.split("\n").find((line) => line.startsWith("data: "));
          if (!part.includes("event: entry") || !data) continue;
          $("audit").prepend(entryLine(JSON.parse(data.slice(6))));
          refresh().catch(complain);
        }
      }
    } catch (error) { /* the host may be starting anew */ }
    await pause(2000);
  }
}

// Signing in

const pause = (time) => new Promise((done) => setTimeout(done, time));

async function signIn() {
  const mine = ++running;
  await refresh();
  sessionStorage.setItem("token", token);
  show("login", false);
  show("settings", true);
  $("audit").replaceChildren();
  oldest = null;
  await older();
  watchAudit(mine);
  while (running === mine) {
    await pause(2000);
    if (running === mine) await refresh().catch((error) => { $("state").textContent = "the host does not answer"; $("state").className = "bad"; });
  }
}

function signOut() {
  running++;
  token = "";
  sessionStorage.removeItem("token");
  endPairing("");
  closeGrant();
  show("settings", false);
  show("login", true);
  $("state").textContent = "";
}

on("login-form", "submit", () => {
  token = $("token").value.trim();
  $("token").value = "";
  signIn().catch(loginFailed);
});
on("sign-out", "click", signOut);

function loginFailed(error) {
  signOut();
  $("state").textContent = error.message;
  $("state").className = "bad";
  $("token").focus();
}

// `homing host token` shows a link with the token behind a #, which no server is told.
if (location.hash.length > 1) {
  token = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", "/");
}
if (token) signIn().catch(loginFailed); else signOut();
