use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::model::act::Namespaces;
use crate::model::process::CredentialIds;

const NETWORK: u64 = 1;

fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start: BootTime::from_ns(u64::from(pid)) }
}

fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint { address: address.parse().expect("an address"), port, mapped: false }
}

fn at(ns: u64) -> BootTime {
    BootTime::from_ns(ns)
}

fn listen(pid: u32, cookie: u64, bound: Endpoint) -> Listen {
    let actor = Actor {
        process: key(pid),
        tid: pid,
        ids: CredentialIds::default(),
        cgroup_id: 1,
        namespaces: Namespaces::default(),
        comm: "x".into(),
    };
    Listen { actor, cookie, network: NETWORK, bound, device: 0 }
}

/// Pids of who listens; `None` where nobody is known to, or it is not sure.
fn who(listeners: &Listeners, to: Endpoint, time: u64) -> Option<Vec<u32>> {
    match listeners.at(NETWORK, to, at(time))? {
        Found::By(holders) => Some(holders.iter().map(|holder| holder.process.pid).collect()),
        Found::Many | Found::Unsure => None,
    }
}

#[test]
fn the_best_fit_listens() {
    let mut listeners = Listeners::default();
    for (pid, address) in [(1, "0.0.0.0"), (2, "127.0.0.1"), (3, "::"), (4, "::1")] {
        listeners.begin(at(1), listen(pid, u64::from(pid), endpoint(address, 80)), false);
    }
    assert_eq!(who(&listeners, endpoint("127.0.0.1", 80), 5), Some(vec![2]));
    assert_eq!(who(&listeners, endpoint("127.0.0.2", 80), 5), Some(vec![1]));
    assert_eq!(who(&listeners, endpoint("::1", 80), 5), Some(vec![4]));
    assert_eq!(who(&listeners, endpoint("::2", 80), 5), Some(vec![3]));
    listeners.end(at(6), 1);
    assert_eq!(who(&listeners, endpoint("127.0.0.2", 80), 7), Some(vec![3]), "both families");
    assert_eq!(who(&listeners, endpoint("127.0.0.1", 81), 7), None);
    assert!(listeners.at(NETWORK + 1, endpoint("127.0.0.1", 80), at(7)).is_none(), "another namespace");
}

#[test]
fn a_port_that_is_taken_again_is_the_new_ones_from_then_on() {
    let mut listeners = Listeners::default();
    let place = endpoint("127.0.0.1", 80);
    listeners.begin(at(10), listen(1, 1, place), false);
    listeners.end(at(20), 1);
    listeners.begin(at(30), listen(2, 2, place), false);
    let times = [5, 10, 20, 25, 30, 99];
    let told = times.map(|time| who(&listeners, place, time).and_then(|pids| pids.first().copied()));
    assert_eq!(told, [None, Some(1), Some(1), None, Some(2), Some(2)]);
    // Told late, of what is forgotten, nothing is said, nor that the other was it.
    listeners.sweep(at(25 + KEPT_NS));
    assert_eq!(who(&listeners, place, 15), None);
    assert_eq!(who(&listeners, place, 31), Some(vec![2]));
}

#[test]
fn a_closed_listener_does_not_come_back_by_the_walk() {
    let mut listeners = Listeners::default();
    let place = endpoint("127.0.0.1", 80);
    listeners.end(at(20), 1);
    listeners.begin(at(21), listen(1, 1, place), true);
    assert_eq!(who(&listeners, place, 22), None);
    // Nor by the record of its beginning, if that comes behind; the same socket may listen anew.
    listeners.begin(at(19), listen(1, 1, place), false);
    assert_eq!(who(&listeners, place, 22), None);
    listeners.begin(at(23), listen(1, 1, place), false);
    assert_eq!(who(&listeners, place, 24), Some(vec![1]));
}

#[test]
fn all_that_hold_it_or_share_the_port_are_named() {
    let mut listeners = Listeners::default();
    let place = endpoint("127.0.0.1", 80);
    listeners.begin(at(1), listen(1, 1, place), true);
    listeners.begin(at(2), listen(2, 1, place), true);
    listeners.begin(at(3), listen(2, 1, place), true);
    listeners.begin(at(3), listen(3, 2, place), false);
    assert_eq!(who(&listeners, place, 9), Some(vec![1, 2, 3]));
}

#[test]
fn what_takes_the_place_of_its_maker_holds_it() {
    let mut listeners = Listeners::default();
    let place = endpoint("127.0.0.1", 80);
    listeners.begin(at(1), listen(1, 1, place), false);
    assert_eq!(listeners.held_by(key(1)), [(1, at(1))]);
    listeners.inherit(1, key(1), [Heir { process: key(5), cgroup_id: 7 }]);
    assert_eq!(who(&listeners, place, 9), Some(vec![5]));
    assert_eq!((listeners.held_by(key(1)), listeners.held_by(key(5))), (Vec::new(), vec![(1, at(1))]));
    // Who has no heir stays, for it to be told that he has ended.
    listeners.inherit(1, key(5), []);
    assert_eq!(who(&listeners, place, 9), Some(vec![5]));
}

#[test]
fn heirs_are_sought_so_often_a_second() {
    let mut listeners = Listeners::default();
    let may = (0..2 * SOUGHT_A_SECOND).filter(|number| listeners.may_seek_heirs(at(*number))).count() as u64;
    assert_eq!((may, listeners.counters().heirs_not_sought), (SOUGHT_A_SECOND, SOUGHT_A_SECOND));
    assert!(listeners.may_seek_heirs(at(SECOND_NS)));
}

#[test]
fn sockets_bound_to_interfaces_are_not_told_apart() {
    let mut listeners = Listeners::default();
    let place = endpoint("0.0.0.0", 80);
    let bound = Listen { device: 2, ..listen(1, 1, place) };
    listeners.begin(at(1), bound, false);
    assert_eq!(who(&listeners, endpoint("127.0.0.1", 80), 9), Some(vec![1]));
    listeners.begin(at(1), listen(2, 2, endpoint("::", 80)), false);
    let mut both = who(&listeners, endpoint("127.0.0.1", 80), 9).expect("two");
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
}

#[test]
fn what_may_be_wrong_is_not_told() {
    let mut listeners = Listeners::default();
    let (old, new) = (endpoint("127.0.0.1", 80), endpoint("127.0.0.1", 81));
    listeners.begin(at(1), listen(1, 1, old), false);
    listeners.doubt(at(5));
    listeners.begin(at(6), listen(2, 2, new), false);
    assert_eq!(listeners.at(NETWORK, old, at(9)), Some(Found::Unsure));
    assert_eq!(who(&listeners, new, 9), Some(vec![2]));
    assert_eq!(listeners.counters().doubted, 1);
}

#[test]
fn more_than_are_kept_are_counted_and_not_told() {
    let mut listeners = Listeners::default();
    let place = endpoint("0.0.0.0", 80);
    for cookie in 0..=LISTENERS_OF_A_PORT as u64 {
        listeners.begin(at(1), listen(1, cookie, place), false);
    }
    assert_eq!(listeners.at(NETWORK, place, at(9)), Some(Found::Many));
    assert_eq!(listeners.counters(), ListenerCounters { not_kept: 1, ..ListenerCounters::default() });

    let mut listeners = Listeners::default();
    for pid in 1..=HOLDERS as u32 + 1 {
        listeners.begin(at(1), listen(pid, 1, place), true);
    }
    assert_eq!(listeners.at(NETWORK, place, at(9)), Some(Found::Many));
    assert_eq!(listeners.counters().not_kept, 1);
}

#[test]
fn those_that_ended_make_room() {
    let mut listeners = Listeners::default();
    let place = |number: u64| {
        let port = u16::try_from(number % 60_000).expect("a port") + 1;
        let address = Ipv4Addr::from(0x7f00_0001 + u32::try_from(number / 60_000).expect("an address"));
        Endpoint { address: address.into(), port, mapped: false }
    };
    for number in 0..3 * LISTENERS as u64 {
        listeners.begin(at(number), listen(1, number, place(number)), false);
        listeners.end(at(number), number);
    }
    let last = 3 * LISTENERS as u64;
    listeners.begin(at(last), listen(2, last, place(last)), false);
    assert_eq!(who(&listeners, place(last), last), Some(vec![2]));
    assert_eq!(listeners.counters().not_kept, 0);
    assert!(listeners.by_cookie.len() <= LISTENERS);
}

#[derive(Clone, Debug)]
enum Step {
    Begin { pid: u32, cookie: u64, bound: usize, held: bool },
    End { cookie: u64 },
    Inherit { cookie: u64, from: u32, to: u32 },
    Sweep,
    Doubt,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..5_u32, 0..8_u64, 0..4_usize, any::<bool>()).prop_map(|(pid, cookie, bound, held)| Step::Begin {
            pid,
            cookie,
            bound,
            held
        }),
        (0..8_u64).prop_map(|cookie| Step::End { cookie }),
        (0..8_u64, 1..5_u32, 1..9_u32).prop_map(|(cookie, from, to)| Step::Inherit { cookie, from, to }),
        Just(Step::Sweep),
        Just(Step::Doubt),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_the_tables_agree(steps in proptest::collection::vec(step(), 0..80)) {
        let bound = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let mut listeners = Listeners::default();
        for (number, step) in steps.into_iter().enumerate() {
            let now = at(number as u64 * KEPT_NS / 3 + 1);
            match step {
                Step::Begin { pid, cookie, bound: which, held } => {
                    let place = Endpoint { address: bound[which], port: 80, mapped: false };
                    listeners.begin(now, listen(pid, cookie, place), held);
                }
                Step::End { cookie } => listeners.end(now, cookie),
                Step::Inherit { cookie, from, to } => {
                    listeners.inherit(cookie, key(from), [Heir { process: key(to), cgroup_id: 1 }]);
                }
                Step::Sweep => listeners.sweep(now),
                Step::Doubt => listeners.doubt(now),
            }
            let holders = listeners.by_cookie.values().map(|listener| listener.holders.len()).sum::<usize>();
            prop_assert_eq!(holders, listeners.holders);
            prop_assert_eq!(listeners.by_holder.values().map(Vec::len).sum::<usize>(), holders);
            let over = listeners.by_cookie.values().filter(|listener| listener.ended.is_some()).count();
            prop_assert_eq!(over, listeners.over);
            let by_port = listeners.by_port.values().flatten().map(Vec::len).sum::<usize>();
            prop_assert_eq!(by_port, listeners.by_cookie.len());
        }
    }
}
