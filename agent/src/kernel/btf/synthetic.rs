//! Writes small BTF for tests, laid out as `include/uapi/linux/btf.h` says: types that no kernel has.

/// Id of `int`, which every [`Synthetic`] begins with: four bytes.
pub(in crate::kernel) const INT: u32 = 1;
/// Id of `long`, which follows: eight bytes.
pub(in crate::kernel) const LONG: u32 = 2;

const HEADER_BYTES: u32 = 24;
const SIGNED: u32 = 1 << 24;
const HAS_BIT_FIELDS: u32 = 1 << 31;

/// A member of a structure.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Member {
    name: &'static str,
    type_id: u32,
    bit_offset: u32,
    bit_field: u32,
}

impl Member {
    /// A member `bytes` from the start.
    pub(in crate::kernel) fn at(name: &'static str, type_id: u32, bytes: u32) -> Self {
        Self { name, type_id, bit_offset: bytes * 8, bit_field: 0 }
    }

    /// A bit-field of `width`.
    pub(in crate::kernel) fn bits(name: &'static str, type_id: u32, bytes: u32, width: u32) -> Self {
        Self { name, type_id, bit_offset: bytes * 8, bit_field: width }
    }
}

/// BTF in the making. Ids are given in order.
pub(in crate::kernel) struct Synthetic {
    words: Vec<u32>,
    strings: Vec<u8>,
    last_id: u32,
    first_string: u32,
}

impl Synthetic {
    /// With [`INT`] and [`LONG`].
    pub(in crate::kernel) fn new() -> Self {
        let mut new = Self { words: Vec::new(), strings: vec![0], last_id: 0, first_string: 0 };
        new.push("int", 1, 0, 4, &[SIGNED | 32]);
        new.push("long", 1, 0, 8, &[SIGNED | 64]);
        new
    }

    /// Of a module, on top of `base`.
    pub(in crate::kernel) fn split(base: &Self) -> Self {
        let first_string = base.strings.len() as u32;
        Self { words: Vec::new(), strings: vec![0], last_id: base.last_id, first_string }
    }

    fn text(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, name: &str, kind: u32, low_and_flag: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.text(name);
        self.words.extend([name, kind << 24 | low_and_flag, size_or_type]);
        self.words.extend(rest);
        self.last_id += 1;
        self.last_id
    }

    /// The id that the next type gets, for types that refer to themselves.
    pub(in crate::kernel) fn next_id(&self) -> u32 {
        self.last_id + 1
    }

    /// A structure.
    pub(in crate::kernel) fn composite(&mut self, name: &str, bytes: u32, members: &[Member]) -> u32 {
        let with_bits = members.iter().any(|member| member.bit_field != 0);
        let rest: Vec<u32> = members
            .iter()
            .flat_map(|member| {
                [self.text(member.name), member.type_id, member.bit_field << 24 | member.bit_offset]
            })
            .collect();
        let flag = if with_bits { HAS_BIT_FIELDS } else { 0 };
        self.push(name, 4, flag | members.len() as u32, bytes, &rest)
    }

    /// A pointer.
    pub(in crate::kernel) fn pointer(&mut self, to: u32) -> u32 {
        self.push("", 2, 0, to, &[])
    }

    /// An array.
    pub(in crate::kernel) fn array(&mut self, of: u32, length: u32) -> u32 {
        self.push("", 3, 0, 0, &[of, INT, length])
    }

    /// A structure that is only declared.
    pub(in crate::kernel) fn forward(&mut self, name: &str) -> u32 {
        self.push(name, 7, 0, 0, &[])
    }

    /// `name`, `volatile`, `const`, `restrict` and a type tag around `of`.
    pub(in crate::kernel) fn modified(&mut self, name: &str, of: u32) -> u32 {
        let tag = self.push("rcu", 18, 0, of, &[]);
        let restrict = self.push("", 11, 0, tag, &[]);
        let constant = self.push("", 10, 0, restrict, &[]);
        let volatile = self.push("", 9, 0, constant, &[]);
        self.push(name, 8, 0, volatile, &[])
    }

    /// An alias.
    pub(in crate::kernel) fn alias(&mut self, name: &str, of: u32) -> u32 {
        self.push(name, 8, 0, of, &[])
    }

    /// The file.
    pub(in crate::kernel) fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.words.len() as u32 * 4, self.strings.len() as u32);
        let header = [0xeb9f | 1 << 16, HEADER_BYTES, 0, types, types, strings];
        let words = header.iter().chain(&self.words);
        words.flat_map(|word| word.to_le_bytes()).chain(self.strings.iter().copied()).collect()
    }
}
