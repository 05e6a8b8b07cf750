//! What HTTP can say, said through the tunnel.

use crate::support::client::{Http, curl, curled};
use crate::support::service::{Site, canned, unzipped};
use crate::support::{Device, Forward, World};

/// A site behind a forward, with all that keeps it there.
async fn site() -> (Site, World, Device, Forward) {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    (site, world, device, forward)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_conditions_redirects_cookies_and_compression_pass() {
    let (_site, _world, _device, forward) = site().await;
    let file = forward.url("/file");
    assert_eq!(curled(&["-r", "26-29", &file]).await, "abcd");
    let part = curled(&["-i", "-r", "26-29", &file]).await;
    assert!(part.starts_with("HTTP/1.1 206 ") && part.contains("content-range: bytes 26-29/100\r\n"), "{part}");
    let same = curled(&["-i", "-H", "If-None-Match: \"v1\"", &file]).await;
    assert!(same.starts_with("HTTP/1.1 304 ") && same.contains("etag: \"v1\"\r\n"), "{same}");
    assert!(same.ends_with("\r\n\r\n"), "304 has no body: {same}");

    let moved = curled(&["-L", "-w", "\n%{num_redirects} %{url_effective}", &forward.url("/moved")]).await;
    assert!(moved.ends_with(&format!("1 {}", forward.url("/show?moved"))), "{moved}");

    let mut http = Http::to(forward.address).await;
    let head = http.get("/cookies").await;
    let cookies = ["a=1; Path=/; HttpOnly", "b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT"];
    assert_eq!(head.all("set-cookie"), cookies);
    http.body(&head).await;
    let shown = curled(&["-H", "Cookie: a=1; b=2", "-H", "Accept-Language: de", &forward.url("/show")]).await;
    assert!(shown.contains("\ncookie: a=1; b=2\n") && shown.contains("\naccept-language: de\n"), "{shown}");

    let head = http.get("/zipped").await;
    assert_eq!((head.all("content-encoding"), head.all("vary")), (vec!["gzip"], vec!["accept-encoding"]));
    assert_eq!(http.body(&head).await[..2], [31, 139], "still compressed");
    assert_eq!(curled(&["--compressed", &forward.url("/zipped")]).await, unzipped());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_expectations_are_answered() {
    let (_site, _world, device, forward) = site().await;
    let head = curled(&["-I", &forward.url("/bytes/1234")]).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 1234\r\n"), "{head}");

    let body = device.data.with_extension("body");
    std::fs::write(&body, vec![7; 2_000_000]).unwrap();
    let upload = format!("@{}", body.display());
    let url = forward.url("/hash");
    for coding in ["Content-Type: application/octet-stream", "Transfer-Encoding: chunked"] {
        let sent = curl(&["-v", "-H", "Expect: 100-continue", "-H", coding, "--data-binary", &upload, &url]).await;
        assert!(sent.stdout.starts_with("2000000 "), "{coding}: {sent}");
        assert!(sent.stderr.contains("< HTTP/1.1 100 Continue"), "{coding}: {sent}");
    }

    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"] {
        let shown = curled(&["-X", method, &forward.url("/show/a%2Fb?q=%20&q=é")]).await;
        // Routes are matched exactly, so a path that was changed on the way is found by nobody.
        assert_eq!(shown, "", "{method}");
        let shown = curled(&["-X", method, &forward.url("/show?q=%20&r=a%2Fb+c")]).await;
        assert!(shown.starts_with(&format!("{method} /show?q=%20&r=a%2Fb+c\n")), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass() {
    let service = canned(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n",
    )
    .await;
    let world = World::start(&[("web", format!("http://{service}"))]).await;
    let forward = world.pair().await.forward("web").await;
    let mut http = Http::to(forward.address).await;
    http.send("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n").await;
    let head = http.head().await;
    assert_eq!((head.all("transfer-encoding"), head.all("trailer")), (vec!["chunked"], vec!["x-sum"]));
    let (rest, end) = http.rest().await;
    end.unwrap();
    assert_eq!(String::from_utf8(rest).unwrap(), "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_learns_which_device_calls_and_no_device_can_pretend() {
    let (site, world, device, forward) = site().await;
    let forged = [
        "Homing-Device: forged",
        "homing_device: forged",
        "Homing-Device-Name: forged",
        "Homing-Anything: forged",
        "X-Forwarded-For: 6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X-Forwarded-Proto: forged",
        "X-Original-URL: /forged",
    ];
    let url = forward.url("/show");
    let mut args = vec![];
    forged.iter().for_each(|header| args.extend(["-H", header]));
    let plain = curled(&[&url]).await;
    args.push(&url);
    let shown = curled(&args).await;
    assert!(!shown.contains("forged") && !shown.contains("6.6.6.6"), "{shown}");
    for shown in [&plain, &shown] {
        assert!(shown.contains(&format!("\nhoming-device: {}\n", device.id)), "{shown}");
        assert!(shown.contains(&format!("\nhoming-device-name: {}\n", device.name)), "{shown}");
        assert!(shown.contains(&format!("\nhost: {}\n", site.address)), "{shown}");
        assert!(shown.contains(&format!("\nx-forwarded-host: {}\n", forward.address)), "{shown}");
    }

    let other = world.pair().await;
    let shown_other = curled(&[&other.forward("web").await.url("/show")]).await;
    assert!(shown_other.contains(&format!("\nhoming-device: {}\n", other.id)), "{shown_other}");
    let address =
        |shown: &str| shown.lines().find_map(|line| line.strip_prefix("x-forwarded-for: ").map(str::to_owned));
    let (one, two) = (address(&plain).unwrap(), address(&shown_other).unwrap());
    assert!(one.starts_with("2001:db8:") && two.starts_with("2001:db8:") && one != two, "{one} {two}");
}
