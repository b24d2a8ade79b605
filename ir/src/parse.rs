//! Reads the text form of programs and nodes: the other half of [`crate::text`].
//!
//! What it reads is well-formed, not yet valid, just as with [`crate::abi`]. It needs memory in proportion to the text.

use alloc::{format, vec, vec::Vec};
use core::str::FromStr;

use crate::{
    lex::{Kind, Parser, Result},
    program::{Fold, Gather, Node, Operand, Order, Program, Source, StateDecl, TensorDecl, VERSION},
    scalar::{Instr, MAX_INSTRUCTIONS, Op},
    types::{DType, MAX_RANK, Ty},
};

pub use crate::lex::{MAX_TEXT_BYTES, ParseError};

/// A row of the access matrix; operand and stride of a gather.
type Coordinate = (Vec<i64>, Option<(u8, i64)>);

impl FromStr for Program {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self> {
        let mut p = Parser::new(text)?;
        let program = p.program()?;
        p.end()?;
        Ok(program)
    }
}

impl FromStr for Node {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self> {
        let mut p = Parser::new(text)?;
        p.word("node")?;
        let node = p.node()?;
        p.end()?;
        Ok(node)
    }
}

impl Parser<'_> {
    fn decl(&mut self) -> Result<TensorDecl> {
        let dtype = self.named(&DType::ALL, DType::name, "an element type")?;
        Ok(TensorDecl { dtype, shape: self.shape()? })
    }

    fn source(&mut self) -> Result<Source> {
        Ok(match self.indexed("sdn", "a tensor: `s`, `d` or `n` and its number")? {
            ('s', i) => Source::State(i),
            ('d', i) => Source::Data(i),
            (_, i) => Source::Node(i),
        })
    }

    fn constant(&mut self) -> Result<(Ty, u32)> {
        let ty = self.named(&[Ty::F32, Ty::I32, Ty::U32], Ty::name, "a constant: its type first")?;
        let bits = match ty {
            Ty::F32 => {
                let Kind::Bits(bits) = self.next.kind else { return Err(self.next.unexpected("bits: `0x…`")) };
                self.advance()?;
                bits
            }
            Ty::I32 => self.signed::<i32>("32 bits")? as u32,
            Ty::U32 => self.number("32 bits")?,
        };
        Ok((ty, bits))
    }

    fn program(&mut self) -> Result<Program> {
        self.word("lockstep")?;
        self.word("program")?;
        if self.next.kind != Kind::Number(u64::from(VERSION)) {
            return Err(self.next.unexpected(format!("version {VERSION}, which this build speaks")));
        }
        self.advance()?;
        let mut program = Program { state: Vec::new(), data: Vec::new(), nodes: Vec::new() };
        while self.try_word("state")? {
            self.numbered('s', program.state.len())?;
            let decl = self.decl()?;
            self.word("next")?;
            program.state.push(StateDecl { decl, next: self.source()? });
        }
        while self.try_word("data")? {
            self.numbered('d', program.data.len())?;
            program.data.push(self.decl()?);
        }
        while self.try_word("node")? {
            self.numbered('n', program.nodes.len())?;
            program.nodes.push(self.node()?);
        }
        Ok(program)
    }

    /// A node after the word `node` and its number.
    fn node(&mut self) -> Result<Node> {
        let out = self.decl()?;
        self.sign('{')?;
        let domain = if self.try_word("domain")? { self.shape()? } else { out.shape.clone() };
        let mut fold = if self.try_word("fold")? { Some(self.fold()?) } else { None };
        let ranks = [domain.len(), fold.as_ref().map_or(0, |f| f.factors.len())];
        let mut operands = Vec::new();
        while self.try_word("operand")? {
            let at = self.next;
            if self.number::<u64>("64 bits")? != operands.len() as u64 {
                return Err(at.unexpected(format!("operand {}", operands.len())));
            }
            operands.push(self.operand(ranks)?);
        }
        if let Some(fold) = &mut fold {
            fold.body = self.code("body")?;
            if self.is_word("combine") {
                fold.combine = self.code("combine")?;
            }
        }
        let finish = self.code("finish")?;
        self.sign('}')?;
        Ok(Node { out, domain, operands, fold, finish })
    }

    fn fold(&mut self) -> Result<Fold> {
        let at = self.next;
        let factors = self.shape()?;
        if factors.is_empty() {
            return Err(at.unexpected("at least one fold factor"));
        }
        let name = |o| if o == Order::Chain { "chain" } else { "lanes" };
        let order = self.named(&[Order::Chain, Order::Lanes], name, "`chain` or `lanes`")?;
        self.word("from")?;
        let (ty, init) = self.constant()?;
        Ok(Fold { factors, order, ty, init, body: Vec::new(), combine: Vec::new() })
    }

    fn operand(&mut self, ranks: [usize; 2]) -> Result<Operand> {
        let source = self.source()?;
        let decl = self.decl()?;
        let view = if self.try_word("as")? { self.shape()? } else { decl.shape.clone() };
        let (access, gathers) = if self.is_word("at") {
            // Rows are as long as the ranks say, so the ranks are bounded first.
            if ranks.into_iter().chain([view.len()]).max() > Some(MAX_RANK) {
                return Err(self.next.unexpected("`raw`, for a rank is over 6"));
            }
            self.coordinates(ranks, view.len())?
        } else if self.try_word("raw")? {
            (self.list(['[', ']'], |p| p.signed("64 bits"))?, self.raw_gathers()?)
        } else {
            return Err(self.next.unexpected("`at` or `raw`"));
        };
        let skip = self.try_word("skip")?;
        let mut fill = 0;
        if self.try_word("fill")? {
            let at = self.next;
            let (ty, bits) = self.constant()?;
            if ty != decl.dtype.ty() {
                return Err(at.unexpected(format!("a fill of type {}, as the operand loads", decl.dtype.ty())));
            }
            fill = bits;
        }
        Ok(Operand { source, decl, view, access, gathers, fill, skip })
    }

    fn raw_gathers(&mut self) -> Result<Vec<Gather>> {
        let mut gathers = Vec::new();
        while self.try_word("gather")? {
            self.sign('(')?;
            let dim = self.number("8 bits")?;
            self.sign(',')?;
            let operand = self.number("8 bits")?;
            self.sign(',')?;
            gathers.push(Gather { dim, operand, stride: self.signed("64 bits")? });
            self.sign(')')?;
        }
        Ok(gathers)
    }

    fn coordinates(&mut self, ranks: [usize; 2], dims: usize) -> Result<(Vec<i64>, Vec<Gather>)> {
        let (mut access, mut gathers) = (Vec::new(), Vec::new());
        let at = self.advance()?;
        let mut count = 0;
        self.list(['(', ')'], |p| {
            let (row, gather) = p.sum(ranks)?;
            access.extend(row);
            gathers.extend(gather.map(|(operand, stride)| Gather { dim: count as u8, operand, stride }));
            count += 1;
            if count > dims { Err(at.unexpected(format!("{dims} coordinates"))) } else { Ok(()) }
        })?;
        if count < dims { Err(at.unexpected(format!("{dims} coordinates"))) } else { Ok((access, gathers)) }
    }

    /// One coordinate: its row of the access matrix, and its gather.
    fn sum(&mut self, [rank_o, rank_k]: [usize; 2]) -> Result<Coordinate> {
        let mut row = vec![None; 1 + rank_o + rank_k];
        let mut gather = None;
        let mut negative = self.try_sign('-')?;
        loop {
            let at = self.next;
            let again = || at.unexpected("a term that was not given yet");
            if self.try_word("gather")? {
                self.sign('(')?;
                let operand = self.number("8 bits")?;
                self.sign(')')?;
                if gather.replace((operand, self.factor(negative)?)).is_some() {
                    return Err(again());
                }
            } else {
                let (column, coefficient) = if matches!(at.kind, Kind::Number(_)) {
                    (0, self.magnitude(negative, "64 bits")?)
                } else {
                    let (base, count) = if at.text.starts_with('o') { (1, rank_o) } else { (1 + rank_o, rank_k) };
                    let (letter, i) = self.indexed("ok", "a term: `o`, `k`, `gather` or a number")?;
                    if i as usize >= count {
                        return Err(at.unexpected(format!("`{letter}` with a number below {count}")));
                    }
                    (base + i as usize, self.factor(negative)?)
                };
                if row[column].replace(coefficient).is_some() {
                    return Err(again());
                }
            }
            negative = self.next.kind == Kind::Sign('-');
            if !negative && self.next.kind != Kind::Sign('+') {
                return Ok((row.into_iter().map(Option::unwrap_or_default).collect(), gather));
            }
            self.advance()?;
        }
    }

    /// `*c`, or 1 when it is not there.
    fn factor(&mut self, negative: bool) -> Result<i64> {
        if self.try_sign('*')? {
            return self.magnitude(negative, "64 bits");
        }
        Ok(if negative { -1 } else { 1 })
    }

    fn code(&mut self, name: &str) -> Result<Vec<Instr>> {
        self.word(name)?;
        self.sign('{')?;
        let mut code = Vec::new();
        while !self.try_sign('}')? {
            if code.len() == MAX_INSTRUCTIONS {
                return Err(self.next.unexpected(format!("`}}` after {MAX_INSTRUCTIONS} instructions")));
            }
            self.numbered('v', code.len())?;
            self.sign('=')?;
            code.push(self.instr()?);
        }
        Ok(code)
    }

    fn instr(&mut self) -> Result<Instr> {
        if [Ty::F32, Ty::I32, Ty::U32].iter().any(|t| self.is_word(t.name())) {
            let (ty, bits) = self.constant()?;
            return Ok(Instr::Const(ty, bits));
        }
        // `const` is never written: a constant starts with its type.
        let op = self.named(&Op::ALL[1..], Op::text, "an operation")?;
        let mut abc = [0u16; 3];
        if matches!(op, Op::Load | Op::Coord | Op::Kf) {
            abc[0] = self.number("16 bits")?;
        }
        for slot in abc.iter_mut().take(op.arity()) {
            let at = self.next;
            let (_, v) = self.indexed("v", "a value: `v` and its number")?;
            *slot = u16::try_from(v).map_err(|_| at.range("16 bits"))?;
        }
        let [a, b, c] = abc;
        Ok(Instr::op(op, a, b, c))
    }
}
