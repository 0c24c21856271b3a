//! Writes the inputs to begin with for `cargo fuzz`: `cargo run -p oddline-oracles --example seeds -- tests/fuzz/seeds`
//! makes one folder for each target in there.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| std::io::Error::other("say the folder to write to"))?;
    for (target, inputs) in oddline_oracles::seeds::all() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:04}")), input)?;
        }
    }
    Ok(())
}
