//! Keys of the kernel's keyrings.

use std::ffi::CString;
use std::io;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{deed, print};
use crate::outcome::{During, Outcome, failed};

/// Of `linux/keyctl.h`.
const SET_PERMISSIONS: libc::c_long = 5;
const READ: libc::c_long = 11;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// It is read.
    Read,
    /// It is read by somebody whom its mode does not let.
    Refused,
    /// Its length is asked for, and its keyring listed.
    Harmless,
}

#[derive(Args)]
pub(crate) struct KeyArgs {
    /// What.
    #[arg(long, default_value = "read")]
    way: Way,
    /// The key's description.
    #[arg(long)]
    description: String,
}

pub(super) fn perform(args: &KeyArgs) -> Outcome {
    let description = CString::new(args.description.as_str())?;
    let held = b"secret";
    // SAFETY: the texts and the payload live through the call.
    let made = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            description.as_ptr(),
            held.as_ptr(),
            held.len(),
            libc::KEY_SPEC_PROCESS_KEYRING,
        )
    };
    if made < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        return failed(super::UNSUPPORTED);
    }
    let serial = given(made).during("make a key")?;
    if args.way == Way::Refused {
        // SAFETY: numbers alone.
        given(unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, serial, 0) })
            .during("forbid a key")?;
    }
    let mut room = [0_u8; 64];
    let mut read = |key: libc::c_long, length: usize| {
        // SAFETY: the buffer lives through the call, and is as long.
        given(unsafe { libc::syscall(libc::SYS_keyctl, READ, key, room.as_mut_ptr(), length) })
    };
    let errno = match (args.way, read(serial, if args.way == Way::Harmless { 0 } else { 64 })) {
        (Way::Read | Way::Harmless, Ok(_)) => None,
        (Way::Refused, Err(error)) if error.raw_os_error() == Some(libc::EACCES) => Some(libc::EACCES),
        (_, read) => return failed(format!("a read of a key gave {read:?}")),
    };
    if args.way == Way::Harmless {
        read(libc::KEY_SPEC_PROCESS_KEYRING.into(), 64).during("list a keyring")?;
    }
    let facts = json!({
        "key_type": "user", "key_description": args.description, "key_description_truncated": null,
        "errno_number": errno, "outcome": if errno.is_some() { "refused" } else { "allowed" },
    });
    let event = (args.way != Way::Harmless).then_some("key_access");
    let mut deed = deed(event, json!({ "key_serial": serial }), facts)?;
    deed.facts.insert("key_uid".to_owned(), json!(deed.who.uid));
    print(&deed)?;
    Ok(())
}

fn given(number: libc::c_long) -> io::Result<libc::c_long> {
    if number < 0 { Err(io::Error::last_os_error()) } else { Ok(number) }
}
