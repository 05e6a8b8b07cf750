//! One service, with the methods and the paths that are granted of it: `SERVICE[:METHODS[:PREFIX]]`.

use core::fmt;
use core::str::FromStr;

use super::path::{is_below, is_prefix};
use super::{GrantError, Wish};
use crate::service::check_name;

const MAX_METHODS: usize = 32;
const MAX_METHOD: usize = 32;

/// Part of what is exposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    service: String,
    methods: Vec<String>,
    prefix: String,
}

impl Rule {
    /// Checks the parts of a rule. `*` is every service; no methods are all of them, and `/` is every path.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn new(service: &str, methods: Vec<String>, prefix: &str) -> Result<Self, GrantError> {
        if service != "*" && check_name(service).is_err() {
            return Err(GrantError::Service(service.into()));
        }
        if methods.len() > MAX_METHODS {
            return Err(GrantError::TooMany);
        }
        let fits = |method: &String| {
            method.len() <= MAX_METHOD
                && method.starts_with(|c: char| c.is_ascii_uppercase())
                && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        };
        if let Some(method) = methods.iter().find(|method| !fits(method)) {
            return Err(GrantError::Method(method.clone()));
        }
        if !is_prefix(prefix) {
            return Err(GrantError::Prefix(prefix.into()));
        }
        let prefix = prefix.strip_suffix('/').filter(|prefix| !prefix.is_empty()).unwrap_or(prefix);
        Ok(Self { service: service.into(), methods, prefix: prefix.into() })
    }

    /// The service, or `*`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The methods; none for all of them. GET stands for HEAD, too.
    #[must_use]
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// The path, itself and all below it. Not percent-encoded.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it is about this service.
    pub(super) fn names(&self, service: &str) -> bool {
        self.service == "*" || self.service == service
    }

    /// Whether it grants all of its service.
    pub(super) fn is_whole(&self) -> bool {
        self.methods.is_empty() && self.prefix == "/"
    }

    pub(super) fn covers(&self, service: &str, wish: Wish<'_>) -> bool {
        self.names(service)
            && match wish {
                Wish::Raw => self.is_whole(),
                Wish::Http { method, path, method_overridden } => {
                    let method = method.as_str();
                    // Who may read may ask how much there is to read.
                    let named = |known: &String| known == method || (method == "HEAD" && known == "GET");
                    (self.methods.is_empty() || (!method_overridden && self.methods.iter().any(named)))
                        && (self.prefix == "/" || is_below(&self.prefix, path))
                }
            }
    }
}

impl FromStr for Rule {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (service, rest) = text.split_once(':').unwrap_or((text, ""));
        let (methods, prefix) = rest.split_once(':').unwrap_or((rest, "/"));
        let methods = methods.split([',', '+']).map(str::trim).filter(|method| !method.is_empty());
        Self::new(service, methods.map(str::to_ascii_uppercase).collect(), if prefix.is_empty() { "/" } else { prefix })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        if !self.is_whole() {
            write!(f, ":{}", self.methods.join("+"))?;
        }
        if self.prefix != "/" {
            write!(f, ":{}", self.prefix)?;
        }
        Ok(())
    }
}
