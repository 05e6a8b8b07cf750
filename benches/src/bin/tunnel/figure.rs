//! What is measured of two tunnels, and how far apart they are.

/// A figure of two tunnels, a value per round.
pub(crate) struct Figure {
    name: &'static str,
    /// Whether more is better, and the first over the second at its worst.
    target: Option<(bool, f64)>,
    pub(crate) values: [Vec<f64>; 2],
}

impl Figure {
    pub(crate) const fn new(name: &'static str, target: Option<(bool, f64)>) -> Self {
        Self { name, target, values: [Vec::new(), Vec::new()] }
    }

    /// Prints it as a row; whether the target is met.
    pub(crate) fn report(&self) -> bool {
        let [ours, theirs] = self.values.each_ref().map(|values| median(values));
        let ratios: Vec<f64> = self.values[0].iter().zip(&self.values[1]).map(|(a, b)| a / b).collect();
        let ratio = median(&ratios);
        // Rounds of a shared machine differ: half of how far they lie apart is what we cannot tell.
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let noise = ((most - least) / 2.0).min(0.1);
        let met = self.target.is_none_or(
            |(more, target)| {
                if more { ratio + noise >= target } else { ratio - noise <= target }
            },
        );
        let target =
            self.target.map_or("-".into(), |(more, target)| format!("{} {target}", if more { ">=" } else { "<=" }));
        let verdict = match (self.target, met) {
            (None, _) => "",
            (Some(_), true) => "pass",
            (Some(_), false) => "MISSED",
        };
        println!(
            "| {:<44} | {ours:>9.2} | {theirs:>9.2} | {target:>6} | {ratio:>5.2} ({least:.2} to {most:.2}) | {verdict} |",
            self.name
        );
        met
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number behind a name on the command line.
pub(crate) fn argument(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1).map_or(default, |value| value.parse().expect("a number"))
}

pub(crate) fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
