//! The rule of ownership: who may take over the run table, and when. No I/O, no clock.

use serde::{Deserialize, Serialize};

/// A process that owns, or wants to own, a run table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Host name.
    pub host: String,
    /// Process number on that host.
    pub pid: u32,
    /// The boot of the host and the clock tick at which the process started: tells it from a later process with the same
    /// number.
    pub token: String,
    /// User name, for messages.
    pub user: String,
    /// Where it takes requests (`http://host:port`), if it does.
    pub address: Option<String>,
}

impl Owner {
    /// The same process? (Its address may have become known since.)
    pub fn is_same_process(&self, other: &Owner) -> bool {
        self.host == other.host && self.pid == other.pid && self.token == other.token
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} of {} on {}", self.pid, self.user, self.host)
    }
}

/// The right to write, held until a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Who holds it.
    pub owner: Owner,
    /// Until when, in seconds since 1970. Past it others may take over; until they do, it still holds.
    pub until: f64,
}

/// The row of `amore_owner`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// The last epoch given away; 0 if none ever was. Kept when the owner releases.
    pub epoch: u64,
    /// Who owns the table now, if anybody.
    pub claim: Option<Claim>,
}

/// What the rule says to one who wants the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Take it, with this epoch.
    Take {
        /// Greater than every epoch before it.
        epoch: u64,
    },
    /// It is held.
    Held(Claim),
}

/// May `me` take the table at `now` (seconds since 1970)?
///
/// Yes if nobody owns it, if the owner's term is over, if `me` owns it already, or if the caller knows that the
/// owner is dead. `dead` names the process that was found dead: if the row has another owner by now, it is not
/// taken from that one.
///
/// A new epoch is the last one plus one, or the present second if that is more: so epochs rise even when
/// `runs.sqlite` is deleted and made afresh beside results that remember the old ones.
pub fn decide(row: &OwnerRow, me: &Owner, now: f64, dead: Option<&Owner>) -> Decision {
    if let Some(claim) = &row.claim {
        let over = claim.until <= now
            || claim.owner.is_same_process(me)
            || dead.is_some_and(|dead| claim.owner.is_same_process(dead));
        if !over {
            return Decision::Held(claim.clone());
        }
    }
    // Negative and NaN clocks become 0.
    Decision::Take { epoch: (now as u64).min(i64::MAX as u64 - 1).max(row.epoch + 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(pid: u32) -> Owner {
        Owner {
            host: "max-exfl001".into(),
            pid,
            token: format!("t{pid}"),
            user: "xuser".into(),
            address: None,
        }
    }

    fn held(pid: u32, epoch: u64, until: f64) -> OwnerRow {
        OwnerRow { epoch, claim: Some(Claim { owner: owner(pid), until }) }
    }

    #[test]
    fn a_running_term_is_respected() {
        let row = held(1, 7, 100.0);
        assert_eq!(decide(&row, &owner(2), 99.9, None), Decision::Held(row.claim.unwrap()));
    }

    #[test]
    fn a_term_that_is_over_is_taken_with_a_higher_epoch() {
        assert_eq!(decide(&held(1, 700, 100.0), &owner(2), 100.0, None), Decision::Take { epoch: 701 });
    }

    #[test]
    fn the_epoch_follows_the_clock_so_that_a_new_file_starts_above_the_old_one() {
        assert_eq!(
            decide(&OwnerRow::default(), &owner(2), 1.8e9, None),
            Decision::Take { epoch: 1_800_000_000 }
        );
    }

    #[test]
    fn death_counts_for_the_process_that_died_only() {
        let row = held(1, 7, 100.0);
        assert_eq!(decide(&row, &owner(2), 5.0, Some(&owner(1))), Decision::Take { epoch: 8 });
        assert!(matches!(decide(&row, &owner(2), 5.0, Some(&owner(3))), Decision::Held(_)));
        let reborn = Owner { token: "another".into(), ..owner(1) };
        assert!(matches!(decide(&row, &owner(2), 5.0, Some(&reborn)), Decision::Held(_)));
    }

    proptest! {
        #[test]
        fn whatever_happens_epochs_rise_and_running_terms_hold(
            steps in prop::collection::vec((1u32..4, -5.0..50.0f64, prop::bool::ANY, prop::bool::ANY), 1..60)
        ) {
            let mut row = OwnerRow::default();
            let mut now = 0.0;
            for (who, passes, release, dead) in steps {
                now += passes;
                let before = row.clone();
                let dead = if dead { before.claim.as_ref().map(|c| c.owner.clone()) } else { None };
                match decide(&row, &owner(who), now, dead.as_ref()) {
                    Decision::Take { epoch } => {
                        prop_assert!(epoch > before.epoch);
                        if let Some(claim) = &before.claim {
                            prop_assert!(claim.until <= now || claim.owner.pid == who || dead.is_some());
                        }
                        row = held(who, epoch, now + 10.0);
                        if release {
                            row.claim = None;
                        }
                    }
                    Decision::Held(claim) => {
                        prop_assert!(claim.until > now && claim.owner.pid != who);
                        prop_assert_eq!(&row, &before);
                    }
                }
            }
        }
    }
}
