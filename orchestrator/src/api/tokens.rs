//! Bearer tokens: `amore_ID_SECRET`. The ledger of the service has the SHA-256 of the secret. A secret has 256 random bits, so
//! that a slow hash, which protects weak passwords, would protect nothing more; see docs/security.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use amore_ledger::{ForProposals, Right, Token};
use amore_ledger::{Ledger, LedgerError};
use amore_listener_db::ListenerDb;
use amore_model::{DatabaseDir, Proposal};
use sha2::{Digest, Sha256};

use super::ledger_link::LedgerLink;
use crate::{
    advice::Advice,
    clock::now,
    coordinate::{CoordinateError, ledger_place, ledgers::Ledgers},
};

/// With what each token begins, so that programs that look for secrets in files can find it.
const PREFIX: &str = "amore";
/// How long a token that was read is valid without being read again: so long a revoked token may still work.
const CACHED: Duration = Duration::from_secs(2);
/// How many tokens are kept.
const CACHE: usize = 1000;

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The ledger of the service cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its place cannot be used.
    #[error(transparent)]
    Place(#[from] CoordinateError),
    /// It does not answer.
    #[error("the ledger of the service does not answer")]
    NoAnswer,
    /// There are no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    NotRandom(#[from] getrandom::Error),
    /// This is not the directory of a service.
    #[error("{} is neither a database directory nor the directory of a service", directory.display())]
    NoService { directory: PathBuf },
    /// There is no token with this id.
    #[error("there is no valid token {id}")]
    Unknown { id: String },
}

impl Advice for TokenError {
    fn hint(&self) -> Option<String> {
        match self {
            TokenError::Ledger(error) => Advice::hint(error),
            TokenError::Place(error) => error.hint(),
            TokenError::NoService { .. } => {
                Some("go to the directory that `amore listen` is started in, or name it with --in".to_owned())
            }
            TokenError::NoAnswer | TokenError::NotRandom(_) => None,
            TokenError::Unknown { .. } => {
                Some("amore token list shows the tokens of this service".to_owned())
            }
        }
    }
}

/// What a new token is for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// In its maker's words.
    pub name: String,
    /// What it allows: `read`, `process` or `admin`.
    pub right: Right,
    /// Where; all proposals if there are none.
    pub proposals: BTreeSet<Proposal>,
    /// After how many days it is void.
    pub days: Option<f64>,
    /// Who makes it.
    pub by_user: String,
}

/// Makes a token of the service in this directory. This is the only time that its secret is known.
///
/// # Errors
/// The ledger cannot be written.
pub async fn make(directory: &Path, wanted: Wanted) -> Result<(String, Token), TokenError> {
    let (mut id, mut secret) = ([0_u8; 8], [0_u8; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let (id, secret) = (hex::encode(id), hex::encode(secret));
    let created = now();
    let token = Token {
        hash: hash(&secret),
        name: wanted.name,
        allows: wanted.right,
        proposals: match wanted.proposals {
            none if none.is_empty() => ForProposals::All,
            these => ForProposals::These(these),
        },
        created,
        by_user: wanted.by_user,
        expires: wanted.days.map(|days| created + days * 86_400.0),
        revoked: None,
        id: id.clone(),
    };
    let ledger = open(directory).await?;
    let stored = ledger.add_token(&key(directory), &token).await;
    let _ = ledger.close().await;
    stored?;
    Ok((format!("{PREFIX}_{id}_{secret}"), token))
}

/// The tokens of the service in this directory, the oldest first.
///
/// # Errors
/// The ledger cannot be read.
pub async fn list(directory: &Path) -> Result<Vec<Token>, TokenError> {
    let ledger = open(directory).await?;
    let tokens = ledger.tokens(&key(directory)).await;
    let _ = ledger.close().await;
    Ok(tokens?)
}

/// Revokes a token. A running service refuses it within two seconds.
///
/// # Errors
/// There is no such token, or the ledger cannot be written.
pub async fn revoke(directory: &Path, id: &str) -> Result<(), TokenError> {
    let ledger = open(directory).await?;
    let revoked = ledger.revoke_token(&key(directory), id, now()).await;
    let _ = ledger.close().await;
    if revoked? { Ok(()) } else { Err(TokenError::Unknown { id: id.to_owned() }) }
}

async fn open(directory: &Path) -> Result<Ledger, TokenError> {
    ledger_place::prepare_for_service(directory).await?;
    Ok(ledger_place::open_for_service(directory, &Ledgers::default()).await?)
}

/// The directory of a service: this one, or the working directory.
///
/// # Errors
/// There is neither a database nor a list of databases in it.
pub fn service_in(given: Option<&Path>) -> Result<PathBuf, TokenError> {
    let given = given.unwrap_or(Path::new("."));
    let directory = given.canonicalize().unwrap_or_else(|_| given.to_owned());
    let is_service =
        DatabaseDir::at(directory.clone()).run_table().exists() || ListenerDb::at(&directory).path().exists();
    if is_service { Ok(directory) } else { Err(TokenError::NoService { directory }) }
}

/// The key of a service in the ledger: its real path, however it was typed.
fn key(directory: &Path) -> String {
    directory.canonicalize().unwrap_or_else(|_| directory.to_owned()).display().to_string()
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// The two parts of a token.
fn parts(bearer: &str) -> Option<(&str, &str)> {
    let (id, secret) = bearer.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (id.len() == 16 && secret.len() == 64 && is_hex(id) && is_hex(secret)).then_some((id, secret))
}

/// Verifies tokens for the API.
#[derive(Debug)]
pub struct Tokens {
    key: String,
    ledger: Arc<LedgerLink>,
    cache: Mutex<BTreeMap<String, (Instant, Option<Token>)>>,
}

impl Tokens {
    /// Those of the service in this directory.
    pub fn of(directory: &Path, ledger: Arc<LedgerLink>) -> Self {
        Tokens { key: key(directory), ledger, cache: Mutex::default() }
    }

    /// The token that these words are, if it is valid now.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn verify(&self, bearer: &str) -> Result<Option<Token>, TokenError> {
        let Some((id, secret)) = parts(bearer) else { return Ok(None) };
        let token = match self.cached(id) {
            Some(token) => token,
            None => {
                let token = self.ledger.with(async |ledger| ledger.token(&self.key, id).await).await?;
                self.keep(id, token.clone());
                token
            }
        };
        // Both are hashes: how long the comparison takes tells nothing about the secret.
        Ok(token.filter(|token| token.hash == hash(secret) && token.is_valid(now())))
    }

    /// Whether a token that was valid is valid now. If the ledger does not answer, it is.
    pub async fn still_has(&self, token: &Token) -> bool {
        let read = match self.cached(&token.id) {
            Some(read) => Ok(read),
            None => self
                .ledger
                .with(async |ledger| ledger.token(&self.key, &token.id).await)
                .await
                .inspect(|read| self.keep(&token.id, read.clone())),
        };
        match read {
            Ok(read) => read.is_some_and(|read| read.is_valid(now())),
            Err(_) => token.is_valid(now()),
        }
    }

    /// Whether a token with the id of these words was read a moment ago: it costs nothing to verify it.
    pub fn knows(&self, bearer: &str) -> bool {
        parts(bearer).is_some_and(|(id, _)| self.cached(id).is_some())
    }

    fn cached(&self, id: &str) -> Option<Option<Token>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(id).filter(|(at, _)| at.elapsed() < CACHED).map(|(_, token)| token.clone())
    }

    fn keep(&self, id: &str, token: Option<Token>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE {
            cache.retain(|_, (at, _)| at.elapsed() < CACHED);
        }
        if cache.len() >= CACHE {
            cache.clear();
        }
        cache.insert(id.to_owned(), (Instant::now(), token));
    }

    /// All tokens, also those that are no longer valid.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn all(&self) -> Result<Vec<Token>, TokenError> {
        self.ledger.with(async |ledger| ledger.tokens(&self.key).await).await
    }

    /// Revokes a token, at once.
    ///
    /// # Errors
    /// There is no such token, or the ledger does not answer.
    pub async fn revoke(&self, id: &str) -> Result<(), TokenError> {
        let revoked =
            self.ledger.with(async |ledger| ledger.revoke_token(&self.key, id, now()).await).await?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if revoked { Ok(()) } else { Err(TokenError::Unknown { id: id.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(days: Option<f64>) -> Wanted {
        Wanted {
            name: "monitor".to_owned(),
            right: Right::Read,
            proposals: BTreeSet::new(),
            days,
            by_user: "mia".to_owned(),
        }
    }

    fn of(directory: &Path) -> Tokens {
        Tokens::of(directory, Arc::new(LedgerLink::of(directory)))
    }

    #[tokio::test]
    async fn a_token_is_valid_until_it_is_revoked_or_expires() {
        let folder = tempfile::tempdir().unwrap();
        let (bearer, made) = make(folder.path(), wanted(None)).await.unwrap();
        let tokens = of(folder.path());
        assert_eq!(tokens.verify(&bearer).await.unwrap(), Some(made.clone()));
        let (id, secret) = parts(&bearer).unwrap();
        assert!(!made.hash.contains(secret));
        let other = format!("amore_{id}_{}", "0".repeat(64));
        assert_eq!(tokens.verify(&other).await.unwrap(), None, "the secret counts");
        for wrong in ["", "amore", "amore__", &format!("{bearer}0"), &bearer[1..]] {
            assert_eq!(tokens.verify(wrong).await.unwrap(), None, "{wrong}");
        }
        revoke(folder.path(), id).await.unwrap();
        assert!(matches!(revoke(folder.path(), id).await, Err(TokenError::Unknown { .. })));
        assert_eq!(of(folder.path()).verify(&bearer).await.unwrap(), None);
        let (late, _) = make(folder.path(), wanted(Some(-1.0))).await.unwrap();
        assert_eq!(tokens.verify(&late).await.unwrap(), None);
        assert_eq!(list(folder.path()).await.unwrap().len(), 2);
    }
}
