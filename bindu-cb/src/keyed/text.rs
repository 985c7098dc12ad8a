//! The text of a key that is no text: made where nothing need be allocated.

use std::fmt::{self, Display, Write};

/// Longer texts are made in a `String`.
const ROOM: usize = 64;

struct Buffer {
    bytes: [u8; ROOM],
    len: usize,
    /// All of the text, once it is longer.
    long: String,
}

impl Buffer {
    fn text(&self) -> &str {
        if self.long.is_empty() {
            // Whole texts were put in, so it is one.
            std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
        } else {
            &self.long
        }
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len());
        match room {
            Some(room) if self.long.is_empty() => {
                room.copy_from_slice(text.as_bytes());
                self.len += text.len();
            }
            _ => {
                if self.long.is_empty() {
                    self.long = self.text().to_owned();
                }
                self.long.push_str(text);
            }
        }
        Ok(())
    }
}

/// Shows `f` the text of a key.
pub(crate) fn with_text<T>(key: &(impl Display + ?Sized), f: impl FnOnce(&str) -> T) -> T {
    let mut buffer = Buffer { bytes: [0; ROOM], len: 0, long: String::new() };
    // An error is the key's own, and what it has said before is all that there is.
    let _ = write!(buffer, "{key}");
    f(buffer.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_out_as_it_went_in_whether_short_or_long() {
        for n in [0, 1, 63, 64, 65, 200] {
            let text = "ä".repeat(n / 2) + &"x".repeat(n % 2);
            let parts = format_args!("{}{}", &text[..n / 4 * 2], &text[n / 4 * 2..]).to_string();
            assert_eq!(with_text(&text, str::to_owned), text);
            assert_eq!(with_text(&parts, str::to_owned), text);
        }
        assert_eq!(with_text(&format_args!("{}/{}", 7, "x".repeat(64)), str::len), 66);
        assert_eq!(with_text(&42, str::to_owned), "42");
    }
}
