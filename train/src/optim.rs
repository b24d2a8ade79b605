//! Optimisers: from gradients to the next parameters.

use lockstep_ir::DType;

use crate::graph::{Graph, GraphError, Var};

/// Stochastic gradient descent with momentum: `v' = μ·v + g`, `p' = p − η·v'`, each rounded once.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sgd {
    /// η.
    pub learning_rate: f32,
    /// μ.
    pub momentum: f32,
}

impl Sgd {
    /// Declares one momentum tensor per parameter, called `<name>.momentum`; their first values are zeros.
    ///
    /// # Errors
    /// A name is taken, or a parameter is not of this graph.
    pub fn declare(&self, g: &mut Graph, parameters: &[(String, Var)]) -> Result<Vec<Var>, GraphError> {
        let mut momenta = Vec::with_capacity(parameters.len());
        for (name, p) in parameters {
            let shape = g.decl(*p)?.shape.clone();
            momenta.push(g.state(&format!("{name}.momentum"), DType::F32, &shape)?);
        }
        Ok(momenta)
    }

    /// Sets the next parameter and momentum from the gradient.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn update(&self, g: &mut Graph, parameter: Var, momentum: Var, gradient: Var) -> Result<(), GraphError> {
        let v = g.scale_add(self.momentum, momentum, gradient)?;
        let p = g.scale_add(-self.learning_rate, v, parameter)?;
        g.set(momentum, v)?;
        g.set(parameter, p)
    }
}
