//! Components that misbehave, one way after the other: each is refused or cut with a clear word, and harms nobody else.

mod calls;
mod crowd;
mod files;
mod guest;
