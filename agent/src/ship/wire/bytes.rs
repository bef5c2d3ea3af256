//! Values whose MessagePack form is not what serde would derive.

use std::fmt;
use std::net::IpAddr;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::bytes::RawBytes;

/// Bytes as a process wrote them: `str` where they are UTF-8, `bin` where they are not. Both are read back exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WireBytes(pub RawBytes);

impl WireBytes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<&RawBytes> for WireBytes {
    fn from(bytes: &RawBytes) -> Self {
        Self(bytes.clone())
    }
}

impl Serialize for WireBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(self.as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for WireBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = WireBytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or bytes")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<WireBytes, E> {
                Ok(WireBytes(RawBytes::from(text)))
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<WireBytes, E> {
                Ok(WireBytes(RawBytes::from(bytes)))
            }
        }
        deserializer.deserialize_any(Bytes)
    }
}

/// An IP address: `bin` of 4 or 16 bytes, in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireAddress(pub IpAddr);

impl Serialize for WireAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            IpAddr::V4(address) => serializer.serialize_bytes(&address.octets()),
            IpAddr::V6(address) => serializer.serialize_bytes(&address.octets()),
        }
    }
}

impl<'de> Deserialize<'de> for WireAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Address;
        impl Visitor<'_> for Address {
            type Value = WireAddress;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address of 4 or 16 bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<WireAddress, E> {
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
                address.map(WireAddress).map_err(|_| E::invalid_value(Unexpected::Bytes(bytes), &self))
            }
        }
        deserializer.deserialize_bytes(Address)
    }
}

/// Reads an array of at most `MAX` elements. Without it, four megabytes of one-byte elements would be hundreds of
/// megabytes in memory.
pub(super) fn bounded<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {MAX} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = elements.next_element()? {
                if all.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                all.push(element);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, MAX>(std::marker::PhantomData))
}
