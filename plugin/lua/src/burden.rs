//! Whether an event can take the detour: takes its table, gives what keeps it. It is read as far as the limits and no
//! further, and only on its way there. Must not know: what fields mean, who asks.

use mlua::{Table, Value};
use oddline_codec::detour::{MAX_BYTES, MAX_LEVELS, Obstacle, json_bytes};

/// Most bytes of JSON that a number takes: `-2.2250738585072014e-308`.
const NUMBER_BYTES: usize = 24;
/// A truth value's.
const TRUTH_BYTES: usize = 5;
/// The two brackets around a table, or quotes around a text.
const PAIR_BYTES: usize = 2;
/// The colon behind a key, or the comma behind a value.
const SIGN_BYTES: usize = 1;

/// What keeps an event of these fields from the detour. One that is both too large and too deep is called too large, in whatever
/// order Lua shows its fields.
pub(crate) fn obstacle(log: &Table) -> Option<Obstacle> {
    let mut burden = Burden { left: MAX_BYTES, is_too_deep: false };
    match burden.table(log, 1) {
        None => Some(Obstacle::TooLarge),
        Some(()) => burden.is_too_deep.then_some(Obstacle::TooDeep),
    }
}

/// What has been read of an event.
struct Burden {
    left: usize,
    is_too_deep: bool,
}

impl Burden {
    /// Counts what a table takes as JSON, or a little more; `None` as soon as that is too much. Recurses no deeper than
    /// [`MAX_LEVELS`], so a table that holds itself ends too.
    fn table(&mut self, table: &Table, level: usize) -> Option<()> {
        if level > MAX_LEVELS {
            self.is_too_deep = true;
            return Some(());
        }
        self.spend(PAIR_BYTES)?;
        for pair in table.pairs::<Value, Value>() {
            // What Lua has no memory to show would be too large for Vector too.
            let (key, value) = pair.ok()?;
            if let Value::String(key) = key {
                self.text(&key.as_bytes())?;
                self.spend(SIGN_BYTES)?;
            }
            match value {
                Value::String(text) => self.text(&text.as_bytes())?,
                Value::Table(inner) => self.table(&inner, level.saturating_add(1))?,
                Value::Boolean(_) => self.spend(TRUTH_BYTES)?,
                _ => self.spend(NUMBER_BYTES)?,
            }
            self.spend(SIGN_BYTES)?;
        }
        Some(())
    }

    fn text(&mut self, text: &[u8]) -> Option<()> {
        // No text takes less than its length: one that is too long need not be read.
        if text.len() > self.left {
            return None;
        }
        self.spend(json_bytes(text).saturating_add(PAIR_BYTES))
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    use super::*;

    fn found(lua: &Lua, source: &str) -> Option<Obstacle> {
        let log: Table = lua.load(source).eval().unwrap();
        obstacle(&log)
    }

    #[test]
    fn an_event_is_as_large_as_its_json() {
        let lua = Lua::new();
        let rest = r#"{"pad":"",}"#.len();
        for (bytes, wanted) in [
            (MAX_BYTES, None),
            (MAX_BYTES + 1, Some(Obstacle::TooLarge)),
            (10 * MAX_BYTES, Some(Obstacle::TooLarge)),
        ] {
            let log = lua.create_table_from([("pad", "x".repeat(bytes - rest))]).unwrap();
            assert_eq!(obstacle(&log), wanted, "{bytes}");
            let log = lua.create_table_from([("x".repeat(bytes - rest), "pad")]).unwrap();
            assert_eq!(obstacle(&log), wanted, "{bytes} in a key");
        }
        // As HTTP has it: six bytes for a control character, three for a byte that is no UTF-8.
        for (byte, times) in [(1, 6), (b'\n', 2), (0xff, 3)] {
            for (count, wanted) in
                [(MAX_BYTES / times - rest, None), (MAX_BYTES / times, Some(Obstacle::TooLarge))]
            {
                let text = lua.create_string(vec![byte; count]).unwrap();
                let log = lua.create_table_from([("pad", text)]).unwrap();
                assert_eq!(obstacle(&log), wanted, "{count} times {byte}");
            }
        }
        let many = MAX_BYTES / (NUMBER_BYTES + SIGN_BYTES);
        for (count, wanted) in [(many - 1, None), (many + 1, Some(Obstacle::TooLarge))] {
            let source =
                format!("local list = {{}}; for n = 1, {count} do list[n] = -n end; return {{l = list}}");
            assert_eq!(found(&lua, &source), wanted, "{count} numbers");
        }
    }

    #[test]
    fn objects_and_lists_are_levels() {
        let lua = Lua::new();
        for wrap in ["{inner = value}", "{value}", "{true, 1, 'x', {}, value}"] {
            for (levels, wanted) in [
                (MAX_LEVELS, None),
                (MAX_LEVELS + 1, Some(Obstacle::TooDeep)),
                (10 * MAX_LEVELS, Some(Obstacle::TooDeep)),
            ] {
                // The list with a `{}` in it has that beside its last level.
                let more = levels - usize::from(wrap.contains("{}"));
                let source =
                    format!("local value = 1; for _ = 1, {more} do value = {wrap} end; return value");
                assert_eq!(found(&lua, &source), wanted, "{levels} times {wrap}");
            }
        }
    }

    #[test]
    fn a_table_that_holds_itself_is_read_as_far_as_the_limits() {
        let lua = Lua::new();
        assert_eq!(found(&lua, "local t = {}; t.t = t; return t"), Some(Obstacle::TooDeep));
        let twice = "local t = {}; for _ = 1, 60 do t = {a = t, b = t} end; return t";
        assert_eq!(found(&lua, twice), Some(Obstacle::TooLarge));
    }
}
