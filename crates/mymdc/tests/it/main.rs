//! The client against a real server on this machine that answers as a test wants, also wrongly.

mod server;

use std::{collections::BTreeSet, time::Duration};

use amore_model::{MymdcField, Proposal, Run};
use amore_mymdc::{Answers, Client, Credentials, MymdcError, Patience};
use server::{Reply, Server};

const TOKEN: &str = "s3cr3t-t0k3n";
const RUN: &str = "/api/mymdc/proposals/by_number/1234/runs/7";
/// The answer about the run.
const ABOUT: &str = r#"{"runs": [{"id": 70, "sample_id": 8, "experiment_id": "e-9", "other": null}]}"#;

fn credentials(server: &str) -> Credentials {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mymdc-credentials.yml");
    std::fs::write(&path, format!("token: {TOKEN}\nserver: {server}\n")).unwrap();
    Credentials::read(&path).unwrap()
}

async fn ask_at(address: &str, fields: &[MymdcField]) -> Answers {
    let patience = Patience { connect: Duration::from_secs(2), request: Duration::from_secs(2) };
    let client = Client::new(patience).unwrap();
    let fields: BTreeSet<MymdcField> = fields.iter().copied().collect();
    let answers = client.ask(&credentials(address), Proposal(1234), Run(7), &fields).await;
    assert_eq!(answers.keys().copied().collect::<BTreeSet<_>>(), fields, "each field has an answer");
    for error in answers.values().filter_map(|answer| answer.as_ref().err()) {
        let shown = format!("{error} {error:?} {}", error.hint());
        assert!(!shown.contains(TOKEN), "{shown}");
        assert!(!error.hint().is_empty());
    }
    answers
}

async fn ask(server: &Server, fields: &[MymdcField]) -> Answers {
    ask_at(&server.address, fields).await
}

/// The error of the sample's name.
async fn error_at(address: &str) -> MymdcError {
    ask_at(address, &[MymdcField::SampleName]).await.remove(&MymdcField::SampleName).unwrap().unwrap_err()
}

/// The error of the sample's name if the server answers the first request in this way.
async fn error_of(reply: Reply) -> MymdcError {
    let server = Server::start(vec![(RUN, reply)]).await;
    error_at(&server.address).await
}

#[tokio::test]
async fn values_are_the_json_texts_of_the_server_and_each_thing_is_asked_once() {
    let techniques = r#"[{"name": "SFX", "identifier": "PaNET01188"}, {"identifier": "x", "n": 1.50}]"#;
    let server = Server::start(vec![
        (RUN, Reply::json(ABOUT)),
        ("/api/mymdc/samples/8", Reply::json(r#"{"id": 8, "name": "Lysozyme \u00b5"}"#)),
        ("/api/mymdc/experiments/e-9", Reply::json(r#"{"name": null}"#)),
        ("/api/mymdc/runs/70", Reply::json(&format!(r#"{{"techniques": {techniques}}}"#))),
    ])
    .await;
    let answers = ask(&server, &MymdcField::ALL).await;
    let text = |field| answers[&field].as_ref().unwrap().as_str();
    assert_eq!(text(MymdcField::SampleName), r#""Lysozyme \u00b5""#);
    assert_eq!(text(MymdcField::RunType), "null");
    assert_eq!(text(MymdcField::Techniques), techniques);
    let requests = server.requests();
    let mut paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths.remove(0), RUN);
    paths.sort_unstable();
    assert_eq!(paths, ["/api/mymdc/experiments/e-9", "/api/mymdc/runs/70", "/api/mymdc/samples/8"]);
    assert!(requests.iter().all(|request| request.header("x-api-key") == Some(TOKEN)));
    assert!(requests.iter().all(|request| request.header("accept") == Some("application/json; version=1")));
}

#[tokio::test]
async fn only_what_is_needed_is_asked_and_a_failure_concerns_its_field_alone() {
    let server = Server::start(vec![
        (RUN, Reply::json(ABOUT)),
        ("/api/mymdc/samples/8", Reply::status(500, "")),
        ("/api/mymdc/experiments/e-9", Reply::json(r#"{"name": "Dark"}"#)),
    ])
    .await;
    let answers = ask(&server, &[MymdcField::SampleName, MymdcField::RunType]).await;
    assert!(matches!(answers[&MymdcField::SampleName], Err(MymdcError::ServerFailed { status: 500, .. })));
    assert_eq!(answers[&MymdcField::RunType].as_ref().unwrap(), r#""Dark""#);
    assert!(server.requests().iter().all(|request| !request.path.contains("/mymdc/runs/")));
}

#[tokio::test]
async fn each_status_has_its_error_with_the_words_of_the_server_but_not_the_token() {
    let info = format!(r#"{{"info": "no  access\nfor {TOKEN}"}}"#);
    for status in [401, 403] {
        let error = error_of(Reply::status(status, &info)).await;
        assert!(matches!(error, MymdcError::Refused { .. }), "{error:?}");
        assert!(error.to_string().ends_with(": no access for ***"), "{error}");
        assert_eq!(error.class(), "MymdcCredentialsError");
    }
    let error = error_of(Reply::status(404, "<html>")).await;
    assert!(matches!(&error, MymdcError::NotThere { .. }), "{error:?}");
    assert!(error.to_string().contains("run 7 of proposal 1234"), "{error}");
    let error = error_of(Reply::status(503, "busy")).await;
    assert_eq!(error.class(), "MymdcUnavailableError");
    let error = error_of(Reply::status(418, "")).await;
    assert!(matches!(error, MymdcError::WrongAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_run_without_an_entry_and_one_without_a_sample_are_told_apart() {
    let error = error_of(Reply::json(r#"{"runs": []}"#)).await;
    assert!(matches!(error, MymdcError::NotThere { .. }), "{error:?}");
    let error = error_of(Reply::json(r#"{"runs": [{"sample_id": null}]}"#)).await;
    assert!(error.to_string().contains("the sample is not entered"), "{error}");
    assert_eq!(error.class(), "MymdcNotFoundError");
}

#[tokio::test]
async fn wrong_answers_are_errors_without_the_token() {
    let repeated = format!("\"{TOKEN}\"");
    let bad_id = format!(r#"{{"runs": [{{"sample_id": "../{TOKEN}"}}]}}"#);
    for (body, words) in [
        ("", "EOF"),
        ("<html>", "expected value"),
        ("[]", "expected a map"),
        (r#"{"runs": 3}"#, "expected a sequence"),
        (r#"{"runs": [4]}"#, "expected a map"),
        (r#"{"rums": []}"#, r#"it has no "runs""#),
        (r#"{"runs": [{}]}"#, r#"it has no "sample_id""#),
        (r#"{"runs": [{"sample_id": [1]}]}"#, r#""sample_id" is not a number"#),
        (&bad_id, r#""sample_id" is not a number"#),
        (&repeated, "***"),
    ] {
        let error = error_of(Reply::json(body)).await;
        assert!(matches!(error, MymdcError::WrongAnswer { .. }), "{body}: {error:?}");
        assert!(error.to_string().contains(words), "{body}: {error}");
    }
    let error = error_of(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe".to_vec())).await;
    assert!(error.to_string().contains("UTF-8"), "{error}");
    let error = error_of(Reply::Endless).await;
    assert!(error.to_string().contains("longer than"), "{error}");
    let error = error_of(Reply::Raw(b"no HTTP at all\r\n\r\n".to_vec())).await;
    assert!(matches!(error, MymdcError::Unreachable { .. }), "{error:?}");
    let error = error_of(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec())).await;
    assert!(matches!(error, MymdcError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hangs_before_or_within_its_answer_times_out() {
    for reply in [Reply::Hang, Reply::HangWithin] {
        let error = error_of(reply).await;
        assert!(matches!(error, MymdcError::TimedOut { seconds: 2, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_who_listens_is_unreachable() {
    // A port that is free again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = error_at(&format!("http://127.0.0.1:{port}")).await;
    assert!(matches!(error, MymdcError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    let error = error_at("http://no-such-host.invalid").await;
    assert!(matches!(error, MymdcError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn no_other_server_gets_the_token() {
    let other = Server::start(vec![("/stolen", Reply::json(ABOUT))]).await;
    let error = error_of(Reply::redirect(&format!("{}/stolen", other.address))).await;
    assert!(matches!(&error, MymdcError::LeadsAway { to, .. } if *to == other.address), "{error:?}");
    assert!(other.requests().is_empty());
    // Within the server it is followed, but not for ever.
    let server = Server::start(vec![
        (RUN, Reply::redirect("/moved")),
        ("/moved", Reply::json(ABOUT)),
        ("/api/mymdc/samples/8", Reply::json(r#"{"name": "moved"}"#)),
    ])
    .await;
    let answers = ask(&server, &[MymdcField::SampleName]).await;
    assert_eq!(answers[&MymdcField::SampleName].as_ref().unwrap(), r#""moved""#);
    let error = error_of(Reply::redirect(RUN)).await;
    assert!(error.to_string().contains("without end"), "{error}");
}
