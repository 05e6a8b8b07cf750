//! What is asked and answered, as text; the server itself is in `tests/callout.rs`.

use core::time::Duration;

use super::ask::{Decision, Question};
use super::*;
use crate::account::{HostLimits, Plan};

fn parse(text: &str) -> Result<Decision, String> {
    let plans = Plans::from([("small".into(), Plan { hosts: Some(1), ..Plan::default() })]);
    Decision::parse(text.as_bytes(), &plans, Duration::from_secs(1))
}

#[test]
fn a_question_says_who_it_is_and_no_more_than_is_wanted() {
    let mut applicant = Applicant { route_id: [1; 16], key_hash: [0xab; 32], address: None };
    let asked = Question { applicant: &applicant, account: None, used: 0 }.emit();
    let (route, key) = ("01".repeat(16), "ab".repeat(32));
    let first = format!(r#"{{"version":1,"role":"host","route":"{route}","key":"{key}","used_bytes":0}}"#);
    assert_eq!(String::from_utf8(asked).unwrap(), first);
    applicant.address = Some([192, 0, 2, 1].into());
    let asked = Question { applicant: &applicant, account: Some("alice"), used: 9 }.emit();
    assert!(String::from_utf8(asked).unwrap().ends_with(r#""address":"192.0.2.1","account":"alice","used_bytes":9}"#));
    assert!(!format!("{applicant:?}").contains("171"), "{applicant:?}");
}

#[test]
fn answers_name_account_plan_and_life() {
    let yes =
        parse(r#"{"allow":true,"account":"alice","plan":"small","expires_at":7,"bytes_left":9,"ttl":2}"#).unwrap();
    let answer = yes.answer.unwrap();
    assert_eq!((&*answer.account, answer.plan.hosts, answer.until), ("alice", Some(1), Some(7)));
    assert_eq!((answer.bytes_left, yes.life), (Some(9), Duration::from_secs(2)));
    let plan = r#"{"devices":2,"features":["x"],"host":{"bytes_per_second":20000}}"#;
    let yes = parse(&format!(r#"{{"allow":true,"account":"alice","plan":{plan}}}"#)).unwrap();
    let host = HostLimits { bytes_per_second: Some(20_000), ..HostLimits::default() };
    let plan = Plan { devices: Some(2), features: ["x".into()].into(), host, ..Plan::default() };
    assert_eq!((yes.answer.unwrap().plan, yes.life), (plan, Duration::from_secs(60)));
    assert_eq!(parse(r#"{"allow":true,"account":"a","ttl":0}"#).unwrap().life, Duration::from_secs(1), "no storm");
    assert_eq!(parse(r#"{"allow":false}"#).unwrap().answer, Err(Refusal::Denied));
    let no = parse(r#"{"allow":false,"reason":"not\npaid\u001b","retry_after":90}"#).unwrap();
    assert_eq!(no.answer, Err(Refusal::BusyFor(Duration::from_secs(90))));
    assert_eq!(no.reason.as_deref(), Some("not\\npaid\\u{1b}"));
}

#[test]
fn whatever_is_not_as_it_should_be_lets_nobody_in() {
    for text in [
        "",
        "yes",
        "true",
        "{}",
        r#"{"allow":"true","account":"a"}"#,
        r#"{"allow":true}"#,
        r#"{"allow":true,"account":""}"#,
        r#"{"allow":true,"account":"a","plan":"huge"}"#,
        r#"{"allow":true,"account":"a","plan":{"host":1}}"#,
        r#"{"allow":true,"account":"a","plan":{"hosts":-1}}"#,
        r#"{"allow":true,"account":"a","plan":{"bytes_per_second":1}}"#,
        r#"{"allow":true,"account":"a","plans":"small"}"#,
        r#"{"allow":true,"account":"a"}{"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse(&format!(r#"{{"allow":true,"account":"{}"}}"#, "a".repeat(129))).is_err());
}

#[test]
fn urls_that_will_not_do_are_told() {
    for url in ["", "ftp://a", "http://relay.example/", "https://u:p@a/", "https://a/#x", "a.example", "https://"] {
        assert!(Callout::new(CalloutConfig::new(url)).is_err(), "{url}");
    }
    let token = Some("a\nb".to_owned().into());
    let config = CalloutConfig { token, ..CalloutConfig::new("http://127.0.0.1:1/admit?x=1") };
    assert!(!format!("{config:?}").contains("a\nb"));
    assert!(matches!(Callout::new(config), Err(CalloutError::Token)));
    assert!(Callout::new(CalloutConfig::new("http://[::1]:8000/admit")).is_ok());
}
