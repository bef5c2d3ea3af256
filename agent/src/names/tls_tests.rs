//! ClientHellos of rustls, whole, in pieces and broken.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of so many bytes.
fn in_records(hello: &[u8], bytes: usize) -> Vec<u8> {
    let records = hello[5..].chunks(bytes);
    records.flat_map(|piece| [&[22, 3, 3, 0, piece.len() as u8][..], piece].concat()).collect()
}

fn named(name: &str) -> Hello {
    Hello::Name(name.into())
}

#[test]
fn the_name_is_found_as_soon_as_it_is_there() {
    let bytes = hello("API.example.com");
    assert_eq!(read(&bytes), named("api.example.com"));
    let at = bytes.windows(11).position(|window| window.eq_ignore_ascii_case(b"example.com")).unwrap() + 11;
    for length in 0..bytes.len() {
        let expected = if length < at { Hello::Unfinished } else { named("api.example.com") };
        assert_eq!(read(&bytes[..length]), expected, "{length} bytes");
    }
    assert_eq!(read(&[&bytes[..], b"what follows"].concat()), named("api.example.com"));
}

#[test]
fn records_of_any_size_are_joined() {
    let bytes = hello("api.example.com");
    for size in [1, 2, 7, 100, 255] {
        let split = in_records(&bytes, size);
        assert_eq!(read(&split), named("api.example.com"), "{size} bytes a record");
        assert_eq!(read(&split[..20]), Hello::Unfinished, "{size} bytes a record");
    }
}

/// What follows a message in its record is not read as a part of it, whether all of it is there or not.
#[test]
fn a_message_ends_where_it_says() {
    let mut bytes = hello("api.example.com");
    // The message's length: it ends behind the random.
    bytes[6..9].copy_from_slice(&[0, 0, 34]);
    for length in [60, bytes.len() - 1, bytes.len()] {
        assert_eq!(read(&bytes[..length]), Hello::Nameless, "{length} bytes");
    }
}

#[test]
fn an_address_is_no_name() {
    assert_eq!(read(&hello("192.0.2.1")), Hello::Nameless);
}

#[test]
fn what_is_no_hello_has_no_name() {
    let bytes = hello("api.example.com");
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        read(&changed)
    };
    assert_eq!(with(0, 23), Hello::Nameless);
    assert_eq!(with(1, 2), Hello::Nameless);
    assert_eq!(with(5, 2), Hello::Nameless);
    assert_eq!(read(b"GET / HTTP/1.1\r\n"), Hello::Nameless);
    assert_eq!(read(&[22, 3, 1, 0, 0].repeat(800)), Hello::Nameless);
    assert_eq!(read(&[]), Hello::Unfinished);
}

/// A ClientHello with one extension.
fn with_extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extension = [&kind.to_be_bytes()[..], &with_length(data)].concat();
    let body = [&[3, 3][..], &[0; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &with_length(&extension)].concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, 1][..], &with_length(&message)].concat()
}

fn server_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let entries = names
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &(name.len() as u16).to_be_bytes(), name].concat());
    let list: Vec<u8> = entries.collect();
    with_extension(0, &[&(list.len() as u16).to_be_bytes()[..], &list].concat())
}

#[test]
fn odd_names_are_kept_as_text_that_nothing_obeys() {
    for (names, expected) in [
        (&[(0, &b"under_score.example."[..])][..], named("under_score.example")),
        (&[(0, b"\x1b[2J\\\xff A")], named("\\027[2j\\092\\255\\032a")),
        (&[(9, b"other"), (0, b"host")], named("host")),
        (&[(0, b"first"), (0, b"second")], named("first")),
        (&[(0, b"")], Hello::Nameless),
        (&[(9, b"other")], Hello::Nameless),
        (&[], Hello::Nameless),
    ] {
        assert_eq!(read(&server_names(names)), expected, "{names:?}");
    }
    let Hello::Name(long) = read(&server_names(&[(0, &[b'a'; 300])])) else { panic!() };
    assert_eq!(long.len(), 255);
    assert_eq!(read(&with_extension(16, b"\0\x03\x02h2")), Hello::Nameless);
    assert_eq!(read(&with_extension(0, b"\0\xff\0")), Hello::Nameless);
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let _ = read(&[&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &bytes].concat());
    }

    #[test]
    fn any_change_of_a_hello_gives_text_or_none(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = in_records(&hello("api.example.com"), 100);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Hello::Name(name) = read(&bytes) {
            prop_assert!(name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) && name.len() <= 4 * 255);
        }
    }
}
