//! Cuts a kernel's BTF down to what the offset table looks at, for the data under `tests/data/btf`.
//!
//! ```text
//! cargo run --package agent --example reduce_btf -- /sys/kernel/btf/vmlinux agent/tests/data/btf/6.18.btf
//! ```
//!
//! Kept whole: every structure that a path of [`TABLE`] begins with, what its paths go through, and its anonymous
//! parts. Any other structure that is embedded keeps its name and size and loses its members; one that is only
//! pointed to becomes a forward declaration. Modifiers, arrays and bit-fields stay as they are.
//!
//! It works on the bytes as `include/uapi/linux/btf.h` lays them out, and shares no code with the resolver, so that
//! the resolver's tests do not prove it with itself. (`bpftool gen min_core_btf` does the like, but needs a program
//! with CO-RE relocations, which rustc does not emit.)
#![expect(clippy::indexing_slicing, reason = "run by hand on a kernel's own data: a panic is its report")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::{env, fs};

use agent::kernel::offsets::TABLE;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const RESTRICT: u32 = 11;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// One type as it is stored: name, `info` (members, kind, flag), size or type, and what follows in words.
#[derive(Clone, Default)]
struct Raw {
    name: String,
    info: u32,
    size_or_type: u32,
    rest: Vec<u32>,
}

impl Raw {
    fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn is_composite(&self) -> bool {
        matches!(self.kind(), STRUCT | UNION)
    }
}

/// How much of a type is kept.
#[derive(PartialEq, Eq)]
enum Extent {
    Whole,
    Shell,
    Forward,
}

struct Input {
    types: Vec<Raw>,
    strings: Vec<u8>,
}

impl Input {
    fn parse(bytes: &[u8]) -> Result<Self, Box<dyn Error>> {
        let word = |at: usize| -> Result<u32, Box<dyn Error>> {
            Ok(u32::from_le_bytes(bytes.get(at..at + 4).ok_or("truncated")?.try_into()?))
        };
        if word(0)? & 0xffff != u32::from(MAGIC) {
            return Err("not little-endian BTF".into());
        }
        let base = word(4)? as usize;
        let (mut at, types_length) = (base + word(8)? as usize, word(12)? as usize);
        let strings_start = base + word(16)? as usize;
        let strings =
            bytes.get(strings_start..strings_start + word(20)? as usize).ok_or("truncated")?.to_vec();
        let mut input = Self { types: vec![Raw::default()], strings };
        let end = at + types_length;
        while at < end {
            let (info, members) = (word(at + 4)?, (word(at + 4)? & 0xffff) as usize);
            let words = match (info >> 24) & 0x1f {
                INT | VAR | DECL_TAG => 1,
                ARRAY => 3,
                STRUCT | UNION | DATASEC | ENUM64 => members * 3,
                ENUM | FUNC_PROTO => members * 2,
                _ => 0,
            };
            let rest = (0..words).map(|i| word(at + 12 + i * 4)).collect::<Result<_, _>>()?;
            let name = input.string(word(at)?)?;
            input.types.push(Raw { name, info, size_or_type: word(at + 8)?, rest });
            at += 12 + words * 4;
        }
        Ok(input)
    }

    fn string(&self, at: u32) -> Result<String, Box<dyn Error>> {
        let tail = self.strings.get(at as usize..).ok_or("no such string")?;
        let end = tail.iter().position(|byte| *byte == 0).ok_or("unterminated string")?;
        Ok(String::from_utf8(tail[..end].to_vec())?)
    }

    /// Through modifiers and arrays, to what a member is made of.
    fn core(&self, mut id: u32) -> u32 {
        loop {
            let raw = &self.types[id as usize];
            match raw.kind() {
                TYPEDEF..=RESTRICT | TYPE_TAG => id = raw.size_or_type,
                ARRAY => id = raw.rest[0],
                _ => return id,
            }
        }
    }

    /// Ids of the structures that are kept whole.
    fn whole(&self) -> Result<HashSet<u32>, Box<dyn Error>> {
        let paths: Vec<Vec<&str>> = TABLE
            .iter()
            .flat_map(|field| field.places)
            .map(|place| place.path.split('.').map(|part| part.trim_end_matches("[]")).collect())
            .collect();
        let roots: HashSet<&str> = paths.iter().map(|path| path[0]).collect();
        let through: HashSet<&str> = paths.iter().flat_map(|path| &path[1..]).copied().collect();
        let ids = 1..u32::try_from(self.types.len())?;
        let mut queue: Vec<u32> = ids
            .filter(|id| {
                let raw = &self.types[*id as usize];
                raw.is_composite() && roots.contains(raw.name.as_str())
            })
            .collect();
        let mut whole: HashSet<u32> = queue.iter().copied().collect();
        while let Some(id) = queue.pop() {
            for member in self.types[id as usize].rest.chunks(3) {
                let (name, inner) = (self.string(member[0])?, self.core(member[1]));
                if self.types[inner as usize].is_composite()
                    && (name.is_empty() || through.contains(name.as_str()))
                    && whole.insert(inner)
                {
                    queue.push(inner);
                }
            }
        }
        Ok(whole)
    }
}

/// The types that are kept, renumbered as they are met.
struct Output<'a> {
    input: &'a Input,
    whole: HashSet<u32>,
    /// By old id, and whether a modifier's chain is pointed to: it then ends in a forward declaration.
    ids: HashMap<(u32, bool), u32>,
    forwards: HashMap<String, u32>,
    types: Vec<Raw>,
    strings: Vec<u8>,
    string_at: BTreeMap<String, u32>,
}

impl Output<'_> {
    fn text(&mut self, text: &str) -> u32 {
        if let Some(at) = self.string_at.get(text) {
            return *at;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        self.string_at.insert(text.to_owned(), at);
        at
    }

    fn keep(&mut self, id: u32, pointed_to: bool) -> Result<u32, Box<dyn Error>> {
        let input = self.input;
        let raw = &input.types[id as usize];
        let extent = match () {
            () if !raw.is_composite() || self.whole.contains(&id) => Extent::Whole,
            () if pointed_to => Extent::Forward,
            () => Extent::Shell,
        };
        // `void`; and functions, of which only pointers are members.
        if id == 0 || raw.kind() == FUNC_PROTO || (extent == Extent::Forward && raw.name.is_empty()) {
            return Ok(0);
        }
        if extent == Extent::Forward {
            if let Some(known) = self.forwards.get(&raw.name) {
                return Ok(*known);
            }
            let info = (FWD << 24) | (u32::from(raw.kind() == UNION) << 31);
            self.types.push(Raw { name: raw.name.clone(), info, ..Raw::default() });
            let new = self.types.len() as u32;
            self.forwards.insert(raw.name.clone(), new);
            return Ok(new);
        }
        let is_modifier = matches!(raw.kind(), TYPEDEF..=RESTRICT | TYPE_TAG);
        let key = (id, pointed_to && is_modifier);
        if let Some(known) = self.ids.get(&key) {
            return Ok(*known);
        }
        // Entered before its members, which may point back.
        let slot = self.types.len();
        self.types.push(Raw::default());
        self.ids.insert(key, slot as u32 + 1);
        let mut kept = raw.clone();
        match raw.kind() {
            PTR => kept.size_or_type = self.keep(raw.size_or_type, true)?,
            _ if is_modifier => kept.size_or_type = self.keep(raw.size_or_type, pointed_to)?,
            ARRAY => {
                kept.rest[0] = self.keep(raw.rest[0], false)?;
                kept.rest[1] = self.keep(raw.rest[1], false)?;
            }
            STRUCT | UNION if extent == Extent::Whole => {
                for member in kept.rest.chunks_mut(3) {
                    member[0] = self.text(&input.string(member[0])?);
                    member[1] = self.keep(member[1], false)?;
                }
            }
            STRUCT | UNION | ENUM | ENUM64 => {
                kept.info &= !0xffff;
                kept.rest.clear();
            }
            INT | FWD | FLOAT => {}
            other => return Err(format!("a member of kind {other}").into()),
        }
        self.types[slot] = kept;
        Ok(slot as u32 + 1)
    }

    fn bytes(mut self) -> Vec<u8> {
        let mut words = Vec::new();
        for raw in std::mem::take(&mut self.types) {
            words.extend([self.text(&raw.name), raw.info, raw.size_or_type]);
            words.extend(raw.rest);
        }
        let (types_length, strings_length) = (words.len() as u32 * 4, self.strings.len() as u32);
        let header =
            [u32::from(MAGIC) | 1 << 16, HEADER_BYTES as u32, 0, types_length, types_length, strings_length];
        let mut out: Vec<u8> = header.into_iter().chain(words).flat_map(u32::to_le_bytes).collect();
        out.extend(self.strings);
        out
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [_, from, to] =
        env::args().collect::<Vec<_>>().try_into().map_err(|_| "usage: reduce_btf FROM TO")?;
    let input = Input::parse(&fs::read(from)?)?;
    let whole = input.whole()?;
    let mut roots: Vec<u32> = whole.iter().copied().collect();
    roots.sort_unstable();
    let mut output = Output {
        input: &input,
        whole,
        ids: HashMap::new(),
        forwards: HashMap::new(),
        types: Vec::new(),
        strings: vec![0],
        string_at: BTreeMap::from([(String::new(), 0)]),
    };
    for root in roots {
        output.keep(root, false)?;
    }
    let bytes = output.bytes();
    println!("{to}: {} bytes", bytes.len());
    Ok(fs::write(to, bytes)?)
}
