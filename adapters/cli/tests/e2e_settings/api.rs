//! What the API answers, and whom.

use super::*;
use crate::support::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_without_a_token_or_from_another_site() {
    let world = World::start(&[]).await;
    let settings = Settings::of(&world.host_data(), "settings:read").await;
    let bearer = format!("Authorization: Bearer {}", settings.token);
    let status = "api/settings/relay/status";
    let port = settings.url.trim_end_matches('/').rsplit_once(':').unwrap().1.to_owned();
    let (evil, loopback) = (format!("Host: evil.example:{port}"), format!("Host: localhost:{port}"));
    let own = format!("Origin: {}", settings.url.trim_end_matches('/'));
    for (args, expected) in [
        (&["-H", &bearer][..], 200),
        (&["-H", &bearer, "-H", &loopback], 200),
        (&["-H", &bearer, "-H", &own], 200),
        (&[], 401),
        (&["-H", "Authorization: Bearer homing-00"], 401),
        (&["-H", "Authorization: Basic aG9taW5nOmhvbWluZw=="], 401),
        (&["-H", &bearer, "-H", &evil], 421),
        (&["-H", &bearer, "-H", "Origin: http://evil.example"], 403),
        (&["-H", &bearer, "-H", "Origin: null"], 403),
        (&["-H", &bearer, "-H", "Sec-Fetch-Site: cross-site"], 403),
        (&["-X", "POST", "-H", &bearer], 405),
    ] {
        let (code, body) = settings.curl(status, args).await;
        // Before a method is looked at, the scope is.
        let expected = if expected == 405 { 403 } else { expected };
        assert_eq!(code, expected, "{args:?}: {body}");
        assert_eq!(body["error"]["code"].is_string(), expected != 200, "{body}");
    }
    // A token to look does not change anything.
    let (code, body) = settings.ask("PUT", "api/settings/relay", json!({ "enabled": false })).await;
    assert_eq!((code, &body["error"]["code"]), (403, &json!("scope")));
    // Not even the state file knows a token.
    let kept = std::fs::read_to_string(world.host_data().join("audit.ndjson")).unwrap();
    assert!(!kept.contains(&settings.token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_survives_a_restart_and_not_its_time() {
    let mut world = World::start(&[]).await;
    let data = world.host_data();
    let short = run(&data, &["host", "token", "--scope", "settings:read", "--for", "1s", "--json"]).await;
    let short: Value = serde_json::from_str(short.stdout.trim()).unwrap();
    world.host.kill();
    // Made while no host runs.
    let made = run(&data, &["host", "token", "--scope", "settings:write", "--json"]).await;
    let made: Value = serde_json::from_str(made.stdout.trim()).unwrap();
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let mut settings = Settings::of(&data, "settings:read").await;
    settings.token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(settings.ask("GET", "api/devices", Value::Null).await.0, 200);
    settings.token = short["token"].as_str().unwrap().to_owned();
    let gone = async { while settings.ask("GET", "api/devices", Value::Null).await.0 != 401 {} };
    within(gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_are_set_and_left_while_the_host_runs() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let any = core::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (relay, address) = support::start_relay(&dir.path().join("relay"), any).await;
    let data = dir.path().join("host");
    let start = || Process::start("host", &data, &["host", "start", "--settings", "127.0.0.1:0", "--name", "nest"]);
    let host = start();
    host.logged("no relay yet").await;
    host.logged("settings on").await;
    let settings = Settings::of(&data, "settings:write").await;

    let (code, body) = settings.ask("POST", "api/onboarding/qr", Value::Null).await;
    assert_eq!((code, &body["diagnostics"][0]["code"]), (409, &json!("relay_missing")), "{body}");
    let (code, body) = settings.ask("PUT", "api/settings/relay", json!({ "relays": ["ws://example.org"] })).await;
    assert_eq!((code, &body["error"]["code"]), (422, &json!("bad_relay")), "plain only on this machine: {body}");
    let url = format!("ws://{address}");
    let (code, body) = settings.ask("PUT", "api/settings/relay", json!({ "relays": [url, url] })).await;
    assert_eq!((code, &body["relays"]), (200, &json!([url])), "{body}");
    host.logged("reachable through relay").await;
    let (code, body) = settings.ask("GET", "api/settings/relay/status", Value::Null).await;
    assert_eq!((code, &body["reachable"], &body["diagnostics"]), (200, &json!(true), &json!([])), "{body}");

    let (code, _) = settings.ask("PUT", "api/settings/relay", json!({ "enabled": false })).await;
    assert_eq!(code, 200);
    let (code, body) = settings.ask("POST", "api/onboarding/deep-link", Value::Null).await;
    assert_eq!((code, &body["diagnostics"][0]["code"]), (409, &json!("relay_disabled")), "{body}");
    settings.ask("PUT", "api/settings/relay", json!({ "enabled": true })).await;

    // It finds its relay again by itself, and its settings too.
    host.kill();
    let host = start();
    host.logged("reachable through relay").await;
    let settings = Settings::of(&data, "settings:write").await;
    let (_, body) = settings.ask("PUT", "api/settings/relay", json!({ "relays": [] })).await;
    assert_eq!(body["relays"], json!([]));
    let (_, body) = settings.ask("GET", "api/settings/relay/status", Value::Null).await;
    assert_eq!((&body["reachable"], &body["diagnostics"][0]["code"]), (&json!(false), &json!("relay_missing")));
    drop(relay);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_let_in_renamed_and_shut_out_by_the_api() {
    let world = World::start(&[]).await;
    let settings = Settings::of(&world.host_data(), "settings:write").await;
    let (code, fixed) = settings.ask("PUT", "api/settings/relay", json!({ "relays": [] })).await;
    assert_eq!((code, &fixed["diagnostics"][0]["code"]), (409, &json!("relays_fixed")), "{fixed}");
    let (code, link) = settings.ask("POST", "api/onboarding/deep-link", json!({ "auto": true, "life": 60 })).await;
    assert_eq!(code, 200, "{link}");
    let text = link["link"].as_str().unwrap().to_owned();
    let (_, about) = settings.ask("POST", "api/onboarding/validate", json!({ "link": text })).await;
    assert_eq!((&about["valid"], &about["relay"]), (&json!(true), &json!(world.relay_address.to_string())), "{about}");
    let (_, about) = settings.ask("POST", "api/onboarding/validate", json!({ "link": &text[..text.len() - 1] })).await;
    assert!(about["valid"] == false && about["reason"].is_string(), "{about}");

    let paired = run(&world.dir.path().join("device"), &["pair", &text, "--name", "phone"]).await;
    assert_eq!(paired.code, 0, "{paired}");
    let progress = format!("api/onboarding/{}", link["id"].as_str().unwrap());
    let (_, progress) = settings.ask("GET", &progress, Value::Null).await;
    assert_eq!((&progress["state"], &progress["device"]["name"]), (&json!("paired"), &json!("phone")), "{progress}");
    let id = progress["device"]["id"].as_str().unwrap().to_owned();
    let device = format!("api/devices/{id}");
    assert_eq!(settings.ask("PATCH", &device, json!({ "name": "tablet" })).await.0, 200);
    assert_eq!(settings.ask("PATCH", &device, json!({ "name": "a\nb" })).await.0, 422);
    let (_, list) = settings.ask("GET", "api/devices", Value::Null).await;
    assert_eq!(list["devices"][0]["name"], "tablet", "{list}");
    assert_eq!(settings.ask("DELETE", &device, Value::Null).await.0, 200);
    assert_eq!(settings.ask("DELETE", &device, Value::Null).await.0, 404);
    let (_, list) = settings.ask("GET", "api/devices", Value::Null).await;
    assert_eq!(list["devices"], json!([]));
}
