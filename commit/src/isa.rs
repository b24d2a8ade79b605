//! Which instructions are used, here and in the crates above.

/// A set of instructions that fast paths are written for. Results do not depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every target has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// Environment variable that forces one path.
pub const ISA_VARIABLE: &str = "LOCKSTEP_ISA";

/// Why a path cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IsaError {
    /// `LOCKSTEP_ISA` names no instruction set. Fix the environment.
    #[error("{ISA_VARIABLE} is `{0}`; it can be portable, avx2 or avx512, or left out")]
    Unknown(String),
    /// The forced instruction set is not there. Force another one, or none.
    #[error("this machine does not have what the `{0}` path needs")]
    Missing(&'static str),
}

impl Isa {
    /// Every path, the plainest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The name that `LOCKSTEP_ISA` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Every path that this machine has, the plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The path that `LOCKSTEP_ISA` forces, or the best one there is.
    ///
    /// # Errors
    /// The variable names no path, or one that this machine does not have. Fix the environment.
    pub fn detect() -> Result<Self, IsaError> {
        match std::env::var_os(ISA_VARIABLE) {
            None => Ok(Self::available().last().unwrap_or(Self::Portable)),
            Some(name) => Self::forced(&name.to_string_lossy()),
        }
    }

    fn forced(name: &str) -> Result<Self, IsaError> {
        let isa = Self::ALL.into_iter().find(|i| i.name() == name);
        isa.ok_or_else(|| IsaError::Unknown(name.to_owned()))?.require()
    }

    /// This path, if the machine has it.
    ///
    /// # Errors
    /// It has not. Take another one.
    pub fn require(self) -> Result<Self, IsaError> {
        if self.is_available() { Ok(self) } else { Err(IsaError::Missing(self.name())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused() {
        assert_eq!(Isa::forced("avx3"), Err(IsaError::Unknown("avx3".into())));
        assert_eq!(Isa::forced("portable"), Ok(Isa::Portable));
        for isa in Isa::ALL {
            let expected = if isa.is_available() { Ok(isa) } else { Err(IsaError::Missing(isa.name())) };
            assert_eq!(Isa::forced(isa.name()), expected);
        }
    }
}
