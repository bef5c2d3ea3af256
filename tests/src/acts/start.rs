//! A program that starts another, as agents and wrappers do.

use std::process::{Command, Stdio};

use clap::Args;

use crate::outcome::{During, Outcome, ensure};

#[derive(Args)]
pub(crate) struct StartArgs {
    /// Its standard input is a pipe.
    #[arg(long)]
    piped: bool,
    /// What, with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Starts it and waits for it; it says itself what it does.
pub(super) fn perform(args: &StartArgs) -> Outcome {
    let Some((program, rest)) = args.command.split_first() else { return Ok(()) };
    let stdin = if args.piped { Stdio::piped() } else { Stdio::inherit() };
    let mut started = Command::new(program).args(rest).stdin(stdin).spawn().during(program)?;
    let ended = started.wait().during(program)?;
    ensure(ended.success(), || format!("{program} ended with {ended}"))
}
