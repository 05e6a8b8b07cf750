//! Services over TLS, with an authority of their own.

use core::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::support::Process;
use crate::support::service::Site;

/// An authority, and a certificate of its for `name`: paths of root, chain and key.
fn certificates(dir: &Path, name: &str) -> [PathBuf; 3] {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = rcgen::KeyPair::generate().unwrap();
    let root = params.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(params, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let paths = ["root", "chain", "key"].map(|part| dir.join(format!("{name}-{part}.pem")));
    for (path, pem) in paths.iter().zip([root.pem(), leaf.pem(), key.serialize_pem()]) {
        std::fs::write(path, pem).unwrap();
    }
    paths
}

/// A web server that was written elsewhere, and its port.
async fn site(chain: &Path, key: &Path) -> (Process, u64) {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e_upstreams/site.py"))
        .arg(chain)
        .arg(key);
    let process = Process::spawn("site", command);
    let port = process.event("port").await["port"].as_u64().unwrap();
    (process, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_a_private_authority_is_reached_and_no_other() {
    let plain = Site::start().await;
    let world = World::start(&[]).await;
    let data = world.host_data();
    let [root, chain, key] = certificates(&data, "app.internal");
    let [other, ..] = certificates(&data, "other.internal");
    let (_site, port) = site(&chain, &key).await;
    let by_ip = format!("url = 'https://{}:{port}'", IpAddr::from(Ipv4Addr::LOCALHOST));
    let ca = |root: &Path| format!("ca = '{}'", root.file_name().unwrap().to_str().unwrap());
    let text = format!(
        "[services.good]\n{by_ip}\n{ca}\nserver_name = 'app.internal'\n\
         [services.unnamed]\n{by_ip}\n{ca}\n\
         [services.stranger]\n{by_ip}\nca = '{}'\nserver_name = 'app.internal'\n\
         [services.public]\n{by_ip}\nserver_name = 'app.internal'\n\
         [services.plain]\nurl = 'https://{}'\n{ca}\nserver_name = 'app.internal'\n",
        other.display(),
        plain.address,
        ca = ca(&root),
    );
    let said = configure(&world, &text).await;
    assert!(said.contains("read the settings again"), "{said}");
    let device = world.pair().await;
    for _ in 0..2 {
        let (code, seen) = status(&device.forward("good").await, "/", &[]).await;
        assert!(code == 200 && seen.starts_with("sni: app.internal\n"), "{code} {seen}");
        assert!(seen.contains(&format!("127.0.0.1:{port}\n")), "Host is the URL's: {seen}");
    }
    let mut services = std::collections::BTreeMap::new();
    for (service, advice) in [
        ("unnamed", "with `server_name`"),
        ("stranger", "with `ca`"),
        ("public", "with `ca`"),
        ("plain", "does it speak TLS?"),
    ] {
        let (code, text) = status(&device.forward(service).await, "/", &[]).await;
        assert!(code == 502 && text.contains("homing host audit"), "{service}: {code} {text}");
        services.insert(service, advice);
    }
    let refused = trail(&data, "refused").await;
    for (service, advice) in services {
        let entry = refused.iter().find(|entry| entry["service"] == service).unwrap_or_else(|| panic!("{refused:?}"));
        assert_eq!(entry["reason"], "untrusted service");
        assert!(entry["error"].as_str().unwrap().contains(advice), "{service}: {entry}");
    }
    for (text, why) in [
        (format!("[services.a]\n{by_ip}\nca = 'nothing.pem'\n"), "cannot read"),
        (format!("[services.a]\n{by_ip}\nca = '{}'\n", key.display()), "holds no certificates"),
    ] {
        let said = configure(&world, &text).await;
        assert!(said.contains("keeping the settings") && said.contains(why), "{said}");
    }
}
