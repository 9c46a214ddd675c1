//! What `supervisorctl status damnit` said. Pure: text is all that it gives.

/// The state of the service of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It runs, or is being started; with Supervisor's line about it.
    Running { line: String },
    /// supervisord has just started it, or tries again.
    Starting { line: String },
    /// supervisord answers, and does not run it.
    Stopped { line: String },
    /// supervisord answers, and is about to end.
    Ending,
    /// Nobody listens where the configuration says: supervisord has ended, or its host is down.
    NoAnswer { why: String },
    /// Somebody listened, and closed the connection without an answer: as a supervisord does in the moment in which it ends.
    HungUp { why: String },
    /// Somebody answers, but not as the supervisord of this configuration.
    Stranger { why: String },
    /// The configuration cannot be used.
    BadConfiguration { why: String },
}

/// Exit codes without any message about a connection: an exception while it read its configuration, and a usage error.
const UNUSABLE: [i32; 2] = [1, 2];

/// Reads the answer; `code` is `None` if it took too long.
pub fn read(code: Option<i32>, output: &str) -> Status {
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let last = || output.lines().rfind(|text| !text.trim().is_empty()).map(line).unwrap_or_default();
    let about_it = output.lines().find(|text| text.split_whitespace().next() == Some("damnit"));
    if let Some(found) = about_it {
        return match found.split_whitespace().nth(1) {
            Some("RUNNING") => Status::Running { line: line(found) },
            Some("STARTING" | "BACKOFF" | "STOPPING") => Status::Starting { line: line(found) },
            _ => Status::Stopped { line: line(found) },
        };
    }
    let Some(code) = code else { return Status::NoAnswer { why: "no answer".to_owned() } };
    if output.contains("refused connection") {
        return Status::NoAnswer { why: last() };
    }
    // supervisorctl prints other errors of a connection as "error: <class 'socket.gaierror'>, …".
    const NOT_MADE: [&str; 3] = ["gaierror", "TimeoutError", "OSError"];
    const CLOSED: [&str; 5] = [
        "RemoteDisconnected",
        "IncompleteRead",
        "ConnectionResetError",
        "ConnectionAbortedError",
        "BrokenPipeError",
    ];
    let error = output.lines().find(|text| text.starts_with("error: "));
    let is_one_of = |kinds: &[&str]| error.filter(|error| kinds.iter().any(|kind| error.contains(kind)));
    if let Some(error) = is_one_of(&CLOSED) {
        return Status::HungUp { why: line(error) };
    }
    if let Some(error) = is_one_of(&NOT_MADE) {
        return Status::NoAnswer { why: line(error) };
    }
    // A fault of the protocol: 6 is its number, this its name.
    if output.contains("SHUTDOWN_STATE") {
        return Status::Ending;
    }
    if output.contains("Server requires authentication") {
        let why = "it does not accept the user name and password in that file";
        return Status::Stranger { why: why.to_owned() };
    }
    if let Some(error) = error {
        return Status::Stranger { why: line(error) };
    }
    if UNUSABLE.contains(&code) {
        let told =
            output.lines().find(|text| text.starts_with("Error: ") || text.starts_with("configparser."));
        return Status::BadConfiguration { why: told.map(line).unwrap_or_else(last) };
    }
    Status::Stranger { why: last() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_the_program() {
        let running = "damnit                           RUNNING   pid 3793870, uptime 0:00:20\n";
        assert_eq!(
            read(Some(0), running),
            Status::Running { line: "damnit RUNNING pid 3793870, uptime 0:00:20".to_owned() }
        );
        assert!(matches!(read(Some(0), "damnit   STARTING  \n"), Status::Starting { .. }));
        assert!(matches!(read(Some(0), "damnit   BACKOFF   Exited too quickly\n"), Status::Starting { .. }));
        for state in ["STOPPED   Not started", "EXITED  Jan 1", "FATAL  Exited too quickly", "UNKNOWN"] {
            assert!(matches!(read(Some(3), &format!("damnit   {state}")), Status::Stopped { .. }), "{state}");
        }
    }

    #[test]
    fn whoever_does_not_answer_is_gone_and_whoever_answers_otherwise_is_a_stranger() {
        let refused = "http://host:4321 refused connection\n";
        assert_eq!(
            read(Some(4), refused),
            Status::NoAnswer { why: "http://host:4321 refused connection".to_owned() }
        );
        let unknown =
            "error: <class 'socket.gaierror'>, [Errno -2] Name or service not known: file: /a line: 1\n";
        assert!(matches!(read(Some(4), unknown), Status::NoAnswer { .. }));
        let unreachable = "error: <class 'OSError'>, [Errno 113] No route to host: file: /a line: 1\n";
        assert!(matches!(read(Some(4), unreachable), Status::NoAnswer { .. }));
        assert!(matches!(read(None, ""), Status::NoAnswer { .. }));
        for closed in [
            "<class 'http.client.RemoteDisconnected'>, Remote end closed connection without response",
            "<class 'ConnectionResetError'>, [Errno 104] Connection reset by peer",
        ] {
            let output = format!("error: {closed}: file: /a line: 1\n");
            assert!(matches!(read(Some(1), &output), Status::HungUp { .. }), "{closed}");
        }
        // It asks twice.
        let twice =
            "Server requires authentication\nerror: <class 'xmlrpc.client.ProtocolError'>, <ProtocolError>\n";
        assert_eq!(
            read(Some(1), twice),
            Status::Stranger { why: "it does not accept the user name and password in that file".to_owned() }
        );
        let ending = "error: <class 'xmlrpc.client.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>: file: /a line: 1\n";
        assert_eq!(read(Some(1), ending), Status::Ending);
        let other = "error: <class 'http.client.BadStatusLine'>, SSH-2.0: file: /a line: 1\n";
        assert!(matches!(read(Some(4), other), Status::Stranger { .. }));
        assert!(matches!(read(Some(4), "damnit: ERROR (no such group)\n"), Status::Stranger { .. }));
        let broken = "Error: .ini file does not include supervisorctl section\nFor help, use -c -h\n";
        assert_eq!(
            read(Some(2), broken),
            Status::BadConfiguration {
                why: "Error: .ini file does not include supervisorctl section".to_owned()
            }
        );
        let exception = "Traceback (most recent call last):\n  File \"/a\"\nconfigparser.MissingSectionHeaderError: File contains \
                         no section headers.\nfile: 'a.conf', line: 1\n'nothing'\n";
        assert_eq!(
            read(Some(1), exception),
            Status::BadConfiguration {
                why: "configparser.MissingSectionHeaderError: File contains no section headers.".to_owned()
            }
        );
    }
}
