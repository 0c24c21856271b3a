//! Takes the parts of a variable as masking finds them, keeps which variables of a message are ids. Looks at each byte of a
//! variable once, however many parts it has.

use std::ops::Range;

use super::{ID_BYTES, Masked, class::is_word};

impl Masked {
    /// Remembers the variable of which this is the last part if it is an id; more of one that was remembered makes it longer.
    pub(super) fn note_id(&mut self, message: &[u8], part: Range<usize>, joined: bool, found: bool) {
        let last = self.id_count.checked_sub(1).and_then(|last| self.ids.get_mut(last));
        let known = last.is_some_and(|last| joined && last.start == self.variable_start);
        if !found && !known {
            return;
        }
        let range = self.variable_start..part.end;
        let may_be_id = self.may_be_id(message, &range);
        let is_id = may_be_id && ID_BYTES.contains(&range.len());
        // A word of letters and digits is as long in every message with this skeleton; a number is not, nor what has one in it.
        let is_word =
            !joined && !message.get(range.clone()).unwrap_or_default().iter().all(u8::is_ascii_digit);
        let is_long = known || !joined || part.len() >= *ID_BYTES.start();
        self.is_by_skeleton &= !may_be_id || is_word || is_id && is_long;
        match (known, is_id) {
            (true, true) => {
                if let Some(last) = self.id_count.checked_sub(1).and_then(|last| self.ids.get_mut(last)) {
                    *last = range;
                }
            }
            (true, false) => self.id_count = self.id_count.saturating_sub(1),
            (false, true) => {
                if let Some(slot) = self.ids.get_mut(self.id_count) {
                    *slot = range;
                    self.id_count = self.id_count.saturating_add(1);
                }
            }
            (false, false) => {}
        }
    }

    /// Whether a variable is made of nothing but what ids are made of. Looks at each byte once, however many parts it has.
    fn may_be_id(&mut self, message: &[u8], range: &Range<usize>) -> bool {
        if self.looked_at.start != range.start {
            (self.looked_at, self.is_id_so_far) = (range.start..range.start, true);
        }
        let more = message.get(self.looked_at.end..range.end).unwrap_or_default();
        let is_of_id = |byte: &u8| is_word(*byte) || *byte == b'-' || *byte == b'#';
        self.is_id_so_far = self.is_id_so_far && more.iter().all(is_of_id);
        self.looked_at.end = range.end;
        self.is_id_so_far
    }
}
