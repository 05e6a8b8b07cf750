//! What a relay counts, as OpenMetrics text and as a page. Labels are few and fixed: no names, no addresses.

use core::fmt::{self, Write as _};

use homing_core::hop::Code;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::directory::{Counts, Standing};
use crate::limits::Limit;
use crate::status::Status;

/// The type of the text.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All counts of one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Why connections were no links, and how often.
    pub(crate) turned_away: Vec<(&'static str, u64)>,
    /// Why the relay ended links, and how often.
    pub(crate) ended: Vec<(Code, u64)>,
    /// How the directory of a cluster stands.
    pub(crate) directory: Option<Counts>,
    /// Registrations, dials and links refused, by what stood in the way.
    pub(crate) refused: Vec<(Limit, u64)>,
    /// Pauses in reading, for the rates of hosts, of accounts and of addresses.
    pub(crate) delayed: Vec<u64>,
    /// What became of questions whether hosts may come in.
    pub(crate) admissions: Vec<(&'static str, u64)>,
    /// Bytes of memory and open descriptors of the process, where the system tells.
    pub(crate) process: Option<(u64, u64)>,
}

type Row = (&'static str, &'static str, MetricType, Vec<(Option<(&'static str, &'static str)>, u64)>);

impl Snapshot {
    fn rows(&self) -> Vec<Row> {
        use MetricType::{Counter, Gauge};
        let status = &self.status;
        let one = |value: u64| vec![(None, value)];
        let by = |label, value: &'static str, count: u64| (Some((label, value)), count);
        let others = status.links.saturating_sub(status.hosts + status.waiting + status.channels + status.parked);
        let mut rows = vec![
            (
                "links",
                "Links now, by what they are",
                Gauge,
                vec![
                    by("role", "host", status.hosts.into()),
                    by("role", "waiting", status.waiting.into()),
                    by("role", "device", status.channels.into()),
                    by("role", "parked", status.parked.into()),
                    by("role", "unknown", others.into()),
                ],
            ),
            ("channels", "Devices joined with hosts now", Gauge, one(status.channels.into())),
            ("queued_bytes", "Bytes that wait to be sent on all links", Gauge, one(status.queued_bytes as u64)),
            ("reserved_bytes", "Bytes that may wait, of all windows", Gauge, one(status.reserved_bytes)),
            ("draining", "1 where the relay is about to stop", Gauge, one(status.draining.into())),
            ("uptime_seconds", "Time since the start", Gauge, one(status.uptime.as_secs())),
            ("accepted", "Connections accepted", Counter, one(self.accepted)),
            ("refused", "Registrations and dials turned away", Counter, one(status.refused)),
            ("forwarded_records", "Records forwarded", Counter, one(status.forwarded_records)),
            ("forwarded_bytes", "Bytes of records forwarded", Counter, one(status.forwarded_bytes)),
        ];
        let away = self.turned_away.iter().map(|(why, count)| by("reason", why, *count)).collect();
        rows.push(("turned_away", "Connections that got no link", Counter, away));
        let ended = self.ended.iter().map(|(code, count)| by("code", name(*code), *count)).collect();
        rows.push(("ended", "Links that the relay ended", Counter, ended));
        if let Some(directory) = &self.directory {
            rows.extend(directory_rows(directory));
        }
        let refused = self.refused.iter().map(|(limit, count)| by("limit", limit.name(), *count)).collect();
        rows.push(("refusals", "Registrations, dials and links refused", Counter, refused));
        let delayed = ["host", "account", "address"].into_iter().zip(&self.delayed);
        let delayed = delayed.map(|(of, count)| by("rate_of", of, *count));
        rows.push(("delays", "Pauses in reading, for a rate of bytes", Counter, delayed.collect()));
        let asked = self.admissions.iter().map(|(what, count)| by("outcome", what, *count)).collect::<Vec<_>>();
        if !asked.is_empty() {
            rows.push(("admissions", "Questions to the admission server", Counter, asked));
        }
        if let Some((memory, descriptors)) = self.process {
            rows.push(("resident_memory_bytes", "Memory of the process", Gauge, one(memory)));
            rows.push(("open_descriptors", "Descriptors of the process", Gauge, one(descriptors)));
        }
        rows
    }

    /// The text that scrapers read.
    pub(crate) fn emit(self) -> String {
        let mut registry = Registry::with_prefix("homing_relay");
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // A string takes all text.
        let _ = text::encode(&mut out, &registry);
        out
    }

    /// The same for people.
    pub(crate) fn page(&self) -> String {
        let mut rows = String::new();
        for (metric, help, _, values) in self.rows() {
            for (label, value) in values {
                let of = label.map_or(String::new(), |(_, value)| format!(" ({value})"));
                // A string takes all text.
                let _ = write!(rows, "<tr><th scope=row title={metric}>{help}{of}<td>{value}");
            }
        }
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <meta http-equiv=refresh content=5><title>homing relay</title><style>:root{{color-scheme:light dark}}\
             body{{font:16px/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem}}th{{text-align:left;\
             font-weight:normal}}td{{text-align:right;font-variant-numeric:tabular-nums}}table{{width:100%}}</style>\
             <h1>Relay</h1><p>Version {version}. Counts only; renewed every five seconds.<table>{rows}</table>"
        )
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, kind, values) in self.rows() {
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, value) in values {
                let encode = |metric: &mut MetricEncoder<'_>| match kind {
                    MetricType::Counter => metric.encode_counter::<[(&str, &str); 0], _, u64>(&value, None),
                    _ => metric.encode_gauge(&value),
                };
                match label {
                    None => encode(&mut metric)?,
                    Some(label) => encode(&mut metric.encode_family(&[label])?)?,
                }
            }
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        encoder.encode_descriptor("build", "What runs", None, MetricType::Info)?.encode_info(&version)
    }
}

fn directory_rows(directory: &Counts) -> [Row; 7] {
    use MetricType::{Counter, Gauge};
    let by = |label, value: &'static str, count: u64| (Some((label, value)), count);
    let one = |value: u64| vec![(None, value)];
    let standings = Standing::ALL.map(|known| by("state", known.name(), u64::from(known == directory.standing)));
    let sent = vec![by("role", "host", directory.hosts_sent), by("role", "device", directory.devices_sent)];
    [
        ("directory", "1 at how the directory of the cluster stands", Gauge, standings.into()),
        ("directory_nodes", "Relays of the cluster that take links", Gauge, one(directory.nodes)),
        ("directory_routes", "Routes that the directory has at this relay", Gauge, one(directory.routes)),
        ("directory_known", "Routes that the directory knows a relay for", Gauge, one(directory.known)),
        ("directory_sent", "Requests sent to another relay", Counter, sent),
        (
            "directory_given_up",
            "Routes given up to another relay, or for want of proof",
            Counter,
            one(directory.given_up),
        ),
        ("directory_lost", "How often the directory was lost", Counter, one(directory.lost)),
    ]
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Normal => "normal",
        Code::NotReachable => "not_reachable",
        Code::Refused => "refused",
        Code::Busy => "busy",
        Code::FlowControl => "flow_control",
        Code::Timeout => "timeout",
        Code::Protocol => "protocol",
        Code::Gone => "gone",
        Code::Denied => "denied",
        Code::Draining => "draining",
        Code::Superseded => "superseded",
        Code::PairSlot => "pair_slot",
    }
}

/// Resident memory in bytes, and open descriptors.
pub(crate) fn process() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let memory: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some((memory * 1024, descriptors as u64))
}
