//! `homing host token`.

use std::path::Path;

use homing_host::{registry, token_json};
use homing_local::control::{Role, call};
use serde_json::{Value, json};

use super::{ask, refused};
use crate::args::HostTokenArgs;
use crate::failure::Failure;
use crate::output::{Output, field};

/// Makes a token and shows it, with a link to the page that has it behind the `#`.
pub(crate) async fn token(args: HostTokenArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let order = json!({ "cmd": "token", "scope": args.scope.as_str(), "life": args.life });
    let token = match ask(data, &order).await? {
        Some(token) => token,
        None => token_json(&registry::mint_token(data, args.scope, args.life).map_err(|error| refused(&error))?),
    };
    out.json(&token)?;
    out.text(field(&token, "token"))?;
    out.text(out.dim(format_args!("{} until {}", field(&token, "scope"), field(&token, "expires_at"))))?;
    if let Some(page) = page(data).await {
        out.text(format_args!("{} {page}#{}", out.dim("settings page"), field(&token, "token")))?;
    }
    Ok(())
}

/// Where the running host serves its settings.
async fn page(data: &Path) -> Option<String> {
    let status = call(data, Role::Host, &json!({ "cmd": "status" })).await.ok()?.next().await.ok()??;
    status.get("settings").and_then(Value::as_str).map(str::to_owned)
}
