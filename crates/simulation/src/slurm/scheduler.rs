//! Decides which jobs start, where, and why the others wait.

use std::collections::BTreeSet;

use super::{
    cluster::Cluster,
    event::Why,
    job::{Afterwards, Ended, Job, Key, Reason},
    lifecycle::held_reason,
    node::{Node, node_list},
    site::{Association, PartitionSpec, Preempt, Site},
};

/// The result of trying to place a job.
enum Verdict {
    Begins(Vec<String>),
    Waits(Reason),
    /// There is no room now.
    Lacks,
}

impl Cluster {
    /// Tries to start all waiting jobs, the most important first.
    pub fn schedule(&mut self, site: &Site) {
        let tier = |job: &Job| self.partition(&job.asked.partition).map_or(0, |partition| partition.tier);
        let mut order: Vec<(std::cmp::Reverse<u32>, u32, Key)> = self
            .pending
            .iter()
            .filter_map(|key| self.jobs.get(key))
            .map(|job| (std::cmp::Reverse(tier(job)), job.asked.nice, job.key))
            .collect();
        order.sort_unstable();
        let mut full: BTreeSet<String> = BTreeSet::new();
        for (_, _, key) in order {
            let Some(job) = self.jobs.get(&key) else { continue };
            let partition = job.asked.partition.clone();
            match self.judge(site, job) {
                Verdict::Begins(nodes) => self.start(key, nodes),
                Verdict::Waits(reason) => self.waits(key, reason),
                Verdict::Lacks => {
                    let first = full.insert(partition);
                    if first {
                        self.preempt_for(key);
                    }
                    self.waits(key, if first { Reason::Resources } else { Reason::Priority });
                }
            }
        }
    }

    /// Records why a job waits.
    fn waits(&mut self, key: Key, reason: Reason) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if job.reason != reason {
            job.reason = reason;
            self.account(key);
        }
    }

    fn judge(&self, site: &Site, job: &Job) -> Verdict {
        if let Some(hold) = job.held {
            return Verdict::Waits(held_reason(hold));
        }
        if job.not_before.is_some_and(|at| at > self.now) {
            return Verdict::Waits(Reason::BeginTime);
        }
        let asked = &job.asked;
        let Some(partition) = self.partition(&asked.partition) else {
            return Verdict::Waits(Reason::PartitionDown);
        };
        if let Some(reason) = self.refuses(partition, job) {
            return Verdict::Waits(reason);
        }
        let reserved: Vec<_> =
            asked.reservations.iter().filter_map(|name| self.reservations.get(name)).collect();
        let active: Vec<_> = reserved.iter().filter(|one| one.is_active(self.now)).collect();
        if !asked.reservations.is_empty() && active.is_empty() {
            return Verdict::Waits(Reason::Reservation);
        }
        if let Some(limit) = self.limit_of(site, job) {
            return Verdict::Waits(Reason::Limit(limit));
        }
        if self.nodes_of(partition).all(|node| !node.takes_jobs()) {
            return Verdict::Waits(Reason::NodesOutOfService);
        }
        let may = |node: &&Node| {
            let name = &node.spec.name;
            let in_reservation = active.iter().any(|one| one.nodes.contains(name));
            let of_others = self.reservations.values().any(|one| {
                one.is_active(self.now) && one.nodes.contains(name) && !asked.reservations.contains(&one.name)
            });
            (asked.reservations.is_empty() || in_reservation)
                && !of_others
                && !asked.exclude.contains(name)
                && (asked.required.is_empty() || asked.required.contains(name))
        };
        let candidates: Vec<&Node> = self.nodes_of(partition).filter(may).collect();
        let (serving, away): (Vec<&Node>, Vec<&Node>) = candidates.iter().partition(|node| node.takes_jobs());
        let wanted = asked.nodes as usize;
        if serving.len() < wanted && !away.is_empty() {
            let names = node_list(away.iter().map(|node| node.spec.name.as_str()));
            return Verdict::Waits(Reason::NodesNotAvailable(names));
        }
        let free: Vec<String> = serving
            .iter()
            .filter(|node| node.fits(asked.cpus, asked.memory_mib))
            .take(wanted)
            .map(|node| node.spec.name.clone())
            .collect();
        if free.len() < wanted { Verdict::Lacks } else { Verdict::Begins(free) }
    }

    /// Why a partition cannot run a job in its current state.
    fn refuses(&self, partition: &PartitionSpec, job: &Job) -> Option<Reason> {
        let asked = &job.asked;
        if !partition.up {
            return Some(Reason::PartitionDown);
        }
        if !partition.accounts.is_empty() && !partition.accounts.contains(&asked.account) {
            return Some(Reason::Account {
                partition: partition.name.clone(),
                allowed: partition.accounts.join(","),
                account: asked.account.clone(),
            });
        }
        if asked.minutes > partition.max_minutes {
            return Some(Reason::PartitionTimeLimit);
        }
        if asked.nodes as usize > self.nodes_of(partition).count() {
            return Some(Reason::PartitionNodeLimit);
        }
        let largest = self.nodes_of(partition).map(|node| node.spec.cpus).max().unwrap_or(0);
        (asked.cpus > largest).then_some(Reason::PartitionConfig)
    }

    /// The accounting limit that prevents a job from starting.
    fn limit_of(&self, site: &Site, job: &Job) -> Option<&'static str> {
        let running = |of: &dyn Fn(&Job) -> bool| -> u32 {
            let count =
                self.busy.iter().filter_map(|key| self.jobs.get(key)).filter(|other| of(other)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let asked = &job.asked;
        let qos = site.qos.iter().find(|qos| qos.name == asked.qos);
        if let Some(qos) = qos {
            if qos.max_minutes.is_some_and(|most| asked.minutes > most) {
                return Some("QOSMaxWallDurationPerJobLimit");
            }
            let mine = |other: &Job| other.asked.qos == asked.qos && other.uid == job.uid;
            if qos.max_jobs.is_some_and(|most| running(&mine) >= most) {
                return Some("QOSMaxJobsPerUserLimit");
            }
        }
        let association = association(site, &job.user, &asked.account);
        if let Some(association) = association {
            if association.max_minutes.is_some_and(|most| asked.minutes > most) {
                return Some("AssocMaxWallDurationPerJobLimit");
            }
            let mine = |other: &Job| other.asked.account == asked.account && other.uid == job.uid;
            if association.max_jobs.is_some_and(|most| running(&mine) >= most) {
                return Some("AssocMaxJobsLimit");
            }
        }
        let account = site.accounts.iter().find(|account| account.name == asked.account)?;
        let of_account = |other: &Job| other.asked.account == asked.account;
        account.group_jobs.is_some_and(|most| running(&of_account) >= most).then_some("AssocGrpJobsLimit")
    }

    /// Ends jobs of lower tiers if a job can then start.
    fn preempt_for(&mut self, key: Key) {
        let Some(job) = self.jobs.get(&key) else { return };
        let Some(partition) = self.partition(&job.asked.partition) else { return };
        let victim_of = |other: &Job| {
            let lower = self.partition(&other.asked.partition)?;
            (lower.tier < partition.tier && lower.preempt != Preempt::Off).then_some(lower.preempt)
        };
        let mut victims: Vec<(Key, Preempt)> = Vec::new();
        let mut nodes = 0;
        for node in self.nodes_of(partition) {
            let name = &node.spec.name;
            let fits_name = (job.asked.required.is_empty() || job.asked.required.contains(name))
                && !job.asked.exclude.contains(name);
            if !node.takes_jobs() || !fits_name || nodes == job.asked.nodes {
                continue;
            }
            let mut without = node.clone();
            let mut here = Vec::new();
            for other in self.busy.iter().filter_map(|other| self.jobs.get(other)) {
                if without.fits(job.asked.cpus, job.asked.memory_mib) {
                    break;
                }
                if other.nodes.contains(name)
                    && let Some(how) = victim_of(other)
                {
                    without.cpus_used = without.cpus_used.saturating_sub(other.asked.cpus);
                    without.memory_used = without.memory_used.saturating_sub(other.asked.memory_mib);
                    here.push((other.key, how));
                }
            }
            if without.fits(job.asked.cpus, job.asked.memory_mib) {
                nodes += 1;
                victims.extend(here);
            }
        }
        if nodes < job.asked.nodes {
            return;
        }
        for (victim, how) in victims {
            self.preempt(victim, how);
        }
    }

    /// A job is preempted.
    pub fn preempt(&mut self, key: Key, how: Preempt) {
        let may_requeue = self.jobs.get(&key).is_some_and(|job| job.asked.requeue);
        let afterwards = if how == Preempt::Requeue && may_requeue {
            Afterwards::Requeued
        } else {
            Afterwards::Ends(Ended::Preempted)
        };
        self.tell_to_end(key, afterwards, Why::Preemption);
    }
}

/// The association of a user with an account.
pub(super) fn association<'a>(site: &'a Site, user: &str, account: &str) -> Option<&'a Association> {
    let person = site.person(user)?;
    person.associations.iter().find(|association| association.account == account)
}
