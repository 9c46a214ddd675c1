//! The rule of leases: who may take over the right to write, and when. The run table and the ledger both follow it. No I/O,
//! no clock.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::planted::{Fault, is_on};

/// A process that holds, or wants to hold, a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// Host name.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// Boot id of the host and start time of the process in clock ticks: distinguishes it from a later process with the same
    /// process id.
    pub token: String,
    /// User name, for messages.
    pub user: String,
    /// Address for requests (`http://host:port`), if any.
    pub address: Option<String>,
}

impl Holder {
    /// Whether it is the same process. (Its address may have changed.)
    pub fn is_same_process(&self, other: &Holder) -> bool {
        self.host == other.host && self.pid == other.pid && self.token == other.token
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} of {} on {}", self.pid, self.user, self.host)
    }
}

/// A held lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its holder.
    pub holder: Holder,
    /// Its end, in seconds since 1970. After that others may take over; until they do, it remains valid.
    pub until: f64,
}

/// The state of a lease in a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseState {
    /// The last epoch that was assigned; 0 if there was none. It is kept when the holder releases the lease.
    pub epoch: u64,
    /// The current claim, if there is one.
    pub claim: Option<Claim>,
}

impl LeaseState {
    /// Checks whether this process still holds the lease that it got under this epoch. If not, the error contains the
    /// current holder, if any.
    ///
    /// # Errors
    /// The lease was released, or another process has taken it.
    pub fn check(self, holder: &Holder, epoch: u64) -> Result<(), Option<Holder>> {
        match self.claim {
            Some(claim) if self.epoch == epoch && claim.holder.is_same_process(holder) => Ok(()),
            _ if is_on(Fault::DeposedNotChecked) => Ok(()),
            claim => Err(claim.map(|claim| claim.holder)),
        }
    }
}

/// How a store numbers its epochs. In both cases no epoch is assigned twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// The last one plus one.
    Counted,
    /// The current Unix time in seconds, or the last epoch plus one if that is larger. So epochs increase even if the store
    /// is deleted and created again next to results that contain the old ones.
    FromClock,
}

/// The rule's answer to a process that wants a lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It may take the lease, with this epoch.
    Take {
        /// Larger than all earlier epochs.
        epoch: u64,
    },
    /// It is held by another process.
    Held(Claim),
}

/// Decides whether `me` may take the lease at `now` (seconds since 1970).
///
/// It may if the lease is free, if its term has expired, if `me` already holds it (under an older epoch), or if the caller
/// knows that its holder is dead. `dead` is the process that was found dead: if another process holds the lease by now, it
/// is not taken.
pub fn decide(state: &LeaseState, me: &Holder, now: f64, dead: Option<&Holder>, epochs: Epochs) -> Decision {
    if let Some(claim) = &state.claim {
        let over = claim.until <= now
            || claim.holder.is_same_process(me)
            || dead.is_some_and(|dead| claim.holder.is_same_process(dead))
            || is_on(Fault::LeaseTakenWhileHeld);
        if !over {
            return Decision::Held(claim.clone());
        }
    }
    let counted = state.epoch + 1;
    let epoch = match epochs {
        Epochs::Counted => counted,
        // Negative or invalid clocks become 0. Stores keep epochs as signed integers.
        Epochs::FromClock => (now as u64).min(i64::MAX as u64 - 1).max(counted),
    };
    Decision::Take { epoch }
}

/// Whether a term that started this many seconds ago has to be renewed: when a third of it has passed, and when the clock
/// was set back, which does not make the term longer.
pub fn is_renewal_due(elapsed: f64, term: Duration) -> bool {
    if is_on(Fault::LeaseNotRenewed) {
        return false;
    }
    elapsed < 0.0 || elapsed * 3.0 >= term.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(pid: u32) -> Holder {
        Holder {
            host: "max-exfl001".into(),
            pid,
            token: format!("t{pid}"),
            user: "xuser".into(),
            address: None,
        }
    }

    fn held(pid: u32, epoch: u64, until: f64) -> LeaseState {
        LeaseState { epoch, claim: Some(Claim { holder: holder(pid), until }) }
    }

    fn decide_counted(state: &LeaseState, me: u32, now: f64, dead: Option<&Holder>) -> Decision {
        decide(state, &holder(me), now, dead, Epochs::Counted)
    }

    #[test]
    fn a_running_term_is_respected_and_one_that_is_over_is_not() {
        let state = held(1, 700, 100.0);
        assert_eq!(decide_counted(&state, 2, 99.9, None), Decision::Held(state.claim.clone().unwrap()));
        assert_eq!(decide_counted(&state, 2, 100.0, None), Decision::Take { epoch: 701 });
        assert_eq!(decide_counted(&state, 1, 5.0, None), Decision::Take { epoch: 701 });
        assert_eq!(decide_counted(&LeaseState::default(), 1, 5.0, None), Decision::Take { epoch: 1 });
    }

    #[test]
    fn a_term_is_renewed_well_before_its_end_and_after_the_clock_was_set_back() {
        let term = Duration::from_secs(15);
        let due = |elapsed| is_renewal_due(elapsed, term);
        assert!(!due(0.0) && !due(4.9) && due(5.0) && due(100.0) && due(-0.1));
    }

    #[test]
    fn epochs_may_follow_the_clock_so_that_a_new_store_starts_above_the_old_one() {
        let take = |state: &LeaseState, now| decide(state, &holder(2), now, None, Epochs::FromClock);
        assert_eq!(take(&LeaseState::default(), 1.8e9), Decision::Take { epoch: 1_800_000_000 });
        assert_eq!(take(&held(1, 1_800_000_000, 5.0), 1.8e9), Decision::Take { epoch: 1_800_000_001 });
        assert_eq!(take(&held(1, 700, -9.0), -5.0), Decision::Take { epoch: 701 });
    }

    #[test]
    fn death_counts_for_the_process_that_died_only() {
        let state = held(1, 7, 100.0);
        assert_eq!(decide_counted(&state, 2, 5.0, Some(&holder(1))), Decision::Take { epoch: 8 });
        assert!(matches!(decide_counted(&state, 2, 5.0, Some(&holder(3))), Decision::Held(_)));
        let reborn = Holder { token: "another".into(), ..holder(1) };
        assert!(matches!(decide_counted(&state, 2, 5.0, Some(&reborn)), Decision::Held(_)));
    }

    #[test]
    fn a_lease_is_kept_under_its_epoch_by_its_process_alone() {
        assert_eq!(held(1, 7, 100.0).check(&holder(1), 7), Ok(()));
        let moved = Holder { address: Some("http://there:1".into()), ..holder(1) };
        assert_eq!(held(1, 7, 100.0).check(&moved, 7), Ok(()));
        assert_eq!(held(1, 8, 100.0).check(&holder(1), 7), Err(Some(holder(1))));
        assert_eq!(held(2, 7, 100.0).check(&holder(1), 7), Err(Some(holder(2))));
        assert_eq!(LeaseState { epoch: 7, claim: None }.check(&holder(1), 7), Err(None));
    }

    proptest! {
        #[test]
        fn whatever_happens_epochs_rise_and_running_terms_hold(
            steps in prop::collection::vec((1u32..4, -5.0..50.0f64, prop::bool::ANY, prop::bool::ANY), 1..60),
            epochs in prop_oneof![Just(Epochs::Counted), Just(Epochs::FromClock)],
        ) {
            let mut state = LeaseState::default();
            let mut now = 0.0;
            for (who, passes, release, dead) in steps {
                now += passes;
                let before = state.clone();
                let dead = if dead { before.claim.as_ref().map(|claim| claim.holder.clone()) } else { None };
                match decide(&state, &holder(who), now, dead.as_ref(), epochs) {
                    Decision::Take { epoch } => {
                        prop_assert!(epoch > before.epoch);
                        if let Some(claim) = &before.claim {
                            prop_assert!(claim.until <= now || claim.holder.pid == who || dead.is_some());
                            prop_assert!(before.clone().check(&claim.holder, epoch).is_err());
                        }
                        state = held(who, epoch, now + 10.0);
                        prop_assert_eq!(state.clone().check(&holder(who), epoch), Ok(()));
                        if release {
                            state.claim = None;
                        }
                    }
                    Decision::Held(claim) => {
                        prop_assert!(claim.until > now && claim.holder.pid != who);
                        prop_assert_eq!(&state, &before);
                    }
                }
            }
        }
    }
}
