//! Whether a user can use a reservation at a given time. Pure: Slurm's output is text, the time is a number.

use std::fmt;

use jiff::{civil::DateTime, tz::Offset};

use crate::{partition_facts::words, slurm_user::SlurmUser};

/// A reservation, as printed by `scontrol show reservation -o`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Its name.
    pub name: String,
    /// Seconds since 1970.
    pub start: Option<i64>,
    /// Seconds since 1970.
    pub end: Option<i64>,
    /// Users who may use it.
    pub users: AccessList,
    /// Unix groups that may use it.
    pub groups: AccessList,
    /// Accounts whose jobs may use it.
    pub accounts: AccessList,
    /// Its partition, if it names one.
    pub partition: Option<String>,
}

/// A list of names in a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessList {
    /// Nobody is listed.
    #[default]
    Everyone,
    /// Only these.
    These(Vec<String>),
    /// All but these (`-bob`).
    AllBut(Vec<String>),
}

impl AccessList {
    fn of(text: &str) -> Self {
        if matches!(text, "" | "(null)" | "N/A") {
            return AccessList::Everyone;
        }
        let names: Vec<&str> = text.split(',').filter(|name| !name.is_empty()).collect();
        let without = || names.iter().map(|name| name.trim_start_matches('-').to_owned()).collect();
        if names.iter().any(|name| name.starts_with('-')) {
            AccessList::AllBut(without())
        } else {
            AccessList::These(without())
        }
    }

    fn permits(&self, listed: impl Fn(&[String]) -> bool) -> bool {
        match self {
            AccessList::Everyone => true,
            AccessList::These(list) => listed(list),
            AccessList::AllBut(list) => !listed(list),
        }
    }
}

impl fmt::Display for AccessList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessList::Everyone => f.write_str("everyone"),
            AccessList::These(list) => f.write_str(&list.join(", ")),
            AccessList::AllBut(list) => write!(f, "all but {}", list.join(", ")),
        }
    }
}

/// Parses `scontrol show reservation -o`, run with `SLURM_TIME_FORMAT=%s`, or at least with `TZ=UTC`.
pub fn parse_reservations(text: &str) -> Vec<Reservation> {
    text.lines()
        .filter_map(|line| {
            let words = words(line);
            let get = |key: &str| words.get(key).copied().unwrap_or_default();
            let name = get("ReservationName");
            (!name.is_empty()).then(|| Reservation {
                name: name.to_owned(),
                start: moment(get("StartTime")),
                end: moment(get("EndTime")),
                users: AccessList::of(get("Users")),
                groups: AccessList::of(get("Groups")),
                accounts: AccessList::of(get("Accounts")),
                partition: Some(get("PartitionName"))
                    .filter(|name| !matches!(*name, "" | "(null)" | "N/A"))
                    .map(str::to_owned),
            })
        })
        .collect()
}

/// Parses seconds since 1970, or `2026-11-23T01:09:30` in UTC.
fn moment(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return (seconds > 0).then_some(seconds);
    }
    let time = DateTime::strptime("%Y-%m-%dT%H:%M:%S", text).ok()?;
    Some(Offset::UTC.to_timestamp(time).ok()?.as_second()).filter(|seconds| *seconds > 0)
}

/// State of a reservation, for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReservationState {
    /// Jobs can start in it.
    Active {
        /// When it ends, in seconds since 1970.
        until: Option<i64>,
    },
    /// Jobs wait for its start.
    NotStarted {
        /// When it starts, in seconds since 1970.
        starts: i64,
    },
    /// It is over: Slurm accepts no jobs for it, or keeps them waiting until it is purged.
    Expired {
        /// When it ended, in seconds since 1970.
        ended: i64,
    },
    /// The user or the job's account may not use it.
    NotPermitted {
        /// AccessList may, for messages.
        who: String,
        /// Another account of the user that may use it.
        instead: Option<String>,
    },
    /// It does not exist (any more), or the site hides it from those who may not use it.
    Unknown,
}

impl ReservationState {
    /// Whether Slurm will run jobs in it, now or later.
    pub fn is_usable(&self) -> bool {
        matches!(self, ReservationState::Active { .. } | ReservationState::NotStarted { .. })
    }

    /// Describes the state, to follow "reservation NAME".
    pub fn words(&self, now: i64) -> String {
        let span = |seconds: i64| {
            let minutes = seconds.max(0) / 60;
            match (minutes / 1440, minutes % 1440 / 60, minutes % 60) {
                (0, 0, minutes) => format!("{minutes} min"),
                (0, hours, minutes) => format!("{hours} h {minutes} min"),
                (days, hours, _) => format!("{days} d {hours} h"),
            }
        };
        match self {
            ReservationState::Active { until: Some(until) } => {
                format!("is active, for another {}", span(until - now))
            }
            ReservationState::Active { until: None } => "is active".to_owned(),
            ReservationState::NotStarted { starts } => format!("starts in {}", span(starts - now)),
            ReservationState::Expired { ended } => format!("ended {} ago", span(now - ended)),
            ReservationState::NotPermitted { who, .. } => format!("is restricted to {who}"),
            ReservationState::Unknown => "does not exist, or has ended".to_owned(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ReservationState::Active { .. } => None,
            ReservationState::NotStarted { .. } => Some(
                "jobs wait until it starts; to run earlier, use a partition instead: amore-proto db-config slurm_partition NAME, and slurm_reservation --delete"
                    .to_owned(),
            ),
            ReservationState::NotPermitted { instead: Some(account), .. } => {
                Some(format!("amore-proto db-config slurm_account {account}"))
            }
            ReservationState::NotPermitted { instead: None, .. } => {
                Some("ask for access to it, or set another one: amore-proto db-config slurm_reservation NAME".to_owned())
            }
            ReservationState::Expired { .. } | ReservationState::Unknown => Some(
                "`scontrol show reservation` lists all reservations; amore-proto db-config slurm_reservation NAME, or --delete"
                    .to_owned(),
            ),
        }
    }
}

/// The state of the named reservation for jobs of this user with this account.
pub fn state_for(
    all: &[Reservation],
    name: &str,
    user: &SlurmUser,
    account: Option<&str>,
    now: i64,
) -> ReservationState {
    let Some(found) = all.iter().find(|reservation| reservation.name == name) else {
        return ReservationState::Unknown;
    };
    if let Some(ended) = found.end.filter(|end| *end <= now) {
        return ReservationState::Expired { ended };
    }
    let user_allowed = user.root || found.users.permits(|list| list.contains(&user.name));
    let group_allowed =
        user.root || found.groups.permits(|list| list.iter().any(|group| user.groups.contains(group)));
    if !user_allowed || !group_allowed {
        let (what, who) = if user_allowed { ("group", &found.groups) } else { ("", &found.users) };
        return ReservationState::NotPermitted {
            who: format!("{what} {who}").trim().to_owned(),
            instead: None,
        };
    }
    let counts = |account: &str| found.accounts.permits(|list| user.is_listed(account, list));
    // If the account is unknown, Slurm decides.
    if let Some(account) = account.or(user.default_account.as_deref())
        && !counts(account)
    {
        let mut mine = user.associations.iter().flat_map(|associations| associations.accounts.keys());
        let instead = mine.find(|other| counts(other)).cloned();
        return ReservationState::NotPermitted { who: format!("account {}", found.accounts), instead };
    }
    match found.start {
        Some(starts) if starts > now => ReservationState::NotStarted { starts },
        _ => ReservationState::Active { until: found.end },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::slurm_user::{Associations, parse_associations};

    const RECORDED: [&str; 3] = [
        include_str!("../../../slurm-tests/recorded/22.05-compose/scontrol-show-reservation.txt"),
        include_str!("../../../slurm-tests/recorded/24.11-compose/scontrol-show-reservation.txt"),
        include_str!("../../../slurm-tests/recorded/26.05-compose/scontrol-show-reservation.txt"),
    ];

    fn user(name: &str, accounts: &[&str]) -> SlurmUser {
        let accounts: Vec<_> =
            accounts.iter().map(|account| ((*account).to_owned(), BTreeSet::new())).collect();
        SlurmUser {
            name: name.to_owned(),
            groups: [format!("lab_{name}")].into(),
            default_account: accounts.first().map(|(account, _)| account.clone()),
            associations: Some(Associations {
                accounts: accounts.into_iter().collect(),
                ..Associations::default()
            }),
            ..SlurmUser::default()
        }
    }

    #[test]
    fn reservations_of_three_versions_are_read() {
        for text in RECORDED {
            let all = parse_reservations(text);
            let names: Vec<_> = all.iter().map(|reservation| reservation.name.as_str()).collect();
            assert_eq!(names, ["going", "active", "later"]);
            assert_eq!(all[1].users, AccessList::These(vec!["alice".to_owned(), "carol".to_owned()]));
            assert_eq!(all[2].accounts, AccessList::These(vec!["physics".to_owned()]));
            assert_eq!(
                (all[0].end.unwrap() - all[0].start.unwrap(), &all[0].groups),
                (60, &AccessList::Everyone)
            );
            let now = all[1].start.unwrap() + 90;
            let (alice, bob) = (user("alice", &["physics"]), user("bob", &["chemistry"]));
            let of = |name: &str, who: &SlurmUser| state_for(&all, name, who, None, now);
            assert_eq!(of("going", &alice), ReservationState::Expired { ended: all[0].end.unwrap() });
            assert_eq!(of("active", &alice).words(now), "is active, for another 28 min");
            assert_eq!(of("active", &bob).words(now), "is restricted to alice, carol");
            assert_eq!(of("later", &alice), ReservationState::NotStarted { starts: all[2].start.unwrap() });
            assert_eq!(of("nosuch", &alice), ReservationState::Unknown);
            let carol = user("carol", &["chemistry", "physics"]);
            assert_eq!(of("later", &carol).hint().unwrap(), "amore-proto db-config slurm_account physics");
            assert!(state_for(&all, "later", &carol, Some("physics"), now).is_usable());
        }
        assert!(parse_reservations("No reservations in the system\n").is_empty());
    }

    #[test]
    fn groups_and_denials_count() {
        let text = "ReservationName=g StartTime=100 EndTime=900 Users=(null) Groups=lab_bob Accounts=(null)\n\
                    ReservationName=n StartTime=100 EndTime=900 Users=-bob Groups=(null) Accounts=(null)";
        let all = parse_reservations(text);
        let (alice, bob) = (user("alice", &["physics"]), user("bob", &["chemistry"]));
        assert!(state_for(&all, "g", &bob, None, 500).is_usable());
        assert_eq!(state_for(&all, "g", &alice, None, 500).words(500), "is restricted to group lab_bob");
        assert!(state_for(&all, "n", &alice, None, 500).is_usable());
        assert_eq!(state_for(&all, "n", &bob, None, 500).words(500), "is restricted to all but bob");
    }

    #[test]
    fn an_account_below_a_listed_one_is_permitted() {
        let all = parse_reservations("ReservationName=a StartTime=1 EndTime=9 Accounts=physics");
        let mut bob = user("bob", &["optics"]);
        assert!(!state_for(&all, "a", &bob, None, 5).is_usable());
        bob.parents = [("optics".to_owned(), "physics".to_owned())].into();
        assert!(state_for(&all, "a", &bob, None, 5).is_usable());
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(moment("2026-11-23T01:09:30"), Some(1_795_396_170));
        assert_eq!(moment("2024-02-29T23:59:59"), Some(1_709_251_199));
        assert_eq!(moment("1795396170"), Some(1_795_396_170));
        for bad in ["", "Unknown", "N/A", "2026-13-01T00:00:00", "2026-11-23T", "0"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_slurm_could_say_is_a_panic(text in "(ReservationName=|(Start|End)Time=|Users=|[ =|,\n0-9A-ZT:é-]){0,80}", now: i32) {
            let all = parse_reservations(&text);
            let me = SlurmUser { associations: Some(parse_associations(&text, "", "A")), ..user("A", &["B"]) };
            for reservation in &all {
                let found = state_for(&all, &reservation.name, &me, None, i64::from(now));
                let _ = (found.words(i64::from(now)), found.hint());
            }
        }
    }
}
