//! Writes a hundred random programs, as text into the first folder and encoded into the second.

use std::{env, fs, io, path::Path};

use lockstep_ir::sample::{Rng, any_program, valid_program};

fn main() -> io::Result<()> {
    let folders: Vec<String> = env::args().skip(1).collect();
    let [text, encoded] = &folders[..] else { return Err(io::Error::other("usage: seeds TEXT_FOLDER ENCODED_FOLDER")) };
    fs::create_dir_all(text)?;
    fs::create_dir_all(encoded)?;
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let program = if seed % 4 == 0 { any_program(&mut rng) } else { valid_program(&mut rng, 1, 500) };
        fs::write(Path::new(text).join(seed.to_string()), program.to_string())?;
        fs::write(Path::new(encoded).join(seed.to_string()), program.encode())?;
    }
    Ok(())
}
