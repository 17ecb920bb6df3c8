//! Links between compiled blocks, and the versions of blocks for the flags that exits leave unstored.

use emu_ir::{Block, Ty};

use crate::JitError;
use crate::alloc::cpu_mem;
use crate::asm::Asm;
use crate::exits::{Exit, ExitKind, NO_FLAGS};
use crate::jit::{BlockId, CodeBlock, CompiledBlock, ExitId, Jit, NIL};
use crate::pins::{home, members, part};
use crate::recipes::FlagRecipe;

/// Most versions of a block beside the ordinary one.
const VERSIONS: usize = 4;

/// Flags that a version of a block can be compiled for. Valid until the next flush.
#[derive(Clone, Copy, Debug)]
pub struct Wish(FlagRecipe);

impl Jit {
    /// Lets `exit` jump to `to` directly. Exits that cannot be linked are left alone.
    pub fn link(&mut self, exit: ExitId, to: BlockId) {
        let n = exit.0;
        let Some(rec) = self.exits.get(n as usize).copied() else { return };
        let Some(target) = self.blocks.get(to.0 as usize).copied() else { return };
        if rec.exit.kind != ExitKind::Direct || !target.valid || rec.to != NIL {
            return;
        }
        let version = self.recipe(&rec.exit).and_then(|r| self.version(to, r));
        let short = version.is_some();
        let to = version.unwrap_or(to);
        let target = self.blocks[to.0 as usize];
        let Some(at) = self.way(&rec.exit, &target) else { return };
        if short {
            self.arena.set_jump(rec.exit.short, at);
        } else {
            self.arena.patch(rec.exit.patch, at);
        }
        let head = target.incoming;
        if head != NIL {
            self.exits[head as usize].prev = n;
        }
        let rec = &mut self.exits[n as usize];
        rec.to = to.0;
        rec.short = short;
        rec.next = head;
        rec.prev = NIL;
        self.blocks[to.0 as usize].incoming = n;
    }

    /// Where an exit enters `target`: its head, or code that first reconciles what the one has and
    /// the other wants in vector registers. `None` when there is no room for that.
    fn way(&mut self, exit: &Exit, target: &CodeBlock) -> Option<u32> {
        let stores = exit.dirty & !target.wants;
        let loads = target.wants & !(exit.dirty | exit.clean);
        if stores | loads == 0 {
            return Some(target.head);
        }
        if stores == 0 && loads == target.wants {
            return Some(target.off);
        }
        let mut asm = Asm::default();
        for n in members(stores) {
            let l = part(n) == Ty::V256;
            asm.move_vector((self.host.avx, l), 0x11, home(n), cpu_mem(self.vectors.slot(n)));
        }
        for n in members(loads) {
            let l = part(n) == Ty::V256;
            asm.move_vector((self.host.avx, l), 0x10, home(n), cpu_mem(self.vectors.slot(n)));
        }
        let jump = asm.jmp() as u32;
        let off = self.arena.push(&asm.buf)?;
        self.arena.patch(off + jump, target.head);
        self.update_map();
        Some(off)
    }

    fn unlink(&mut self, n: u32) {
        let rec = self.exits[n as usize];
        if rec.to == NIL {
            return;
        }
        if rec.short {
            self.arena.clear_jump(rec.exit.short);
        } else {
            self.arena.patch(rec.exit.patch, rec.exit.stub);
        }
        if rec.prev != NIL {
            self.exits[rec.prev as usize].next = rec.next;
        } else {
            self.blocks[rec.to as usize].incoming = rec.next;
        }
        if rec.next != NIL {
            self.exits[rec.next as usize].prev = rec.prev;
        }
        let rec = &mut self.exits[n as usize];
        rec.to = NIL;
        rec.next = NIL;
        rec.prev = NIL;
    }

    /// Undoes every link to `block`.
    pub fn unlink_all_to(&mut self, block: BlockId) {
        while let Some(b) = self.blocks.get(block.0 as usize) {
            if b.incoming == NIL {
                break;
            }
            self.unlink(b.incoming);
        }
    }

    /// Makes sure the code of `block` is reached by [`Jit::enter`] only, until something is linked to
    /// it or it is remembered again.
    pub fn isolate(&mut self, block: BlockId) {
        let Some(b) = self.blocks.get(block.0 as usize).copied() else { return };
        self.unlink_all_to(block);
        self.forget_indirect(&b);
        for n in 0..self.versions.get(&block.0).map_or(0, Vec::len) {
            self.unlink_all_to(self.versions[&block.0][n].1);
        }
    }

    /// Makes sure the code of `block` is not reached again: unlinks it in both directions and
    /// removes it from the indirect branch table. Its memory is reused after the next flush.
    pub fn invalidate(&mut self, block: BlockId) {
        let Some(b) = self.blocks.get(block.0 as usize).copied() else { return };
        self.isolate(block);
        for n in b.exits.0..b.exits.1 {
            self.unlink(n);
        }
        self.blocks[block.0 as usize].valid = false;
        for (_, version) in self.versions.remove(&block.0).unwrap_or_default() {
            self.invalidate(version);
        }
    }

    /// What an exit leaves behind if it does not store the flags.
    fn recipe(&self, exit: &Exit) -> Option<FlagRecipe> {
        (exit.flags != NO_FLAGS).then(|| self.recipes[exit.flags as usize])
    }

    /// The version of a block for such flags.
    fn version(&self, of: BlockId, flags: FlagRecipe) -> Option<BlockId> {
        let versions = self.versions.get(&of.0)?;
        versions.iter().find(|v| v.0 == flags).map(|v| v.1)
    }

    /// The versions of a block.
    pub fn versions(&self, block: BlockId) -> impl Iterator<Item = BlockId> {
        self.versions.get(&block.0).into_iter().flatten().map(|v| v.1)
    }

    /// Flags for which a version of `block` would spare a block linked to it storing them, for
    /// [`Jit::compile_version`]; its own first, since then it is a loop.
    pub fn wish(&self, block: BlockId) -> Option<Wish> {
        let b = self.blocks.get(block.0 as usize)?;
        if self.versions.get(&block.0).is_some_and(|v| v.len() >= VERSIONS) {
            return None;
        }
        let mut wish = None;
        let mut n = b.incoming;
        while n != NIL {
            let rec = &self.exits[n as usize];
            if let Some(flags) = self.recipe(&rec.exit)
                && self.version(block, flags).is_none()
            {
                if self.blocks[rec.block as usize].pc == b.pc {
                    return Some(Wish(flags));
                }
                wish = wish.or(Some(Wish(flags)));
            }
            n = rec.next;
        }
        wish
    }

    /// Compiles `block`, which is that of `of`, for being entered with these flags unstored, and
    /// links to it what is linked to `of` and leaves just those. Only links lead to a version.
    pub fn compile_version(
        &mut self,
        block: &Block,
        of: BlockId,
        wish: Wish,
    ) -> Result<CompiledBlock, JitError> {
        let Wish(flags) = wish;
        let code = self.compile_for(block, Some(&flags))?;
        self.versions.entry(of.0).or_default().push((flags, code.id));
        let mut n = self.blocks[of.0 as usize].incoming;
        while n != NIL {
            let rec = self.exits[n as usize];
            if self.recipe(&rec.exit) == Some(flags) {
                self.unlink(n);
                self.link(ExitId(n), of);
            }
            n = rec.next;
        }
        Ok(code)
    }
}
