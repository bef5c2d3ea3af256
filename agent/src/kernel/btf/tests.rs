//! Lookups in synthetic types, and in damaged ones.

use proptest::prelude::*;

use super::synthetic::{INT, LONG, Member, Synthetic};
use super::*;
use crate::kernel::offsets;

/// 20,000 found nothing; these are for what changes.
const CASES: u32 = 200;

const STORED: &[u8] = include_bytes!("../../../tests/data/btf/6.12.btf");

fn types(synthetic: &Synthetic) -> KernelTypes {
    KernelTypes::parse(&synthetic.bytes()).expect("synthetic types parse")
}

fn integer(offset: u32, size: u32) -> Located {
    Located { offset, size, shape: Shape::Integer }
}

#[test]
fn nested_and_anonymous_parts_and_modifiers_are_followed() {
    let mut synthetic = Synthetic::new();
    let leaf = synthetic.modified("leaf_t", INT);
    let deepest = synthetic.composite("", 8, &[Member::at("hidden", leaf, 4)]);
    let anonymous = synthetic.composite("", 16, &[Member::at("", deepest, 8), Member::at("open", LONG, 0)]);
    let inner =
        synthetic.composite("inner", 24, &[Member::at("", anonymous, 8), Member::at("head", LONG, 0)]);
    let inner = synthetic.modified("inner_t", inner);
    synthetic.composite("outer", 64, &[Member::at("pad", LONG, 0), Member::at("nest", inner, 32)]);
    let types = types(&synthetic);
    assert_eq!(types.locate("outer.nest.hidden").expect("found"), integer(32 + 8 + 8 + 4, 4));
    assert_eq!(types.locate("outer.nest.open").expect("found"), integer(32 + 8, 8));
    let nest = types.locate("outer.nest").expect("found");
    assert_eq!(nest, Located { offset: 32, size: 24, shape: Shape::Composite("inner".to_owned()) });
    assert_eq!(types.locate("outer").expect("found").size, 64);
}

#[test]
fn arrays_are_entered_only_where_the_path_says_so() {
    let mut synthetic = Synthetic::new();
    let element = synthetic.composite("element", 16, &[Member::at("value", LONG, 8)]);
    let (array, flexible) = (synthetic.array(element, 3), synthetic.array(element, 0));
    let members = [Member::at("array", array, 8), Member::at("flexible", flexible, 56)];
    synthetic.composite("outer", 56, &members);
    let types = types(&synthetic);
    let array = types.locate("outer.array").expect("found");
    let shape = Shape::Array(Box::new(Shape::Composite("element".to_owned())));
    assert_eq!(array, Located { offset: 8, size: 48, shape });
    assert_eq!(types.locate("outer.flexible").expect("found").offset, 56);
    assert_eq!(types.locate("outer.array[].value").expect("found"), integer(16, 8));
    assert!(matches!(types.locate("outer.array.value"), Err(LookupError::NotComposite { .. })));
    assert!(matches!(types.locate("element.value[]"), Err(LookupError::NotArray { .. })));
}

#[test]
fn pointers_are_never_followed() {
    let mut synthetic = Synthetic::new();
    let inner = synthetic.composite("inner", 8, &[Member::at("value", LONG, 0)]);
    let pointer = synthetic.pointer(inner);
    synthetic.composite("outer", 8, &[Member::at("inner", pointer, 0)]);
    assert!(matches!(types(&synthetic).locate("outer.inner.value"), Err(LookupError::NotComposite { .. })));
}

#[test]
fn a_bit_field_is_refused_and_its_neighbour_is_not() {
    let mut synthetic = Synthetic::new();
    synthetic.composite("outer", 8, &[Member::bits("flag", INT, 0, 1), Member::at("whole", INT, 4)]);
    let types = types(&synthetic);
    assert!(matches!(types.locate("outer.flag"), Err(LookupError::BitField { .. })));
    assert_eq!(types.locate("outer.whole").expect("found"), integer(4, 4));
}

#[test]
fn structures_of_one_name_must_agree() {
    let mut synthetic = Synthetic::new();
    synthetic.composite("twin", 8, &[Member::at("same", INT, 4), Member::at("moved", INT, 0)]);
    synthetic.composite("twin", 16, &[Member::at("same", INT, 4), Member::at("moved", INT, 8)]);
    synthetic.composite("twin", 16, &[Member::at("alone", INT, 12)]);
    let types = types(&synthetic);
    assert_eq!(types.locate("twin.same").expect("found"), integer(4, 4));
    assert_eq!(types.locate("twin.alone").expect("found"), integer(12, 4));
    assert!(matches!(types.locate("twin.moved"), Err(LookupError::Ambiguous { .. })));
    assert!(matches!(types.locate("twin.none"), Err(LookupError::NoMember { .. })));
    assert!(matches!(types.locate("none.twin"), Err(LookupError::NoStructure { .. })));
}

#[test]
fn a_module_is_asked_where_the_kernel_does_not_know() {
    let mut base = Synthetic::new();
    let shared = base.composite("shared", 8, &[Member::at("value", LONG, 0)]);
    let mut module = Synthetic::split(&base);
    module.composite("of_module", 16, &[Member::at("shared", shared, 8)]);
    module.composite("shared", 8, &[Member::at("value", INT, 4)]);
    let mut types = types(&base);
    assert!(types.locate("of_module.shared.value").is_err());
    types.parse_module("m", &module.bytes()).expect("module's types parse");
    assert_eq!(types.locate("of_module.shared.value").expect("found"), integer(8, 8));
    assert_eq!(types.locate("shared.value").expect("found"), integer(0, 8));
}

#[test]
fn circles_end() {
    let mut synthetic = Synthetic::new();
    let own = synthetic.next_id();
    synthetic.composite("circle", 8, &[Member::at("", own, 0), Member::at("", own, 0)]);
    let alias = synthetic.next_id();
    synthetic.alias("alias", alias);
    let array = synthetic.next_id();
    synthetic.array(array, 1);
    synthetic.composite("outer", 8, &[Member::at("alias", alias, 0), Member::at("array", array, 0)]);
    let types = types(&synthetic);
    for path in ["circle.none", "outer.alias", "outer.array"] {
        assert!(matches!(types.locate(path), Err(LookupError::TooComplex)), "{path}");
    }
}

#[test]
fn what_is_no_btf_is_an_error_that_names_the_file() {
    let Err(error) = KernelTypes::read(std::path::Path::new("/nonexistent")) else {
        panic!("read what does not exist");
    };
    assert!(error.to_string().contains("/nonexistent/vmlinux"), "{error}");
    assert!(error.to_string().contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
    for bytes in [&b""[..], b"\x7fELF", &STORED[..100], &[0xff; 4096]] {
        assert!(matches!(KernelTypes::parse(bytes), Err(BtfError::Parse { .. })));
    }
    assert!(matches!(check_length("m", MAX_BTF_BYTES + 1), Err(BtfError::TooLarge { .. })));
}

/// Types come first, then strings: a stray byte in a string mostly ends the parsing.
fn strings_start() -> usize {
    24 + u32::from_le_bytes(STORED[12..16].try_into().expect("four bytes")) as usize
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    /// No damage panics or loops, in the parser or in a lookup of the whole table.
    #[test]
    fn damaged_types_never_panic(
        bytes in prop::collection::vec((24..strings_start(), any::<u8>()), 1..6),
        text in prop::option::weighted(0.2, (strings_start()..STORED.len(), any::<u8>())),
        header in prop::option::weighted(0.2, (4..24usize, any::<u8>())),
        end in prop::option::weighted(0.2, 0..STORED.len()),
    ) {
        let mut damaged = STORED.to_vec();
        for (at, value) in bytes.into_iter().chain(text).chain(header) {
            damaged[at] = value;
        }
        damaged.truncate(end.unwrap_or(STORED.len()));
        if let Ok(types) = KernelTypes::parse(&damaged) {
            let resolved = offsets::resolve(&types);
            prop_assert_eq!(resolved.found.len() + resolved.missing.len(), offsets::TABLE.len());
        }
    }

    /// Random bytes after a sound header, as a module too.
    #[test]
    fn random_types_never_panic(noise in prop::collection::vec(any::<u8>(), 0..2000), cut in 0..2000u32) {
        let length = noise.len() as u32;
        let cut = cut.min(length);
        let header = [0xeb9f | 1 << 16, 24, 0, cut, cut, length - cut];
        let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).chain(noise).collect();
        if let Ok(types) = KernelTypes::parse(&bytes) {
            offsets::resolve(&types);
        }
        let mut types = KernelTypes::parse(&Synthetic::new().bytes()).expect("synthetic types parse");
        if types.parse_module("noise", &bytes).is_ok() {
            offsets::resolve(&types);
        }
    }
}
