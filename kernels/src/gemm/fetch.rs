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
