//! Runs compiled maps over the outputs of a node, segment by segment.

use lockstep_ir::{DType, Ty};

use crate::{
    access::{Address, affine, digits},
    code::{Reg, WIDTH},
    compile::{Feed, MapKernel},
    memory::{Lanes, Load, Pattern, with_elements},
    worker::Worker,
};

/// What a thread keeps between segments.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Packed streams, and copies of what is shorter than a register.
    packed: Vec<Reg>,
    /// Where routines keep what they have no register for.
    area: Vec<[u32; 16]>,
    arguments: Vec<u64>,
    at: Vec<u64>,
}

impl Scratch {
    /// At least so many registers of area, and no arguments yet.
    pub(crate) fn prepare(&mut self, slots: usize) -> (&mut [[u32; 16]], &mut Vec<u64>) {
        self.area.resize(slots.max(self.area.len()), [0; 16]);
        self.arguments.clear();
        (&mut self.area, &mut self.arguments)
    }
}

impl MapKernel {
    /// Elements from `first` that one call can take, at most `limit`.
    fn segment(&self, domain: &[u64], first: u64, limit: u64) -> u64 {
        let row = match domain.last() {
            Some(&n) if self.cut_rows => n - first % n,
            _ => u64::MAX,
        };
        let packed = if self.packs() { WIDTH as u64 } else { u64::MAX };
        row.min(packed).min(limit)
    }
}

impl Worker<'_> {
    /// Evaluates `n` elements from `first` on into `outs`, one slice for each output.
    pub(crate) fn run_map(&mut self, kernel: &MapKernel, first: u64, n: u64, outs: &mut [&mut [u8]]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if kernel.packs() || n < kernel.lanes as u64 || kernel.cut_rows {
            let needed = kernel.streams.len() + kernel.outputs.len();
            scratch.packed.resize(needed.max(scratch.packed.len()), Reg::ZERO);
        }
        scratch.area.resize(kernel.slots.max(scratch.area.len()), [0; 16]);
        let mut done = 0;
        while done < n {
            let take = kernel.segment(&self.node.places.domain, first + done, n - done);
            self.run_segment(kernel, &mut scratch, first + done, [done as usize, take as usize], outs);
            done += take;
        }
        self.scratch = scratch;
    }

    fn run_segment(
        &mut self,
        kernel: &MapKernel,
        scratch: &mut Scratch,
        first: u64,
        [from, n]: [usize; 2],
        outs: &mut [&mut [u8]],
    ) {
        if kernel.packs() && ((self.first, self.outputs) != (first, n) || self.sub != 1) {
            self.start_outputs(first, n);
            self.start_lanes(1);
        }
        if kernel.packs() {
            self.start_position(1, |_| 0);
            self.masked = false;
        }
        digits(first, &self.node.places.domain, &mut scratch.at);
        let Scratch { packed, area, arguments, at } = scratch;
        arguments.clear();
        arguments.extend([n.max(kernel.lanes) as u64, area.as_mut_ptr() as u64]);
        let slots = kernel.streams.len().min(packed.len());
        let (inputs, results) = packed.split_at_mut(slots);
        let mut inputs = inputs.iter_mut();
        for feed in &kernel.streams {
            let start = match feed {
                Feed::Folded => self.folded[from..][..n.max(kernel.lanes)].as_ptr().cast(),
                _ => self.stream(feed, kernel.lanes, [first, n as u64], at, inputs.next()),
            };
            arguments.push(start as u64);
        }
        // Fewer elements than a register has lanes: computed beside, then copied.
        let short = n < kernel.lanes;
        if short {
            arguments.extend(results.iter_mut().take(outs.len()).map(|r| r.0.as_mut_ptr() as u64));
        } else {
            let slice = |(out, dtype): (&mut &mut [u8], &DType)| {
                out[from * dtype.size()..][..n * dtype.size()].as_mut_ptr() as u64
            };
            arguments.extend(outs.iter_mut().zip(&kernel.outputs).map(slice));
        }
        assert!(!arguments.contains(&0), "every stream and output has an address");
        assert_eq!(arguments.len(), 2 + kernel.streams.len() + kernel.outputs.len(), "one slice for each output");
        arguments.extend(kernel.uniforms.iter().map(|feed| u64::from(self.uniform(feed, at))));
        #[allow(unsafe_code, reason = "runs machine code")]
        // SAFETY: plans hold code only for instructions that are there; `n` elements (a register's, where there are fewer) lie at every
        // address, cut as slices above; outputs are borrowed mutably and so overlap nothing; the area has `slots` registers.
        unsafe {
            kernel.entry.call(arguments);
        }
        if short {
            for ((out, dtype), beside) in outs.iter_mut().zip(&kernel.outputs).zip(results) {
                let bytes = n * dtype.size();
                copy_bytes(beside, &mut out[from * dtype.size()..][..bytes]);
            }
        }
    }

    /// Address of the stream's first element. What is packed or too short goes into `slot`.
    fn stream(
        &mut self,
        feed: &Feed,
        lanes: usize,
        [first, n]: [u64; 2],
        at: &[u64],
        slot: Option<&mut Reg>,
    ) -> *const u8 {
        let n = n as usize;
        let mut bytes: &[u8] = &[];
        if let Feed::Direct(i) = *feed {
            let place = &self.node.places.operands[i];
            let (size, index) = (place.dtype.size(), linear(&place.address, at));
            bytes = &self.operands[i][index * size..][..n * size];
            if n >= lanes {
                return bytes.as_ptr();
            }
        }
        // There is a slot for each stream if any needs one.
        let Some(slot) = slot else { return std::ptr::null() };
        match *feed {
            Feed::Packed(i) => self.load(i, &mut slot.0[..n]),
            Feed::Row(i) => return self.row(i, lanes, n, at, slot),
            Feed::Coordinate(d) => {
                let sizes = &self.node.places.domain;
                let mut unit = vec![0; sizes.len()];
                unit[d] = 1;
                let mut values = [0; WIDTH];
                affine(sizes, &unit, 0, first, &mut values[..n]);
                slot.0[..n].iter_mut().zip(values).for_each(|(x, v)| *x = v as u32);
            }
            _ => {
                slot.0[..lanes].fill(0);
                for (d, s) in slot.0.iter_mut().zip(bytes.chunks(4)) {
                    let mut word = [0; 4];
                    word[..s.len()].copy_from_slice(s);
                    *d = u32::from_le_bytes(word);
                }
            }
        }
        slot.0.as_ptr().cast()
    }

    /// `n` elements from these coordinates on: where they lie, or in `slot` with what is read out of bounds.
    fn row(&self, i: usize, lanes: usize, n: usize, at: &[u64], slot: &mut Reg) -> *const u8 {
        let place = &self.node.places.operands[i];
        let Address::Tested(rows) = &place.address else { return std::ptr::null() };
        let (mut index, mut first, mut extent, mut inside) = (0i64, 0i64, 1i64, true);
        for (d, row) in rows.iter().enumerate() {
            let affine =
                row.domain.iter().zip(at).fold(row.offset, |sum, (&c, &x)| sum.wrapping_add(c.wrapping_mul(x as i64)));
            first = affine
                .wrapping_add(row.gather.map_or(0, |(source, stride)| self.index(source, at).wrapping_mul(stride)));
            extent = row.extent;
            if d + 1 < rows.len() {
                inside &= first >= 0 && first < extent;
                index = index.wrapping_mul(extent).wrapping_add(first);
            }
        }
        let (low, high) = if inside {
            (
                first.saturating_neg().clamp(0, n as i64) as usize,
                extent.saturating_sub(first).clamp(0, n as i64) as usize,
            )
        } else {
            (0, 0)
        };
        let start = index.wrapping_mul(extent).wrapping_add(first);
        let elements = self.operands[i].as_chunks::<4>().0;
        if low == 0 && high == n && n >= lanes {
            return elements[start as usize..][..n].as_ptr().cast();
        }
        slot.0[..n.max(lanes)].fill(place.fill);
        if low < high {
            let from = &elements[start.wrapping_add(low as i64) as usize..][..high - low];
            slot.0[low..high].iter_mut().zip(from).for_each(|(d, &e)| *d = u32::from_le_bytes(e));
        }
        slot.0.as_ptr().cast()
    }

    /// The index that this operand holds.
    fn index(&self, i: usize, at: &[u64]) -> i64 {
        let place = &self.node.places.operands[i];
        let value = element(place.dtype, self.operands[i], linear(&place.address, at));
        if place.dtype.ty() == Ty::U32 { i64::from(value) } else { i64::from(value as i32) }
    }

    fn uniform(&self, feed: &Feed, at: &[u64]) -> u32 {
        match *feed {
            Feed::Same(i) => {
                let place = &self.node.places.operands[i];
                element(place.dtype, self.operands[i], linear(&place.address, at))
            }
            Feed::SameCoordinate(d) => at[d] as u32,
            _ => 0,
        }
    }
}

/// Element index at these domain coordinates.
fn linear(address: &Address, at: &[u64]) -> usize {
    let Address::Linear { base, domain, .. } = address else { return usize::MAX };
    let index = domain.iter().zip(at).fold(*base, |sum, (&c, &x)| sum + c * x as i64);
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn element(dtype: DType, bytes: &[u8], index: usize) -> u32 {
    let mut one = [0];
    let lanes = Lanes { pattern: Pattern::Uniform, offsets: &[index as i64], shift: 0 };
    with_elements(dtype, bytes, Load { lanes, dst: &mut one });
    one[0]
}

fn copy_bytes(from: &Reg, to: &mut [u8]) {
    for (d, s) in to.chunks_mut(4).zip(&from.0) {
        d.copy_from_slice(&s.to_le_bytes()[..d.len()]);
    }
}
