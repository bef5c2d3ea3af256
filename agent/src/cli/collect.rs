//! `telltale collect`: receives what agents ship, and prints or writes it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::print::Format;
use super::summary::{Summary, thousands};
use crate::collect::output::{AppendFile, Output, Stdout};
use crate::collect::server::{self, Shared};
use crate::collect::{Collector, Handler, Notice};
use crate::ship::wire::{Body, View};

/// Receive events from agents, drop duplicates, check that none is missing, print or write them.
///
/// Agents are started with `telltale run --collector http://ADDRESS:PORT`. Events go to standard output or to a file;
/// messages, and a summary at the end, to standard error. `GET /status` gives the numbers as JSON.
#[derive(Args, Clone, Debug)]
pub struct CollectArgs {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4319", value_parser = address)]
    pub listen: SocketAddr,
    /// One JSON object a line instead of readable lines.
    #[arg(long)]
    pub json: bool,
    /// Append events to this file instead of printing them.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Listen on an address that other hosts can reach. Nothing authenticates agents, nothing is encrypted.
    #[arg(long)]
    pub allow_remote: bool,
    /// End after this many events.
    #[arg(long, value_name = "COUNT")]
    pub once_events: Option<u64>,
    /// End after an agent has said that it stops.
    #[arg(long)]
    pub once_stopped: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, as 127.0.0.1:4319 or [::1]:4319".to_owned())
}

/// Why nothing could be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Others could reach the address.
    #[error(
        "{address} can be reached from other hosts, and this collector neither authenticates agents nor encrypts: \
         whoever reaches it can write events at will and read its status; listen on 127.0.0.1 and forward to it \
         (ssh -R), or add --allow-remote in a network that you trust"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Another program listens there.
    #[error(
        "{address} is in use, perhaps by another `telltale collect`: end it (`ss -ltnp` names it), or choose \
         another with --listen"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// Listening failed otherwise.
    #[error(
        "listening on {address}: {source}; choose an address of this host and a port above 1023 with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// The output file could not be opened.
    #[error("opening {path} for events: {source}; choose another file with --output", path = .path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The event loop or its signals could not be had.
    #[error("starting the event loop: {0}; is a limit on descriptors or processes reached (ulimit -n, -u)?")]
    Start(io::Error),
    /// Accepting connections failed.
    #[error("accepting connections: {0}")]
    Serve(io::Error),
}

impl CollectError {
    /// The exit code of the process: 2 for usage, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotLoopback { .. } => 2,
            Self::AddressInUse { .. }
            | Self::Listen { .. }
            | Self::Output { .. }
            | Self::Start(_)
            | Self::Serve(_) => 1,
        }
    }
}

/// Collects until Ctrl-C, SIGTERM, or enough.
///
/// # Errors
/// Where nothing could be collected; see [`CollectError`].
pub fn run(args: &CollectArgs) -> Result<(), CollectError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CollectError::Start)?;
    runtime.block_on(collect(args))
}

async fn collect(args: &CollectArgs) -> Result<(), CollectError> {
    let address = args.listen;
    if !address.ip().is_loopback() && !args.allow_remote {
        return Err(CollectError::NotLoopback { address });
    }
    // Before the file is made: a collector that cannot listen leaves nothing behind.
    let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => CollectError::AddressInUse { address },
        _ => CollectError::Listen { address, source },
    })?;
    let output: Box<dyn Output> = match &args.output {
        Some(path) => Box::new(
            AppendFile::open(path).map_err(|source| CollectError::Output { path: path.clone(), source })?,
        ),
        None => Box::new(Stdout),
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CollectError::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CollectError::Start)?;
    let summary = Arc::new(Mutex::new(Summary::new()));
    let shared = Shared::new(Collector::new(output, Box::new(Printing::new(args, summary.clone()))));

    let listening = listener.local_addr().map_err(CollectError::Serve)?;
    say(&format!("collecting on http://{listening} (Ctrl-C ends)"));
    let begun = Instant::now();
    let ender = shared.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ender.end();
    });
    let served = server::serve(listener, shared.clone()).await.map_err(CollectError::Serve);
    conclude(&shared, &summary, begun);
    served
}

fn conclude(shared: &Shared, summary: &Mutex<Summary>, begun: Instant) {
    let status = shared.collector().status();
    let summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
    let coloured = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    say(summary.render(begun.elapsed(), None, coloured).trim_end());
    let missing = if status.missing == 0 { "none".to_owned() } else { thousands(status.missing) };
    say(&format!(
        "hosts {}, batches {}, duplicates dropped {}, events MISSING in their sequence: {missing}",
        status.hosts,
        thousands(status.batches),
        thousands(status.duplicates),
    ));
}

/// To standard error; a closed one is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints events, counts them, and knows when they are enough.
struct Printing {
    format: Format,
    summary: Arc<Mutex<Summary>>,
    once_events: Option<u64>,
    once_stopped: bool,
    events: u64,
    stopped: bool,
    /// The host id first heard: lines name their host once there is another.
    first_host: Option<String>,
}

impl Printing {
    fn new(args: &CollectArgs, summary: Arc<Mutex<Summary>>) -> Self {
        let format =
            if args.output.is_some() { Format::for_file(args.json) } else { Format::for_stdout(args.json) };
        let CollectArgs { once_events, once_stopped, .. } = *args;
        Self { format, summary, once_events, once_stopped, events: 0, stopped: false, first_host: None }
    }

    fn hear(&mut self, host_id: &str) {
        let Some(first) = &self.first_host else {
            self.first_host = Some(host_id.to_owned());
            return;
        };
        if let Format::Human(renderer) = &mut self.format
            && first != host_id
        {
            renderer.hosts = true;
        }
    }
}

impl Handler for Printing {
    fn encode(&mut self, out: &mut Vec<u8>, view: View<'_>) {
        self.hear(&view.batch().host.id);
        if out.is_empty() {
            self.format.resize();
        }
        self.format.write(out, view);
    }

    fn written(&mut self, view: View<'_>) {
        self.events += 1;
        self.stopped |= matches!(view.body(), Body::Status(status) if status.phase == "stop");
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).view(view);
    }

    fn notice(&mut self, notice: &Notice) {
        say(&notice.to_string());
    }

    fn enough(&self) -> bool {
        self.once_events.is_some_and(|enough| self.events >= enough) || (self.once_stopped && self.stopped)
    }
}
