//! Addresses of ledgers, for display.

/// The address of a ledger without password and options: `postgres://user@host/database`, or the path of a file.
pub fn without_secret(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("://") else { return place.to_owned() };
    let rest = rest.split('?').next().unwrap_or_default();
    match rest.rsplit_once('@') {
        Some((login, place)) => {
            format!("{scheme}://{}@{place}", login.split(':').next().unwrap_or_default())
        }
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::without_secret;

    #[test]
    fn a_password_is_never_shown() {
        let shown = "postgres://amore@db.example/ledger";
        assert_eq!(without_secret("postgres://amore:sec:ret@db.example/ledger?password=x"), shown);
        assert_eq!(without_secret("postgres:///ledger?host=/run/postgresql"), "postgres:///ledger");
        assert_eq!(without_secret("/gpfs/a@b?c/ledger.sqlite"), "/gpfs/a@b?c/ledger.sqlite");
    }
}
