//! The right to be the service of a directory: one process at a time stores events and gives requests.
//!
//! Whoever gets it after another process deposes that one in all directories at once, without waiting for the end of its terms
//! there. So the processes that have ever served are noted in the ledger before they take a directory.

use std::{path::Path, sync::Arc, time::Duration};

use amore_ledger::{Acquired, Lease, Ledger, LedgerError};
use amore_model::lease::Holder;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{ServiceError, inbox::Store, standing_by::StandingBy};
use crate::{
    advice::with_causes,
    clock::now,
    coordinate::{ledger_place, ledgers::Ledgers, owner},
};

/// How long the right lasts without a renewal. A stand-by waits for its end.
const TERM: Duration = Duration::from_secs(5);
/// How often a stand-by looks whether it is free.
const POLL: Duration = Duration::from_millis(500);
/// How long a renewal may take.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(2);
/// The key of the fact that holds the processes that have served.
const SERVED: &str = "served";
/// How many of them are kept. Older ones have long lost their terms.
const SERVED_KEPT: usize = 20;

/// The key of the service of a directory in the ledger.
pub fn scope(directory: &Path) -> String {
    // Whatever path a command uses, it means the same service.
    let real = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    format!("inbox:{}", real.display())
}

/// This process is the service now.
#[derive(Debug)]
pub struct Taken {
    pub store: Store,
    /// Those that were before.
    pub deposed: Arc<[Holder]>,
}

/// Waits until this process is the service of the directory. A stand-by says once who serves; `stand_by` is called with that
/// process each time that it is found to serve.
///
/// # Errors
/// The ledger cannot be opened.
pub async fn wait_for(
    directory: &Path,
    ledgers: &Ledgers,
    mut stand_by: impl FnMut(&Holder),
) -> Result<Taken, ServiceError> {
    ledger_place::prepare_for_service(directory).await?;
    let mut told = String::new();
    let mut standing_by = StandingBy::default();
    loop {
        match try_to_take(directory, ledgers, &mut standing_by).await {
            Ok(Tried::Taken(taken)) => return Ok(taken),
            Ok(Tried::HeldBy(by)) => {
                stand_by(&by);
                tell(&mut told, format!("{by} serves this directory; waiting until it ends"));
            }
            Err(error) if passes(&error) => {
                let why = with_causes(&error);
                tell(&mut told, format!("the inbox cannot be opened now; trying again: {why}"));
            }
            Err(error) => return Err(error.into()),
        }
        sleep(POLL).await;
    }
}

enum Tried {
    Taken(Taken),
    HeldBy(Holder),
}

async fn try_to_take(
    directory: &Path,
    ledgers: &Ledgers,
    standing_by: &mut StandingBy,
) -> Result<Tried, LedgerError> {
    let ledger = ledger_place::open_for_service(directory, ledgers).await?;
    let (its, own, mut shown) = (ledger.clone(), directory.to_owned(), std::mem::take(standing_by));
    let work = async move {
        let tried = acquire(its.clone(), &scope(&own)).await;
        match &tried {
            Ok(Tried::Taken(_)) => std::mem::take(&mut shown).end(&its).await,
            Ok(Tried::HeldBy(_)) => shown.show(&its, &own).await,
            Err(_) => {}
        }
        (tried, shown)
    };
    let (tried, shown) = ledgers.run(work).await;
    *standing_by = shown;
    if !matches!(tried, Ok(Tried::Taken(_))) {
        let _ = ledger.close().await;
    }
    tried
}

/// Takes the right if it is free, or if its holder has died on this host.
async fn acquire(ledger: Ledger, scope: &str) -> Result<Tried, LedgerError> {
    let me = owner::this_process();
    let at = ledger.time(now()).await?;
    let dead = match ledger.lease(scope).await?.claim {
        Some(claim) if owner::known_dead(&claim.holder) => Some(claim.holder),
        Some(claim) if claim.until > at && !claim.holder.is_same_process(&me) => {
            return Ok(Tried::HeldBy(claim.holder));
        }
        _ => None,
    };
    let lease = match ledger.acquire(scope, &me, at, TERM, dead.as_ref()).await? {
        Acquired::Mine(lease) => lease,
        Acquired::HeldBy(claim) => return Ok(Tried::HeldBy(claim.holder)),
    };
    let known = ledger.fact(scope, SERVED).await?;
    let mut served: Vec<Holder> =
        known.and_then(|known| serde_json::from_value(known).ok()).unwrap_or_default();
    served.retain(|other| !other.is_same_process(&me));
    let deposed = Arc::from(served.as_slice());
    served.push(me);
    let old = served.len().saturating_sub(SERVED_KEPT);
    ledger.set_fact(&lease, SERVED, &serde_json::json!(served[old..])).await?;
    Ok(Tried::Taken(Taken { store: Store { ledger, lease }, deposed }))
}

/// Whether it is worth waiting: the ledger is locked or away, or a file is in use on another host whose term has not ended.
fn passes(error: &LedgerError) -> bool {
    error.is_temporary() || matches!(error, LedgerError::OtherHost { .. } | LedgerError::Deposed { .. })
}

/// Logs words that differ from the last ones, apart from numbers: a remaining time changes each time.
fn tell(told: &mut String, words: String) {
    let known: String = words.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    if known != *told {
        tracing::info!("{words}");
        *told = known;
    }
}

/// Whether this process is the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Serving,
    /// The ledger does not answer: another process may have taken over.
    Unknown,
    /// Another process is.
    Deposed,
}

/// The right to serve, as the directories see it.
#[derive(Clone, Debug)]
pub struct Right {
    questions: mpsc::UnboundedSender<oneshot::Sender<Standing>>,
    lost: watch::Receiver<Option<String>>,
}

impl Right {
    /// Renews the right now, and says whether this process still has it.
    pub async fn confirm(&self) -> Standing {
        let (answer, answered) = oneshot::channel();
        let _ = self.questions.send(answer);
        answered.await.unwrap_or(Standing::Deposed)
    }

    /// Waits until the right is lost, and returns the reason. Cancel-safe.
    pub async fn lost(&mut self) -> String {
        match self.lost.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Renews the right until it is lost, or nobody needs it any more.
pub fn keep(store: &Store, ledgers: &Ledgers) -> Right {
    let (told, lost) = watch::channel(None);
    let (questions, asked) = mpsc::unbounded_channel();
    let keeping = Keeping { ledger: store.ledger.clone(), lease: store.lease.clone(), silent: false };
    ledgers.spawn(keeping.run(asked, told));
    Right { questions, lost }
}

struct Keeping {
    ledger: Ledger,
    lease: Lease,
    /// The last renewal got no answer.
    silent: bool,
}

impl Keeping {
    async fn run(
        mut self,
        mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Standing>>,
        told: watch::Sender<Option<String>>,
    ) {
        loop {
            let question = tokio::select! {
                question = asked.recv() => match question {
                    Some(question) => Some(question),
                    None => return,
                },
                () = sleep(TERM / 3) => None,
            };
            let standing = match self.renew().await {
                Ok(standing) => standing,
                Err(why) => {
                    let _ = told.send(Some(why));
                    Standing::Deposed
                }
            };
            if let Some(question) = question {
                let _ = question.send(standing);
            }
            if standing == Standing::Deposed {
                return;
            }
        }
    }

    /// # Errors
    /// Why the right is lost.
    async fn renew(&mut self) -> Result<Standing, String> {
        let (ledger, lease) = (&self.ledger, &self.lease);
        let renewed = timeout(RENEWAL_PATIENCE, async {
            let at = ledger.time(now()).await?;
            ledger.renew(lease, at, TERM).await
        });
        let why = match renewed.await {
            Ok(Ok(())) => {
                if std::mem::take(&mut self.silent) {
                    tracing::info!("the right to serve is renewed again");
                }
                return Ok(Standing::Serving);
            }
            Ok(Err(error)) if error.is_temporary() => with_causes(&error),
            Ok(Err(error)) => return Err(with_causes(&error)),
            Err(_) => "the ledger does not answer".to_owned(),
        };
        if !std::mem::replace(&mut self.silent, true) {
            tracing::warn!("the right to serve cannot be renewed, trying again: {why}");
        }
        Ok(Standing::Unknown)
    }
}
