//! Grants as JSON: the same in the state file, on the control socket and in the API.

use serde_json::{Map, Value, json};

use super::{Grant, GrantError, MAX_EXPIRY, MAX_LIMIT, MAX_RULES, Rate, Rule};

impl Grant {
    /// Reads a grant. `rules` must be there; another field that is not counts as null. Unknown fields are errors.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn parse(value: &Value) -> Result<Self, GrantError> {
        let fields = object(value, "a grant", &["rules", "rate", "concurrent", "expires_at", "guests"])?;
        if !fields.contains_key("rules") {
            return Err(wrong("a grant has rules: a list, or null for everything")); // nobody grants all by an omission
        }
        let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
        Ok(Self {
            rules: field("rules").map(parse_rules).transpose()?,
            rate: field("rate").map(parse_rate).transpose()?,
            concurrent: field("concurrent").map(|value| limit("concurrent", value)).transpose()?,
            no_guests: match field("guests").map(Value::as_bool) {
                None => false,
                Some(guests) => !guests.ok_or_else(|| wrong("guests is true or false"))?,
            },
            expires_at: field("expires_at").map(|value| number("expires_at", value, MAX_EXPIRY)).transpose()?,
        })
    }

    /// Every field, null where there is none; `guests` only where there may be none.
    #[must_use]
    pub fn emit(&self) -> Value {
        let rule =
            |rule: &Rule| json!({ "service": rule.service(), "methods": rule.methods(), "prefix": rule.prefix() });
        let mut value = json!({
            "rules": self.rules.as_ref().map(|rules| rules.iter().map(rule).collect::<Vec<_>>()),
            "rate": self.rate.map(|rate| json!({ "per_second": rate.per_second, "burst": rate.burst })),
            "concurrent": self.concurrent,
            "expires_at": self.expires_at,
        });
        if let Some(fields) = value.as_object_mut().filter(|_| self.no_guests) {
            fields.insert("guests".into(), Value::Bool(false));
        }
        value
    }
}

impl TryFrom<Value> for Grant {
    type Error = GrantError;

    fn try_from(value: Value) -> Result<Self, GrantError> {
        Self::parse(&value)
    }
}

impl From<Grant> for Value {
    fn from(grant: Grant) -> Self {
        grant.emit()
    }
}

fn parse_rules(value: &Value) -> Result<Vec<Rule>, GrantError> {
    let rules = value.as_array().ok_or_else(|| wrong("rules is a list"))?;
    if rules.len() > MAX_RULES {
        return Err(GrantError::TooMany);
    }
    rules.iter().map(parse_rule).collect()
}

fn parse_rule(value: &Value) -> Result<Rule, GrantError> {
    let fields = object(value, "a rule", &["service", "methods", "prefix"])?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let service = fields.get("service").and_then(text).ok_or_else(|| wrong("a rule names its service"))?;
    let prefix = match fields.get("prefix") {
        None => "/".into(),
        Some(prefix) => text(prefix).ok_or_else(|| wrong("prefix is a text"))?,
    };
    let methods = match fields.get("methods") {
        None => Vec::new(),
        Some(methods) => methods
            .as_array()
            .and_then(|methods| methods.iter().map(text).collect())
            .ok_or_else(|| wrong("methods is a list of texts"))?,
    };
    Rule::new(&service, methods, &prefix)
}

fn parse_rate(value: &Value) -> Result<Rate, GrantError> {
    let fields = object(value, "rate", &["per_second", "burst"])?;
    let per_second = fields.get("per_second").ok_or_else(|| wrong("rate has per_second"))?;
    let per_second = limit("per_second", per_second)?;
    let burst = fields.get("burst").map_or(Ok(per_second), |burst| limit("burst", burst))?;
    Ok(Rate { per_second, burst })
}

fn object<'v>(value: &'v Value, what: &str, known: &[&str]) -> Result<&'v Map<String, Value>, GrantError> {
    let fields = value.as_object().ok_or_else(|| wrong(format!("{what} is an object")))?;
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(wrong(format!("{what} has no field {unknown:?}; it has {}", known.join(", ")))),
        None => Ok(fields),
    }
}

fn limit(name: &'static str, value: &Value) -> Result<u32, GrantError> {
    let number = number(name, value, MAX_LIMIT.into())?;
    u32::try_from(number).map_err(|_| GrantError::Number(name, MAX_LIMIT.into()))
}

/// A whole number, also one that is written with a point, as JSON Schema has it.
fn number(name: &'static str, value: &Value, most: u64) -> Result<u64, GrantError> {
    let written = |number: f64| format!("{number}").parse().ok().filter(|_| number.fract() == 0.0 && number < 9e15);
    let whole = value.as_u64().or_else(|| value.as_f64().and_then(written));
    whole.filter(|number| (1..=most).contains(number)).ok_or(GrantError::Number(name, most))
}

fn wrong(text: impl Into<String>) -> GrantError {
    GrantError::Field(text.into())
}
