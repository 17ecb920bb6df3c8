//! Sets of labels, each with a small number.

use std::collections::HashMap;
use std::rc::Rc;

use plugin_api::AddrMap;

/// The number of a set of labels; sets that are equal have equal numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Set(u32);

impl Set {
    /// No label: clean.
    pub const CLEAN: Set = Set(0);

    /// Whether it has no label.
    pub fn is_clean(self) -> bool {
        self.0 == 0
    }
}

/// First and last label of a run of labels that are all in a set.
type Span = (u32, u32);

/// All sets there are so far.
#[derive(Debug)]
pub struct Labels {
    /// By number: ascending runs with gaps between them. Sums over a buffer with a label for each byte make sets
    /// of one run.
    sets: Vec<Rc<[Span]>>,
    numbers: HashMap<Rc<[Span]>, Set>,
    unions: AddrMap<u64, Set>,
}

impl Default for Labels {
    fn default() -> Labels {
        let none: Rc<[Span]> = Rc::new([]);
        let numbers = HashMap::from([(none.clone(), Set::CLEAN)]);
        Labels { sets: vec![none], numbers, unions: AddrMap::default() }
    }
}

impl Labels {
    /// The set of one label.
    pub fn single(&mut self, label: u32) -> Set {
        self.intern(vec![(label, label)])
    }

    /// The set of what is in either.
    pub fn union(&mut self, a: Set, b: Set) -> Set {
        if a == b || b.is_clean() {
            return a;
        }
        if a.is_clean() {
            return b;
        }
        let key = u64::from(a.0.min(b.0)) << 32 | u64::from(a.0.max(b.0));
        if let Some(set) = self.unions.get(&key) {
            return *set;
        }
        let (a, b) = (&self.sets[a.0 as usize], &self.sets[b.0 as usize]);
        let set = self.intern(merged(a, b));
        self.unions.insert(key, set);
        set
    }

    /// The union of some sets.
    pub fn all(&mut self, sets: &[Set]) -> Set {
        sets.iter().fold(Set::CLEAN, |a, b| self.union(a, *b))
    }

    /// The labels of a set, ascending.
    pub fn of(&self, set: Set) -> impl Iterator<Item = u32> {
        self.sets[set.0 as usize].iter().flat_map(|(first, last)| *first..=*last)
    }

    fn intern(&mut self, spans: Vec<Span>) -> Set {
        let spans: Rc<[Span]> = spans.into();
        if let Some(set) = self.numbers.get(&spans) {
            return *set;
        }
        let set = Set(self.sets.len() as u32);
        self.sets.push(spans.clone());
        self.numbers.insert(spans, set);
        set
    }
}

/// The runs of two sets together.
fn merged(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut spans: Vec<Span> = a.iter().chain(b).copied().collect();
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for (first, last) in spans {
        match out.last_mut() {
            Some(run) if first <= run.1.saturating_add(1) => run.1 = run.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_have_equal_numbers() {
        let mut labels = Labels::default();
        let [a, b, c] = [1, 2, 5].map(|n| labels.single(n));
        let (ab, ba) = (labels.union(a, b), labels.union(b, a));
        assert_eq!(ab, ba);
        assert_eq!(labels.union(ab, a), ab);
        assert_eq!(labels.all(&[c, a, Set::CLEAN, b, a]), labels.union(ab, c));
        assert_eq!(labels.all(&[]), Set::CLEAN);
        assert_eq!(labels.single(1), a);
    }

    #[test]
    fn the_labels_of_a_set_are_listed_in_order() {
        let mut labels = Labels::default();
        let sets = [7, 3, 4, 9, 8, 1].map(|n| labels.single(n));
        let all = labels.all(&sets);
        assert_eq!(labels.of(all).collect::<Vec<_>>(), [1, 3, 4, 7, 8, 9]);
        assert_eq!(labels.of(Set::CLEAN).count(), 0);
    }

    #[test]
    fn a_running_sum_over_many_labels_stays_small() {
        let mut labels = Labels::default();
        let mut sum = Set::CLEAN;
        for n in 1..=100_000 {
            let one = labels.single(n);
            sum = labels.union(sum, one);
        }
        assert!(labels.sets.iter().all(|s| s.len() <= 1));
        assert_eq!(labels.of(sum).count(), 100_000);
    }
}
