//! The figures, for people and for machines.

use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::figures::{Figure, Step, Steps};
use super::first_line;
use super::sheets::{Budget, Form, Sheet};

/// The machine on which it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Host {
    kernel: String,
    processors: usize,
    /// What ran beside, before it began: the kernel's averages of 1, 5 and 15 minutes.
    load_average: String,
}

impl Host {
    /// This one, now.
    pub(super) fn read() -> Self {
        let averages = first_line("/proc/loadavg");
        Self {
            kernel: first_line("/proc/sys/kernel/osrelease"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load_average: averages.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

/// A whole measurement.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) sheet: &'static Sheet,
    pub(super) host: Host,
    pub(super) steps: Steps,
    /// Of each run of each step, as it was printed.
    pub(super) lines: Vec<Value>,
    /// What could not be measured, each with its reason.
    pub(super) absent: Vec<Value>,
}

/// How a figure compares with the design.
#[derive(Debug, PartialEq, Serialize)]
struct Judged {
    what: &'static str,
    step: &'static str,
    figure: &'static str,
    budget: f64,
    median: f64,
    met: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'a str,
    host: &'a Host,
    steps: &'a Steps,
    budgets: Vec<Judged>,
    disagreements: Vec<String>,
    not_run: &'a [Value],
    runs: &'a [Value],
}

impl Report {
    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let json = Json {
            bench: self.sheet.name,
            host: &self.host,
            steps: &self.steps,
            budgets: self.judged(),
            disagreements: self.disagreements(),
            not_run: &self.absent,
            runs: &self.lines,
        };
        // Texts and numbers alone: nothing that JSON could not hold.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// A table, what to know about it, and the budgets.
    pub(super) fn table(&self) -> String {
        let Self { sheet, host, steps: Steps(steps), lines, absent } = self;
        let mut rungs: Vec<&str> = lines.iter().filter_map(|line| line.get("rung")?.as_str()).collect();
        rungs.dedup();
        let mut text = format!(
            "{} (kernel {}, {} processors, rung {}, load before {})\n\n",
            sheet.title,
            host.kernel,
            host.processors,
            if rungs.is_empty() { "unknown".to_owned() } else { rungs.join(", ") },
            host.load_average,
        );
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let right =
            |title: &str| Cell::new(title).add_attribute(Attribute::Bold).set_alignment(CellAlignment::Right);
        let header = sheet.columns.iter().map(|column| right(column.title));
        table.set_header(std::iter::once(Cell::new("")).chain(header));
        for step in steps {
            let cells = sheet.columns.iter().map(|column| {
                let shown =
                    step.figure(column.figure).map_or_else(|| "-".to_owned(), |f| shown(f, column.form));
                Cell::new(shown).set_alignment(CellAlignment::Right)
            });
            table.add_row(std::iter::once(Cell::new(&step.step)).chain(cells));
        }
        text.push_str(&format!("{table}\n\n{}\n", sheet.notes));
        let runs = steps.iter().map(|step| step.runs).max().unwrap_or_default();
        if runs > 1 {
            text.push_str(&format!("Medians of {runs} runs, with the least and the most of them.\n"));
        }
        steps.iter().for_each(|step| losses(step, &mut text));
        let mut reasons: Vec<String> = absent.iter().map(not_run).collect();
        reasons.sort();
        reasons.dedup();
        reasons.iter().for_each(|reason| text.push_str(reason));
        let (met, missed): (Vec<_>, Vec<_>) = self.judged().into_iter().partition(|judged| judged.met);
        if !met.is_empty() || !missed.is_empty() {
            text.push_str(&format!("\n{} of {} budgets are met", met.len(), met.len() + missed.len()));
        }
        for Judged { what, budget, median, .. } in missed {
            text.push_str(&format!(
                "\n  not met: {what}: {} against {}",
                number(median, Form::Measure),
                number(budget, Form::Measure)
            ));
        }
        text
    }

    fn judged(&self) -> Vec<Judged> {
        let Steps(steps) = &self.steps;
        let judge = |&Budget { step, figure, most, what }| {
            let median = steps.iter().find(|one| one.step == step)?.figure(figure)?.median;
            Some(Judged { what, step, figure, budget: most, median, met: median <= most })
        };
        self.sheet.budgets.iter().filter_map(judge).collect()
    }

    /// Where accounts do not agree.
    pub(super) fn disagreements(&self) -> Vec<String> {
        let of = |line: &Value| {
            let texts = line.pointer("/account/disagreements").and_then(Value::as_array).cloned();
            let step = line.get("step").and_then(Value::as_str).unwrap_or_default().to_owned();
            let run = line.get("run").and_then(Value::as_u64).unwrap_or_default();
            let texts = texts.unwrap_or_default().into_iter();
            texts.map(move |text| format!("  {step}, run {run}: {}", text.as_str().unwrap_or_default()))
        };
        self.lines.iter().flat_map(of).collect()
    }
}

fn not_run(line: &Value) -> String {
    let text = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
    let reason: String = text("not_run").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("  not run: {}: {reason}\n", text("step"))
}

fn losses(step: &Step, text: &mut String) {
    const CAUSE: &str = "account.lost.";
    let causes = step.figures.iter().filter_map(|figure| Some((figure.name.strip_prefix(CAUSE)?, figure)));
    let causes: Vec<String> =
        causes.map(|(cause, figure)| format!("{cause} {}", shown(figure, Form::Count))).collect();
    if !causes.is_empty() {
        text.push_str(&format!("  lost in {}: {}\n", step.step, causes.join(", ")));
    }
}

/// `12.3`, or with runs that differ `12.3 (11.9–13.0)`.
fn shown(figure: &Figure, form: Form) -> String {
    let Figure { median, least, most, name: _ } = figure;
    let [median, least, most] = [median, least, most].map(|value| number(*value, form));
    if least == most { median } else { format!("{median} ({least}–{most})") }
}

fn number(value: f64, form: Form) -> String {
    match form {
        Form::Count => grouped(value.round() as u64),
        Form::Measure => match value.abs() {
            0.0 => "0".to_owned(),
            below if below < 0.995 => format!("{value:.2}"),
            below if below < 9.95 => format!("{value:.1}"),
            _ => grouped(value.round() as u64),
        },
    }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sheets::RATE;
    use super::*;
    use serde_json::json;

    fn report(lines: Vec<Value>) -> Report {
        let host = Host { kernel: "6.12".to_owned(), processors: 2, load_average: "0.1 0.2 0.3".to_owned() };
        Report { sheet: &RATE, host, steps: Steps::of(&lines), lines, absent: Vec::new() }
    }

    fn line(run: u32, percent: f64, disagreements: &[&str]) -> Value {
        json!({
            "step": "10k/s", "run": run, "rung": "lsm", "agent": {"cpu_percent": percent},
            "account": {
                "expected_events": 30_000, "lost_total": 12, "disagreements": disagreements,
                "lost": [{"cause": "kernel.file.dropped_ring_full", "count": 12}],
            },
        })
    }

    #[test]
    fn people_see_medians_spread_losses_and_budgets() {
        let table = report(vec![line(1, 4.0, &[]), line(2, 12.0, &[]), line(3, 7.0, &[])]).table();
        for shown in [
            "rung lsm",
            "7.0 (4.0–12)",
            "30,000",
            "lost in 10k/s: kernel.file.dropped_ring_full 12",
            "0 of 1 budgets are met",
            "not met: CPU of one core at 10,000 events/s: 7.0 against 5.0",
        ] {
            assert!(table.contains(shown), "{shown}: {table}");
        }
    }

    #[test]
    fn machines_get_every_run_and_the_judgement() {
        let json: Value = serde_json::from_str(&report(vec![line(1, 4.0, &[])]).json()).unwrap();
        assert_eq!(json["bench"], "rate");
        assert_eq!(json["steps"][0]["figures"][0]["name"], "account.expected_events");
        assert_eq!(json["budgets"][0]["met"], true);
        assert_eq!(json["runs"][0]["agent"]["cpu_percent"], 4.0);
    }

    #[test]
    fn disagreements_are_named_with_their_run() {
        let report = report(vec![line(1, 4.0, &[]), line(2, 4.0, &["opens: 8 against 7"])]);
        assert_eq!(report.disagreements(), ["  10k/s, run 2: opens: 8 against 7"]);
    }

    #[test]
    fn what_did_not_run_is_named_once_with_its_reason() {
        let absent = |run: u32| json!({"step": "auditd", "run": run, "not_run": "not installed:\n\u{1b}no"});
        let report = Report { absent: vec![absent(1), absent(2)], ..report(vec![line(1, 4.0, &[])]) };
        let table = report.table();
        assert_eq!(table.matches("not run: auditd: not installed:  no").count(), 1, "{table}");
    }

    #[test]
    fn numbers_are_as_long_as_they_are_good_for() {
        let cases = [(0.0, "0"), (0.123, "0.12"), (4.56, "4.6"), (9.96, "10"), (1_234.5, "1,235")];
        for (value, text) in cases {
            assert_eq!(number(value, Form::Measure), text);
        }
        assert_eq!(number(1_234_567.0, Form::Count), "1,234,567");
    }
}
