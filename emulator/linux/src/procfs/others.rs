//! Files of `/proc/PID` of other guests: what the kernel says of their host process, without the host.
//!
//! Guest addresses are host addresses, and guests have areas of their own; the rest is what a guest
//! publishes of itself.

use std::fs::File;

use emu_mem::{PAGE, Prot};

use super::Entry;
use crate::Abi;
use crate::elf;
use crate::published::{Guest, Shown, Word};
use crate::signal::bit;

/// What a guest reads from `entry` of another; `None` if that is what the kernel says.
pub fn contents(entry: Entry, guest: &Guest) -> Option<std::io::Result<Vec<u8>>> {
    let name = match entry {
        Entry::Maps => "maps",
        Entry::Smaps => "smaps",
        Entry::Stat => "stat",
        Entry::Status => "status",
        _ => return None,
    };
    Some(read(guest, name).map(|text| {
        let shown = guest.shown();
        match entry {
            Entry::Stat => stat(&text, guest, shown.as_ref()),
            Entry::Status => status(&text, guest, shown.as_ref()),
            _ => maps(&text, shown.as_ref()),
        }
        .into_bytes()
    }))
}

fn read(guest: &Guest, name: &str) -> std::io::Result<String> {
    let text = std::fs::read(format!("/proc/{}/{name}", guest.pid))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The range that a line of `maps` begins with.
fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

fn is_guests((start, end): (u64, u64)) -> bool {
    Abi::X86_64.areas().iter().any(|area| area.start <= start && end <= area.end)
}

/// `maps` or `smaps` without what is the host's.
fn maps(text: &str, shown: Option<&Shown>) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(at) = range(line) else { continue };
        let mut about = Vec::new();
        while let Some(more) = lines.next_if(|l| range(l).is_none()) {
            about.push(more);
        }
        if !is_guests(at) {
            continue;
        }
        // What is said of the whole (of `smaps` only) is said of the first part.
        for (i, (start, end, part)) in parts(line, at, shown).into_iter().enumerate() {
            out.push_str(&part);
            out.push('\n');
            for line in &about {
                match line.split_once(':') {
                    Some(("Size", _)) => {
                        out.push_str(&format!("Size:           {:8} kB\n", (end - start) / 1024));
                    }
                    Some((key, value))
                        if i > 0 && value.ends_with(" kB") && !key.ends_with("PageSize") =>
                    {
                        out.push_str(&format!("{:<16}{:8} kB\n", format!("{key}:"), 0));
                    }
                    _ => {
                        out.push_str(line);
                        out.push('\n');
                    }
                }
            }
        }
    }
    out
}

/// A line of the kernel's about a guest mapping, as the guest's kernel would write it: ranges and their
/// lines. The host never maps guest code executable, so code is one mapping with what is around it; what
/// the file says of its segments tells.
fn parts(line: &str, (start, end): (u64, u64), shown: Option<&Shown>) -> Vec<(u64, u64, String)> {
    let word = |w| shown.map_or(0, |s| s.get(w));
    let mut fields = line.splitn(6, ' ');
    let mut field = || fields.next().unwrap_or_default();
    let (_, prot, offset, device, inode) = (field(), field(), field(), field(), field());
    let path = field().trim_start();
    let within = |addr: u64| addr != 0 && (start..end).contains(&addr);
    let vdso = within(word(Word::Vdso));
    let name = match path {
        "" if word(Word::StackTop) == end => "[stack]",
        "" if vdso => "[vdso]",
        "" if within(word(Word::Heap)) => "[heap]",
        path => path,
    };
    let offset = u64::from_str_radix(offset, 16).unwrap_or(0);
    let ranges = match prot.as_bytes() {
        [b'r', _, b'-', ..] if vdso => vec![(start, end, true)],
        [b'r', _, b'-', ..] => by_code(start, end, &code(path), offset),
        _ => vec![(start, end, false)],
    };
    let text = |(from, to, is_code): (u64, u64, bool)| {
        let prot = if is_code { format!("{}x{}", &prot[..2], &prot[3..]) } else { prot.to_owned() };
        let offset = if path.is_empty() { offset } else { offset + (from - start) };
        let line = format!("{from:08x}-{to:08x} {prot} {offset:08x} {device} {inode} ");
        (from, to, if name.is_empty() { line } else { format!("{line:<73}{name}") })
    };
    ranges.into_iter().map(text).collect()
}

/// Splits the mapping of a file from `offset` on where code begins and ends; each part and whether it is.
fn by_code(start: u64, end: u64, code: &[(u64, u64)], offset: u64) -> Vec<(u64, u64, bool)> {
    let (mut parts, mut at) = (Vec::new(), start);
    for &(from, to) in code {
        let address = |byte: u64| (start + byte.saturating_sub(offset)).clamp(at, end);
        let (from, to) = (address(from), address(to));
        if from < to {
            if at < from {
                parts.push((at, from, false));
            }
            parts.push((from, to, true));
            at = to;
        }
    }
    if at < end {
        parts.push((at, end, false));
    }
    parts
}

/// The bytes of a file, in whole pages, that its headers say are code; in order.
fn code(path: &str) -> Vec<(u64, u64)> {
    let image = if path.starts_with('/') { File::open(path).ok() } else { None };
    let Some(image) = image.and_then(|f| elf::parse(&f).ok()) else { return Vec::new() };
    let code = image.segments.iter().filter(|s| s.prot.has(Prot::EXEC));
    let pages =
        code.map(|s| (s.offset & !(PAGE - 1), (s.offset + s.filesz).next_multiple_of(PAGE)));
    let mut pages: Vec<_> = pages.collect();
    pages.sort_unstable();
    pages
}

/// Bytes the guest has mapped; `None` if that cannot be seen.
fn size(guest: &Guest) -> Option<u64> {
    let maps = read(guest, "maps").ok()?;
    let ranges = maps.lines().filter_map(range).filter(|r| is_guests(*r));
    Some(ranges.map(|(start, end)| end - start).sum())
}

/// How many of the host process's threads are not the guest's.
fn companions(guest: &Guest, shown: Option<&Shown>) -> u64 {
    let tid = shown.map_or(0, |s| s.get(Word::Companion)) as i32;
    u64::from(tid != 0 && super::is_thread(guest.pid, tid))
}

/// `stat` with the fields replaced that describe the program.
fn stat(text: &str, guest: &Guest, shown: Option<&Shown>) -> String {
    let Some((before, after)) = text.rsplit_once(')') else { return text.to_owned() };
    let mut fields: Vec<String> = after.split_whitespace().map(str::to_owned).collect();
    // Numbered as in proc(5); the first field after the name is number 3.
    let mut set = |number: usize, value: u64| {
        // The kernel hides addresses from who may not look.
        if let Some(f) = fields.get_mut(number - 3) {
            *f = value.to_string();
        }
    };
    if let Some(size) = size(guest) {
        set(23, size);
    }
    if let Some(shown) = shown {
        set(28, shown.get(Word::StackTop));
        set(47, shown.get(Word::Heap));
        set(48, shown.get(Word::Arguments));
        set(49, shown.get(Word::ArgumentsEnd));
        set(50, shown.get(Word::Environment));
        set(51, shown.get(Word::EnvironmentEnd));
    }
    let hidden = companions(guest, shown);
    if let Some(threads) = fields.get_mut(20 - 3)
        && let Ok(n) = threads.parse::<u64>()
    {
        *threads = n.saturating_sub(hidden).to_string();
    }
    format!("{before}) {}\n", fields.join(" "))
}

/// `status` with the lines replaced that describe the program.
fn status(text: &str, guest: &Guest, shown: Option<&Shown>) -> String {
    let size = size(guest).map(|n| format!("{:8} kB", n / 1024));
    let mut out = String::new();
    for line in text.lines() {
        let (key, value) = line.split_once(":\t").unwrap_or((line, ""));
        let set = u64::from_str_radix(value, 16).unwrap_or(0);
        let new = match key {
            "VmPeak" | "VmSize" => size.clone(),
            "Threads" => value
                .parse()
                .ok()
                .map(|n: u64| n.saturating_sub(companions(guest, shown)).to_string()),
            "SigBlk" => Some(format!("{:016x}", set & !bit(crate::attention::SIGNAL))),
            "SigIgn" => shown.map(|s| format!("{:016x}", s.get(Word::Ignored))),
            "SigCgt" => shown.map(|s| format!("{:016x}", s.get(Word::Caught))),
            _ => None,
        };
        out.push_str(&format!("{key}:\t{}\n", new.as_deref().unwrap_or(value)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_mappings_are_left_out() {
        let text = "\
00010000-00020000 rw-p 00000000 00:00 0 \n\
Size:                 64 kB\n\
555555554000-555555556000 r--p 00000000 fe:00 247030                     /usr/bin/host\n\
Size:                  8 kB\n\
7effff000000-7effff001000 r--s 00001000 fe:00 5                          /no/such file\n\
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n\
Size:                  8 kB\n";
        assert_eq!(
            maps(text, None),
            "00010000-00020000 rw-p 00000000 00:00 0 \nSize:                 64 kB\n"
        );
        let seen = "7ebfff000000-7ebfff001000 r--s 00001000 fe:00 5                          /no/such file\n";
        assert_eq!(maps(seen, None), seen);
    }

    #[test]
    fn code_is_told_from_what_is_around_it() {
        let code = [(0x1000, 0x3000), (0x5000, 0x6000)];
        let parts = |start, end, offset| by_code(start, end, &code, offset);
        let whole = [
            (0x10000, 0x11000, false),
            (0x11000, 0x13000, true),
            (0x13000, 0x15000, false),
            (0x15000, 0x16000, true),
            (0x16000, 0x18000, false),
        ];
        assert_eq!(parts(0x10000, 0x18000, 0), whole);
        assert_eq!(parts(0x10000, 0x11000, 0x2000), [(0x10000, 0x11000, true)]);
        assert_eq!(parts(0x10000, 0x12000, 0x3000), [(0x10000, 0x12000, false)]);
        let exe = std::env::current_exe().expect("the test is a program");
        let own = super::code(exe.to_str().expect("of a plain name"));
        assert!(!own.is_empty() && own.iter().all(|(from, to)| from < to && to % PAGE == 0));
        assert!(super::code("/no/such file").is_empty() && super::code("[stack]").is_empty());
    }

    #[test]
    fn parts_of_a_mapping_share_its_sizes() {
        let exe = std::env::current_exe().expect("the test is a program");
        let path = exe.to_str().expect("of a plain name");
        let [(from, to), ..] = super::code(path)[..] else { panic!("a program has code") };
        let end = 0x10000 + to + PAGE;
        let text = format!(
            "10000-{end:x} r--p 00000000 fe:00 5 {path}\nSize: 9 kB\nRss:     12 kB\nMMUPageSize: 4 kB\nVmFlags: rd\n"
        );
        let seen = maps(&text, None);
        let lines = |key: &str| seen.lines().filter(|l| l.starts_with(key)).collect::<Vec<_>>();
        assert_eq!(lines("VmFlags").len(), 3);
        assert_eq!(
            lines("Rss"),
            ["Rss:     12 kB", "Rss:                   0 kB", "Rss:                   0 kB"]
        );
        let code = lines("Size")[1];
        assert_eq!(code, format!("Size:           {:8} kB", (to - from) / 1024));
        assert!(seen.contains(&format!(
            "{:08x}-{:08x} r-xp {from:08x} fe:00 5 ",
            0x10000 + from,
            0x10000 + to
        )));
    }
}
