//! What is granted, and what is not, however it is asked for.

use core::time::Duration;

use homing_core::Instant;
use serde_json::json;

use super::path::{is_below, is_prefix};
use super::*;

fn grant(rules: &[&str]) -> Grant {
    Grant { rules: Some(rules.iter().map(|rule| rule.parse().unwrap()).collect()), ..Grant::default() }
}

fn ask(grant: &Grant, service: &str, method: &str, path: &str) -> bool {
    let method = method.parse().unwrap();
    grant.check(service, Wish::Http { method: &method, path, method_overridden: false }, 0).is_ok()
}

#[test]
fn a_path_is_below_a_prefix_on_the_borders_of_its_parts() {
    for path in [
        "/api",
        "/api/",
        "/api/x",
        "/api/x/",
        "/api/x/../y",
        "/api/./x",
        "/api/x/..",
        "/%61pi/x",
        "/api/a%20b",
        "/api/100%25",
        "/api/.hidden",
        "/api/a..b",
        "/api/%C3%BC",
        "/api/ü",
    ] {
        assert!(is_below("/api", path), "{path}");
    }
    for path in ["", "*", "api", "/", "/ap", "/apix", "/API/x", "/apix/api", "/x/api", "/api%", "/api%2", "/api%zz"] {
        assert!(!is_below("/api", path), "{path}");
    }
    assert!(is_below("/a/b", "/a/b/c") && !is_below("/a/b", "/a") && !is_below("/a/b", "/a/bc"));
    assert!(is_below("/a b", "/a%20b/c") && is_below("/ü", "/%C3%BC"));
}

#[test]
fn no_path_leaves_its_prefix_under_any_reading() {
    for path in [
        "/api/../secret",
        "/api/x/../../secret",
        "/api/x/../../api/y",
        "/secret/../api/x",
        "/./api",
        "/api/%2e%2e/secret",
        "/api/%2E%2e/secret",
        "/api/.%2e/secret",
        "/api/%2e/x",
        "/api%2f..%2fsecret",
        "/api/..%2fsecret",
        "/api/x%2Fy",
        "/api/..%5csecret",
        "/api/..\\secret",
        "/api\\..\\secret",
        "//api/x",
        "/api//x",
        "/api//../secret",
        "/api/..;/secret",
        "/api/..;x=y/secret",
        "/api/..%3b/secret",
        "/api/x;y",
        "/api;x/y",
        "/api/%252e%252e/secret",
        "/api/%25%32%65",
        "/api/%c0%ae%c0%ae/secret",
        "/api/%c0%afsecret",
        "/api/%ff",
        "/api/%00",
        "/api/..%00/secret",
        "/api/x%0d%0ay",
        "/api/.../x",
        "/api/..%20/secret",
        "/api/.. /secret",
        "/api/%20/x",
        "/api/..%09/secret",
        "/api/%u002e",
    ] {
        assert!(!is_below("/api", path), "{path}");
    }
}

/// Against the plainest reading there is: decode once, resolve the dots, compare.
#[test]
fn whatever_passes_resolves_to_a_place_below_the_prefix() {
    let pieces = ["/", "api", "x", "..", ".", "%2e", "%2f", "\\", ";", "//", "%252e", "secret", "%", " "];
    let mut passed = 0;
    for number in 0..pieces.len().pow(5) {
        let mut left = number;
        let mut path = String::from("/");
        for _ in 0..5 {
            path.push_str(pieces[left % pieces.len()]);
            left /= pieces.len();
        }
        if !is_below("/api", &path) {
            continue;
        }
        passed += 1;
        assert!(!path.contains(['\\', ';']) && !path.contains("//") && !path.contains("%2"), "{path}");
        let mut place = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                place.pop();
            } else {
                place.push(part);
            }
            assert!(place.is_empty() || place[0] == "api", "{path}");
        }
        assert_eq!(place.first(), Some(&"api"), "{path}");
    }
    assert!(passed > 100, "{passed}");
}

#[test]
fn prefixes_are_written_plainly() {
    for prefix in ["/", "/api", "/api/", "/a/b", "/a b", "/ü", "/.well-known/acme"] {
        assert!(is_prefix(prefix), "{prefix}");
    }
    for prefix in [
        "", "api", "//", "/a//b", "/a//", "/..", "/a/../b", "/a/.", "/a%20b", "/a?b", "/a#b", "/a;b", "/a\\b", "/a\n",
        "/ ",
    ] {
        assert!(!is_prefix(prefix), "{prefix:?}");
    }
    assert!(is_prefix(&format!("/{}", "a".repeat(255))) && !is_prefix(&format!("/{}", "a".repeat(256))));
}

#[test]
fn rules_are_read_as_they_are_written() {
    for (text, shown) in [
        ("web", "web"),
        ("*", "*"),
        ("web:get", "web:GET"),
        ("web:GET,POST", "web:GET+POST"),
        ("web:GET+POST:/api/", "web:GET+POST:/api"),
        ("web::/a:b", "web::/a:b"),
        ("web:GET:", "web:GET"),
        ("web:::", ""),
        ("Web", ""),
        ("", ""),
        (":GET", ""),
        ("web:G T", ""),
        ("web:GET:api", ""),
        ("web:-", ""),
    ] {
        match text.parse::<Rule>() {
            Ok(rule) => {
                assert_eq!(rule.to_string(), shown, "{text}");
                assert_eq!(shown.parse::<Rule>().unwrap(), rule);
            }
            Err(_) => assert_eq!(shown, "", "{text}"),
        }
    }
}

#[test]
fn a_grant_covers_what_one_of_its_rules_does() {
    let some = grant(&["web:GET:/api", "web:POST:/api/in", "files::/pub"]);
    for (service, method, path, expected) in [
        ("web", "GET", "/api/x", true),
        ("web", "HEAD", "/api/x", true),
        ("web", "POST", "/api/x", false),
        ("web", "POST", "/api/in", true),
        ("web", "GET", "/", false),
        ("web", "OPTIONS", "*", false),
        ("files", "DELETE", "/pub/x", true),
        ("files", "GET", "/", false),
        ("other", "GET", "/api/x", false),
    ] {
        assert_eq!(ask(&some, service, method, path), expected, "{service} {method} {path}");
    }
    let post = grant(&["web:POST"]);
    assert!(!ask(&post, "web", "HEAD", "/") && ask(&post, "web", "POST", "/../any%2f"), "no prefix, no question");
    let reader = grant(&["*:GET"]);
    assert!(ask(&reader, "web", "GET", "/") && !ask(&reader, "web", "PUT", "/"));
    assert!(ask(&Grant::default(), "web", "PUT", "/") && !ask(&grant(&[]), "web", "GET", "/"));
}

#[test]
fn a_method_that_a_header_changes_is_not_granted() {
    let post = Wish::Http { method: &Method::POST, path: "/", method_overridden: true };
    assert_eq!(grant(&["web:POST"]).check("web", post, 0), Err(Denied::NotGranted));
    assert_eq!(grant(&["web"]).check("web", post, 0), Ok(()));
    let mut headers = HeaderMap::new();
    headers.insert("x-http-methods", "PUT".parse().unwrap());
    assert!(!overrides_method(&headers));
    headers.insert("x_http-method-override", "PUT".parse().unwrap());
    assert!(overrides_method(&headers));
}

#[test]
fn raw_services_are_granted_whole_or_not_at_all() {
    for (rule, expected) in [("ssh", true), ("*", true), ("ssh:GET", false), ("ssh::/x", false), ("web", false)] {
        let grant = grant(&[rule]);
        assert_eq!(grant.check("ssh", Wish::Raw, 0).is_ok(), expected, "{rule}");
        assert_eq!(grant.shows("ssh", true, 0), expected, "{rule}");
    }
    assert!(grant(&["web:GET:/x"]).shows("web", false, 0));
}

#[test]
fn an_expired_grant_grants_nothing() {
    let grant = Grant { expires_at: Some(100), ..Grant::default() };
    assert_eq!(grant.check("web", Wish::Raw, 99), Ok(()));
    assert_eq!(grant.check("web", Wish::Raw, 100), Err(Denied::Expired));
    assert!(grant.shows("web", true, 99) && !grant.shows("web", true, 100));
}

#[test]
fn the_rate_is_kept_and_a_pause_is_worth_a_burst() {
    let grant = Grant { rate: Some(Rate { per_second: 2, burst: 3 }), ..Grant::default() };
    let (mut limiter, at) = (Limiter::default(), |millis: u64| Instant::from_micros(millis * 1000));
    for _ in 0..3 {
        assert_eq!(limiter.admit(&grant, at(1000)), Ok(()));
    }
    assert_eq!(limiter.admit(&grant, at(1000)), Err(Limited::Rate(Duration::from_millis(500))));
    assert_eq!(limiter.admit(&grant, at(1400)), Err(Limited::Rate(Duration::from_millis(100))));
    assert_eq!(limiter.admit(&grant, at(1500)), Ok(()), "asking too early has no price");
    assert_eq!(limiter.admit(&grant, at(1500)), Err(Limited::Rate(Duration::from_millis(500))));
    assert_eq!(
        limiter.admit(&grant, at(900)),
        Err(Limited::Rate(Duration::from_millis(500))),
        "a clock that goes back"
    );
    for _ in 0..3 {
        assert_eq!(limiter.admit(&grant, at(1_000_000)), Ok(()));
    }
    assert!(limiter.admit(&grant, at(1_000_000)).is_err(), "no more than the burst was saved");
    // Over a minute no more than the rate and one burst.
    let (mut limiter, mut admitted) = (Limiter::default(), 0);
    for milli in 0..60_000 {
        admitted += u32::from(limiter.admit(&grant, at(milli)).is_ok());
    }
    assert_eq!(admitted, 122);
    let most = Grant { rate: Some(Rate { per_second: u32::MAX, burst: u32::MAX }), ..Grant::default() };
    assert_eq!(limiter.admit(&most, Instant::from_micros(u64::MAX)), Ok(()));
}

#[test]
fn as_many_as_are_granted_run_at_once() {
    let grant = Grant { concurrent: Some(2), rate: Some(Rate { per_second: 1, burst: 2 }), ..Grant::default() };
    let (mut limiter, now) = (Limiter::default(), Instant::ZERO);
    assert!(limiter.admit(&grant, now).is_ok() && limiter.admit(&grant, now).is_ok());
    assert_eq!(limiter.admit(&grant, now), Err(Limited::Concurrent));
    assert!(!limiter.is_idle());
    limiter.done();
    assert!(matches!(limiter.admit(&grant, now), Err(Limited::Rate(_))));
    limiter.done();
    limiter.done();
    assert!(limiter.is_idle());
}

#[test]
fn grants_survive_being_written() {
    let full = Grant {
        rules: Some(vec!["web:GET:/api".parse().unwrap(), "ssh".parse().unwrap()]),
        rate: Some(Rate { per_second: 5, burst: 10 }),
        concurrent: Some(3),
        expires_at: Some(1_735_689_599),
        no_guests: false,
    };
    let lonely = Grant { no_guests: true, ..Grant::default() };
    assert_eq!(lonely.to_string(), "everything, no guests");
    for grant in [full.clone(), lonely, Grant::default(), grant(&[])] {
        assert_eq!(Grant::parse(&grant.emit()), Ok(grant.clone()));
        let text = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant);
    }
    assert_eq!(full.to_string(), "web:GET:/api ssh, 5 a second (burst 10), 3 at once, until 2024-12-31T23:59:59Z");
    let short = json!({ "rules": [{ "service": "web" }], "rate": { "per_second": 5.0 } });
    let read = Grant::parse(&short).unwrap();
    assert_eq!((read.to_string().as_str(), read.rate), ("web, 5 a second", Some(Rate { per_second: 5, burst: 5 })));
    assert_eq!(Grant::default().or_everything(), None);
}

#[test]
fn what_is_no_grant_is_refused() {
    for value in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "rules": {} }),
        json!({ "rules": null, "rats": 1 }),
        json!({ "rules": ["web"] }),
        json!({ "rules": [{ "methods": ["GET"] }] }),
        json!({ "rules": [{ "service": "web", "methods": ["get"] }] }),
        json!({ "rules": [{ "service": "web", "methods": "GET" }] }),
        json!({ "rules": [{ "service": "web", "methods": vec!["GET"; 33] }] }),
        json!({ "rules": [{ "service": "web", "prefix": "/.." }] }),
        json!({ "rules": [{ "service": "web", "prefix": null }] }),
        json!({ "rules": [{ "service": "web", "paths": "/" }] }),
        json!({ "rules": vec![json!({ "service": "web" }); MAX_RULES + 1] }),
        json!({ "rules": null, "rate": 5 }),
        json!({ "rules": null, "rate": { "burst": 5 } }),
        json!({ "rules": null, "rate": { "per_second": 0 } }),
        json!({ "rules": null, "rate": { "per_second": 1, "burst": 0 } }),
        json!({ "rules": null, "concurrent": 0 }),
        json!({ "rules": null, "concurrent": 1.5 }),
        json!({ "rules": null, "concurrent": MAX_LIMIT + 1 }),
        json!({ "rules": null, "guests": "no" }),
        json!({ "rules": null, "expires_at": "tomorrow" }),
        json!({ "rules": null, "expires_at": -1 }),
        json!({ "rules": null, "expires_at": MAX_EXPIRY + 1 }),
    ] {
        assert!(Grant::parse(&value).is_err(), "{value}");
    }
}
