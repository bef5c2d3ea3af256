//! The figures, for people and for machines, and what follows from them.

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};
use serde::Serialize;

use super::{Figure, InsnError, Rung, baseline::Change};

/// Figures beside their baseline.
#[derive(Debug)]
pub(super) struct Report {
    /// The guest's kernel.
    pub(super) kernel: String,
    /// The kernel that the baseline was measured on.
    pub(super) baseline_kernel: Option<String>,
    /// Each with what was accepted.
    pub(super) figures: Vec<(Figure, Option<i64>)>,
}

#[derive(Serialize)]
struct Json<'a> {
    kernel: &'a str,
    baseline_kernel: Option<&'a str>,
    figures: Vec<JsonFigure<'a>>,
}

#[derive(Serialize)]
struct JsonFigure<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    over_budget: bool,
    baseline: Option<i64>,
    change: Change,
}

impl Report {
    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let figures = self.figures.iter().map(|(figure, was)| JsonFigure {
            figure,
            over_budget: over_budget(figure),
            baseline: *was,
            change: Change::of(*was, figure.added),
        });
        let json = Json {
            kernel: &self.kernel,
            baseline_kernel: self.baseline_kernel.as_deref(),
            figures: figures.collect(),
        };
        // Texts and numbers alone: nothing that JSON could not hold.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// A table a rung, and what to know about it.
    pub(super) fn table(&self) -> String {
        let mut text = format!("Instructions added, kernel {}", self.kernel);
        match &self.baseline_kernel {
            Some(baseline) if *baseline == self.kernel => {}
            Some(baseline) => {
                text.push_str(&format!(" (no baseline of its own: compared with that of {baseline})"));
            }
            None => text.push_str(" (no baseline)"),
        }
        for rung in Rung::ALL {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(header(rung));
            for (figure, was) in self.figures.iter().filter(|(figure, _)| figure.rung == rung) {
                table.add_row(row(figure, *was));
            }
            text.push_str(&format!("\n\n{table}"));
        }
        let over = self.figures.iter().filter(|(figure, _)| over_budget(figure)).count();
        text.push_str(&format!("\n\n{over} of {} figures are over their budget.", self.figures.len()));
        let most = self.figures.iter().map(|(figure, _)| figure).max_by_key(|figure| figure.drift.abs());
        if let Some(Figure { path, drift, .. }) = most {
            text.push_str(&format!(" Without the agent, before and after: at most {drift:+} ({path})"));
        }
        text
    }

    /// Whether the figures may stay.
    ///
    /// # Errors
    /// Where they are worse than the baseline, or have none.
    pub(super) fn verdict(&self) -> Result<(), InsnError> {
        let of = |change| {
            self.figures.iter().filter(move |(figure, was)| Change::of(*was, figure.added) == change)
        };
        let worse: Vec<_> = of(Change::Worse)
            .map(|(figure, was)| {
                let was = was.unwrap_or_default();
                let (rung, by) = (figure.rung.name(), figure.added - was);
                format!("  {} ({rung}): was {was}, is {} ({by:+})", figure.path, figure.added)
            })
            .collect();
        if let (Some(kernel), false) = (&self.baseline_kernel, worse.is_empty()) {
            return Err(InsnError::Worse { kernel: kernel.clone(), worse });
        }
        let new: Vec<_> =
            of(Change::New).map(|(figure, _)| format!("{} ({})", figure.path, figure.rung.name())).collect();
        if new.is_empty() {
            return Ok(());
        }
        let what = if self.baseline_kernel.is_none() { "anything".to_owned() } else { new.join(", ") };
        Err(InsnError::NoBaseline { kernel: self.kernel.clone(), what })
    }
}

fn over_budget(figure: &Figure) -> bool {
    figure.budget.is_some_and(|budget| figure.added > budget)
}

fn header(rung: Rung) -> Vec<Cell> {
    let bold = |text: &str| Cell::new(text).add_attribute(Attribute::Bold);
    let names = ["without", "with", "added", "budget", "baseline", "change"];
    let right = |name: &&str| bold(name).set_alignment(CellAlignment::Right);
    std::iter::once(bold(rung.name())).chain(names.iter().map(right)).collect()
}

fn row(figure: &Figure, was: Option<i64>) -> Vec<Cell> {
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut added = right(figure.added.to_string());
    let mut budget = right(number(figure.budget));
    if over_budget(figure) {
        (added, budget) = (added.fg(Color::Yellow), budget.fg(Color::Yellow));
    }
    let by = was.map(|was| figure.added - was);
    let change = match Change::of(was, figure.added) {
        Change::New => right("new".to_owned()).fg(Color::Yellow),
        Change::Same => right(by.map_or_else(String::new, |by| format!("{by:+}"))),
        Change::Worse => right(by.map_or_else(String::new, |by| format!("{by:+} worse"))).fg(Color::Red),
        Change::Better => right(by.map_or_else(String::new, |by| format!("{by:+} better"))).fg(Color::Green),
    };
    vec![
        Cell::new(figure.what),
        right(figure.without.instructions.to_string()),
        right(figure.with.instructions.to_string()),
        added,
        budget,
        right(number(was)),
        change,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::figures::Cost;
    use super::*;

    fn report(kernel: Option<&str>, figures: &[(i64, Option<i64>)]) -> Report {
        let cost = |instructions| Cost { instructions, p10: instructions, p90: instructions };
        let figure = |&(added, was): &(i64, Option<i64>)| {
            let (without, with) = (cost(5_827), cost(5_827 + added));
            let (path, what) = ("open_again", "open of a file opened before");
            (Figure { rung: Rung::Lsm, path, what, without, with, added, drift: -2, budget: Some(300) }, was)
        };
        Report {
            kernel: "6.12.117-1".to_owned(),
            baseline_kernel: kernel.map(str::to_owned),
            figures: figures.iter().map(figure).collect(),
        }
    }

    #[test]
    fn what_is_dearer_is_named_with_what_it_was_and_is() {
        let report = report(Some("6.12.100-1"), &[(322, Some(320)), (400, Some(322))]);
        let error = report.verdict().unwrap_err().to_string();
        assert!(error.contains("open_again (lsm): was 322, is 400 (+78)"), "{error}");
        assert!(error.contains("6.12.100-1") && error.contains("--accept"), "{error}");
        assert_eq!(error.matches("was").count(), 1, "{error}");
    }

    #[test]
    fn a_missing_baseline_is_a_failure_that_says_what_to_do() {
        for (kernel, named) in [(None, "anything"), (Some("6.12.117-1"), "open_again (lsm)")] {
            let error = report(kernel, &[(322, None)]).verdict().unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("bench insn --accept"), "{error}");
        }
    }

    #[test]
    fn cheaper_and_over_budget_are_told_and_no_failure() {
        let report = report(Some("6.12.117-1"), &[(500, Some(900)), (299, Some(299))]);
        report.verdict().unwrap();
        let table = report.table();
        assert!(table.contains("-400 better"), "{table}");
        assert!(table.contains("1 of 2 figures are over their budget"), "{table}");
        assert!(table.ends_with("at most -2 (open_again)"), "{table}");
    }

    #[test]
    fn another_kernels_baseline_is_said_to_be_one() {
        let table = report(Some("6.12.100-1"), &[(322, Some(322))]).table();
        assert!(table.contains("no baseline of its own: compared with that of 6.12.100-1"), "{table}");
        assert!(report(None, &[(322, None)]).table().contains("(no baseline)"));
    }

    #[test]
    fn machines_get_numbers() {
        let json = report(Some("6.12.117-1"), &[(322, Some(300))]).json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let figure = &value["figures"][0];
        assert_eq!(figure["rung"], "lsm");
        assert_eq!(figure["without"]["p90"], 5_827);
        assert_eq!((&figure["added"], &figure["baseline"]), (&322.into(), &300.into()));
        assert_eq!((&figure["over_budget"], &figure["change"]), (&true.into(), &"worse".into()));
    }
}
