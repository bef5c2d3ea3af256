use std::path::Path;

use super::api::Decision;
use super::client::{Asking, ClientError};
use super::server::{Control, Serving};
use crate::life::lines::PAGE;
use crate::life::store::Decide;
use crate::life::tests::{Kept, add, executable};

fn serve(directory: &Path, store: &crate::life::store::Store) -> (Asking, Serving) {
    let socket = directory.join("control.sock");
    let serving = Control::bind(&socket).unwrap().serve(store.clone()).unwrap();
    (Asking::at(&socket).unwrap(), serving)
}

#[tokio::test]
async fn a_list_of_several_pages_is_told_whole() {
    let kept = Kept::new();
    let (store, thread) = kept.start();
    let many = 2 * PAGE + 7;
    add(&store, &(0..many).map(executable).collect::<Vec<_>>()).await;
    let (asking, _serving) = serve(kept.path(), &store);
    let mut names: Vec<String> =
        asking.identities().await.unwrap().into_iter().map(|line| line.identity).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), many);
    let one = asking.identity("exe/x/1006@uid:0").await.unwrap();
    assert_eq!((one.events, one.owner), (1, None));
    thread.stop();
}

#[tokio::test]
async fn whoever_runs_the_agent_decides_and_is_named() {
    let kept = Kept::new();
    let (store, thread) = kept.start();
    add(&store, &[executable(1)]).await;
    let (asking, serving) = serve(kept.path(), &store);
    let decide = |identity: &str| Decision {
        identity: identity.to_owned(),
        what: Decide::Own { owner: "team".to_owned() },
        reason: "because".to_owned(),
    };
    let line = asking.decide(&decide("exe/x/1@uid:0")).await.unwrap();
    let owned = line.owned.unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert!(owned.by.starts_with(&format!("uid {uid}")), "{}", owned.by);
    assert_eq!((line.owner.as_deref(), owned.reason.as_str()), (Some("team"), "because"));
    assert!(matches!(asking.decide(&decide("svc/none")).await, Err(ClientError::NotKnown(_))));
    // Nobody asks at a socket that is gone, nor is its file left.
    drop(serving);
    let gone = kept.path().join("control.sock");
    assert!(matches!(Asking::at(&gone), Err(ClientError::Unreachable { .. })) && !gone.exists());
    thread.stop();
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    std::fs::write(&path, "a file").unwrap();
    assert!(Control::bind(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}
