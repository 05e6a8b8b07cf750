//! Where the host connects to, and where not.

use super::*;
use crate::support::service::{Site, acceptor, canned, raw};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_this_machine_is_not_followed() {
    let site = Site::start().await;
    let (trap, mut sockets) = acceptor().await;
    // The system's resolver takes this for 127.0.0.1.
    let sly = format!("2130706433:{}", trap.port());
    let world = World::start(&[
        ("web", format!("http://localhost:{}", site.address.port())),
        ("sly", format!("http://{sly}")),
        ("raw", format!("tcp://{sly}")),
    ])
    .await;
    let device = world.pair().await;
    assert_eq!(status(&device.forward("web").await, "/show", &[]).await.0, 200, "localhost is this machine");

    let (code, text) = status(&device.forward("sly").await, "/show", &[]).await;
    assert!(code == 502 && text.contains("this machine itself, by a name that is not localhost"), "{code} {text}");
    assert!(!text.contains("127.0.0.1:"), "no addresses for devices: {text}");
    let ended = run(&device.data, &["connect", "nest/raw"]).await;
    assert_ne!(ended.code, 0, "{ended}");
    assert!(sockets.try_recv().is_err(), "somebody connected");

    let refused = trail(&world.host_data(), "refused").await;
    let of = |service: &str| {
        refused.iter().find(|entry| entry["service"] == service).unwrap_or_else(|| panic!("{refused:?}"))
    };
    for service in ["sly", "raw"] {
        let entry = of(service);
        assert_eq!((&entry["reason"], &entry["device"]), (&"forbidden address".into(), &device.id.as_str().into()));
        assert!(entry["error"].as_str().unwrap().contains("at 127.0.0.1"), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_never_connected_to_is_not_exposed() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    for (url, why) in [
        ("http://169.254.169.254", "link-local"),
        ("https://[fe80::1]", "link-local"),
        ("tcp://[::ffff:169.254.169.254]:80", "link-local"),
        ("http://0.0.0.0:80", "127.0.0.1 is this machine"),
        ("http://224.0.0.1", "multicast"),
        ("http://255.255.255.255", "broadcast"),
        ("/run/app.sock", "unix:///"),
    ] {
        let exposed = format!("web={url}");
        let ended = run(dir.path(), &["host", "start", "--relay", "ws://127.0.0.1:1", "--expose", &exposed]).await;
        assert!(ended.code == 2 && ended.stderr.contains(why), "{url}: {ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_the_devices_to_follow_and_hosts_are_rewritten() {
    let (trap, mut sockets) = acceptor().await;
    let elsewhere = format!("HTTP/1.1 302 Found\r\nLocation: http://{trap}/\r\nContent-Length: 0\r\n\r\n");
    let moved = raw(move |mut tcp| {
        let answer = elsewhere.clone();
        async move {
            crate::support::service::read_head(&mut tcp).await;
            let _ = tcp.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let refresh =
        canned(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: //169.254.169.254/\r\nContent-Length: 0\r\n\r\n").await;
    let site = Site::start().await;
    let world = World::start(&[
        ("moved", format!("http://{moved}")),
        ("refresh", format!("http://{refresh}")),
        ("web", site.url()),
    ])
    .await;
    let device = world.pair().await;
    assert_eq!(status(&device.forward("moved").await, "/", &[]).await.0, 302);
    assert_eq!(status(&device.forward("refresh").await, "/", &["-d", "body"]).await.0, 307);
    assert!(sockets.try_recv().is_err(), "the host went after a redirect");

    let web = device.forward("web").await;
    let (_, shown) = status(&web, "/show", &["-H", "Host: 169.254.169.254"]).await;
    assert!(shown.contains(&format!("\nhost: {}\n", site.address)), "{shown}");
    for target in ["http://169.254.169.254/latest/meta-data/", "//169.254.169.254/"] {
        let (code, shown) = status(&web, "/show", &["--request-target", target]).await;
        assert!(code == 400 || code == 404, "{target}: {code} {shown}");
    }
}
