//! The instructions at which texts are open.

use plugin_api::AddrMap;

/// Places of the filter.
const PLACES: usize = 1 << 13;

/// How many texts are open at each instruction. Most stores are asked about in vain, so a small table of counts
/// comes before the map.
#[derive(Debug)]
pub struct OpenAt {
    /// Instructions in the map, by place.
    filter: Box<[u16; PLACES]>,
    /// Texts by instruction.
    texts: AddrMap<u64, usize>,
}

impl Default for OpenAt {
    fn default() -> OpenAt {
        OpenAt { filter: Box::new([0; PLACES]), texts: AddrMap::default() }
    }
}

fn place(pc: u64) -> usize {
    (pc ^ pc >> 13) as usize % PLACES
}

impl OpenAt {
    /// Whether a text is open at `pc`.
    #[inline]
    pub fn contains(&self, pc: u64) -> bool {
        self.filter[place(pc)] != 0 && self.texts.contains_key(&pc)
    }

    /// A text begins at `pc`.
    pub fn begin(&mut self, pc: u64) {
        let texts = self.texts.entry(pc).or_insert_with(|| {
            self.filter[place(pc)] += 1;
            0
        });
        *texts += 1;
    }

    /// One ends there.
    pub fn end(&mut self, pc: u64) {
        let Some(texts) = self.texts.get_mut(&pc) else { return };
        *texts -= 1;
        if *texts == 0 {
            self.texts.remove(&pc);
            self.filter[place(pc)] -= 1;
        }
    }

    /// All end.
    pub fn clear(&mut self) {
        self.texts.clear();
        self.filter.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_of_one_place_are_told_apart() {
        let mut open = OpenAt::default();
        let (a, b) = (0x40_1000, 0x40_1000 ^ (1 << 13 | 1));
        assert_eq!(place(a), place(b));
        open.begin(a);
        assert!(open.contains(a) && !open.contains(b));
        open.begin(b);
        open.begin(b);
        open.end(a);
        assert!(!open.contains(a) && open.contains(b));
        open.end(b);
        assert!(open.contains(b));
        open.end(b);
        assert!(!open.contains(b));
        open.begin(a);
        open.clear();
        assert!(!open.contains(a));
    }
}
