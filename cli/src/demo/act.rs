//! The three acts.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Honest,
    Cheat,
    FalseChallenge,
}

impl Act {
    pub(crate) const ALL: [Self; 3] = [Self::Honest, Self::Cheat, Self::FalseChallenge];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Honest => "Act 1: an honest solver trains a job, is verified and paid; the model is downloaded.",
            Self::Cheat => "Act 2: a solver alters one number. A verifier walks down to it, the referee convicts.",
            Self::FalseChallenge => "Act 3: an accuser disputes honest work. The referee sides with the solver.",
        }
    }
}
