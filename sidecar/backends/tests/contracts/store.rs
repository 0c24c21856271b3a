//! The contract of state stores, and what is SQLite's own: files, locks, restarts.

use std::sync::Arc;

use oddline_analyze::ports::{FailureKind, Known, StateStore, TemplateState};
use oddline_backends::sqlite::Sqlite;
use oddline_engine::{Class, TemplateId};

use crate::{assert_failure, fakes::FakeStore};

fn template(id: u64, last_seen: u64) -> TemplateState {
    TemplateState {
        id: TemplateId(id),
        text: format!("template <*> {id}").into(),
        class: Class::Normal,
        score: 0.25,
        similarity: Some(0.75),
        nearest: Some("nearest <*>".into()),
        seen: 7,
        first_seen: 3,
        last_seen,
        flagged_by_rule: 2,
        expires: Some(u64::MAX >> 1),
    }
}

fn known(id: u64, number: f32) -> Known {
    Known {
        id: TemplateId(id),
        text: format!("known {id}").into(),
        vector: vec![number, -0.0, f32::MIN_POSITIVE],
    }
}

/// What every store keeps; `store` is empty.
async fn store_contract(store: &dyn StateStore) {
    assert_eq!(store.load_templates(10).await.unwrap(), []);
    assert_eq!(store.load_known("c", None, 10).await.unwrap(), []);

    // Every field comes back, whatever is in it.
    let odd = TemplateState {
        text: "'); DROP TABLE templates; -- \0 \u{1b}[31m 🔥".into(),
        class: Class::Exception,
        similarity: None,
        nearest: None,
        expires: None,
        seen: i64::MAX as u64,
        ..template(u64::MAX, 30)
    };
    let rows =
        [template(0, 10), odd.clone(), TemplateState { class: Class::Anomalous, ..template(1 << 63, 20) }];
    store.save_templates(rows.to_vec()).await.unwrap();
    assert_eq!(store.load_templates(10).await.unwrap(), [odd.clone(), rows[2].clone(), rows[0].clone()]);
    assert_eq!(store.load_templates(1).await.unwrap(), std::slice::from_ref(&odd));
    assert_eq!(store.load_templates(0).await.unwrap(), []);
    assert_eq!(store.load_templates(usize::MAX).await.unwrap().len(), 3);

    // Saving again replaces.
    store.save_templates(vec![TemplateState { seen: 8, ..template(0, 40) }]).await.unwrap();
    let first = store.load_templates(10).await.unwrap().remove(0);
    assert_eq!((first.id.0, first.seen, first.last_seen), (0, 8, 40));
    store.save_templates(Vec::new()).await.unwrap();
    assert_eq!(store.load_templates(10).await.unwrap().len(), 3);

    // An operator's exception is among those given, however long ago it was seen.
    let excepted = TemplateState { class: Class::Exception, ..template(7, 1) };
    store.save_templates(vec![excepted, TemplateState { class: Class::Normal, ..odd }]).await.unwrap();
    let ids = |rows: Vec<TemplateState>| rows.iter().map(|row| row.id.0).collect::<Vec<_>>();
    assert_eq!(ids(store.load_templates(1).await.unwrap()), [7]);
    assert_eq!(ids(store.load_templates(2).await.unwrap()), [0, 7]);
    assert_eq!(ids(store.load_templates(10).await.unwrap()), [0, u64::MAX, 1 << 63, 7]);

    // Known vectors: bit for bit, per collection, ordered by id as a number.
    store.save_known("c", vec![known(u64::MAX, 0.1), known(1 << 63, 0.2), known(5, 0.3)]).await.unwrap();
    store.save_known("d", vec![known(5, 0.4)]).await.unwrap();
    let ordered = [known(5, 0.3), known(1 << 63, 0.2), known(u64::MAX, 0.1)];
    assert_eq!(store.load_known("c", None, 10).await.unwrap(), ordered);
    assert_eq!(store.load_known("d", None, 10).await.unwrap(), [known(5, 0.4)]);
    // So many from an id on.
    let page = async |behind: Option<u64>, limit| {
        let rows = store.load_known("c", behind.map(TemplateId), limit).await.unwrap();
        rows.iter().map(|row| row.id.0).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, [5, 1 << 63]);
    assert_eq!(page(Some(1 << 63), 2).await, [u64::MAX]);
    assert_eq!(page(Some(6), usize::MAX).await, [1 << 63, u64::MAX]);
    assert!(page(Some(u64::MAX), 2).await.is_empty());
    assert!(page(None, 0).await.is_empty());
    store.save_known("c", vec![known(5, 0.5)]).await.unwrap();
    assert_eq!(store.load_known("c", None, 10).await.unwrap()[0], known(5, 0.5));
    store.remove_known("c", &[TemplateId(5), TemplateId(6), TemplateId(u64::MAX)]).await.unwrap();
    assert_eq!(store.load_known("c", None, 10).await.unwrap(), [known(1 << 63, 0.2)]);
    assert_eq!(store.load_known("d", None, 10).await.unwrap().len(), 1, "other collections stay");

    // Counters only grow, each on its own.
    assert_eq!(store.next("a").await.unwrap(), 1);
    assert_eq!(store.next("a").await.unwrap(), 2);
    assert_eq!(store.next("b").await.unwrap(), 1);
    let (x, y, z) = tokio::join!(store.next("a"), store.next("a"), store.next("a"));
    let mut values = [x.unwrap(), y.unwrap(), z.unwrap()];
    values.sort();
    assert_eq!(values, [3, 4, 5]);

    // Notes are replaced, whatever is in them.
    assert_eq!(store.note("n").await.unwrap(), None);
    store.set_note("n", "one".to_owned()).await.unwrap();
    store.set_note("n", "'; DROP TABLE notes; \u{1b}[31m".to_owned()).await.unwrap();
    assert_eq!(store.note("n").await.unwrap().unwrap(), "'; DROP TABLE notes; \u{1b}[31m");
    assert_eq!(store.note("m").await.unwrap(), None);
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    store_contract(&Sqlite::open(&folder.path().join("state.db")).unwrap()).await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    store_contract(&FakeStore::default()).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Sqlite::open(&path).unwrap();
    store.save_templates(vec![template(1, 1)]).await.unwrap();
    store.save_known("c", vec![known(1, 0.5)]).await.unwrap();
    store.next("generation").await.unwrap();
    store.set_note("n", "kept".to_owned()).await.unwrap();
    drop(store);
    let store: Arc<dyn StateStore> = Arc::new(Sqlite::open(&path).unwrap());
    assert_eq!(store.load_templates(10).await.unwrap(), [template(1, 1)]);
    assert_eq!(store.load_known("c", None, 10).await.unwrap(), [known(1, 0.5)]);
    assert_eq!(store.next("generation").await.unwrap(), 2);
    assert_eq!(store.note("n").await.unwrap().as_deref(), Some("kept"));
}

#[tokio::test]
async fn a_failed_save_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("state.db")).unwrap();
    // NaN is stored as null, which the table refuses.
    let rows = vec![template(1, 1), TemplateState { score: f32::NAN, ..template(2, 2) }];
    assert_failure(store.save_templates(rows).await, FailureKind::Rejected, &["state.db", "score"]);
    assert_eq!(store.load_templates(10).await.unwrap(), []);
}

#[test]
fn one_state_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let first = Sqlite::open(&path).unwrap();
    let (shown, lock) = (path.display().to_string(), format!("{}.lock", path.display()));
    let words = [&shown as &str, &lock, "in use by another process"];
    assert_failure(Sqlite::open(&path), FailureKind::Rejected, &words);
    assert!(Sqlite::open(&folder.path().join("other.db")).is_ok());
    drop(first);
    assert!(Sqlite::open(&path).is_ok(), "the lock file stays, the lock does not");
}

#[test]
fn files_that_cannot_be_a_state_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, "not a database, but long enough to look at ".repeat(200)).unwrap();
    assert_failure(
        Sqlite::open(&path),
        FailureKind::Rejected,
        &[&path.display().to_string(), "not a database", "move it away"],
    );
    let missing = folder.path().join("missing").join("state.db");
    assert_failure(Sqlite::open(&missing), FailureKind::Rejected, &[&missing.display().to_string()]);
    assert_failure(
        Sqlite::open(folder.path()),
        FailureKind::Rejected,
        &[&folder.path().display().to_string()],
    );
}
