//! As a service of the machine: what its manager hears, and settings that change while it runs.

use core::time::Duration;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::support::process::homing;
use crate::support::service::Site;
use crate::support::{Device, Process, start_relay};

/// What the service manager hears until it has heard `awaited`.
fn heard(socket: &UnixDatagram, awaited: &str) -> String {
    let (mut all, mut buffer) = (String::new(), [0; 4096]);
    socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
    while !all.contains(awaited) {
        let len = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}, {awaited:?} not in {all:?}"));
        all.push_str(core::str::from_utf8(&buffer[..len]).unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_hears_of_its_life() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let any = core::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (_relay, address) = start_relay(&dir.path().join("relay"), any).await;
    let path = dir.path().join("notify");
    let url = format!("ws://{address}");
    for args in [vec!["host", "start", "--relay", &url], vec!["relay", "start", "--listen", "127.0.0.1:0", "--open"]] {
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut command = homing(&dir.path().join(format!("watched-{}", args[0])), &args);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
        let process = Process::spawn(args[0], command);
        let (socket, ready) = tokio::task::spawn_blocking(move || {
            let ready = heard(&socket, "READY=1");
            (socket, ready)
        })
        .await
        .unwrap();
        assert!(ready.contains("STATUS="), "{ready}");
        let socket = tokio::task::spawn_blocking(move || {
            heard(&socket, "WATCHDOG=1");
            heard(&socket, "WATCHDOG=1");
            socket
        });
        let socket = socket.await.unwrap();
        process.signal("TERM");
        tokio::task::spawn_blocking(move || heard(&socket, "STOPPING=1")).await.unwrap();
        assert_eq!(process.ended().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_change_count_after_a_hangup() {
    let (one, two) = (Site::start().await, Site::start().await);
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let any = core::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (_first, first) = start_relay(&dir.path().join("first"), any).await;
    let (_second, second) = start_relay(&dir.path().join("second"), any).await;
    let data = dir.path().join("host");
    std::fs::create_dir(&data).unwrap();
    let write = |relay, expose: &str| {
        let text = format!("[host]\nname = 'nest'\nrelay = ['ws://{relay}']\nexpose = [{expose}]\n");
        std::fs::write(data.join("homing.toml"), text).unwrap();
    };
    let (one, two) = (format!("'one={}'", one.url()), format!("'two={}'", two.url()));
    write(first, &one);
    let host = Process::start("host", &data, &["host", "start", "--settings", "127.0.0.1:0"]);
    host.logged("reachable through relay").await;
    let dialog = Process::start("host pair", &data, &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let device = dir.path().join("device");
    assert_eq!(run(&device, &["pair", &link]).await.code, 0);
    let device = Device { name: "device".into(), data: device, id: String::new(), paired: Value::Null };
    let forward = device.forward("one").await;
    let mut http = support::client::Http::to(forward.address).await;
    assert_eq!(http.get("/show").await.status, 200);

    write(first, "'two=ftp://nowhere'");
    host.signal("HUP");
    host.logged("keeping the settings that were read before").await;
    write(second, &[one.as_str(), &two].join(", "));
    host.signal("HUP");
    host.logged("read the settings again").await;
    let moved = second.to_string();
    support::until("the host is at the other relay", support::PATIENCE, || {
        host.log().iter().any(|line| line.contains("reachable through relay") && line.contains(&moved))
    })
    .await;
    // A device that was paired through the first relay alone learns of the second when it next hears of its host.
    let dialog = Process::start("host pair", &data, &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let later = dir.path().join("later");
    assert_eq!(run(&later, &["pair", &link]).await.code, 0);
    let later = Device { name: "later".into(), data: later, id: String::new(), paired: Value::Null };
    let forward = later.forward("two").await;
    let mut http = support::client::Http::to(forward.address).await;
    assert_eq!(support::in_time(Duration::from_secs(20), http.get("/show")).await.status, 200);
}
