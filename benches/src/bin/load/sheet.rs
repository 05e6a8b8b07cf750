//! What was measured, a line each for people and for programs, and whether it is as it should be.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use serde_json::{Value, json};

/// What a figure is held to.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing: it is there to be known.
    Known,
}

pub(crate) struct Sheet {
    out: Option<File>,
    pub(crate) missed: u32,
}

/// By how much a target may be missed on a machine that others use as well.
const MARGIN: f64 = 0.1;

impl Sheet {
    /// Lines of JSON go to this file as well.
    pub(crate) fn new(path: Option<String>) -> Self {
        let out = path.map(|path| OpenOptions::new().create(true).append(true).open(path).unwrap());
        Self { out, missed: 0 }
    }

    /// A figure that depends on the machine: told, and nothing more.
    pub(crate) fn tell(&mut self, id: &str, figure: &str, value: f64, unit: &str, aim: Aim) {
        self.line(id, figure, value, unit, aim, false);
    }

    /// A figure that does not, such as a ratio or a count of failures: the program fails where it is missed clearly.
    pub(crate) fn hold(&mut self, id: &str, figure: &str, value: f64, unit: &str, aim: Aim) {
        self.line(id, figure, value, unit, aim, true);
    }

    fn line(&mut self, id: &str, figure: &str, value: f64, unit: &str, aim: Aim, held: bool) {
        let (target, met, clearly_missed) = match aim {
            Aim::AtMost(most) => (json!(["<=", most]), value <= most, value > most * (1.0 + MARGIN)),
            Aim::AtLeast(least) => (json!([">=", least]), value >= least, value < least * (1.0 - MARGIN)),
            Aim::Known => (Value::Null, true, false),
        };
        let verdict = match (&target, met) {
            (Value::Null, _) => "",
            (_, true) => "pass",
            (_, false) => "MISSED",
        };
        let load = load();
        let line = json!({
            "id": id, "figure": figure, "value": round(value), "unit": unit, "target": target,
            "verdict": verdict, "load": load,
        });
        println!("{line}");
        let target = match aim {
            Aim::AtMost(most) => format!("<= {most}"),
            Aim::AtLeast(least) => format!(">= {least}"),
            Aim::Known => "-".into(),
        };
        println!("    {id:<4} {figure:<62} {:>12} {unit:<10} {target:<10} {verdict:<7} load {load}", round(value));
        if let Some(out) = &mut self.out {
            writeln!(out, "{line}").unwrap();
        }
        if held && clearly_missed {
            self.missed += 1;
        }
    }
}

/// Four digits say all that there is to say.
fn round(value: f64) -> f64 {
    if value.abs() >= 1000.0 { value.round() } else { (value * 1000.0).round() / 1000.0 }
}

/// The load averages of a minute, five and fifteen.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
