//! Why something is refused, as it is counted and told: one name for each limit.

use core::time::Duration;

use homing_core::hop::Code;

/// What stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// No key, or one that lets nobody in.
    Key,
    /// Nobody could be asked whether the key lets in.
    Unanswered,
    /// What the relay as a whole holds: links, channels, windows, dials that wait.
    Relay,
    AccountHosts,
    AccountDevices,
    AccountDials,
    AccountKnocks,
    AccountRegistrations,
    AccountMonth,
    HostDevices,
    HostDials,
    HostKnocks,
    HostRegistrations,
    /// A socket that takes nothing of what waits for it.
    SlowReader,
    /// Control messages that nobody reads.
    ControlQueue,
}

impl Limit {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Self; 15] = [
        Self::Key,
        Self::Unanswered,
        Self::Relay,
        Self::AccountHosts,
        Self::AccountDevices,
        Self::AccountDials,
        Self::AccountKnocks,
        Self::AccountRegistrations,
        Self::AccountMonth,
        Self::HostDevices,
        Self::HostDials,
        Self::HostKnocks,
        Self::HostRegistrations,
        Self::SlowReader,
        Self::ControlQueue,
    ];

    /// As the metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Unanswered => "unanswered",
            Self::Relay => "relay",
            Self::AccountHosts => "account_hosts",
            Self::AccountDevices => "account_devices",
            Self::AccountDials => "account_dials",
            Self::AccountKnocks => "account_knocks",
            Self::AccountRegistrations => "account_registrations",
            Self::AccountMonth => "account_month",
            Self::HostDevices => "host_devices",
            Self::HostDials => "host_dials",
            Self::HostKnocks => "host_knocks",
            Self::HostRegistrations => "host_registrations",
            Self::SlowReader => "slow_reader",
            Self::ControlQueue => "control_queue",
        }
    }
}

/// A refusal: what stood in the way, what the peer hears, and when it may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) limit: Limit,
    pub(crate) code: Code,
    pub(crate) retry: Option<Duration>,
}

impl Turned {
    /// When to come back where nobody knows better.
    pub(crate) const USUAL: Duration = Duration::from_secs(30);

    /// There may be room in this time.
    pub(crate) const fn busy(limit: Limit, retry: Duration) -> Self {
        Self { limit, code: Code::Busy, retry: Some(retry) }
    }

    /// There is no use in coming back as one is.
    pub(crate) const fn denied() -> Self {
        Self { limit: Limit::Key, code: Code::Denied, retry: None }
    }
}
