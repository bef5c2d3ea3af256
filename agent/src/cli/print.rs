//! Where `run` and `collect` write events: lines for people, or one JSON object a line.

use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use jiff::tz::TimeZone;

use super::render::Renderer;
use crate::model::event::Event;
use crate::model::time::ClockPair;
use crate::ship::wire::{BatchBuilder, Origin, View, write_json_line};
use crate::ship::{Lane, PerLane, ReadClocks};

/// How events are written.
#[derive(Clone)]
pub enum Format {
    /// A readable line each.
    Human(Box<Renderer>),
    /// A JSON object each: the schema of docs/events.md.
    Json,
}

impl Format {
    /// For standard output: coloured and within its width where it is a terminal (`NO_COLOR`, `CLICOLOR_FORCE` and
    /// `TERM=dumb` are respected), whole and plain where it is not.
    pub fn for_stdout(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let coloured = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let zone = TimeZone::system();
        Self::Human(Box::new(Renderer { width: stdout_width(), coloured, hosts: false, zone, users: None }))
    }

    /// For a file: whole and plain.
    pub fn for_file(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let zone = TimeZone::system();
        Self::Human(Box::new(Renderer { width: None, coloured: false, hosts: false, zone, users: None }))
    }

    /// Appends an event and a newline.
    pub fn write(&self, out: &mut Vec<u8>, view: View<'_>) {
        match self {
            Self::Human(renderer) => {
                out.extend_from_slice(renderer.line(view).as_bytes());
                out.push(b'\n');
            }
            Self::Json => write_json_line(out, view),
        }
    }

    /// Takes up a terminal whose width has changed.
    pub fn resize(&mut self) {
        if let Self::Human(renderer) = self
            && renderer.width.is_some()
        {
            renderer.width = stdout_width();
        }
    }
}

/// Columns of the terminal; `None` where standard output is none, or has no width (a serial line says 0).
fn stdout_width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok())??;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Where the two clocks are read.
enum Clocks {
    Read(ReadClocks),
    Fixed(ClockPair),
}

impl Clocks {
    fn read(&self) -> ClockPair {
        match self {
            Self::Read(read) => read(),
            Self::Fixed(pair) => *pair,
        }
    }
}

/// Writes the events of this host as they come.
pub struct Printer<W> {
    format: Format,
    origins: PerLane<Origin>,
    clocks: Clocks,
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Printer<W> {
    /// Writes to `out` as `origin` speaks.
    pub fn new(format: Format, origin: Origin, clocks: ReadClocks, out: W) -> Self {
        Self::with(format, &origin, Clocks::Read(clocks), out)
    }

    /// As [`Printer::new`], with clocks that stood still when the events were recorded.
    pub fn at(format: Format, origin: Origin, pair: ClockPair, out: W) -> Self {
        Self::with(format, &origin, Clocks::Fixed(pair), out)
    }

    fn with(format: Format, origin: &Origin, clocks: Clocks, out: W) -> Self {
        let origins = PerLane::new(|lane| lane.origin(origin));
        Self { format, origins, clocks, out, line: Vec::new() }
    }

    /// Writes one event, which has that number in its lane, in one write, so that lines of several writers to a pipe do not mix.
    ///
    /// # Errors
    /// As `out` gives them; [`io::ErrorKind::BrokenPipe`] means that the reader has seen enough.
    pub fn event(&mut self, lane: Lane, seq: u64, event: &Event) -> io::Result<()> {
        let mut builder = BatchBuilder::new(self.origins.of(lane), seq, self.clocks.read());
        // An empty batch takes any event.
        let _ = builder.push(seq, event);
        self.format.resize();
        self.line.clear();
        builder.batch().views().for_each(|view| self.format.write(&mut self.line, view));
        self.out.write_all(&self.line)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// As `out` gives them.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::wire::examples;

    #[test]
    fn an_event_is_one_line_in_either_format() {
        for (json, expected) in
            [(true, r#"{"id":"6e0c1d0b7a5f4c3e9d8b2a1f00112233/"#), (false, "human/alice")]
        {
            let mut out = Vec::new();
            let mut printer =
                Printer::new(Format::for_file(json), examples::origin(), examples::clock, &mut out);
            for (seq, (_, event)) in (7..).zip(examples::all()) {
                printer.event(Lane::First, seq, &event).unwrap();
            }
            printer.flush().unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out.lines().count(), examples::all().len());
            assert!(out.contains(expected), "{out}");
            assert_eq!(json, out.contains("/9000000000/8\",\"seq\":8,"), "{out}");
        }
    }
}
