//! How does a reservation stand for this user, now? Pure: what Slurm said comes in as text, the time as a number.

use std::fmt;

use crate::{partition_facts::words, person::Person};

/// A reservation, as `scontrol show reservation -o` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Its name.
    pub name: String,
    /// Seconds since 1970.
    pub start: Option<i64>,
    /// Seconds since 1970.
    pub end: Option<i64>,
    /// Who may use it.
    pub users: Who,
    /// Unix groups that may.
    pub groups: Who,
    /// Accounts whose jobs may.
    pub accounts: Who,
    /// The partition that it names, where it does.
    pub partition: Option<String>,
}

/// A list of names in a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Nobody is listed.
    #[default]
    Unsaid,
    /// These.
    These(Vec<String>),
    /// All but these (`-bob`).
    AllBut(Vec<String>),
}

impl Who {
    fn of(text: &str) -> Self {
        if matches!(text, "" | "(null)" | "N/A") {
            return Who::Unsaid;
        }
        let names: Vec<&str> = text.split(',').filter(|name| !name.is_empty()).collect();
        let without = || names.iter().map(|name| name.trim_start_matches('-').to_owned()).collect();
        if names.iter().any(|name| name.starts_with('-')) {
            Who::AllBut(without())
        } else {
            Who::These(without())
        }
    }

    fn permits(&self, listed: impl Fn(&[String]) -> bool) -> bool {
        match self {
            Who::Unsaid => true,
            Who::These(list) => listed(list),
            Who::AllBut(list) => !listed(list),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Unsaid => f.write_str("everyone"),
            Who::These(list) => f.write_str(&list.join(", ")),
            Who::AllBut(list) => write!(f, "all but {}", list.join(", ")),
        }
    }
}

/// Reads `scontrol show reservation -o`, asked with `SLURM_TIME_FORMAT=%s`, or at least with `TZ=UTC`.
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
                users: Who::of(get("Users")),
                groups: Who::of(get("Groups")),
                accounts: Who::of(get("Accounts")),
                partition: Some(get("PartitionName"))
                    .filter(|name| !matches!(*name, "" | "(null)" | "N/A"))
                    .map(str::to_owned),
            })
        })
        .collect()
}

/// Seconds since 1970, or `2026-11-23T01:09:30` in UTC.
fn moment(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return (seconds > 0).then_some(seconds);
    }
    let (date, time) = text.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        text.split(by).map(|part| part.parse::<u32>().ok().map(i64::from)).collect()
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return None;
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// How a reservation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Jobs can start in it.
    Active {
        /// Its end, in seconds since 1970.
        until: Option<i64>,
    },
    /// Jobs wait for it.
    NotStarted {
        /// Its begin.
        starts: i64,
    },
    /// It is over: Slurm takes no jobs for it, or keeps them waiting until it forgets it.
    Expired {
        /// Its end.
        ended: i64,
    },
    /// The user, or the job's account, may not use it.
    NotPermitted {
        /// Who may, in words.
        who: String,
        /// An account of the user's that may.
        instead: Option<String>,
    },
    /// There is none of this name (any more), or the site hides it from those who may not use it.
    Unknown,
}

impl Standing {
    /// Will Slurm run jobs in it, now or later?
    pub fn is_usable(&self) -> bool {
        matches!(self, Standing::Active { .. } | Standing::NotStarted { .. })
    }

    /// In words, after "reservation NAME".
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
            Standing::Active { until: Some(until) } => {
                format!("is active, for another {}", span(until - now))
            }
            Standing::Active { until: None } => "is active".to_owned(),
            Standing::NotStarted { starts } => format!("begins in {}", span(starts - now)),
            Standing::Expired { ended } => format!("ended {} ago", span(now - ended)),
            Standing::NotPermitted { who, .. } => format!("is not for you, but for {who}"),
            Standing::Unknown => "does not exist, or has ended".to_owned(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Standing::Active { .. } => None,
            Standing::NotStarted { .. } => Some(
                "jobs wait until it begins; to run before: amore-proto db-config slurm_partition NAME, without slurm_reservation"
                    .to_owned(),
            ),
            Standing::NotPermitted { instead: Some(account), .. } => {
                Some(format!("amore-proto db-config slurm_account {account}"))
            }
            Standing::NotPermitted { instead: None, .. } => {
                Some("ask for it to be opened to you, or set another: amore-proto db-config slurm_reservation".to_owned())
            }
            Standing::Expired { .. } | Standing::Unknown => Some(
                "`scontrol show reservation` lists those there are; amore-proto db-config slurm_reservation NAME, or --delete"
                    .to_owned(),
            ),
        }
    }
}

/// How the reservation of this name stands for this person's jobs with this account.
pub fn standing(
    all: &[Reservation],
    name: &str,
    person: &Person,
    account: Option<&str>,
    now: i64,
) -> Standing {
    let Some(found) = all.iter().find(|reservation| reservation.name == name) else {
        return Standing::Unknown;
    };
    if let Some(ended) = found.end.filter(|end| *end <= now) {
        return Standing::Expired { ended };
    }
    let user = person.root || found.users.permits(|list| list.contains(&person.user));
    let groups =
        person.root || found.groups.permits(|list| list.iter().any(|group| person.groups.contains(group)));
    if !user || !groups {
        let (what, who) = if user { ("group", &found.groups) } else { ("", &found.users) };
        return Standing::NotPermitted { who: format!("{what} {who}").trim().to_owned(), instead: None };
    }
    let counts = |account: &str| found.accounts.permits(|list| person.is_listed(account, list));
    // An account that is not known is for Slurm to judge.
    if let Some(account) = account.or(person.default_account.as_deref())
        && !counts(account)
    {
        let mut mine = person.associations.iter().flat_map(|associations| associations.accounts.keys());
        let instead = mine.find(|other| counts(other)).cloned();
        return Standing::NotPermitted { who: format!("account {}", found.accounts), instead };
    }
    match found.start {
        Some(starts) if starts > now => Standing::NotStarted { starts },
        _ => Standing::Active { until: found.end },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::person::{Associations, parse_associations};

    const RECORDED: [&str; 3] = [
        include_str!("../../../slurm-tests/recorded/22.05-compose/scontrol-show-reservation.txt"),
        include_str!("../../../slurm-tests/recorded/24.11-compose/scontrol-show-reservation.txt"),
        include_str!("../../../slurm-tests/recorded/26.05-compose/scontrol-show-reservation.txt"),
    ];

    fn person(user: &str, accounts: &[&str]) -> Person {
        let accounts: Vec<_> =
            accounts.iter().map(|account| ((*account).to_owned(), BTreeSet::new())).collect();
        Person {
            user: user.to_owned(),
            groups: [format!("lab_{user}")].into(),
            default_account: accounts.first().map(|(account, _)| account.clone()),
            associations: Some(Associations {
                accounts: accounts.into_iter().collect(),
                ..Associations::default()
            }),
            ..Person::default()
        }
    }

    #[test]
    fn reservations_of_three_versions_are_read() {
        for text in RECORDED {
            let all = parse_reservations(text);
            let names: Vec<_> = all.iter().map(|reservation| reservation.name.as_str()).collect();
            assert_eq!(names, ["going", "active", "later"]);
            assert_eq!(all[1].users, Who::These(vec!["alice".to_owned(), "carol".to_owned()]));
            assert_eq!(all[2].accounts, Who::These(vec!["physics".to_owned()]));
            assert_eq!((all[0].end.unwrap() - all[0].start.unwrap(), &all[0].groups), (60, &Who::Unsaid));
            let now = all[1].start.unwrap() + 90;
            let (alice, bob) = (person("alice", &["physics"]), person("bob", &["chemistry"]));
            let of = |name: &str, who: &Person| standing(&all, name, who, None, now);
            assert_eq!(of("going", &alice), Standing::Expired { ended: all[0].end.unwrap() });
            assert_eq!(of("active", &alice).words(now), "is active, for another 28 min");
            assert_eq!(of("active", &bob).words(now), "is not for you, but for alice, carol");
            assert_eq!(of("later", &alice), Standing::NotStarted { starts: all[2].start.unwrap() });
            assert_eq!(of("nosuch", &alice), Standing::Unknown);
            let carol = person("carol", &["chemistry", "physics"]);
            assert_eq!(of("later", &carol).hint().unwrap(), "amore-proto db-config slurm_account physics");
            assert!(standing(&all, "later", &carol, Some("physics"), now).is_usable());
        }
        assert!(parse_reservations("No reservations in the system\n").is_empty());
    }

    #[test]
    fn groups_and_denials_count() {
        let text = "ReservationName=g StartTime=100 EndTime=900 Users=(null) Groups=lab_bob Accounts=(null)\n\
                    ReservationName=n StartTime=100 EndTime=900 Users=-bob Groups=(null) Accounts=(null)";
        let all = parse_reservations(text);
        let (alice, bob) = (person("alice", &["physics"]), person("bob", &["chemistry"]));
        assert!(standing(&all, "g", &bob, None, 500).is_usable());
        assert_eq!(
            standing(&all, "g", &alice, None, 500).words(500),
            "is not for you, but for group lab_bob"
        );
        assert!(standing(&all, "n", &alice, None, 500).is_usable());
        assert_eq!(standing(&all, "n", &bob, None, 500).words(500), "is not for you, but for all but bob");
    }

    #[test]
    fn an_account_below_a_listed_one_is_permitted() {
        let all = parse_reservations("ReservationName=a StartTime=1 EndTime=9 Accounts=physics");
        let mut bob = person("bob", &["optics"]);
        assert!(!standing(&all, "a", &bob, None, 5).is_usable());
        bob.parents = [("optics".to_owned(), "physics".to_owned())].into();
        assert!(standing(&all, "a", &bob, None, 5).is_usable());
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
            let me = Person { associations: Some(parse_associations(&text, "", "A")), ..person("A", &["B"]) };
            for reservation in &all {
                let found = standing(&all, &reservation.name, &me, None, i64::from(now));
                let _ = (found.words(i64::from(now)), found.hint());
            }
        }
    }
}
