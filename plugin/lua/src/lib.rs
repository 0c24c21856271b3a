//! The Lua module `oddline.so` for Vector's `lua` transform: takes events as Lua tables, gives them back with tags.
//!
//! ```text
//! module.rs    what Lua sees: `oddline.new`, and the functions behind a detector's methods; the only clock
//! module.lua   the methods themselves: an event is emitted whatever happens
//! options.rs   a table of options becomes checked settings
//! detector.rs  one transform: plugin, files, state, summaries
//! event.rs     an event's fields in, its tags out
//! burden.rs    whether an event can take the detour
//! raw.rs       tables by Lua's C interface, and nothing else
//! ```
//!
//! What happens to one record is in `oddline-shell`, shared with the other shells. Must not hold a detection rule, and
//! must not fail: in doubt the event goes on as it came. Nothing here keeps a thread: Lua unloads a module when it likes.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod burden;
pub mod detector;
pub mod event;
pub mod module;
pub mod options;
mod raw;

/// What `require("oddline")` calls.
#[cfg(feature = "module")]
#[mlua::lua_module(name = "oddline")]
fn open(lua: &mlua::Lua) -> mlua::Result<mlua::Table> {
    module::open(lua)
}
