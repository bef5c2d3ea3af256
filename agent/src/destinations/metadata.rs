//! Where the clouds' metadata services are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::act::Endpoint;
use crate::model::destination::MetadataService;

const HTTP: u16 = 80;
/// Where Azure's host answers its guest agent besides.
const HOST_PLUGIN: u16 = 32_526;

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(first: u16, second: u16, last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, last))
}

/// Address and ports of each. DNS and NTP, which some have at the same addresses, are none of it.
const PLACES: [(IpAddr, &[u16], MetadataService); 8] = [
    // EC2, <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>; Google, Azure, OpenStack,
    // Oracle, DigitalOcean and Hetzner have theirs at the same address.
    (v4(169, 254, 169, 254), &[HTTP], MetadataService::Instance),
    (v6(0xfd00, 0xec2, 0x254), &[HTTP], MetadataService::Instance),
    // <https://cloud.google.com/compute/docs/metadata/querying-metadata>
    (v6(0xfd20, 0xce, 0x254), &[HTTP], MetadataService::Instance),
    // <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>
    (v4(169, 254, 170, 2), &[HTTP], MetadataService::EcsTask),
    // <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
    (v4(169, 254, 170, 23), &[HTTP], MetadataService::EksPodIdentity),
    (v6(0xfd00, 0xec2, 0x23), &[HTTP], MetadataService::EksPodIdentity),
    // <https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>
    (v4(168, 63, 129, 16), &[HTTP, HOST_PLUGIN], MetadataService::AzureWireServer),
    // <https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata>
    (v4(100, 100, 100, 200), &[HTTP], MetadataService::AlibabaInstance),
];

/// The service that is at an address; none is told by its name.
pub(super) fn service_at(endpoint: Endpoint) -> Option<MetadataService> {
    let is_it = |(address, ports, _): &&(IpAddr, &[u16], MetadataService)| {
        *address == endpoint.address && ports.contains(&endpoint.port)
    };
    PLACES.iter().find(is_it).map(|(_, _, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, port: u16) -> Option<MetadataService> {
        let address = address.parse().expect("an address");
        service_at(Endpoint { address, port, mapped: false })
    }

    #[test]
    fn services_are_known_by_address_and_port() {
        assert_eq!(at("169.254.169.254", 80), Some(MetadataService::Instance));
        assert_eq!(at("fd00:ec2::254", 80), Some(MetadataService::Instance));
        assert_eq!(at("169.254.170.2", 80), Some(MetadataService::EcsTask));
        assert_eq!(at("fd00:ec2::23", 80), Some(MetadataService::EksPodIdentity));
        assert_eq!(at("168.63.129.16", 32_526), Some(MetadataService::AzureWireServer));
        assert_eq!(at("169.254.169.254", 53), None);
        assert_eq!(at("169.254.169.253", 80), None);
    }

    #[test]
    fn each_service_has_a_place() {
        let all = MetadataService::ALL;
        assert!(all.iter().all(|service| PLACES.iter().any(|(_, _, other)| other == service)));
    }
}
