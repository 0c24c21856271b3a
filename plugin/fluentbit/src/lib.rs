//! fluentbit
