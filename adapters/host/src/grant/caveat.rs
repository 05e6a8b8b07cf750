//! What limits a guest of a device: a grant and a name, as the device that makes the guest writes them down
//! (protocol 11.4).

use serde_json::{Value, json};

use super::{Grant, GrantError};

/// The longest name of a guest, in characters.
pub const MAX_GUEST_NAME: usize = 64;

/// One caveat: whoever it limits may do no more than it grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caveat {
    /// What the guest is called.
    pub name: Option<String>,
    /// What it may reach at most.
    pub grant: Grant,
}

impl Caveat {
    /// Reads a caveat. Every field may be missing, and unknown ones are errors: what cannot be read may be a limit.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn parse(text: &[u8]) -> Result<Self, GrantError> {
        let wrong = |text: &str| GrantError::Field(text.into());
        let mut value: Value = serde_json::from_slice(text).map_err(|_| wrong("a caveat is a JSON object"))?;
        let fields = value.as_object_mut().ok_or_else(|| wrong("a caveat is a JSON object"))?;
        let name = match fields.remove("name").filter(|name| !name.is_null()) {
            None => None,
            Some(name) => Some(check_name(name.as_str().ok_or_else(|| wrong("name is a text"))?)?.to_owned()),
        };
        fields.entry("rules").or_insert(Value::Null); // here it only takes away
        Ok(Self { name, grant: Grant::parse(&value)? })
    }

    /// The text, with nothing in it that limits nothing.
    #[must_use]
    pub fn emit(&self) -> String {
        let mut value = self.grant.emit();
        if let (Some(fields), Some(name)) = (value.as_object_mut(), &self.name) {
            fields.insert("name".into(), json!(name));
        }
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, field| !field.is_null());
        }
        for rule in value.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(fields) = rule.as_object_mut() {
                fields.retain(|_, field| *field != json!([]) && *field != json!("/"));
            }
        }
        value.to_string()
    }
}

/// Checks the name of a guest.
///
/// # Errors
/// [`GrantError::Field`].
pub fn check_name(name: &str) -> Result<&str, GrantError> {
    let fits = (1..=MAX_GUEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits {
        Ok(name)
    } else {
        Err(GrantError::Field("a guest's name has 1 to 64 characters, no control characters".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caveats_survive_being_written() {
        for text in [
            r#"{"expires_at":1893456000,"name":"anna","rules":[{"service":"web"},{"methods":["GET"],"prefix":"/api","service":"web"}]}"#,
            r#"{"concurrent":2,"guests":false,"rate":{"burst":5,"per_second":5}}"#,
            "{}",
        ] {
            let caveat = Caveat::parse(text.as_bytes()).unwrap();
            assert_eq!(caveat.emit(), text);
        }
        assert_eq!(Caveat::parse(br#"{"rules":null,"name":null}"#), Ok(Caveat::default()));
    }

    #[test]
    fn what_is_no_caveat_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{",
            r#"{"name":""}"#,
            r#"{"name":5}"#,
            r#"{"name":"a\nb"}"#,
            r#"{"unknown":null}"#,
            r#"{"rules":[{"service":"web","paths":"/"}]}"#,
            r#"{"expires_at":0}"#,
            r#"{"guests":1}"#,
            "{}x",
        ] {
            assert!(Caveat::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Caveat::parse(format!(r#"{{"name":"{}"}}"#, "é".repeat(65)).as_bytes()).is_err());
        assert!(Caveat::parse(format!(r#"{{"name":"{}"}}"#, "é".repeat(64)).as_bytes()).is_ok());
    }
}
