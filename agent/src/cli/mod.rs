//! The command line: one file a command, and how events are shown.

pub mod collect;
pub mod credentials;
pub mod doctor;
mod fit;
mod line;
pub mod print;
pub mod render;
pub mod replay;
pub mod run;
pub mod summary;
pub mod who;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// What is said without `TELLTALE_LOG`: what goes wrong, and that delivery goes well again.
const DEFAULT_LOG: &str = "warn,agent::ship=info,agent::kube=info";

/// Tells who did what on this host, and why: which workload identity opened a connection or touched a credential.
#[derive(Debug, Parser)]
#[command(name = "telltale", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Collect(collect::CollectArgs),
    Doctor(doctor::DoctorArgs),
    Replay(replay::ReplayArgs),
    Who(who::WhoArgs),
    Credentials(credentials::CredentialsArgs),
}

/// Parses the command line and runs it.
///
/// Exit status: 0 done, 1 failed or unhealthy, 2 usage or configuration, 4 a privilege is missing, and those of
/// [`crate::app::StartError::exit_code`].
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("TELLTALE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    let outcome = match arguments.command {
        Command::Run(args) => run::run(&args).map_err(|error| (error.to_string(), error.exit_code())),
        Command::Collect(args) => collect::run(&args).map_err(|error| (error.to_string(), error.exit_code())),
        Command::Doctor(args) => return ExitCode::from(doctor::run(&args)),
        Command::Who(args) => who::run(&args).map_err(|error| (error.to_string(), error.exit_code())),
        Command::Credentials(args) => {
            credentials::run(&args).map_err(|error| (error.to_string(), error.exit_code()))
        }
        Command::Replay(args) => replay::run(&args).map_err(|error| (error.to_string(), error.exit_code())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((message, code)) => {
            let _ = writeln!(io::stderr(), "telltale: {message}");
            ExitCode::from(code)
        }
    }
}
