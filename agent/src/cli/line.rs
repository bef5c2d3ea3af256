//! A line of coloured pieces, and where its columns stand.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::fit::{pad, width};

/// What is shown in which colour. Failures are red; credentials stand out by what their loss would mean.
pub(super) mod style {
    use super::{AnsiColor, Style};

    pub(in crate::cli) const PLAIN: Style = Style::new();
    pub(in crate::cli) const DIM: Style = Style::new().dimmed();
    pub(in crate::cli) const BOLD: Style = Style::new().bold();
    pub(in crate::cli) const GOOD: Style = AnsiColor::Green.on_default();
    pub(in crate::cli) const DOUBT: Style = AnsiColor::Yellow.on_default();
    pub(in crate::cli) const BAD: Style = AnsiColor::Red.on_default();
    pub(in crate::cli) const LOSS: Style = AnsiColor::Red.on_default().bold();

    /// Of a credential, by its sensitivity, 1 to 5.
    pub(in crate::cli) const fn sensitivity(sensitivity: u8) -> Style {
        match sensitivity {
            0..=1 => AnsiColor::Cyan.on_default(),
            2 => AnsiColor::Yellow.on_default(),
            3 => AnsiColor::Yellow.on_default().bold(),
            4 => AnsiColor::Magenta.on_default(),
            _ => AnsiColor::Magenta.on_default().bold(),
        }
    }
}

/// Coloured text.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) style: Style,
    pub(super) text: String,
}

/// A piece of a line.
pub(super) fn span(style: Style, text: impl Into<String>) -> Span {
    Span { style, text: text.into() }
}

/// Columns that pieces take.
pub(super) fn spans_width(spans: &[Span]) -> usize {
    spans.iter().map(|span| width(&span.text)).sum()
}

/// Writes pieces, padded to `columns`.
pub(super) fn write_spans(out: &mut String, spans: &[Span], columns: usize, coloured: bool) {
    for Span { style, text } in spans {
        if coloured && *style != Style::new() {
            // Writing to a string does not fail.
            let _ = write!(out, "{}{text}{}", style.render(), style.render_reset());
        } else {
            out.push_str(text);
        }
    }
    out.push_str(&pad("", columns.saturating_sub(spans_width(spans))));
}

/// Widths of the columns; where there is no terminal, the least widths, and nothing is shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) milliseconds: bool,
    pub(super) host: usize,
    pub(super) who: usize,
    pub(super) process: usize,
    pub(super) what: usize,
    /// `None`: there is no room for it.
    pub(super) why: Option<usize>,
    /// Whether what is longer than its column is shortened.
    pub(super) shorten: bool,
    /// Spaces between columns.
    pub(super) gap: usize,
}

/// Narrower than this, the lineage is left out.
const WIDTH_FOR_WHY: usize = 90;
/// Narrower than this, columns stand close and the time has no milliseconds.
const WIDTH_FOR_AIR: usize = 120;
/// No terminal is taken to be narrower.
const LEAST_WIDTH: usize = 40;

impl Columns {
    /// For a terminal of this width, or for none. `host`: whether lines name their host.
    pub(super) fn new(width: Option<usize>, host: bool) -> Self {
        let Some(width) = width.map(|width| width.max(LEAST_WIDTH)) else {
            let host = if host { 12 } else { 0 };
            let (who, process, what, why) = (24, 22, 52, Some(0));
            return Self { milliseconds: true, host, who, process, what, why, shorten: false, gap: 2 };
        };
        let airy = width >= WIDTH_FOR_AIR;
        let with_why = width >= WIDTH_FOR_WHY;
        let (time, gap) = if airy { (12, 2) } else { (8, 1) };
        let host = if host { (width / 12).clamp(4, 12) } else { 0 };
        let gaps = 3 + usize::from(with_why) + usize::from(host > 0);
        let rest = width - time - host - gap * gaps;
        let (who, process, what) = if with_why {
            ((rest * 19 / 100).min(30), (rest * 20 / 100).min(28), (rest * 38 / 100).min(60))
        } else {
            let side = rest * 26 / 100;
            (side, side, rest - side * 2)
        };
        let why = with_why.then(|| rest - who - process - what);
        Self { milliseconds: airy, host, who, process, what, why, shorten: true, gap }
    }
}
