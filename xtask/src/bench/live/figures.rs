//! Of every figure of a step: the median, the least and the most of its runs.

use serde::Serialize;
use serde_json::Value;

/// A figure of a step. Medians of a handful of values need no library; `hdrhistogram` counts whole numbers of many.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    /// The keys on the way to it, joined by dots: `agent.cpu_percent`. A cause of loss stands for its place in the list.
    pub(super) name: String,
    /// Of an even number of runs the mean of the two in the middle.
    pub(super) median: f64,
    /// Of all runs.
    pub(super) least: f64,
    /// Of all runs.
    pub(super) most: f64,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Step {
    /// Its name.
    pub(super) step: String,
    /// How often it was measured.
    pub(super) runs: usize,
    /// In the order in which they are first met.
    pub(super) figures: Vec<Figure>,
}

impl Step {
    /// A figure; none where no run has it.
    pub(super) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

/// Figures of a run by name.
type Leaves = Vec<(String, f64)>;

/// All steps, in the order in which they were first measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Steps(pub(super) Vec<Step>);

impl Steps {
    /// Of the lines of all runs.
    pub(super) fn of(lines: &[Value]) -> Self {
        let mut steps: Vec<(String, Vec<Leaves>)> = Vec::new();
        for line in lines {
            let name = line.get("step").and_then(Value::as_str).unwrap_or_default();
            let mut leaves = Vec::new();
            flatten(String::new(), line, &mut leaves);
            match steps.iter_mut().find(|(step, _)| step == name) {
                Some((_, runs)) => runs.push(leaves),
                None => steps.push((name.to_owned(), vec![leaves])),
            }
        }
        Self(steps.into_iter().map(|(step, runs)| of_runs(step, &runs)).collect())
    }
}

fn of_runs(step: String, runs: &[Leaves]) -> Step {
    let mut values: Vec<(String, Vec<f64>)> = Vec::new();
    for (name, value) in runs.iter().flatten() {
        match values.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(*value),
            None => values.push((name.clone(), vec![*value])),
        }
    }
    let figures = values.into_iter().filter_map(|(name, mut values)| {
        // What a run does not have of a cause of loss is nothing lost.
        if name.contains(".lost.") {
            values.resize(runs.len(), 0.0);
        }
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        Some(Figure { name, median: median(&values)?, least, most })
    });
    Step { step, runs: runs.len(), figures: figures.collect() }
}

/// Of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

fn flatten(name: String, value: &Value, into: &mut Leaves) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Number(number) if name != "run" => into.extend(number.as_f64().map(|number| (name, number))),
        Value::Object(keys) => keys.iter().for_each(|(key, value)| flatten(below(key), value, into)),
        Value::Array(items) => {
            for item in items {
                let cause = item.get("cause").and_then(Value::as_str);
                if let (Some(cause), Some(count)) = (cause, item.get("count")) {
                    flatten(below(cause), count, into);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_of_a_step_become_one() {
        let line = |step: &str, run: u32, percent: f64| json!({"step": step, "run": run, "rung": "lsm", "agent": {"cpu_percent": percent}, "delay": null});
        let lines = [line("a", 1, 3.0), line("b", 1, 7.0), line("a", 2, 1.0), line("a", 3, 2.0)];
        let Steps(steps) = Steps::of(&lines);
        assert_eq!(
            steps.iter().map(|step| (&*step.step, step.runs)).collect::<Vec<_>>(),
            [("a", 3), ("b", 1)]
        );
        assert_eq!(
            steps[0].figures,
            [Figure { name: "agent.cpu_percent".to_owned(), median: 2.0, least: 1.0, most: 3.0 }]
        );
    }

    #[test]
    fn an_even_number_of_runs_has_its_median_between_two() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!((median(&[]), median(&[5.0])), (None, Some(5.0)));
    }

    #[test]
    fn a_cause_that_a_run_does_not_have_counts_as_none_lost() {
        let line = |lost: Value| json!({"step": "a", "account": {"lost": lost}});
        let lines = [line(json!([{"cause": "ring", "count": 8}])), line(json!([])), line(json!([]))];
        let Steps(steps) = Steps::of(&lines);
        let figure = steps[0].figure("account.lost.ring").unwrap();
        assert_eq!((figure.least, figure.median, figure.most), (0.0, 0.0, 8.0));
    }
}
