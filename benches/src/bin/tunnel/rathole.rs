//! The peer to measure against: rathole with its Noise transport, as its documentation sets it up.

use std::fs;
use std::process::{Command, Stdio};

use homing_benches::program::free_address;

use crate::Tunnel;
use crate::load::answers;
use crate::process::{Process, until};
use crate::service::Service;

pub(crate) fn start(service: &Service) -> Tunnel {
    let program = std::env::var("RATHOLE").unwrap_or("rathole".into());
    let kept = tempfile::tempdir().unwrap();
    let dir = kept.path();
    let [control, bulk, raw] = [(); 3].map(|()| free_address());
    let (private, public) = keys(&program);

    let server = format!(
        "[server]\nbind_addr = \"{control}\"\ndefault_token = \"bench\"\n\
         [server.transport]\ntype = \"noise\"\n[server.transport.noise]\nlocal_private_key = \"{private}\"\n\
         [server.services.bulk]\nbind_addr = \"{bulk}\"\n[server.services.raw]\nbind_addr = \"{raw}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"{control}\"\ndefault_token = \"bench\"\n\
         [client.transport]\ntype = \"noise\"\n[client.transport.noise]\nremote_public_key = \"{public}\"\n\
         [client.services.bulk]\nlocal_addr = \"{}\"\n[client.services.raw]\nlocal_addr = \"{}\"\n",
        service.bulk, service.http
    );
    let processes = [("server", server), ("client", client)].map(|(role, config)| {
        let path = dir.join(format!("{role}.toml"));
        fs::write(&path, config).unwrap();
        let mut command = Command::new(&program);
        Process::start(role, dir, command.arg(format!("--{role}")).arg(path).stdout(Stdio::null()))
    });
    until("rathole", || answers(raw).then_some(()));
    Tunnel { name: "rathole", processes: processes.into(), bulk, raw, web: None, _dir: kept }
}

/// A private and a public key, each on the line below its name.
fn keys(program: &str) -> (String, String) {
    let made = Command::new(program).arg("--genkey").output().unwrap_or_else(|error| {
        panic!("{program}: {error}; install it with `cargo install rathole` or name it in RATHOLE")
    });
    let text = String::from_utf8(made.stdout).unwrap();
    let after = |name: &str| {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(name));
        lines.nth(1).expect("a key").trim().to_owned()
    };
    (after("Private"), after("Public"))
}
