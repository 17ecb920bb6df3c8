//! Putting compiled blocks into the code cache: the one compiled last, and those of a store.

use std::rc::Rc;

use emu_ir::Block;

use crate::JitError;
use crate::compile::Buffers;
use crate::exits::{Exit, LEAVE_FAULT, NO_FLAGS};
use crate::faults;
use crate::jit::{BlockId, CodeBlock, CompiledBlock, Entry, ExitRec, Jit, NIL};
use crate::object::{Fix, Object};
use crate::recipes::FlagRecipe;
use crate::store::Stored;

impl Jit {
    /// The block compiled last, which is `block`.
    pub(crate) fn last_object(&self, block: &Block) -> Object<'_> {
        object(block, &self.buffers, &self.recipes_of_block)
    }

    /// Puts the block in the buffers into the arena.
    pub(crate) fn place_new(&mut self, block: &Block) -> Result<CompiledBlock, JitError> {
        // Out of the way, for `place` to change the rest.
        let buffers = core::mem::take(&mut self.buffers);
        let recipes = core::mem::take(&mut self.recipes_of_block);
        let object = object(block, &buffers, &recipes);
        let placed = self.place(&object, object.info);
        (self.buffers, self.recipes_of_block) = (buffers, recipes);
        let placed = placed?;
        let (b, map) = (&self.buffers, &mut self.map);
        let off = self.blocks[placed.id.0 as usize].off;
        let snap0 = map.snaps.len() as u32;
        let pool0 = map.pool.len() as u32;
        map.snaps.extend(b.fault_snaps.iter().map(|s| {
            let shift = |l| match l {
                faults::Loc::Pool(n) => faults::Loc::Pool(n + pool0),
                l => l,
            };
            faults::Snap { x: shift(s.x), y: shift(s.y), ..*s }
        }));
        map.pool.extend_from_slice(&b.pool);
        map.points.extend(b.faults.iter().map(|p| faults::FaultPoint {
            off: p.off + off,
            start: p.start + snap0,
            ..*p
        }));
        Ok(placed)
    }

    /// Puts a block of a store into this code cache; its description, if hooks take one, is at `info`.
    /// [`JitError::Full`] asks for a [`Jit::flush`].
    pub fn adopt(&mut self, block: &Stored<'_>, info: u64) -> Result<CompiledBlock, JitError> {
        let placed = self.place(&block.object, info)?;
        if !self.stores.iter().any(|s| Rc::ptr_eq(s, block.store)) {
            self.stores.push(block.store.clone());
        }
        let off = self.blocks[placed.id.0 as usize].off;
        // SAFETY: the slices lie in the store, which is kept at least as long as the map; nothing else
        // sees this lifetime, and what a store holds never changes.
        let table = unsafe {
            faults::FaultTable {
                off,
                points: &*core::ptr::from_ref(block.object.faults),
                snaps: &*core::ptr::from_ref(block.object.snaps),
                pool: &*core::ptr::from_ref(block.object.pool),
            }
        };
        if !table.points.is_empty() {
            self.map.tables.push(table);
        }
        Ok(placed)
    }

    /// Puts a compiled block into the arena, without its fault points.
    fn place(&mut self, object: &Object<'_>, info: u64) -> Result<CompiledBlock, JitError> {
        if self.exits.len() + object.exits.len() >= LEAVE_FAULT as usize {
            return Err(JitError::Full);
        }
        let off = self.arena.push(object.code).ok_or(JitError::Full)?;
        let first = self.exits.len() as u32;
        for fixup in object.fixups {
            let at = off + fixup.at();
            match fixup.fix(off, first) {
                Fix::Add(amount) => self.arena.add(at, amount),
                Fix::Info if info == object.info => {}
                Fix::Info => self.arena.set(at, info),
            }
        }
        let id = self.blocks.len() as u32;
        let first_recipe = self.recipes.len() as u32;
        self.recipes.extend_from_slice(object.recipes);
        self.exits.extend(object.exits.iter().map(|&exit| ExitRec {
            exit: Exit {
                patch: exit.patch + off,
                stub: exit.stub + off,
                short: exit.short + off,
                flags: match exit.flags {
                    NO_FLAGS => NO_FLAGS,
                    n => n + first_recipe,
                },
                ..exit
            },
            block: id,
            to: NIL,
            short: false,
            next: NIL,
            prev: NIL,
        }));
        self.blocks.push(CodeBlock {
            off,
            len: object.code.len() as u32,
            head: off + object.head,
            wants: object.wants,
            exits: (first, self.exits.len() as u32),
            incoming: NIL,
            pc: object.pc,
            insns: object.insns,
            valid: true,
        });
        self.update_map();
        Ok(CompiledBlock { id: BlockId(id), entry: Entry(self.arena.addr(off)) })
    }
}

/// The block in the buffers.
fn object<'a>(block: &Block, b: &'a Buffers, recipes: &'a [FlagRecipe]) -> Object<'a> {
    Object {
        pc: block.pc,
        insns: block.insns.len() as u32,
        head: b.head as u32,
        wants: b.wants,
        code: &b.asm.buf,
        fixups: &b.asm.fixups,
        exits: &b.exits,
        recipes,
        faults: &b.faults,
        snaps: &b.fault_snaps,
        pool: &b.pool,
        info: block.hooks.iter().map(|h| h.info).find(|&i| i != 0).unwrap_or(0) as u64,
    }
}
