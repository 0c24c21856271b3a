//! Logs as Vector writes them, read and edited.
