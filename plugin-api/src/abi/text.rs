//! Borrowed text.

use abi_stable::StableAbi;
/// Borrowed bytes, UTF-8 unless said otherwise, not terminated. A null `ptr` goes with length 0.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Str {
    /// First byte.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: u64,
}

// SAFETY: a pointer and a length; what they point to is shared read-only by the contract.
unsafe impl Sync for Str {}
// SAFETY: as above.
unsafe impl Send for Str {}

impl Str {
    /// No text.
    pub const EMPTY: Str = Str { ptr: core::ptr::null(), len: 0 };

    /// Borrows text.
    pub const fn new(text: &str) -> Str {
        Str { ptr: text.as_ptr(), len: text.len() as u64 }
    }

    /// Borrows bytes.
    pub const fn from_bytes(bytes: &[u8]) -> Str {
        Str { ptr: bytes.as_ptr(), len: bytes.len() as u64 }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` is null or valid for reads of `len` bytes for the lifetime chosen by the caller.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() || self.len == 0 {
            return &[];
        }
        // SAFETY: promised by the caller.
        unsafe { core::slice::from_raw_parts(self.ptr, self.len as usize) }
    }

    /// The text; malformed UTF-8 is replaced.
    ///
    /// # Safety
    /// As for [`Str::bytes`].
    pub unsafe fn text<'a>(self) -> std::borrow::Cow<'a, str> {
        // SAFETY: promised by the caller.
        String::from_utf8_lossy(unsafe { self.bytes() })
    }
}

impl Default for Str {
    fn default() -> Str {
        Str::EMPTY
    }
}
