//! Bearer tokens: what their holders may do at a service. The ledger has no secrets, only their hashes.

use std::{collections::BTreeSet, fmt, str::FromStr};

use amore_model::Proposal;
use serde_json::{Value, json};

use crate::{
    Ledger, LedgerError, UnknownWord,
    engine::Mode,
    statement::{Row, Rows, Statement},
};

/// What a token allows. Each right includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See everything.
    Read,
    /// Have runs processed.
    Process,
    /// Change settings and context files.
    Admin,
}

impl Right {
    /// All of them, the least first.
    pub const ALL: [Right; 3] = [Right::Read, Right::Process, Right::Admin];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Process => "process",
            Right::Admin => "admin",
        }
    }
}

impl FromStr for Right {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Right::ALL
            .into_iter()
            .find(|right| right.word() == word)
            .ok_or_else(|| UnknownWord { what: "right of a token", word: word.to_owned() })
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// For which proposals a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForProposals {
    /// All, also future ones, and the service itself.
    All,
    /// These.
    These(BTreeSet<Proposal>),
}

impl ForProposals {
    /// Whether this proposal is one of them.
    pub fn include(&self, proposal: Proposal) -> bool {
        match self {
            ForProposals::All => true,
            ForProposals::These(these) => these.contains(&proposal),
        }
    }

    fn as_json(&self) -> Value {
        match self {
            ForProposals::All => json!("all"),
            ForProposals::These(these) => json!(these),
        }
    }

    fn of_json(value: Value) -> Result<Self, LedgerError> {
        if value == "all" {
            return Ok(ForProposals::All);
        }
        let found = value.to_string();
        serde_json::from_value(value)
            .map(ForProposals::These)
            .map_err(|_| LedgerError::BadRow { wanted: "list of proposals", found })
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its public part, by which it is found.
    pub id: String,
    /// What it is for, in its maker's words.
    pub name: String,
    /// What it allows.
    pub allows: Right,
    /// Where.
    pub proposals: ForProposals,
    /// SHA-256 of its secret, in hexadecimal digits.
    pub hash: String,
    /// When it was made, in seconds since 1970.
    pub created: f64,
    /// By whom.
    pub by_user: String,
    /// From when on it is void.
    pub expires: Option<f64>,
    /// When it was revoked.
    pub revoked: Option<f64>,
}

impl Token {
    /// Whether it can be used at this time.
    pub fn is_valid(&self, now: f64) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

macro_rules! columns {
    () => {
        "id, name, allows, CAST(proposals AS TEXT), hash, created, by_user, expires, revoked"
    };
}
const ADD: &str = "\
INSERT INTO token (id, service, name, allows, proposals, hash, created, by_user, expires, revoked)
SELECT id, $1, name, allows, proposals, hash, created, by_user, expires, revoked FROM given";
const ALL: &str = concat!("SELECT ", columns!(), " FROM token WHERE service = $1 ORDER BY created, id");
const ONE: &str = concat!("SELECT ", columns!(), " FROM token WHERE service = $1 AND id = $2");
const REVOKE: &str = "UPDATE token SET revoked = $3 WHERE service = $1 AND id = $2 AND revoked IS NULL";

impl Ledger {
    /// Stores a token of a service. This needs no lease: whoever can write the ledger may make tokens.
    ///
    /// # Errors
    /// [`LedgerError::Misuse`] if there is one with this id; or the ledger cannot be written.
    pub async fn add_token(&self, service: &str, token: &Token) -> Result<(), LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "store a token").await?;
        let proposals = token.proposals.as_json();
        let rows = [(token, proposals)];
        let given = Rows::of(&rows)
            .text("id", |(token, _)| token.id.as_str())
            .text("name", |(token, _)| token.name.as_str())
            .text("allows", |(token, _)| token.allows.word())
            .json("proposals", |(_, proposals)| proposals)
            .text("hash", |(token, _)| token.hash.as_str())
            .real("created", |(token, _)| token.created)
            .text("by_user", |(token, _)| token.by_user.as_str())
            .real("expires", |(token, _)| token.expires)
            .real("revoked", |(token, _)| token.revoked)
            .end();
        work.execute(&Statement::new(ADD).text(service).given(given)).await?;
        work.commit().await
    }

    /// The tokens of a service, the oldest first; also those that are no longer valid.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn tokens(&self, service: &str) -> Result<Vec<Token>, LedgerError> {
        self.read_tokens(Statement::new(ALL).text(service)).await
    }

    /// One token of a service.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn token(&self, service: &str, id: &str) -> Result<Option<Token>, LedgerError> {
        Ok(self.read_tokens(Statement::new(ONE).text(service).text(id)).await?.pop())
    }

    /// Revokes a token. `false`: there is none with this id, or it was revoked before.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn revoke_token(&self, service: &str, id: &str, now: f64) -> Result<bool, LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "revoke a token").await?;
        let revoked = work.execute(&Statement::new(REVOKE).text(service).text(id).real(now)).await?;
        work.commit().await?;
        Ok(revoked > 0)
    }

    async fn read_tokens(&self, statement: Statement) -> Result<Vec<Token>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the tokens").await?;
        let rows = work.fetch(&statement).await?;
        work.commit().await?;
        rows.into_iter().map(read).collect()
    }
}

fn read(mut row: Row) -> Result<Token, LedgerError> {
    Ok(Token {
        id: row.text()?,
        name: row.text()?,
        allows: row.word("right of a token")?,
        proposals: ForProposals::of_json(row.json()?)?,
        hash: row.text()?,
        created: row.real()?,
        by_user: row.text()?,
        expires: row.maybe_real()?,
        revoked: row.maybe_real()?,
    })
}
