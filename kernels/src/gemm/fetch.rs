//! Asking for memory before it is needed.

/// Words of a line of the cache.
pub(super) const LINE: usize = 16;

/// Has the processor load the line at this address, wherever it points, into the nearest cache, while it does other things.
#[allow(unsafe_code, reason = "an instruction that every x86-64 has")]
#[inline(always)]
pub(super) fn line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it changes nothing and does not fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same into the second-level cache.
#[allow(unsafe_code, reason = "an instruction that every x86-64 has")]
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(super) fn line_soon<T>(at: *const T) {
    // SAFETY: it changes nothing and does not fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
}

/// The lines of `count` words.
#[inline(always)]
pub(crate) fn words(at: *const u32, count: usize) {
    let mut word = 0;
    while word < count {
        line(at.wrapping_add(word));
        word += LINE;
    }
    // Where they do not begin with a line they end in one more.
    line(at.wrapping_add(count - 1));
}

/// Lines that are going to be read, from places of one stride or of none, and lines that are going to be written, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// Bytes that are read.
    pub(super) from: *const u8,
    /// Where in them, in elements of so many bytes.
    pub(super) offsets: &'a [i64],
    pub(super) size: usize,
    /// Bytes that are read at each, 1 at least.
    pub(super) span: usize,
    /// Where words are written.
    pub(super) to: *const u32,
    /// Words that are written for each.
    pub(super) words: usize,
}

impl Ahead<'_> {
    pub(super) const NOTHING: Self =
        Self { from: std::ptr::null(), offsets: &[], size: 1, span: 1, to: std::ptr::null(), words: 0 };

    /// Fetches those of the next place, three lines of what is read at the most.
    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    pub(super) fn fetch(&mut self) {
        let Some((&first, rest)) = self.offsets.split_first() else { return };
        let at = self.from.wrapping_add((first as usize).wrapping_mul(self.size));
        line(at);
        line(at.wrapping_add(self.span.min(4 * LINE)));
        line(at.wrapping_add(self.span - 1));
        line(self.to);
        line(self.to.wrapping_add(self.words / 2));
        self.to = self.to.wrapping_add(self.words);
        self.offsets = rest;
    }
}
