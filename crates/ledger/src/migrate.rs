//! Migrations of the schema: each is recorded with the checksum of its text; all missing ones run in one transaction.

use sha2::{Digest, Sha256};

use crate::{LedgerError, engine::Work, statement::Statement};

/// The latest schema version that this program knows.
pub const SCHEMA_VERSION: i64 = 4;

/// One migration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

macro_rules! steps {
    ($engine:literal: $($number:literal $name:literal),+) => {
        &[$($crate::migrate::Step {
            number: $number,
            name: $name,
            sql: include_str!(concat!("../../../schema/ledger/", $engine, "/", $number, "_", $name, ".sql")),
        }),+]
    };
}
pub(crate) use steps;

const MAKE: &str = "CREATE TABLE migration (number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, \
                    applied double precision NOT NULL)";
const APPLIED: &str = "SELECT number, checksum FROM migration ORDER BY number";
const NOTE: &str = "INSERT INTO migration (number, name, checksum, applied) VALUES ($1, $2, $3, $4)";

/// Applies the missing migrations. `fresh`: the database has no tables yet.
pub(crate) async fn migrate(
    work: &mut dyn Work,
    place: &str,
    steps: &[Step],
    fresh: bool,
    now: f64,
) -> Result<(), LedgerError> {
    if fresh {
        work.script(MAKE).await?;
    }
    let applied = applied(work, place, steps).await?;
    for step in steps.iter().filter(|step| step.number > applied) {
        work.script(step.sql).await?;
        let note = Statement::new(NOTE).int(step.number).text(step.name);
        work.execute(&note.text(&checksum_of(step.sql)).real(now)).await?;
    }
    Ok(())
}

/// The number of the last migration that was applied; 0 if none was.
pub(crate) async fn applied(work: &mut dyn Work, place: &str, steps: &[Step]) -> Result<i64, LedgerError> {
    let mut applied = 0;
    for mut row in work.fetch(&Statement::new(APPLIED)).await? {
        let (number, checksum) = (row.int()?, row.text()?);
        let Some(step) = steps.iter().find(|step| step.number == number) else {
            return Err(LedgerError::NewerSchema { place: place.to_owned(), found: number });
        };
        if checksum != checksum_of(step.sql) {
            return Err(LedgerError::AlteredSchema { place: place.to_owned(), number });
        }
        applied = number;
    }
    Ok(applied)
}

fn checksum_of(sql: &str) -> String {
    hex::encode(Sha256::digest(sql.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_both_engines_count_up_to_the_version() {
        for steps in [crate::sqlite::STEPS, crate::postgres::STEPS] {
            let numbers: Vec<i64> = steps.iter().map(|step| step.number).collect();
            assert_eq!(numbers, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
        }
    }
}
