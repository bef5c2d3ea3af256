//! What tests stand on: programs started and ended, streams read, truths compared.

pub(crate) mod agent;
pub(crate) mod cgroup;
pub(crate) mod child;
pub(crate) mod claim;
pub(crate) mod collector;
pub(crate) mod event;
pub(crate) mod expect;
pub(crate) mod gaps;
pub(crate) mod identity;
pub(crate) mod ledger;
pub(crate) mod leftovers;
pub(crate) mod mounts;
pub(crate) mod pin_place;
pub(crate) mod places;
pub(crate) mod privileges;
pub(crate) mod programs;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod servers;
pub(crate) mod session;
pub(crate) mod setting;
pub(crate) mod stream;
pub(crate) mod who;
