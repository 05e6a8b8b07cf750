//! `homing pair`.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use homing_core::pairing::GUEST_LINK_MAX as LINK_MAX;
use homing_local::clock::rfc3339;
use homing_tokio::ClientTls;
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::PairArgs;
use crate::config::{Config, settings};
use crate::failure::Failure;
use crate::host::machine_name;
use crate::output::{Output, clean_line};

/// Pairs, and says with whom.
pub(crate) async fn pair(args: PairArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let link = Zeroizing::new(args.link);
    let link = if link.as_str() == "-" { read_link()? } else { link };
    let config = Config::load(data)?;
    let name = config.text(&settings::DEVICE_NAME, args.name).unwrap_or_else(machine_name);
    let pending = |check: homing_core::handshake::CheckWords, seconds: u16| {
        let _ = writeln!(
            io::stderr(),
            "the host asks for {seconds} s whether to let this device in; it has to show the check words {check}"
        );
    };
    let host = homing_device::pair(data, &link, &name, &ClientTls::system(), pending).await?;
    let services: Vec<_> = host.services.iter().map(|service| clean_line(&service.name)).collect();
    let list = match &host.unreached {
        Some(why) => format!("stored, but {}", clean_line(why)),
        None if services.is_empty() => "no services yet".to_owned(),
        None => services.join(", "),
    };
    let is = match host.guest_until {
        None => "paired with".to_owned(),
        Some(end) => format!("until {} a guest of", rfc3339(end)),
    };
    let until = host.guest_until.map(rfc3339);
    out.say(
        &json!({
            "host": { "id": host.id, "name": host.name },
            "services": host.services,
            "guest_until": until,
            "unreached": host.unreached,
        }),
        format_args!("{} {is} {}: {list}", out.green("✓"), out.bold(clean_line(&host.name))),
    )?;
    match services.first() {
        Some(service) => {
            let name = clean_line(&host.name);
            out.text(out.dim(format_args!("homing forward {name}/{service} 127.0.0.1:0   brings one to this machine")))
        }
        None => Ok(()),
    }
}

fn read_link() -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "Pairing link: ");
        let mut line = Zeroizing::new(String::with_capacity(2 * LINK_MAX));
        let read = io::stdin().lock().take(LINK_MAX as u64 + 2);
        io::BufRead::read_line(&mut io::BufReader::new(read), &mut line).map_err(|error| cannot_read(&error))?;
        return Ok(line);
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * LINK_MAX));
    io::stdin().lock().take(LINK_MAX as u64 + 2).read_to_string(&mut text).map_err(|error| cannot_read(&error))?;
    Ok(text)
}

fn cannot_read(error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read the link from stdin: {error}"))
}
