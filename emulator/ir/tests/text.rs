//! Text in, text out: `tests/passes/*.ir` holds cases of the form
//!
//! ```text
//! === what is shown: pass
//! block … { … }
//! ---
//! block … { … }
//! ```
//!
//! `BLESS=1 cargo test -p emu-ir --test text` writes what the passes give now.

use std::fmt::Write as _;
use std::path::Path;

use emu_ir::pass::{Optimizer, Pass};
use emu_ir::testing::Rng;
use emu_ir::text::{parse, print};
use emu_ir::{Block, Builder, Effects, Inst, JumpKind, Op, PlainTarget, Ty, Val, verify};

static TARGET: PlainTarget = PlainTarget {
    helpers: &[
        ("pure", Effects::PURE),
        ("state", Effects::STATE),
        ("full", Effects::FULL),
        ("reads", Effects::READS),
    ],
};

/// What the pass named in the case's title makes of its input.
fn run(file: &Path, title: &str, input: &str) -> String {
    let at = format!("{}: {title}", file.display());
    let pass = title.rsplit(": ").next().and_then(|p| Pass::from_name(p.trim()));
    let pass = pass.unwrap_or_else(|| panic!("{at}: the title names no pass"));
    let mut block = parse(input, &TARGET).unwrap_or_else(|e| panic!("{at}: {e}"));
    verify(&block, &TARGET).unwrap_or_else(|e| panic!("{at}: {e}"));
    Optimizer::default().run_pass(pass, &mut block, &TARGET);
    verify(&block, &TARGET).unwrap_or_else(|e| panic!("{at}: after the pass: {e}"));
    print(&block, &TARGET).to_string()
}

#[test]
fn passes_give_the_expected_text() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passes");
    let bless = std::env::var_os("BLESS").is_some();
    let mut cases = 0;
    for entry in std::fs::read_dir(&dir).expect("the directory of cases") {
        let file = entry.expect("its entries").path();
        let text = std::fs::read_to_string(&file).expect("a text file");
        let mut blessed = String::new();
        for case in text.split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').expect("a title line");
            let (input, want) = rest.split_once("---\n").unwrap_or((rest, ""));
            let got = run(&file, title, input);
            if !bless {
                assert_eq!(got.trim(), want.trim(), "{}: {title}", file.display());
            }
            let _ = write!(blessed, "=== {title}\n{}\n---\n{}\n", input.trim_end(), got);
            cases += 1;
        }
        if bless {
            std::fs::write(&file, blessed.trim_end().to_string() + "\n").expect("writing the file");
        }
    }
    assert!(cases >= 15, "only {cases} cases found");
}

/// Every form the printer knows, in canonical spelling.
const EVERYTHING: &str = "\
block 0x401000 {
  hook_site before_block pc 0x401000 cell 0x7f00 info 0x10 detail 3
  hook_site after_read pc 0x401000 cell 0x7f40 info 0x0 detail 0 reads writes
  hook_site before_write pc 0x401000 cell 0x7f80 info 0x0 detail 0 counted within 0x5000 0x5010
  hook_site insn_exec pc 0x401000 cell 0x7fc0 info 0x0 detail 0 reads countdown
  counter_site cell 0x7f08 amount 3
  hook.i64 #0
  insn 0x401000 len 3 leads
  counter #0
  v3 = get.i64 @r0
  v4 = get.i8 @r0+1
  v5 = const.i32 0x80000000
  v6 = const.v128 0x3f800000
  v7 = add.i64 v3, 8
  v8 = mulhs.i64 v3, v7
  v9 = shl.i64 v3, v4
  v10 = neg.i32 v5
  v11 = zext.i64 i32 v5
  v12 = trunc.i8 i64 v3
  v13 = cmp.i64 le v3, 0x10
  v14 = select.i64 v13, v3, v7
  v15 = lea.i64 [v3 + v7*4 - 0x10]
  v16 = lea.i64 [v3*1]
  v17 = lea.i32 [-1]
  v18 = divu.i64 v3, v7, v8
  v19 = load.v128 wrap32 aligned [v3 + v7*8 + 0x20]
  v20 = load.i8 [0]
  hook.i8 #1 v3, v20
  v22 = cas.i64 v3, v7, v8
  insn 0x401003 len 2
  v24 = rmw.i32 xchg v3, v5
  insn 0x401005 len 2
  probe_write.i64 [v3]
  store.i64 [v3], v7
  fence
  insn 0x401007 len 2
  v30 = flags.cond ne
  v31 = flags.get cf|zf
  v32 = flags.get 0
  v33 = vec.v128 paddd v6, v19
  v34 = vec.v128 pshufd v6, 0x1b
  v35 = call.i64 full(v3, _, v5)
  v36 = call.i64 pure()
  flags.set add.i64 v3, 0xfffffffffffffff8
  flags.set sbb.i64 v3, v7, v30
  put.i8 @r0+1, v4
  put.i64 @r15, v3
  exit_if v30, 0x401010 counts 1 #0
  return_hint 0x401020
  jump_ind.call v3
}
";

#[test]
fn the_printed_form_reads_back() {
    let block = parse(EVERYTHING, &TARGET).unwrap_or_else(|e| panic!("{e}"));
    verify(&block, &TARGET).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(print(&block, &TARGET).to_string(), EVERYTHING);
}

#[test]
fn the_parser_takes_any_value_names_and_comments() {
    let loose = "; a block\nblock 16 { ; pc\n\n insn 16 len 1\n x = get.i64 @0x80\n y2 = add.i64 x, -1\n put.i64 @r0, y2\n trap syscall 17\n}\n; end\n";
    let tight = "block 0x10 {\n  insn 0x10 len 1\n  v1 = get.i64 @r0\n  v2 = add.i64 v1, 0xffffffffffffffff\n  put.i64 @r0, v2\n  trap syscall 0x11\n}\n";
    let block = parse(loose, &TARGET).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(print(&block, &TARGET).to_string(), tight);
}

#[test]
fn errors_name_line_column_and_cause() {
    let body =
        |line: &str| format!("block 0x0 {{\n  insn 0x0 len 1\n  v1 = get.i64 @r0\n  {line}\n}}\n");
    let cases = [
        (String::new(), "line 1, column 1: the block is not closed"),
        ("block 0x0 {\n  jump 0x0\n".into(), "line 2, column 1: the block is not closed"),
        ("blob".into(), "line 1, column 1: expected block, found `blob`"),
        (body("v2 = frob.i64 v1"), "line 4, column 8: unknown op `frob.i64`"),
        (body("v2 = add.i63 v1, 1"), "line 4, column 8: unknown type `i63`"),
        (body("v2 = add.i64 v9, 1"), "line 4, column 16: value `v9` is not defined above"),
        (body("v1 = add.i64 v1, 1"), "line 4, column 6: value `v1` is defined twice"),
        (body("add.i64 v1, 1"), "line 4, column 3: the result of `add` needs a name"),
        (body("v2 = fence"), "line 4, column 8: `fence` defines no value"),
        (body("v2 = add.i64 v1 1"), "line 4, column 19: expected `,`, found 0x1"),
        (body("v2 = add.i64 v1, 0xzz"), "line 4, column 20: `0xzz` is not a number"),
        (body("v2 = const.i8 256"), "line 4, column 17: 0x100 is out of range here"),
        (body("v2 = get.i64 @rax"), "line 4, column 17: unknown slot `rax`"),
        (body("v2 = call.i64 nope()"), "line 4, column 17: unknown helper `nope`"),
        (body("v2 = load.i64 [v1 + v1]"), "line 4, column 25: expected one base only"),
        (body("v2 = load.i64 [v1*3]"), "line 4, column 21: 0x3 is out of range here"),
        (body("v2 = cmp.i64 xx v1, 1"), "line 4, column 16: unknown condition `xx`"),
        (body("v2 = vec.v128 nope v1"), "line 4, column 17: unknown vector op `nope`"),
        (body("trap nope 0x0"), "line 4, column 8: unknown trap `nope`"),
        (body("hook.i64 #0"), "line 4, column 13: 0x0 is out of range here"),
        (body("fence fence"), "line 4, column 9: expected the end of the line, found `fence`"),
        (body("0xzz"), "line 4, column 3: `0xzz` is not a number"),
        (body("jump 0x0") + "jump", "line 6, column 1: expected the end of the line"),
    ];
    for (text, want) in cases {
        match parse(&text, &TARGET) {
            Ok(_) => panic!("accepted: {text}"),
            Err(e) => {
                let got = e.to_string();
                assert!(got.starts_with(want), "got `{got}`, want `{want}`, for\n{text}");
            }
        }
    }
}

#[test]
fn damaged_text_is_an_error_or_a_block() {
    let mut rng = Rng(1);
    let mut optimizer = Optimizer::default();
    let mut parsed = 0;
    for _ in 0..20_000 {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, rng.pick(b" ,;#@[]{}()=-+*._|xv0149az\n")),
                _ => bytes[at] = rng.pick(EVERYTHING.as_bytes()),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(mut block) = parse(&text, &TARGET)
            && verify(&block, &TARGET).is_ok()
        {
            assert_eq!(parse(&print(&block, &TARGET).to_string(), &TARGET).as_ref(), Ok(&block));
            optimizer.run(&mut block, &TARGET);
            parsed += 1;
        }
    }
    assert!(parsed > 500, "only {parsed} texts were still valid");
}

/// A block of arbitrary ops: the verifier must judge it, and what it lets through must be usable.
fn garbage(rng: &mut Rng) -> Block {
    let mut b = Builder::new(0x1000);
    b.insn_start(0x1000, 1);
    for (ty, slot) in [(Ty::I8, 0), (Ty::I32, 1), (Ty::I64, 2), (Ty::V128, 4)] {
        b.get(ty, PlainTarget::reg(slot));
    }
    for _ in 0..1 + rng.below(4) / 3 {
        let small =
            |rng: &mut Rng| if rng.one_in(3) { Val::NONE } else { Val(rng.below(7) as u16) };
        let mut i = Inst::new(rng.pick(&Op::ALL), rng.pick(&Ty::ALL));
        (i.a, i.b) = (small(rng), small(rng));
        i.sub = match rng.below(8) {
            0 => rng.bits() as u16,
            1..3 => rng.below(8) as u16,
            _ => 0,
        };
        i.imm = match rng.below(8) {
            0 => rng.below(256),
            1 => rng.bits(),
            2 => 0xffff_ffff,
            _ => 0,
        };
        if rng.one_in(3) {
            i = i.with_c(small(rng));
        }
        b.push(i);
    }
    b.jump(JumpKind::Jump, 0x1001);
    b.finish()
}

#[test]
fn arbitrary_ops_are_rejected_or_usable() {
    let mut rng = Rng(2);
    let mut optimizer = Optimizer::default();
    let mut valid = 0;
    for _ in 0..100_000 {
        let mut block = garbage(&mut rng);
        if verify(&block, &TARGET).is_err() {
            continue;
        }
        valid += 1;
        let text = print(&block, &TARGET).to_string();
        assert_eq!(parse(&text, &TARGET).as_ref(), Ok(&block), "{text}");
        optimizer.run(&mut block, &TARGET);
        verify(&block, &TARGET).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
    assert!(valid > 500, "only {valid} blocks were valid");
}
