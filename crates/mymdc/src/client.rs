//! The requests: which are needed for a field, and how an answer is read.
//!
//! A value is passed on as the JSON text that the server sent, so that Python reads from it exactly what it would have read
//! from the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use amore_model::{MymdcField, Proposal, Run};
use reqwest::{
    StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::{Attempt, Policy},
};
use serde_json::value::RawValue;

use crate::{credentials::Credentials, error::MymdcError};

/// The header of the token.
const KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Longer answers are not those of MyMdC.
const MAX_ANSWER: usize = 4 << 20;
/// So much of what the server says about a failure is shown.
const MAX_DETAILS: usize = 300;
/// So many redirections are followed.
const MAX_REDIRECTIONS: usize = 5;

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the connection is there.
    pub connect: Duration,
    /// Until the answer is complete, with the connection.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { connect: Duration::from_secs(5), request: Duration::from_secs(10) }
    }
}

/// What is known of a run: the JSON text of each field, or why there is none.
pub type Answers = BTreeMap<MymdcField, Result<String, MymdcError>>;

/// A JSON object whose values are not read yet. As in Python, the last of equal keys counts.
type Object = BTreeMap<String, Box<RawValue>>;

/// Sends requests to MyMdC. Connections are kept.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    patience: Patience,
}

impl Client {
    /// Blocks: reads the machine's certificates.
    ///
    /// # Errors
    /// The library cannot be set up.
    pub fn new(patience: Patience) -> Result<Self, MymdcError> {
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json; version=1")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let http = reqwest::Client::builder()
            .user_agent(concat!("amore/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(patience.connect)
            .timeout(patience.request)
            .redirect(Policy::custom(
                |attempt| {
                    if stays(&attempt) { attempt.follow() } else { attempt.stop() }
                },
            ))
            .tls_backend_preconfigured(tls())
            .build()
            .map_err(|source| MymdcError::NoClient { source: Arc::new(source) })?;
        Ok(Client { http, patience })
    }

    /// Asks for these fields of a run, one request after the other. What several fields need is asked once.
    pub async fn ask(
        &self,
        credentials: &Credentials,
        proposal: Proposal,
        run: Run,
        fields: &BTreeSet<MymdcField>,
    ) -> Answers {
        let asked = Asked { client: self, credentials, proposal, run };
        let about_run = match asked.run().await {
            Ok(about_run) => about_run,
            Err(error) => return fields.iter().map(|field| (*field, Err(error.clone()))).collect(),
        };
        let mut answers = Answers::new();
        for field in fields {
            answers.insert(*field, asked.field(*field, &about_run).await);
        }
        answers
    }
}

/// Is this redirection within the server? A change to TLS is.
fn stays(attempt: &Attempt<'_>) -> bool {
    let Some(first) = attempt.previous().first() else { return false };
    attempt.previous().len() <= MAX_REDIRECTIONS && is_same_server(first, attempt.url())
}

fn is_same_server(first: &Url, next: &Url) -> bool {
    let place = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    let (from, to) = (place(first), place(next));
    let to_tls = from == ("http".to_owned(), Some(80)) && to == ("https".to_owned(), Some(443));
    first.host() == next.host() && (from == to || to_tls)
}

/// TLS with the certificates of the machine. Without any, only addresses with http: can be reached.
fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    config.with_root_certificates(roots).with_no_client_auth()
}

/// Questions about one run.
struct Asked<'a> {
    client: &'a Client,
    credentials: &'a Credentials,
    proposal: Proposal,
    run: Run,
}

impl Asked<'_> {
    async fn run(&self) -> Result<(String, Object), MymdcError> {
        let (proposal, run) = (self.proposal.0.to_string(), self.run.0.to_string());
        let what = format!("run {run} of proposal {proposal}");
        let segments = ["proposals", "by_number", &proposal, "runs", &run];
        let (address, mut found) = self.object(&segments, &what).await?;
        let runs = take(&address, &mut found, "runs")?;
        let runs: Vec<Object> = self.parse(&address, runs.get())?;
        match runs.into_iter().next() {
            Some(first) => Ok((address, first)),
            None => Err(MymdcError::NotThere { what, address, details: String::new() }),
        }
    }

    async fn field(
        &self,
        field: MymdcField,
        (address, run): &(String, Object),
    ) -> Result<String, MymdcError> {
        let (key, what, folder, wanted) = match field {
            MymdcField::SampleName => ("sample_id", "the sample", "samples", "name"),
            MymdcField::RunType => ("experiment_id", "the experiment", "experiments", "name"),
            MymdcField::Techniques => ("id", "the run's number in MyMdC", "runs", "techniques"),
        };
        let id = run.get(key).ok_or_else(|| missing(address, key))?;
        let id = self.id(address, key, id)?.ok_or(MymdcError::NotEntered { what })?;
        let asked = match field {
            MymdcField::SampleName => format!("the run's sample {id}"),
            MymdcField::RunType => format!("the run's experiment {id}"),
            MymdcField::Techniques => format!("the run by its number {id}"),
        };
        let (address, mut found) = self.object(&[folder, &id], &asked).await?;
        Ok(take(&address, &mut found, wanted)?.get().to_owned())
    }

    /// The number of something, which becomes a part of an address. `None`: it is not entered.
    fn id(&self, address: &str, key: &str, id: &RawValue) -> Result<Option<String>, MymdcError> {
        let text = match self.parse(address, id.get())? {
            serde_json::Value::Null => return Ok(None),
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::String(text) => text,
            _ => String::new(),
        };
        let is_id = |text: &str| {
            !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char))
        };
        if is_id(&text) {
            return Ok(Some(text));
        }
        Err(MymdcError::WrongAnswer { address: address.to_owned(), why: format!("{key:?} is not a number") })
    }

    /// A JSON object, and its address for messages.
    async fn object(&self, segments: &[&str], what: &str) -> Result<(String, Object), MymdcError> {
        let url = self.credentials.address(segments);
        let address = self.shown(&url);
        let failed = |error: reqwest::Error| {
            let address = address.clone();
            if error.is_timeout() {
                // The connection has a shorter limit of its own.
                let waited = if error.is_connect() {
                    self.client.patience.connect
                } else {
                    self.client.patience.request
                };
                return MymdcError::TimedOut { address, seconds: waited.as_secs() };
            }
            MymdcError::Unreachable { address, source: Arc::new(error.without_url()) }
        };
        let request = self.client.http.get(url.clone()).header(KEY, self.credentials.token().header());
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(self.leads_away(answer.url(), &answer, address));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                let why = format!("it is longer than {} MiB", MAX_ANSWER >> 20);
                return Err(MymdcError::WrongAnswer { address, why });
            }
        }
        if status.is_success() {
            let text = String::from_utf8(body).map_err(|_| MymdcError::WrongAnswer {
                address: address.clone(),
                why: "it is not a text in UTF-8".to_owned(),
            })?;
            let object = self.parse(&address, &text)?;
            return Ok((address, object));
        }
        let details = self.details(&body);
        let code = status.as_u16();
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                MymdcError::Refused { address, status: code, details }
            }
            StatusCode::NOT_FOUND => MymdcError::NotThere { what: what.to_owned(), address, details },
            _ if status.is_server_error() => MymdcError::ServerFailed { address, status: code, details },
            _ => MymdcError::WrongAnswer { address, why: format!("status {code}{details}") },
        })
    }

    /// A redirection that was not followed.
    fn leads_away(&self, from: &Url, answer: &reqwest::Response, address: String) -> MymdcError {
        let to = answer.headers().get(reqwest::header::LOCATION);
        let to = to.and_then(|to| from.join(to.to_str().ok()?).ok());
        match to {
            Some(to) if !is_same_server(from, &to) => {
                let origin = self.credentials.token().hidden_in(&to.origin().ascii_serialization());
                MymdcError::LeadsAway { address, to: origin }
            }
            _ => MymdcError::WrongAnswer { address, why: "it redirects without end".to_owned() },
        }
    }

    /// What the server says about a failure.
    fn details(&self, body: &[u8]) -> String {
        let info = serde_json::from_slice::<serde_json::Value>(body).ok();
        let info = info.and_then(|body| body.get("info")?.as_str().map(str::to_owned));
        let Some(info) = info else { return String::new() };
        let info: String = info.split_whitespace().collect::<Vec<_>>().join(" ");
        let info = self.credentials.token().hidden_in(&info);
        format!(": {}", info.chars().take(MAX_DETAILS).collect::<String>())
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, address: &str, text: &str) -> Result<T, MymdcError> {
        serde_json::from_str(text).map_err(|error| {
            // The message may repeat a part of the answer.
            let why = self.credentials.token().hidden_in(&error.to_string());
            MymdcError::WrongAnswer { address: address.to_owned(), why }
        })
    }

    fn shown(&self, url: &Url) -> String {
        self.credentials.token().hidden_in(url.as_str())
    }
}

fn take(address: &str, object: &mut Object, key: &str) -> Result<Box<RawValue>, MymdcError> {
    object.remove(key).ok_or_else(|| missing(address, key))
}

fn missing(address: &str, key: &str) -> MymdcError {
    MymdcError::WrongAnswer { address: address.to_owned(), why: format!("it has no {key:?}") }
}
