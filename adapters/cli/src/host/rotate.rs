//! `homing host rotate`: tells the running host, else its state file.

use std::path::Path;

use homing_host::rotation::Rotation;
use homing_host::{progress_json, registry};
use serde_json::{Value, json};

use super::{ask, refused};
use crate::args::HostRotateArgs;
use crate::failure::Failure;
use crate::output::{Output, field};

pub(crate) async fn rotate(args: HostRotateArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let both = !args.identity && !args.route;
    let what = Rotation { identity: args.identity || both, route: args.route || both, now: args.now };
    let order = json!({ "cmd": "rotate", "identity": what.identity, "route": what.route, "now": what.now });
    let done = match ask(data, &order).await? {
        Some(done) => done,
        None => progress_json(&registry::rotate(data, what).map_err(|error| refused(&error))?),
    };
    let waiting = done.get("waiting").and_then(Value::as_u64).unwrap_or_default();
    let text = match (done.get("until"), waiting) {
        (Some(Value::String(_)), _) => format!(
            "the host has new keys; its {waiting} devices follow until {}, as `homing host devices list` shows",
            field(&done, "until")
        ),
        (_, 0) => "the host has new keys, and no device is left behind".to_owned(),
        (_, 1) => "the host is there by its new keys only; 1 device has to pair again".to_owned(),
        (_, waiting) => format!("the host is there by its new keys only; {waiting} devices have to pair again"),
    };
    out.say(&done, text)
}
