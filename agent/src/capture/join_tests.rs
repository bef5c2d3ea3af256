use proptest::prelude::*;

use super::*;
use crate::capture::decode::decode;
use crate::capture::testing::{Stream, actor};
use crate::model::act::Deed;

const fn at(ms: u64) -> BootTime {
    BootTime::from_ns(ms * 1_000_000)
}

fn end(cookie: u64, outcome: Outcome) -> ConnectOutcome {
    ConnectOutcome { cookie, outcome, remote: None, local: None, attempt: None }
}

fn refused(cookie: u64) -> ConnectOutcome {
    end(cookie, Outcome::Failed { errno: 111 })
}

fn aborted(cookie: u64) -> ConnectOutcome {
    end(cookie, Outcome::Unknown(UnknownOutcome::Aborted))
}

fn table() -> Join<&'static str> {
    Join::new(OUTCOME_TIMEOUT)
}

/// (payload, outcome) of what left.
fn left<'a>(ended: impl IntoIterator<Item = Ended<&'a str>>) -> Vec<(&'a str, Outcome)> {
    ended.into_iter().map(|ended| (ended.payload, ended.outcome)).collect()
}

#[test]
fn attempt_and_outcome() {
    let mut join = table();
    assert_eq!(join.attempt(7, at(1), "a"), []);
    let remote = Endpoint { address: [127, 0, 0, 1].into(), port: 80, mapped: false };
    let outcome = ConnectOutcome { remote: Some(remote), ..end(7, Outcome::Established) };
    let ended = join.outcome(at(3), outcome).unwrap();
    assert_eq!((ended.asked_at, ended.ended_at, ended.connected), (at(1), Some(at(3)), Some(remote)));
    assert_eq!((ended.outcome, join.waiting_attempts()), (Outcome::Established, 0));
    assert_eq!(join.outcome(at(4), end(7, Outcome::Established)), None);
    assert_eq!((join.counts().joined, join.counts().joined_duplicate), (1, 1));
}

#[test]
fn no_outcome_within_the_time() {
    let mut join = table();
    join.attempt(7, at(0), "a");
    assert_eq!(join.next_deadline(), Some(at(130_000)));
    assert_eq!(join.expire(at(129_999)), []);
    let timed_out = Outcome::Unknown(UnknownOutcome::TimedOut(OUTCOME_TIMEOUT));
    assert_eq!(left(join.expire(at(130_000))), [("a", timed_out)]);
    assert_eq!(join.outcome(at(131_000), refused(7)), None);
    assert_eq!(join.counts().outcome_too_late, 1);
}

#[test]
fn a_socket_that_asks_again_ends_its_older_attempt() {
    let mut join = table();
    join.attempt(7, at(0), "a");
    assert_eq!(left(join.attempt(7, at(1), "b")), [("a", Outcome::Unknown(UnknownOutcome::Aborted))]);
    assert_eq!(left(join.outcome(at(2), refused(7))), [("b", Outcome::Failed { errno: 111 })]);
    assert_eq!(join.attempt(7, at(3), "c"), []);
    assert_eq!(left(join.outcome(at(4), end(7, Outcome::Established))), [("c", Outcome::Established)]);
}

#[test]
fn a_full_table_waits_for_no_more() {
    let mut join = Join::with_capacity(OUTCOME_TIMEOUT, 1);
    join.attempt(1, at(0), "a");
    assert_eq!(left(join.attempt(2, at(0), "b")), [("b", Outcome::Unknown(UnknownOutcome::NotWaitedFor))]);
    assert_eq!(join.outcome(at(1), refused(2)), None);
    assert_eq!((join.counts().attempts_overflowed, join.counts().outcome_too_late), (1, 1));
    assert_eq!(left(join.outcome(at(1), refused(1))), [("a", Outcome::Failed { errno: 111 })]);
}

#[test]
fn an_abort_learns_its_errno_from_the_next_hook() {
    let mut join = table();
    join.attempt(7, at(0), "a");
    assert_eq!(join.outcome(at(1), aborted(7)), None);
    assert_eq!((join.waiting_attempts(), join.waiting_outcomes()), (1, 1));
    let unreachable = end(7, Outcome::Failed { errno: 101 });
    assert_eq!(left(join.outcome(at(1), unreachable)), [("a", Outcome::Failed { errno: 101 })]);
    assert_eq!((join.counts().joined, join.counts().joined_duplicate), (1, 1));

    join.attempt(8, at(10), "b");
    join.outcome(at(11), aborted(8));
    assert_eq!(join.expire(at(30)), []);
    let ended = join.expire(at(31));
    assert_eq!(
        (ended[0].outcome, ended[0].ended_at),
        (Outcome::Unknown(UnknownOutcome::Aborted), Some(at(11)))
    );
}

#[test]
fn an_outcome_may_be_a_little_early_or_alone() {
    let mut join = table();
    assert_eq!(join.outcome(at(1), refused(7)), None);
    assert_eq!(join.waiting_outcomes(), 1);
    assert_eq!(left(join.attempt(7, at(0), "a")), [("a", Outcome::Failed { errno: 111 })]);

    join.outcome(at(1), refused(8));
    join.expire(at(51));
    assert_eq!(join.counts().outcome_without_attempt, 0);
    join.expire(at(52));
    assert_eq!((join.counts().outcome_without_attempt, join.waiting_outcomes()), (1, 0));
}

fn telling(cookie: u64) -> ConnectOutcome {
    let bytes = Stream::new(5_000_000).outcome_of(cookie, &actor(4_242, 1));
    let Deed::ConnectOutcome(outcome) = decode(&bytes).unwrap().deed else { panic!() };
    outcome
}

#[test]
fn an_outcome_that_says_what_was_attempted_is_told_alone_once() {
    let mut join = table();
    assert_eq!(join.outcome(at(1), telling(8)), None);
    assert!(join.take_alone().is_empty(), "its attempt may come yet");
    join.expire(at(52));
    let alone = join.take_alone();
    assert_eq!(alone.len(), 1);
    let (seen_at, outcome) = &alone[0];
    let begun = outcome.attempt.as_ref().unwrap();
    assert_eq!((*seen_at, outcome.cookie, begun.attempt.actor.process.pid), (at(1), 8, 4_242));
    assert_eq!((join.counts().told_by_outcome, join.counts().outcome_without_attempt), (1, 0));
    // Another hook tells the same end.
    assert_eq!(join.outcome(at(53), telling(8)), None);
    join.expire(at(500));
    assert!(join.take_alone().is_empty());
    assert_eq!(join.counts().joined_duplicate, 1);
    // The attempt itself comes at last; another of that socket is another.
    assert!(
        join.was_told_alone(8, at(0)) && !join.was_told_alone(8, at(2)) && !join.was_told_alone(9, at(0))
    );
    join.attempt(8, at(2), "next");
    assert!(!join.was_told_alone(8, at(0)), "its own outcome is waited for");
}

#[test]
fn what_an_earlier_agent_has_read_is_not_waited_for() {
    let mut join = table();
    let asked_at = telling(8).attempt.unwrap().asked_at;
    join.begin_at(later(asked_at, Duration::from_nanos(1)));
    assert_eq!(join.outcome(at(1), telling(8)), None);
    assert_eq!((join.take_alone().len(), join.waiting_outcomes()), (1, 0));
    join.begin_at(asked_at);
    assert_eq!(join.outcome(at(1), telling(9)), None);
    assert_eq!((join.take_alone().len(), join.waiting_outcomes()), (0, 1));
}

#[test]
fn stop_lets_everything_go() {
    let mut join = table();
    join.attempt(1, at(1), "a");
    join.attempt(2, at(0), "b");
    join.attempt(3, at(2), "c");
    join.outcome(at(3), aborted(3));
    join.outcome(at(3), refused(9));
    let not_waited = Outcome::Unknown(UnknownOutcome::NotWaitedFor);
    assert_eq!(
        left(join.drain()),
        [("c", Outcome::Unknown(UnknownOutcome::Aborted)), ("b", not_waited), ("a", not_waited)]
    );
    assert_eq!((join.waiting_attempts(), join.waiting_outcomes()), (0, 0));
    assert_eq!(join.counts().outcome_without_attempt, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Attempt(u64),
    Outcome(u64, u8),
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u64..12).prop_map(Step::Attempt),
        4 => (0u64..12, 0u8..3).prop_map(|(cookie, kind)| Step::Outcome(cookie, kind)),
        1 => Just(Step::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: each attempt leaves exactly once, each outcome is in exactly one figure.
    #[test]
    fn nothing_is_lost_or_told_twice(
        steps in prop::collection::vec((step(), 0u64..40), 0..200),
        capacity in 1usize..8,
    ) {
        let mut join = Join::with_capacity(Duration::from_millis(100), capacity);
        let (mut attempts, mut outcomes, mut now) = (0u64, 0u64, 0u64);
        let mut told = Vec::new();
        for (step, wait) in steps {
            now += wait;
            match step {
                Step::Attempt(cookie) => {
                    told.extend(join.attempt(cookie, at(now), attempts));
                    attempts += 1;
                }
                Step::Outcome(cookie, kind) => {
                    outcomes += 1;
                    let outcome = match kind {
                        0 => refused(cookie),
                        1 => aborted(cookie),
                        _ => end(cookie, Outcome::Established),
                    };
                    told.extend(join.outcome(at(now), outcome));
                }
                Step::Expire => told.extend(join.expire(at(now))),
            }
            let counts = join.counts();
            prop_assert_eq!(attempts, told.len() as u64 + join.waiting_attempts());
            prop_assert_eq!(
                attempts,
                counts.attempts_with_outcome + counts.attempts_timed_out + counts.attempts_overflowed
                    + counts.attempts_superseded + counts.attempts_drained + join.waiting_attempts()
            );
            prop_assert_eq!(
                outcomes,
                counts.joined + counts.joined_duplicate + counts.outcome_too_late
                    + counts.outcome_without_attempt + join.waiting_outcomes()
            );
        }
        told.extend(join.drain());
        let mut payloads: Vec<u64> = told.into_iter().map(|ended| ended.payload).collect();
        payloads.sort_unstable();
        prop_assert_eq!(payloads, (0..attempts).collect::<Vec<_>>());
    }
}
