//! Prints the program for default settings and the built-in rules: for a look at it, and for measurements.
#![expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    let settings = oddline_engine::Settings::default();
    print!("{}", oddline_vrl::program(&settings, &oddline_engine::rules::builtin_rules()).text);
}
