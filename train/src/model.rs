//! Models.

use lockstep_ir::{DType, Tensor, tensor::TensorError, types::shape_text};

use crate::{
    graph::{Graph, GraphError, Var},
    init::he_uniform,
};

/// A multi-layer perceptron: linear layers with rectifiers between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mlp {
    /// Features of an example, then the width of every layer; the last one is the number of classes.
    pub widths: Vec<u32>,
}

/// The variables of one linear layer.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `f32[out,in]`.
    pub weight: Var,
    /// `f32[out]`.
    pub bias: Var,
}

impl Mlp {
    /// `(in, out)` of every layer.
    fn layers(&self) -> impl Iterator<Item = (u32, u32)> {
        self.widths.windows(2).map(|w| (w[0], w[1]))
    }

    /// Declares the parameters: `layer<i>.weight` as `f32[out,in]` and `layer<i>.bias` as `f32[out]`.
    ///
    /// # Errors
    /// A width is 0, or a name is taken.
    pub fn declare(&self, g: &mut Graph) -> Result<Vec<Linear>, GraphError> {
        let mut layers = Vec::new();
        for (i, (inputs, outputs)) in self.layers().enumerate() {
            let weight = g.state(&format!("layer{i}.weight"), DType::F32, &[outputs, inputs])?;
            let bias = g.state(&format!("layer{i}.bias"), DType::F32, &[outputs])?;
            layers.push(Linear { weight, bias });
        }
        Ok(layers)
    }

    /// Logits `f32[batch,classes]` of examples `f32[batch,features]`.
    ///
    /// # Errors
    /// The examples have another number of features.
    pub fn forward(&self, g: &mut Graph, x: Var, layers: &[Linear]) -> Result<Var, GraphError> {
        let mut x = x;
        for (i, layer) in layers.iter().enumerate() {
            if i > 0 {
                x = g.relu(x)?;
            }
            let product = g.matmul_transposed(x, layer.weight)?;
            x = g.add_bias(product, layer.bias)?;
        }
        Ok(x)
    }

    /// First values of the parameters, in the order of [`Self::declare`]: He-uniform weights, zero biases.
    ///
    /// # Errors
    /// A width is 0, or a layer has 2^32 weights or more.
    pub fn init(&self, key: [u32; 2]) -> Result<Vec<Tensor>, TensorError> {
        let mut values = Vec::new();
        for (i, (inputs, outputs)) in self.layers().enumerate() {
            let shape = [outputs, inputs];
            let count = outputs.checked_mul(inputs).ok_or_else(|| TensorError::Shape(shape_text(&shape)))?;
            values.push(Tensor::from_f32(&shape, &he_uniform(count, inputs, key, i as u32))?);
            values.push(Tensor::from_f32(&[outputs], &vec![0.0; outputs as usize])?);
        }
        Ok(values)
    }
}
