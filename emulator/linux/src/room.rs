//! Whether the host process leaves guests their room.
//!
//! Guest addresses are host addresses, so what the host has mapped in a guest's areas is lost to the
//! guest. The kernel's usual layout puts nothing there. It does with more randomization than usual
//! (`vm.mmap_rnd_bits`), with a stack limit of terabytes and with the layout of old kernels, which
//! an unlimited stack asks for as well.

use std::io::Read;
use std::ops::Range;

use crate::Abi;

/// The host's mappings in a guest's areas, by `/proc/self/maps`. Meant for a process without a guest.
pub fn taken() -> std::io::Result<Vec<Range<u64>>> {
    // With room, since the kernel writes it out anew for each read.
    let mut maps = String::with_capacity(1 << 14);
    std::fs::File::open("/proc/self/maps")?.read_to_string(&mut maps)?;
    Ok(overlaps(&maps))
}

fn overlaps(maps: &str) -> Vec<Range<u64>> {
    let address = |text| u64::from_str_radix(text, 16).ok();
    let ranges = maps.lines().filter_map(|line| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(address(start)?..address(end)?)
    });
    let areas = Abi::X86_64.areas();
    ranges.filter(|r| areas.iter().any(|a| r.start < a.end && a.start < r.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_layout_leaves_room() {
        let usual = "\
555555554000-555555556000 r--p 00000000 fe:00 247030                     /usr/bin/cat
56555555a000-56555557b000 rw-p 00000000 00:00 0                          [heap]
7efff7d00000-7efff7d57000 r--p 00000000 fe:00 316534                     /usr/lib/libc.so.6
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";
        assert!(overlaps(usual).is_empty());
    }

    #[test]
    fn other_layouts_do_not() {
        let legacy = "2aaaaaaab000-2aaaaaad1000 r-xp 00001000 fe:00 3 /usr/lib/libc.so.6\n";
        assert_eq!(overlaps(legacy).first(), Some(&(0x2aaa_aaaa_b000..0x2aaa_aaad_1000)));
        let far = "61c2a5f54000-61c2a5f56000 r--p 00000000 fe:00 247030 /usr/bin/cat\n";
        assert_eq!(overlaps(far).first(), Some(&(0x61c2_a5f5_4000..0x61c2_a5f5_6000)));
    }
}
