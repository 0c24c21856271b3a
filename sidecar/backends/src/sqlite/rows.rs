//! The statements: rows of the ports to rows of the tables and back. Must not know files, threads or locks.

use std::sync::Arc;

use oddline_analyze::ports::{Known, TemplateState};
use oddline_engine::{Class, TemplateId};
use rusqlite::{
    Connection, Result, Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

/// A template id as 16 hex digits.
struct Hex(TemplateId);

impl ToSql for Hex {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl FromSql for Hex {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        TemplateId::parse(value.as_str()?).map(Hex).ok_or(FromSqlError::InvalidType)
    }
}

/// A class as its word.
struct Word(Class);

impl ToSql for Word {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl FromSql for Word {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        [Class::Normal, Class::Anomalous, Class::Exception]
            .into_iter()
            .find(|class| class.to_string() == word)
            .map(Word)
            .ok_or(FromSqlError::InvalidType)
    }
}

/// A count or a time. SQLite's integers are signed; what is beyond them does not occur, and is capped rather than
/// refused.
struct Whole(u64);

impl ToSql for Whole {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for Whole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Whole(u64::try_from(value.as_i64()?).unwrap_or_default()))
    }
}

/// A vector as little-endian bytes.
struct Blob(Vec<f32>);

impl FromSql for Blob {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let (numbers, rest) = value.as_blob()?.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(FromSqlError::InvalidType);
        }
        Ok(Blob(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()))
    }
}

fn blob(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

pub(super) fn load_templates(connection: &Connection, limit: usize) -> Result<Vec<TemplateState>> {
    let read = |row: &Row<'_>| {
        Ok(TemplateState {
            id: row.get::<_, Hex>("id")?.0,
            text: row.get("text")?,
            class: row.get::<_, Word>("class")?.0,
            score: row.get("score")?,
            similarity: row.get("similarity")?,
            nearest: row.get::<_, Option<Arc<str>>>("nearest")?,
            seen: row.get::<_, Whole>("seen")?.0,
            first_seen: row.get::<_, Whole>("first_seen")?.0,
            last_seen: row.get::<_, Whole>("last_seen")?.0,
            flagged_by_rule: row.get::<_, Whole>("flagged_by_rule")?.0,
            expires: row.get::<_, Option<Whole>>("expires")?.map(|expires| expires.0),
        })
    };
    // Nobody would notice that exceptions of operators are gone, so room is made for them first.
    connection
        .prepare(
            "SELECT * FROM (SELECT * FROM templates ORDER BY class = 'exception' DESC, last_seen DESC, id LIMIT ?1) \
             ORDER BY last_seen DESC, id",
        )?
        .query_map([Whole(limit as u64)], read)?
        .collect()
}

pub(super) fn save_templates(connection: &Connection, rows: &[TemplateState]) -> Result<()> {
    let mut statement = connection.prepare(
        "INSERT OR REPLACE INTO templates (id, text, class, score, similarity, nearest, seen, first_seen, last_seen, \
         flagged_by_rule, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for row in rows {
        statement.execute((
            Hex(row.id),
            &row.text,
            Word(row.class),
            row.score,
            row.similarity,
            &row.nearest,
            Whole(row.seen),
            Whole(row.first_seen),
            Whole(row.last_seen),
            Whole(row.flagged_by_rule),
            row.expires.map(Whole),
        ))?;
    }
    Ok(())
}

/// Forgets what is over the limit: what was seen longest ago, but an operator's exceptions last.
pub(super) fn forget_templates(connection: &Connection, limit: usize) -> Result<()> {
    let held: i64 = connection.prepare("SELECT count(*) FROM templates")?.query_row([], |row| row.get(0))?;
    let over = held.saturating_sub(i64::try_from(limit).unwrap_or(i64::MAX));
    if over > 0 {
        connection
            .prepare(
                "DELETE FROM templates WHERE id IN \
                 (SELECT id FROM templates ORDER BY class = 'exception', last_seen, id LIMIT ?1)",
            )?
            .execute([over])?;
    }
    Ok(())
}

pub(super) fn load_known(
    connection: &Connection,
    collection: &str,
    behind: Option<TemplateId>,
    limit: usize,
) -> Result<Vec<Known>> {
    let read = |row: &Row<'_>| {
        Ok(Known {
            id: row.get::<_, Hex>("id")?.0,
            text: row.get("text")?,
            vector: row.get::<_, Blob>("vector")?.0,
        })
    };
    // Every id is greater than an empty text.
    let behind = behind.map(|id| id.to_string()).unwrap_or_default();
    connection
        .prepare("SELECT id, text, vector FROM known WHERE collection = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?
        .query_map((collection, behind, Whole(limit as u64)), read)?
        .collect()
}

pub(super) fn save_known(connection: &Connection, collection: &str, rows: &[Known]) -> Result<()> {
    let mut statement = connection
        .prepare("INSERT OR REPLACE INTO known (collection, id, text, vector) VALUES (?1, ?2, ?3, ?4)")?;
    for row in rows {
        statement.execute((collection, Hex(row.id), &row.text, blob(&row.vector)))?;
    }
    Ok(())
}

pub(super) fn remove_known(connection: &Connection, collection: &str, ids: &[TemplateId]) -> Result<()> {
    let mut statement = connection.prepare("DELETE FROM known WHERE collection = ?1 AND id = ?2")?;
    for &id in ids {
        statement.execute((collection, Hex(id)))?;
    }
    Ok(())
}

pub(super) fn next(connection: &Connection, counter: &str) -> Result<u64> {
    connection
        .prepare(
            "INSERT INTO counters (name, value) VALUES (?1, 1) \
             ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
        )?
        .query_row([counter], |row| row.get::<_, Whole>(0))
        .map(|value| value.0)
}

pub(super) fn note(connection: &Connection, name: &str) -> Result<Option<String>> {
    use rusqlite::OptionalExtension;
    connection
        .prepare("SELECT text FROM notes WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn set_note(connection: &Connection, name: &str, text: &str) -> Result<()> {
    connection
        .prepare("INSERT OR REPLACE INTO notes (name, text) VALUES (?1, ?2)")?
        .execute((name, text))
        .map(drop)
}
