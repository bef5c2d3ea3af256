//! Which DNS servers the host is configured with.

use std::net::IpAddr;

use crate::model::act::Actor;

/// Servers of one file that count: resolvers use three.
const SERVERS: usize = 16;

/// Knows which DNS servers are the host's own choice.
pub trait Resolvers {
    /// Whether `server` is one that the host is configured with, for the network in which `asker` runs; `network` is its
    /// cookie.
    fn is_configured(&mut self, asker: &Actor, network: u64, server: IpAddr) -> bool;
}

/// The same servers for everybody.
#[derive(Clone, Debug, Default)]
pub struct Fixed(pub Vec<IpAddr>);

impl Resolvers for Fixed {
    fn is_configured(&mut self, _: &Actor, _: u64, server: IpAddr) -> bool {
        self.0.contains(&server)
    }
}

/// The servers of a resolv.conf(5). Without any, resolvers ask this host.
pub fn parse(text: &[u8]) -> Vec<IpAddr> {
    let server = |line: &[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.next() != Some(b"nameserver") {
            return None;
        }
        // An address of one link has its interface behind it.
        let address = words.next()?.split(|&byte| byte == b'%').next()?;
        std::str::from_utf8(address).ok()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
    };
    let servers: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(server).take(SERVERS).collect();
    if servers.is_empty() {
        vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]
    } else {
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_among_the_rest() {
        let text = b"# nameserver 192.0.2.1\nsearch example.com\n  nameserver\t127.0.0.53 trailing\n\
            nameserver fe80::1%eth0\nnameserver ::ffff:192.0.2.2\nnameserver nonsense\nnameservers 192.0.2.3\n\xff\n";
        let expected: Vec<IpAddr> = ["127.0.0.53", "fe80::1", "192.0.2.2"].map(|a| a.parse().unwrap()).into();
        assert_eq!(parse(text), expected);
        assert_eq!(parse(b"options edns0\n"), ["127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap()));
        assert_eq!(parse("nameserver 192.0.2.1\n".repeat(1_000).as_bytes()).len(), SERVERS);
    }
}
