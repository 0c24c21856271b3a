//! What only the inside can provoke: a full disk, older and newer files, the limit. The contract is in `tests/`.

use oddline_analyze::ports::FailureKind;
use oddline_engine::Class;

use super::*;

fn template(id: u64, last_seen: u64, class: Class) -> TemplateState {
    TemplateState {
        id: TemplateId(id),
        text: "a".repeat(1_000).into(),
        class,
        score: 0.5,
        similarity: None,
        nearest: None,
        seen: 1,
        first_seen: 0,
        last_seen,
        flagged_by_rule: 0,
        expires: None,
    }
}

fn templates(ids: std::ops::Range<u64>) -> Vec<TemplateState> {
    ids.map(|id| template(id, id, Class::Normal)).collect()
}

async fn ids(store: &Sqlite) -> Vec<u64> {
    store.load_templates(usize::MAX).await.unwrap().iter().map(|row| row.id.0).collect()
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Sqlite::open(&path).unwrap();
    store.save_templates(templates(0..10)).await.unwrap();
    let pages = |most: i64| {
        let connection = store.inner.connection.lock().unwrap();
        connection.pragma_update_and_check(None, "max_page_count", most, |row| row.get::<_, i64>(0)).unwrap()
    };
    pages(1);
    let error = store.save_templates(templates(10..500)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unavailable, "{error}");
    assert!(error.message.starts_with(&format!("state {}: ", path.display())), "{error}");
    assert!(error.message.contains("full"), "{error}");
    assert_eq!(ids(&store).await.len(), 10);

    pages(1 << 20);
    store.save_templates(templates(10..500)).await.unwrap();
    assert_eq!(ids(&store).await.len(), 500);
}

#[tokio::test]
async fn templates_past_the_limit_are_forgotten_oldest_first_and_exceptions_last() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::with_limit(&folder.path().join("state.db"), 3).unwrap();
    store.save_templates(vec![template(99, 0, Class::Exception)]).await.unwrap();
    store.save_templates(templates(1..3)).await.unwrap();
    assert_eq!(ids(&store).await, [2, 1, 99], "at the limit all stay");
    store.save_templates(templates(3..4)).await.unwrap();
    assert_eq!(ids(&store).await, [3, 2, 99], "one over");
    store.save_templates(templates(4..34)).await.unwrap();
    assert_eq!(ids(&store).await, [33, 32, 99], "ten times");
}

#[tokio::test]
async fn a_state_of_each_older_version_is_read_and_brought_up_to_date() {
    for version in 1..MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = Sqlite::open(&path).unwrap();
        store.save_templates(templates(1..4)).await.unwrap();
        drop(store);
        // As that version left it: what came later is not there.
        let connection = Connection::open(&path).unwrap();
        let tables = |connection: &Connection| -> Vec<String> {
            let mut names =
                connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1").unwrap();
            names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let older = Connection::open_in_memory().unwrap();
        MIGRATIONS[..version].iter().for_each(|migration| older.execute_batch(migration).unwrap());
        let (now, then) = (tables(&connection), tables(&older));
        for table in now.iter().filter(|table| !then.contains(table)) {
            connection.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        }
        connection.pragma_update(None, "user_version", version as i64).unwrap();
        drop(connection);
        let store = Sqlite::open(&path).unwrap();
        assert_eq!(ids(&store).await, [3, 2, 1]);
        store.set_note("a", "b".to_owned()).await.unwrap();
        drop(store);
        assert_eq!(tables(&Connection::open(&path).unwrap()), now);
    }
}

#[test]
fn a_newer_state_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(Sqlite::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Sqlite::open(&path).unwrap_err();
    assert_eq!(error.kind, FailureKind::Rejected);
    let known = MIGRATIONS.len();
    assert_eq!(
        error.message,
        format!(
            "state {} has version 99, this release knows up to {known}; use the release that wrote it",
            path.display()
        )
    );
}

#[test]
fn the_bundled_sqlite_is_new_enough() {
    // 3.51.3 fixed a corruption of write-ahead logs.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}
