//! An event as one line of JSON: the schema of docs/events.md.
//!
//! [`schema`] holds its objects, field by field; `fill` makes them from rows; `text` is how strings are written.

mod fill;
mod schema;
mod text;

use serde::Serialize as _;

use super::view::View;

/// Appends the event and a newline. One line always: whatever a process wrote is escaped, and so is what a terminal
/// would obey.
pub fn write_json_line(out: &mut Vec<u8>, view: View<'_>) {
    let line = schema::Line::from(view);
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, text::Printable);
    // Writing to memory does not fail, and every key is a string.
    let written = line.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "an event has a form that JSON lacks");
    out.push(b'\n');
}
