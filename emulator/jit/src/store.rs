//! Compiled blocks that the processes of a run share.
//!
//! A process that forks makes a store, and all that come from it add the blocks they compile and look
//! here before they translate. The memory is shared and mapped at the same place in all of them; as they are
//! copies of one process, addresses of the host's own code and data are the same, too. A block is put in
//! whole before it can be found, and never changes, so a process may end at any moment.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::rc::Rc;

use emu_ir::Block;

use crate::JitError;
use crate::jit::Jit;
use crate::object::{Fixup, Object};
use crate::pins::Vectors;

/// Bytes set aside. Pages are committed when first written.
const BYTES: usize = 256 << 20;

/// Lists of blocks, by pc.
const BUCKETS: usize = 1 << 18;

/// Places to count translations, by pc.
const SEEN: usize = 1 << 18;

/// What is found in a store begins at multiples of so many bytes.
const UNIT: usize = 8;

/// The beginning of the shared memory; the blocks follow.
#[repr(C)]
struct Front {
    /// Units handed out.
    used: AtomicU32,
    /// The first block of each list, in units; 0 for none.
    buckets: [AtomicU32; BUCKETS],
    seen: [AtomicU8; SEEN],
}

/// The beginning of a block; the slices follow, each at a multiple of [`UNIT`] bytes.
#[repr(C)]
struct Head {
    next: AtomicU32,
    insns: u32,
    pc: u64,
    circumstances: u64,
    verdicts: u64,
    info: u64,
    wants: Vectors,
    head: u32,
    /// Lengths of the slices, in their order.
    lens: [u32; 10],
}

/// Adjoining instructions of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Guest pc of the first.
    pub pc: u64,
    /// Bytes of all.
    pub len: u32,
}

/// The guest code that a block was made of.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Where it lies.
    pub pieces: &'a [Piece],
    /// The bytes, piece after piece.
    pub bytes: &'a [u8],
    /// Lengths of the instructions.
    pub insns: &'a [u8],
}

/// A block of a store.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub(crate) store: &'a Rc<Store>,
    pub(crate) object: Object<'a>,
    /// What it was made of.
    pub origin: Origin<'a>,
    /// What it was instrumented for, as the caller has it.
    pub verdicts: u64,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    at: *mut u8,
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped.
        unsafe { libc::munmap(self.at.cast(), BYTES) };
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Result<Store, JitError> {
        // SAFETY: new memory at a place of the kernel's choice, unmapped in Drop.
        let at = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(JitError::Arena(std::io::Error::last_os_error()));
        }
        let store = Store { at: at.cast() };
        store.front().used.store(size_of::<Front>().div_ceil(UNIT) as u32, Ordering::Relaxed);
        Ok(store)
    }

    fn front(&self) -> &Front {
        // SAFETY: zeroed memory, large and aligned enough; atomics allow for other processes.
        unsafe { &*self.at.cast() }
    }

    fn bucket(&self, pc: u64) -> &AtomicU32 {
        &self.front().buckets[(pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % BUCKETS]
    }

    /// Whether there may be blocks at `pc`.
    pub fn may_have(&self, pc: u64) -> bool {
        self.bucket(pc).load(Ordering::Relaxed) != 0
    }

    fn seen_at(&self, pc: u64) -> &AtomicU8 {
        &self.front().seen[(pc >> 2 ^ pc >> 20) as usize % SEEN]
    }

    /// How many processes noted the block at `pc`, roughly.
    pub fn seen(&self, pc: u64) -> u8 {
        self.seen_at(pc).load(Ordering::Relaxed)
    }

    /// Notes that a process had to translate the block at `pc`; how many did before, roughly.
    pub fn note(&self, pc: u64) -> u8 {
        let seen = self.seen_at(pc);
        let n = seen.load(Ordering::Relaxed);
        if n < u8::MAX {
            seen.store(n + 1, Ordering::Relaxed);
        }
        n
    }

    /// The blocks at `pc` compiled in such circumstances ([`Jit::circumstances`], among others).
    pub fn find(self: &Rc<Self>, circumstances: u64, pc: u64) -> impl Iterator<Item = Stored<'_>> {
        let mut at = self.bucket(pc).load(Ordering::Acquire);
        core::iter::from_fn(move || {
            loop {
                let (here, head) = (at, self.head(at)?);
                at = head.next.load(Ordering::Relaxed);
                if head.pc == pc && head.circumstances == circumstances {
                    return self.stored(here);
                }
            }
        })
    }

    fn head(&self, at: u32) -> Option<&Head> {
        let from = at as usize * UNIT;
        if from < size_of::<Front>() || from + size_of::<Head>() > BYTES {
            return None;
        }
        // SAFETY: in bounds; a block was written there before its place was told.
        Some(unsafe { &*self.at.add(from).cast() })
    }

    fn stored(self: &Rc<Self>, at: u32) -> Option<Stored<'_>> {
        let head = self.head(at)?;
        let mut at = at as usize * UNIT + size_of::<Head>().next_multiple_of(UNIT);
        // SAFETY: the very slices that `add` wrote there, in its order.
        unsafe {
            let mut lens = head.lens.iter().map(|&n| n as usize);
            let mut next = || lens.next().unwrap_or(0);
            let origin = Origin {
                pieces: self.get(&mut at, next())?,
                bytes: self.get(&mut at, next())?,
                insns: self.get(&mut at, next())?,
            };
            let object = Object {
                pc: head.pc,
                insns: head.insns,
                head: head.head,
                wants: head.wants,
                code: self.get(&mut at, next())?,
                fixups: self.get::<Fixup>(&mut at, next())?,
                exits: self.get(&mut at, next())?,
                recipes: self.get(&mut at, next())?,
                faults: self.get(&mut at, next())?,
                snaps: self.get(&mut at, next())?,
                pool: self.get(&mut at, next())?,
                info: head.info,
            };
            Some(Stored { store: self, object, origin, verdicts: head.verdicts })
        }
    }

    /// # Safety
    /// Such a slice was written there.
    unsafe fn get<T: Copy>(&self, at: &mut usize, len: usize) -> Option<&[T]> {
        let from = *at;
        *at = from.checked_add(size_of::<T>().checked_mul(len)?)?.next_multiple_of(UNIT);
        if *at > BYTES {
            return None;
        }
        // SAFETY: in bounds, aligned to UNIT, and the caller's promise.
        Some(unsafe { core::slice::from_raw_parts(self.at.add(from).cast(), len) })
    }

    /// # Safety
    /// The memory there is this process's alone.
    unsafe fn put<T: Copy>(&self, at: &mut usize, items: &[T]) {
        const { assert!(align_of::<T>() <= UNIT) };
        // SAFETY: `add` has reserved what the slices take together.
        unsafe {
            let to = self.at.add(*at).cast();
            core::ptr::copy_nonoverlapping(items.as_ptr(), to, items.len());
        }
        *at = (*at + size_of_val(items)).next_multiple_of(UNIT);
    }

    /// Adds a block; false when there is no room.
    fn add(
        &self,
        circumstances: u64,
        verdicts: u64,
        origin: &Origin<'_>,
        object: &Object<'_>,
    ) -> bool {
        let o = object;
        let sizes = [
            size_of_val(origin.pieces),
            size_of_val(origin.bytes),
            size_of_val(origin.insns),
            size_of_val(o.code),
            size_of_val(o.fixups),
            size_of_val(o.exits),
            size_of_val(o.recipes),
            size_of_val(o.faults),
            size_of_val(o.snaps),
            size_of_val(o.pool),
        ];
        let slices: usize = sizes.iter().map(|s| s.next_multiple_of(UNIT)).sum();
        let units = (size_of::<Head>().next_multiple_of(UNIT) + slices) / UNIT;
        let room = |used: u32| {
            let end = used as usize + units;
            (end * UNIT <= BYTES).then_some(end as u32)
        };
        let Ok(place) = self.front().used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
        else {
            return false;
        };
        let bucket = self.bucket(o.pc);
        let mut at = place as usize * UNIT;
        let head = Head {
            next: AtomicU32::new(0),
            insns: o.insns,
            pc: o.pc,
            circumstances,
            verdicts,
            info: o.info,
            wants: o.wants,
            head: o.head,
            lens: [
                origin.pieces.len(),
                origin.bytes.len(),
                origin.insns.len(),
                o.code.len(),
                o.fixups.len(),
                o.exits.len(),
                o.recipes.len(),
                o.faults.len(),
                o.snaps.len(),
                o.pool.len(),
            ]
            .map(|n| n as u32),
        };
        // SAFETY: `fetch_update` has given that memory to this process alone.
        let head = unsafe {
            let to = self.at.add(at).cast::<Head>();
            to.write(head);
            at += size_of::<Head>().next_multiple_of(UNIT);
            self.put(&mut at, origin.pieces);
            self.put(&mut at, origin.bytes);
            self.put(&mut at, origin.insns);
            self.put(&mut at, o.code);
            self.put(&mut at, o.fixups);
            self.put(&mut at, o.exits);
            self.put(&mut at, o.recipes);
            self.put(&mut at, o.faults);
            self.put(&mut at, o.snaps);
            self.put(&mut at, o.pool);
            &*to
        };
        let mut first = bucket.load(Ordering::Relaxed);
        loop {
            head.next.store(first, Ordering::Relaxed);
            match bucket.compare_exchange(first, place, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => first = other,
            }
        }
    }
}

impl Jit {
    /// Adds `block`, the one compiled last, to a store; false when it is full.
    pub fn share(
        &self,
        block: &Block,
        store: &Store,
        circumstances: u64,
        verdicts: u64,
        origin: &Origin<'_>,
    ) -> bool {
        store.add(circumstances, verdicts, origin, &self.last_object(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object<'a>(pc: u64, code: &'a [u8], fixups: &'a [Fixup]) -> Object<'a> {
        Object {
            pc,
            insns: 1,
            head: 3,
            wants: Default::default(),
            code,
            fixups,
            exits: &[],
            recipes: &[],
            faults: &[],
            snaps: &[],
            pool: &[1, u64::MAX],
            info: 77,
        }
    }

    #[test]
    fn a_block_comes_back_as_it_was_put_in() {
        let store = Rc::new(Store::new().unwrap());
        let origin =
            Origin { pieces: &[Piece { pc: 0x1000, len: 3 }], bytes: &[1, 2, 3], insns: &[3] };
        let fixups = [Fixup::exit(1), Fixup::outside(5), Fixup::info(9)];
        assert!(store.add(7, 5, &origin, &object(0x1000, &[9; 13], &fixups)));
        // Another of the same list, and another at the same place.
        assert!(store.add(7, 5, &origin, &object(0x1000 + (1 << 32), &[], &[])));
        assert!(store.add(8, 5, &origin, &object(0x1000, &[8], &[])));
        let at = store.bucket(0x1000).load(Ordering::Relaxed);
        let mut all = Vec::new();
        let mut next = at;
        while let Some(head) = store.head(next) {
            all.push(store.stored(next).unwrap());
            next = head.next.load(Ordering::Relaxed);
        }
        let first = all.last().unwrap();
        assert_eq!(first.origin.bytes, [1, 2, 3]);
        assert_eq!(first.origin.insns, [3]);
        assert_eq!(first.origin.pieces, [Piece { pc: 0x1000, len: 3 }]);
        assert_eq!((first.object.pc, first.object.insns, first.object.head), (0x1000, 1, 3));
        assert_eq!(first.object.code, [9; 13]);
        assert_eq!(first.object.fixups, fixups);
        assert_eq!((first.verdicts, first.object.info), (5, 77));
        assert_eq!(first.object.pool, [1, u64::MAX]);
    }

    #[test]
    fn a_full_store_takes_no_more() {
        let store = Store::new().unwrap();
        let origin = Origin { pieces: &[], bytes: &[], insns: &[] };
        let full = (BYTES / UNIT) as u32 - 20;
        store.front().used.store(full, Ordering::Relaxed);
        assert!(!store.add(0, 5, &origin, &object(0x1000, &[0; 4096], &[])));
        assert_eq!(store.front().used.load(Ordering::Relaxed), full);
        assert!(store.head(store.bucket(0x1000).load(Ordering::Relaxed)).is_none());
    }

    #[test]
    fn translations_are_counted() {
        let store = Store::new().unwrap();
        assert_eq!([0; 3].map(|_| store.note(0x1234)), [0, 1, 2]);
        for _ in 0..300 {
            store.note(0x1234);
        }
        assert_eq!((store.seen(0x1234), store.note(0x1234)), (u8::MAX, u8::MAX));
        assert_eq!(store.note(0x1238), 0);
    }
}
