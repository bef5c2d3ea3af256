//! Names: DNS answers, ClientHellos, and the file that names the servers.

use agent::names::tls::Hello;
use agent::names::{dns, resolvers, tls};
use proptest::prelude::*;

use super::fuzz;

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

fn label(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    labels.chain([0]).collect()
}

fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    [owner, &[0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8], data].concat()
}

pub(super) fn answers() -> Vec<Vec<u8>> {
    let answer = |records: &[Vec<u8>]| {
        let head = [0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        [&head[..], &label("api.example.com"), &[0, 1, 0, 1], &records.concat()].concat()
    };
    const ASKED: [u8; 2] = [0xc0, 12];
    vec![
        answer(&[record(&ASKED, 1, &[192, 0, 2, 1]), record(&ASKED, 28, &[7; 16])]),
        answer(&[
            record(&ASKED, 5, &label("edge.example.net")),
            record(&label("edge.example.net"), 5, &[0xc0, 16]),
            record(&[0xc0, 16], 1, &[192, 0, 2, 1]),
        ]),
        answer(&vec![record(&ASKED, 1, &[192, 0, 2, 1]); 70]),
        answer(&[record(&ASKED, 16, b"\x05texts"), record(&[0], 41, &[])]),
    ]
}

#[test]
fn dns_answers() {
    fuzz(answers(), |bytes| {
        if let Ok(read) = dns::read(bytes) {
            prop_assert!(read.addresses.len() <= dns::RECORDS && read.name.len() <= dns::NAME_BYTES);
            prop_assert!(!read.name.is_empty() && is_plain(&read.name), "{}", read.name);
        }
        Ok(())
    });
}

pub(super) fn hellos() -> Vec<Vec<u8>> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let name = [&[0][..], &with_length(b"api.example.com")].concat();
    let extensions = [
        &[0, 43, 0, 3, 2, 3, 4][..],
        &[0, 0],
        &with_length(&with_length(&name)),
        &[0, 16, 0, 5, 0, 3, 2, b'h', b'2'],
    ];
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[4, 1, 2, 3, 4],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &with_length(&extensions.concat()),
    ];
    let message = [&[1, 0][..], &with_length(&body.concat())].concat();
    let in_records = |size: usize| -> Vec<u8> {
        message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &with_length(piece)].concat()).collect()
    };
    vec![in_records(usize::MAX), in_records(1), in_records(20)]
}

#[test]
fn client_hellos() {
    fuzz(hellos(), |bytes| {
        let whole = tls::read(bytes);
        if let Hello::Name(name) = &whole {
            prop_assert!(!name.is_empty() && name.len() <= 4 * 255 && is_plain(name), "{name}");
        }
        // However it is cut into pieces, what was read of the first is what is read of all.
        for length in (0..bytes.len()).step_by(7) {
            let part = tls::read(&bytes[..length]);
            prop_assert!(
                part == Hello::Unfinished || part == whole,
                "{part:?} of {length} bytes, {whole:?} of all"
            );
        }
        Ok(())
    });
}

#[test]
fn resolver_configuration() {
    let seeds =
        vec![b"# text\nsearch example.com\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n".to_vec()];
    fuzz(seeds, |bytes| {
        let servers = resolvers::parse(bytes);
        prop_assert!(!servers.is_empty() && servers.len() <= 16);
        Ok(())
    });
}
