//! Whom a forward lets in: not pages of other sites, and nobody by a name that anybody can have lead to it.

use core::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::browser::Page;
use crate::support::client::{Http, curled, status};
use crate::support::service::{Site, acceptor, canned, echo_service};
use crate::support::ssh::sshd;
use crate::support::{HOST, World, run, within};

const ANY: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_made_to_lead_here_is_misdirected_until_it_is_allowed() {
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    let evil = ["-d", "a body", "-H", "Host: Evil.Example:8080"];
    let (code, text) = status(&forward, "/take", &evil).await;
    assert_eq!(code, 421, "{text}");
    assert!(text.contains("--allow-host evil.example\n"), "{text}");
    forward.process.logged("--allow-host evil.example").await;
    // The same by a target that names somebody, and by a name that the browser looked up.
    let mut http = Http::to(forward.address).await;
    http.send("POST http://evil.example/take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(http.head().await.status, 421);
    let port = forward.address.port();
    let (lookup, url) = (format!("evil.example:{port}:127.0.0.1"), format!("http://evil.example:{port}/take"));
    let rebound = ["--resolve", &lookup, "-d", "x", "-o", "/dev/null", "-w", "%{http_code}", &url];
    assert_eq!(curled(&rebound).await, "421");
    // Names of this machine, in a request that comes byte by byte.
    for name in ["localhost", "nas.lan", "web.nest.homing", "[::1]:80"] {
        let mut http = Http::to(forward.address).await;
        for byte in format!("GET /show HTTP/1.1\r\nHost: {name}\r\n\r\n").chars() {
            http.send(&byte.to_string()).await;
        }
        let head = http.head().await;
        assert_eq!(head.status, 200, "{name}");
        let shown = String::from_utf8(http.body(&head).await).unwrap();
        assert!(shown.contains(&format!("x-forwarded-host: {name}\n")), "{shown}");
    }
    assert!(site.saw.try_recv().is_err(), "the service was asked");

    let allowing =
        device.forward_with("web", ANY, &["--allow-host", "app.example", "--allow-host", "evil.example"]).await;
    let (code, text) = status(&allowing, "/take", &evil).await;
    assert_eq!((code, text.as_str()), (200, "taken"));
    assert_eq!(site.next().await, "take piece");
    let (code, _) = status(&allowing, "/take", &["-d", "x", "-H", "Host: other.example"]).await;
    assert_eq!(code, 421);

    let wrong = ["forward", &format!("{HOST}/web"), "127.0.0.1:0", "--allow-host", "http://app.example"];
    let wrong = run(&device.data, &wrong).await;
    assert!(wrong.code == 2 && wrong.stderr.contains("such as app.example"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_open_no_websocket_and_change_nothing() {
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    let allowing = device.forward_with("web", ANY, &["--allow-host", "app.example"]).await;
    let own = format!("http://{}", forward.address);
    for (forward, origin, expected) in [
        (&forward, "https://evil.example", 403),
        (&forward, "null", 403),
        (&forward, "https://app.example", 403),
        (&forward, &*own, 101),
        (&forward, "http://localhost:5173", 101),
        (&allowing, "https://app.example", 101),
        (&allowing, "https://evil.example", 403),
    ] {
        let mut http = Http::to(forward.address).await;
        let ask = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n",
            forward.address
        );
        http.send(&ask).await;
        assert_eq!(http.head().await.status, expected, "{origin}");
    }
    // Another page's form, after a request that is let through: a browser may use the same connection for both.
    let mut http = Http::to(forward.address).await;
    let head = http.get("/show").await;
    http.body(&head).await;
    http.send("POST /take HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\nContent-Length: 1\r\n\r\nx").await;
    let (rest, end) = http.rest().await;
    assert!(rest.is_empty() && end.is_err(), "no answer that could be taken for another one's: {rest:?}");
    let foreign = ["-d", "x", "-H", "Origin: https://evil.example", "-H", "Sec-Fetch-Site: cross-site"];
    assert_eq!(status(&forward, "/take", &foreign).await.0, 403);
    // A link on another site, and a program, which say no origin.
    assert_eq!(status(&forward, "/show", &["-H", "Sec-Fetch-Site: cross-site"]).await.0, 200);
    assert!(site.saw.try_recv().is_err(), "the service was asked");
    assert_eq!(status(&forward, "/take", &["-d", "x"]).await.0, 200);
    assert_eq!(site.next().await, "take piece");
}

/// JavaScript that tells whether the echo's WebSocket opens.
fn opens(at: SocketAddr) -> String {
    let socket = format!("const socket = new WebSocket('ws://{at}/ws')");
    format!(
        "new Promise(done => {{ {socket}; socket.onopen = () => done(true); socket.onerror = () => done(false); }})"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_keeps_pages_of_other_sites_out_and_lets_people_in() {
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    let allowing = device.forward_with("web", ANY, &["--allow-host", "evil.example"]).await;
    let evil = canned(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>evil</p>").await;
    let names = "--host-resolver-rules=MAP evil.example 127.0.0.1";
    let mut page = Page::open_with(&format!("http://evil.example:{}/", evil.port()), &[names]).await;
    page.until("document.body.innerText === 'evil'").await;
    for (at, expected) in [(forward.address, false), (allowing.address, true)] {
        assert_eq!(page.eval(&opens(at)).await, expected, "the forward alone keeps it out");
        // Also after what is let through, on the same connection.
        for first in ["0", &format!("fetch('http://{at}/show', {{ mode: 'no-cors' }}).then(() => 0)")] {
            page.eval(first).await;
            let post = "{ method: 'POST', mode: 'no-cors', body: 'x' }";
            page.eval(&format!("fetch('http://{at}/take', {post}).then(() => 0, () => 0)")).await;
            if expected {
                assert_eq!((site.next().await, site.next().await), ("take piece".into(), "take dropped".into()));
                assert_eq!(site.next().await, "take complete");
            }
            assert!(site.saw.try_recv().is_err(), "the service was asked");
        }
    }
    let at = forward.address;
    // The address of the forward under a name of its own.
    page.eval(&format!("location.href = 'http://evil.example:{}/take'; 0", at.port())).await;
    page.until("document.body.innerText.includes('--allow-host evil.example')").await;
    assert!(site.saw.try_recv().is_err(), "the service was asked");

    // Somebody follows a link, and uses what is there.
    page.eval(&format!("location.href = 'http://{at}/show'; 0")).await;
    page.until("document.body.innerText.startsWith('GET /show')").await;
    assert_eq!(page.eval("fetch('/take', { method: 'POST', body: 'x' }).then(answer => answer.text())").await, "taken");
    assert_eq!(page.eval(&opens(at)).await, true);
    assert_eq!(site.next().await, "take piece");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_are_bytes_have_no_door() {
    let dir = tempfile::tempdir().unwrap();
    let (_sshd, port) = sshd(dir.path()).await;
    let (greeter, mut sockets) = acceptor().await;
    let world = World::start(&[
        ("raw", format!("tcp://{}", echo_service().await)),
        ("greeter", format!("tcp://{greeter}")),
        ("ssh", format!("tcp://127.0.0.1:{port}")),
    ])
    .await;
    let device = world.pair().await;

    let forward = device.forward("raw").await;
    let mut client = within(TcpStream::connect(forward.address)).await.unwrap();
    // Each piece comes back before there is another.
    for piece in ["G", "ET", " ", "/ HTTP/1.1\r\n", "Host: evil.example\r\nOrigin: http://evil.example\r\n\r\n", "\0"] {
        within(client.write_all(piece.as_bytes())).await.unwrap();
        let mut back = vec![0; piece.len()];
        within(client.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, piece.as_bytes());
    }

    let forward = device.forward("greeter").await;
    let mut client = within(TcpStream::connect(forward.address)).await.unwrap();
    let mut service = within(sockets.recv()).await.unwrap();
    service.write_all(b"220 welcome\r\n").await.unwrap();
    let mut heard = [0; 13];
    within(client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"220 welcome\r\n");

    let forward = device.forward("ssh").await;
    let (key, known) = (dir.path().join("key"), dir.path().join("known_hosts"));
    let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let options = [
        "BatchMode=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "StrictHostKeyChecking=accept-new".to_owned(),
        format!("UserKnownHostsFile={}", known.display()),
        format!("IdentityFile={}", key.display()),
        format!("User={}", String::from_utf8(user).unwrap().trim()),
        format!("Port={}", forward.address.port()),
    ];
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.args(["-F", "none"]).args(options.iter().flat_map(|option| ["-o", option])).kill_on_drop(true);
    let output = within(ssh.args(["-T", "127.0.0.1", "echo hello"]).stdin(Stdio::null()).output()).await.unwrap();
    assert_eq!(&output.stdout, b"hello\n", "{}", String::from_utf8_lossy(&output.stderr));
}
