//! How large batches are. The budget (600 bytes an event, raw, averaged over batches) is asserted; the figures of the
//! module's documentation are what this prints.

use std::sync::Arc;

use super::encode::BatchBuilder;
use super::{examples, to_bytes};
use crate::model::act::Outcome;
use crate::model::event::{DatagramFlow, Event, What};
use crate::model::name::Names;
use crate::model::process::Process;

/// A batch of a mix of kinds, `events_a_process` events by each process, all below one lineage of four.
fn bytes_an_event(events: usize, events_a_process: usize) -> usize {
    let mut builder = BatchBuilder::new(&examples::origin(), 1_000_000, examples::clock());
    let lineage = examples::lineage();
    let attribution = examples::alice();
    let mut process: Option<Arc<Process>> = None;
    for number in 0..events {
        let pid = 10_000 + (number / events_a_process) as u32;
        if process.as_ref().is_none_or(|process| process.key.pid != pid) {
            let argv =
                ["curl", "-sS", "--max-time", "10", &format!("https://api.example.com/v1/items/{number}")];
            process = Some(Arc::new(examples::process(pid, "/usr/bin/curl", &argv)));
        }
        let (hook, what) = match number % 4 {
            0 | 1 => ("cgroup/connect4", What::Connection(examples::connection(Outcome::Established))),
            2 => {
                let connection = examples::connection(Outcome::Established);
                let (cookie, remote) = (number as u64, connection.asked);
                let protocol = crate::model::act::Protocol::Udp;
                (
                    "cgroup/sendmsg4",
                    What::DatagramFlow(DatagramFlow { cookie, protocol, remote, names: Names::default() }),
                )
            }
            _ => {
                let path = "/home/alice/.aws/credentials".into();
                ("lsm/file_open", What::CredentialAccess(examples::credential(path)))
            }
        };
        let mut activity = examples::activity(examples::curl(), hook, what);
        activity.process = process.clone().unwrap();
        activity.why.lineage.clone_from(&lineage);
        activity.attribution = attribution.clone();
        let event: Event = examples::event(10_000_000_000 + number as u64 * 70_000, activity);
        assert!(builder.push(1_000_000 + number as u64, &event));
    }
    let bytes = to_bytes(builder.batch()).unwrap().len();
    let estimate = builder.estimated_bytes();
    assert!((bytes..bytes * 2).contains(&estimate), "estimated {estimate} for {bytes} bytes");
    bytes / events
}

#[test]
fn an_event_costs_less_than_its_budget() {
    let shared = bytes_an_event(500, 20);
    let few = bytes_an_event(500, 3);
    let alone = bytes_an_event(500, 1);
    println!("bytes an event: {shared} at 20 events a process, {few} at 3, {alone} at 1");
    assert!(shared <= 350 && few <= 450 && alone <= 600, "{shared}, {few}, {alone}");
}
