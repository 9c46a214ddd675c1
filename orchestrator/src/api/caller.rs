//! Who makes a request, and what he may do: with a token what it allows; on the Unix socket what he may do with the files
//! anyway.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use amore_ledger::{Right, Token};
use amore_model::{DatabaseDir, Proposal};
use amore_shared_files::rights::{self, Person};
use axum::{
    extract::{FromRequestParts, Query, RawPathParams},
    http::request::Parts,
};
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::IntoParams;

use super::{
    Api,
    problem::{Kind, Problem},
};
use crate::service::{Giver, Seen, State};

/// How long the rights of a user are known without looking again.
const CACHED: Duration = Duration::from_secs(5);
/// How many are kept.
const CACHE: usize = 10_000;

/// How often the right to an answer that never ends is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Ticks after each of these periods.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Another process on this host, of this user and group.
    Local { uid: u32, gid: u32 },
    /// A client somewhere.
    Remote { address: std::net::IpAddr },
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody has said who he is.
    Unknown,
    /// The holder of a token.
    Holder(Box<Token>),
    /// A user of this host.
    User { uid: u32, gid: u32 },
}

impl Caller {
    /// What identifies him in logs.
    pub fn words(&self) -> String {
        match self {
            Caller::Unknown => "somebody".to_owned(),
            Caller::Holder(token) => format!("token {} ({})", token.id, token.name),
            Caller::User { uid, .. } => format!("uid {uid}"),
        }
    }

    /// What he may do in a directory of this proposal; `None`: nothing.
    ///
    /// # Errors
    /// The file system does not answer.
    pub async fn right_in(
        &self,
        api: &Api,
        proposal: Proposal,
        dir: &Path,
    ) -> Result<Option<Right>, Problem> {
        match self {
            Caller::Unknown => Ok(None),
            Caller::Holder(token) => Ok(token.proposals.include(proposal).then_some(token.allows)),
            Caller::User { uid, gid } => api.file_rights().of(api, *uid, *gid, dir).await,
        }
    }

    /// What he may do in any of the proposal's directories.
    ///
    /// # Errors
    /// A file system does not answer.
    pub async fn right_in_proposal(&self, api: &Api, proposal: Proposal) -> Result<Option<Right>, Problem> {
        let mut most = None;
        for (path, seen) in api.overview().all() {
            if seen.proposal == Some(proposal) {
                most = most.max(self.right_in(api, proposal, &path).await?);
            }
        }
        Ok(most)
    }

    /// What he may do with the service as a whole.
    ///
    /// # Errors
    /// The file system does not answer.
    pub async fn right_at_service(&self, api: &Api) -> Result<Option<Right>, Problem> {
        match self {
            Caller::Unknown => Ok(None),
            Caller::Holder(token) => {
                Ok((token.proposals == amore_ledger::ForProposals::All).then_some(token.allows))
            }
            Caller::User { uid, gid } => api.file_rights().of(api, *uid, *gid, api.directory()).await,
        }
    }

    fn must_be_known(&self) -> Result<(), Problem> {
        match self {
            Caller::Unknown => Err(Problem::new(Kind::NoToken, "the request has no token").hint(
                "send the header \"Authorization: Bearer TOKEN\" (amore token new makes one), or use the Unix socket \
                 .amore/service.sock in the service's directory",
            )),
            Caller::Holder(_) | Caller::User { .. } => Ok(()),
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or(Caller::Unknown);
        caller.must_be_known()?;
        Ok(caller)
    }
}

/// The right that a route needs, as a type.
pub trait Needs: Send + Sync + 'static {
    /// The right.
    const RIGHT: Right;
}

/// See [`Right::Read`].
#[derive(Clone, Copy, Debug)]
pub struct Read;
/// See [`Right::Process`].
#[derive(Clone, Copy, Debug)]
pub struct Process;
/// See [`Right::Admin`].
#[derive(Clone, Copy, Debug)]
pub struct Admin;

impl Needs for Read {
    const RIGHT: Right = Right::Read;
}
impl Needs for Process {
    const RIGHT: Right = Right::Process;
}
impl Needs for Admin {
    const RIGHT: Right = Right::Admin;
}

fn check(has: Option<Right>, needs: Right, where_: &str) -> Result<(), Problem> {
    if has.is_some_and(|has| has >= needs) {
        return Ok(());
    }
    let has = has.map_or_else(|| "nothing".to_owned(), |has| format!("only {has}"));
    Err(Problem::new(Kind::NotAllowed, format!("this needs the right to {needs}; allowed is {has}"))
        .at(where_))
}

/// The query parameter that chooses a directory.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhichDirectory {
    /// Path of one of the proposal's database directories, as `/v1/proposals` lists it. Needed only if there are several, and
    /// none is the official one.
    directory: Option<String>,
}

/// A directory of the proposal `{p}` of the path, in which the caller has a right: the argument of every handler below
/// `/v1/proposals/{p}`.
#[derive(Debug)]
pub struct InDirectory<N> {
    /// Who makes the request.
    pub caller: Caller,
    /// The proposal.
    pub proposal: Proposal,
    /// The directory.
    pub dir: DatabaseDir,
    /// What the service does with it.
    pub state: State,
    /// Gives it requests.
    pub giver: Giver,
    needs: PhantomData<N>,
}

impl<N: Needs> InDirectory<N> {
    /// Whether the caller still has the right, a while after the request began.
    pub async fn is_still_allowed(&self, api: &Api) -> bool {
        let right = self.caller.right_in(api, self.proposal, self.dir.path()).await;
        api.still_knows(&self.caller).await && right.is_ok_and(|right| right >= Some(N::RIGHT))
    }
}

impl<N: Needs> FromRequestParts<Api> for InDirectory<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let proposal = proposal(parts, api).await?;
        let Query(WhichDirectory { directory }) = Query::from_request_parts(parts, api)
            .await
            .map_err(|error| Problem::new(Kind::Invalid, error.body_text()).at("query"))?;
        let mut seen = api.overview().all();
        seen.retain(|_, seen| seen.proposal == Some(proposal));
        if let Caller::Holder(token) = &caller
            && !token.proposals.include(proposal)
        {
            // Whether there is such a proposal is none of his business.
            return Err(Problem::new(Kind::NotAllowed, "the token is not for this proposal")
                .at(format!("proposal {proposal}")));
        }
        let mut visible: Vec<(PathBuf, Seen, Right)> = Vec::new();
        for (path, seen) in seen {
            if let Some(right) = caller.right_in(api, proposal, &path).await? {
                visible.push((path, seen, right));
            }
        }
        let (path, seen, right) = choose(visible, directory.as_deref(), proposal)?;
        check(Some(right), N::RIGHT, &path.display().to_string())?;
        let Seen { state, giver, .. } = seen;
        Ok(InDirectory { caller, proposal, dir: DatabaseDir::at(path), state, giver, needs: PhantomData })
    }
}

/// Somebody who may have runs of the proposal `{p}` of the path processed, in one of its directories. In dynamic mode the official
/// one may not be in the list yet: what he tells of adds it.
#[derive(Debug)]
pub struct MayTell {
    /// Who makes the request.
    pub caller: Caller,
    /// The proposal.
    pub proposal: Proposal,
}

impl FromRequestParts<Api> for MayTell {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let refused = match InDirectory::<Process>::from_request_parts(parts, api).await {
            Ok(InDirectory { caller, proposal, .. }) => return Ok(MayTell { caller, proposal }),
            Err(refused) => refused,
        };
        let names_one = parts.uri.query().is_some_and(|query| query.contains("directory="));
        if !refused.is_not_found() || names_one {
            return Err(refused);
        }
        let caller = Caller::from_request_parts(parts, api).await?;
        let proposal = proposal(parts, api).await?;
        let official = api.inbox().official(proposal).await.map_err(|error| {
            let words = format!("the official directory of the proposal cannot be looked for: {error}");
            Problem::new(Kind::NotAvailable, words).retry_after(2)
        })?;
        let Some(dir) = official else { return Err(refused) };
        match caller.right_in(api, proposal, &dir).await? {
            // Whether there is such a proposal is none of his business.
            None => Err(refused),
            right => {
                check(right, Right::Process, &dir.display().to_string())?;
                Ok(MayTell { caller, proposal })
            }
        }
    }
}

/// The proposal `{p}` of the path.
async fn proposal(parts: &mut Parts, api: &Api) -> Result<Proposal, Problem> {
    let params = RawPathParams::from_request_parts(parts, api)
        .await
        .map_err(|error| Problem::new(Kind::Invalid, error.body_text()).at("path"))?;
    let given = params.iter().find(|(name, _)| *name == "p").map_or("", |(_, given)| given);
    given.parse().map_err(|_| Problem::new(Kind::Invalid, "this is not a proposal number").at("path"))
}

fn choose(
    mut visible: Vec<(PathBuf, Seen, Right)>,
    wanted: Option<&str>,
    proposal: Proposal,
) -> Result<(PathBuf, Seen, Right), Problem> {
    let at = format!("proposal {proposal}");
    if let Some(wanted) = wanted {
        let found = visible.into_iter().find(|(path, _, _)| path.as_os_str() == wanted);
        return found.ok_or_else(|| {
            Problem::new(Kind::NotFound, "the service has no such directory of this proposal")
                .at(at)
                .hint("GET /v1/proposals lists them")
        });
    }
    let official = visible.iter().position(|(path, _, _)| path.ends_with("usr/Shared/amore"));
    match (official, visible.len()) {
        (Some(official), _) => Ok(visible.swap_remove(official)),
        (None, 1) => Ok(visible.swap_remove(0)),
        (None, 0) => Err(Problem::new(Kind::NotFound, "the service has no directory of this proposal")
            .at(at)
            .hint("GET /v1/proposals lists those that it has; amore listener add adds one")),
        (None, _) => {
            let paths: Vec<String> = visible.iter().map(|(path, _, _)| path.display().to_string()).collect();
            Err(Problem::new(Kind::Invalid, "the proposal has several directories")
                .at(at)
                .hint(format!("say which with ?directory=: {}", paths.join(", "))))
        }
    }
}

/// A right at the service as a whole: the argument of handlers that are about more than one proposal.
#[derive(Debug)]
pub struct AtService<N> {
    /// Who makes the request.
    pub caller: Caller,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Api> for AtService<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        check(caller.right_at_service(api).await?, N::RIGHT, "the service")?;
        Ok(AtService { caller, needs: PhantomData })
    }
}

/// A right, and when it was found.
type Found = (Instant, Option<Right>);

/// What users of this host may do, by the files' permissions.
#[derive(Debug, Default)]
pub struct FileRights {
    cache: Mutex<BTreeMap<(u32, PathBuf), Found>>,
}

impl FileRights {
    /// Whoever can read the table may read. Whoever can write into the directory can replace the context file, and may do
    /// everything.
    async fn of(&self, api: &Api, uid: u32, gid: u32, dir: &Path) -> Result<Option<Right>, Problem> {
        let key = (uid, dir.to_owned());
        if let Some((at, right)) = self.lock().get(&key)
            && at.elapsed() < CACHED
        {
            return Ok(*right);
        }
        let own = dir.to_owned();
        let right = api.on_disk(dir, move || look(uid, gid, &own)).await?;
        let mut cache = self.lock();
        if cache.len() >= CACHE {
            cache.clear();
        }
        cache.insert(key, (Instant::now(), right));
        Ok(right)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u32, PathBuf), Found>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(uid: u32, gid: u32, dir: &Path) -> Option<Right> {
    let person = Person::of(uid, Some(gid));
    let may = |path: &Path, wanted| rights::may(&person, path, wanted).unwrap_or(false);
    if may(dir, rights::READ | rights::WRITE | rights::EXECUTE) {
        return Some(Right::Admin);
    }
    let table = DatabaseDir::at(dir.to_owned()).run_table();
    let shows = if table.exists() { may(&table, rights::READ) } else { may(dir, rights::READ) };
    shows.then_some(Right::Read)
}
