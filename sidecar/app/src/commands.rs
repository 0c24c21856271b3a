//! The commands, one file each, and what they share: the offline judge, reading lines, printing verdicts.

pub mod check;
pub mod demo;
pub mod learn;
pub mod lines;
pub mod offline;
pub mod print;
pub mod run;
pub mod scan;
