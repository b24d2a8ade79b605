//! Initial weights.

use crate::philox::{Stream, uniform, word};

/// `count` weights for layer number `layer`, uniform in ±√(6 / `fan_in`) (He et al., *Delving Deep into
/// Rectifiers*, 2015), which keeps the size of activations through layers with a rectifier.
///
/// The same on every machine: only correctly rounded operations.
#[must_use]
pub fn he_uniform(count: u32, fan_in: u32, key: [u32; 2], layer: u32) -> Vec<f32> {
    let bound = (6.0 / fan_in as f32).sqrt();
    let weight = |i| (2.0 * uniform(word(key, Stream::Weights(layer), i)) - 1.0) * bound;
    (0..count).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fill_their_range_and_differ_by_tensor_and_seed() {
        let w = he_uniform(4096, 24, [7, 0], 0);
        let bound = 0.5;
        assert!(w.iter().all(|x| x.abs() <= bound));
        let mean = w.iter().sum::<f32>() / 4096.0;
        let variance = w.iter().map(|x| x * x).sum::<f32>() / 4096.0;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - bound * bound / 3.0).abs() < 0.004, "variance {variance}");
        assert_ne!(w, he_uniform(4096, 24, [7, 0], 1));
        assert_ne!(w, he_uniform(4096, 24, [8, 0], 0));
        assert_eq!(w, he_uniform(4096, 24, [7, 0], 0));
    }
}
