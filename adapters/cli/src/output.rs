//! What goes to stdout: data, as lines for people or as JSON for programs. Logs are elsewhere.

use core::fmt::Display;
use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// Where and how a command says what it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON, one object per line.
    pub(crate) json: bool,
    /// Whether escapes for colours may be used.
    pub(crate) colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, colour: !json && colourful(io::stdout().is_terminal()) }
    }

    /// Prints `value` to programs, `text` to people.
    pub(crate) fn say(self, value: &Value, text: impl Display) -> Result<(), Failure> {
        if self.json { self.json(value) } else { self.text(text) }
    }

    /// A line for programs; nothing for people.
    pub(crate) fn json(self, value: &Value) -> Result<(), Failure> {
        if self.json { line(value) } else { Ok(()) }
    }

    /// A line for people; nothing for programs.
    pub(crate) fn text(self, text: impl Display) -> Result<(), Failure> {
        if self.json { Ok(()) } else { line(text) }
    }

    /// Rows in columns as wide as they need, the first row being the titles.
    pub(crate) fn table<const N: usize>(self, rows: &[[String; N]]) -> Result<(), Failure> {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; N] = core::array::from_fn(width);
        for (number, row) in rows.iter().enumerate() {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let pad = width.saturating_sub(cell.chars().count()) + 2;
                text.push_str(cell);
                text.extend(core::iter::repeat_n(' ', pad));
            }
            let text = text.trim_end();
            if number == 0 { self.text(self.dim(text))? } else { self.text(text)? }
        }
        Ok(())
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    pub(crate) fn green(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.paint("33", text)
    }

    pub(crate) fn red(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    // A program at the other end of a pipe waits for each line.
    Ok(out.flush()?)
}

/// Whether escapes belong on a stream: terminals that know them, unless the user minds.
pub(crate) fn colourful(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    terminal && !set("NO_COLOR") && !dumb
}

/// Text of another machine, fit for a terminal: what could move the cursor, change colours or turn the direction of
/// writing becomes U+FFFD.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if text.contains(harmful) { text.replace(harmful, "\u{fffd}").into() } else { text.into() }
}

/// The same for one line: a peer's name cannot pretend to be a line of ours.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).replace('\n', "\u{fffd}")
}

/// A string field of what a role answered, fit for a terminal.
pub(crate) fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => clean_line(text),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => clean_line(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_peers_cannot_steer_a_terminal() {
        assert_eq!(clean("my phone é 日本"), "my phone é 日本");
        assert_eq!(clean("a\x1b[2Jb\r\u{9b}c\x07"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}");
        assert_eq!(clean("x\u{202e}y\u{2066}"), "x\u{fffd}y\u{fffd}");
        assert_eq!(clean_line("a\nerror: b"), "a\u{fffd}error: b");
    }

    #[test]
    fn fields_of_any_kind_are_shown() {
        let value = serde_json::json!({"name": "a\nb", "n": 3, "none": null});
        let shown = ["name", "n", "none", "absent"].map(|name| field(&value, name));
        assert_eq!(shown, ["a\u{fffd}b", "3", "-", "-"]);
    }
}
