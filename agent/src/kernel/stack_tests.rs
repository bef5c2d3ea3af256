//! The stack that chains of calls need, as kernels count it (`check_max_stack_depth` of kernel/bpf/verifier.c): 5.10 is
//! tried in no usual run, and a compiler that no longer inlines something is enough to exceed it.

use std::collections::{BTreeMap, BTreeSet};

use aya_obj::generated::bpf_insn;

use super::{OBJECT, OBJECT_FOR_5_10, OBJECT_WITHOUT_LSM};

/// `MAX_BPF_STACK`.
const LIMIT: u32 = 512;
/// What a frame is rounded up to; newer kernels round to 16 where the stack is not the interpreter's.
const ROUNDED_TO: u32 = 32;
/// Call, load of an address, stores and loads, copy, addition (`linux/bpf.h`).
const CALL: u8 = 0x85;
const LOAD_ADDRESS: u8 = 0x18;
const COPY: u8 = 0xbf;
const ADD: u8 = 0x07;
const CLASSES: u8 = 0x07;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
/// A call's target, and an address's, is a function of the program.
const PSEUDO_CALL: u8 = 1;
const PSEUDO_FUNCTION: u8 = 4;
const FRAME: u8 = 10;

/// Of each function of a program, by where it begins: the stack that it uses, and the functions that it calls.
type Functions = BTreeMap<usize, (u32, BTreeSet<usize>)>;

fn target(at: usize, instruction: &bpf_insn) -> Option<usize> {
    let is_function = match instruction.code {
        CALL => instruction.src_reg() == PSEUDO_CALL,
        LOAD_ADDRESS => instruction.src_reg() == PSEUDO_FUNCTION,
        _ => false,
    };
    if !is_function {
        return None;
    }
    at.checked_add_signed(isize::try_from(instruction.imm).unwrap() + 1)
}

fn functions(instructions: &[bpf_insn]) -> Functions {
    let mut functions: Functions = [(0, (0, BTreeSet::new()))].into();
    for (at, instruction) in instructions.iter().enumerate() {
        if let Some(target) = target(at, instruction) {
            functions.entry(target).or_default();
        }
    }
    let mut copied = None;
    for (at, instruction) in instructions.iter().enumerate() {
        let (_, (stack, calls)) = functions.range_mut(..=at).next_back().unwrap();
        calls.extend(target(at, instruction));
        let of_frame = match instruction.code & CLASSES {
            LDX => instruction.src_reg() == FRAME,
            ST | STX => instruction.dst_reg() == FRAME,
            _ => false,
        };
        let offset = if of_frame {
            i32::from(instruction.off)
        } else if instruction.code == ADD && copied == Some(instruction.dst_reg()) {
            instruction.imm
        } else {
            0
        };
        *stack = (*stack).max((-offset.min(0)).unsigned_abs());
        let copies = instruction.code == COPY && instruction.src_reg() == FRAME;
        copied = copies.then(|| instruction.dst_reg());
    }
    functions
}

fn deepest(functions: &Functions, at: usize, known: &mut BTreeMap<usize, u32>) -> u32 {
    if let Some(depth) = known.get(&at) {
        return *depth;
    }
    let (stack, calls) = &functions[&at];
    // The kernel refuses recursion, so this ends.
    let below = calls.iter().map(|call| deepest(functions, *call, known)).max().unwrap_or(0);
    let depth = (*stack).max(1).next_multiple_of(ROUNDED_TO) + below;
    known.insert(at, depth);
    depth
}

#[test]
fn no_chain_of_calls_needs_more_stack_than_kernels_give() {
    for (object, name) in
        [(OBJECT, "all"), (OBJECT_WITHOUT_LSM, "without LSM"), (OBJECT_FOR_5_10, "for 5.10")]
    {
        let mut parsed = aya_obj::Object::parse(object).unwrap();
        let text = parsed.functions.keys().map(|(section, _)| *section).collect();
        parsed.relocate_calls(&text).unwrap();
        let mut deepest_of_all = 0;
        for (program, parts) in &parsed.programs {
            let instructions = &parsed.functions[&parts.function_key()].instructions;
            let depth = deepest(&functions(instructions), 0, &mut BTreeMap::new());
            assert!(depth <= LIMIT, "{program} ({name}) needs {depth} bytes of stack, and may have {LIMIT}");
            deepest_of_all = deepest_of_all.max(depth);
        }
        assert!(deepest_of_all > 2 * ROUNDED_TO, "no calls were found in the object {name}");
    }
}

#[test]
fn frames_are_found_and_added_up() {
    let instruction = |code, destination: u8, source: u8, off, imm| bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(destination, source),
        off,
        imm,
    };
    let program = [
        instruction(CALL, 0, PSEUDO_CALL, 0, 2),
        instruction(COPY, 2, FRAME, 0, 0),
        instruction(ADD, 2, 0, 0, -40),
        instruction(0x7b, FRAME, 1, -8, 0),
        instruction(LOAD_ADDRESS, 1, PSEUDO_FUNCTION, 0, 1),
        instruction(0, 0, 0, 0, 0),
        instruction(0x79, 1, FRAME, -200, 0),
    ];
    let found = functions(&program);
    assert_eq!(
        found.iter().map(|(at, (stack, _))| (*at, *stack)).collect::<Vec<_>>(),
        [(0, 40), (3, 8), (6, 200)]
    );
    assert_eq!(deepest(&found, 0, &mut BTreeMap::new()), 64 + 32 + 224);
}
