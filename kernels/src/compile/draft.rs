//! Vector code before it has registers: values that are made once, each from earlier ones.

use std::collections::HashMap;

use super::ops::Vop;

/// A value, by number.
pub(crate) type Val = usize;

/// How elements of a stream lie in memory. All but `Word` are widened to 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Kind {
    /// 32 bits each.
    Word,
    /// Signed bytes.
    Byte,
    /// 16 bits each, zero-extended.
    Half,
    /// One 32-bit element for all lanes.
    Same,
}

impl Kind {
    /// Bytes from one lane's element to the next.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Word | Self::Same => 4,
            Self::Half => 2,
            Self::Byte => 1,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Def {
    /// A vector of the routine's constants.
    Const(u32),
    /// One value for all lanes, prepared before the loop.
    Uniform(usize),
    /// The elements of a stream from the loop's position plus `lane` on.
    Stream {
        /// Which stream.
        slot: usize,
        /// Elements after the position.
        lane: usize,
    },
    /// What the last round of the loop left in this accumulator.
    Carried(usize),
    /// An operation.
    Op(Vop, [Val; 3]),
}

/// Constants of a routine.
#[derive(Default)]
pub(crate) struct Pool {
    /// One per register.
    pub(crate) vectors: Vec<[u32; 16]>,
}

impl Pool {
    fn number(&mut self, vector: [u32; 16]) -> u32 {
        let known = self.vectors.iter().position(|v| *v == vector);
        known.unwrap_or_else(|| {
            self.vectors.push(vector);
            self.vectors.len() - 1
        }) as u32
    }
}

/// Values in the order in which they are made; equal ones are made once.
#[derive(Default)]
pub(crate) struct Draft {
    /// Every value.
    pub(crate) defs: Vec<Def>,
    known: HashMap<Def, Val>,
}

impl Draft {
    /// The value of this definition.
    pub(crate) fn value(&mut self, def: Def) -> Val {
        let next = self.defs.len();
        let val = *self.known.entry(def).or_insert(next);
        if val == next {
            self.defs.push(def);
        }
        val
    }

    /// These bits in every lane.
    pub(crate) fn splat(&mut self, pool: &mut Pool, bits: u32) -> Val {
        self.vector(pool, [bits; 16])
    }

    /// A constant vector.
    pub(crate) fn vector(&mut self, pool: &mut Pool, lanes: [u32; 16]) -> Val {
        let number = pool.number(lanes);
        self.value(Def::Const(number))
    }

    /// An operation on as many of the arguments as it takes.
    pub(crate) fn op(&mut self, op: Vop, args: &[Val]) -> Val {
        let mut three = [0; 3];
        three[..op.arity()].copy_from_slice(&args[..op.arity()]);
        self.value(Def::Op(op, three))
    }
}

/// What is done in a loop's body, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// Makes a value.
    Make(Val),
    /// Stores a value's lanes.
    Store {
        /// The value.
        val: Val,
        /// Which output.
        out: usize,
        /// How an element is stored.
        kind: Kind,
        /// Elements after the position.
        lane: usize,
    },
    /// Leaves a value in an accumulator.
    Carry {
        /// The value.
        val: Val,
        /// Which accumulator.
        to: usize,
    },
}

/// A loop's body: values and what is done with them.
#[derive(Default)]
pub(crate) struct Body {
    /// Their definitions.
    pub(crate) defs: Vec<Def>,
    /// In order.
    pub(crate) items: Vec<Item>,
}

impl Body {
    /// The body that makes what `ends` need: all of them stores or carries.
    pub(crate) fn new(draft: &Draft, ends: &[Item]) -> Self {
        let mut needed = vec![false; draft.defs.len()];
        for end in ends {
            let (Item::Make(val) | Item::Store { val, .. } | Item::Carry { val, .. }) = *end;
            needed[val] = true;
        }
        for (val, def) in draft.defs.iter().enumerate().rev() {
            if let (true, Def::Op(op, args)) = (needed[val], def) {
                args[..op.arity()].iter().for_each(|&a| needed[a] = true);
            }
        }
        let made = (0..draft.defs.len()).filter(|&v| needed[v]).map(Item::Make);
        Self { defs: draft.defs.clone(), items: made.chain(ends.iter().copied()).collect() }
    }

    /// `copies` of the body side by side, each `lanes` further on, with its own accumulators.
    pub(crate) fn times(&self, copies: usize, lanes: usize) -> Self {
        let mut out = Self::default();
        let mut maps = vec![vec![0; self.defs.len()]; copies];
        let mut shared: HashMap<Def, Val> = HashMap::new();
        for &item in &self.items {
            for (copy, map) in maps.iter_mut().enumerate() {
                let item = match item {
                    Item::Make(val) => {
                        let def = match self.defs[val] {
                            Def::Stream { slot, lane } => Def::Stream { slot, lane: lane + copy * lanes },
                            Def::Carried(to) => Def::Carried(to * copies + copy),
                            Def::Op(op, args) => Def::Op(op, args.map(|a| map[a])),
                            def @ (Def::Const(_) | Def::Uniform(_)) => def,
                        };
                        let next = out.defs.len();
                        map[val] = *shared.entry(def).or_insert(next);
                        if map[val] != next {
                            continue;
                        }
                        out.defs.push(def);
                        Item::Make(next)
                    }
                    Item::Store { val, out, kind, lane } => {
                        Item::Store { val: map[val], out, kind, lane: lane + copy * lanes }
                    }
                    Item::Carry { val, to } => Item::Carry { val: map[val], to: to * copies + copy },
                };
                out.items.push(item);
            }
        }
        out
    }
}
