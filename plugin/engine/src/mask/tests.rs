//! What masking does, by example and by property.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn mask(message: &str) -> String {
    let mut masked = Masked::default();
    masked.mask(message.as_bytes());
    String::from_utf8(masked.text).unwrap()
}

fn check(message: &str, expected: Expect) {
    expected.assert_eq(&mask(message));
}

#[test]
fn variables() {
    check("took 17ms for 3 of 5 items (60%)", expect!["took <*> for <*> of <*> items (<*>%)"]);
    check("from 10.0.0.1:8080 to fe80::1ff:fe23:4567:890a", expect!["from <*> to <*>"]);
    check("2026-11-21T02:03:04.123Z start", expect!["<*> start"]);
    check("Nov 21 02:03:04 host sshd[1234]: ok", expect!["<*> host sshd[<*>]: ok"]);
    check("id 550e8400-e29b-41d4-a716-446655440000 done", expect!["id <*> done"]);
    check(
        "[cafebab1-beef-dead-cafe-abcdefabcdef] -12345678-1234-beef-1234-beefbeefbeef 7",
        expect!["[<*>] <*>"],
    );
    check("abcdefab-1234-beef-1234-123456789012", expect!["abcdefab-<*>-beef-<*>"]);
    check("3.12345678-1234-beef-1234-123456789012", expect!["<*>-beef-<*>"]);
    check("blk_-1608999687919862906 of size 91178", expect!["<*> of size <*>"]);
    check("opened /var/log/app/x.log, closing", expect!["opened <*>, closing"]);
    check("GET https://example.org/a/b?c=1 now", expect!["GET <*> now"]);
    check("User 'alice' logged in from IP 192.168.1.50", expect!["User '<*>' logged in from IP <*>"]);
    check("don't retry, it isn't up", expect!["don't retry, it isn't up"]);
    check(r#"{"user":"bob","ms":12}"#, expect![[r#"{"user":"<*>","ms":<*>}"#]]);
    check("user1234 on node_7 at 0xdeadBEEF", expect!["user<*> on node_<*> at <*>"]);
    check("temp=-12.5 C", expect!["temp=<*> C"]);
    check("at 10:20:30,123 x1:2 of 7.8.9/24 5-ab 6:7a", expect!["at <*> x<*> of <*>-ab <*>"]);
    check("a\t\tb  c\n", expect!["a b c"]);
    check("Progress (1): 0/1.9 MB, 12 kB of 3 Bob", expect!["Progress (<*>): <*>, <*> of <*> Bob"]);
    check("0\t+0", expect!["<*>"]);
    check("[INFO] ------------ ... ==", expect!["[INFO] ---- ... =="]);
    check("delete blk_7503483334202473044 blk_-16089996879199 12", expect!["delete <*>"]);
}

#[test]
fn punctuation_alone_says_nothing() {
    let says_something = |message: &str| {
        let mut masked = Masked::default();
        masked.mask(message.as_bytes());
        masked.says_something()
    };
    assert!(says_something("7 ok") && says_something("<*> жд"));
    assert!(!says_something("==== 12% ]-") && !says_something(""));
}

#[test]
fn fixed_text_stays() {
    check(
        "CRITICAL: Failed to connect to primary database after 5 retries.",
        expect!["CRITICAL: Failed to connect to primary database after <*> retries."],
    );
    check("read/write error", expect!["read/write error"]);
    check("", expect![""]);
}

#[test]
fn numbers_are_remembered_but_not_parts_of_ids() {
    let mut masked = Masked::default();
    masked.mask(b"10.0.0.1 sent 512 bytes in 3.5 s on 2026-11-21 as req-77");
    assert_eq!(masked.values(), [512.0, 3_500.0], "a time in milliseconds");
    masked.mask(b"[req-36951603-adea-4117-8b56-82c544f990a8] 404-page: x -7 of 6164794d-ffbd, status: 200");
    assert_eq!(masked.values(), [7.0, 200.0], "what is joined to letters by a dash is a name");
    masked.mask(b"span 85214531829232bd of 1234567ab: seat 3 after 12345678ms");
    assert_eq!(masked.values(), [1_234_567.0, 3.0, 12_345_678.0], "an id may begin with digits");
    masked.mask(b"1 2 3 4 5 6");
    assert_eq!(masked.values(), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn ids_are_found_and_nothing_else() {
    let ids = |message: &str| -> Vec<String> {
        let mut masked = Masked::default();
        masked.mask(message.as_bytes());
        masked.ids().iter().map(|range| message[range.clone()].to_owned()).collect()
    };
    assert_eq!(
        ids("Receiving block blk_-1608999687919862906 src: /10.250.19.102:54106"),
        ["1608999687919862906"]
    );
    assert_eq!(
        ids("[req-3ea4052c-895d-4b64-9e2d-04d64c4d94ab 113d3a99c3da401f - -] GET"),
        ["3ea4052c-895d-4b64-9e2d-04d64c4d94ab", "113d3a99c3da401f"]
    );
    assert_eq!(
        ids("[instance: b9000564-fe1a-409b-b8cc-1e88b294cd1d] ok"),
        ["b9000564-fe1a-409b-b8cc-1e88b294cd1d"]
    );
    let digits_only = "36951603-1234-4117-8056-825440990008";
    assert_eq!(ids(&format!("of {digits_only} at 10:20:30.123, 123456789-1")), [digits_only, "123456789-1"]);
    assert_eq!(ids("trace=4bf92f3577b34da6a3ce929d0e0e4736 took 17ms"), ["4bf92f3577b34da6a3ce929d0e0e4736"]);
    for none in [
        "2026-11-21T02:03:04.123Z 10.0.0.1:8080 fe80::1ff:fe23:4567:890a",
        "took 12345678 of 17ms at /var/log/x1y2z3w4q5/app.log https://h/a1b2c3d4e5",
        "node-7 user1234 v1.2.3 0xdead pid 4711",
        "",
    ] {
        assert_eq!(ids(none), [""; 0], "{none}");
    }
    assert_eq!(ids("a1b2c3d4e5 x b1b2c3d4e5 x c1b2c3d4e5 x d1b2c3d4e5").len(), MAX_IDS);
}

#[test]
fn long_text_is_cut() {
    for length in [MAX_MASKED_BYTES, MAX_MASKED_BYTES + 1, 10 * MAX_MASKED_BYTES] {
        let masked = mask(&"é".repeat(length / 2 + 1));
        assert!(masked.len() <= MAX_MASKED_BYTES, "{} of {length}", masked.len());
    }
}

/// Found by fuzzing. A message is masked once, so it only has to be known.
#[test]
fn three_cases_in_which_masking_again_changes_more() {
    let quoted = format!("said \"{}x\"", "step 12345678 ".repeat(20));
    assert_eq!(mask(&quoted), format!("said \"{}x\"", "step <*> ".repeat(20)));
    assert_eq!(mask(&mask(&quoted)), "said \"<*>\"");
    for (message, once, twice) in [
        ("<<<<7", "<<<<<*>", "<<<<*>"),
        ("ffffffffffffffffm7", "ffffffffffffffffm<*>", "ffffffffffffffffm<*>"),
        ("ffffffffffffffff7m", "ffffffffffffffff<*>m", "<*>m"),
    ] {
        assert_eq!((mask(message), mask(&mask(message))), (once.to_owned(), twice.to_owned()));
    }
}

proptest! {
    #[test]
    fn masking_twice_equals_masking_once(message in "[ -~\\t]{0,120}") {
        let once = mask(&message);
        prop_assert_eq!(mask(&once), once);
    }

    #[test]
    fn any_bytes_are_masked(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut masked = Masked::default();
        masked.mask(&message);
        prop_assert!(masked.text.len() <= MAX_MASKED_BYTES);
    }
}

/// Eight megabytes: whatever looks at all of a variable again for each of its parts does not come to an end with them.
#[test]
fn one_variable_of_very_many_parts_is_looked_at_once() {
    for part in ["a1b2-", "123456789-", "a/", "/a", "a1b2/", "1.", "::", "1a:", "http://a1b2-"] {
        let message = part.repeat((8 << 20) / part.len());
        let masked = mask(&message);
        assert!(masked.len() <= MAX_MASKED_BYTES, "{part}: {}", masked.len());
    }
}

#[test]
fn an_id_of_many_parts_is_an_id_up_to_its_longest() {
    let ids = |message: &str| {
        let mut masked = Masked::default();
        masked.mask(message.as_bytes());
        masked.ids().iter().map(|range| message[range.clone()].to_owned()).collect::<Vec<_>>()
    };
    let parts = |count: usize| ["a1b2"; 40][..count].join("-");
    assert_eq!(ids(&format!("request {} done", parts(13))), [parts(13)], "64 bytes");
    assert_eq!(ids(&format!("request {} done", parts(14))), [""; 0]);
    assert_eq!(ids(&format!("request {} done {}", parts(40), parts(3))), [parts(3)]);
    assert_eq!(ids("request a1b2-a1b2.a1b2 done"), [""; 0], "a dot is no part of an id");
}
