//! Pairing links as QR codes, drawn with half blocks. Black on white by explicit colours: on dark terminals, a code in
//! the terminal's own colours is inverted, and many cameras do not read that.

use std::io::{self, IsTerminal as _};

use qrcode::bits::Bits;
use qrcode::{Color, EcLevel, QrCode, Version};

use crate::args::When;

/// What links start with, as bytes; all that follows is alphanumeric, at 5.5 bits a letter. Behind it the largest version
/// that is tried: a link to pair with is still a picture on a screen at 57 modules, 31 lines; one for a guest may need a
/// large screen, or none of it is shown.
const SCHEMES: [(&str, i16); 2] = [("homing://pair/", 10), ("homing://guest/", 25)];
/// Blank modules at either side, as the standard wants.
const MARGIN: usize = 4;
/// Blank modules above and below where lines are dear: with 2 and 3, version 5 takes 21 of 24 lines.
const SMALL_MARGIN: usize = 2;

const BLACK_ON_WHITE: &str = "\x1b[38;2;0;0;0m\x1b[48;2;255;255;255m";
const RESET: &str = "\x1b[0m";

/// A code as a square of modules.
#[derive(Debug)]
pub(crate) struct Qr {
    width: usize,
    dark: Vec<bool>,
}

impl Qr {
    /// The smallest code, at level L, for a link as [`Ticket::write_link`] writes it, or a guest's; none for other texts.
    ///
    /// [`Ticket::write_link`]: homing_core::pairing::Ticket::write_link
    pub(crate) fn encode(link: &str) -> Option<Self> {
        let (scheme, most, letters) =
            SCHEMES.iter().find_map(|(scheme, most)| Some((scheme, *most, link.strip_prefix(scheme)?)))?;
        // Other letters would be encoded as something else.
        if !letters.bytes().all(|letter| matches!(letter, b'A'..=b'Z' | b'2'..=b'7')) {
            return None;
        }
        (1..=most).find_map(|version| {
            let mut bits = Bits::new(Version::Normal(version));
            bits.push_byte_data(scheme.as_bytes()).ok()?;
            bits.push_alphanumeric_data(letters.as_bytes()).ok()?;
            bits.push_terminator(EcLevel::L).ok()?;
            let code = QrCode::with_bits(bits, EcLevel::L).ok()?;
            let dark = code.to_colors().into_iter().map(|colour| colour == Color::Dark).collect();
            Some(Self { width: code.width(), dark })
        })
    }

    /// The code in lines of text, two rows of modules in each. It is to fit a terminal of `rows` lines with three to
    /// spare for a caption and the cursor.
    pub(crate) fn draw(&self, rows: usize) -> String {
        let whole = (self.width + 2 * MARGIN).div_ceil(2);
        let margin = if whole + 3 <= rows { MARGIN } else { SMALL_MARGIN };
        let lines = (self.width + 2 * margin).div_ceil(2);
        let mut text = String::new();
        for line in 0..lines {
            text.push_str(BLACK_ON_WHITE);
            for x in 0..self.width + 2 * MARGIN {
                let dark = |y: usize| self.is_dark(x.checked_sub(MARGIN), y.checked_sub(margin));
                text.push(match (dark(2 * line), dark(2 * line + 1)) {
                    (false, false) => ' ',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (true, true) => '█',
                });
            }
            text.push_str(RESET);
            text.push('\n');
        }
        text
    }

    fn is_dark(&self, x: Option<usize>, y: Option<usize>) -> bool {
        let (Some(x), Some(y)) = (x, y) else { return false };
        x < self.width && self.dark.get(y * self.width + x).copied().unwrap_or(false)
    }
}

/// The drawing to print for `link`, if one is wanted and fits.
pub(crate) fn drawing(link: &str, when: When) -> Option<String> {
    let terminal = io::stdout().is_terminal();
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let (rows, columns) = size.map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
    let qr = Qr::encode(link)?;
    let drawn = match when {
        When::Never => false,
        When::Always => true,
        // A wrapped code is worse than none: the link is there as well.
        When::Auto => {
            let lines = (qr.width + 2 * SMALL_MARGIN).div_ceil(2) + 3;
            terminal && qr.width + 2 * MARGIN <= columns && (lines <= rows || link.starts_with(SCHEMES[0].0))
        }
    };
    drawn.then(|| qr.draw(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link as hosts make them, for a relay of that name.
    fn link(relay: &str) -> String {
        let bytes = 60 + relay.len();
        let letters = (bytes * 8).div_ceil(5);
        let letters = (0..letters).map(|i| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(i * 7 + i / 5) % 32]));
        format!("{}{}", SCHEMES[0].0, letters.collect::<String>())
    }

    /// Reads a drawing back as a camera would, from what is visible.
    fn scan(drawing: &str) -> String {
        let rows: Vec<Vec<bool>> = drawing
            .lines()
            .flat_map(|line| {
                let cells = line.strip_prefix(BLACK_ON_WHITE).unwrap().strip_suffix(RESET).unwrap();
                let half = |upper: bool| {
                    let dark = move |c: char| c == '█' || c == if upper { '▀' } else { '▄' };
                    cells.chars().map(dark).collect::<Vec<_>>()
                };
                [half(true), half(false)]
            })
            .collect();
        let scale = 4;
        let (width, height) = (rows[0].len() * scale, rows.len() * scale);
        let pixel = |x: usize, y: usize| if rows[y / scale][x / scale] { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, pixel);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn cameras_read_the_link() {
        for relay in ["", "127.0.0.1:8080", "relay.example.org", &"r".repeat(64)] {
            let link = link(relay);
            let qr = Qr::encode(&link).unwrap();
            for rows in [24, 60] {
                assert_eq!(scan(&qr.draw(rows)), link);
            }
        }
    }

    #[test]
    fn cameras_read_a_guests_link_whatever_is_in_it() {
        for letters in [500, 1100, 1700] {
            let link = format!("homing://guest/{}", &link(&"r".repeat(1100))[SCHEMES[0].0.len()..][..letters]);
            assert_eq!(scan(&Qr::encode(&link).unwrap().draw(60)), link);
        }
    }

    #[test]
    fn usual_links_fit_a_terminal_of_80_by_24() {
        for relay in ["", "127.0.0.1:8080", "relay.example.org", "[::1]:65535", &"r".repeat(22)] {
            let qr = Qr::encode(&link(relay)).unwrap();
            assert_eq!(qr.width, 37, "version 5 for {relay:?}");
            let drawing = qr.draw(24);
            assert_eq!(drawing.lines().count(), 21);
            assert!(drawing.lines().all(|line| line.chars().filter(|c| " ▀▄█".contains(*c)).count() == 45));
        }
    }

    #[test]
    fn larger_terminals_get_the_whole_margin() {
        let qr = Qr::encode(&link("")).unwrap();
        assert_eq!(qr.draw(26).lines().count(), 23);
    }

    #[test]
    fn other_texts_are_no_pairing_links() {
        assert!(Qr::encode("https://example.org/").is_none());
        assert!(Qr::encode("homing://pair/lower").is_none());
        assert!(Qr::encode(&format!("homing://pair/{}", "A".repeat(1000))).is_none());
        assert!(Qr::encode(&format!("homing://guest/{}", "A".repeat(1000))).is_some());
        assert!(Qr::encode(&format!("homing://guest/{}", "A".repeat(3000))).is_none());
    }
}
