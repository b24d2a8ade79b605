//! Memory that holds machine code: written while the plan is made, executable and never written after.

use std::sync::{Arc, OnceLock};

use memmap2::{Mmap, MmapMut};

use super::routine::Routine;
use crate::Error;

/// Machine code of a plan, routine after routine.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    sealed: Arc<OnceLock<Mmap>>,
    /// AVX-512 routines are simulated, not run.
    #[cfg(test)]
    pub(crate) simulate: bool,
}

/// Routines start at multiples of this, so that their constants are aligned.
const ALIGNMENT: usize = 64;

impl Assembly {
    /// Appends a routine.
    pub(crate) fn add(&mut self, routine: &Routine) -> Entry {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let at = self.bytes.len() + routine.constants;
        self.bytes.extend_from_slice(&routine.bytes);
        Entry {
            code: Arc::clone(&self.sealed),
            at,
            #[cfg(test)]
            simulate: self.simulate && routine.target == super::Target::Avx512,
        }
    }

    /// Makes everything that was added executable.
    ///
    /// # Errors
    /// The system refuses the memory, or refuses to make it executable.
    pub(crate) fn seal(self) -> Result<(), Error> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let refused = |e: std::io::Error| Error::Executable { bytes: self.bytes.len(), reason: e.to_string() };
        let mut memory = MmapMut::map_anon(self.bytes.len()).map_err(refused)?;
        memory.copy_from_slice(&self.bytes);
        let memory = memory.make_exec().map_err(refused)?;
        _ = self.sealed.set(memory);
        Ok(())
    }
}

/// Where a routine starts.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    code: Arc<OnceLock<Mmap>>,
    at: usize,
    #[cfg(test)]
    simulate: bool,
}

impl Entry {
    /// Runs the routine.
    ///
    /// # Safety
    /// The assembly was made for instructions that this machine has, and `arguments` are what the routine's maker says: every address
    /// among them may be read or written as far as the routine goes.
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "machine code has no safe signature")]
    pub(crate) unsafe fn call(&self, arguments: &mut [u64]) {
        let Some(code) = self.code.get() else { panic!("a plan runs code that was never sealed") };
        #[cfg(test)]
        if self.simulate {
            return super::simulate::run(code, self.at, arguments);
        }
        let start = code[self.at..].as_ptr();
        // SAFETY: `at` is the first instruction of a routine of this signature in executable memory that lives as long as `self`.
        let routine = unsafe { std::mem::transmute::<*const u8, unsafe extern "sysv64" fn(*mut u64)>(start) };
        // SAFETY: the caller's promise; the routine keeps the registers that its calling convention says.
        unsafe { routine(arguments.as_mut_ptr()) };
    }

    /// Runs the routine.
    ///
    /// # Safety
    /// Never called: no code is made for this machine.
    #[cfg(not(target_arch = "x86_64"))]
    #[allow(unsafe_code, reason = "the same signature as where there is code")]
    pub(crate) unsafe fn call(&self, _: &mut [u64]) {
        panic!("no code is made for this machine; routine at {} of {:?}", self.at, self.code.get());
    }
}
