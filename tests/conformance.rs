//! The same cases through every front.
