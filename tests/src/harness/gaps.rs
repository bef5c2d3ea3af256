//! What the agent itself says that it cannot see.

use serde_json::Value;

use super::agent;
use super::setting::{Rung, Setting};
use crate::outcome::{During, Outcome};

/// Every `not_seen` of the hooks that serve on a rung, or on the best, by `telltale doctor`; none where the rung does not
/// hold.
pub(crate) fn named(setting: &Setting, rung: Option<Rung>) -> Outcome<Vec<String>> {
    let mut args = vec!["doctor", "--json"];
    args.extend(rung.into_iter().flat_map(|rung| ["--rung", rung.name()]));
    let finished = agent::command(setting, &args)?;
    let report: Value = serde_json::from_str(&finished.stdout)
        .during(format!("read doctor's report ({})", finished.stderr))?;
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let gaps = list(&report, "capabilities").into_iter().flat_map(|capability| list(&capability, "not_seen"));
    Ok(gaps.filter_map(|gap| gap.as_str().map(str::to_owned)).collect())
}
