//! `homing doctor`: looks at what usually goes wrong, says how it is and what to do.

mod host;
mod http_date;
mod local;
mod relay;
mod services;

use std::collections::BTreeMap;
use std::path::Path;

use homing_device::Profiles;
use homing_tokio::{ClientTls, RelayUrl};
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::config::{Config, settings};
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean_line};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail(Exit),
}

/// A thing that was looked at.
#[derive(Debug)]
struct Finding {
    check: String,
    verdict: Verdict,
    detail: String,
    advice: Option<String>,
    /// How long it took, in milliseconds, where that says something.
    ms: Option<f64>,
}

impl Finding {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Ok, detail: detail.into(), advice: None, ms: None }
    }

    fn warn(check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, advice: Some(advice.into()), ..Self::ok(check, detail) }
    }

    fn fail(exit: Exit, check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail(exit), advice: Some(advice.into()), ..Self::ok(check, detail) }
    }

    fn took(self, took: core::time::Duration) -> Self {
        Self { ms: Some(took.as_secs_f64() * 1000.0), ..self }
    }

    fn show(&self, out: Output) -> Result<(), Failure> {
        let mark = match self.verdict {
            Verdict::Ok => out.green("✓"),
            Verdict::Warn => out.yellow("!"),
            Verdict::Fail(_) => out.red("✗"),
        };
        let took = self.ms.map(|ms| format!("{ms:>8.1} ms")).unwrap_or_default();
        out.text(format_args!("{mark} {:<14}{:<11}  {}", self.check, took, clean_line(&self.detail)))?;
        match &self.advice {
            Some(advice) => out.text(format_args!("    {} {}", out.dim("→"), clean_line(advice))),
            None => Ok(()),
        }
    }

    fn to_json(&self) -> Value {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail(_) => "fail",
        };
        json!({ "check": self.check, "verdict": verdict, "detail": self.detail, "advice": self.advice, "ms": self.ms })
    }
}

/// Checks everything, prints as it goes, and ends with the exit code of the first failure.
pub(crate) async fn doctor(args: DoctorArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let found = |finding: Finding, findings: &mut Vec<Finding>| {
        let shown = finding.show(out);
        findings.push(finding);
        shown
    };
    found(Finding::ok("version", format!("homing {}", env!("CARGO_PKG_VERSION"))), &mut findings)?;
    for finding in local::check(data) {
        found(finding, &mut findings)?;
    }
    let config = Config::load(data);
    let (relays, unread) = relays(&config, data, args.host.as_deref());
    for finding in unread {
        found(finding, &mut findings)?;
    }
    if args.host.is_none() {
        for check in services::checks(&config) {
            found(check.await, &mut findings)?;
        }
    }
    let tls = ClientTls::system();
    for (url, users) in relays {
        out.text(out.dim(format_args!("relay {url}, of {}", users.join(" and "))))?;
        let mut steps = relay::Steps::new(url, &tls);
        while let Some(finding) = steps.next().await {
            found(finding, &mut findings)?;
        }
    }
    if let Some(host) = &args.host {
        out.text(out.dim(format_args!("host {}", clean_line(host))))?;
        for finding in host::check(data, host).await {
            found(finding, &mut findings)?;
        }
    }
    out.json(&json!({ "checks": findings.iter().map(Finding::to_json).collect::<Vec<_>>() }))?;
    let failed = findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Fail(exit) => Some(exit),
        _ => None,
    });
    match failed {
        Some(exit) => Err(Failure::Silent(exit)),
        None => Ok(()),
    }
}

/// The relays that this machine uses, by URL, with who uses them; those of one host where one is named.
fn relays(
    config: &Result<Config, Failure>,
    data: &Path,
    host: Option<&str>,
) -> (Vec<(RelayUrl, Vec<String>)>, Vec<Finding>) {
    let mut relays: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut findings = Vec::new();
    match config {
        Ok(config) if host.is_none() => {
            for relay in config.list(&settings::HOST_RELAY, Vec::new()) {
                relays.entry(relay).or_default().push("this host".to_owned());
            }
            findings.push(Finding::ok("settings", "file and environment are in order"));
        }
        Ok(_) => {}
        Err(Failure::Said { exit, text }) => {
            findings.push(Finding::fail(
                *exit,
                "settings",
                text,
                "mend it; `homing config show` prints what there may be",
            ));
        }
        Err(_) => {}
    }
    match Profiles::list(data) {
        Ok(hosts) => {
            for known in
                hosts.into_iter().filter(|known| host.is_none_or(|host| known.name == host || known.id == host))
            {
                if let Some(what) = known.warning {
                    let name = clean_line(&known.name);
                    let advice = format!("see `homing hosts log {name}`; with --accept it ends this warning");
                    findings.push(Finding::warn("device log", format!("host {name}: {what}"), advice));
                }
                for relay in known.relays {
                    relays.entry(relay).or_default().push(format!("host {}", clean_line(&known.name)));
                }
            }
        }
        Err(error) => {
            let text = crate::failure::in_full(&error);
            findings.push(Finding::fail(Exit::Failed, "paired hosts", text, "see above; nothing was changed"));
        }
    }
    let parsed = relays.into_iter().filter_map(|(url, users)| Some((url.parse().ok()?, users)));
    (parsed.collect(), findings)
}
