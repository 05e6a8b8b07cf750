//! Grants by the API.

use super::*;
use crate::support::client::{Http, curl};
use crate::support::service::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_set_shown_and_lifted_by_the_api() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url()), ("other", site.url())]).await;
    let settings = Settings::of(&world.host_data(), "settings:write").await;
    let grant = json!({ "rules": [{ "service": "web", "methods": ["GET"], "prefix": "/show" }] });
    let order = json!({ "auto": true, "grant": grant });
    let (code, link) = settings.ask("POST", "api/onboarding/deep-link", order).await;
    assert_eq!(code, 200, "{link}");
    let data = world.dir.path().join("device");
    let paired = run(&data, &["pair", link["link"].as_str().unwrap(), "--json"]).await;
    let paired: Value = serde_json::from_str(paired.stdout.trim()).unwrap();
    assert_eq!(paired["services"].as_array().unwrap().len(), 1, "{paired}");
    let (_, list) = settings.ask("GET", "api/devices", Value::Null).await;
    assert_eq!(list["devices"][0]["granted"], "web:GET:/show", "{list}");
    let device = support::Device {
        name: "device".into(),
        data,
        id: list["devices"][0]["id"].as_str().unwrap().to_owned(),
        paired,
    };
    let web = device.forward("web").await;
    let path = format!("api/devices/{}/grant", device.id);
    let status = async |path: &str| curl(&["-o", "/dev/null", "-w", "%{http_code}", &web.url(path)]).await.stdout;
    assert_eq!((status("/show").await, status("/file").await), ("200".into(), "403".into()));

    let (code, set) = settings.ask("PUT", &path, json!({ "rules": [{ "service": "web" }] })).await;
    assert_eq!((code, &set["granted"]), (200, &json!("web")), "{set}");
    let mut feed = Http::to(web.address).await;
    assert_eq!(feed.get("/events/1").await.status, 200);
    for bad in [json!({ "rules": [{ "service": "web", "prefix": "/.." }] }), json!({ "concurrent": 1 }), Value::Null] {
        let (code, said) = settings.ask("PUT", &path, bad).await;
        assert_eq!((code, &said["error"]["code"]), (400, &json!("body")), "{said}");
    }
    let (_, shown) = settings.ask("GET", &path, Value::Null).await;
    assert_eq!(shown, set, "what cannot be read changes nothing");

    let nothing = json!({ "rules": [], "rate": { "per_second": 2, "burst": 4 }, "concurrent": 1, "expires_at": null });
    let (code, set) = settings.ask("PUT", &path, nothing.clone()).await;
    assert_eq!((code, &set["grant"]), (200, &nothing), "{set}");
    assert!(feed.rest().await.1.is_err(), "what is not granted any more is cut");
    assert_eq!(status("/show").await, "403");
    let (code, lifted) = settings.ask("DELETE", &path, Value::Null).await;
    assert_eq!((code, lifted), (200, json!({ "grant": null, "granted": "everything" })));
    assert_eq!(status("/file").await, "200");
    assert_eq!(settings.ask("GET", "api/devices/nobody/grant", Value::Null).await.0, 404);
    let (_, audit) = settings.ask("GET", "api/audit?limit=1", Value::Null).await;
    assert_eq!(
        (&audit["entries"][0]["event"], &audit["entries"][0]["device"]),
        (&json!("grant set"), &json!(device.id))
    );
}
