//! What a figure is held to.

use core::fmt;

/// How ours has to compare with its bound.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// So many times the bound at most.
    Ratio(f64),
    /// So many nanoseconds above the bound at most.
    Beyond(f64),
}

impl Target {
    /// Whether `ours` is within the target where `noise`, a part of the bound, does not count.
    #[must_use]
    pub fn is_met(self, ours: f64, bound: f64, noise: f64) -> bool {
        match self {
            Self::Ratio(most) => ours <= bound * most * (1.0 + noise),
            Self::Beyond(nanos) => ours - bound <= nanos + bound * noise,
        }
    }

    /// The figure in the target's terms.
    #[must_use]
    pub fn figure(self, ours: f64, bound: f64) -> String {
        match self {
            Self::Ratio(_) => format!("{:.3}", ours / bound),
            Self::Beyond(_) => format!("{:+.0} ns", ours - bound),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(most) => write!(f, "{most:.2}"),
            Self::Beyond(nanos) => write!(f, "{nanos:+} ns"),
        }
    }
}
