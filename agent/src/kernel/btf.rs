//! Types of the running kernel, looked up by path: `sock.__sk_common.skc_cookie.counter`.
//!
//! A path is a structure's name, then members. A lookup strips `const`, `volatile`, `restrict`, `typedef` and type
//! tags, descends into anonymous structures and unions, adds up nested offsets, and refuses bit-fields. `member[]`
//! steps into an array's element; without it an array is an end. Pointers are never followed.
//!
//! The data comes from the kernel and is trusted, and yet nothing here panics or runs long on damaged data: the
//! input is bounded by [`MAX_BTF_BYTES`], a lookup by [`MAX_LOOKUP_STEPS`] and [`MAX_DEPTH`].

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use btf_rs::{Btf, BtfType, Member, Struct, Type};

/// Where a kernel shows its types: `vmlinux`, and a file for each module.
pub const BTF_DIRECTORY: &str = "/sys/kernel/btf";

/// Largest BTF taken. Distribution kernels have 3 to 6 MiB; with every driver built in, about 20.
pub const MAX_BTF_BYTES: u64 = 64 << 20;

/// Types and members that one lookup looks at before it gives up. `task_struct`, the largest that is read, has
/// about 300 members; the bound keeps damaged data from costing more than a few milliseconds a lookup.
pub const MAX_LOOKUP_STEPS: usize = 1 << 16;

/// Longest chain of modifiers, and deepest nest of anonymous structures, that is followed.
pub const MAX_DEPTH: usize = 32;

/// Both architectures that are supported have these.
const POINTER_BYTES: u64 = 8;

/// The kernel's types could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read: most often the kernel has no BTF.
    #[error(
        "cannot read the kernel's types from {path}: {source}; the kernel must be built with \
         CONFIG_DEBUG_INFO_BTF=y, and /sys must be mounted"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Larger than [`MAX_BTF_BYTES`].
    #[error("the types of {name} are larger than {MAX_BTF_BYTES} bytes: this is not a kernel's BTF")]
    TooLarge {
        /// `vmlinux` or the module.
        name: String,
    },
    /// Not BTF, or damaged.
    #[error(
        "the types of {name} cannot be parsed: {source}; the file is damaged, or newer than this program"
    )]
    Parse {
        /// `vmlinux` or the module.
        name: String,
        /// The reason.
        source: btf_rs::Error,
    },
}

/// A path could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Neither the kernel nor a module that was added has it.
    #[error("the kernel has no structure {name}")]
    NoStructure {
        /// The structure's name.
        name: String,
    },
    /// The structure lacks the member, also in its anonymous parts.
    #[error("{structure} has no member {member}")]
    NoMember {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
    },
    /// The path goes on, but the member is no structure.
    #[error("{member} is no structure")]
    NotComposite {
        /// The member.
        member: String,
    },
    /// The path has `[]`, but the member is no array.
    #[error("{member} is no array")]
    NotArray {
        /// The member.
        member: String,
    },
    /// The path goes through, or ends at, a bit-field.
    #[error("{member} is a bit-field")]
    BitField {
        /// The member.
        member: String,
    },
    /// The member does not begin at a byte, or ends beyond its structure.
    #[error("{member} does not lie at whole bytes within its structure")]
    Misplaced {
        /// The member.
        member: String,
    },
    /// The type has no size: a function, a forward declaration, `void`.
    #[error("{member} has no size")]
    NoSize {
        /// The member.
        member: String,
    },
    /// Several structures of this name have the member at different places.
    #[error("several structures of that name differ in {path}")]
    Ambiguous {
        /// The whole path.
        path: String,
    },
    /// [`MAX_LOOKUP_STEPS`] or [`MAX_DEPTH`] was passed: the data runs in a circle.
    #[error("the types are nested too deep: the data is damaged")]
    TooComplex,
    /// A type or a name that is referred to does not exist.
    #[error("the data is damaged: {0}")]
    Damaged(btf_rs::Error),
}

/// What a type is, modifiers stripped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer, character or boolean.
    Integer,
    /// An enumeration.
    Enumeration,
    /// A pointer, and to what.
    Pointer(Box<Shape>),
    /// A structure or union by name, also a forward-declared one; anonymous: empty.
    Composite(String),
    /// An array, and of what.
    Array(Box<Shape>),
    /// `void`, or anything that nothing is read from: functions, floats.
    Opaque,
}

/// Where a member is, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Bytes from the start of the outermost structure.
    pub offset: u32,
    /// Bytes; 0 for a flexible array.
    pub size: u32,
    /// Its type.
    pub shape: Shape,
}

/// The kernel's types: those of `vmlinux`, then of modules.
pub struct KernelTypes {
    base: Btf,
    modules: Vec<Btf>,
}

impl KernelTypes {
    /// Reads `vmlinux` in `directory` ([`BTF_DIRECTORY`] on a live host).
    ///
    /// # Errors
    /// The file is missing, unreadable, too large, or no BTF.
    pub fn read(directory: &Path) -> Result<Self, BtfError> {
        Self::parse(&read_bounded(directory, "vmlinux")?)
    }

    /// Takes the whole contents of a `vmlinux` BTF file.
    ///
    /// # Errors
    /// Too large, or no BTF.
    pub fn parse(vmlinux: &[u8]) -> Result<Self, BtfError> {
        check_length("vmlinux", vmlinux.len() as u64)?;
        let base = Btf::from_bytes(vmlinux)
            .map_err(|source| BtfError::Parse { name: "vmlinux".to_owned(), source })?;
        Ok(Self { base, modules: Vec::new() })
    }

    /// Reads a loaded module's types too. They are asked where `vmlinux` does not know a path.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_module(&mut self, directory: &Path, module: &str) -> Result<(), BtfError> {
        self.parse_module(module, &read_bounded(directory, module)?)
    }

    /// Takes the whole contents of a module's BTF file.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_module(&mut self, module: &str, bytes: &[u8]) -> Result<(), BtfError> {
        check_length(module, bytes.len() as u64)?;
        let split = Btf::from_split_bytes(bytes, &self.base)
            .map_err(|source| BtfError::Parse { name: module.to_owned(), source })?;
        self.modules.push(split);
        Ok(())
    }

    /// Finds a path such as `file.f_path`; a structure's name alone gives its size, at offset 0.
    ///
    /// # Errors
    /// [`LookupError`]; where several structures bear the name, that of the first.
    pub fn locate(&self, path: &str) -> Result<Located, LookupError> {
        let (name, members) = path.split_once('.').unwrap_or((path, ""));
        let mut first_error = None;
        let steps = Cell::new(0);
        for btf in std::iter::once(&self.base).chain(&self.modules) {
            let section = btf.split().unwrap_or_else(|| btf.base());
            let mut found = None;
            for candidate in section.resolve_types_by_name(name).map_err(LookupError::Damaged)? {
                let (Type::Struct(_) | Type::Union(_)) = &candidate else { continue };
                match (Walk { btf, steps: &steps }).walk(candidate, name, members) {
                    Ok(place) if found.as_ref().is_some_and(|other| *other != place) => {
                        return Err(LookupError::Ambiguous { path: path.to_owned() });
                    }
                    Ok(place) => found = Some(place),
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
            }
            if let Some(place) = found {
                return Ok(place);
            }
        }
        Err(first_error.unwrap_or_else(|| LookupError::NoStructure { name: name.to_owned() }))
    }
}

fn check_length(name: &str, length: u64) -> Result<(), BtfError> {
    if length > MAX_BTF_BYTES {
        return Err(BtfError::TooLarge { name: name.to_owned() });
    }
    Ok(())
}

/// Files in sysfs may be unreadable by `mmap` and tell no true length: read, and stop at the bound.
fn read_bounded(directory: &Path, name: &str) -> Result<Vec<u8>, BtfError> {
    let path = directory.join(name);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_BTF_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| BtfError::Read { path, source })?;
    check_length(name, bytes.len() as u64)?;
    Ok(bytes)
}

/// One lookup, bounded.
struct Walk<'a> {
    btf: &'a Btf,
    /// Types and members looked at so far, by all walks of one lookup.
    steps: &'a Cell<usize>,
}

impl Walk<'_> {
    fn walk(&self, root: Type, name: &str, members: &str) -> Result<Located, LookupError> {
        self.charge(&root)?;
        let (mut here, mut here_name) = (root, name);
        let mut bits: u64 = 0;
        for segment in members.split('.').filter(|segment| !segment.is_empty()) {
            let (member_name, element) = match segment.strip_suffix("[]") {
                Some(array) => (array, true),
                None => (segment, false),
            };
            let misplaced = || LookupError::Misplaced { member: member_name.to_owned() };
            let (Type::Struct(outer) | Type::Union(outer)) = &here else {
                return Err(LookupError::NotComposite { member: here_name.to_owned() });
            };
            let (member_bits, member) = self.find_member(outer, member_name, 0)?.ok_or_else(|| {
                LookupError::NoMember { structure: here_name.to_owned(), member: member_name.to_owned() }
            })?;
            if member.bitfield_size().is_some_and(|width| width != 0) {
                return Err(LookupError::BitField { member: member_name.to_owned() });
            }
            let inner = self.target(&member)?;
            let end = member_bits + self.size(&inner, member_name, 0)? * 8;
            if !member_bits.is_multiple_of(8) || end > outer.size() as u64 * 8 {
                return Err(misplaced());
            }
            bits = bits.checked_add(member_bits).ok_or_else(misplaced)?;
            here = match inner {
                Type::Array(array) if element => self.target(&array)?,
                _ if element => return Err(LookupError::NotArray { member: member_name.to_owned() }),
                other => other,
            };
            here_name = member_name;
        }
        let narrow =
            |value| u32::try_from(value).map_err(|_| LookupError::Misplaced { member: here_name.to_owned() });
        Ok(Located {
            offset: narrow(bits / 8)?,
            size: narrow(self.size(&here, here_name, 0)?)?,
            shape: self.shape(&here, 0)?,
        })
    }

    /// The member and its bits from the start of `outer`. Named members go before those of anonymous parts.
    fn find_member(
        &self,
        outer: &Struct,
        name: &str,
        depth: usize,
    ) -> Result<Option<(u64, Member)>, LookupError> {
        if depth > MAX_DEPTH {
            return Err(LookupError::TooComplex);
        }
        let mut anonymous = Vec::new();
        for member in &outer.members {
            let member_name = self.name(member)?;
            if member_name == name {
                return Ok(Some((u64::from(member.bit_offset()), member.clone())));
            }
            if member_name.is_empty() {
                anonymous.push(member);
            }
        }
        for member in anonymous {
            let (Type::Struct(inner) | Type::Union(inner)) = self.target(member)? else { continue };
            if let Some((bits, found)) = self.find_member(&inner, name, depth + 1)? {
                // Each addend is 32 bits wide, and there are few: no overflow.
                return Ok(Some((bits + u64::from(member.bit_offset()), found)));
            }
        }
        Ok(None)
    }

    /// The type that `referrer` refers to, modifiers stripped.
    fn target<T: BtfType + ?Sized>(&self, referrer: &T) -> Result<Type, LookupError> {
        let mut here = self.follow(referrer)?;
        for _ in 0..MAX_DEPTH {
            here = match &here {
                Type::Const(t) | Type::Volatile(t) | Type::Restrict(t) => self.follow(t)?,
                Type::Typedef(t) => self.follow(t)?,
                Type::TypeTag(t) => self.follow(t)?,
                _ => return Ok(here),
            };
        }
        Err(LookupError::TooComplex)
    }

    fn follow<T: BtfType + ?Sized>(&self, referrer: &T) -> Result<Type, LookupError> {
        let next = self.btf.resolve_chained_type(referrer).map_err(LookupError::Damaged)?;
        self.charge(&next)?;
        Ok(next)
    }

    /// Counts a type and its members, all of which were copied.
    fn charge(&self, copied: &Type) -> Result<(), LookupError> {
        let members = match copied {
            Type::Struct(t) | Type::Union(t) => t.members.len(),
            Type::Enum(t) => t.members.len(),
            Type::Enum64(t) => t.members.len(),
            Type::FuncProto(t) => t.parameters.len(),
            Type::Datasec(t) => t.variables.len(),
            _ => 0,
        };
        self.steps.set(self.steps.get().saturating_add(1 + members));
        if self.steps.get() > MAX_LOOKUP_STEPS {
            return Err(LookupError::TooComplex);
        }
        Ok(())
    }

    fn size(&self, of: &Type, member: &str, depth: usize) -> Result<u64, LookupError> {
        if depth > MAX_DEPTH {
            return Err(LookupError::TooComplex);
        }
        Ok(match of {
            Type::Int(t) => t.size() as u64,
            Type::Struct(t) | Type::Union(t) => t.size() as u64,
            Type::Enum(t) => t.size() as u64,
            Type::Enum64(t) => t.size() as u64,
            Type::Float(t) => t.size() as u64,
            Type::Ptr(_) => POINTER_BYTES,
            Type::Array(array) => {
                let element = self.size(&self.target(array)?, member, depth + 1)?;
                element
                    .checked_mul(array.len() as u64)
                    .filter(|bytes| *bytes <= u64::from(u32::MAX))
                    .ok_or_else(|| LookupError::Misplaced { member: member.to_owned() })?
            }
            _ => return Err(LookupError::NoSize { member: member.to_owned() }),
        })
    }

    fn shape(&self, of: &Type, depth: usize) -> Result<Shape, LookupError> {
        // Deeper than a pointer to a pointer to a structure, no reader asks.
        if depth > 2 {
            return Ok(Shape::Opaque);
        }
        Ok(match of {
            Type::Int(_) => Shape::Integer,
            Type::Enum(_) | Type::Enum64(_) => Shape::Enumeration,
            Type::Struct(t) | Type::Union(t) => Shape::Composite(self.name(t)?),
            Type::Fwd(t) => Shape::Composite(self.name(t)?),
            Type::Ptr(t) => Shape::Pointer(Box::new(self.shape(&self.target(t)?, depth + 1)?)),
            Type::Array(t) => Shape::Array(Box::new(self.shape(&self.target(t)?, depth + 1)?)),
            _ => Shape::Opaque,
        })
    }

    fn name(&self, of: &dyn BtfType) -> Result<String, LookupError> {
        self.btf.resolve_name(of).map_err(LookupError::Damaged)
    }
}

#[cfg(test)]
pub(super) mod synthetic;
#[cfg(test)]
mod tests;
