//! `homing guest`.

use std::path::Path;

use homing_core::pairing::{GUEST_MAX, parse_guest_link};
use homing_core::wire::Caveats;
use homing_device::Profiles;
use homing_host::grant::{Caveat, MAX_EXPIRY, guest_id};
use homing_local::clock::{rfc3339, unix_now};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::GuestArgs;
use crate::failure::{Exit, Failure};
use crate::host::{grant_of, picture};
use crate::output::{Output, clean_line};

/// Makes a link for a guest, and says what it gives.
pub(crate) fn guest(args: GuestArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let profiles = Profiles::read(data)?;
    let profile = profiles.find(&args.host)?;
    if let Some(caveats) = profile.caveats() {
        may_pass_on(caveats)?;
    }
    let mut caveat = Caveat { name: args.name, grant: grant_of(args.grant) };
    // The flag must be there, and a link without an end would be refused.
    let expires_at = *caveat.grant.expires_at.get_or_insert(unix_now().min(MAX_EXPIRY));
    let made = profile.pass_on(caveat.emit().as_bytes(), expires_at)?;
    let id = id_of(&made.link);
    // A guest cannot give more time than it has.
    caveat.grant.expires_at = Some(made.expires_at);
    let event = json!({
        "event": "guest",
        "id": id,
        "link": made.link.as_str(),
        "web_link": made.web_link.as_str(),
        "expires_at": made.expires_at,
        "granted": caveat.grant.to_string(),
    });
    if out.json {
        return out.json(&event);
    }
    let host = clean_line(&profile.summary().name);
    out.text(format_args!("{} {host}: {}", out.dim("the guest may reach, of what this machine may on"), caveat.grant))?;
    out.text(format_args!("{} '{}'", out.dim("homing pair"), made.link.as_str()))?;
    let end = out.dim("to end it early, on the host's machine:");
    out.text(format_args!("{end} homing host guests end {id}"))?;
    let caption = format!("Scan, or run the line above there. Good until {}.", rfc3339(made.expires_at));
    picture(&made.link, args.qr.qr, &caption, out).map(drop)
}

/// What the host's owner knows the guest by.
fn id_of(link: &str) -> String {
    let mut room = Zeroizing::new([0; GUEST_MAX]);
    // It was made a moment ago.
    parse_guest_link(link, &mut room).map(|pass| guest_id(&pass.device_id, pass.caveats)).unwrap_or_default()
}

/// What the host would refuse is not made.
fn may_pass_on(caveats: &[u8]) -> Result<(), Failure> {
    let read = Caveats::from_bytes(caveats).into_iter().flat_map(|caveats| caveats.iter());
    let forbids = |text: &[u8]| Caveat::parse(text).is_ok_and(|caveat| caveat.grant.no_guests);
    if read.into_iter().any(forbids) {
        let text = "whoever made this guest does not let it have guests of its own";
        return Err(Failure::new(Exit::Refused, text));
    }
    Ok(())
}
