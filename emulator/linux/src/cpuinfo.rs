//! `/proc/cpuinfo`: as many processors as the host has, of the guest's model.

use emu_x86::Level;
use emu_x86::cpuid::{FEATURES, cpuid};

/// The host's text with what CPUID tells the guest in place of what it tells the host.
pub fn text(host: &str, level: Level, long_mode: bool) -> String {
    let leaf = |leaf: u32| cpuid(level, long_mode, leaf, 0);
    let (vendor, basic) = (leaf(0), leaf(1));
    let (family, model) = (basic.eax >> 8 & 15, basic.eax >> 4 & 15 | basic.eax >> 12 & 0xf0);
    let bytes = |words: &[u32]| {
        let raw: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        String::from_utf8_lossy(&raw).trim_matches(['\0', ' ']).to_owned()
    };
    let brand: Vec<u32> =
        (0x8000_0002..=0x8000_0004).map(leaf).flat_map(|r| [r.eax, r.ebx, r.ecx, r.edx]).collect();
    let flags: Vec<&str> =
        FEATURES.iter().filter(|f| f.shown(level, long_mode)).map(|f| f.name).collect();
    let sizes = leaf(0x8000_0008).eax;
    let mut out = String::new();
    for line in host.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let value = match key.trim() {
            "" => {
                out.push('\n');
                continue;
            }
            // Of the host's processor alone.
            "microcode" | "TLB size" | "vmx flags" => continue,
            "vendor_id" => bytes(&[vendor.ebx, vendor.edx, vendor.ecx]),
            "cpu family" => family.to_string(),
            "model" => model.to_string(),
            "model name" => bytes(&brand),
            "stepping" => (basic.eax & 15).to_string(),
            "cache size" => format!("{} KB", leaf(0x8000_0006).ecx >> 16),
            "cpuid level" => vendor.eax.to_string(),
            "flags" => flags.join(" "),
            "bugs" | "power management" => String::new(),
            "clflush size" | "cache_alignment" => (8 * (basic.ebx >> 8 & 0xff)).to_string(),
            "address sizes" => {
                format!("{} bits physical, {} bits virtual", sizes & 0xff, sizes >> 8 & 0xff)
            }
            _ => value.trim().to_owned(),
        };
        let space = if value.is_empty() { "" } else { " " };
        out.push_str(&format!("{key}:{space}{value}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_model_s() {
        let host = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu sse2 sse4a avx512f\n\
                    microcode\t: 1\n\nprocessor\t: 1\nmodel\t\t: 17\n";
        let text = text(host, Level::V1, true);
        assert!(text.contains("vendor_id\t: GenuineIntel\n"), "{text}");
        assert!(
            text.contains(" sse2") && !text.contains("avx") && !text.contains("sse4"),
            "{text}"
        );
        assert_eq!(text.matches("processor").count(), 2);
        assert!(!text.contains("microcode"));
    }
}
