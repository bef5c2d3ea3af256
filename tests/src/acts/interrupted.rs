//! TCP connections whose packets come by interrupt, in whatever another connection is doing on that processor: what a
//! network card does, and loopback does not.
//!
//! Loopback hands a packet over in the process that sends it. Receive packet steering has another processor interrupted
//! for it (`Documentation/networking/scaling.rst`).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::{fs, io, thread};

use clap::Args;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::connect::{How, attempt};
use super::{network, print};
use crate::harness::expect::Deed;
use crate::outcome::{During, Outcome, ensure};

#[derive(Args)]
pub(crate) struct InterruptedArgs {
    /// How many connections each thread makes, each to an address of its own.
    #[arg(long)]
    times: u16,
}

/// Two threads for each processor: one may be interrupted while the other waits.
pub(super) fn perform(args: &InterruptedArgs) -> Outcome {
    let processors = thread::available_parallelism().during("count processors")?.get();
    network::leave()?;
    thread::spawn(move || steer(processors))
        .join()
        .map_err(|_| io::Error::other("the thread panicked"))??;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).during("listen")?;
    let port = listener.local_addr()?.port();
    // Of addresses there are 254 blocks, each for a thread.
    let threads = u8::try_from(processors * 2).unwrap_or(u8::MAX).min(254);
    let connections = usize::from(threads) * usize::from(args.times);
    let deeds: Vec<Deed> = thread::scope(|scope| {
        scope.spawn(|| listener.incoming().take(connections).for_each(drop));
        let one = |thread: u8| {
            let to = move |time: u16| {
                let [high, low] = time.to_be_bytes();
                SocketAddr::from(([127, thread, high, low], port))
            };
            (1..=args.times).map(|time| attempt(to(time), How::Blocking)).collect::<Outcome<Vec<_>>>()
        };
        let threads: Vec<_> = (1..=threads).map(|thread| scope.spawn(move || one(thread))).collect();
        let mut deeds = Vec::new();
        for thread in threads {
            deeds.extend(thread.join().map_err(|_| io::Error::other("a thread panicked"))??);
        }
        Outcome::Ok(deeds)
    })?;
    ensure(deeds.len() == connections, || format!("{} of {connections} connections", deeds.len()))?;
    Ok(deeds.iter().try_for_each(print)?)
}

/// Has each processor take its share of loopback's packets. In mounts of this thread's own: a network's devices are
/// shown where the file system of devices is mounted from within it.
fn steer(processors: usize) -> Outcome {
    // SAFETY: this thread alone leaves, and ends without a look at any path but those below.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.during("make mounts")?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).during("keep mounts")?;
    mount(c"sysfs", c"/sys", c"sysfs", MountFlags::empty(), None).during("mount /sys")?;
    let all = (1_u64 << processors.min(32)) - 1;
    fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", format!("{all:x}\n")).during("steer packets")
}
