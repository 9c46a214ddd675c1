//! Which variables of the service's environment user code must not see.

/// Prefixes of names that concern Amore, the service manager, the ledger or the broker. Amore sets those of its own that
/// user code may read (`AMORE_RUN` and others of a command) for each process.
const OF_THE_SERVICE: [&str; 15] = [
    "AMORE_",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_",
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SUPERVISOR_",
    "PGPASS",
    "PGSERVICE",
    "KAFKA_",
    "SLURM_JWT",
    "SLURM_SACK_",
];
/// Parts of names of variables that hold secrets. Such a variable is hidden in a sandbox only: without one, user code runs
/// with the user's own environment.
const SECRET: [&str; 6] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "APIKEY"];
/// Gives access to the account's other keys.
const KEYS: [&str; 3] = ["SSH_AUTH_SOCK", "KRB5CCNAME", "KRB5_KTNAME"];
/// Variables that `amore-worker` itself reads.
const OF_THE_WORKER: [&str; 1] = ["AMORE_PYTHONPATH"];

fn is_of_the_service(name: &str) -> bool {
    OF_THE_SERVICE.iter().any(|begin| name.starts_with(begin))
}

/// Whether user code must not inherit this variable.
pub fn is_hidden(name: &str, in_sandbox: bool) -> bool {
    let upper = name.to_ascii_uppercase();
    is_of_the_service(name)
        || (in_sandbox && (KEYS.contains(&name) || SECRET.iter().any(|part| upper.contains(part))))
}

/// Whether a worker must not inherit this variable: what is in its environment, processes of the same account can read.
pub fn is_hidden_from_workers(name: &str) -> bool {
    is_of_the_service(name) && !OF_THE_WORKER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_code_sees_nothing_of_the_service() {
        for name in [
            "AMORE_LEDGER_URL",
            "AMORE_TOKEN",
            "AMORE_KAFKA_PASSWORD",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "WATCHDOG_USEC",
            "SUPERVISOR_SERVER_URL",
            "PGPASSWORD",
            "PGPASSFILE",
            "KAFKA_SASL_PASSWORD",
            "SLURM_JWT",
        ] {
            assert!(is_hidden(name, false) && is_hidden_from_workers(name), "{name}");
        }
        for name in ["PATH", "HOME", "PYTHONPATH", "EXTRA_DATA_DATA_ROOT", "SLURM_JOB_ID", "MY_TOKEN"] {
            assert!(!is_hidden(name, false) && !is_hidden_from_workers(name), "{name}");
        }
        assert!(is_hidden("AMORE_PYTHONPATH", false) && !is_hidden_from_workers("AMORE_PYTHONPATH"));
    }

    #[test]
    fn secrets_of_the_account_do_not_enter_a_sandbox() {
        for name in ["MY_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"] {
            assert!(is_hidden(name, true) && !is_hidden(name, false), "{name}");
        }
        assert!(!is_hidden("PYTHONPATH", true));
    }
}
