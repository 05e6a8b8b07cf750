//! Services, methods and paths.

use super::*;
use crate::support::service::{Site, echo_service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_granted_with_the_link_is_reached() {
    let (mut site, mut other) = (Site::start().await, Site::start().await);
    let raw = echo_service().await;
    let world = World::start(&[("web", site.url()), ("other", other.url()), ("raw", format!("tcp://{raw}"))]).await;
    let device = world.pair_with(&["--grant", "web:get,post:/show", "--grant", "raw:GET", "--for", "1h"]).await;
    let names =
        |said: &Value| said["services"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&device.paired), ["web"], "{}", device.paired);

    let web = device.forward("web").await;
    for (args, path, expected) in [
        (&[][..], "/show", 200),
        (&["-I"], "/show", 200),
        (&["-d", "x"], "/show?q=/../hang", 200),
        (&["-X", "PUT"], "/show", 403),
        (&["-X", "DELETE"], "/show", 403),
        (&["-X", "OPTIONS"], "/show", 403),
        (&["-d", "x", "-H", "X-HTTP-Method-Override: DELETE"], "/show", 403),
        (&[], "/", 403),
        (&[], "/showing", 403),
        (&[], "/hang", 403),
        (&[], "/show/../hang", 403),
        (&[], "/show/%2e%2e/hang", 403),
        (&[], "/show/%2E%2E%2Fhang", 403),
        (&[], "/show/..%5chang", 403),
        (&[], "/show/..;/hang", 403),
        (&[], "//show", 403),
        (&[], "/show//../hang", 403),
        (&[], "/show/%252e%252e/hang", 403),
        (&[], "/hang/../show", 403),
        (&["-X", "CONNECT", "--request-target", "/show"], "/show", 400),
    ] {
        let (code, text) = status(&web, path, args).await;
        assert_eq!(code, expected, "{args:?} {path}: {text}");
        assert_eq!(text.contains("was not granted this of web"), code == 403, "{text}");
    }
    let (_, head) = upgrade(&web).await;
    assert_eq!(head.status, 403, "a WebSocket begins as a request: {}", head.text);
    assert!(site.saw.try_recv().is_err(), "nothing but /show was asked for");

    let (code, _) = status(&device.forward("other").await, "/hang", &[]).await;
    assert_eq!(code, 403);
    assert!(other.saw.try_recv().is_err());
    assert!(!echoes(&device, "raw").await, "a rule with methods is about HTTP");
    let (code, said) = connect(&device, "raw").await;
    assert!(code == 4 && said.contains("may not use the service"), "{code} {said}");

    let host = world.host_data();
    let refused = trail(&host, "refused").await;
    assert!(!refused.is_empty());
    for entry in &refused {
        assert_eq!(
            (&entry["reason"], &entry["device"]),
            (&"not granted".into(), &device.id.as_str().into()),
            "{entry}"
        );
    }
    let entry = listed(&host, &device).await;
    assert_eq!(entry["grant"]["rules"][0]["methods"], serde_json::json!(["GET", "POST"]), "{entry}");
    assert!(entry["granted"].as_str().unwrap().starts_with("web:GET+POST:/show raw:GET, until 2"), "{entry}");

    // Another device is not concerned, and a change holds at once.
    assert_eq!(names(&world.pair().await.paired), ["other", "raw", "web"]);
    assert_eq!(grant(&host, &device, &["--everything"]).await["grant"], Value::Null);
    assert_eq!(status(&web, "/show", &["-X", "PUT"]).await.0, 200);
    assert_eq!(upgrade(&web).await.1.status, 101);
    assert!(echoes(&device, "raw").await);
    assert_eq!(trail(&host, "grant set").await[0]["grant"], "everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_outlives_the_host_and_is_changed_without_it() {
    let (site, other) = (Site::start().await, Site::start().await);
    let mut world = World::start(&[("web", site.url()), ("other", other.url())]).await;
    let device = world.pair_with(&["--grant", "web"]).await;
    let host = world.host_data();
    world.host.kill();
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let forwards = [device.forward("web").await, device.forward("other").await];
    for (forward, expected) in forwards.iter().zip([200, 403]) {
        assert_eq!(status(forward, "/show", &[]).await.0, expected);
    }
    world.host.signal("TERM");
    world.host.ended().await;
    grant(&host, &device, &["--grant", "other:GET", "--concurrent", "3"]).await;
    assert_eq!(listed(&host, &device).await["granted"], "other:GET, 3 at once");
    let unknown = run(&host, &["host", "devices", "grant", "nobody", "--everything"]).await;
    assert_eq!(unknown.code, 1, "{unknown}");
    world.restart_host();
    world.host.logged("reachable through relay").await;
    for (forward, expected) in forwards.iter().zip([403, 200]) {
        until_status(forward, "/show", expected).await;
    }
    let set = trail(&host, "grant set").await;
    assert_eq!((&set[0]["device"], &set[0]["grant"]), (&device.id.as_str().into(), &"other:GET, 3 at once".into()));
    assert_eq!(run(&host, &["host", "audit", "verify"]).await.code, 0);
}
