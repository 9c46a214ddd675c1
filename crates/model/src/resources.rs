//! Resources that a variable requests from Slurm.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Requested resources of a Slurm job. The default requests nothing.
///
/// Numbers are never 0: in Slurm, 0 means "all" for memory and "no limit" for time.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// CPUs per task; jobs have one task unless `tasks` says otherwise (`--cpus-per-task`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory per node, in MiB (`--mem`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_mib: Option<u64>,
    /// GPUs of the whole job (`--gpus`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Time limit in minutes (`--time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_minutes: Option<u32>,
    /// Number of nodes (`--nodes`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Tasks of the whole job, for programs that start others with `srun` or MPI (`--ntasks`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntasks: Option<u32>,
    /// Features that the nodes must have (`--constraint`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Partition (`--partition`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Reservation (`--reservation`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Account to charge (`--account`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Quality of service (`--qos`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
}

impl Resources {
    /// Whether nothing is requested.
    pub fn is_default(&self) -> bool {
        *self == Resources::default()
    }

    /// Enough for both: the larger of each number. Texts are kept from `self`; the caller ensures that the other's are equal.
    #[must_use]
    pub fn max_with(&self, other: &Resources) -> Resources {
        let word = |own: &Option<String>, other: &Option<String>| own.as_ref().or(other.as_ref()).cloned();
        Resources {
            // Any value is larger than an unset one.
            cpus: self.cpus.max(other.cpus),
            mem_mib: self.mem_mib.max(other.mem_mib),
            gpus: self.gpus.max(other.gpus),
            time_minutes: self.time_minutes.max(other.time_minutes),
            nodes: self.nodes.max(other.nodes),
            ntasks: self.ntasks.max(other.ntasks),
            constraint: word(&self.constraint, &other.constraint),
            partition: word(&self.partition, &other.partition),
            reservation: word(&self.reservation, &other.reservation),
            account: word(&self.account, &other.account),
            qos: word(&self.qos, &other.qos),
        }
    }

    /// For display: `8 CPUs, 64 GiB, 2:00 h, partition upex`. Empty if nothing is requested.
    pub fn in_words(&self) -> String {
        let counted = |count: u32, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let parts = [
            self.nodes.map(|nodes| counted(nodes, "node")),
            self.ntasks.map(|tasks| counted(tasks, "task")),
            self.cpus.map(|cpus| {
                let each = if self.ntasks.is_some_and(|tasks| tasks > 1) { " each" } else { "" };
                format!("{}{each}", counted(cpus, "CPU"))
            }),
            self.mem_mib.map(|mib| {
                let (number, unit) = memory(mib);
                format!("{number} {unit}iB")
            }),
            self.gpus.map(|gpus| counted(gpus, "GPU")),
            self.time_minutes.map(|minutes| match (minutes / 60, minutes % 60) {
                (0, minutes) => format!("{minutes} min"),
                (hours, minutes) => format!("{hours}:{minutes:02} h"),
            }),
            self.constraint.as_ref().map(|name| format!("constraint {name}")),
            self.partition.as_ref().map(|name| format!("partition {name}")),
            self.reservation.as_ref().map(|name| format!("reservation {name}")),
            self.account.as_ref().map(|name| format!("account {name}")),
            self.qos.as_ref().map(|name| format!("QOS {name}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// As Slurm options, for display: `--cpus-per-task=8 --mem=64G`. Not for a shell, because it contains unquoted user input.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.nodes.map(|nodes| format!("--nodes={nodes}")),
            self.ntasks.map(|tasks| format!("--ntasks={tasks}")),
            self.cpus.map(|cpus| format!("--cpus-per-task={cpus}")),
            self.mem_mib.map(|mib| {
                let (number, unit) = memory(mib);
                format!("--mem={number}{unit}")
            }),
            self.gpus.map(|gpus| format!("--gpus={gpus}")),
            self.time_minutes.map(|minutes| format!("--time={}", slurm_time(minutes))),
            self.constraint.as_ref().map(|name| format!("--constraint={name}")),
            self.partition.as_ref().map(|name| format!("--partition={name}")),
            self.reservation.as_ref().map(|name| format!("--reservation={name}")),
            self.account.as_ref().map(|name| format!("--account={name}")),
            self.qos.as_ref().map(|name| format!("--qos={name}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// In the largest unit without loss.
fn memory(mib: u64) -> (u64, char) {
    const GIB: u64 = 1 << 10;
    const TIB: u64 = 1 << 20;
    match mib {
        mib if mib >= TIB && mib.is_multiple_of(TIB) => (mib / TIB, 'T'),
        mib if mib >= GIB && mib.is_multiple_of(GIB) => (mib / GIB, 'G'),
        mib => (mib, 'M'),
    }
}

/// `hh:mm:ss` or `d-hh:mm:ss`.
fn slurm_time(minutes: u32) -> String {
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match days {
        0 => format!("{hours:02}:{minutes:02}:00"),
        _ => format!("{days}-{hours:02}:{minutes:02}:00"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Resources {
        Resources {
            cpus: Some(8),
            mem_mib: Some(64 * 1024),
            gpus: Some(1),
            time_minutes: Some(26 * 60 + 5),
            nodes: Some(2),
            ntasks: Some(16),
            constraint: Some("A100|V100".to_owned()),
            partition: Some("upex".to_owned()),
            reservation: Some("upex_007".to_owned()),
            account: Some("spb".to_owned()),
            qos: Some("express".to_owned()),
        }
    }

    #[test]
    fn in_slurms_words_and_in_ours() {
        assert_eq!(
            everything().to_string(),
            "--nodes=2 --ntasks=16 --cpus-per-task=8 --mem=64G --gpus=1 --time=1-02:05:00 --constraint=A100|V100 \
             --partition=upex --reservation=upex_007 --account=spb --qos=express"
        );
        assert_eq!(
            everything().in_words(),
            "2 nodes, 16 tasks, 8 CPUs each, 64 GiB, 1 GPU, 26:05 h, constraint A100|V100, partition upex, \
             reservation upex_007, account spb, QOS express"
        );
        let small =
            Resources { mem_mib: Some(1500), time_minutes: Some(7), cpus: Some(1), ..Resources::default() };
        assert_eq!(small.to_string(), "--cpus-per-task=1 --mem=1500M --time=00:07:00");
        assert_eq!(small.in_words(), "1 CPU, 1500 MiB, 7 min");
        assert_eq!(memory(3 << 20), (3, 'T'));
        assert_eq!(Resources::default().to_string(), "");
    }

    #[test]
    fn the_larger_of_each() {
        let one = Resources { cpus: Some(8), mem_mib: Some(10), ..Resources::default() };
        let two = Resources {
            cpus: Some(4),
            gpus: Some(1),
            partition: Some("b".to_owned()),
            ..Resources::default()
        };
        let both = Resources {
            cpus: Some(8),
            mem_mib: Some(10),
            gpus: Some(1),
            partition: Some("b".to_owned()),
            ..Resources::default()
        };
        assert_eq!(one.max_with(&two), both);
        assert_eq!(two.max_with(&one), both);
        assert_eq!(both.max_with(&Resources::default()), both);
        assert_eq!(both.max_with(&everything()).partition.as_deref(), Some("b"));
        assert!(Resources::default().is_default() && !one.is_default());
    }
}
