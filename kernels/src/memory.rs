//! Between stored bytes and registers.

use std::alloc::{Layout, alloc, alloc_zeroed};

use lockstep_ir::{
    DType,
    number::{canonical, f32_to_bf16, saturate_i8},
};

/// How the element indices of consecutive lanes lie. `Table` and `Runs` use the table of offsets, the others its first entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// All the same.
    Uniform,
    /// One after the other.
    Contiguous,
    /// At a fixed distance.
    Strided(i64),
    /// Sixteen at a time one after the other.
    Runs,
    /// Anything.
    Table,
}

/// Element indices of the lanes of a block, all in bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes<'a> {
    pub(crate) pattern: Pattern,
    pub(crate) offsets: &'a [i64],
    /// Added to every offset.
    pub(crate) shift: i64,
}

impl Lanes<'_> {
    fn at(&self, lane: usize) -> usize {
        let first = self.offsets.first().copied().unwrap_or(0) + self.shift;
        let index = match self.pattern {
            Pattern::Uniform => first,
            Pattern::Contiguous => first + lane as i64,
            Pattern::Strided(stride) => first + stride * lane as i64,
            Pattern::Runs | Pattern::Table => self.offsets[lane] + self.shift,
        };
        index as usize
    }
}

/// Reads stored elements of one type.
pub(crate) trait Read {
    /// What is done with the elements, whatever their type.
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32);
}

/// Calls `read` with the elements of a tensor. NaNs keep their payload.
pub(crate) fn with_elements(dtype: DType, bytes: &[u8], read: impl Read) {
    match dtype {
        DType::F32 | DType::I32 | DType::U32 => read.run(bytes.as_chunks::<4>().0, u32::from_le_bytes),
        DType::I8 => read.run(bytes.as_chunks::<1>().0, |[b]| b as i8 as i32 as u32),
        DType::Bf16 => read.run(bytes.as_chunks::<2>().0, |b| u32::from(u16::from_le_bytes(b)) << 16),
    }
}

/// Fills `dst` from lanes that are all in bounds.
pub(crate) struct Load<'a> {
    pub(crate) lanes: Lanes<'a>,
    pub(crate) dst: &'a mut [u32],
}

impl Read for Load<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let (l, dst) = (self.lanes, self.dst);
        match l.pattern {
            Pattern::Uniform => dst.fill(widen(items[l.at(0)])),
            Pattern::Contiguous => copy(dst, &items[l.at(0)..], widen),
            Pattern::Strided(stride) if stride > 0 => {
                let source = items[l.at(0)..].iter().step_by(stride as usize);
                dst.iter_mut().zip(source).for_each(|(d, &x)| *d = widen(x));
            }
            Pattern::Runs => {
                for (d, &at) in dst.chunks_mut(16).zip(l.offsets.iter().step_by(16)) {
                    copy(d, &items[(at + l.shift) as usize..], &widen);
                }
            }
            Pattern::Table => {
                dst.iter_mut().zip(l.offsets).for_each(|(d, &at)| *d = widen(items[(at + l.shift) as usize]));
            }
            Pattern::Strided(_) => dst.iter_mut().enumerate().for_each(|(i, d)| *d = widen(items[l.at(i)])),
        }
    }
}

fn copy<const N: usize>(dst: &mut [u32], items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
    let n = dst.len();
    dst.iter_mut().zip(&items[..n]).for_each(|(d, &x)| *d = widen(x));
}

/// Fills `dst` where `active` is not 0, with 0 elsewhere.
pub(crate) struct LoadActive<'a> {
    pub(crate) lanes: Lanes<'a>,
    pub(crate) active: &'a [u32],
    pub(crate) dst: &'a mut [u32],
}

impl Read for LoadActive<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        for (i, (d, &active)) in self.dst.iter_mut().zip(self.active).enumerate() {
            *d = if active == 0 { 0 } else { widen(items[self.lanes.at(i)]) };
        }
    }
}

/// Fills `dst` from the given indices where `inside` is not 0, with `fill` elsewhere.
pub(crate) struct LoadInside<'a> {
    pub(crate) index: &'a [i64],
    pub(crate) inside: &'a [u32],
    pub(crate) fill: u32,
    pub(crate) dst: &'a mut [u32],
}

impl Read for LoadInside<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        for ((d, &at), &inside) in self.dst.iter_mut().zip(self.index).zip(self.inside) {
            *d = if inside == 0 { self.fill } else { widen(items[at as usize]) };
        }
    }
}

/// Stores values as elements.
pub(crate) fn store(dtype: DType, values: &[u32], out: &mut [u8]) {
    match dtype {
        DType::F32 => put(out.as_chunks_mut::<4>().0, values, |v| canonical(v).to_le_bytes()),
        DType::I32 | DType::U32 => put(out.as_chunks_mut::<4>().0, values, u32::to_le_bytes),
        DType::I8 => put(out.as_chunks_mut::<1>().0, values, |v| [saturate_i8(v) as u8]),
        DType::Bf16 => put(out.as_chunks_mut::<2>().0, values, |v| (f32_to_bf16(v) as u16).to_le_bytes()),
    }
}

fn put<const N: usize>(out: &mut [[u8; N]], values: &[u32], narrow: impl Fn(u32) -> [u8; N]) {
    out.iter_mut().zip(values).for_each(|(o, &v)| *o = narrow(v));
}

/// Memory for an output, all of which is going to be written: what it holds until then is anything. `None` if there is not enough.
#[allow(unsafe_code, reason = "`Vec` can neither leave memory as it is nor be refused some")]
pub(crate) fn unwritten(size: usize) -> Option<Vec<u8>> {
    let layout = Layout::array::<u8>(size).ok().filter(|l| l.size() > 0)?;
    // SAFETY: the layout is not empty.
    let start = unsafe { if CAN_SETTLE { alloc(layout) } else { alloc_zeroed(layout) } };
    if start.is_null() {
        return None;
    }
    settle(start);
    // SAFETY: allocated by the global allocator with this layout, and all of it has some value.
    Some(unsafe { Vec::from_raw_parts(start, size, size) })
}

/// Whether [`settle`] does anything.
const CAN_SETTLE: bool = cfg!(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")));

/// Gives memory behind a pointer the value that it happens to have.
#[allow(unsafe_code, reason = "assembly without instructions")]
fn settle(start: *mut u8) {
    #[cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: for all that the compiler knows, this writes every byte behind the pointer with what is there.
    unsafe {
        std::arch::asm!("/* {} */", in(reg) start, options(nostack, preserves_flags));
    }
    let _ = start;
}
