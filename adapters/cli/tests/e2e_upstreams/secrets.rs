//! A service's credential: set by the host, never by a device, and seen by nobody else.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::support::client::Http;
use crate::support::process::homing;
use crate::support::service::Site;
use crate::support::{Process, within};

const SECRET: &str = "Bearer kestrel-hovering-4711";

fn section(site: &Site, credential: &str) -> String {
    format!("[services.web]\nurl = '{}'\ncredential = {credential}\n", site.url())
}

/// What the service sees of a request for `/show`.
async fn shown(http: &mut Http) -> String {
    let head = http.get("/show").await;
    assert_eq!(head.status, 200, "{}", head.text);
    String::from_utf8(http.body(&head).await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_the_hosts_and_shows_nowhere() {
    let site = Site::start().await;
    let world = World::start(&[]).await;
    let data = world.host_data();
    write_secret(&data.join("web.secret"), &format!("{SECRET}\n"));
    let text = section(&site, "{ header = 'X-Api-Key', file = 'web.secret' }");
    assert!(configure(&world, &text).await.contains("read the settings again"));
    let device = world.pair().await;
    let web = device.forward("web").await;
    let forged =
        ["-H", "X-Api-Key: mine", "-H", "x_api_key: mine", "-H", "Authorization: mine", "-H", "Connection: X-Api-Key"];
    let (code, seen) = status(&web, "/show", &forged).await;
    let given: Vec<_> =
        seen.lines().filter(|line| line.to_lowercase().replace('_', "-").starts_with("x-api-key")).collect();
    assert_eq!((code, given), (200, vec![format!("x-api-key: {SECRET}").as_str()]), "{seen}");
    assert!(seen.contains("\nauthorization: mine\n"), "other headers pass: {seen}");
    // Nor behind the body.
    let mut http = Http::to(web.address).await;
    http.send(
        "POST /show HTTP/1.1\r\nHost: test\r\nTrailer: X-Api-Key\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
         X-Api-Key: mine\r\n\r\n",
    )
    .await;
    let head = http.head().await;
    let seen = String::from_utf8(http.body(&head).await).unwrap();
    assert!(seen.contains(SECRET) && !seen.contains("\ntrailer:"), "{seen}");

    // Nobody else sees it.
    let pid = world.host.pid();
    for part in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{part}")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("kestrel"), "{part}");
    }
    let mut said = [world.host.log(), world.host.said()].concat().join("\n");
    for args in [
        &["config", "show", "--origin"][..],
        &["config", "show", "--json"],
        &["config", "check"],
        &["host", "audit", "--json"],
        &["status", "--json"],
    ] {
        let told = run(&data, args).await;
        assert_eq!(told.code, 0, "{told}");
        said.push_str(&told.to_string());
    }
    assert!(!said.contains("kestrel"), "{said}");
    let path = data.join("web.secret");
    assert!(said.contains(&format!("services.web.credential = {{ file = \"{}\"", path.display())), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_changed_counts_from_the_next_request() {
    let site = Site::start().await;
    let world = World::start(&[]).await;
    let path = world.host_data().join("web.secret");
    let text = section(&site, "{ header = 'Authorization', file = 'web.secret' }");
    write_secret(&path, SECRET);
    configure(&world, &text).await;
    let device = world.pair().await;
    let web = device.forward("web").await;
    let mut http = Http::to(web.address).await;
    assert!(shown(&mut http).await.contains(SECRET));
    // On the same connection: what is out of use must not linger.
    write_secret(&path, "Bearer merlin-0815");
    configure(&world, &text).await;
    let seen = shown(&mut http).await;
    assert!(seen.contains("\nauthorization: Bearer merlin-0815\n") && !seen.contains("kestrel"), "{seen}");

    // What cannot be used changes nothing, and is said with its remedy.
    for (mode, content, why) in
        [(0o644, "Bearer other", "chmod 600"), (0o600, "", "not one line"), (0o600, "two\nlines", "not one line")]
    {
        write_secret(&path, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = configure(&world, &text).await;
        assert!(said.contains("[services.web] credential: ") && said.contains(why), "{said}");
        assert!(shown(&mut http).await.contains("merlin-0815"));
        let checked = run(&world.host_data(), &["config", "check"]).await;
        assert!(checked.code != 0 && checked.stderr.contains(why), "{checked}");
    }
    // A service that is exposed no longer is none, also for those who are there already.
    configure(&world, "").await;
    let head = http.get("/show").await;
    assert_eq!(head.status, 404, "{}", head.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_may_come_from_systemd() {
    let site = Site::start().await;
    let world = World::start(&[]).await;
    let given = world.dir.path().join("credentials");
    std::fs::create_dir(&given).unwrap();
    write_secret(&given.join("web"), SECRET);
    // As a service of another user than root finds it: the group's bits are the mask of an access list.
    std::fs::set_permissions(given.join("web"), std::fs::Permissions::from_mode(0o440)).unwrap();
    let data = world.host_data();
    std::fs::write(data.join("homing.toml"), section(&site, "{ header = 'Authorization', systemd = 'web' }")).unwrap();
    assert_eq!(run(&data, &["config", "check"]).await.code, 0, "outside of the unit it is not looked for");
    let device = world.pair().await;
    world.host.signal("TERM");
    world.host.ended().await;
    let args = ["host", "start", "--relay", &world.relay_url()];
    let ended = run(&data, &args).await;
    assert!(ended.code == 1 && ended.stderr.contains("LoadCredential=web:"), "{ended}");
    let mut command = homing(&data, &args);
    command.env("CREDENTIALS_DIRECTORY", &given);
    let host = Process::spawn("host", command);
    host.logged("reachable through relay").await;
    let web = device.forward("web").await;
    let mut http = Http::to(web.address).await;
    assert!(within(shown(&mut http)).await.contains(SECRET));
}
