//! The variables' titles, descriptions and tags, as declared in the context file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Row, sqlite::SqliteConnection};

use crate::{
    Ownership, Refused, RunTable, RunTableError, ViewTruncated, patience::Patience, sql,
    store::user_variables, value::Stored, views,
};

/// A computed variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableRow {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Its tags, unordered.
    pub tags: Vec<String>,
}

/// Result of [`RunTable::update_variables`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariableChanges {
    /// New names.
    pub added: Vec<String>,
    /// Names whose title, description or tags have changed.
    pub changed: Vec<String>,
    /// Refused names: those that users edit, and invalid ones.
    pub refused: Vec<Refused>,
    /// Set if the views were recreated and cannot show all variables.
    pub truncated: Option<ViewTruncated>,
}

impl RunTable {
    /// Writes the context file's variables. Other variables are not changed (see [`RunTable::drop_variables`]).
    ///
    /// # Errors
    /// [`RunTableError::Deposed`] if the writer is no longer the owner; the table cannot be written.
    pub async fn update_variables(
        &self,
        mine: &Ownership,
        variables: &[VariableRow],
    ) -> Result<VariableChanges, RunTableError> {
        let mut patience = Patience::new();
        loop {
            patience.try_now(self).await?;
            let done = self.update_variables_once(mine, variables).await;
            if let Some(done) = patience.after(self, done).await? {
                return Ok(done);
            }
        }
    }

    async fn update_variables_once(
        &self,
        mine: &Ownership,
        variables: &[VariableRow],
    ) -> Result<VariableChanges, RunTableError> {
        const DOING: &str = "store the variables' titles";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        self.check(&mut transaction, mine).await?;
        let known = self.known_views.lock().unwrap_or_else(|e| e.into_inner()).take();
        let done = async {
            let by_hand = user_variables(&mut transaction).await?;
            let before: HashMap<String, VariableRow> = computed(&mut transaction, true)
                .await?
                .into_iter()
                .map(|row| (row.name.clone(), row))
                .collect();
            let mut changes = VariableChanges::default();
            // If a name occurs twice, the last one counts.
            let wanted: BTreeMap<&str, usize> =
                variables.iter().enumerate().map(|(i, row)| (row.name.as_str(), i)).collect();
            let (mut rows, mut tagged, mut untagged) = (Vec::new(), Vec::new(), Vec::new());
            for (i, row) in variables.iter().enumerate() {
                if wanted[row.name.as_str()] != i {
                    continue;
                }
                if by_hand.contains(&row.name) {
                    changes.refused.push(Refused::UserEditable { name: row.name.clone() });
                    continue;
                }
                if row.name.is_empty() || row.name.contains('\0') {
                    changes.refused.push(Refused::BadName { name: row.name.clone() });
                    continue;
                }
                let old = before.get(&row.name);
                let tags = |row: &VariableRow| row.tags.iter().cloned().collect::<BTreeSet<_>>();
                let (old_tags, new_tags) = (old.map(tags).unwrap_or_default(), tags(row));
                match old {
                    None => changes.added.push(row.name.clone()),
                    Some(old)
                        if old.title == row.title
                            && old.description == row.description
                            && old_tags == new_tags =>
                    {
                        continue;
                    }
                    Some(_) => changes.changed.push(row.name.clone()),
                }
                rows.push(json!([row.name, row.title, row.description]));
                tagged.extend(new_tags.difference(&old_tags).map(|tag| json!([row.name, tag])));
                untagged.extend(old_tags.difference(&new_tags).map(|tag| json!([row.name, tag])));
            }
            // Tags are added before others are removed, so that the trigger does not delete a tag that is still used.
            for (statement, items) in [
                (sql::UPSERT_VARIABLES, &rows),
                (sql::INSERT_TAGS, &tagged),
                (sql::TAG_VARIABLES, &tagged),
                (sql::UNTAG_VARIABLES, &untagged),
            ] {
                if !items.is_empty() {
                    sqlx::query(statement).bind(json!(items).to_string()).execute(&mut *transaction).await?;
                }
            }
            let ensured =
                views::ensure(&mut transaction, known, changes.added.iter().map(String::as_str)).await?;
            changes.truncated = ensured.truncated;
            transaction.commit().await?;
            Ok((changes, ensured.known))
        };
        let (changes, known) = done.await.map_err(|e| self.explain(DOING, e))?;
        *self.known_views.lock().unwrap_or_else(|e| e.into_inner()) = Some(known);
        Ok(changes)
    }

    /// The table's computed variables, in the order of their first declaration, with tags.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn computed_variables(&self) -> Result<Vec<VariableRow>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let rows = computed(&mut connection, self.version >= 3).await;
        rows.map_err(|e| self.explain("read the variables", e))
    }

    /// Copies the definitions (not the values) of another table's user-editable variables that do not exist here yet.
    ///
    /// # Errors
    /// One of the tables cannot be read or written.
    pub async fn copy_user_variables_from(&self, source: &RunTable) -> Result<(), RunTableError> {
        const DOING: &str = "copy the user-editable variables";
        let rows = {
            let mut connection = source.connection.lock().await;
            let rows = sqlx::query(sql::USER_VARIABLE_DEFINITIONS).fetch_all(&mut *connection).await;
            rows.map_err(|e| source.explain(DOING, e))?
        };
        let mut connection = self.connection.lock().await;
        for row in &rows {
            let mut query = sqlx::query(sql::ADD_USER_VARIABLE);
            for column in 0..5 {
                query = query.bind(row.get::<Option<String>, _>(column));
            }
            query.execute(&mut *connection).await.map_err(|e| self.explain(DOING, e))?;
        }
        Ok(())
    }

    /// Deletes those of these computed variables that have neither a value nor an error in any run. Returns their names.
    ///
    /// # Errors
    /// [`RunTableError::Deposed`] if the writer is no longer the owner; the table cannot be written.
    pub async fn drop_variables(
        &self,
        mine: &Ownership,
        names: &[String],
    ) -> Result<Vec<String>, RunTableError> {
        const DOING: &str = "forget variables";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        self.check(&mut transaction, mine).await?;
        let done = async {
            let query = sqlx::query(sql::DROP_VARIABLES).bind(json!(names).to_string());
            let rows = query.fetch_all(&mut *transaction).await?;
            let dropped: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            if !dropped.is_empty() {
                views::rebuild(&mut transaction).await?;
            }
            transaction.commit().await?;
            Ok(dropped)
        };
        done.await.map_err(|e| self.explain(DOING, e))
    }
}

async fn computed(
    connection: &mut SqliteConnection,
    with_tags: bool,
) -> Result<Vec<VariableRow>, sqlx::Error> {
    let mut tags: HashMap<String, Vec<String>> = HashMap::new();
    if with_tags {
        for row in sqlx::query(sql::ALL_TAGS).fetch_all(&mut *connection).await? {
            tags.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
        }
    }
    let rows = sqlx::query(sql::COMPUTED_VARIABLES).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let name: String = row.try_get(0)?;
            Ok(VariableRow {
                title: Stored::get(row, 1)?.text().unwrap_or_else(|| name.clone()),
                description: Stored::get(row, 2)?.text(),
                tags: tags.remove(&name).unwrap_or_default(),
                name,
            })
        })
        .collect()
}
