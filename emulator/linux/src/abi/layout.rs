//! Layouts of the structures that system calls take, for 32-bit and 64-bit guests, as data.
//!
//! A 64-bit guest's layout is the host's, so only 32-bit guests need conversion, and a structure
//! that is laid out alike in both (its row has no fields) needs none at all.

use crate::Errno;

/// How a field's value changes between the two widths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conv {
    /// Signed: extended to the host, cut to the guest.
    Signed,
    /// Unsigned: extended to the host, cut to the guest.
    Unsigned,
    /// Unsigned; a value that does not fit the guest is EOVERFLOW.
    Checked,
    /// Signed; a value that does not fit the guest is EOVERFLOW.
    CheckedSigned,
    /// As `Checked`, but all ones stay all ones.
    CheckedOrAll,
    /// A limit: too large for the guest means infinity (all ones), and infinity stays infinity.
    Limit,
    /// A user or group id of 16 bits in the guest.
    Id16,
    /// Of what the guest says only the lower half counts.
    LowHalf,
}

/// A field: where it lies in the 32-bit guest's and in the host's structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name as in C; array elements and nested fields as C writes them.
    pub name: &'static str,
    /// Offset and size in the 32-bit structure.
    pub guest: (u16, u8),
    /// Offset and size in the host's structure.
    pub host: (u16, u8),
    /// Conversion.
    pub conv: Conv,
}

/// A structure.
#[derive(Debug)]
pub struct Struct {
    /// Name as in the kernel's headers.
    pub name: &'static str,
    /// Bytes in a 32-bit guest.
    pub guest_size: usize,
    /// Bytes on the host and in a 64-bit guest.
    pub host_size: usize,
    /// Fields; empty when both layouts are the same.
    pub fields: &'static [Field],
}

impl Struct {
    /// Whether both layouts are the same.
    pub const fn is_same(&self) -> bool {
        self.fields.is_empty()
    }

    /// Fills a host structure from a 32-bit guest's. Bytes no field covers become 0.
    pub fn to_host(&self, guest: &[u8], host: &mut [u8]) {
        if self.is_same() {
            host[..self.host_size].copy_from_slice(&guest[..self.host_size]);
            return;
        }
        host[..self.host_size].fill(0);
        for f in self.fields {
            let raw = load(guest, f.guest);
            let bits = u32::from(f.guest.1) * 8;
            let value = match f.conv {
                Conv::Signed | Conv::CheckedSigned => sign_extend(raw, bits),
                Conv::CheckedOrAll | Conv::Limit if raw == ones(bits) => u64::MAX,
                Conv::Id16 => u64::from(crate::sys::args::wide_id(raw as u16)),
                Conv::LowHalf => raw & ones(bits / 2),
                _ => raw,
            };
            store(host, f.host, value);
        }
    }

    /// Fills a 32-bit guest's structure from the host's. Bytes no field covers become 0.
    pub fn to_guest(&self, host: &[u8], guest: &mut [u8]) -> Result<(), Errno> {
        if self.is_same() {
            guest[..self.guest_size].copy_from_slice(&host[..self.guest_size]);
            return Ok(());
        }
        guest[..self.guest_size].fill(0);
        for f in self.fields {
            let raw = load(host, f.host);
            let bits = u32::from(f.guest.1) * 8;
            let host_bits = u32::from(f.host.1) * 8;
            let value = match f.conv {
                Conv::Signed | Conv::Unsigned => raw,
                Conv::Checked if raw > ones(bits) => return Err(Errno::EOVERFLOW),
                Conv::CheckedSigned if sign_extend(raw, bits) != sign_extend(raw, host_bits) => {
                    return Err(Errno::EOVERFLOW);
                }
                Conv::CheckedOrAll if raw > ones(bits) && raw != ones(host_bits) => {
                    return Err(Errno::EOVERFLOW);
                }
                Conv::Limit if raw > ones(bits) => u64::MAX,
                Conv::Id16 => u64::from(crate::sys::args::narrow_id(raw as u32)),
                _ => raw,
            };
            store(guest, f.guest, value);
        }
        Ok(())
    }
}

const fn ones(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

const fn sign_extend(value: u64, bits: u32) -> u64 {
    let shift = 64 - bits;
    ((value << shift) as i64 >> shift) as u64
}

fn load(bytes: &[u8], (at, len): (u16, u8)) -> u64 {
    let mut raw = [0; 8];
    raw[..usize::from(len)].copy_from_slice(&bytes[usize::from(at)..][..usize::from(len)]);
    u64::from_le_bytes(raw)
}

fn store(bytes: &mut [u8], (at, len): (u16, u8), value: u64) {
    bytes[usize::from(at)..][..usize::from(len)]
        .copy_from_slice(&value.to_le_bytes()[..usize::from(len)]);
}
