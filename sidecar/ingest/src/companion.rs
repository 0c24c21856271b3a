//! The small record that copy mode emits beside a record that has flowed on: tags, and what they refer to.

use oddline_codec::{Edit, TagStyle, Tags, msgpack};

use crate::forward::frame::put_text;

pub use oddline_codec::REFERENCE_KEY;

/// Appends the companion of a record of that tag and time, as an event of the same time.
pub(crate) fn write(style: &TagStyle, tag: &[u8], time_nanos: i64, tags: &Tags, out: &mut Vec<u8>) {
    let mut body = vec![0x81];
    put_text(&mut body, REFERENCE_KEY.as_bytes());
    body.push(0x83);
    put_text(&mut body, b"template_id");
    put_text(&mut body, tags.template_id.to_string().as_bytes());
    put_text(&mut body, b"tag");
    put_text(&mut body, tag);
    put_text(&mut body, b"time");
    // Writing to a Vec cannot fail.
    let _ = rmp::encode::write_sint(&mut body, time_nanos);
    msgpack::write_head(time_nanos, out);
    // Our own map is readable; the head would need a body in any case.
    if msgpack::splice(&body, &Edit::tag(style, tags), out).is_err() {
        out.extend_from_slice(&body);
    }
}
